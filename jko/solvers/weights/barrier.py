r"""Primal-dual barrier method for a convex form of the weights.

    min  h(w) + w'Qw/2   over  0 <= w <= u  [, 1'w = mass],   h separable, h'' a sum of c_p w^{p-2}.

As |w h'''| <= max|p-2| h'', h is compatible with the logarithmic barrier: Newton's method with the
multipliers z of w >= 0 and v of w <= u,

    h'(w) + Qw - lam - z + v = 0,      w z = mu + c_0,      (u - w) v = mu,

takes a number of steps that hardly depends on the scales involved. The power p = 0 (inclusive KL)
is a barrier itself and joins the complementarity. A step is kept when it does not overshoot
the barrier function along the Newton direction, which is a descent direction for every mu.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from jko.forms.separable import Separable
from jko.numerics.best import Best, Halving
from jko.numerics.interior import TO_BOUNDARY, to_boundary
from jko.solvers.weights.systems import Solve, System
from jko.validation import Array

#: Weights below this fraction of the mass are as good as zero.
FLOOR = 1e-60
#: Growth of the mass that tells a step without a minimiser.
EXPLOSION = 1e12
#: Iterations without halving the best gap before giving up: near the target, and far from it.
PATIENCE = 30
EARLY_PATIENCE = 80


class BarrierStatus(Enum):
    """Why the iteration ended."""

    OPTIMAL = "the gap is within the tolerance"
    MAX_ITER = "the iteration limit was reached"
    STALLED = "rounding stopped the progress"
    UNBOUNDED = "the mass grows without bound"


@dataclass(eq=False)
class Barrier:
    """One solve; `run` returns why it ended, `best` holds (gap, weights, multiplier).

    Attributes
    ----------
    h : Separable
        On atoms with positive ceilings.
    system : System
    product : callable
        Qw exactly, when the system is only a model of it.
    gap : callable (w, Qw, lam) -> (gap, lam)
    target : callable (w, Qw) -> float
        The gap to reach.
    mass : float or None
    w, z, v : (n,) arrays
        Weights, multipliers of w >= 0 and of w <= u (0 without a ceiling).
    lam : float
    """

    h: Separable
    system: System
    product: Callable[[Array], Array]
    gap: Callable[[Array, Array, float], tuple[float, float]]
    target: Callable[[Array, Array], float]
    mass: float | None
    w: Array
    best: Best[tuple[Array, float]] = field(init=False)
    iterations: int = 0

    def __post_init__(self) -> None:
        n = self.h.n
        self.natural = self.h.powers.get(0.0, np.zeros(n))
        powers = {p: c for p, c in self.h.powers.items() if p != 0}
        self.smooth = Separable(self.h.linear, powers)
        self.ceiling = self.h.ceiling
        self.bounded = np.isfinite(self.ceiling)
        self.size = float(self.w.sum())
        with np.errstate(all="ignore"):
            self.begin()

    def begin(self) -> None:
        """Multipliers on the central path of a tenth of the first violation."""
        n = self.h.n
        gradient = self.smooth.gradient(self.w) + self.system.product(self.w)
        pull = gradient - self.natural / self.w
        self.lam = 0.0 if self.mass is None else float(self.w @ pull) / self.size
        spread = float(self.w @ np.abs(pull - self.lam)) / n
        mu = max(0.1 * spread, 1e-14 * float(self.w @ np.abs(gradient)) / n, 1e-300)
        self.z = (mu + self.natural) / self.w
        self.v = np.where(self.bounded, mu / self.room(self.w), 0.0)
        self.best = Best(found=(self.w, self.lam))

    def room(self, w: Array) -> Array:
        """u - w, 1 where there is no ceiling."""
        return np.where(self.bounded, self.ceiling - w, 1.0)

    def run(self, max_iter: int) -> BarrierStatus:
        """Iterate until the gap meets its target."""
        halving = Halving()
        with np.errstate(all="ignore"):
            while True:
                gap, target = self.measure()
                if gap <= target:
                    self.finish(1e-3 * target)
                    return BarrierStatus.OPTIMAL
                stale = halving.seen(min(gap, self.merit))
                if self.mass is None and float(self.w.sum()) > EXPLOSION * self.size:
                    return BarrierStatus.UNBOUNDED
                if self.iterations == max_iter:
                    return BarrierStatus.MAX_ITER
                patience = PATIENCE if self.best.figure <= 1e3 * target else EARLY_PATIENCE
                if stale > patience or not self.advance():
                    return BarrierStatus.STALLED
                self.iterations += 1

    def finish(self, aim: float) -> None:
        """Up to two more steps: convergence is fast here, and digits are nearly free."""
        for _ in range(2):
            if self.best.figure <= aim or not self.advance():
                return
            self.iterations += 1
            self.measure()

    def measure(self) -> tuple[float, float]:
        """Residuals at the iterate; the certified gap where they are small enough to ask."""
        self.qw = self.system.product(self.w)
        self.gradient = self.smooth.gradient(self.w) + self.qw
        self.residual = self.gradient - self.lam - self.z + self.v
        excess = np.abs(self.w * self.z - self.natural) + self.room(self.w) * self.v
        self.mu = float(excess.mean())
        self.drift = float(self.w @ np.abs(self.residual))
        self.merit = float(excess.sum()) + self.drift
        target = self.target(self.w, self.qw)
        if not self.merit <= 100 * target:
            return np.inf, target
        gap, lam = self.gap(self.w, self.qw, self.lam)
        if gap <= target:
            exact = self.product(self.w)
            self.system.correct(self.w, exact)
            gap, lam = self.gap(self.w, exact, self.lam)
        self.best.offer(gap, (self.w, lam))
        return gap, target

    def advance(self) -> bool:
        """One predictor-corrector step; False when rounding forbids it."""
        w, t = self.w, self.room(self.w)
        diagonal = self.smooth.hessian(w) + self.z / w + self.v / t
        solve = self.system.factorise(np.clip(diagonal, 1e-250, 1e250))
        if solve is None:
            return False
        dw, _, dz, dv = self.direction(solve, 0.0, 0.0, 0.0)
        a = self.reach(dw, dz, dv)
        mu = self.centre(dw, dz, dv, a)
        second = a * dw * dz, -a * dw * dv
        step = self.direction(solve, mu, *second)
        slope = self.slope(step[0], mu)
        if not slope(0.0) < 0:
            step = self.direction(solve, mu, 0.0, 0.0)
            slope = self.slope(step[0], mu)
        return self.move(step, slope)

    def direction(
        self, solve: Solve, mu: float, bend_w: Array | float, bend_t: Array | float
    ) -> tuple[Array, float, Array, Array]:
        """Newton step towards the barrier parameter mu, second-order terms subtracted."""
        w, t = self.w, self.room(self.w)
        rz = mu + self.natural - w * self.z - bend_w
        rv = np.where(self.bounded, mu - t * self.v - bend_t, 0.0)
        missing = 0.0 if self.mass is None else self.mass - float(w.sum())
        dw, dlam = solve(rz / w - rv / t - self.residual, missing)
        return dw, dlam, (rz - self.z * dw) / w, (rv + self.v * dw) / t

    def centre(self, dw: Array, dz: Array, dv: Array, a: float) -> float:
        """Mehrotra's choice of mu, held up while the nonlinear residual lags behind."""
        ahead = np.abs((self.w + a * dw) * (self.z + a * dz) - self.natural)
        above = self.room(self.w + a * dw) * (self.v + a * dv)
        ratio = float((ahead + above).mean()) / self.mu if self.mu > 0 else 0.0
        lag = min(0.1 * self.drift / self.w.size, 0.5 * self.mu)
        return max(min(ratio, 1.0) ** 3 * self.mu, lag)

    def reach(self, dw: Array, dz: Array, dv: Array, share: float = 1.0) -> float:
        """A share of the largest step that keeps everything positive, 1 at most."""
        pairs = [(self.w, dw), (self.z, dz)]
        if self.bounded.any():
            b = self.bounded
            pairs += [(self.room(self.w)[b], -dw[b]), (self.v[b], dv[b])]
        return to_boundary(*pairs, share=share)

    def slope(self, dw: Array, mu: float) -> Callable[[float], float]:
        """Derivative of the barrier function along dw, as a function of the step length."""
        qdw = self.system.product(self.w + dw) - self.qw

        def along(a: float) -> float:
            w = self.w + a * dw
            pull = self.smooth.gradient(w) + self.qw + a * qdw - self.lam
            pull -= (mu + self.natural) / w
            pull += np.where(self.bounded, mu / self.room(w), 0.0)
            return float(dw @ pull)

        return along

    def move(
        self, step: tuple[Array, float, Array, Array], slope: Callable[[float], float]
    ) -> bool:
        """Take the step, shortened while it overshoots the barrier function."""
        dw, dlam, dz, dv = step
        if not all(np.isfinite(x).all() for x in (dw, dz, dv)):
            return False
        a = self.reach(dw, dz, dv, TO_BOUNDARY)
        start = slope(0.0)
        # Where the slope is a matter of rounding there is nothing left to overshoot.
        if start < -1e-13 * float(np.abs(dw) @ (np.abs(self.gradient) + self.z)):
            for _ in range(30):
                if slope(a) <= -0.5 * start:
                    break
                a *= 0.6
        if not a > 1e-12:
            return False
        tiny = FLOOR * self.size
        self.w = np.maximum(self.w + a * dw, tiny)
        self.z = np.maximum(self.z + a * dz, 1e-300)
        self.v = np.where(self.bounded, np.maximum(self.v + a * dv, 1e-300), 0.0)
        if self.mass is not None:
            self.lam += a * dlam
        return bool(np.isfinite(self.w).all() and np.isfinite(self.z).all())
