"""Interior point for convex quadratics on the simplex or the cone, low-rank Hessian.

Minimise over ``w >= 0`` the quadratic ``P(w) = 1/2 w'Hw - c'w``, ``H = scale * L L' + diag(d)``,
either with ``1'w = mass`` or without a mass constraint. This is the MMD step on a fixed support
(MATH M1, "Fixed particle support"): ``H = (1 + 1/eta) K``, ``K = L L' + E`` numerically singular.

Mehrotra's predictor-corrector. The Newton matrix ``diag(s/w + d) + scale L L'`` is inverted by
Woodbury, O(n r^2) an iteration. Two observations make it cheap:

* At complementarity ``w's``, columns of L whose tail ``max_i sum_{j>k} L_ij^2`` is below ``w's`` do
  not matter to the Newton matrix, only to the residual: with ``w ~ 1/n`` and ``s ~ w's`` the tail E
  has ``trace D^{-1/2} E D^{-1/2} <= tail / w's``, D = diag(s/w). Each iteration factorises with the
  leading columns only, and with more of them whenever progress falters.
* When L is a coarse factor of a kernel that can still be applied exactly (`product`), the exact
  gradient certifies the last iterate; if it misses, ``(K - L L')w`` moves into the linear term.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from jko.solvers.woodbury import Newton, Quadratic, checked, prepare

Array = np.ndarray
Product = Callable[[Array], Array]

_TO_BOUNDARY = 0.995
_PATIENCE = 8  # iterations without halving the best gap before giving up


class QPStatus(Enum):
    """Why the iteration ended; the value is the sentence a user reads."""

    OPTIMAL = "The gap is within the tolerance."
    MAX_ITER = "The iteration limit was reached before the tolerance: raise max_iter."
    STALLED = "Rounding stopped the progress above the tolerance: loosen tol."
    COARSE_FACTOR = "The exact gradient misses the tolerance: use a factor of higher rank."
    UNBOUNDED = "The mass grows without bound: no minimiser on the cone; fix the mass."


@dataclass(frozen=True)
class QPResult:
    """Answer of `solve_qp`.

    Attributes
    ----------
    weights : (n,) array, nonnegative; their sum is `mass` to rounding when the mass is fixed.
    gradient : (n,) array, ``Hw - c`` at `weights`, exact when `product` was given.
    multiplier : float, the mass multiplier ``min gradient`` (0 when the mass is free).
    value : float, ``P(weights)``, from the same products as `gradient`.
    gap : float, upper bound of ``P(weights) - min P`` for the H that gave `gradient`.
    iterations, corrections : Newton steps; exact products beyond the first.
    ranks : number of columns used by each Newton matrix.
    status : QPStatus
    """

    weights: Array
    gradient: Array
    multiplier: float
    value: float
    gap: float
    iterations: int
    corrections: int
    ranks: tuple[int, ...]
    status: QPStatus

    @property
    def success(self) -> bool:
        return self.status is QPStatus.OPTIMAL


def solve_qp(
    factor: Array,
    linear: Array,
    *,
    scale: float = 1.0,
    diagonal: Array | None = None,
    mass: float | None = 1.0,
    product: Product | None = None,
    tol: float = 1e-10,
    max_iter: int = 80,
    warm: Array | None = None,
) -> QPResult:
    """Minimise ``1/2 w'Hw - c'w`` over ``w >= 0``, with ``1'w = mass`` unless `mass` is None.

    Parameters
    ----------
    factor : (n, r) array L of ``H = scale L L' + diag(diagonal)``, its columns best sorted by
        importance (as pivoted Cholesky does).
    linear : (n,) array c.
    scale : float > 0.
    diagonal : (n,) nonnegative array, or None for zero.
    mass : float >= 0, or None for the whole cone.
    product : callable ``w -> Kw`` with the exact K that ``L L'`` approximates from below, or None
        when ``K = L L'``. A factor with ``max diag(K - L L') <= 10 tol`` usually needs just one
        product. Then `gap`, `gradient`, `value` are those of ``H = scale K + diag(diagonal)``.
    tol : float, on the gap relative to ``max(1, |value|)``.
    warm : (n,) nonnegative array, a guess.

    Returns
    -------
    QPResult
        The best iterate, whatever the status; entries are always finite.

    Raises
    ------
    ValueError
        If shapes disagree, an entry is not finite, or scale, mass, diagonal or warm have a wrong
        sign.

    Notes
    -----
    Fixed mass: ``gap = w'g - mass min g`` (Frank-Wolfe) with ``g = Hw - c``. Free mass: the dual
    is ``max -1/2 u'Hu`` over ``Hu >= c``; any feasible u bounds the optimum from below, see
    `free_gap`. On the cone no finite gap is reached when ``Hu > c`` has no solution (a positive
    kernel always has one).

    Without `product`, with ``E = K - L L'``, ``delta = max diag E`` and the MMD step of size eta
    from w' to b, both of mass m: the gap for K exceeds the one for L L' by at most
    ``delta (1/2 + 2/eta) m^2`` when K_xy b is exact, ``delta (2 + 2/eta) m^2`` when it comes from
    one factor of the union of supports (E enters as ``1/2 |w - b|_E^2 + 1/(2 eta) |w - w'|_E^2``).
    """
    problem = prepare(factor, linear, scale, diagonal, mass)
    if problem.n == 0 or mass == 0:
        zero, gradient = np.zeros(problem.n), -problem.c_full
        lowest = float(gradient.min()) if problem.n and mass is not None else 0.0
        return QPResult(zero, gradient, lowest, 0.0, 0.0, 0, 0, (), QPStatus.OPTIMAL)
    warm = None if warm is None else checked(warm, (problem.n,), "warm", sign=True)
    run = _Run(problem, product, tol, *_start(problem, warm))
    status = run.iterate(max_iter)
    return run.result(status)


def simplex_gap(weights: Array, gradient: Array) -> float:
    """Frank-Wolfe gap ``w'g - (1'w) min g``, bounds ``P(w) - min P`` at the mass ``1'w``.

    Evaluated as ``w'(g - min g)``: no cancellation, never negative.
    """
    return float(weights @ (gradient - gradient.min()))


def free_gap(weights: Array, hessian_weights: Array, linear: Array) -> float:
    """Gap ``P(w) + 1/2 u'Hu`` on the cone with the dual point ``u = t w``.

    For any u with ``Hu >= c`` and any ``v >= 0``: ``P(v) >= 1/2 v'Hv - v'Hu >= -1/2 u'Hu``. The
    point ``u = t w`` is feasible for ``t = max c_i / (Hw)_i`` when ``Hw > 0``, as for positive
    kernels; otherwise the bound is inf.
    """
    whw = float(weights @ hessian_weights)
    positive = hessian_weights > 0
    t = max(0.0, float(np.max(linear[positive] / hessian_weights[positive], initial=0.0)))
    if np.any(linear[~positive] > t * hessian_weights[~positive]):
        return np.inf
    return max(0.0, 0.5 * whw * (1 + t * t) - float(linear @ weights))


def _start(p: Quadratic, warm: Array | None) -> tuple[Array, Array, float]:
    """Strictly positive primal and slack; the slack is dual feasible when the mass is fixed."""
    w = np.full(p.n, 1.0 / p.n)
    if warm is not None and warm.sum() > 0:
        total = float(warm.sum())
        w = 0.1 * w + 0.9 * warm / total
        w *= total if p.mass is None else 1.0
    elif p.mass is None:
        # The size a solution of the atoms that pull mass would have: a start far below it crawls.
        whw, cw = float(w @ p.hessian(w)), float(np.maximum(p.c, 0) @ w)
        w *= cw / whw if cw > 0 and whw > 0 else 1.0
    g = p.hessian(w) - p.c
    if p.mass is None:
        return w, g + max(1e-3 * (1 + np.abs(g).max()), -1.5 * g.min()), 0.0
    multiplier = float(g.min()) - max(1e-3, simplex_gap(w, g))
    return w, g - multiplier, multiplier


@dataclass
class _Run:
    """State of one solve, in the scaled problem."""

    p: Quadratic
    product: Product | None
    tol: float
    w: Array
    s: Array
    y: float
    kappa: float = 3.0  # columns with a tail above kappa * w's enter the Newton matrix
    bend: Array | float = 0.0  # scaled (K - LL')w of the last correction
    best: tuple = (np.inf,)  # gap, w, Hw by the factor
    best_value: float = np.inf
    exact: tuple = (np.inf,)  # gap, w, Hw by the product
    anchor: tuple | None = None
    ranks: list[int] = field(default_factory=list)
    corrections: int = -1
    circling: bool = False

    def iterate(self, max_iter: int) -> QPStatus:
        stale, mark, recent = 0, np.inf, [np.inf]
        while True:
            gap, aim = self.measure(), self.target()
            if gap <= (0.5 if self.product else 1.0) * aim:
                if self.certify():
                    return QPStatus.OPTIMAL
                if self.corrections > 6:
                    return QPStatus.COARSE_FACTOR
                stale, mark, recent, self.best = 0, np.inf, [np.inf], (np.inf,)
            merit = max(self.residual(), 1e3 * aim)
            # On the cone the bound may stay loose while the iterates converge: either is progress.
            loose = self.p.mass is None or not np.isfinite(gap)
            moved = gap < 0.5 * mark or (loose and merit < 0.5 * min(recent))
            stale, mark = (0, min(mark, gap)) if moved else (stale + 1, mark)
            self.circling = stale > 1 and merit < 10 * recent[-1]
            recent = [recent[-1], merit]
            if self.p.mass is None and self.w.sum() > 1e13:
                return self.give_up(QPStatus.UNBOUNDED)
            if len(self.ranks) == max_iter:
                return self.give_up(QPStatus.MAX_ITER)
            if stale > _PATIENCE or not self.advance(stale):
                return self.give_up(QPStatus.STALLED)

    def measure(self) -> float:
        """Gap of the iterate scaled onto the simplex (or along its ray); keeps the best."""
        self.hw = self.p.hessian(self.w)
        c = self.p.c - self.bend
        if self.p.mass is not None:
            t = 1.0 / float(self.w.sum())
            gap = simplex_gap(t * self.w, t * self.hw - c)
        else:
            cw, whw = float(c @ self.w), float(self.w @ self.hw)
            t = cw / whw if cw > 0 and whw > 0 else (1.0 if cw > 0 else 0.0)
            gap = min(free_gap(t * self.w, t * self.hw, c), self.anchored_gap(t, c))
        value = t * (0.5 * t * float(self.w @ self.hw) - float(c @ self.w))
        if (gap, value) < (self.best[0], self.best_value) or len(self.best) == 1:
            self.best, self.best_value = (gap, t * self.w, t * self.hw), value
        return gap

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

    def value(self, w: Array, hw: Array) -> float:
        p = self.p
        return p.unit * p.size**2 * (0.5 * float(w @ hw) - float(p.c @ w)) - p.shift * p.size

    def target(self, safety: float = 1.0) -> float:
        p = self.p
        return safety * self.tol * max(1.0, abs(self.value(*self.best[1:]))) / (p.unit * p.size**2)

    def certify(self) -> bool:
        """Is the best iterate good enough by the exact product? If not, bend the linear term."""
        gap, w, model = self.best
        if self.product is None:
            return gap <= self.target()
        exact = self.p.ratio * np.asarray(self.product(w), float) + self.p.d * w
        self.corrections += 1
        gap = (
            simplex_gap(w, exact - self.p.c)
            if self.p.mass is not None
            else free_gap(w, exact, self.p.c)
        )
        if gap < self.exact[0] or len(self.exact) == 1:
            self.exact = (gap, w, exact)
        self.bend, self.anchor = exact - model, None
        return gap <= self.target()

    def give_up(self, status: QPStatus) -> QPStatus:
        bent = self.corrections >= 0
        if len(self.best) == 1:  # no iterate since the last correction
            self.measure()
        if self.certify():
            return QPStatus.OPTIMAL
        return QPStatus.COARSE_FACTOR if bent and status is QPStatus.STALLED else status

    def residual(self) -> float:
        """Complementarity plus dual infeasibility: progress where no gap is known yet."""
        dual = np.abs(self.hw - self.p.c + self.bend - self.y - self.s).max()
        return float(self.w @ self.s) + float(self.w.sum() * dual)

    def advance(self, stale: int) -> bool:
        """One predictor-corrector step; False when rounding forbids it."""
        p, w, s = self.p, self.w, self.s
        mu = float(w @ s) / p.n
        level = self.kappa * 10.0 ** (-2 * stale) * mu * p.n / float(w.sum()) ** 2
        k = int((p.tails > level).sum())
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            newton = Newton(p, w, s, k)
            if not newton.ok:
                return False
            self.ranks.append(k)
            dual = self.hw - p.c + self.bend - self.y - s
            missing = 0.0 if p.mass is None else 1.0 - float(w.sum())
            dw, _, ds = self.direction(newton, -w * s, dual, missing)
            a = _reach(w, dw, s, ds)
            sigma = min(1.0, (float((w + a * dw) @ (s + a * ds)) / (p.n * mu)) ** 3)
            if self.circling:  # the second-order term can run in circles: centre without it
                sigma, dw = max(sigma, 0.3), np.zeros_like(dw)
            dw, dy, ds = self.direction(newton, sigma * mu - w * s - dw * ds, dual, missing)
            a = min(1.0, _TO_BOUNDARY * _reach(w, dw, s, ds, 2.0))
            new = w + a * dw, s + a * ds, self.y + a * dy
        if not (a > 1e-10 and all(np.isfinite(v).all() for v in new)):
            return False
        tiny = np.finfo(float).tiny ** 0.5
        self.w, self.s, self.y = np.maximum(new[0], tiny), np.maximum(new[1], tiny), new[2]
        return True

    def direction(
        self, newton: Newton, rc: Array, dual: Array, missing: float
    ) -> tuple[Array, float, Array]:
        """Newton step for ``w s = w s + rc``, ``Hw - c - y - s = 0`` and the mass."""
        dw, dy = newton.solve(rc / self.w - dual, missing)
        return dw, dy, (rc - self.s * dw) / self.w

    def result(self, status: QPStatus) -> QPResult:
        p = self.p
        _, w, hw = self.best if self.product is None else self.exact
        value, w = self.value(w, hw), p.size * w
        gradient = p.unit * p.size * (hw - p.c) - p.shift
        if p.mass is None:
            gap, multiplier = free_gap(w, gradient + p.c_full, p.c_full), 0.0
            gap = min(gap, p.unit * self.best[0]) if self.product is None else gap
        else:
            gap, multiplier = simplex_gap(w, gradient), float(gradient.min())
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


def _reach(w: Array, dw: Array, s: Array, ds: Array, most: float = 1.0) -> float:
    """Largest step in [0, most] that keeps w and s nonnegative."""
    return 1.0 / max(1.0 / most, float(np.max(-dw / w)), float(np.max(-ds / s)))
