"""Newton's method on spacings beside a potential with kinks: particles come to rest in them."""

from __future__ import annotations

import numpy as np

from jko.numerics.elementary import EPS
from jko.solvers.line.newton import LineNewton, SortedPoint, tridiagonal
from jko.validation import Array, Mask

#: A particle this close to a kink, in units of rounding, is in it.
IN_IT = 8 * EPS


class KinkedNewton(LineNewton):
    """Newton steps in which particles stop at kinks that hold them.

    The gradient is the smallest subgradient: 0 for a particle that its kink holds, which then stays
    while the others move. A step ends, for each particle, where the slope that Newton's model
    foresees changes its sign, be it at a kink on the way.
    """

    def direction(self, at: SortedPoint, gradient: Array) -> Array:
        """The Newton direction of the particles that are free, each shortened to its kink."""
        below, above = self.line.knot_slopes(at.x)
        on = above > below
        held = on & (gradient == 0)
        bands = self.bands(at)
        while True:
            way = -tridiagonal(_fixed(bands, held), np.where(held, 0.0, gradient))
            # Beyond its kink a particle has another slope than the one it is to follow.
            wrong = on & ~held & (way * gradient > 0)
            if not wrong.any():
                break
            held = held | wrong
        way = self._shortened(at.x, gradient, way)
        if not float(gradient @ way) < 0:
            way = self._shortened(at.x, gradient, np.where(held, 0.0, -gradient / bands[1]))
        return way

    def _shortened(self, x: Array, gradient: Array, way: Array) -> Array:
        """The way of every particle to where its slope, jumps at kinks included, is nought."""
        y, left, right = self.line.knots
        out = way.copy()
        for i in np.flatnonzero(way):
            steps = np.copysign(y - x[i], 1.0)
            ahead = (np.sign(y - x[i]) == np.sign(way[i])) & (steps < abs(way[i]))
            order = np.argsort(steps[ahead])
            steps = steps[ahead][order]
            if gradient[i] * way[i] < 0:
                jumps = self.line.weights[i] * (right - left)[ahead][order]
                end = _end(steps, jumps, abs(way[i]), abs(gradient[i]))
            else:  # pushed by its neighbours: as far as the first kink
                end = steps[0] if steps.size else abs(way[i])
            out[i] = np.copysign(end, way[i])
        return out

    def search(
        self, at: SortedPoint, value: float, gradient: Array, way: Array, fall: float
    ) -> tuple[SortedPoint, float] | None:
        """The point that a line search finds; particles that reach a kink are put into it."""
        found = super().search(at, value, gradient, way, fall)
        if found is None:
            return None
        to, new = found
        y = self.line.knots[0]
        near = y[np.clip(np.searchsorted(y, to.x), 0, y.size - 1)]
        before = y[np.clip(np.searchsorted(y, to.x) - 1, 0, y.size - 1)]
        near = np.where(np.abs(before - to.x) < np.abs(near - to.x), before, near)
        close = np.abs(near - to.x) <= IN_IT * np.maximum(np.abs(at.x), np.abs(near))
        return SortedPoint(np.where(close, near, to.x), to.slack), new


def _fixed(bands: Array, held: Mask) -> Array:
    """The system with the rows and columns of held unknowns replaced by those of the identity."""
    out = bands.copy()
    out[0, 1:] = np.where(held[1:] | held[:-1], 0.0, bands[0, 1:])
    return out


def _end(steps: Array, jumps: Array, length: float, pull: float) -> float:
    """Where a slope -pull that rises to 0 over `length`, and jumps on the way, changes its sign."""
    passed = 0.0
    for step, jump in zip(steps, jumps, strict=True):
        left = pull * (1 - step / length) - passed
        if left <= 0:
            break
        if left <= jump:
            return float(step)
        passed += jump
    return length * (1 - passed / pull)
