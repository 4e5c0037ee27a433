r"""One entropic step: accelerated scaling, then Newton's method where it stalls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from jko.prox import entropic_bias
from jko.prox.entropic import EntropicStep, Plan
from jko.prox.result import Breakdown, Status
from jko.prox.scaling import FLOOR, anderson, floored
from jko.solvers.base import Answer, Controls
from jko.solvers.entropic_dual import LARGE
from jko.solvers.entropic_newton import FEW, MANY, newton
from jko.solvers.entropic_newton import LIMIT as NEWTON_LIMIT
from jko.solvers.entropic_prox import KLProx
from jko.validation import Array

#: A stage is good enough when the gap is this fraction of the tolerance.
MARGIN = 1e-2
#: Share of the mean weight that even empty atoms have in the norm of the acceleration, with and
#: without an internal energy: where there is none, only this settles the light atoms.
LIGHT, LINEAR_LIGHT = 1e-12, 1e-9
#: Scaling iterations before Newton's method, where there is none, and after it.
SHORT, LONG, POLISH = 150, 1000, 60
#: On large supports scaling goes first for quadratic terms up to this r = 2 tau/eps: it is cheap.
MILD = 10.0
#: Iterations in all when the caller sets no limit.
UNLIMITED = 3000


@dataclass(frozen=True, eq=False)
class _Found:
    """What a stage reached."""

    plan: Plan | None
    log_d: Array | None
    tangent: Array | None
    gap: float

    def state(self) -> Array:
        """The state of the scaling iteration."""
        assert self.plan is not None
        log_b = floored(self.plan.log_b)
        return log_b if self.log_d is None else np.stack([log_b, floored(self.log_d)])


class EntropicRun:
    """One step: the fixed-point maps, the stopping rule, the second stage and the answer."""

    def __init__(self, stated: EntropicStep, controls: Controls, depth: int) -> None:
        self.stated, self.controls, self.depth = stated, controls, depth
        self.prox = KLProx(stated.form, stated.rate, stated.previous.mass)
        self.tangent: Array | None = None
        self.light = LIGHT if stated.form.separable.powers else LINEAR_LIGHT
        self.gate = np.inf
        self.iterations, self.left = 0, controls.max_iter or UNLIMITED
        self.checked: tuple[Array, Plan] | None = None

    @cached_property
    def scale(self) -> float:
        """Weight of the transport term's curvature: a residual of 1 is a gap of about this."""
        s = self.stated
        return s.eps / (2 * s.problem.step) * s.previous.mass

    def plain(self, x: Array) -> tuple[Array, Array]:
        """log b -> prox(log s) - log s."""
        plan = self.stated.plan(x)
        log_w, self.tangent = self.prox(plan.log_s)
        return floored(log_w - plan.log_s), np.exp(plan.log_w)

    def debiased(self, x: Array) -> tuple[Array, Array]:
        """(log b, log d) -> (prox(log d + log s) - log s, (log d + log w - log K d)/2)."""
        log_b, log_d = x
        plan = self.stated.plan(log_b)
        log_w, self.tangent = self.prox(log_d + plan.log_s)
        smooth = self.stated.kernel.log_apply(log_d, "d")
        image = np.stack([log_w - plan.log_s, 0.5 * (log_d + log_w - smooth)])
        weights = np.exp(plan.log_w)
        return floored(image), weights[None] + self.light * weights.mean()

    def split(self, x: Array) -> tuple[Array, Array | None]:
        """Potentials (log b, log d) of a state."""
        return (x[0], x[1]) if self.stated.debias else (x, None)

    def done(self, x: Array, residual: float) -> bool:
        """Whether the certificate of a state meets MARGIN times the tolerance."""
        if not residual <= self.gate:
            return False
        if not np.isfinite(self.gate):
            target = MARGIN * self.controls.tol
            self.gate = max(1e-13, 3 * float(np.sqrt(target / self.scale)))
            return self.done(x, residual)
        log_b, log_d = self.split(x)
        plan = self.stated.plan(log_b)
        self.checked = (x, plan)
        gap = self.stated.gap(plan, log_d, self.tangent).gap
        target = MARGIN * self.controls.tol
        if gap is not None and abs(gap) <= target:
            return True
        self.gate = max(1e-13, residual * 0.5)
        return False

    def warm(self) -> Array | None:
        """Potentials of the warm start, where it fits the support and is finite."""
        stated, warm = self.stated, self.controls.warm
        if not _fits(warm, stated) or stated.debias != ("log_d" in warm):
            return None
        # eps log(b/d) is nearly the same function when eps changes along a flow; d itself is
        # close to the square root of the measure.
        log_b, log_d = warm["log_b"], warm.get("log_d", 0.0)
        ratio = float(warm["signature"][0]) / stated.eps
        if not stated.debias:
            return np.asarray(ratio * log_b)
        stated.prime(log_d)
        return np.stack([log_d + ratio * (log_b - log_d), log_d])

    def cold(self) -> Array:
        """Potentials of the measure at rest."""
        stated = self.stated
        allowed = stated.form.separable.ceiling > 0
        if not stated.debias:
            return np.where(allowed, 0.0, FLOOR)
        rest = stated.previous_scaling
        charged = rest > FLOOR / 2
        rest = np.where(charged, rest, rest[charged].min())
        rest = np.where(allowed, rest, FLOOR)
        return np.stack([rest, rest])

    def answer(self) -> Answer:
        """Stages in turn until one meets the target; the best of them otherwise."""
        best = _Found(None, None, None, np.inf)
        with np.errstate(all="ignore"):  # zero weights have log -inf; finiteness is checked below
            for stage in self.stages():
                if best.gap <= MARGIN * self.controls.tol or self.left <= 0:
                    break
                found = stage(best)
                if found is not None and (found.gap < best.gap or best.plan is None):
                    best = found
            plan = best.plan
            if plan is None or not np.isfinite(plan.log_w).any() or np.isnan(plan.log_w).any():
                raise Breakdown(Status.BROKEN, "the scaling iteration left no finite measure")
            self.tangent = best.tangent
            exhausted = best.gap > MARGIN * self.controls.tol and self.left <= 0
            return self.report(plan, best.log_d, exhausted)

    def stages(self) -> Iterator[Callable[[_Found], _Found | None]]:
        """Scaling from the warm and the cold start, Newton's method, scaling from its answer.

        Quadratic terms make every scaling iteration a Newton solve of its own: there Newton's
        method comes first, as long as its dense systems are small and the prox is not mild.
        """
        small = self.stated.previous.n <= NEWTON_LIMIT
        most = SHORT if self.stated.previous.n <= LARGE else LONG
        begin = self.warm()
        if begin is not None:
            yield lambda _: self.scale_from(begin, most)
        if small and self.stated.form.quadratics:
            if self.stated.previous.n > LARGE and self.stated.rate <= MILD:
                yield lambda _: self.scale_from(self.cold(), SHORT)
            yield lambda _: self.newton()
        if begin is None or small:
            yield lambda _: self.scale_from(self.cold(), most)
        if small and not self.stated.form.quadratics:
            yield lambda _: self.newton()
        if begin is not None and not small:
            yield lambda _: self.scale_from(self.cold(), LONG)
        last = POLISH if self.stated.form.quadratics else LONG
        yield lambda best: self.scale_from(best.state(), last)

    def scale_from(self, start: Array, most: int) -> _Found | None:
        """Accelerated scaling."""
        if self.stated.form.quadratics and self.tangent is None:
            self.prox = KLProx(self.stated.form, self.stated.rate, self.stated.previous.mass)
        self.gate, self.checked = np.inf, None
        run = anderson(
            self.debiased if self.stated.debias else self.plain,
            start,
            done=self.done,
            depth=self.depth,
            max_iter=min(most, self.left),
        )
        self.left -= run.iterations
        self.iterations += run.iterations
        log_b, log_d = self.split(run.x)
        known = self.checked is not None and self.checked[0] is run.x
        plan = self.checked[1] if known and self.checked else self.stated.plan(log_b)
        return self.found(plan, log_d, self.tangent)

    def newton(self) -> _Found | None:
        """The globally convergent second stage."""
        limit = min(FEW if self.stated.previous.n > LARGE else MANY, self.left)
        out = newton(self.stated, MARGIN * self.controls.tol, limit)
        self.left -= out.systems
        self.iterations += out.systems
        if out.log_b is None:
            return None
        return self.found(self.stated.plan(out.log_b), out.log_d, out.tangent)

    def found(self, plan: Plan, log_d: Array | None, tangent: Array | None) -> _Found:
        """A plan with its gap, infinite where it is not finite."""
        if np.isnan(plan.log_w).any() or not np.isfinite(plan.log_w).any():
            return _Found(None, None, None, np.inf)
        gap = self.stated.gap(plan, log_d, tangent).gap
        size = abs(gap) if gap is not None and np.isfinite(gap) else np.inf
        return _Found(plan, log_d, tangent, size)

    def report(self, plan: Plan, log_d: Array | None, exhausted: bool) -> Answer:
        """The answer with objective, bias and warm start."""
        stated = self.stated
        spent = stated.kernel.count
        kind: str
        if log_d is None:
            bias = entropic_bias.plain_excess(stated, plan, self.tangent)
            kind, sqdistance = entropic_bias.PLAIN, stated.kernel.cost(plan.log_a, plan.log_b)
        else:
            bias = entropic_bias.debiased_excess(stated, plan, log_d, self.tangent)
            kind = entropic_bias.DEBIASED
            sqdistance = max(0.0, stated.transport(plan, log_d))
        dual = {"log_b": plan.log_b, "log_d": log_d, "tangent": self.tangent}
        info = {"reg": stated.eps, "bias_kind": kind, "kernel_applications": spent}
        return Answer(
            stated.measure(plan),
            stated,
            self.iterations,
            objective=stated.value(plan, log_d),
            sqdistance=sqdistance,
            bias=bias,
            dual=dual,
            baseline=stated.at_rest(),
            exhausted=exhausted,
            warm=warm_start(stated, plan.log_b, log_d),
            info=info,
        )


def _signature(stated: EntropicStep) -> Array:
    """A few numbers that identify the support and the regularisation."""
    x = stated.previous.points
    return np.array([stated.eps, *x.shape, x.sum(), (x**2).sum()])


def warm_start(stated: EntropicStep, log_b: Array, log_d: Array | None) -> dict[str, Any]:
    """Potentials as a plain dictionary of arrays."""
    warm = {"signature": _signature(stated), "log_b": log_b}
    if log_d is not None:
        warm["log_d"] = log_d
    return warm


def _fits(warm: Any, stated: EntropicStep) -> bool:
    """Whether a warm start belongs to this support."""
    if not isinstance(warm, dict) or "signature" not in warm or "log_b" not in warm:
        return False
    n = (stated.previous.n,)
    values = [np.asarray(v, dtype=float) for k, v in warm.items() if k in ("log_b", "log_d")]
    usable = all(v.shape == n and not np.isnan(v).any() for v in values)
    return usable and np.array_equal(warm["signature"][1:], _signature(stated)[1:])
