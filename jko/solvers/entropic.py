r"""Entropic Wasserstein steps on fixed supports: scaling algorithms with a certificate."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from jko.geometries.wasserstein import Wasserstein
from jko.measures.atoms import Histogram
from jko.measures.grid import GridDensity
from jko.prox import entropic_bias
from jko.prox.entropic import EntropicStep, Plan
from jko.prox.gibbs import DENSE_LIMIT
from jko.prox.problem import ProxProblem
from jko.prox.result import Breakdown, Status
from jko.prox.scaling import FLOOR, anderson, floored
from jko.solvers.base import Answer, Controls, ProxSolver
from jko.solvers.entropic_prox import KLProx
from jko.solvers.entropic_reg import choose_reg
from jko.validation import Array, one_of, positive, positive_int

#: The iteration goes on until the gap is this fraction of the tolerance.
MARGIN = 1e-2
#: Share of the mean weight that even empty atoms have in the norm of the acceleration, with and
#: without an internal energy: where there is none, only this settles the light atoms.
LIGHT, LINEAR_LIGHT = 1e-12, 1e-9


@dataclass(frozen=True)
class Entropic(ProxSolver):
    r"""Entropic Wasserstein steps: log-domain scaling, debiased by default.

    Solves argmin_w F(w) + S(w, m')/(2 tau), S the Sinkhorn divergence (debias=True), or
    argmin_w F(w) + OT(w, m')/(2 tau) (debias=False), with cost |x-y|^2, regularisation eps = reg
    and counting reference (MATH W1, W2), on the grid or histogram of the previous measure.

    Parameters
    ----------
    reg : float, optional
        eps, in units of a squared distance. None: see `jko.solvers.entropic_reg.choose_reg`.
    debias : bool
        True: bias O(eps^2) and the equilibrium kept. False: the step adds diffusion eps/(4 tau).
    backend : {"log", "pot"}
        "pot" goes through POT's semi-relaxed solver (debias=False only), as a cross-check.
    depth : int
        Memory of the Anderson acceleration; 0 turns it off.

    Notes
    -----
    With r = 2 tau/eps the iteration is, for the unknown log b [and log d],

        a = m'/(K b),  s = K'a,  log w = KL-prox of r F at d s,  b <- w/s,  d <- sqrt(d w/(K d)),

    d = 1 in the plain step. The result is b K'a, whose mass is exact. `sqdistance` is the cost
    <C, P> of the plan (plain) or the Sinkhorn divergence S, an estimate of W2^2 with error
    O(eps^2) (debiased). `objective` and `gap` refer to the regularised problem; `bias` estimates
    the excess of the unregularised objective (`info["bias_kind"]` says how).
    """

    reg: float | None = None
    debias: bool = True
    backend: str = "log"
    depth: int = 5

    guarantee: ClassVar[str] = (
        "global minimum of the entropic step, with its duality gap; bias is an estimate"
    )
    default_tol: ClassVar[float] = 1e-8

    def __post_init__(self) -> None:
        if self.reg is not None:
            object.__setattr__(self, "reg", positive(self.reg, "reg"))
        one_of(self.backend, ("log", "pot"), "backend")
        if self.depth != 0:
            positive_int(self.depth, "depth")

    def accepts(self, problem: ProxProblem) -> str | None:
        if not isinstance(problem.geometry, Wasserstein):
            return f"takes Wasserstein steps, not {problem.geometry!r}"
        previous = problem.previous
        if not isinstance(previous, (GridDensity, Histogram)):
            return (
                f"needs a fixed support (GridDensity or Histogram), not {type(previous).__name__};"
                " move particles with jko.solvers.Lagrangian"
            )
        if isinstance(previous, Histogram) and previous.n > DENSE_LIMIT:
            return f"needs a dense kernel of {previous.n} scattered points, limit {DENSE_LIMIT}"
        if self.backend == "pot" and previous.n > DENSE_LIMIT:
            return f"backend='pot' needs a dense cost of {previous.n} atoms, limit {DENSE_LIMIT}"
        if self.backend == "pot" and self.debias:
            return "backend='pot' has no debiased step; pass debias=False, or backend='log'"
        return self._energy_reason(problem)

    def _energy_reason(self, problem: ProxProblem) -> str | None:
        form = problem.form  # raises Unsupported, a reason too, when there is none
        if any(q.kernel.definiteness != "positive" for q in form.quadratics):
            return "needs quadratic terms with a positive-definite kernel"
        h = form.separable
        curved = any((c > 0).any() for c in h.powers.values()) or form.quadratics
        bounded = bool((np.isfinite(h.ceiling) & (h.ceiling > 0)).any())
        rough = any(not q.kernel.stationary for q in form.quadratics)
        if self.debias and not h.powers and (rough or isinstance(problem.previous, Histogram)):
            return (
                "between scattered atoms, or with the energy distance, the debiased step needs an"
                " internal energy to converge;"
                " pass debias=False, or add jko.Entropy() or a divergence to the energy"
            )
        if self.debias and not curved and not bounded:
            return (
                "the debiased step of a linear energy is a deconvolution without a smooth solution;"
                " pass debias=False, or add jko.Entropy() to the energy"
            )
        return None

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        eps = choose_reg(problem, self.debias) if self.reg is None else self.reg
        stated = EntropicStep(problem, eps, self.debias)
        if self.backend == "pot":
            from jko.solvers.pot_backend import solve_with_pot

            return solve_with_pot(stated, controls)
        return _Run(stated, controls, self.depth).answer()


class _Run:
    """One scaling run: the fixed-point maps, the stopping rule and the answer."""

    def __init__(self, stated: EntropicStep, controls: Controls, depth: int) -> None:
        self.stated, self.controls, self.depth = stated, controls, depth
        self.prox = KLProx(stated.form, stated.rate, stated.previous.mass)
        self.tangent: Array | None = None
        self.light = LIGHT if stated.form.separable.powers else LINEAR_LIGHT
        self.gate = np.inf
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

    def start(self) -> Array:
        """Potentials of the warm start where it fits, else those of the measure at rest."""
        stated, warm = self.stated, self.controls.warm
        if _fits(warm, stated):
            # eps log(b/d) is nearly the same function when eps changes along a flow; d itself is
            # close to the square root of the measure.
            log_b, log_d = warm["log_b"], warm.get("log_d", np.zeros(1))
            ratio = float(warm["signature"][0]) / stated.eps
            if stated.debias and "log_d" in warm:
                stated.prime(log_d)
                return np.stack([log_d + ratio * (log_b - log_d), log_d])
            if not stated.debias and "log_d" not in warm:
                return np.asarray(ratio * log_b)
        if not stated.debias:
            return np.where(stated.form.separable.ceiling > 0, 0.0, FLOOR)
        rest = stated.previous_scaling
        charged = rest > FLOOR / 2
        rest = np.where(charged, rest, rest[charged].min())
        rest = np.where(stated.form.separable.ceiling > 0, rest, FLOOR)
        return np.stack([rest, rest])

    def answer(self) -> Answer:
        stated = self.stated
        with np.errstate(all="ignore"):  # zero weights have log -inf; finiteness is checked below
            run = anderson(
                self.debiased if stated.debias else self.plain,
                self.start(),
                done=self.done,
                depth=self.depth,
                max_iter=self.controls.max_iter or 1000,
            )
            log_b, log_d = self.split(run.x)
            known = self.checked is not None and self.checked[0] is run.x
            plan = self.checked[1] if known and self.checked else stated.plan(log_b)
            if not np.isfinite(plan.log_w).any() or np.isnan(plan.log_w).any():
                raise Breakdown(Status.BROKEN, "the scaling iteration left no finite measure")
            return self.report(plan, log_d, run.iterations, run.converged)

    def report(self, plan: Plan, log_d: Array | None, iterations: int, converged: bool) -> Answer:
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
        limit = self.controls.max_iter or 1000
        info = {"reg": stated.eps, "bias_kind": kind, "kernel_applications": spent}
        return Answer(
            stated.measure(plan),
            stated,
            iterations,
            objective=stated.value(plan, log_d),
            sqdistance=sqdistance,
            bias=bias,
            dual=dual,
            exhausted=not converged and iterations >= limit,
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
    return np.array_equal(warm["signature"][1:], _signature(stated)[1:])
