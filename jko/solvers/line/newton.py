r"""Newton's method for particles on the line that feel their neighbours through spacings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from jko.solvers.line.stated import Line
from jko.validation import Array

#: Newton steps keep this share of every spacing.
KEEP = 0.02
#: Factor by which the barrier of a ceiling falls from round to round.
BARRIER_FALL = 0.05
#: Sufficient decrease; trial points of a line search; conjugate gradients for smooth kernels.
DECREASE = 1e-4
TRIALS = 60
MAX_CG = 50
#: What a diagonal of ones is raised by until the system is positive.
LIFTS = (0.0, 1e-15, 1e-13, 1e-10)


class SortedPoint(NamedTuple):
    """Sorted positions (n,) and, apart from rounding, what their spacings are above the floor."""

    x: Array
    slack: Array

    def moved(self, t: float, way: Array) -> SortedPoint:
        """The point t way further on; slacks keep their own relative accuracy."""
        return SortedPoint(self.x + t * way, self.slack + t * np.diff(way))


def spread_out(
    line: Line, tol: float, limit: int, kind: type[LineNewton] | None = None
) -> tuple[Array, Array | None, int]:
    """Sorted positions, forces between neighbours (with a ceiling) and Newton iterations.

    `kind` is Newton's method, None the plain one.
    """
    kind = LineNewton if kind is None else kind
    point, total, plain = _apart(line), 0, kind(line, 0.0)

    def size(at: SortedPoint) -> float:
        return line.magnitude(at.x)

    def goal_of(at: SortedPoint) -> float:
        """Without a modulus the slopes count, relative to the way gone, and no gap."""
        return (0.1 * tol) ** 2 * line.cost(at.x) if line.modulus is None else 0.01 * tol * size(at)

    if not np.isfinite(line.parts.ceiling) or len(point.x) == 1:
        point, count = plain.descend(point, goal_of, limit)
        return point.x, None, count
    n = len(point.x)
    barrier = size(point) / n
    while True:
        newton = kind(line, barrier)
        point, count = newton.descend(point, _fixed(0.1 * n * barrier), limit - total)
        total, goal = total + count, 0.3 * tol * size(point) / n
        if barrier <= goal or total >= limit:
            return point.x, barrier / point.slack, total
        barrier = max(0.9 * goal, BARRIER_FALL * barrier)


def _fixed(goal: float) -> Callable[[SortedPoint], float]:
    return lambda _: goal


def _apart(line: Line) -> SortedPoint:
    """The start with every spacing positive and above its floor, about its own mean."""
    x, m = line.start, line.masses
    least = 1.05 * line.floor + 1e-3 * np.sqrt(line.problem.step) * m / line.weights.sum()
    least = np.maximum(least, 1e-12 * np.abs(x).max())
    s = np.maximum(np.diff(x), least)
    y = x[0] + np.append(0.0, np.cumsum(s))
    return SortedPoint(y + float(line.weights @ (x - y)) / line.weights.sum(), s - line.floor)


@dataclass(frozen=True, eq=False)
class LineNewton:
    """The objective plus -barrier sum log(spacing - floor), its slopes and its Newton steps."""

    line: Line
    barrier: float

    def value(self, at: SortedPoint) -> float:
        """The objective with the barrier; +inf where a spacing is too small."""
        if at.slack.size and at.slack.min() <= 0:
            return np.inf
        line = self.line
        wall = -self.barrier * float(np.log(at.slack).sum()) if self.barrier else 0.0
        return line.problem.energy.value(line.in_order(at.x)) + line.cost(at.x) + wall

    def gradient(self, at: SortedPoint) -> Array:
        """Its gradient (n,)."""
        push = self.barrier / at.slack
        out = self.line.weights * self.line.slope(at.x)
        return np.asarray(out - np.append(0.0, push) + np.append(push, 0.0))

    def bands(self, at: SortedPoint) -> Array:
        """Upper diagonal and diagonal of its Hessian without kernels, made positive: (2, n)."""
        line = self.line
        s = at.slack + line.floor
        curvature = self.barrier / at.slack**2
        for c, energy in line.parts.internal:
            curvature = curvature + c * energy.stiffness(line.masses / s) / s
        curved = 1 / line.problem.step + self._field_slope(at.x)
        own = line.weights * np.maximum(curved, 0.1 / line.problem.step)
        diagonal = own + np.append(0.0, curvature) + np.append(curvature, 0.0)
        return np.stack([np.append(0.0, -curvature), diagonal])

    def _field_slope(self, x: Array) -> Array:
        """V'' (n,) by central differences of the gradient."""
        line = self.line
        if not line.parts.potentials:
            return np.zeros_like(x)
        h = 1e-5 * (np.abs(x) + self._length(x))
        return (line.field_at(x + h) - line.field_at(x - h)) / (2 * h)

    def _length(self, x: Array) -> float:
        """A length of the problem: its width, or how far it has moved, or would at first."""
        line = self.line
        width = float(np.ptp(x)) + float(np.abs(x - line.start).max())
        if width > 0:
            return width
        return float(np.abs(line.problem.step * line.field_at(x)).max()) or 1.0

    def descend(
        self, at: SortedPoint, goal: Callable[[SortedPoint], float], limit: int
    ) -> tuple[SortedPoint, int]:
        """Newton until the gap that its gradient leaves is below `goal`, then once more."""
        value = self.value(at)
        for count in range(1, limit + 1):
            gradient = self.gradient(at)
            direction = self.direction(at, gradient)
            fall = -float(gradient @ direction)
            last = 0.5 * self.line.problem.step * self._size(gradient) <= goal(at)
            found = self.search(at, value, gradient, direction, fall)
            if found is None:
                return at, count
            at, value = found
            if last:
                return at, count
        return at, limit

    def direction(self, at: SortedPoint, gradient: Array) -> Array:
        """The Newton direction; with kernels, by conjugate gradients on the bands' system."""
        bands = self.bands(at)
        if not self.line.parts.smooth:
            return -tridiagonal(bands, gradient)
        return self._conjugate(at.x, gradient, bands)

    def _conjugate(self, x: Array, gradient: Array, bands: Array) -> Array:
        out, rest = np.zeros_like(x), -gradient
        z = tridiagonal(bands, rest)
        way, rho = z, float(rest @ z)
        # The forcing term of an inexact Newton method: rho is twice the decrease foreseen.
        goal = rho * min(0.01, np.sqrt(rho / self.line.magnitude(x))) ** 2
        for _ in range(MAX_CG):
            image = self._times(x, way, bands)
            curve = float(way @ image)
            if curve <= 0:
                break
            out = out + rho / curve * way
            rest = rest - rho / curve * image
            z = tridiagonal(bands, rest)
            new = float(rest @ z)
            if new <= goal:
                break
            way, rho = z + new / rho * way, new
        return out if out.any() else z

    def _times(self, x: Array, v: Array, bands: Array) -> Array:
        """Hessian times v: the bands, and differences of the kernels' slopes along v."""
        out = bands[1] * v
        out[1:] += bands[0, 1:] * v[:-1]
        out[:-1] += bands[0, 1:] * v[1:]
        h = 1e-5 * self._length(x) / float(np.abs(v).max())

        def smooth(y: Array) -> Array:
            return self.line.field(y) - self.line.field_at(y)

        return np.asarray(
            out + self.line.weights * (smooth(x + h * v) - smooth(x - h * v)) / (2 * h)
        )

    def search(
        self, at: SortedPoint, value: float, gradient: Array, way: Array, fall: float
    ) -> tuple[SortedPoint, float] | None:
        """A point that decreases the objective; below rounding, one where the slope shrinks."""
        change = np.diff(way)
        room = -at.slack[change < 0] / change[change < 0]
        t = min(1.0, (1 - KEEP) * float(np.min(room, initial=9.0)))
        rounding = 1e-12 * self.line.magnitude(at.x)
        for _ in range(TRIALS):
            to = at.moved(t, way)
            new = self.value(to)
            if new <= value - DECREASE * t * fall:
                return to, new
            if t * fall <= rounding and np.isfinite(new) and self._flatter(to, gradient):
                return to, new
            t /= 2
        return None

    def _size(self, gradient: Array) -> float:
        return float(gradient**2 @ (1 / self.line.weights))

    def _flatter(self, at: SortedPoint, gradient: Array) -> bool:
        return self._size(self.gradient(at)) < self._size(gradient)


def tridiagonal(bands: Array, b: Array) -> Array:
    """The solution of a tridiagonal positive system (LAPACK has none of one unknown).

    Scaled to a diagonal of ones; where stiff spacings leave rounding alone of the least eigenvalue,
    the diagonal is raised by as much as makes it positive again.
    """
    from scipy.linalg import solveh_banded

    if b.size == 1:
        return np.asarray(b / bands[1])
    root = np.sqrt(bands[1])
    scaled = np.stack([np.append(0.0, bands[0, 1:] / (root[1:] * root[:-1])), np.ones_like(root)])
    for lift in LIFTS:
        scaled[1] = 1.0 + lift
        try:
            return np.asarray(solveh_banded(scaled, b / root) / root)
        except (np.linalg.LinAlgError, ValueError):
            continue
    return np.asarray(b / bands[1])
