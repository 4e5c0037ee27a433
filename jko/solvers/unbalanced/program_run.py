"""One run of the interior point for steps with sources: the best weights, plan and potential."""

from __future__ import annotations

import numpy as np

from jko.prox.stated import Answer, Controls
from jko.solvers.unbalanced.cone import ConeStep
from jko.solvers.unbalanced.interior import StepInterior
from jko.status import Breakdown, Status
from jko.validation import Array

#: Iterations when the caller sets no limit, and those in a row that may bring nothing.
MAX_ITER = 200
STALL = 20
#: The iteration goes on until the gap is this share of the tolerance.
MARGIN = 1e-2
#: Atoms of m' below this share of its mass take no part in the plan.
LEAST = 1e-30


class ProgramRun:
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
            # Long steps are far from any bounded gap until their weights are nearly right.
            unknown = not np.isfinite(self.gap)
            stalled = 0 if unknown or self.gap < 0.9 * before else stalled + 1
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
