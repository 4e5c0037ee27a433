"""Where the back-and-forth step is worth trying before others."""

from __future__ import annotations

from jko.prox.problem import ProxProblem
from jko.solvers.finite_volume.length import displacement
from jko.solvers.finite_volume.scheme import CellScheme
from jko.solvers.grids.levels import grid_of

#: Cells along an axis, and cells in all, from which on the ascent is closer to exact steps and
#: cheaper than scaling (steps of formula W5 in one and two dimensions).
SIDE, WORTH = 32, 4096
#: Cells that some mass must move by: shares of places between cells blur shorter steps. At half a
#: cell the error is 1 to 2 % of the way (scaling: 2 to 4 %), at a seventh 6 to 16 % (8 to 15 %).
FAR = 0.2


def moving_front(problem: ProxProblem) -> str | None:
    """None at sharp fronts (powers p > 1 or bounds, no entropy) that move by `FAR` cells."""
    grid, h = grid_of(problem), problem.form.separable
    if grid.size < min(WORTH, SIDE ** sum(m > 1 for m in grid.shape)):
        return f"a grid of fewer than {SIDE} cells a side; ask for it with BackAndForth()"
    if not h.sharp:
        return (
            "under an entropy densities are smooth, and the entropic step is the closer one;"
            " ask for it with BackAndForth()"
        )
    cells = displacement(CellScheme(problem.form, grid), problem.discrete.weights, problem.step)
    if cells < FAR:
        return (
            f"mass moves by {cells:.2g} cells at most, and shares of places between cells blur;"
            " ask for it with BackAndForth()"
        )
    return None
