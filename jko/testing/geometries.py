"""Is a geometry a metric, and do its potential and geodesics belong to it?"""

from __future__ import annotations

import numpy as np

from jko.geometries import Geometry
from jko.measures import Discrete, Measure
from jko.testing.report import central, close, directions, ran, require
from jko.validation import Array, Seed, rng_of


def check_geometry(
    geometry: Geometry,
    a: Measure,
    b: Measure,
    c: Measure | None = None,
    *,
    metric: bool = True,
    tol: float = 1e-6,
    rng: Seed = 0,
) -> list[str]:
    """Check a geometry on two different measures, and the triangle inequality with a third.

    Parameters
    ----------
    geometry : Geometry
    a, b : Measure
        Different, of equal mass where the geometry conserves mass. Derivatives are taken at `a`
        along directions that vanish with its weights.
    c : Measure, optional
    metric : bool
        False for a divergence that serves as a geometry: neither symmetry, nor the triangle
        inequality, nor geodesics are asked of it.
    tol : float
        Relative tolerance of finite differences and of the speed of geodesics.
    rng : seed or numpy Generator

    Returns
    -------
    list of str
        Which of "axioms", "triangle", "rate", "penalty", "potential", "geodesic" ran.

    Raises
    ------
    AssertionError
        With a sentence that says which promise is broken.
    """
    job = _GeometryCheck(geometry, a, b, tol)
    generator = rng_of(rng)
    checks = {"axioms": lambda: job.axioms(metric), "rate": job.rate}
    if metric and c is not None:
        checks["triangle"] = lambda: job.triangle(c)
    if metric:
        checks["geodesic"] = job.geodesic
    if isinstance(a, Discrete) and isinstance(b, Discrete):
        if geometry.has_penalty_form and a.same_support(b):
            checks["penalty"] = lambda: job.penalty(a, b)
        checks["potential"] = lambda: job.potential(generator)
    return ran(checks)


class _GeometryCheck:
    def __init__(self, geometry: Geometry, a: Measure, b: Measure, tol: float) -> None:
        self.geometry, self.a, self.b, self.tol = geometry, a, b, tol

    @property
    def length(self) -> float:
        return self.geometry.distance(self.a, self.b)

    def axioms(self, metric: bool) -> None:
        g, a, b = self.geometry, self.a, self.b
        d = self.length
        require(bool(np.isfinite(d)) and d > 0, f"{g!r} finds distance {d} between two measures")
        if metric:
            close(g.distance(b, a), d, d, 1e-9, f"{g!r} is not symmetric")
        close(g.sqdistance(a, b), d**2, d**2, 1e-9, "distance is not the root of sqdistance")
        for mu in (a, b):
            # A square root of rounding: 1e-16 in the square is 1e-8 in the distance.
            close(g.distance(mu, mu), 0.0, d, 1e-6, f"{g!r} is not zero on the diagonal")

    def triangle(self, c: Measure) -> None:
        g = self.geometry
        detour = g.distance(self.a, c) + g.distance(c, self.b)
        d = self.length
        require(d <= detour * (1 + 1e-9), f"{g!r} breaks the triangle inequality: {d} > {detour}")

    def rate(self) -> None:
        g, d2 = self.geometry, self.geometry.sqdistance(self.a, self.b)
        for c in (0.25, 3.0):
            scaled = c * g
            close(scaled.rate, c * g.rate, scaled.rate, 1e-14, f"rate of {c:g} * {g!r}")
            found = scaled.sqdistance(self.a, self.b)
            close(found, d2 / c, d2, 1e-10, f"{c:g} * G does not divide the squared distance")
            found = scaled.penalty(self.a, self.b, 0.7)
            close(found, d2 / c / 1.4, d2, 1e-10, "penalty is not sqdistance / (2 tau)")

    def penalty(self, a: Discrete, b: Discrete) -> None:
        g, form = self.geometry, self.geometry.penalty_form(b)
        require(form is not None, f"penalty_form of {g!r} is None")
        assert form is not None
        half = 0.5 * g.rate * g.sqdistance(a, b)
        scale = half + 1e-6 * form.sizes(a.weights, False).raw
        sentence = f"penalty_form of {g!r} is not half its squared distance"
        close(form.value(a.weights), half, scale, 1e-8, sentence)

    def potential(self, rng: np.random.Generator) -> None:
        g, a, b = self.geometry, self.a, self.b
        assert isinstance(a, Discrete)
        assert isinstance(b, Discrete)
        w = a.weights
        phi = g.potential(a, b)
        require(phi.shape == w.shape, f"potential has shape {phi.shape}, expected {w.shape}")
        require(bool(np.isfinite(phi[w > 0]).all()), "potential is not finite at a charged atom")
        phi = np.where(w > 0, phi, 0.0)

        def half(v: Array) -> float:
            return 0.5 * g.sqdistance(a.with_weights(v), b)

        for v in directions(w, not g.conserves_mass, rng):
            slope = central(lambda h, v=v: half(w + h * v))  # type: ignore[misc]
            scale = float(np.abs(phi) @ np.abs(v)) + 1e-4 * half(w)
            sentence = f"potential of {g!r} misses the slope of half the squared distance"
            close(float(phi @ v), slope, scale, self.tol, sentence)
        doubled = (2.0 * g).potential(a, b)
        error = float(np.abs(np.where(w > 0, 2 * doubled - phi, 0.0)).max())
        size = float(np.abs(phi).max())
        require(error <= 1e-9 * size, "the potential of 2 * G is not half that of G")

    def geodesic(self) -> None:
        g, d = self.geometry, self.length
        times = (0.0, 0.2, 0.55, 1.0)
        path = [g.geodesic(self.a, self.b, t) for t in times]
        close(g.distance(path[0], self.a), 0.0, d, self.tol, "the geodesic does not start at a")
        close(g.distance(path[-1], self.b), 0.0, d, self.tol, "the geodesic does not end at b")
        for i, j in ((0, 1), (1, 2), (2, 3), (1, 3)):
            found = g.distance(path[i], path[j])
            expected = (times[j] - times[i]) * d
            close(found, expected, d, self.tol, f"the geodesic of {g!r} has no constant speed")
