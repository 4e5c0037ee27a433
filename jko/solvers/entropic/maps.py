r"""The fixed-point maps behind entropic steps: one sweep of scaling, and what it learnt.

With r = 2 tau/eps, a = m'/(K b), s = K'a and prox(q, r) = argmin r F + KL(. | q):

- plain:    w = prox(s, r),            b <- w/s
- debiased: w = prox(d s, r),          b <- w/s,  d <- sqrt(d w/(K d)), or better
                                                  (`jko.solvers.entropic.self_potential`)
- half:     w = prox(s^2/K1, 2 r),     b <- w/s

Smooth errors of log b are multiplied by (1 - D), D = 1/(1 + r w F''(w)), in the plain sweep, by
(1 - 2 D) in the half one: towards -1 where the energy is flat, which a shorter step turns into 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jko.solvers.entropic.prox import KLProx
from jko.solvers.entropic.scaling import Sweep, floored
from jko.solvers.entropic.self_potential import SelfPotential
from jko.solvers.entropic.stated import EntropicPlan, EntropicStep
from jko.validation import Array

#: Share of the mean weight that even empty atoms have in the norm of the acceleration.
LIGHT = 1e-12


@dataclass(frozen=True, eq=False)
class SweepState:
    """Potentials with what a sweep computed from them.

    Attributes
    ----------
    plan : Plan
    log_d : (n,) array or None
        Self-potential of the debiased step.
    smooth : (n,) array or None
        log K d.
    tangent : (n,) array or None
        Where the quadratic part of the energy was linearised.
    """

    plan: EntropicPlan
    log_d: Array | None = None
    smooth: Array | None = None
    tangent: Array | None = None

    @property
    def potentials(self) -> Array:
        """log b, or (log b, log d), with a floor under log 0."""
        log_b = floored(self.plan.log_b)
        return log_b if self.log_d is None else np.stack([log_b, floored(self.log_d)])


class ScalingMap:
    """One sweep of a stated step, from its potentials x to the next.

    Parameters
    ----------
    stated : EntropicStep
    own : SelfPotential, optional
        How a debiased step changes log d.
    """

    def __init__(self, stated: EntropicStep, own: SelfPotential | None = None) -> None:
        self.stated, self.own = stated, own or SelfPotential(stated)
        rate = 2 * stated.rate if stated.half else stated.rate
        self.prox = KLProx(stated.form, rate, stated.previous.mass)

    def __call__(self, x: Array) -> Sweep:
        if self.stated.divergence:
            return self._debiased(x)
        return self._half(x) if self.stated.half else self._plain(x)

    def _plain(self, log_b: Array) -> Sweep:
        plan = self.stated.plan(log_b)
        log_w = self.prox(plan.log_s, plan.log_w)
        return Sweep(floored(log_w - plan.log_s), np.exp(plan.log_w), SweepState(plan))

    def _half(self, log_b: Array) -> Sweep:
        plan = self.stated.plan(log_b)
        log_w = self.prox(2 * plan.log_s - self.stated.log_one, plan.log_w)
        w = np.exp(log_w)
        curvature = self.stated.form.separable.hessian(w) * w
        flat = 1 / (1 + self.prox.r * np.where(w > 1e-200, curvature, 0.0))
        change = (log_w - plan.log_s - log_b) / (1 + np.maximum(0.0, 2 * flat - 1))
        # Where the sweep is about to put mass, or to take it all away, counts as well.
        weights = np.maximum(np.exp(plan.log_w), np.minimum(w, self.stated.previous.mass))
        return Sweep(floored(log_b + change), weights, SweepState(plan))

    def _debiased(self, x: Array) -> Sweep:
        log_b, log_d = x
        plan = self.stated.plan(log_b)
        log_w = self.prox(log_d + plan.log_s, plan.log_w)
        smooth = self.stated.kernel.log_apply(log_d, "d")
        change = self.own.change(log_w, log_d, smooth)
        image = floored(np.stack([log_w - plan.log_s, log_d + change]))
        weights = np.exp(plan.log_w)
        if self.own.mu > 0:
            weights = np.stack([weights, weights + self.own.mu])
        else:
            # Empty cells drift: log d falls there for ever, and that must not look like an error.
            drift = image - x
            drift *= drift
            drift += 1
            np.divide(LIGHT * weights.mean(), drift, out=drift)
            weights = np.add(weights, drift, out=drift)
        return Sweep(image, weights, SweepState(plan, log_d, smooth))
