"""`jko.geodesic`: the path of least action between two measures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from jko.errors import Unsupported
from jko.geometries.base import Geometry, check_masses, check_pair, common_weights
from jko.geometries.hellinger import Hellinger, SphericalHellinger
from jko.geometries.mmd import MMD
from jko.geometries.unbalanced import WassersteinFisherRao, _paired, _semi_couplings
from jko.geometries.wasserstein import Wasserstein
from jko.measures.atoms import Particles
from jko.measures.base import Discrete, Measure
from jko.measures.gaussian import Gaussian
from jko.measures.grid import GridDensity
from jko.measures.masses import ROUNDING
from jko.measures.support import on_one_list
from jko.paths.curves import (
    AffineCurve,
    ConeCurve,
    Curve,
    GridCurve,
    LineCurve,
    MixtureCurve,
    RootCurve,
)
from jko.paths.gridded import metric_of, open_cells, path_of
from jko.paths.path import Path
from jko.solvers.dynamic.stated import stated_problem
from jko.threads import limited
from jko.validation import Array, instance, positive, positive_int


def geodesic(
    a: Measure,
    b: Measure,
    geometry: Geometry,
    slices: int = 32,
    *,
    tol: float = 1e-3,
    max_iter: int = 3000,
) -> Path:
    r"""The path of least action from `a` to `b`.

    Parameters
    ----------
    a, b : measures of one dimension
        Densities on one grid are solved in their dynamic form, obstacles and periodic axes
        respected; histograms and particles follow the optimal static plan, Gaussians its closed
        form. Hellinger, spherical Hellinger and MMD have closed forms on every support.
    geometry : Wasserstein, WassersteinFisherRao, Hellinger, SphericalHellinger or MMD
    slices : int
        Intervals of time between the measures kept.

    Other Parameters
    ----------------
    tol : float
        On the relative gap of a dynamic solution; a miss warns.
    max_iter : int
        Iterations on the grid itself.

    Returns
    -------
    Path

    Raises
    ------
    InvalidMeasure
        Unequal masses where the geometry conserves mass; mass in regions that obstacles cut off
        from each other.
    Unsupported
        No geodesic between these measures.

    Notes
    -----
    Formulas Y1, Y2 (dynamic transport), U1 (cone geodesics), H6 and M8 (closed forms). The
    splitting is that of Papadakis et al. (2014), the dynamic form that of
    Benamou and Brenier (2000), with sources that of Chizat et al. (2018b).
    """
    check_pair(a, b)
    instance(geometry, Geometry, "geometry", "pass a geometry such as jko.Wasserstein()")
    count, accuracy = positive_int(slices, "slices"), positive(tol, "tol")
    most = positive_int(max_iter, "max_iter")
    if geometry.conserves_mass:
        check_masses(a, b, geometry)
    with limited():
        if _dynamic(a, b, geometry):
            assert isinstance(a, GridDensity)
            assert isinstance(b, GridDensity)
            return _on_grid(a, b, geometry, count, accuracy, most)
        for kind, build in _CLOSED.items():
            if isinstance(geometry, kind):
                return _closed(a, b, geometry, count, build(a, b, geometry))
    raise Unsupported(f"no geodesics in {geometry!r}; see the documentation of jko.geodesic")


def _dynamic(a: Measure, b: Measure, geometry: Geometry) -> bool:
    transport = isinstance(geometry, (Wasserstein, WassersteinFisherRao))
    return transport and isinstance(a, GridDensity) and a.same_support(b)


def _on_grid(
    a: GridDensity, b: GridDensity, geometry: Geometry, slices: int, tol: float, max_iter: int
) -> Path:
    metric = metric_of(geometry)
    opened = open_cells(a, metric, (b.weights,))
    if np.abs(a.weights - b.weights).sum() <= ROUNDING * a.mass:
        return _at_rest(a, slices, metric.beta > 0, geometry)
    problem = stated_problem(
        a.grid, opened, metric, a.weights, b.weights, slices=slices, duration=1.0
    )
    return path_of(problem, geometry, tol, max_iter, planned=False)


def _at_rest(a: GridDensity, slices: int, sourced: bool, geometry: Geometry) -> Path:
    """The path between equal measures; a gap relative to its action would say nothing."""
    still = np.zeros((slices, a.n))
    fluxes = np.zeros((a.dim, slices, a.n))
    curve = GridCurve(
        a.grid, np.tile(a.weights, (slices + 1, 1)), fluxes, still if sourced else None, 1.0
    )
    method = {"geometry": repr(geometry), "method": "equal measures", "iterations": 0}
    return Path(np.linspace(0.0, 1.0, slices + 1), 0.0, 0.0, 0.0, 0.0, curve, method)


def _closed(a: Measure, b: Measure, geometry: Geometry, slices: int, curve: Curve) -> Path:
    """A path whose action is the squared distance itself."""
    value = dual = geometry.sqdistance(a, b)
    if isinstance(geometry, WassersteinFisherRao):
        dual, value = geometry.bounds(a, b)
    p = float(getattr(geometry, "p", 2.0))
    if isinstance(geometry, Wasserstein) and p != 2:
        assert isinstance(curve, LineCurve)
        length = np.linalg.norm(curve.end - curve.start, axis=1)
        value = dual = float(curve.weights @ length**p) / geometry.rate ** (p - 1)
    method = {"geometry": repr(geometry), "method": "closed form or static plan", "iterations": 0}
    times = np.linspace(0.0, 1.0, slices + 1)
    return Path(times, float(value), float(value), float(dual), 0.0, curve, method)


def _transported(a: Measure, b: Measure, geometry: Geometry) -> Curve:
    if isinstance(a, Gaussian) and isinstance(b, Gaussian) and getattr(geometry, "p", 2) == 2:
        return AffineCurve(a, b)
    first, last = geometry.geodesic(a, b, 0.0), geometry.geodesic(a, b, 1.0)
    assert isinstance(first, Particles)
    assert isinstance(last, Particles)
    return LineCurve(first.points, last.points, first.weights)


def _on_cone(a: Measure, b: Measure, geometry: Geometry) -> Curve:
    assert isinstance(geometry, WassersteinFisherRao)
    solved, left, right = geometry.solve(a, b)
    assert isinstance(a, Discrete)
    assert isinstance(b, Discrete)
    i, j, before, after = _semi_couplings(solved, a.weights[left], b.weights[right])
    x, y = a.points[left[i]], b.points[right[j]]
    angle = np.minimum(_paired(geometry, x, y), np.pi / 2)
    return ConeCurve(x, y, before, after, angle)


def _rooted(a: Measure, b: Measure, geometry: Geometry) -> Curve:
    support, before, after = _joint(a, b)
    angle = 0.0
    if isinstance(geometry, SphericalHellinger):
        angle = geometry.angle(before, after) / 2
    elif geometry.conserves_mass:
        geometry.geodesic(a, b, 0.5)  # raises: the geodesic leaves fixed mass
    return RootCurve(support, before, after, angle)


def _mixed(a: Measure, b: Measure, geometry: Geometry) -> Curve:
    return MixtureCurve(*_joint(a, b))


def _joint(a: Measure, b: Measure) -> tuple[Discrete, Array, Array]:
    """A common support and both weights on it."""
    wa, wb = common_weights(a, b)  # refuses what is not discrete
    assert isinstance(a, Discrete)
    assert isinstance(b, Discrete)
    if a.same_support(b) and wa.size == a.n:
        return a, wa, wb
    points, wa, wb = on_one_list(a, b)
    return Particles(points, wa + wb), wa, wb


_CLOSED: dict[type, Callable[[Measure, Measure, Geometry], Curve]] = {
    Wasserstein: _transported,
    WassersteinFisherRao: _on_cone,
    Hellinger: _rooted,
    SphericalHellinger: _rooted,
    MMD: _mixed,
}
