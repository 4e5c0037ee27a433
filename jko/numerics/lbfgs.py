"""L-BFGS for smooth objectives whose values lose their digits before their gradients do."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from jko.errors import InvalidMeasure
from jko.status import Breakdown, Status
from jko.validation import Array

#: Wolfe conditions: sufficient decrease and curvature.
DECREASE = 0.1
CURVATURE = 0.9
#: Relative rounding of an objective: below it only slopes tell a better point from a worse one.
ROUNDING = 1e-10
#: Trial points of one line search.
MAX_TRIALS = 40
#: Halvings of a first step that is out of all proportion (a long step in a short unit).
MAX_HALVINGS = 400
#: Iterations after which no progress means a stall.
STALL = 50


class Smooth(Protocol):
    """An objective on R^m; `InvalidMeasure` from a trial point means it left the domain."""

    def value(self, y: Array) -> float:
        """The objective."""

    def slope(self, y: Array) -> Array:
        """Its gradient (m,)."""

    def residual(self, y: Array, slope: Array) -> float:
        """The figure that must fall below the tolerance."""


@dataclass
class QuasiNewtonRun:
    """Where the descent stands.

    `errors` are what the last changes of the objective differ by from what its slopes say: near the
    end, where steps are tiny, nothing but the rounding of the objective.
    """

    point: Array
    objective: float
    slope: Array
    iterations: int = 0
    evaluations: int = 1
    pairs: list[tuple[Array, Array]] = field(default_factory=list)
    errors: deque[float] = field(default_factory=lambda: deque([0.0] * 3, maxlen=3))


def descend(
    problem: Smooth, start: Array, tol: float, limit: int, memory: int, by_slope: bool = False
) -> QuasiNewtonRun:
    """L-BFGS until the residual is met, no step is found, it stalls, or the limit is reached.

    Once rounding hides the decrease of the objective, the line search looks at slopes alone;
    `by_slope` says that there are no values to look at from the start.
    """
    has_values = not by_slope
    run = QuasiNewtonRun(start, safe_value(problem, start), problem.slope(start))
    checkpoint, best = (np.inf, np.inf), replace(run)
    while run.iterations < limit and problem.residual(run.point, run.slope) > tol:
        if run.iterations % STALL == STALL - 1 and run.pairs:
            figures = (run.objective, problem.residual(run.point, run.slope))
            if _stalled(*checkpoint, *figures):
                break
            checkpoint = figures
        direction = -_two_loop(run.slope, run.pairs)
        found = _line_search(problem, run, direction, by_slope)
        if found is not None:
            _advance(run, *found, memory)
        elif run.pairs:
            run.pairs.clear()
        elif by_slope:
            break
        else:
            by_slope, best = True, replace(run)
            run.errors.extend([0.0] * 3)
    if has_values and run.objective > best.objective + _rounding(problem, run, best, tol):
        best.iterations, best.evaluations = run.iterations, run.evaluations
        return best  # slopes, or rounding errors added up, led uphill
    return run


def _rounding(problem: Smooth, run: QuasiNewtonRun, best: QuasiNewtonRun, tol: float) -> float:
    """How far two objectives may differ by rounding alone.

    Near 0 that is no small part of the objective, which is what large terms leave over. The median
    of the last `errors` is rounding; an error of the slopes shows in the longest step alone.
    """
    known = ROUNDING * abs(best.objective)
    if problem.residual(run.point, run.slope) > tol:
        return known
    return max(known, 10 * float(np.median(run.errors)))


def _stalled(old_value: float, old_residual: float, value: float, residual: float) -> bool:
    """Neither the objective nor the residual has improved to speak of."""
    return value > old_value - ROUNDING * abs(value) and residual > 0.5 * old_residual


def _advance(
    run: QuasiNewtonRun, point: Array, objective: float, slope: Array, memory: int
) -> None:
    step, change = point - run.point, slope - run.slope
    if step @ change > 1e-12 * np.linalg.norm(step) * np.linalg.norm(change):
        run.pairs.append((step, change))
        del run.pairs[:-memory]
    run.errors.append(abs(objective - run.objective - 0.5 * float((run.slope + slope) @ step)))
    run.point, run.objective, run.slope = point, objective, slope
    run.iterations += 1


def _two_loop(slope: Array, pairs: list[tuple[Array, Array]]) -> Array:
    """The L-BFGS inverse Hessian applied to a vector; the identity when nothing is known."""
    q = slope.copy()
    shares = []
    for s, y in reversed(pairs):
        share = (s @ q) / (s @ y)
        shares.append(share)
        q -= share * y
    if pairs:
        s, y = pairs[-1]
        q *= (s @ y) / (y @ y)
    for (s, y), share in zip(pairs, reversed(shares), strict=True):
        q += (share - (y @ q) / (s @ y)) * s
    return q


def _line_search(
    problem: Smooth, run: QuasiNewtonRun, direction: Array, by_slope: bool
) -> tuple[Array, float, Array] | None:
    """A point that meets the weak Wolfe conditions, by doubling and bisection."""
    down = float(run.slope @ direction)
    if not down < 0:
        return None
    short, long, t, leap = 0.0, np.inf, 1.0, 2.0
    for trial in range(MAX_HALVINGS):
        far = t > 2.0**MAX_TRIALS  # a slope next to 0 says nothing of how far it is to go
        if trial >= MAX_TRIALS * (1 + far) and (run.pairs or by_slope or short > 0):
            break
        with np.errstate(over="ignore"):
            point = run.point + t * direction
        run.evaluations += 1
        objective = safe_value(problem, point)
        slope = _safe_slope(problem, point) if np.isfinite(objective) else None
        with np.errstate(over="ignore", invalid="ignore"):  # far outside: too long by any measure
            rate = np.inf if slope is None else float(slope @ direction)
        if (
            slope is None
            or not np.isfinite(rate)
            or _too_long(run.objective, objective, t * down, rate / down, by_slope)
        ):
            long = t
        elif rate < CURVATURE * down:
            short = t
            _check_bottom(objective, by_slope)
        else:
            return point, objective, slope
        if np.isfinite(long) and long - short <= 1e-12 * long:
            return None
        t, leap = _next_trial(short, long, leap)
    return None


def _next_trial(short: float, long: float, leap: float) -> tuple[float, float]:
    """The next length of a step, and by how much the one after it may be longer.

    Doubling until the end is far out of all proportion, then by squares of the factor; halving of
    the length, or of its logarithm where the bracket spans orders of magnitude.
    """
    if np.isfinite(long):
        wide = short > 0 and long > 16 * short
        return (float(np.sqrt(short) * np.sqrt(long)) if wide else 0.5 * (short + long)), leap
    if short >= 2.0 ** (MAX_TRIALS - 1):
        leap = min(leap * leap, 1e100)
    return min(leap * short, 1e300), leap


def _check_bottom(objective: float, by_slope: bool) -> None:
    """The one evidence that there is no minimum: an objective whose square overflows.

    How long it fell says nothing: far away a slope may be next to 0.
    """
    if objective < -np.sqrt(np.finfo(float).max) and not by_slope:
        raise Breakdown(
            Status.UNBOUNDED, f"the objective falls below every number, to {objective:.0e} and on"
        )


def _too_long(old: float, new: float, fall: float, ratio: float, by_slope: bool) -> bool:
    """Whether a step fails to decrease the objective as it should (`fall` = t phi'(0) < 0).

    Where the objective changes by less than its rounding, decrease is read off the slopes:
    phi'(t)/phi'(0) >= 2 DECREASE - 1 is the same condition for a quadratic.
    """
    flat = ratio >= 2 * DECREASE - 1
    if by_slope:
        return not flat
    if flat and new - old <= ROUNDING * abs(old):
        return False
    return new - old > DECREASE * fall


def safe_value(problem: Smooth, y: Array) -> float:
    """The objective, +inf where the trial point leaves the domain of the energy."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            out = problem.value(y)
    except InvalidMeasure:
        return np.inf
    return out if not np.isnan(out) else np.inf


def _safe_slope(problem: Smooth, y: Array) -> Array | None:
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            return problem.slope(y)
    except InvalidMeasure:
        return None
