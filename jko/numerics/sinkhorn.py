r"""Entropic transport with hard or relaxed marginals, to the bottom of its duality gap.

For weights a (n,), b (m,) > 0, costs C (n, m), possibly +inf, eps > 0 and a reference R (n, m):

    min_{P >= 0}  <C, P> + eps sum (P log(P/R) - P) + D_1(P 1 | a) + D_2(P' 1 | b),

D_k the constraint of equality (weight inf) or weight times a divergence (`jko.numerics.relaxed`):
KL, or Hellinger's. Its dual is

    max_{f, h}  G_1(f) + G_2(h) - eps sum R e^{(f + h - C)/eps},

G(f) = <a, f>, or weight <a, 1 - e^{-f/weight}> for KL. Scaling in the log domain from large eps
downwards (Chizat et al. 2018), then Newton's method on the dual.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jko.numerics.elementary import EPS, xlogy
from jko.numerics.relaxed import Marginal
from jko.validation import Array

#: Sweeps of scaling at each regularisation on the way down.
SWEEPS = 5
#: Factor between two regularisations on the way down.
FALL = 3.0
#: Share of the mass by which marginals may be off where a larger regularisation is left.
NEAR = 1e-3
#: Newton steps; each is tried with at most HALVINGS lengths.
NEWTON = 60
HALVINGS = 30
#: Largest change of a potential, in units of eps, that a Newton step is tried with.
LONGEST = 8.0


@dataclass(frozen=True, eq=False)
class BoundedPlan:
    """A plan and potentials, whose values bound the optimum of their problem.

    Attributes
    ----------
    plan : (n, m) array
        Feasible where marginals are hard.
    f, h : (n,), (m,) arrays
        Potentials.
    upper, lower : float
        Value of the plan and of the potentials: the optimum lies between them.
    iterations : int
    """

    plan: Array
    f: Array
    h: Array
    upper: float
    lower: float
    iterations: int


def entropic_plan(
    a: Array,
    b: Array,
    cost: Array,
    eps: float,
    weights: tuple[float, float] = (np.inf, np.inf),
    log_reference: Array | float = 0.0,
    tol: float = 1e-13,
    hellinger: tuple[bool, bool] = (False, False),
) -> BoundedPlan:
    """Solve until the marginals are met to `tol` of the mass, or to rounding.

    Every atom needs a finite cost to some other; hard marginals on both sides need equal masses
    and finite costs. The values of the answer are those without eps times the mass of R.
    """
    first, second = (Marginal(*x) for x in zip((a, b), weights, hellinger, strict=True))
    problem = _Dual(first, second, cost, eps, log_reference)
    f, h = np.zeros(a.size), np.zeros(b.size)
    top = float(cost[np.isfinite(cost)].max(initial=0.0)) / 8
    level, count = max(eps, top), 0
    while True:
        last = level <= eps
        at = problem if last else _Dual(first, second, cost, level, log_reference)
        for _ in range(SWEEPS):
            f, h = at.sweep(h)
        f, h, steps = _newton(at, f, h, tol if last else NEAR, NEWTON)
        count += SWEEPS + steps
        if last:
            break
        level = max(eps, level / FALL)
    f, h = problem.sweep(h)
    plan = problem.feasible(problem.plan(f, h))
    upper, lower = problem.primal(plan), problem.value(f, h)
    return BoundedPlan(plan, f, h, upper, lower, count)


class _Dual:
    """The dual at one regularisation, its scaling sweep, and the primal value of a plan."""

    def __init__(
        self,
        first: Marginal,
        second: Marginal,
        cost: Array,
        eps: float,
        log_reference: Array | float,
    ) -> None:
        self.first, self.second, self.cost, self.eps = first, second, cost, eps
        self.a, self.b = first.mass, second.mass
        self.log_reference = log_reference
        self.kernel = log_reference - cost / eps
        self.size = float(self.a.sum() + self.b.sum()) * eps

    def sweep(self, h: Array) -> tuple[Array, Array]:
        """Maximise over f, then over h."""
        f = self.first.best(_log_sum(self.kernel + h / self.eps), self.eps)
        back = _log_sum((self.kernel + f[:, None] / self.eps).T)
        return f, self.second.best(back, self.eps)

    def plan(self, f: Array, h: Array) -> Array:
        """R e^{(f + h - C)/eps}."""
        with np.errstate(over="ignore", under="ignore"):
            return np.asarray(np.exp(self.kernel + f[:, None] / self.eps + h / self.eps))

    def value(self, f: Array, h: Array) -> float:
        """The dual value; any f, h bound the optimum from below."""
        gains = self.first.gain(f) + self.second.gain(h)
        return gains - self.eps * float(self.plan(f, h).sum())

    def slopes(self, plan: Array, f: Array, h: Array) -> tuple[Array, Array, Array, Array]:
        """Gradient in f and h, and the curvature that the relaxed marginals add."""
        return (
            self.first.kept(f) - plan.sum(axis=1),
            self.second.kept(h) - plan.sum(axis=0),
            self.eps * self.first.curvature(f),
            self.eps * self.second.curvature(h),
        )

    def feasible(self, plan: Array) -> Array:
        """The plan with hard marginals restored (Altschuler, Weed and Rigollet 2017)."""
        first, second = self.first.hard, self.second.hard
        if first:
            rows = self.a / plan.sum(axis=1)
            plan = plan * (np.minimum(rows, 1.0) if second else rows)[:, None]
        if second:
            columns = self.b / plan.sum(axis=0)
            plan = plan * (np.minimum(columns, 1.0) if first else columns)
        if first and second:
            left = np.maximum(self.a - plan.sum(axis=1), 0.0)
            right = np.maximum(self.b - plan.sum(axis=0), 0.0)
            if right.sum() > 0:
                plan = plan + np.outer(left, right / right.sum())
        return np.asarray(plan)

    def primal(self, plan: Array) -> float:
        """The value of a plan."""
        with np.errstate(invalid="ignore"):
            paid = float(np.where(plan > 0, self.cost * plan, 0.0).sum())
        entropy = float((xlogy(plan, plan) - plan * (1 + self.log_reference)).sum())
        out = paid + self.eps * entropy
        return out + self.first.cost(plan.sum(axis=1)) + self.second.cost(plan.sum(axis=0))


def _newton(dual: _Dual, f: Array, h: Array, tol: float, limit: int) -> tuple[Array, Array, int]:
    """Newton's method on the concave dual, with halvings where it does not ascend.

    Ends where the marginals are met to `tol` of the mass, or where rounding lets nothing improve.
    """
    value, mass = dual.value(f, h), float(dual.a.sum() + dual.b.sum())
    for step in range(limit):
        plan = dual.plan(f, h)
        slopes = dual.slopes(plan, f, h)
        off = _size(slopes)
        move = _direction(plan, *slopes, dual.first.hard and dual.second.hard)
        if move is None or off <= tol * mass:
            return f, h, step
        promise = float(slopes[0] @ move[0] + slopes[1] @ move[1])
        t = min(1.0, LONGEST / max(float(np.abs(move[0]).max()), float(np.abs(move[1]).max())))
        for _ in range(HALVINGS):
            trial = f + t * dual.eps * move[0], h + t * dual.eps * move[1]
            found = dual.value(*trial)
            if found >= value + 1e-4 * t * dual.eps * promise:
                break
            hidden = found >= value - 64 * EPS * (abs(value) + dual.eps * mass)
            if hidden and _size(dual.slopes(dual.plan(*trial), *trial)) < 0.5 * off:
                break
            t /= 2
        else:
            return f, h, step
        # Pieces between which nothing goes yet are shifted by as much as it takes.
        while t < 1:
            t = min(1.0, 2 * t)
            farther = f + t * dual.eps * move[0], h + t * dual.eps * move[1]
            beyond = dual.value(*farther)
            if not beyond > found:
                break
            trial, found = farther, beyond
        (f, h), value = trial, found
    return f, h, limit


def _size(slopes: tuple[Array, ...]) -> float:
    """By how much the marginals are missed."""
    return float(np.abs(slopes[0]).sum() + np.abs(slopes[1]).sum())


def _direction(
    plan: Array, r1: Array, r2: Array, c1: Array, c2: Array, shifts: bool
) -> tuple[Array, Array] | None:
    """The Newton direction in units of eps, through the Schur complement of the second block."""
    from scipy.linalg import cho_factor, cho_solve

    first, second = plan.sum(axis=1) + c1, plan.sum(axis=0) + c2
    size = np.sqrt(np.maximum(second, np.finfo(float).tiny))
    scaled = plan / np.sqrt(first)[:, None] / size
    schur = -scaled.T @ scaled
    np.fill_diagonal(schur, 0.0)
    # Sums of positive terms: little is left of second where pieces nearly feed themselves.
    diagonal = (plan.T @ (c1 / first) + c2) / size**2 - schur @ size / size
    if shifts:  # a constant moved from f to h changes nothing
        schur += np.outer(size, size) / float(second.sum())
    schur[np.diag_indices(second.size)] += diagonal + 16 * EPS
    try:
        factor = cho_factor(schur, check_finite=False)
    except np.linalg.LinAlgError:
        return None
    dh = cho_solve(factor, (r2 - plan.T @ (r1 / first)) / size, check_finite=False) / size
    df = (r1 - plan @ dh) / first
    if not (np.isfinite(df).all() and np.isfinite(dh).all()):
        return None
    return df, dh


def _log_sum(work: Array) -> Array:
    """log of the sums of exp along rows, which have a finite entry each."""
    top = work.max(axis=1)
    with np.errstate(under="ignore"):
        return np.asarray(top + np.log(np.exp(work - top[:, None]).sum(axis=1)))
