r"""Unregularised Wasserstein-Fisher-Rao steps between few atoms: exact, with their duality gap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from jko.geometries.base import Geometry
from jko.geometries.unbalanced import WassersteinFisherRao
from jko.measures.atoms import Histogram
from jko.measures.base import Measure
from jko.measures.grid import GridDensity
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Controls
from jko.solvers.base import ProxSolver
from jko.solvers.grids.resolution import warn_if_coarse
from jko.solvers.unbalanced.cone import ConeStep
from jko.solvers.unbalanced.interior import StepInterior
from jko.solvers.unbalanced.refusals import not_unbalanced
from jko.status import Breakdown, Status
from jko.validation import Array, positive_int

#: Iterations when the caller sets no limit, and those in a row that may bring nothing.
MAX_ITER = 200
STALL = 20
#: The iteration goes on until the gap is this share of the tolerance.
MARGIN = 1e-2
#: Atoms of m' below this share of its mass take no part in the plan.
LEAST = 1e-30
#: Squared cells that a step on a grid should carry mass by (`jko.solvers.grids.resolution`).
CELLS = 0.5


@dataclass(frozen=True)
class UnbalancedProgram(ProxSolver):
    r"""The unregularised Wasserstein-Fisher-Rao step on a fixed support, by an interior point.

    Solves the jointly convex problem of `jko.solvers.unbalanced.cone` over weights and plan, for
    any energy that is convex in the weights, without CVXPY. The answer is exact for the support: on
    a grid coarser than the displacements of the step it is not that of the density.

    Parameters
    ----------
    max_atoms : int
        Larger supports are refused: an iteration factorises a dense matrix over them.

    References
    ----------
    Liero et al. (2018); Mehrotra (1992).
    """

    max_atoms: int = 200

    geometries: ClassVar[tuple[type[Geometry], ...]] = (WassersteinFisherRao,)
    kinds: ClassVar[tuple[type[Measure], ...]] = (GridDensity, Histogram)
    guarantee: ClassVar[str] = (
        "exact on the support: an interior point with its duality gap; small supports"
    )
    default_tol: ClassVar[float] = 1e-8

    def __post_init__(self) -> None:
        positive_int(self.max_atoms, "max_atoms")

    def accepts(self, problem: ProxProblem) -> str | None:
        why = not_unbalanced(problem, self.name)
        if why is None and problem.discrete.n > self.max_atoms:
            return (
                f"takes at most {self.max_atoms} atoms, this measure has {problem.discrete.n}; use"
                " jko.solvers.UnbalancedScaling, or raise max_atoms"
            )
        return why

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        fault = "between their centres next to nothing moves"
        warn_if_coarse(problem, CELLS, fault, "jko.solvers.UnbalancedScaling()")
        stated = ConeStep(problem)
        if stated.unbounded:
            raise unbounded()
        with np.errstate(under="ignore"):
            return _ProgramRun(stated, controls).answer()


def unbounded() -> Breakdown:
    """What a step without a minimum raises."""
    why = "the energy falls by more than 2/(beta tau) per unit of mass at some atom"
    return Breakdown(Status.UNBOUNDED, why)


class _ProgramRun:
    """One run of the interior point: the best weights, plan and potential seen."""

    def __init__(self, stated: ConeStep, controls: Controls) -> None:
        self.stated, self.controls = stated, controls
        form, previous = stated.problem.form, stated.previous
        self.open = np.flatnonzero(form.separable.ceiling > 0)
        mass = max(previous.mass, 1e-300)
        self.kept = np.flatnonzero(stated.m > LEAST * mass)
        part = form.separable.take(self.open)
        self.mean = previous.mass / self.open.size
        start = np.maximum(previous.weights[self.open], 1e-2 * self.mean)
        start = np.minimum(start, 0.5 * part.ceiling)
        terms = [q.scale * q.operator.dense() for q in form.quadratics]
        pairs = np.ix_(self.open, self.open)
        gram = np.sum(terms, axis=0)[pairs] / stated.lam if terms else None
        cost = stated.cost[np.ix_(self.open, self.kept)]
        energy = part.scaled(1 / stated.lam)
        self.inner = StepInterior(energy, gram, stated.m[self.kept], cost, start)
        self.gap, self.w = np.inf, np.zeros(previous.n)
        self.plan, self.psi = np.zeros(stated.cost.shape), np.zeros(stated.m.size)

    def answer(self) -> Answer:
        stated, limit = self.stated, self.controls.max_iter or MAX_ITER
        goal = MARGIN * self.controls.tol * stated.problem.unit
        stalled, iterations = 0, 0
        while self.gap > goal and stalled <= STALL and iterations < limit:
            before = self.gap
            iterations += 1
            if not self.inner.advance():
                break
            self._record()
            stalled = 0 if self.gap < 0.9 * before else stalled + 1
        if not np.isfinite(self.gap):
            raise Breakdown(Status.BROKEN, "the interior point found no bounded gap")
        problem, nu = stated.problem, stated.previous.with_weights(self.w)
        paid = stated.paid(self.w, self.plan)
        return Answer(
            nu,
            stated,
            iterations,
            objective=problem.form.value(self.w) + stated.lam * paid,
            sqdistance=4 / (stated.geometry.beta * stated.geometry.rate) * paid,
            dual={"psi": self.psi, "plan": self.plan},
            baseline=problem.value(stated.previous),
            exhausted=iterations >= limit,
        )

    def _record(self) -> None:
        """Keep the iterate whose gap is the least."""
        stated, at = self.stated, self.inner.at
        w, plan = np.zeros(stated.previous.n), np.zeros(stated.cost.shape)
        w[self.open] = at.w
        plan[np.ix_(self.open, self.kept)] = at.x
        psi = self._extended(at.h)
        gap = stated.gap(w, psi, stated.paid(w, plan))
        if gap < self.gap:
            self.gap, self.w, self.plan, self.psi = gap, w, plan, psi

    def _extended(self, h: Array) -> Array:
        """The potential of all atoms of m'; those left out may ask for mass up to sqrt(m mass)."""
        stated = self.stated
        psi = np.full(stated.m.size, -np.inf)
        psi[self.kept] = np.where(self.inner.columns, h, np.inf)
        phi = stated.transform(psi)
        for j in np.flatnonzero(psi == -np.inf):
            most = 0.5 * np.log(stated.previous.mass / stated.m[j])
            near = np.isfinite(stated.cost[:, j])
            psi[j] = (stated.cost[near, j] - np.minimum(phi[near], most)).min(initial=np.inf)
        return psi
