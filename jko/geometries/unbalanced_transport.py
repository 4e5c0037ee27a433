r"""Unbalanced transport with relaxed marginals: a primal-dual interior point with certified bounds.

For weights mu (n,), nu (m,) > 0 and a cost c (n, m) >= 0, possibly +inf (formula U2), it solves

    primal   min_{g >= 0}       KL(g 1 | mu) + KL(g' 1 | nu) + <c, g>
    dual     max_{f_i + h_j <= c_ij}  sum mu (1 - e^{-f}) + sum nu (1 - e^{-h}).

or with Hellinger's divergence on either side (`jko.numerics.relaxed`). Every g >= 0 is feasible in
the first and the iterates stay strictly feasible in the second, so that both bounds hold at every
iteration and their difference is the certificate.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from jko.numerics.interior import LAG, RECENTRE, TO_BOUNDARY, UNEVEN, to_boundary
from jko.numerics.relaxed import Marginal, relative_entropy
from jko.numerics.sinkhorn import BoundedPlan
from jko.validation import Array, Mask

__all__ = ["MAX_ITER", "relative_entropy", "unbalanced_plan"]

#: Steps; 10 to 25 are taken.
MAX_ITER = 100


def unbalanced_plan(
    mu: Array,
    nu: Array,
    cost: Array,
    rtol: float = 1e-13,
    weights: tuple[float, float] = (1.0, 1.0),
    hellinger: tuple[bool, bool] = (False, False),
) -> BoundedPlan:
    """Solve to a duality gap of `rtol` relative to the value (1e-15 of the masses at best).

    Parameters
    ----------
    mu, nu : (n,), (m,) arrays, > 0
    cost : (n, m) array, >= 0, +inf where no transport is possible
    rtol : float
    weights : pair of floats, > 0
        Factors of the two divergences; inf for a marginal that must be met, one of them at most,
        and then every atom there needs a finite cost. The dual is then that of
        weight mu (1 - e^{-f/weight}).
    hellinger : pair of bools
        Which divergences are Hellinger's.

    Returns
    -------
    BoundedPlan
        f_i + h_j <= c_ij, +inf at atoms that no finite cost reaches.
    """
    if np.isinf(weights[0]):  # the elimination starts with the softer side
        turned = unbalanced_plan(nu, mu, cost.T, rtol, weights[::-1], hellinger[::-1])
        return replace(turned, plan=turned.plan.T, f=turned.h, h=turned.f)
    n, m = cost.shape
    scale = min(weights)  # potentials vary on the scale of the softer divergence
    if scale != 1:
        shares = weights[0] / scale, weights[1] / scale
        soft = unbalanced_plan(mu, nu, cost / scale, rtol, shares, hellinger)
        return BoundedPlan(
            soft.plan,
            scale * soft.f,
            scale * soft.h,
            scale * soft.upper,
            scale * soft.lower,
            soft.iterations,
        )
    finite, unit = np.isfinite(cost), float(mu.sum() + nu.sum())
    ends = tuple(Marginal(*x) for x in zip((mu, nu), weights, hellinger, strict=True))
    # Shares of the mass beyond doubles take no part in the plan.
    left = np.asarray((mu > 1e-290 * unit) | np.isinf(weights[0]))
    right = np.asarray((nu > 1e-290 * unit) | np.isinf(weights[1]))
    if not (left.all() and right.all()):
        return _without(ends, cost, rtol, (left, right))
    rows, columns = (np.asarray(finite.any(axis=k)) for k in (1, 0))
    plan, f, h = np.zeros((n, m)), np.full(n, np.inf), np.full(m, np.inf)
    lost = ends[0].take(~rows).lost + ends[1].take(~columns).lost
    if not rows.any():
        return BoundedPlan(plan, f, h, lost, lost, 0)
    core = np.ix_(rows, columns)
    reached = ends[0].take(rows).scaled(unit), ends[1].take(columns).scaled(unit)
    inner = _InteriorPoint(*reached, cost[core], lost / unit)
    iterations = inner.run(rtol)
    plan[core] = unit * inner.plan
    f[rows], h[columns] = inner.f, inner.h
    return BoundedPlan(plan, f, h, unit * inner.upper, unit * inner.lower, iterations)


def _without(
    ends: tuple[Marginal, ...], cost: Array, rtol: float, kept: tuple[Mask, Mask]
) -> BoundedPlan:
    """The plan without atoms of next to no mass, which pay all of it; their potentials fit."""
    (one, two), (left, right) = ends, kept
    mu, nu = one.mass, two.mass
    weights, kinds = (one.weight, two.weight), (one.hellinger, two.hellinger)
    core = cost[np.ix_(left, right)]
    found = unbalanced_plan(mu[left], nu[right], core, rtol, weights, kinds)
    plan = np.zeros(cost.shape)
    plan[np.ix_(left, right)] = found.plan
    f, h = np.full(mu.size, np.inf), np.full(nu.size, np.inf)
    f[left], h[right] = found.f, found.h
    # No potential is so high that a partner without mass would have to make up for it.
    near = np.isfinite(cost)
    f[left & near[:, ~right].any(axis=1)] = np.minimum(f, 300)[left & near[:, ~right].any(axis=1)]
    h[right & near[~left].any(axis=0)] = np.minimum(h, 300)[right & near[~left].any(axis=0)]
    with np.errstate(invalid="ignore"):  # inf - inf beyond the cut
        rows = np.where(near, cost - f[:, None], np.inf)[left]
        h[~right] = rows[:, ~right].min(axis=0, initial=300)
        columns = np.where(near, cost - h, np.inf)[~left]
        f[~left] = columns.min(axis=1, initial=300)
    lost = one.take(~left).lost + two.take(~right).lost
    lower = one.gain(f) + two.gain(h)
    return BoundedPlan(plan, f, h, found.upper + lost, lower, found.iterations)


class _InteriorPoint:
    """Mehrotra's predictor and corrector in (f, h, plan); the slack c - f - h stays exact.

    The system in (f, h) is a signless Laplacian of weights x/s plus diag(mu e^{-f}, nu e^{-h}),
    positive definite. Primal and dual take one step length: with two of them the iterates leave
    the neighbourhood of the central path, on which the nonlinear terms are tame.
    """

    def __init__(self, first: Marginal, second: Marginal, cost: Array, offset: float) -> None:
        self.cost, self.offset = cost, offset
        n, m = cost.shape
        self.first, self.second = first, second
        self.finite = np.isfinite(cost)
        self.safe = np.where(self.finite, cost, 1.0)
        self.pairs = int(self.finite.sum())
        self._f, self._h = cost.min(axis=1) / 2 - 1, cost.min(axis=0) / 2 - 1
        if not (first.hellinger or second.hellinger):  # whose potentials have a floor
            left, right = first.kept(self._f), second.kept(self._h)
            shift = 0.5 * np.log(left.sum() / right.sum())
            self._f, self._h = self._f + shift, self._h - shift
        start = 1 / self._slack(self._f, self._h)
        self._x = np.where(self.finite, start * (0.5 / start[self.finite].sum()), 0.0)
        self.upper, self.lower = np.inf, -np.inf
        self.plan, self.f, self.h = self._x, self._f, self._h
        if not (first.hard or second.hard):  # no plan at all, and no potentials
            self._record(np.zeros((n, m)), np.zeros(n), np.zeros(m))
        self._record(self._x, self._f, self._h)

    def run(self, rtol: float) -> int:
        """Iterate until the bounds meet or stop improving; the best of each is kept."""
        stalled = 0
        for iteration in range(1, MAX_ITER + 1):
            before = self.upper - self.lower
            if not self._advance():
                return iteration
            gap = self.upper - self.lower
            stalled = 0 if gap < 0.9 * before else stalled + 1
            if gap <= max(rtol * self.upper, 1e-15) or stalled > 20:
                return iteration
        return MAX_ITER

    def _slack(self, f: Array, h: Array) -> Array:
        return np.where(self.finite, self.safe - f[:, None] - h, 1.0)

    def _advance(self) -> bool:
        """One predictor-corrector step; false when rounding leaves no usable direction."""
        x, s = self._x, self._slack(self._f, self._h)
        if not (s > 0).all():
            return False  # slacks below the rounding of c - f - h
        products = (x * s)[self.finite]
        mean = float(products.sum()) / self.pairs
        system = self._factor(x / s)
        if system is None:
            return False
        predicted = self._direction(system, x, s, np.zeros_like(x))
        t = self._length(x, s, predicted)
        centre = max((1 - t) ** 3, 1e-6)
        if products.min() < UNEVEN * mean:  # too near the boundary: back to the central path first
            centre = max(centre, RECENTRE)
        # Products far below the gap mean marginals that lag behind: they must not vanish first.
        centre = max(centre, min(LAG * (self.upper - self.lower) / (self.pairs * mean), RECENTRE))
        second = np.clip(t**2 * predicted[2] * predicted[3], -10 * mean, 10 * mean)
        target = np.where(self.finite, centre * mean - second, 0.0)
        move = self._direction(system, x, s, target)
        if not all(np.isfinite(part).all() for part in move):
            return False
        t = self._length(x, s, move)
        self._x = np.where(self.finite, x + t * move[2], 0.0)
        self._f, self._h = self._f + t * move[0], self._h + t * move[1]
        self._record(self._x, self._f, self._h)
        return True

    def _factor(self, weight: Array) -> tuple[Array, Array, tuple[Array, bool]] | None:
        """Cholesky factor of the Schur complement in the h-block of the Newton matrix."""
        from scipy.linalg import cho_factor  # costs 0.1 s to import

        first = self.first.curvature(self._f) + weight.sum(axis=1)
        second = self.second.curvature(self._h) + weight.sum(axis=0)
        scaled = weight / np.sqrt(first)[:, None]
        try:
            factor = cho_factor(np.diag(second) - scaled.T @ scaled, check_finite=False)
        except np.linalg.LinAlgError:
            return None
        return weight, first, factor

    def _direction(
        self, system: tuple[Array, Array, tuple[Array, bool]], x: Array, s: Array, target: Array
    ) -> tuple[Array, Array, Array, Array]:
        """Newton direction (df, dh, dx, ds) towards x s = target."""
        from scipy.linalg import cho_solve

        weight, first, factor = system
        push = np.where(self.finite, target / s, 0.0)
        # Residuals of the marginals and the change of x at fixed potentials cancel in part.
        left, right_kept = self.first.kept(self._f), self.second.kept(self._h)
        r1, r2 = left - push.sum(axis=1), right_kept - push.sum(axis=0)
        right = r2 - weight.T @ (r1 / first)
        dh = cho_solve(factor, right, check_finite=False)
        df = (r1 - weight @ dh) / first
        both = np.where(self.finite, df[:, None] + dh, 0.0)
        return df, dh, push - x + weight * both, -both

    def _length(self, x: Array, s: Array, move: tuple[Array, ...]) -> float:
        """Common length to the boundary; e^{-f/weight} is smooth where f moves by 2 weights."""
        moved = (
            float(np.abs(move[0]).max()) / self.first.weight,
            float(np.abs(move[1]).max()) / self.second.weight,
        )
        size = max(*moved, 1e-300)
        inside = self.finite
        pairs = [(x[inside], move[2][inside]), (s[inside], move[3][inside])]
        for end, at, by in ((self.first, self._f, move[0]), (self.second, self._h, move[1])):
            if end.hellinger and not end.hard:
                pairs.append((at - end.floor, by))
        t = to_boundary(*pairs, share=TO_BOUNDARY)
        return min(t, 2 / size)

    def _record(self, x: Array, f: Array, h: Array) -> None:
        """Keep the best plan and the best potentials seen."""
        if self.first.hard:
            x = x * (self.first.mass / x.sum(axis=1))[:, None]
        if self.second.hard:
            x = x * (self.second.mass / x.sum(axis=0))
        upper = self.offset + float((self.safe * x).sum())
        upper += self.first.cost(x.sum(axis=1)) + self.second.cost(x.sum(axis=0))
        lower = self.offset + self.first.gain(f) + self.second.gain(h)
        if upper < self.upper:
            self.upper, self.plan = upper, x
        if lower > self.lower:
            self.lower, self.f, self.h = lower, f, h
