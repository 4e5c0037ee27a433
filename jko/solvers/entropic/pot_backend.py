r"""Plain entropic steps through POT's semi-relaxed solver, every answer checked.

POT's `ot.unbalanced.sinkhorn_unbalanced` with reg_m = (inf, 2 tau c), reg_type "kl" and c = 1
minimises <C,P> + eps sum P (log P - 1) + 2 tau c KL(P'1 | pi) over P1 = m': the plain step of
c KL(. | pi), which every entropy plus potential is. Any other energy is majorised at the current
w_k by its tangent plus L KL(. | w_k), that is L KL(. | w_k exp(-f_k / L)) up to a constant.
"""

from __future__ import annotations

import warnings

import numpy as np

from jko.prox.stated import Answer, Controls
from jko.solvers.entropic.answer import bounded, figures, squared_distance
from jko.solvers.entropic.scaling import FLOOR
from jko.solvers.entropic.stated import EntropicPlan, EntropicStep
from jko.status import Breakdown, Status
from jko.validation import Array

#: Largest relative error of POT's marginals and mass that is taken for a solution.
MARGINAL = 1e-6
#: Changes of the scalings at which POT stops.
STOP = 1e-13
#: Iterations of POT in one call, and calls, at most.
INNER = 20_000
OUTER = 2000


def solve_with_pot(stated: EntropicStep, controls: Controls, bound: bool = True) -> Answer:
    """The plain step by POT: one call for entropies and potentials, an outer loop elsewhere."""
    run = _Pot(stated, controls)
    coefficient = entropic_coefficient(stated)
    if coefficient is None:
        plan, calls, converged = run.majorise()
    else:
        h = stated.form.separable
        target = np.where(h.ceiling > 0, -h.linear / coefficient, -np.inf)
        plan = run.call(target, coefficient)
        calls, converged = 1, True
    dual = {"log_b": plan.log_b, "log_d": None, "tangent": run.tangent}
    found = bounded(stated, plan, None) if bound else None
    return Answer(
        stated.measure(plan),
        stated,
        calls,
        objective=stated.value(plan, None),
        sqdistance=squared_distance(stated, plan, None, found),
        bias=None if found is None else found.bias,
        dual=dual,
        exhausted=not converged,
        info={"reg": stated.eps, **figures(found), "pot_calls": calls},
    )


def entropic_coefficient(stated: EntropicStep) -> float | None:
    """c when F is c KL(. | pi) plus a constant for some pi, else None."""
    h, quadratics = stated.form.separable, stated.form.quadratics
    open_atoms = h.ceiling > 0
    if quadratics or set(h.powers) != {1.0} or np.isfinite(h.ceiling[open_atoms]).any():
        return None
    c = h.powers[1.0][open_atoms]
    return float(c[0]) if c[0] > 0 and np.ptp(c) == 0 else None


class _Pot:
    """POT calls on the charged rows and allowed columns of one step."""

    def __init__(self, stated: EntropicStep, controls: Controls) -> None:
        self.stated, self.controls = stated, controls
        self.rows = stated.previous.weights > 0
        self.columns = stated.form.separable.ceiling > 0
        x = stated.previous.points
        self.cost = ((x[self.rows][:, None] - x[self.columns][None]) ** 2).sum(axis=-1)
        self.tangent: Array | None = None
        self.potentials: tuple[Array, Array] | None = None

    def call(self, log_target: Array, c: float) -> EntropicPlan:
        """Minimise over plans with the energy c KL(. | target); checked."""
        import ot

        weights = self.stated.previous.weights[self.rows]
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # what they say is checked below
            plan, log = ot.unbalanced.sinkhorn_unbalanced(
                weights,
                np.exp(log_target[self.columns]),
                self.cost,
                self.stated.eps,
                (np.inf, 2 * self.stated.problem.step * c),
                reg_type="kl",
                c=np.ones_like(self.cost),
                warmstart=self.potentials,
                numItermax=INNER,
                stopThr=STOP,
                log=True,
            )
        self._check(np.asarray(plan), weights)
        self.potentials = (log["logu"], log["logv"])
        log_b = np.full(self.columns.shape, FLOOR)
        log_b[self.columns] = log["logv"]
        return self.stated.plan(log_b)

    def _check(self, plan: Array, weights: Array) -> None:
        if not np.isfinite(plan).all():
            raise Breakdown(Status.BROKEN, "POT returned a plan that is not finite; raise reg")
        mass = float(weights.sum())
        total = float(plan.sum())
        if not abs(total - mass) <= MARGINAL * mass:
            raise Breakdown(
                Status.BROKEN,
                f"POT returned a plan of mass {total:.6g} instead of {mass:.6g};"
                " raise reg, or use backend='log'",
            )
        error = float(np.abs(plan.sum(axis=1) - weights).sum()) / mass
        if not error <= MARGINAL:
            raise Breakdown(
                Status.BROKEN,
                f"POT's first marginal is off by {error:.2e} of the mass;"
                " raise reg, or use backend='log'",
            )

    def majorise(self) -> tuple[EntropicPlan, int, bool]:
        """Successive KL targets; L grows while the stated objective would rise."""
        stated, w = self.stated, np.where(self.columns, 1.0, 0.0)
        w *= stated.previous.mass / w.sum()
        level, best, plan = self._level(w), np.inf, None
        limit = self.controls.max_iter or OUTER
        scale = stated.eps * stated.previous.mass / (2 * stated.problem.step)
        for calls in range(1, limit + 1):
            new = self.call(self._target_at(w, level), level)
            value = stated.value(new, None)
            if value > best + 1e-12 * (abs(best) + scale):
                level *= 2
                continue
            self.tangent = w if stated.form.quadratics else None
            plan, best = new, value
            gap = stated.gap(plan, None, self.tangent).gap
            if gap is not None and abs(gap) <= 1e-2 * self.controls.tol:
                return plan, calls, True
            w = stated.measure(plan).weights
        if plan is None:
            raise Breakdown(Status.BROKEN, "no majorisation decreased the objective")
        return plan, limit, False

    def _level(self, w: Array) -> float:
        """Curvature of F relative to KL at w, and enough not to overflow exp(-f/L)."""
        form, mass = self.stated.form, self.stated.previous.mass
        quadratic = sum(q.scale * float(q.operator.diagonal().max()) for q in form.quadratics)
        inside = self.columns
        local = float((form.separable.hessian(w)[inside] * w[inside]).max())
        return max(quadratic * mass + local, float(np.ptp(form.gradient(w)[inside])) / 50, 1e-6)

    def _target_at(self, w: Array, level: float) -> Array:
        """log of w exp(-f/L), f the first variation at w."""
        out = np.full(w.shape, -np.inf)
        inside = self.columns & (w > 0)
        out[inside] = np.log(w[inside]) - self.stated.form.gradient(w)[inside] / level
        return out
