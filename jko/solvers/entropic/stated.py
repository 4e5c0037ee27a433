r"""Entropic Wasserstein steps as problems: objective, plan, certificate (formulas W1, W1b, W2).

With C = |x-y|^2, K = exp(-C/eps), M the mass of the previous weights m' and

    OT(w, m') = min { <C, P> + eps sum P (log P - 1) :  P 1 = m',  P' 1 = w },

the plain step minimises J(w) = F(w) + OT(w, m') / (2 tau); the debiased step minimises
J(w) = F(w) + S(w, m') / (2 tau) with the Sinkhorn divergence
S(w, m') = OT(w, m') - OT(w, w)/2 - OT(m', m')/2, which is convex in w because K is positive
definite. The half step puts the self-transport of a smooth measure,
OT(w, w) ~ eps (sum w log(w/K1) - M), in its place, for w and for m': half the entropy of the plan's
marginal, which leaves a convex problem since OT(w, m') - eps sum w log w is convex (the entropy of
P relative to its marginal). All range over weights w >= 0 of mass M on the support of m'.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np

from jko.forms.form import WeightForm
from jko.forms.separable import Separable
from jko.geometries.wasserstein import Wasserstein
from jko.measures.base import Discrete, Measure
from jko.numerics.elementary import log_or_minus_inf
from jko.prox.duality.fenchel import (
    divergence_gap,
    dot,
    fenchel_gap,
    lifted_potential,
    tilted,
)
from jko.prox.stated import Answer, Certificate, Claim, Neighbour, on_atoms
from jko.solvers.entropic.gibbs import gibbs
from jko.solvers.entropic.kernel import EntropicPlan as EntropicPlan
from jko.solvers.entropic.kernel import Gibbs, Work
from jko.solvers.entropic.scaling import FINE, pair_scaling, self_scaling
from jko.solvers.grids.levels import CONSISTENT, Problem
from jko.validation import Array, Mask

#: log d and, where it is known, log K d.
_Own = tuple[Array, Array | None]

#: Accuracy of the potential of the previous measure, from which steps at an equilibrium start.
OWN = 1e-8


@dataclass(frozen=True, eq=False)
class EntropicStep(Neighbour):
    """The regularised problem an entropic solver states.

    Attributes
    ----------
    problem : ProxProblem
    eps : float
        Regularisation: weight of the entropy of the plan, in units of the squared distance.
    debias : bool or "half"
        Sinkhorn divergence (True), entropic cost (False), or half the entropy taken away.
    work : Work
        Where products are counted.
    kernel : Gibbs
    """

    claim: ClassVar[Claim] = Claim.REGULARISED

    problem: Problem
    eps: float
    debias: bool | str
    work: Work = field(default_factory=Work)
    kernel: Gibbs = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kernel", gibbs(self.previous, self.eps, self.work))

    @property
    def divergence(self) -> bool:
        """Whether the transport term is the Sinkhorn divergence, with a self-potential."""
        return self.debias is True

    @property
    def half(self) -> bool:
        """Whether half the entropy is taken away."""
        return self.debias == "half"

    @property
    def curved(self) -> bool:
        """Whether F has an internal energy: the density itself keeps mass from clumping."""
        return bool(self.form.separable.powers)

    @property
    def previous(self) -> Discrete:
        """The previous measure."""
        return self.problem.discrete

    @property
    def form(self) -> WeightForm:
        """The energy in the weights."""
        return self.problem.form

    @property
    def rate(self) -> float:
        """r = 2 tau / eps, the step of the KL-prox in the scaling iteration."""
        return 2 * self.problem.step / self.eps

    @cached_property
    def log_m(self) -> Array:
        """log m'."""
        return log_or_minus_inf(self.previous.weights)

    @cached_property
    def log_one(self) -> Array:
        """log K1, constant away from the walls."""
        return self.kernel.log_one()

    @cached_property
    def previous_scaling(self) -> Array:
        """log e with e K e = m', the potential of OT(m', m') (an error counts squared there)."""
        return self_scaling(self.kernel, self.log_m, tol=OWN if self.debias else FINE, slot="e")

    def prime(self, log_d: Array) -> None:
        """Compute `previous_scaling` from a guess, such as the log d of the step before."""
        found = self_scaling(self.kernel, self.log_m, log_d, tol=OWN, slot="e")
        self.__dict__["previous_scaling"] = found

    def at_rest(self) -> float:
        """The objective of staying put: F(m'), plus OT(m', m')/(2 tau) in the plain step."""
        m = self.previous.weights
        energy = self.form.value(m)
        if self.divergence or not np.isfinite(energy):
            return energy
        log_e = self.previous_scaling
        inner = 2 * dot(m, log_e) - self._energy(log_e, "e")
        if self.half:
            inner -= 2 * self._local(m, self.log_m)
        return energy + self.eps * inner / (2 * self.problem.step)

    @property
    def reg(self) -> float:
        """The regularisation beside the cost of the geometry."""
        return self.eps

    @property
    def span(self) -> float:
        """The largest cost between two atoms."""
        x = self.previous.points
        return float(((x.max(axis=0) - x.min(axis=0)) ** 2).sum())

    def at(self, eps: float) -> EntropicStep:
        """The plain step at another regularisation."""
        return type(self)(self.problem, eps, False, self.work)

    @property
    def smooth_previous(self) -> Array:
        """log K e with e K e = m', smooth also where m' is empty (n,)."""
        return self.kernel.remembered(self.previous_scaling, "e")

    def log_block(self, rows: Mask, columns: Mask) -> Array:
        """log K between two sets of atoms."""
        x = self.previous.points
        out = np.zeros((int(rows.sum()), int(columns.sum())))
        for c in x.T:
            out -= (c[rows][:, None] - c[columns][None]) ** 2
        out /= self.eps
        return out

    def exact_cost(self, nu: Discrete) -> float:
        """The least cost of a plan between scattered atoms."""
        return Wasserstein().sqdistance(nu, self.previous)

    def plan(self, log_b: Array) -> EntropicPlan:
        """The coupling of a second potential; two kernel applications."""
        return self.kernel.plan(self.previous.weights, self.log_m, log_b)

    def measure(self, plan: EntropicPlan) -> Discrete:
        """The second marginal; its mass is that of the previous measure to the last digits."""
        return self.previous.with_weights(self.weights(plan))

    def weights(self, plan: EntropicPlan) -> Array:
        """The weights of the second marginal, of the mass of the previous measure."""
        return plan.w * (self.previous.mass / float(plan.w.sum()))

    def transport(self, plan: EntropicPlan, log_d: Array | None) -> float:
        r"""OT(w, m') of the plan, or S(w, m') with the self-potential log d of w.

        OT = eps (<log a, m'> + <log b, w> - M), exact because both marginals are;
        S = eps (<log a/e, m'> + <log b/d, w>) + eps/2 (d'Kd - M) + eps/2 (e'Ke - M), an upper
        bound for every d and equal to S when d K d = w.
        """
        if log_d is not None:
            return self.divergence_of(plan, log_d)
        m, w = self.previous.weights, plan.w
        inner = dot(m, plan.log_a) + dot(w, plan.log_b) - float(m.sum())
        if self.half:
            inner -= self._local(w, plan.log_w) + self._local(m, self.log_m)
        return self.eps * inner

    def divergence_of(self, plan: EntropicPlan, log_d: Array) -> float:
        """S(w, m') of the plan, whatever the step charges for transport."""
        m, w = self.previous.weights, plan.w
        mass = float(m.sum())
        log_e = self.previous_scaling
        inner = dot(m, plan.log_a - log_e) + dot(w, plan.log_b - log_d)
        inner += (self._energy(log_d, "d") + self._energy(log_e, "e")) / 2 - mass
        return self.eps * inner

    def _local(self, w: Array, log_w: Array) -> float:
        """Half the self-transport of a smooth measure, in units of eps."""
        return 0.5 * (dot(w, log_w - self.log_one) - float(w.sum()))

    def slope(self, plan: EntropicPlan) -> Array:
        """log b, the gradient of OT/eps at the second marginal, less half its log for half steps.

        With the terms of `_local`; constants do not matter at fixed mass.
        """
        if not self.half:
            return plan.log_b
        return plan.log_b - 0.5 * (plan.log_w - self.log_one)

    def _energy(self, log_d: Array, slot: str) -> float:
        """d'Kd."""
        return float(np.exp(log_d + self.kernel.remembered(log_d, slot)).sum())

    def value(self, plan: EntropicPlan, log_d: Array | None) -> float:
        """Objective F(w) + OT/(2 tau) or F(w) + S/(2 tau) at the marginal of a plan."""
        energy = self.form.value(self.weights(plan))
        return energy + self.transport(plan, log_d) / (2 * self.problem.step)

    def objective(self, nu: Measure, tol: float = 1e-11) -> float:
        """Objective of any measure of the right mass: solves the transport to accuracy `tol`."""
        w = on_atoms(nu).weights
        log_w = log_or_minus_inf(w)
        plan = self.plan(pair_scaling(self.kernel, self.log_m, log_w, tol=tol))
        log_d = self_scaling(self.kernel, log_w, tol=tol) if self.divergence else None
        return self.form.value(w) + self.transport(plan, log_d) / (2 * self.problem.step)

    def certificate(self, answer: Answer) -> Certificate:
        """Gap and residual from the returned measure and its potentials.

        `answer.dual` holds `log_b`, `log_d` (debiased) and optionally `tangent`, a point where the
        convex quadratic part of F is linearised; any values give a valid bound. A measure that
        is not the marginal of its own potential gets an infinite gap, as do potentials that bound
        nothing because they are not finite.
        """
        dual, w = answer.potentials, on_atoms(answer.measure).weights
        with np.errstate(all="ignore"):  # zero weights have log -inf; NaN fails the comparison
            plan = self.plan(dual["log_b"])
            mismatch = float(np.abs(w - plan.w).sum()) / self.previous.mass
            if not mismatch <= CONSISTENT:
                return Certificate(np.inf, mismatch)
            gap, residual = self.gap(plan, dual.get("log_d"), dual.get("tangent"))
        return Certificate(np.inf if gap is None or np.isnan(gap) else gap, residual)

    def gap(
        self,
        plan: EntropicPlan,
        log_d: Array | None,
        tangent: Array | None = None,
        smooth: Array | None = None,
        enough: float = 0.0,
    ) -> Certificate:
        r"""Upper bound of J(w) - min J at the marginal w of a plan (formulas W1, W2).

        Plain: OT is bounded from below by its tangent of slope g = eps log b, and so is what is
        left of it in the half step, of slope g = eps (log b - log w/2). Debiased: for any
        a, d > 0 the convex S has the affine minorant of slope g = eps log(K d / K'a), and

            gap = F(w) + F*(-g/(2 tau)) + <g, w>/(2 tau) + eps/(2 tau) KL(w | d K d),

        F* on measures of mass M. The last term pays for a d that does not solve d K d = w; when
        it does, g = eps log(b/d). `smooth` is log K d where it is known; the
        bound is no sharper than to tell whether it is at most `enough`.
        """
        w = self.weights(plan)
        rest, curvature = tilted(self.form, w, tangent)
        if log_d is None:
            factor = self.eps / (2 * self.problem.step)
            gap, residual = fenchel_gap(rest, w, -factor * self.slope(plan), enough)
            return Certificate(gap + curvature, residual)
        gap, residual = self._divergence_gap(rest, plan, w, (log_d, smooth), enough)
        return Certificate(gap + curvature, residual)

    def _divergence_gap(
        self, rest: Separable, plan: EntropicPlan, w: Array, own: _Own, enough: float
    ) -> tuple[float, float]:
        """Gap and residual of the debiased step, the gap that of a better d where it is less."""
        factor, (log_d, smooth) = self.eps / (2 * self.problem.step), own
        if smooth is None:
            smooth = self.kernel.remembered(log_d, "d")
        ends = (plan.log_s, plan.log_w)
        gap, residual = divergence_gap(rest, w, factor, ends, log_d, smooth, enough)
        if 0 < gap <= enough:
            return gap, residual
        lifted = lifted_potential(rest, w, factor, plan.log_s, log_d, smooth)
        if lifted is not None:
            again = self.kernel.log_apply(lifted, "d")
            gap = min(gap, divergence_gap(rest, w, factor, ends, lifted, again, enough)[0])
        return gap, residual
