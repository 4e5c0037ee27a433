"""Where a step on a grid is worth trying with finite volumes or by ascent, before others."""

from __future__ import annotations

from jko.measures.grid import GridDensity
from jko.prox.problem import ProxProblem
from jko.solvers.finite_volume.length import displacement, model_error
from jko.solvers.finite_volume.scheme import CellScheme
from jko.solvers.grids.levels import grid_of

#: The error of the step, as a share of the way gone, is about LEAST + SLOPE q at a model error q,
#: that of other steps about BLUR over the cells that mass moves by: fits of L1 distances to exact
#: Barenblatt steps (formula W5, m = 2 and 4, 32^2 and 64^2 cells, moves of .1 to 2 cells).
LEAST, SLOPE, BLUR = 0.03, 0.3, 0.016
#: Cells along an axis, and cells in all, from which on the ascent is closer to exact steps and
#: cheaper than scaling (steps of formula W5 in one and two dimensions).
SIDE, WORTH = 32, 4096
#: Cells that some mass must move by: shares of places between cells blur shorter steps. At half a
#: cell the error is 1 to 2 % of the way (scaling: 2 to 4 %), at a seventh 6 to 16 % (8 to 15 %).
FAR = 0.2


def short_step(problem: ProxProblem) -> str | None:
    """None for short steps of porous media, and where the entropic step sees too little.

    The entropic step sees neither obstacles nor kernels that are not positive definite.
    """
    previous = problem.previous
    assert isinstance(previous, GridDensity)
    if previous.grid.mask is not None or not problem.form.convex:
        return None
    powers = problem.form.separable.charging
    if not powers:
        return "without an internal energy it smears; ask for it with FiniteVolume()"
    if any(p <= 1 for p in powers):
        return (
            "under an entropy densities are smooth, and the entropic step is the closer one;"
            " ask for it with FiniteVolume()"
        )
    scheme = CellScheme(problem.form, previous.grid)
    if scheme.bounded is not None:
        return "edges of crowds smear in it; ask for it with FiniteVolume()"
    w = previous.weights
    q, cells = model_error(scheme, w, problem.step), displacement(scheme, w, problem.step)
    if (LEAST + SLOPE * q) * cells <= BLUR:
        return None
    return (
        f"mass moves by {cells:.2g} cells with a model error q = {q:.2g}, which others do better:"
        " take a shorter tau, or ask for it with FiniteVolume()"
    )


def front(problem: ProxProblem) -> str | None:
    """None at sharp fronts (powers p > 1 or bounds, no entropy) on cells enough for the ascent."""
    grid, h = grid_of(problem), problem.form.separable
    if grid.size < min(WORTH, SIDE ** sum(m > 1 for m in grid.shape)):
        return f"a grid of fewer than {SIDE} cells a side; ask for it with BackAndForth()"
    if not h.sharp:
        return (
            "under an entropy densities are smooth, and the entropic step is the closer one;"
            " ask for it with BackAndForth()"
        )
    return None


def moving_front(problem: ProxProblem) -> str | None:
    """None at sharp fronts that move by `FAR` cells."""
    why = front(problem)
    if why is not None:
        return why
    scheme = CellScheme(problem.form, grid_of(problem))
    cells = displacement(scheme, problem.discrete.weights, problem.step)
    if cells < FAR:
        return (
            f"mass moves by {cells:.2g} cells at most, and shares of places between cells blur;"
            " ask for it with BackAndForth()"
        )
    return None
