"""Where a finite-volume step is worth trying before others."""

from __future__ import annotations

from jko.measures.grid import GridDensity
from jko.prox.problem import ProxProblem
from jko.solvers.finite_volume.length import displacement, model_error
from jko.solvers.finite_volume.scheme import CellScheme

#: Model error q up to which a step is closer to the exact Wasserstein step than the entropic one
#: (`benchmarks/finite_volume.py --only switch`).
SHORT = 0.05
#: Cells that a step may move mass by before it smears.
HALF = 0.5


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
    if q <= SHORT and cells <= HALF:
        return None
    if q <= SHORT:
        return (
            f"the step moves mass by {cells:.2g} cells, which smears: take a shorter tau, or"
            " ask for it with FiniteVolume()"
        )
    return (
        f"its model error q = {q:.2g} is above {SHORT:g}: take a shorter tau, or ask"
        " for it with FiniteVolume()"
    )
