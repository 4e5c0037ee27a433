"""Where the back-and-forth step is worth trying before others."""

from __future__ import annotations

from jko.prox.problem import ProxProblem
from jko.solvers.finite_volume.length import displacement
from jko.solvers.finite_volume.scheme import CellScheme
from jko.solvers.grids.levels import grid_of

#: Cells of a grid from which on the ascent costs less than scaling.
WORTH = 4096
#: Cells that mass must move by at most: shares of places between cells blur shorter steps.
FAR = 1.0


def moving_front(problem: ProxProblem) -> str | None:
    """None at sharp fronts (powers p > 1 or bounds, no entropy) that move by a cell or more."""
    grid, h = grid_of(problem), problem.form.separable
    if grid.size < WORTH or sum(m > 1 for m in grid.shape) < 2:
        return f"a grid of fewer than {WORTH} cells, or a line; ask for it with BackAndForth()"
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
