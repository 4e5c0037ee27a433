"""Paths on grids: the problem of the splitting from measures, and a `Path` from its solution."""

from __future__ import annotations

import numpy as np

from jko.energies.base import Energy
from jko.errors import InvalidArgument, InvalidMeasure, Unsupported
from jko.forms.separable import Separable
from jko.geometries.base import Geometry
from jko.geometries.unbalanced import WassersteinFisherRao
from jko.geometries.wasserstein import Wasserstein
from jko.measures.grid import GridDensity
from jko.paths.curves import GridCurve
from jko.paths.path import Path
from jko.solvers.dynamic.newton import LAST_RESORT, applies, closed
from jko.solvers.dynamic.problem import DynamicProblem, Metric
from jko.solvers.dynamic.run import Solution, solve
from jko.validation import Array, Mask
from jko.warned import caution


def metric_of(geometry: Geometry) -> Metric:
    """Rates and power of a transport geometry, its own rate included."""
    if isinstance(geometry, WassersteinFisherRao):
        return Metric(geometry.rate * geometry.alpha, geometry.rate * geometry.beta)
    if isinstance(geometry, Wasserstein):
        if getattr(geometry, "cost", None) is not None:
            raise Unsupported(
                f"{geometry!r} has a cost of its own, which has no dynamic form; use"
                " jko.Wasserstein(p=...) on grids"
            )
        p = float(getattr(geometry, "p", 2.0))
        if p <= 1:
            raise Unsupported(
                f"p = {p:g}: paths of least action need p > 1 (at p = 1 mass moves at any speed);"
                " use jko.Wasserstein(p=...) with p > 1"
            )
        return Metric(geometry.rate, 0.0, p)
    raise Unsupported(
        f"no dynamic transport in {geometry!r}; use jko.Wasserstein() or"
        " jko.WassersteinFisherRao(alpha, beta)"
    )


def open_cells(mu: GridDensity, metric: Metric, others: tuple[Array, ...] = ()) -> Mask:
    """Cells that mass may enter; one region where mass is conserved."""
    grid = mu.grid
    free = np.ones(grid.size, dtype=bool) if grid.mask is None else np.asarray(grid.mask)
    if metric.beta > 0 or grid.mask is None:
        return free
    regions = grid.regions
    charged = np.unique(regions[np.sum([mu.weights, *others], axis=0) > 0])
    if charged.size > 1:
        shares = [
            np.bincount(regions, w, int(regions.max()) + 1)[charged] for w in (mu.weights, *others)
        ]
        shown = " and ".join("(" + ", ".join(f"{x:.4g}" for x in row) + ")" for row in shares)
        raise InvalidMeasure(
            f"grid.mask cuts the measures into {charged.size} regions of masses {shown}, and"
            " transport cannot cross obstacles; open a passage in the mask, or solve each region on"
            " a grid of its own"
        )
    return np.asarray(regions == charged[0])


def local_form(energy: Energy, mu: GridDensity, name: str) -> Separable:
    """The energy as a function of every cell's mass, or a sentence."""
    form = energy.restrict(mu)
    if form.quadratics:
        raise Unsupported(
            f"{name} = {energy!r} couples cells through a kernel, and the splitting takes energies"
            " that act cell by cell; use Potential, Entropy, PorousMedium, BoxConstraint or"
            " divergences"
        )
    return form.separable


def check_ceiling(h: Separable | None, w: Array, name: str, energy: object) -> None:
    """A given end must be allowed by the running cost."""
    if h is not None and not np.isfinite(h.value(w)):
        raise InvalidArgument(
            f"{name} has infinite running cost {energy!r}; relax its bounds or choose another end"
        )


def path_of(
    problem: DynamicProblem, geometry: Geometry, tol: float, max_iter: int, *, planned: bool
) -> Path:
    """Solve and wrap."""
    # Where Newton's method applies, it is the better way after so many steps of the splitting: 1400
    # took 3 s to a gap of 1e-4 on 32^2 cells and 16 slices, where Newton's systems take half a
    # minute.
    few = 2000
    capped = max_iter >= few and applies(problem, LAST_RESORT)
    found = solve(problem, tol, few if capped else max_iter)
    finished = closed(found, tol, max_iter)
    best = found.best
    if best is None or not np.isfinite(best.value):
        raise Unsupported("no path of finite cost was found; refine the grid or the slices")
    p, unit = problem.metric.p, problem.unit
    scale = unit if planned else unit * p * problem.duration ** (p - 1)
    bias = found.bias
    out = Path(
        np.linspace(0.0, problem.duration, problem.slices + 1),
        p * unit * best.action,
        scale * best.value,
        scale * found.lower,
        None if bias is None else bias * scale / unit,
        _curve(problem, found),
        {
            "geometry": repr(geometry),
            "method": "Douglas-Rachford splitting on the grid"
            + (", then Newton's method" if finished else ""),
            "iterations": found.iterations,
            "tol": tol,
        },
    )
    if not out.gap <= tol:
        more = "more of them do not help: pass a larger tol"
        caution(
            f"the path has a relative gap of {out.gap:.2g} against tol = {tol:g} after"
            f" {found.iterations} iterations; {more if capped else 'pass a larger max_iter or tol'}"
        )
    return out


def _curve(problem: DynamicProblem, found: Solution) -> GridCurve:
    assert found.best is not None
    grid, unit, n = problem.cells.grid, problem.unit, problem.slices
    fluxes = [
        unit * m.reshape(n, -1) / h for m, h in zip(found.best.flux, grid.spacing, strict=True)
    ]
    source = found.best.source
    return GridCurve(
        grid,
        unit * found.best.rho.reshape(n + 1, -1),
        np.stack(fluxes),
        None if source is None else unit * source.reshape(n, -1),
        problem.duration,
    )
