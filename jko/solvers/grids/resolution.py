"""Whether the cells of a grid resolve a step, and what constant densities on them cost."""

from __future__ import annotations

import numpy as np

from jko.measures.base import Discrete
from jko.measures.grid import GridDensity
from jko.prox.problem import ProxProblem
from jko.solvers.grids.levels import Problem, grid_of
from jko.validation import Array
from jko.warned import caution

#: Cells lighter than this share of the heaviest have no reliable first variation.
LIGHT = 1e-13
#: What the first order misses where a cell is as wide as a standard deviation: it then gave .88 to
#: .97 of the excess over quantile steps (`benchmarks/fuzz_steps.py --only density`).
MARGIN = 1.25
#: Times what the cells of smooth densities cost: at fronts, whose last cell is filled in part,
#: that is .3 to 1 of the excess over quantile steps (`benchmarks/fuzz_steps.py --only density`).
EDGES = 3.5


def spacing(support: Discrete) -> float:
    """Longest side of a cell, or the median distance between nearest scattered atoms."""
    if isinstance(support, GridDensity):
        cells = np.asarray(support.grid.shape) > 1
        return float(support.grid.spacing[cells].max(initial=0.0))
    if support.n == 1:
        return 0.0
    from scipy.spatial import cKDTree

    nearest = cKDTree(support.points).query(support.points, k=2)[0][:, 1]
    return float(np.median(nearest))


def warn_if_unresolved(problem: ProxProblem, reg: float) -> None:
    """Warn when a grid cannot resolve the kernel: mass then stays in its cells."""
    previous = problem.discrete
    if not isinstance(previous, GridDensity):
        return
    h = spacing(previous)
    if reg < 0.5 * h**2:
        caution(
            f"reg = {reg:.3g} is below half the squared cell size (cells are {h:.3g} wide): the"
            " grid cannot resolve the kernel and pins mass to its cells;"
            f" use reg >= {2 * h**2:.3g}, or finer cells",
        )


def squared_cells(problem: ProxProblem) -> tuple[float, float]:
    """How far a step on a grid carries mass, in squared cells: by diffusion, and by drift.

    step D/h^2 with the mean diffusivity D of the internal energy, and the mean of
    |step grad V|^2/h^2, V the potential and the kernels' first variation.
    """
    h, drift = spacing(problem.discrete), float(squared_drift(problem).sum())
    return problem.step * diffusivity(problem) / h**2, problem.step**2 * drift / h**2


def diffusivity(problem: ProxProblem) -> float:
    """Mean of w h''(w) over the previous measure: 1 for an entropy.

    At most a hundred times what nine tenths of the mass stay below: tails where a target is 1e40
    times as heavy make any mean of negative powers, and say nothing of how far mass moves.
    """
    mu, w = problem.discrete, problem.discrete.weights
    with np.errstate(over="ignore", invalid="ignore"):
        pace = w * problem.form.separable.hessian(np.where(w > 0, w, 1.0))
        known = (w > 0) & np.isfinite(pace)  # beside the least doubles h'' overflows
    if not known.any():
        return 0.0 if (w == 0).all() else np.inf
    w, pace = w[known], pace[known]
    mean = float(w @ pace) / mu.mass
    if pace.max() <= 100 * pace.min():
        return mean
    order = np.argsort(pace)
    mass = np.cumsum(w[order])
    return min(mean, 100 * float(pace[order][np.searchsorted(mass, 0.9 * mass[-1])]))


def squared_drift(problem: ProxProblem) -> Array:
    """Mean of (dV/dx_k)^2 over the previous measure, for every axis k of its grid (d,)."""
    mu, form = problem.previous, problem.form
    assert isinstance(mu, GridDensity)
    w = mu.weights
    v = np.where(w > 0, form.separable.linear + form.quadratic_gradient(w), np.nan)
    field, mass, out = v.reshape(mu.grid.shape), w.reshape(mu.grid.shape), np.zeros(mu.grid.dim)
    for axis, side in enumerate(mu.grid.spacing):
        if field.shape[axis] > 1:
            here, ahead = _ends(mass, axis)
            pair = 0.5 * (here + ahead)
            slope = np.nan_to_num(np.diff(field, axis=axis) / side)
            out[axis] = float((pair * slope**2).sum()) / mu.mass
    return out


def squared_widths(mu: GridDensity) -> Array:
    r"""The squared width of the pieces of a density along every axis (d,), infinite where flat.

    1 / int (d_k rho)^2 / rho, which is s_k^2 for a Gaussian, and whatever the distance between
    its pieces, or the way round a periodic axis; h^2/4 for the mass of a single cell.
    """
    w, out = mu.weights.reshape(mu.grid.shape), np.full(mu.grid.dim, np.inf)
    for axis, side in enumerate(mu.grid.spacing):
        if w.shape[axis] == 1:
            continue
        if mu.grid.periodic[axis]:
            here, ahead = w, np.roll(w, -1, axis)
        else:
            here, ahead = _ends(w, axis)
        both = here + ahead
        steep = float((2 * (ahead - here) ** 2 / np.where(both > 0, both, 1.0)).sum())
        with np.errstate(divide="ignore", over="ignore"):
            out[axis] = np.float64(mu.mass * side**2) / steep
    return out


def _ends(values: Array, axis: int) -> tuple[Array, Array]:
    before = (slice(None),) * axis
    return values[(*before, slice(None, -1))], values[(*before, slice(1, None))]


def warn_if_coarse(problem: ProxProblem, least: float, fault: str, instead: str) -> None:
    """Warn when a step on a grid carries mass by fewer than `least` squared cells.

    Parameters
    ----------
    least : float
        Measured by `benchmarks/short_steps.py`, ten Ornstein-Uhlenbeck steps on 40 and 80 cells.
        Shares of the way gone by which they are off, at steps of 2, 1, 1/2 and 1/10 squared cells:
        plain entropic .15-.22, .34-.50, .75-1.1, 4-6; half .001-.003, .003-.008, .01-.02, .05-.18;
        debiased below .005 at any step; back-and-forth .01, .01-.02, .03, .05-.06; transport
        between the cells as atoms .7-1, then 1: nothing moves.
    fault, instead : str
        What goes wrong, and what to use instead.
    """
    if not isinstance(problem.previous, GridDensity):
        return
    diffusion, drift = squared_cells(problem)
    reach = max(diffusion, drift)
    if 0 < reach < least:
        finer = spacing(problem.previous) * float(np.sqrt(reach / least))
        with np.errstate(divide="ignore"):
            longer = min(least / np.float64(diffusion), np.sqrt(least / np.float64(drift)))
        caution(
            f"cells {spacing(problem.previous):.3g} wide are too coarse for tau ="
            f" {problem.tau:.3g}: {fault}; use cells of at most {finer:.2g}, tau >="
            f" {problem.tau * longer:.2g}, or {instead}",
        )


def blocks(problem: Problem, w: Array) -> float:
    """Internal energy between cells and a density that is linear across them: dh'(w) dw / 24.

    To first order h''(w) dw^2 / 24; the change of h' from cell to cell instead of h'' counts tails
    that the grid hardly resolves in full. Where a target rises and the density does not keep up, h'
    falls as the density rises: that is an error like any other, never a gain.
    """
    grid, h = grid_of(problem), problem.form.separable
    if not h.powers:
        return 0.0
    with np.errstate(all="ignore"):
        force = (h.gradient(w) - h.linear).reshape(grid.shape)
    shaped, total = w.reshape(grid.shape), 0.0
    for axis, n in enumerate(grid.shape):
        if n == 1:
            continue
        ahead = np.roll(shaped, -1, axis)
        mean, rise = 0.5 * (shaped + ahead), ahead - shaped
        if not grid.periodic[axis]:
            rise[(slice(None),) * axis + (slice(-1, None),)] = 0.0
        charged = mean > LIGHT * float(mean.max())
        curvature = h.hessian(np.where(charged, mean, 1.0).ravel()).reshape(grid.shape)
        with np.errstate(invalid="ignore"):
            step = np.abs((np.roll(force, -1, axis) - force) * rise)
        # Beside an empty cell h' may be infinite.
        part = np.where(np.isfinite(step), step, curvature * rise**2)
        total += float(np.where(charged & (rise != 0), part, 0.0).sum()) / 24
    return MARGIN * total if np.isfinite(total) else np.inf
