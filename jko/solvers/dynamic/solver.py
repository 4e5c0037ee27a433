"""Wasserstein and Wasserstein-Fisher-Rao steps on grids in their dynamic form."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from jko.geometries.unbalanced import WassersteinFisherRao
from jko.geometries.wasserstein import Wasserstein
from jko.measures.grid import GridDensity
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Controls
from jko.solvers.base import ProxSolver
from jko.solvers.dynamic.levels import coarser
from jko.solvers.dynamic.problem import DynamicProblem
from jko.solvers.dynamic.run import Solution, solve
from jko.solvers.dynamic.stated import DynamicStep, physical
from jko.solvers.refusals import Elsewhere, infeasible
from jko.status import Breakdown, Status
from jko.validation import positive_int

#: Accuracy to which the grids of the bias are solved, relative.
BIAS_TOL = 1e-4
#: Steps spent on each of them at most.
BIAS_STEPS = 300


@dataclass(frozen=True)
class Dynamic(ProxSolver):
    r"""Steps as dynamic transport: a path from the previous measure to the new one (formula Y1).

    Minimises F(w) plus the least action of `slices` intervals between w and the previous measure,
    by the splitting of `jko.geodesic`, one interval by Newton's method, and bounds it from below by
    potentials: an independent opinion on steps on grids. Obstacles and periodic axes are respected.

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
    cells, |step with twice the slices - step|. Papadakis et al. (2014) have the
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
        stated = DynamicStep(problem, self.slices)
        most = self.max_iter if controls.max_iter is None else controls.max_iter
        discrete = stated.discrete
        scale = problem.energy_size(problem.previous).size / discrete.unit
        found = solved(discrete, controls.tol, most, scale)
        best = found.best
        if best is None or found.phi is None:
            raise Breakdown(Status.BROKEN, "the splitting found no feasible path")
        measure = problem.discrete.with_weights(physical(found))
        action = 2 * discrete.unit * best.action * problem.step
        return Answer(
            measure,
            stated,
            found.iterations,
            objective=discrete.unit * best.value,
            sqdistance=action / problem.geometry.rate,
            energy=problem.value(measure),
            bias=self._bias(found) if self.bias else None,
            dual={"phi": found.phi, "share": found.share},
            baseline=problem.value(problem.previous),
            exhausted=found.iterations >= most,
            info={"bias_kind": "estimate: half the cells, twice the slices"},
        )

    @staticmethod
    def _bias(found: Solution) -> float | None:
        """|value on half the cells - value| + |value of twice the slices - value|, physical."""
        coarse = found.coarse
        below = coarser(found.problem) if coarse is None else None
        if below is not None:
            coarse = solved(below, BIAS_TOL, BIAS_STEPS, 0.0)
        at = found if coarse is None else coarse
        finer = replace(at.problem, slices=2 * at.problem.slices)
        other = solve(finer, BIAS_TOL, BIAS_STEPS)
        in_time = at.problem.unit * abs(other.upper - at.upper)
        if coarse is None:
            return float(in_time)
        return float(
            in_time + abs(coarse.problem.unit * coarse.upper - found.problem.unit * found.upper)
        )


def solved(problem: DynamicProblem, tol: float, most: int, scale: float) -> Solution:
    """By Newton's method where it applies, by the splitting where that does not or misses."""
    from jko.solvers.dynamic.newton import applies, one_interval

    quick = one_interval(problem, tol, scale, most) if applies(problem) else None
    if quick is not None:
        out = Solution(problem, quick.best, quick.lower, quick.phi, quick.share, quick.iterations)
        if out.upper - out.lower <= tol * (scale or out.size):
            return out
    return solve(problem, tol, most, scale=scale)
