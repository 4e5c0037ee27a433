"""Where a finite-volume step is worth trying before others."""

from __future__ import annotations

from jko.measures.grid import GridDensity
from jko.prox.problem import ProxProblem
from jko.solvers.finite_volume.length import displacement, model_error
from jko.solvers.finite_volume.scheme import CellScheme

#: The error of the step, as a share of the way gone, is about LEAST + SLOPE q at a model error q,
#: that of other steps about BLUR over the cells that mass moves by: fits of L1 distances to exact
#: Barenblatt steps (formula W5, m = 2 and 4, 32^2 and 64^2 cells, moves of .1 to 2 cells).
LEAST, SLOPE, BLUR = 0.03, 0.3, 0.016


def short_step(problem: ProxProblem) -> str | None:
    """None for short steps of porous media, and where the entropic step sees too little.

    The entropic step sees neither obstacles nor kernels that are not positive definite.
    """
    previous = problem.previous
    assert isinstance(previous, GridDensity)
    if previous.grid.mask is not None or not problem.form.convex:
        return None
    scheme = CellScheme(problem.form, previous.grid)
    if not scheme.powers:
        return "without an internal energy it smears; ask for it with FiniteVolume()"
    if scheme.barrier:
        return (
            "under an entropy densities are smooth, and the entropic step is the closer one;"
            " ask for it with FiniteVolume()"
        )
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
