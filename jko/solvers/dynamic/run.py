"""From coarse to fine: iterate, bound from both sides, keep the best of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from jko.solvers.dynamic.levels import carried, coarser, in_space
from jko.solvers.dynamic.lower import lower_bound, shares
from jko.solvers.dynamic.problem import DynamicProblem
from jko.solvers.dynamic.splitting import Scales, Splitting
from jko.solvers.dynamic.upper import MIXED, Feasible, feasible
from jko.validation import Array

#: Steps before the first bounds, growth of the steps between bounds (factors cost more on more
#: cells), and steps of a coarse level at most.
FIRST = 40
GROWTH = 1.3
COARSE = 400
#: On the coarsest level the scales are found by so many rounds of so many steps.
ROUNDS = 3
ROUND = 40
#: Scales are refreshed when they are off by this factor.
STALE = 1.5
#: A share of the tolerance is left to rounding.
MARGIN = 0.9


@dataclass(eq=False)
class Solution:
    """The best bounds found.

    Attributes
    ----------
    problem : DynamicProblem
    best : Feasible or None
        The path of the best upper bound.
    lower : float
        In the problem's units, as `best.value`.
    phi : array (slices, *shape)
        Potentials of the best lower bound, before their shifts.
    share : list of arrays
        Shares of the faces that go with it.
    iterations : int
    coarse : Solution or None
    mixed : float
        Share of a uniform density that suits its paths.
    bounds : int
        How often both were taken.
    """

    problem: DynamicProblem
    best: Feasible | None = None
    lower: float = -np.inf
    phi: Array | None = None
    share: Sequence[Array] = ()
    iterations: int = 0
    splitting: Splitting | None = field(default=None, repr=False)
    coarse: Solution | None = field(default=None, repr=False)
    mixed: float = MIXED
    bounds: int = 0

    @property
    def upper(self) -> float:
        """Cost of the best path."""
        return np.inf if self.best is None else self.best.value

    @property
    def size(self) -> float:
        """What tolerances refer to: the objective, and at least its action."""
        return np.inf if self.best is None else max(abs(self.best.value), self.best.action)

    @property
    def gap(self) -> float:
        """(upper - lower)/size."""
        if self.best is None or not np.isfinite(self.lower):
            return np.inf
        if self.size == 0:
            return 0.0 if self.upper <= self.lower else np.inf
        return (self.upper - self.lower) / self.size

    @property
    def bias(self) -> float | None:
        """Estimate of upper - exact value from half the cells and slices, in physical units."""
        # A coarse path far from its least one says nothing.
        if self.coarse is None or not self.coarse.gap <= 0.05:
            return None
        fine, other = self.problem, self.coarse.problem
        sizes = zip(fine.cells.shape, other.cells.shape, strict=True)
        ratio = max((n / m for n, m in sizes), default=1.0)
        change = other.unit * self.coarse.upper - fine.unit * self.upper
        return float(change / (ratio**2 - 1))


def solve(
    problem: DynamicProblem, tol: float, max_iter: int, *, scale: float = 0.0, depth: int = 10
) -> Solution:
    """Solve to a gap of tol times `scale` (0: the solution's size), or for max_iter steps.

    Coarse levels aim at the same; max_iter counts the steps on the finest one.
    """
    below = coarser(problem) if depth > 0 else None
    out = Solution(problem)
    if below is None:
        splitting = _started(problem)
    else:
        out.coarse = solve(below, tol, min(COARSE, max_iter), scale=scale, depth=depth - 1)
        rough = out.coarse.splitting
        assert rough is not None
        now = scales(rough, out.coarse.best)
        state = carried(below, rough.rescaled(now).z, problem)
        splitting = Splitting(problem, _on(problem, now, below), state)
    _iterate(out, splitting, tol, max_iter, scale)
    return out


def _iterate(out: Solution, splitting: Splitting, tol: float, max_iter: int, scale: float) -> None:
    growth = GROWTH if out.problem.cells.grid.size <= 2000 else GROWTH**1.5
    pause, done = FIRST, 0
    while True:
        steps = max(1, min(pause, max_iter - done))
        splitting.run(steps)
        done += steps
        _bound(out, splitting)
        allowed = MARGIN * tol * (scale or out.size)
        if out.upper - out.lower <= allowed or done >= max_iter:
            break
        pause = int(np.ceil(done * (growth - 1))) if done > 2 * FIRST else FIRST
        pause = max(pause, FIRST) if out.upper - out.lower > 2 * allowed else FIRST
        # A path far from the least says nothing of the scales.
        if done <= 2 * FIRST and out.gap < 0.5:
            new = scales(splitting, out.best)
            if _stale(new, splitting.scales):
                splitting = splitting.rescaled(new)
    out.splitting, out.iterations = splitting, splitting.iterations


def _bound(out: Solution, splitting: Splitting) -> None:
    """Both bounds of the present iterate; the better ones are kept."""
    problem, found = out.problem, splitting.last
    assert found is not None
    # Multipliers are those of the problem over tau.
    share = shares(problem, splitting.duals)
    lower = lower_bound(problem, found.phi, share)
    if out.phi is None or lower > out.lower:
        out.lower, out.phi, out.share = lower, found.phi, share
    # Along walls mass is dense: the first bounds also try more of it in empty cells.
    settled = problem.cells.plain or out.bounds >= 2
    tried = [out.mixed] if settled else [MIXED, 100 * MIXED]
    paths = [feasible(problem, found.rho, found.flux, mixed) for mixed in tried]
    k = int(np.argmin(np.nan_to_num([path.value for path in paths], nan=np.inf)))
    out.mixed, out.bounds = tried[k], out.bounds + 1
    if out.best is None or paths[k].value < out.best.value:
        out.best = paths[k]


def _started(problem: DynamicProblem) -> Splitting:
    """The coarsest level: scales from a guess, then from what the iteration shows."""
    splitting = Splitting(problem, _guess(problem))
    for _ in range(ROUNDS):
        splitting.run(ROUND)
        assert splitting.last is not None
        best = feasible(problem, splitting.last.rho, splitting.last.flux)
        splitting = splitting.rescaled(scales(splitting, best))
    return splitting


def scales(
    splitting: Splitting, best: Feasible | None, within: tuple[float, float] = (0.03, 30.0)
) -> Scales:
    """Density and action rate of the present path.

    Around obstacles every cell has a density of its own, `within` factors of the typical one: mass
    goes along the walls, ever denser on finer grids.
    """
    problem, found = splitting.problem, splitting.last
    assert found is not None
    r = np.maximum(found.r, 0.0)
    mass = float(r.sum()) / problem.slices
    if best is None or not np.isfinite(best.action) or mass == 0:
        return splitting.scales
    density: float | Array = float((r * r).sum() / r.sum())
    if not problem.cells.plain:
        own = (r * r).sum(axis=0) / np.maximum(r.sum(axis=0), 1e-300)
        density = density * np.clip(own / density, *within)
    action, p = best.action, problem.metric.p
    if p != 2:
        # Powers blow up the fluxes of a path in nearly empty cells; those of the splitting agree
        # with its densities.
        v, tiny = splitting.v, 1e-12 * density
        square = (v.y**2).sum(axis=0)
        cost = square ** (p / 2) / (p * np.maximum(v.r, tiny) ** (p - 1))
        action = min(action, problem.tau * float(cost[v.r > tiny].sum()))
    speed = p * action / (problem.duration * mass)
    return Scales(density, max(speed, 1e-8 * splitting.scales.speed))


def _on(problem: DynamicProblem, found: Scales, below: DynamicProblem) -> Scales:
    """Scales of the problem below on the finer cells."""
    if not isinstance(found.density, np.ndarray):
        return found
    density = in_space(below, found.density, problem)
    inside = problem.cells.opened & (density > 0)
    return Scales(np.where(inside, density, float(density[inside].mean())), found.speed)


def _stale(new: Scales, old: Scales) -> bool:
    """Whether speeds or densities, by their means, are off by the factor."""
    ratios = new.speed / old.speed, float(np.mean(new.density) / np.mean(old.density))
    return any(max(x, 1 / x) > STALE for x in ratios)


def _guess(problem: DynamicProblem) -> Scales:
    """From the ends: how far their means and spreads are apart, or the force on the start."""
    start, metric = problem.start.ravel(), problem.metric
    x = problem.cells.grid.points
    density = float(start @ start / start.sum())
    mean, spread = _moments(x, start)
    span = float(np.sum((problem.cells.grid.upper - problem.cells.grid.lower) ** 2))
    if problem.end is not None:
        other, wide = _moments(x, problem.end.ravel())
        square = float(((mean - other) ** 2).sum() + ((spread - wide) ** 2).sum()) + 1e-3 * span
        speed = (np.sqrt(square) / problem.duration) ** metric.p / metric.alpha ** (metric.p - 1)
        if metric.beta:
            ratio = np.log(float(problem.end.sum()) / problem.mass) / problem.duration
            speed = min(speed, 4 / (metric.beta * problem.duration**2)) + ratio**2 / metric.beta
        return Scales(density, float(speed))
    h = problem.last
    f = np.zeros_like(start) if h is None else h.gradient(np.maximum(start, 1e-3 * start.mean()))
    f = np.where(np.isfinite(f), f, 0.0).reshape(problem.cells.shape)
    slopes = np.zeros(f.shape)
    for axis, g in enumerate(problem.cells.gradient(f)):
        slopes += 0.5 * (g**2 + problem.cells.before(g**2, axis))
    rate = metric.alpha * slopes + metric.beta * f**2
    speed = float((problem.start * rate).sum() / start.sum())
    return Scales(density, min(max(speed, 1e-12), span / (metric.alpha * problem.duration**2)))


def _moments(x: Array, w: Array) -> tuple[Array, Array]:
    mean = w @ x / w.sum()
    return mean, np.sqrt(w @ (x - mean) ** 2 / w.sum())
