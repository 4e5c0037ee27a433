"""Wasserstein and Wasserstein-Fisher-Rao steps on grids in their dynamic form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jko.geometries.unbalanced import WassersteinFisherRao
from jko.geometries.wasserstein import Wasserstein
from jko.measures.grid import GridDensity
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Controls
from jko.solvers.base import Elsewhere, ProxSolver, infeasible
from jko.validation import positive_int, switch


@dataclass(frozen=True)
class Dynamic(ProxSolver):
    r"""Steps as dynamic transport: a path from the previous measure to the new one (formula Y1).

    Minimises F(w) plus the least action of `slices` intervals between w and the previous measure,
    by Newton's method where cells and slices are few and by the splitting of `jko.geodesic`
    otherwise, and bounds it from below by potentials: an independent opinion on steps on grids.
    Obstacles and periodic axes are respected.

    Parameters
    ----------
    slices : int, default 1
        Intervals of time. One is the weighted dual Sobolev norm of the change, second order in
        the displacement over the width of the measure; more come closer to the true distance.
    max_iter : int, default 3000
        Iterations on the grid itself when `jko.step` is given none.
    bias : bool, default True
        Estimate the bias from half the cells and from twice the slices.

    Notes
    -----
    `gap` bounds the excess over the stated discrete step. `bias` estimates how far its objective is
    from that of the step without discretisation: |step on half the cells - step| plus, on half the
    cells, 4/3 |step with twice the slices - step|. Papadakis et al. (2014) have the
    splitting; the bounds are ours.
    """

    slices: int = 1
    max_iter: int = 3000
    bias: bool = True

    guarantee: ClassVar[str] = (
        "global minimum of the dynamic step on the grid, with its duality gap; bias is an estimate"
    )
    default_tol: ClassVar[float] = 1e-6

    def __post_init__(self) -> None:
        positive_int(self.slices, "slices")
        positive_int(self.max_iter, "max_iter")
        switch(self.bias, "bias")

    def accepts(self, problem: ProxProblem) -> str | None:
        geometry, previous = problem.geometry, problem.previous
        if not isinstance(geometry, (Wasserstein, WassersteinFisherRao)):
            return Elsewhere(
                f"takes Wasserstein and Wasserstein-Fisher-Rao steps, not {geometry!r}"
            )
        plain = getattr(geometry, "p", 2) == 2 and getattr(geometry, "cost", None) is None
        if isinstance(geometry, Wasserstein) and not plain:
            return f"takes steps of the cost |x - y|^2, not {geometry!r}"
        if not isinstance(previous, GridDensity):
            return f"needs the cells of a GridDensity, not a {type(previous).__name__}"
        if problem.form.quadratics:
            return (
                "takes energies that act cell by cell (internal energies, potentials, bounds);"
                " use jko.solvers.Entropic for kernels"
            )
        if (previous.weights[problem.form.separable.ceiling == 0] > 0).any():
            return "the measure charges cells that the energy closes"
        return infeasible(problem)

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        from jko.solvers.dynamic.answer import answer  # the room is loaded where it is used

        most = self.max_iter if controls.max_iter is None else controls.max_iter
        return answer(problem, self.slices, most, controls.tol, self.bias)
