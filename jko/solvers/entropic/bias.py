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

from jko.prox.duality.fenchel import fenchel_gap, tilted
from jko.solvers.entropic.scaling import pair_scaling, self_scaling
from jko.solvers.entropic.stated import EntropicStep, Plan
from jko.validation import Array

PLAIN = "estimate: self-blur of the plan, first order in eps"
DEBIASED = "estimate: extrapolated from eps and 2 eps"
#: Accuracy of the scalings an estimate rests on.
ROUGH = 1e-5


def excess(
    stated: EntropicStep, plan: Plan, log_d: Array | None, tangent: Array | None
) -> tuple[float, str]:
    """Estimated excess of a step, and how it was found."""
    if log_d is not None:
        return debiased_excess(stated, plan, log_d, tangent), DEBIASED
    if stated.half:
        return half_excess(stated, plan, tangent), DEBIASED
    return plain_excess(stated, plan, tangent), PLAIN


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
    smooth = stated.kernel.log_apply(log_d, "d")
    move, slope = _divergence_slopes(stated, plan, log_d, smooth)
    exact_move, exact_slope = _extrapolated(stated, plan, log_d, move, slope)
    return _excess(stated, plan, move - exact_move, exact_slope, tangent)


def half_excess(stated: EntropicStep, plan: Plan, tangent: Array | None = None) -> float:
    """Estimated excess of a half step: against the same extrapolation of the divergence.

    Its potential eps (log b - log(w/K1)/2) moves mass by T_m' - id - (eps/4) grad log(w/K1).
    """
    grid: Any = stated.kernel
    log_d = self_scaling(stated.kernel, plan.log_w, 0.5 * (plan.log_w - stated.log_one), tol=ROUGH)
    smooth = stated.kernel.log_apply(log_d, "d")
    move, slope = _divergence_slopes(stated, plan, log_d, smooth)
    exact_move, exact_slope = _extrapolated(stated, plan, log_d, move, slope)
    blur = 0.25 * stated.eps * grid.gradient(plan.log_w - stated.log_one)
    half = stated.kernel.displacement(plan.log_a, plan.log_s) - blur
    charged = plan.log_w > np.log(1e-12) + plan.log_w.max()
    change = np.where(charged[:, None], half - exact_move, 0.0)
    return _excess(stated, plan, change, exact_slope, tangent)


def _divergence_slopes(
    stated: EntropicStep, plan: Plan, log_d: Array, smooth: Array
) -> tuple[Array, Array]:
    """T_m' - T_self on the charged atoms (n, d), zero elsewhere, and the potential of S."""
    move = stated.kernel.displacement(plan.log_a, plan.log_s)
    move = move - stated.kernel.displacement(log_d, smooth)
    move = np.where((plan.log_w > -np.inf)[:, None], np.nan_to_num(move), 0.0)
    return move, stated.eps * (smooth - plan.log_s)


def _extrapolated(
    stated: EntropicStep, plan: Plan, log_d: Array, move: Array, slope: Array
) -> tuple[Array, Array]:
    """The exact map and potential from those of eps and 2 eps."""
    coarse = EntropicStep(stated.problem, 2 * stated.eps, True)
    # eps log(b/d) is nearly the same function at both regularisations, and d a square root of w.
    log_d2 = self_scaling(coarse.kernel, plan.log_w, log_d, tol=ROUGH)
    start = log_d2 + 0.5 * (plan.log_b - log_d)
    log_b2 = pair_scaling(coarse.kernel, coarse.log_m, plan.log_w, start, tol=ROUGH)
    smooth = coarse.kernel.log_apply(log_d2, "d")
    move2, slope2 = _divergence_slopes(coarse, coarse.plan(log_b2), log_d2, smooth)
    return move - (move2 - move) / 3, slope - (slope2 - slope) / 3


def _excess(
    stated: EntropicStep, plan: Plan, change: Array, slope: Array, tangent: Array | None
) -> float:
    """A and B from the excess speed and the exact potential at the returned measure."""
    w = np.exp(plan.log_w)
    speed = float(w @ (change**2).sum(axis=1)) / (2 * stated.problem.step)
    weights = stated.measure(plan).weights
    rest, _ = tilted(stated.form, weights, tangent)
    return _harmonic(speed, fenchel_gap(rest, weights, -slope / (2 * stated.problem.step))[0])


def _harmonic(a: float, b: float | None) -> float:
    if b is None or not np.isfinite(b):
        return a
    if a <= 0 or b <= 0:
        return max(a, 0.0)
    return a * b / (a + b)
