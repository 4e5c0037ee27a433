"""What an entropic step hands back: objective, distance, bias, counts, and the next warm start."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer
from jko.solvers.entropic.costs import CostStep
from jko.solvers.entropic.excess import NONE, Excess, excess, sharp_sqdistance
from jko.solvers.entropic.scaling import FINE, self_scaling
from jko.solvers.entropic.stated import EntropicPlan, EntropicStep
from jko.validation import Array


@dataclass(frozen=True, eq=False)
class CoupledStep:
    """Where a step ended: its coupling, self-potential, and where F was linearised."""

    stated: EntropicStep
    plan: EntropicPlan
    log_d: Array | None
    tangent: Array | None = None

    def answer(self, iterations: int, exhausted: bool, bound: bool) -> Answer:
        """The answer; `bound` asks for the bias."""
        stated, plan, log_d = self.stated, self.plan, self.log_d
        with stated.work.stage("report"):
            baseline, objective = stated.at_rest(), stated.value(plan, log_d)
        found = None
        if bound:
            with stated.work.stage("bias"):
                found = bounded(stated, plan, log_d)
        with stated.work.stage("report"):
            moved = squared_distance(stated, plan, log_d, found)
        return Answer(
            stated.measure(plan),
            stated,
            iterations,
            objective=objective,
            sqdistance=moved,
            bias=None if found is None else found.bias,
            dual={"log_b": plan.log_b, "log_d": log_d, "tangent": self.tangent},
            baseline=baseline,
            exhausted=exhausted,
            warm=warm_start(stated, plan.log_b, log_d),
            info={
                "reg": stated.reg,
                "debias": stated.debias,
                **figures(found),
                "sweeps": iterations,
                "kernel_applications": stated.work.equivalent(stated.previous.n),
                **stated.work.figures(),
            },
        )


def bounded(stated: EntropicStep, plan: EntropicPlan, log_d: Array | None) -> Excess:
    """The bound of the excess; once it is far below the decrease of the objective it is enough."""
    nu, m = stated.weights(plan), stated.previous.weights
    before, after = stated.form.value(m), stated.form.value(nu)
    paid = 0.0 if log_d is None else stated.transport(plan, log_d) / (2 * stated.problem.step)
    decrease = before - after - max(paid, 0.0)
    return excess(stated, plan, decrease if np.isfinite(decrease) else abs(after))


def squared_distance(
    stated: EntropicStep, plan: EntropicPlan, log_d: Array | None, found: Excess | None
) -> float:
    """D^2 between the returned measure and the previous one: Sinkhorn's, within what plans allow.

    The plain step has no self-potential and solves for one, the half one where a bound is asked
    for, too.
    """
    if isinstance(stated, CostStep):
        return stated.sqdistance(plan, None if found is None else found.cost)
    if log_d is None and (found is not None or not stated.half):
        near = stated.previous_scaling + 0.5 * (plan.log_w - stated.log_m)
        start = near if np.isfinite(near).all() else None
        own = self_scaling(stated.kernel, plan.log_w, start, tol=FINE, slot="d")
        estimate = stated.divergence_of(plan, own)
    else:
        estimate = stated.transport(plan, log_d)
    if found is not None:
        estimate = sharp_sqdistance(found, estimate)
    problem = stated.problem
    rate = problem.geometry.rate if isinstance(problem, ProxProblem) else 1.0
    return max(0.0, estimate) / rate


def figures(found: Excess | None) -> dict[str, object]:
    """What `info` says about the bias."""
    if found is None:
        return {"bias_kind": NONE}
    return {
        "bias_reg": found.reg,
        "bias_grid": found.grid,
        "bias_kind": found.kind,
        "bias_transforms": round(found.transforms, 2),
        "bias_seconds": found.seconds,
    }


def _signature(stated: EntropicStep) -> Array:
    """A few numbers that identify the support and the regularisation."""
    x = stated.previous.points
    return np.array([stated.eps, *x.shape, x.sum(), (x**2).sum()])


def warm_start(stated: EntropicStep, log_b: Array, log_d: Array | None) -> dict[str, Array]:
    """Potentials as a plain dictionary of arrays."""
    warm = {"signature": _signature(stated), "log_b": log_b}
    if log_d is not None:
        warm["log_d"] = log_d
    return warm


def fits(warm: object, stated: EntropicStep) -> bool:
    """Whether a warm start belongs to this support."""
    if not isinstance(warm, dict) or "signature" not in warm or "log_b" not in warm:
        return False
    n = (stated.previous.n,)
    values = [np.asarray(v, dtype=float) for k, v in warm.items() if k in ("log_b", "log_d")]
    usable = all(v.shape == n and not np.isnan(v).any() for v in values)
    return usable and np.array_equal(warm["signature"][1:], _signature(stated)[1:])
