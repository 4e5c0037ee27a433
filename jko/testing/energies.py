"""Does an energy do what its capabilities promise?"""

from __future__ import annotations

import numpy as np

from jko.energies import Energy
from jko.errors import Unsupported
from jko.measures import Discrete, Measure
from jko.numerics.elementary import xlogy
from jko.testing.report import central, close, directions, ran, require
from jko.validation import Array, Seed, rng_of

#: Conic expressions are evaluated up to this many atoms (kernels are factorised densely).
CONIC_ATOMS = 400


def check_energy(
    energy: Energy,
    measure: Measure,
    *,
    free: bool | None = None,
    tol: float = 1e-6,
    rng: Seed = 0,
) -> list[str]:
    """Check an energy at a measure where it is finite.

    Parameters
    ----------
    energy : Energy
    measure : Measure
        Atoms of weight zero are left where they are; a capability that needs points to move is
        only checked on a measure whose points move.
    free : bool, optional
        Whether the mass may be varied; by default what `energy.needs_fixed_mass` says.
    tol : float
        Relative tolerance of finite differences.
    rng : seed or numpy Generator

    Returns
    -------
    list of str
        Which of "value", "algebra", "first_variation", "wasserstein_gradient", "log_prox_kl",
        "conic" ran; the others are missing capabilities.

    Raises
    ------
    AssertionError
        With a sentence that says which promise is broken.
    """
    job = _EnergyCheck(energy, measure, not energy.needs_fixed_mass if free is None else free, tol)
    generator = rng_of(rng)
    checks = {"value": job.value, "algebra": job.algebra}
    if isinstance(measure, Discrete):
        checks["first_variation"] = lambda: job.first_variation(generator)
        checks["wasserstein_gradient"] = lambda: job.wasserstein_gradient(generator)
        checks["log_prox_kl"] = lambda: job.log_prox_kl(generator)
        if measure.n <= CONIC_ATOMS:
            checks["conic"] = job.conic
    return ran(checks)


class _EnergyCheck:
    def __init__(self, energy: Energy, measure: Measure, free: bool, tol: float) -> None:
        self.energy, self.mu, self.free, self.tol = energy, measure, free, tol

    def at(self, w: Array) -> float:
        """F at other weights on the same atoms."""
        assert isinstance(self.mu, Discrete)
        return self.energy.value(self.mu.with_weights(w))

    def value(self) -> None:
        found = self.energy.value(self.mu)
        require(isinstance(found, float), f"value of {self.energy!r} is a {type(found).__name__}")
        require(bool(np.isfinite(found)), f"{self.energy!r} is {found} at the measure of the test")
        if isinstance(self.mu, Discrete):
            close(self.at(self.mu.weights), found, 1 + abs(found), 1e-12, "value is not repeatable")

    def algebra(self) -> None:
        one = self.energy.value(self.mu)
        for name, doubled in (("2 * F", 2.0 * self.energy), ("F + F", self.energy + self.energy)):
            scale = 1 + abs(one)
            close(doubled.value(self.mu), 2 * one, scale, 1e-10, f"value of {name} is not 2 F")
            if isinstance(self.mu, Discrete):
                self._algebra_of_gradients(name, doubled)

    def _algebra_of_gradients(self, name: str, doubled: Energy) -> None:
        assert isinstance(self.mu, Discrete)
        charged = self.mu.weights > 0
        for what in ("first_variation", "wasserstein_gradient"):
            try:
                single = getattr(self.energy, what)(self.mu)[charged]
            except Unsupported:
                continue
            both = getattr(doubled, what)(self.mu)[charged]
            error = float(np.abs(both - 2 * single).max(initial=0.0))
            size = 1 + float(np.abs(single).max(initial=0.0))
            require(error <= 1e-9 * size, f"{what} of {name} is not twice that of {self.energy!r}")

    def first_variation(self, rng: np.random.Generator) -> None:
        assert isinstance(self.mu, Discrete)
        w = self.mu.weights
        f = self.energy.first_variation(self.mu)
        require(f.shape == w.shape, f"first_variation has shape {f.shape}, expected {w.shape}")
        f = np.where(w > 0, f, 0.0)
        require(bool(np.isfinite(f).all()), "first_variation is not finite at a charged atom")
        for v in directions(w, self.free, rng):
            slope = central(lambda h, v=v: self.at(w + h * v))  # type: ignore[misc]
            scale = float(np.abs(f) @ np.abs(v)) + 1e-4 * abs(self.at(w)) + 1e-12
            kind = "mass-preserving" if abs(v.sum()) < 1e-12 else "free"
            sentence = f"first_variation of {self.energy!r} misses the slope of value ({kind})"
            close(float(f @ v), slope, scale, self.tol, sentence)

    def wasserstein_gradient(self, rng: np.random.Generator) -> None:
        mu = self.mu
        assert isinstance(mu, Discrete)
        gradient = self.energy.wasserstein_gradient(mu)
        require(gradient.shape == mu.points.shape, f"wasserstein_gradient is {gradient.shape}")
        moved = mu.with_points(mu.points)  # Unsupported where points are fixed
        for _ in range(3):
            u = rng.uniform(-1, 1, mu.points.shape)
            slope = central(lambda h, u=u: self.energy.value(moved.with_points(mu.points + h * u)))  # type: ignore[misc]
            paired = mu.weights[:, None] * gradient * u
            scale = float(np.abs(paired).sum()) + 1e-4 * abs(self.energy.value(mu)) + 1e-12
            sentence = f"wasserstein_gradient of {self.energy!r} misses the slope in positions"
            close(float(paired.sum()), slope, scale, self.tol, sentence)

    def log_prox_kl(self, rng: np.random.Generator) -> None:
        assert isinstance(self.mu, Discrete)
        n = self.mu.n
        for step in (0.3, 5.0):
            q = rng.uniform(0.2, 1.5, n) * (self.mu.mass / n)
            log_w = self.energy.log_prox_kl(np.log(q), step, self.mu)
            require(log_w.shape == (n,), f"log_prox_kl has shape {log_w.shape}, expected {(n,)}")
            w = np.exp(log_w)

            def objective(v: Array, step: float = step, q: Array = q) -> float:
                return step * self.at(v) + float((xlogy(v, v / q) - v + q).sum())

            best = objective(w)
            for rival in self._rivals(w, q, step, rng):
                gain = best - objective(rival)
                require(
                    gain <= 1e-10 * (1 + abs(best)),
                    f"log_prox_kl of {self.energy!r} is beaten by {gain:.3g} (step {step})",
                )

    def _rivals(self, w: Array, q: Array, step: float, rng: np.random.Generator) -> list[Array]:
        """Random weights near and far, and steps down the slope of the objective."""
        rivals = [w * np.exp(s * rng.normal(size=w.shape)) for s in (1e-4, 1e-2, 0.3) * 4]
        assert isinstance(self.mu, Discrete)
        open_atoms = w > 0
        try:
            slope = self.energy.first_variation(self.mu.with_weights(w))
        except Unsupported:
            return rivals
        pull = np.where(open_atoms, step * slope + np.log(np.where(open_atoms, w, 1.0) / q), 0.0)
        return rivals + [w * np.exp(-s * pull) for s in (1e-2, 0.1, 0.5)]

    def conic(self) -> None:
        import cvxpy as cp

        assert isinstance(self.mu, Discrete)
        w = cp.Variable(self.mu.n)
        expression, constraints = self.energy.conic(w, self.mu)
        w.value = self.mu.weights
        found, expected = float(expression.value), self.energy.value(self.mu)
        scale = 1 + abs(expected)
        close(found, expected, scale, 1e-8, f"the conic form of {self.energy!r} is not its value")
        for constraint in constraints:
            violation = float(np.max(constraint.violation(), initial=0.0))
            require(violation <= 1e-9, "the conic form forbids a measure of finite energy")
