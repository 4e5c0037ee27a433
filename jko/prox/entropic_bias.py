r"""How far an entropic step is from the unregularised one: an estimate of its excess.

With J0(w) = F(w) + W2^2(w, m') / (2 tau) the excess is J0(returned) - min J0. Along transport
maps J0 has curvature 1/tau + Hess F, so a Wasserstein gradient v of J0 at the returned measure
means an excess of about A = tau/2 int |v|^2 dw if 1/tau dominates, and of the Fenchel gap B of F
with the potential of the transport term if Hess F does; A B / (A + B) interpolates, exactly where
gradient and curvature have one direction. The gradients follow from barycentric maps: with
T_P the barycentric map of a plan, the Sinkhorn divergence has potential gradient
2 (T_self - T_m'), and the unregularised cost 2 (id - T).

- Plain step: grad F' = (T_m' - id)/tau at the optimum, so that, with T ~ id + T_m' - T_self,
  v = (T_self - id)/tau: the blur of the measure by itself, eps/(4 tau) grad log w to first order.
- Debiased step: v = (T_m' - T_self + id - T)/tau, of order eps^2. The exact map T is extrapolated
  from regularisations eps and 2 eps for the same two marginals: T_S(eps) - T ~ (T_S(2 eps) -
  T_S(eps))/3. The same extrapolation gives the potential for B.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jko.prox.entropic import EntropicStep, Plan
from jko.prox.fenchel import fenchel_gap, tilted
from jko.prox.scaling import pair_scaling, self_scaling
from jko.validation import Array

PLAIN = "estimate: self-blur of the plan, first order in eps"
DEBIASED = "estimate: extrapolated from eps and 2 eps"


def plain_excess(stated: EntropicStep, plan: Plan, tangent: Array | None = None) -> float:
    """Estimated excess of a plain step; costs the self-scaling of the returned measure."""
    w = np.exp(plan.log_w)
    log_d = self_scaling(stated.kernel, plan.log_w, start=None, tol=1e-4)
    blur = stated.kernel.displacement(log_d)
    speed = float(w @ (blur**2).sum(axis=1)) / (2 * stated.problem.step)
    return _harmonic(speed, stated.gap(plan, log_d, tangent).gap)


def debiased_excess(
    stated: EntropicStep, plan: Plan, log_d: Array, tangent: Array | None = None
) -> float:
    """Estimated excess of a debiased step; costs a balanced transport at 2 eps, warm-started."""
    w = np.exp(plan.log_w)
    coarse: Any = EntropicStep(stated.problem, 2 * stated.eps, True)
    # eps log(b/d) is nearly the same function at both regularisations, and d a square root of w.
    log_d2 = self_scaling(coarse.kernel, plan.log_w, log_d, tol=1e-7)
    log_b2 = pair_scaling(
        coarse.kernel, coarse.log_m, plan.log_w, log_d2 + 0.5 * (plan.log_b - log_d), tol=1e-7
    )
    plan2 = coarse.plan(log_b2)
    change = _debiased_map(coarse, plan2, log_d2) - _debiased_map(stated, plan, log_d)
    speed = float(w @ (change**2).sum(axis=1)) / (9 * 2 * stated.problem.step)
    slope = stated.eps * (stated.kernel.log_apply(log_d, "d") - plan.log_s)
    slope2 = coarse.eps * (coarse.kernel.log_apply(log_d2, "d") - plan2.log_s)
    y = -(slope - (slope2 - slope) / 3) / (2 * stated.problem.step)
    weights = stated.measure(plan).weights
    rest, _ = tilted(stated.form, weights, tangent)
    return _harmonic(speed, fenchel_gap(rest, weights, y)[0])


def _debiased_map(stated: EntropicStep, plan: Plan, log_d: Array) -> Array:
    """T_m' - T_self on the charged atoms (n, d), zero elsewhere."""
    out = stated.kernel.displacement(plan.log_a) - stated.kernel.displacement(log_d)
    return np.where((plan.log_w > -np.inf)[:, None], np.nan_to_num(out), 0.0)


def _harmonic(a: float, b: float | None) -> float:
    if b is None or not np.isfinite(b):
        return a
    if a <= 0 or b <= 0:
        return max(a, 0.0)
    return a * b / (a + b)
