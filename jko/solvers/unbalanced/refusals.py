"""Why a step is none of unsplit transport with sources on a fixed support."""

from __future__ import annotations

from jko.geometries.unbalanced import WassersteinFisherRao
from jko.measures.atoms import Histogram, Particles
from jko.measures.grid import GridDensity, not_straight
from jko.prox.problem import ProxProblem
from jko.solvers.base import infeasible
from jko.status import Breakdown, Status

SPLIT = "take the split step of alpha*jko.Wasserstein() + beta*jko.Hellinger()"


def not_unbalanced(problem: ProxProblem, name: str) -> str | None:
    """Why a solver of this name does not take the problem, whatever its size."""
    if not isinstance(problem.geometry, WassersteinFisherRao):
        return f"{name} takes steps of jko.WassersteinFisherRao"
    previous = problem.previous
    if isinstance(previous, Particles):
        return (
            f"particles move, and this step only varies weights on a fixed support; {SPLIT},"
            " or a jko.Histogram"
        )
    if not isinstance(previous, (GridDensity, Histogram)):
        return f"needs a GridDensity or a Histogram, not a {type(previous).__name__}"
    curved = not_straight(previous)
    if curved is not None:
        return curved
    if not problem.form.convex:
        return f"{problem.energy!r} is not convex in the weights; {SPLIT}"
    return infeasible(problem)


def unbounded() -> Breakdown:
    """What a step without a minimum raises."""
    why = "the energy falls by more than 2/(beta tau) per unit of mass at some atom"
    return Breakdown(Status.UNBOUNDED, why)
