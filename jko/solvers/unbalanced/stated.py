r"""The regularised Wasserstein-Fisher-Rao step: one jointly convex problem and its certificate.

With lam = 2/(beta tau) and the cost c of formula U2 the unregularised step is

    min_w  F(w) + lam min_g KL(g1 | w) + KL(g2 | m') + <c, g>,      g1, g2 the marginals of g.

The stated problem replaces the inner minimum by that of

    [KL(g1 | w) + KL(g2 | m') + <c, g> + eps E(g, w)] / (1 + eps/2),
    E(g, w) = sum g log(g / (e_j exp(t_i) sqrt(w_i))) - |g| + (|w| + |m'|)/2.

E is a relative entropy whose reference moves with w: e K e = m' on the atoms of m' with
K = exp(-c/eps), and t = log e - log(m')/2 there. As g log(g/sqrt w) is jointly convex, so is the
whole. The reference plan P = diag(e) K diag(e) has both marginals m', and on its support

    <c, g> + eps E = eps/2 [KL(g | P) + KL(g | diag(w/m') P)] >= 0

vanishes with its gradient at w = m': a minimiser of F is kept exactly. Half the self-transport
entropy is taken out on either side (linearised only in its slowly varying part t), and E contains
eps/2 of each marginal's KL, hence the factor: a single atom pays (sqrt w - sqrt m')^2 exactly.
Measured, the metric is that of WFR up to a relative O(eps^2) for smooth weights.

Minimising over g with the potential psi of m' fixed leaves, per atom,

    F_i(w) + lam [w - (1 + eps)/(1 + eps/2) A_i^q w^{1 - q/2}],     q = eps/(1 + eps),
    A_i = exp(t_i) sum_j K_ij b_j,     b = e exp(psi/eps):

one more power, so that any separable energy stays separable.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from jko.energies.conjugate import brackets, response
from jko.forms.separable import Separable
from jko.geometries.unbalanced import WassersteinFisherRao
from jko.measures.base import Discrete, Measure
from jko.numerics.elementary import log_or_minus_inf
from jko.prox.duality.fenchel import tilted
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Certificate, Claim, Neighbour, on_atoms
from jko.solvers.entropic.scaling import Sweep, anderson
from jko.solvers.unbalanced.cone import ConeStep
from jko.solvers.unbalanced.kernels import ConeKernel, cone_kernel
from jko.solvers.unbalanced.kernels import ConePlan as ConePlan
from jko.solvers.unbalanced.optimal_plan import optimal_plan
from jko.validation import Array, Index


@dataclass(frozen=True, eq=False)
class UnbalancedStep(Neighbour):
    """The regularised problem a step of `jko.solvers.UnbalancedScaling` states.

    Attributes
    ----------
    problem : ProxProblem
    eps : float
        Weight of the entropy in the units of c: a blur of variance 2 alpha eps / beta.
    """

    claim: ClassVar[Claim] = Claim.REGULARISED

    problem: ProxProblem
    eps: float

    @cached_property
    def cone(self) -> ConeStep:
        """The step without regularisation."""
        return ConeStep(self.problem)

    @property
    def geometry(self) -> WassersteinFisherRao:
        """The geometry of the step."""
        return self.cone.geometry

    @property
    def previous(self) -> Discrete:
        """The previous measure."""
        return self.problem.discrete

    @property
    def lam(self) -> float:
        """2/(beta tau), the weight of the transport terms."""
        return self.cone.lam

    @property
    def weight(self) -> float:
        """lam/(1 + eps/2), the weight of the regularised ones."""
        return self.lam / (1 + self.eps / 2)

    @property
    def q(self) -> float:
        """eps/(1 + eps), the exponent of the scaling."""
        return self.eps / (1 + self.eps)

    @property
    def charged(self) -> Index:
        """Atoms of m'."""
        return self.cone.charged

    @property
    def m(self) -> Array:
        """Weights of the atoms of m'."""
        return self.cone.m

    @cached_property
    def kernel(self) -> ConeKernel:
        """K = exp(-c/eps) between the support and the atoms of m'."""
        return cone_kernel(self.cone, self.eps)

    @cached_property
    def log_e(self) -> Array:
        """log e with e K e = m' (m,)."""
        log_m = np.log(self.m)

        def step(x: Array) -> Sweep[None]:
            return Sweep(0.5 * (x + log_m - self.kernel.among(x)), self.m, None)

        start = 0.5 * (log_m - self.kernel.among(np.zeros_like(log_m)))
        return anderson(step, start, done=lambda _, r: r <= 1e-12, max_iter=300).x

    @cached_property
    def log_t(self) -> Array:
        """t (n,): log e - log(m')/2 on the atoms of m', its value for flat weights elsewhere.

        Elsewhere is also where m' is next to nothing beside what the kernel brings there, e^-8 of
        it or less: the reference would keep mass away for dust that nobody sees.
        """
        dust = 4.0
        out = np.full(self.previous.n, -np.inf)
        out[self.charged] = self.log_e - 0.5 * np.log(self.m)
        if self.charged.size < out.size or np.ptp(out) > dust:
            flat = -0.5 * self.kernel.ones()
            out = np.where(out < flat - dust, flat, out)
        return out

    def smooth(self, psi: Array) -> Array:
        """log A (n,) for a potential of m'."""
        return self.log_t + self.kernel.forward(self.log_e + psi / self.eps)

    def reduced(self, log_smooth: Array, h: Separable | None = None) -> Separable:
        """The energy plus what is left of the transport terms when the plan is minimised out."""
        base = self.problem.form.separable if h is None else h
        power = 1 - self.q / 2
        pull = self.weight * (1 + self.eps) * np.exp(self.q * log_smooth)
        slope = np.full(base.n, self.lam)
        return base + Separable(slope, {power: pull * power * self.q / 2})

    def plan(self, log_w: Array, psi: Array, log_smooth: Array) -> ConePlan:
        """The plan that is optimal in g for fixed w and psi."""
        alive = np.isfinite(log_w) & np.isfinite(log_smooth)
        phi = np.zeros_like(log_w)
        phi[alive] = -self.q * (log_smooth[alive] - 0.5 * log_w[alive])
        log_a = self.scaling(log_w, phi)
        log_a[~alive] = -np.inf
        log_g2 = self.log_e + psi / self.eps + self.kernel.backward(log_a)
        # Born without transport: g1 = 0, which is phi = +inf.
        phi[np.isfinite(log_w) & ~np.isfinite(log_smooth)] = np.inf
        return ConePlan(log_w, log_smooth, phi, psi, log_g2)

    def scaling(self, log_w: Array, phi: Array) -> Array:
        """log a (n,) of g = diag(a) K diag(b)."""
        with np.errstate(invalid="ignore"):
            log_a = 0.5 * log_w + self.log_t + phi / self.eps
        return np.where(np.isfinite(log_w) & np.isfinite(phi), log_a, -np.inf)

    def update(self, plan: ConePlan) -> Array:
        """The next potential of m': exact minimisation over the second marginal."""
        log_b = self.log_e + plan.psi / self.eps
        return self.q * (np.log(self.m) - self.log_e - (plan.log_g2 - log_b))

    def mismatch(self, plan: ConePlan) -> float:
        """weight KL(g2 | m' e^{-psi}): what the plan is worse by than the bound of psi."""
        return self.weight * _kl(plan.log_g2, np.log(self.m) - plan.psi)

    def penalty(self, plan: ConePlan) -> float:
        """Value of the transport terms at a plan: WFR^2 / (2 tau) up to the bias."""
        w = np.exp(plan.log_w)
        lost = -np.expm1(-plan.phi)
        g1, g2 = w * (1 - lost), np.exp(plan.log_g2)
        marginals = float(w @ lost) + _kl(plan.log_g2, np.log(self.m))
        rest = 0.5 * float(w.sum() + self.m.sum()) - 0.5 * float(g1.sum() + g2.sum())
        return self.weight * (marginals + float(g2 @ plan.psi) + self.eps * rest)

    def unregularised(self, plan: ConePlan) -> float:
        """KL(g1 | w) + KL(g2 | m') + <c, g> of a plan g, without regularisation."""
        log_b = self.log_e + plan.psi / self.eps
        paid = self.kernel.paid(self.scaling(plan.log_w, plan.phi), log_b)
        w = np.exp(plan.log_w)
        lost = -np.expm1(-plan.phi)
        first = float(np.where(w > 0, _kl_of(w, plan.phi, lost), 0.0).sum())
        return first + _kl(plan.log_g2, np.log(self.m)) + paid

    def value(self, plan: ConePlan) -> float:
        """Objective at a plan."""
        return self.problem.form.value(np.exp(plan.log_w)) + self.penalty(plan)

    def optimal_plan(self, w: Array, psi: Array | None = None, tol: float = 1e-12) -> ConePlan:
        """The optimal plan of fixed weights, to `tol` in transport."""
        return optimal_plan(self, w, np.zeros_like(self.m) if psi is None else psi, tol)

    def objective(self, nu: Measure) -> float:
        """Objective of any weights on the support: solves for the plan."""
        return self.value(self.optimal_plan(on_atoms(nu).weights))

    def certificate(self, answer: Answer) -> Certificate:
        """Gap and residual of an answer, from its weights and its potential `dual["psi"]`.

        `dual["tangent"]` holds weights at which the quadratic part is linearised too.
        """
        dual = answer.potentials
        return self.gap(on_atoms(answer.measure).weights, dual["psi"], dual.get("tangent"))

    def gap(self, w: Array, psi: Array, tangent: Array | None = None) -> Certificate:
        r"""Upper bound of J(w, g) - min J, g the best plan for (w, psi); any psi is valid.

        KL(. | m') is bounded from below by its tangent of slope -psi. The rest separates into one
        function H of each weight, and the gap is

            sum_i [H_i(w_i) - min H_i]  +  weight KL(g2 | m' e^{-psi}),

        both terms free of cancellation. Convex quadratic parts enter H by their tangent at w, or
        at any other point z, from which the gap is larger by (w - z)'Q(w - z)/2: weights answer
        to slopes by the power 2/q, so that those of the point they answer to are the sharp ones.
        """
        log_smooth = self.smooth(psi)
        h = self.reduced(log_smooth, self.problem.form.linearised(w)[0])
        excess = self._excess(h, w)
        if tangent is not None and self.problem.form.quadratics:
            lower, away = tilted(self.problem.form, w, tangent)
            excess = min(excess, away + self._excess(self.reduced(log_smooth, lower), w))
        plan = self.plan(log_or_minus_inf(w), psi, log_smooth)
        gap = excess + self.mismatch(plan)
        inner = h.inner(w)
        residual = float(w[inner] @ np.abs(h.gradient(w)[inner])) / max(float(w.sum()), 1e-300)
        return Certificate(gap if np.isfinite(gap) else np.inf, residual)

    @staticmethod
    def _excess(h: Separable, w: Array) -> float:
        """sum_i [H_i(w_i) - min H_i], inf where it is not known."""
        zero = np.zeros(h.n)
        found = float(brackets(h, w, zero, response(h, zero, w)).sum())
        return found if np.isfinite(found) else np.inf


def _kl_of(w: Array, phi: Array, lost: Array) -> Array:
    """KL(w e^{-phi} | w) atom by atom, lost = 1 - e^{-phi}; w itself where phi is infinite."""
    far = np.isinf(phi)
    safe = np.where(far, 0.0, phi)
    return np.asarray(w * np.where(far, 1.0, lost - safe * (1 - lost)))


def _kl(log_a: Array, log_b: Array) -> float:
    """KL(a | b) with the mass terms, without cancellation; b > 0."""
    with np.errstate(over="ignore", invalid="ignore"):
        ratio = np.where(log_a > -np.inf, log_b - log_a, 0.0)
        charged = np.exp(log_a) * (np.expm1(ratio) - ratio)
        return float(np.where(log_a > -np.inf, charged, np.exp(log_b)).sum())
