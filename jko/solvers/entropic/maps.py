r"""The fixed-point maps behind entropic steps: one sweep of scaling, and what it learnt.

With r = 2 tau/eps, a = m'/(K b), s = K'a and prox(q, r) = argmin r F + KL(. | q):

- plain:    w = prox(s, r),            b <- w/s
- debiased: w = prox(d s, r),          b <- w/s,  d <- sqrt(d w/(K d)), or better
                                                  (`SelfPotential`)
- half:     w = prox(s^2/K1, 2 r),     b <- w/s

Smooth errors of log b are multiplied by (1 - D), D = 1/(1 + r w F''(w)), in the plain sweep, by
(1 - 2 D) in the half one: towards -1 where the energy is flat, which a shorter step turns into 0.

The self-potential d of debiased entropic steps: how a sweep brings it nearer to d K d = w.

With an internal energy w hardly depends on d, and half the error, log w - log d - log(K d), is a
good change of log d. Without one (kernels, potentials, bounds) w = d q, q = K'a times a function of
the energy: K d = q is a deconvolution, d >= 0, and two things go wrong.

- Cells that should be empty drift: log d falls for ever, at a rate that tends to 0 (those of
  internal energies that are flat at 0, w^m, too). Instead, solve d K d = w + mu. No cell fails to
  settle, and the certificate prices it at n mu eps/(2 tau), the KL term of formula W2: a share of
  the gap says which mu.
- A change delta of log d moves the error by -(theta + A) delta, A = diag(1/Kd) K diag(d) and
  theta = mu/(w + mu), and by at most -A delta more through the answer of the transport. The
  eigenvalues of A, in (0, 1], fall to 1e-6 when eps is three squared cells: changes of short wave
  length take thousands of sweeps. So the error is multiplied by a Chebyshev polynomial that
  approximates (theta + A)^{-1}; each term costs a product with K and no logarithm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from jko.prox.duality.fenchel import entropic_everywhere
from jko.solvers.entropic.prox import KLProx
from jko.solvers.entropic.scaling import FLOOR, Sweep, floored
from jko.solvers.entropic.stated import EntropicPlan, EntropicStep
from jko.validation import Array

#: Share of the mean weight that even empty atoms have in the norm of the acceleration.
LIGHT = 1e-12
#: The polynomial approximates the inverse from here on; its terms.
LOWEST = 0.005
TERMS = 16
#: Largest change of log d in a sweep.
FARTHEST = 2.0


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

    def __call__(self, x: Array) -> Sweep[SweepState]:
        if self.stated.divergence:
            return self._debiased(x)
        return self._half(x) if self.stated.half else self._plain(x)

    def _plain(self, log_b: Array) -> Sweep[SweepState]:
        plan = self.stated.plan(log_b)
        log_w = self.prox(plan.log_s, plan.log_w)
        image = np.subtract(log_w, plan.log_s, out=log_w)
        return Sweep(np.maximum(image, FLOOR, out=image), plan.w, SweepState(plan))

    def _half(self, log_b: Array) -> Sweep[SweepState]:
        plan = self.stated.plan(log_b)
        log_w = self.prox(2 * plan.log_s - self.stated.log_one, plan.log_w)
        w = np.exp(log_w)
        log_w -= plan.log_w
        log_w /= self._damping(w)
        log_w += log_b
        # Where the sweep is about to put mass, or to take it all away, counts as well.
        weights = np.minimum(w, self.stated.previous.mass, out=w)
        np.maximum(plan.w, weights, out=weights)
        return Sweep(np.maximum(log_w, FLOOR, out=log_w), weights, SweepState(plan))

    def _damping(self, w: Array) -> Array:
        """What to divide a half sweep by where the energy is flat: 1 + max(0, 2 D - 1)."""
        charged = float(w.min()) > 1e-200  # of less the curvature says nothing
        if charged and self._entropic is not None:
            return self._entropic
        curvature = self.stated.form.separable.hessian(w) * w
        if not charged:
            curvature = np.where(w > 1e-200, curvature, 0.0)
        return _flatness(self.prox.r, curvature)

    @cached_property
    def _entropic(self) -> Array | None:
        """The same where w F''(w) does not depend on w."""
        powers = self.stated.form.separable.powers
        return _flatness(self.prox.r, powers[1.0]) if set(powers) == {1.0} else None

    def _debiased(self, x: Array) -> Sweep[SweepState]:
        log_b, log_d = x
        plan = self.stated.plan(log_b)
        log_w = self.prox(log_d + plan.log_s, plan.log_w)
        smooth = self.stated.kernel.log_apply(log_d, "d")
        image = np.empty_like(x)
        np.subtract(log_w, plan.log_s, out=image[0])
        change = self.own.change(log_w, log_d, smooth)
        np.add(log_d, change, out=image[1])
        np.maximum(image, FLOOR, out=image)
        weights = plan.w
        if self.own.mu > 0:
            weights = np.stack([weights, weights + self.own.mu])
        else:
            # Empty cells drift: log d falls there for ever, and that must not look like an error.
            change *= change
            change += 1
            np.divide(LIGHT * weights.mean(), change, out=change)
            weights = np.add(weights, change, out=change)
        return Sweep(image, weights, SweepState(plan, log_d, smooth))


def _flatness(r: float, curvature: Array) -> Array:
    """1 + max(0, 2/(1 + r curvature) - 1)."""
    return np.asarray(1 + np.maximum(0.0, 2 / (1 + r * curvature) - 1))


class SelfPotential:
    """Changes of log d for a stated debiased step.

    Parameters
    ----------
    stated : EntropicStep
    floor : float
        What d may add to the gap, unless there is an entropy everywhere.
    terms : int
        Of the polynomial; 1 is the plain change.
    """

    def __init__(self, stated: EntropicStep, floor: float = 0.0, terms: int = 1) -> None:
        self.kernel, self.terms = stated.kernel, terms
        self.mu = (
            0.0
            if entropic_everywhere(stated.form.separable)
            else floor * stated.rate / stated.previous.n
        )

    def change(self, log_w: Array, log_d: Array, smooth: Array) -> Array:
        """The change of log d; smooth = log K d."""
        log_own = log_w if self.mu == 0 else np.logaddexp(log_w, np.log(self.mu))
        error = log_own - log_d
        error -= smooth
        if self.terms == 1:
            error *= 0.5
            return error
        error = np.clip(error, -FARTHEST, FARTHEST)
        inner, root = np.exp(0.5 * (log_d - smooth)), np.exp(0.5 * (log_d + smooth))
        inverse = np.where(root > 0, 1 / root, 0.0)
        theta = np.exp(np.log(self.mu) - log_own) if self.mu > 0 else 0.0

        # Written symmetrically: no entry of the scaled kernel exceeds 1.
        before, after = inner * root, inverse * inner

        def response(delta: Array) -> Array:
            out = self.kernel.apply(before * delta)
            out *= after
            if self.mu > 0:
                out += theta * delta
            return out

        return np.clip(0.5 * chebyshev(response, error, self.terms), -FARTHEST, FARTHEST)


def chebyshev(operator: Callable[[Array], Array], rhs: Array, terms: int) -> Array:
    """An approximate solution of operator x = rhs, spectrum in [LOWEST, 2], linear in rhs."""
    centre, half = (2 + LOWEST) / 2, (2 - LOWEST) / 2
    alpha = 1 / centre
    residual, direction = rhs.copy(), rhs.copy()
    x = alpha * direction
    for k in range(1, terms):
        change = operator(direction)  # an array of its own
        change *= alpha
        residual -= change
        beta = (0.5 if k == 1 else 0.25) * (half * alpha) ** 2
        alpha = 1 / (centre - beta / alpha)
        direction *= beta
        direction += residual
        x += np.multiply(direction, alpha, out=change)
    return x
