"""The iteration of the interior point for `jko.solvers.weights.interior_point`: state and one
step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from jko.numerics.interior import TO_BOUNDARY, to_boundary
from jko.numerics.woodbury import BorderedSystem, ScaledQuadratic
from jko.solvers.weights.qp_result import QPResult, QPStatus, cone_gap, simplex_gap
from jko.solvers.weights.stated import blended_gap

Array = np.ndarray
Product = Callable[[Array], Array]

# Columns with a tail above this many times w's enter the Newton matrix. On the simplex 30 takes one
# iteration more than 3, and a fifth less work in all; on the cone it can stall.
_SIMPLEX_TAIL = 30.0
_CONE_TAIL = 3.0
_PATIENCE = 8  # iterations without halving the best gap before giving up


class Iterate(NamedTuple):
    """Weights with their gap and Hw; of size 0 before there are any."""

    gap: float = np.inf
    w: Array = np.zeros(0)
    hw: Array = np.zeros(0)


@dataclass
class PredictorRun:
    """State of one solve, in the scaled problem."""

    p: ScaledQuadratic
    product: Product | None
    tol: float
    w: Array
    s: Array
    y: float
    centre: Array | float = 0.0  # P(w) = 1/2 u'Hu - c'u with u = w - centre (fixed mass only)
    offset: float = 0.0  # what P leaves out of the objective
    unit: float | None = None  # what the tolerance is relative to; None: the terms of P
    floor: float = -np.inf  # scaled lower bound of P without constraints
    left_out: Array | float = 0.0  # scaled (K - LL')u of the last correction
    best: Iterate = field(default_factory=Iterate)  # by the factor
    best_value: float = np.inf
    exact: Iterate = field(default_factory=Iterate)  # by the product
    anchor: tuple[Array, Array, float] | None = None
    ranks: list[int] = field(default_factory=list)
    corrections: int = -1
    circling: bool = False

    def iterate(self, max_iter: int) -> QPStatus:
        stale, mark, recent = 0, np.inf, [np.inf]
        if self.stay():
            return QPStatus.OPTIMAL
        while True:
            gap, aim = self.measure(), self.target()
            if gap <= (0.6 if self.product else 1.0) * aim:
                if self.certify():
                    return QPStatus.OPTIMAL
                if self.corrections > 6:
                    return QPStatus.COARSE_FACTOR
                stale, mark, recent, self.best = 0, np.inf, [np.inf], Iterate()
            merit = max(self.residual(), 1e3 * aim)
            # On the cone the bound may stay loose while the iterates converge: either is progress.
            loose = self.p.mass is None or not np.isfinite(gap)
            moved = gap < 0.5 * mark or (loose and merit < 0.5 * min(recent))
            stale, mark = (0, min(mark, gap)) if moved else (stale + 1, mark)
            self.circling = stale > 1 and merit < 10 * recent[-1]
            recent = [recent[-1], merit]
            if self.escapes():
                return self.give_up(QPStatus.UNBOUNDED)
            if len(self.ranks) == max_iter:
                return self.give_up(QPStatus.MAX_ITER)
            if stale > _PATIENCE or not self.advance(stale):
                return self.give_up(QPStatus.STALLED)

    def escapes(self) -> bool:
        """Whether the quadratic falls for ever on the ray through w: w'Hw = 0 and c'w > 0.

        How far the mass has grown says nothing: it may be a long way to the minimum.
        """
        p, w = self.p, self.w
        rounding, curved = p.n * np.finfo(float).eps, float(w @ self.hw)
        if p.mass is not None or curved > 2 * rounding * float(w.sum()) ** 2:
            return False
        roots = np.sqrt(np.einsum("ij,ij->j", p.rows, p.rows) + p.d)
        return bool(curved <= rounding * float(roots @ w) ** 2 and float(p.c @ w) > 0)

    def stay(self) -> bool:
        """Whether the centre is good enough: in a step short enough, or all on the best atom."""
        if isinstance(self.centre, float):
            return False
        hu = np.zeros_like(self.w)
        gap = self.simplex_bound(self.centre, hu, self.p.c)
        self.best = self.exact = Iterate(gap, np.asarray(self.centre), hu)
        if self.best[0] <= self.target():
            return True
        self.best = self.exact = Iterate()
        return False

    def measure(self) -> float:
        """Gap of the iterate (on the cone: of its best multiple); keeps the best."""
        self.hw = self.p.hessian(self.w - self.centre)
        c, t = self.p.c - self.left_out, 1.0
        if self.p.mass is not None:
            gap = self.simplex_bound(self.w, self.hw, c)
        else:
            cw, whw = float(c @ self.w), float(self.w @ self.hw)
            t = cw / whw if cw > 0 and whw > 0 else (1.0 if cw > 0 else 0.0)
            gap = min(cone_gap(t * self.w, t * self.hw, c), self.anchored_gap(t, c))
        value = self.height(t * self.w, t * self.hw, c)
        if (gap, value) < (self.best[0], self.best_value) or not self.best.w.size:
            self.best, self.best_value = Iterate(gap, t * self.w, t * self.hw), value
        return gap

    def height(self, w: Array, hu: Array, c: Array) -> float:
        """1/2 u'Hu - c'u, scaled."""
        return float((w - self.centre) @ (0.5 * hu - c))

    def simplex_bound(self, w: Array, hu: Array, c: Array) -> float:
        """Frank-Wolfe gap, improved by the unconstrained minimum where that is known."""
        gap = simplex_gap(w, hu - c)
        return blended_gap(gap, self.height(w, hu, c) - self.floor) if self.floor > -np.inf else gap

    def anchored_gap(self, t: float, c: Array) -> float:
        """Gap on the cone with ``u = (1-q) w + q a``, a an earlier iterate with ``Ha > c``."""
        w, hw = t * self.w, t * self.hw
        low = float((hw - c).min())
        gap = np.inf
        if self.anchor is not None:
            a, ha, room = self.anchor
            q = max(0.0, -low) / (max(0.0, -low) + room)
            uhu = (1 - q) ** 2 * (w @ hw) + 2 * q * (1 - q) * (a @ hw) + q * q * (a @ ha)
            gap = max(0.0, float(0.5 * (w @ hw) - c @ w + 0.5 * uhu))
        raw = float((self.hw - c).min())
        if raw > 0:
            self.anchor = (self.w.copy(), self.hw.copy(), raw)
        return gap

    def value(self, w: Array, hu: Array) -> float:
        """P, unscaled."""
        p = self.p
        shifted = p.size * float((w - self.centre).sum())
        return p.unit * p.size**2 * self.height(w, hu, p.c) - p.shift * shifted

    def terms(self, w: Array, hu: Array) -> float:
        """The size of the terms of P, unscaled."""
        p, u = self.p, w - self.centre
        linear = p.size * float(np.abs(p.c_full) @ np.abs(u))
        return 0.5 * p.unit * p.size**2 * abs(float(u @ hu)) + linear

    def target(self, safety: float = 1.0) -> float:
        p = self.p
        unit = self.unit
        if unit is None:
            unit = self.terms(*self.best[1:]) + abs(self.offset)
        return safety * self.tol * unit / (p.unit * p.size**2)

    def certify(self) -> bool:
        """Is the best iterate good enough by the exact product? Else the linear term takes it."""
        gap, w, model = self.best
        if self.product is None:
            return gap <= self.target()
        p, u = self.p, w - self.centre
        # The product sees the unscaled weights: those the caller will ask about again.
        exact = p.ratio * (np.asarray(self.product(p.size * u), float) / p.size) + p.d * u
        self.corrections += 1
        gap = self.simplex_bound(w, exact, p.c) if p.mass is not None else cone_gap(w, exact, p.c)
        if gap < self.exact[0] or not self.exact.w.size:
            self.exact = Iterate(gap, w, exact)
        self.left_out, self.anchor = exact - model, None
        return gap <= self.target()

    def give_up(self, status: QPStatus) -> QPStatus:
        corrected = self.corrections >= 0
        if not self.best.w.size:  # no iterate since the last correction
            self.measure()
        if self.certify():
            return QPStatus.OPTIMAL
        return QPStatus.COARSE_FACTOR if corrected and status is QPStatus.STALLED else status

    def residual(self) -> float:
        """Complementarity plus dual infeasibility: progress where no gap is known yet."""
        dual = np.abs(self.hw - self.p.c + self.left_out - self.y - self.s).max()
        return float(self.w @ self.s) + float(self.w.sum() * dual)

    def advance(self, stale: int) -> bool:
        """One predictor-corrector step; False when rounding forbids it."""
        p, w, s = self.p, self.w, self.s
        mu = float(w @ s) / p.n
        level = (
            (_SIMPLEX_TAIL if p.mass is not None else _CONE_TAIL)
            * 10.0 ** (-2 * stale)
            * mu
            * p.n
            / float(w.sum()) ** 2
        )
        k = int((p.tails > level).sum())
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            newton = BorderedSystem(p, w, s, k)
            if not newton.ok:
                return False
            self.ranks.append(k)
            dual = self.hw - p.c + self.left_out - self.y - s
            missing = 0.0 if p.mass is None else 1.0 - float(w.sum())
            dw, _, ds = self.direction(newton, -w * s, dual, missing)
            a = to_boundary((w, dw), (s, ds))
            sigma = min(1.0, (float((w + a * dw) @ (s + a * ds)) / (p.n * mu)) ** 3)
            if self.circling:  # the second-order term can run in circles: centre without it
                sigma, dw = max(sigma, 0.3), np.zeros_like(dw)
            dw, dy, ds = self.direction(newton, sigma * mu - w * s - dw * ds, dual, missing)
            a = to_boundary((w, dw), (s, ds), share=TO_BOUNDARY)
            new = w + a * dw, s + a * ds, self.y + a * dy
        if not (a > 1e-10 and all(np.isfinite(v).all() for v in new)):
            return False
        tiny = np.finfo(float).tiny ** 0.5
        self.w, self.s, self.y = np.maximum(new[0], tiny), np.maximum(new[1], tiny), new[2]
        if p.mass is not None:
            self.w /= float(self.w.sum())
        return True

    def direction(
        self, newton: BorderedSystem, rc: Array, dual: Array, missing: float
    ) -> tuple[Array, float, Array]:
        """Newton step for ``w s = w s + rc``, ``Hw - c - y - s = 0`` and the mass."""
        dw, dy = newton.solve(rc / self.w - dual, missing)
        return dw, dy, (rc - self.s * dw) / self.w

    def result(self, status: QPStatus) -> QPResult:
        p = self.p
        gap, w, hw = self.best if self.product is None else self.exact
        value = self.value(w, hw)
        gradient = p.unit * p.size * (hw - p.c) - p.shift
        if p.mass is None:
            w = p.size * w
            gap, multiplier = cone_gap(w, gradient + p.c_full, p.c_full), 0.0
            gap = min(gap, p.unit * self.best[0]) if self.product is None else gap
        else:
            gap = p.unit * p.size**2 * self.simplex_bound(w, hw, p.c)
            w, multiplier = p.size * w, float(gradient.min())
        return QPResult(
            w,
            gradient,
            multiplier,
            value,
            gap,
            len(self.ranks),
            max(0, self.corrections),
            tuple(self.ranks),
            status,
        )
