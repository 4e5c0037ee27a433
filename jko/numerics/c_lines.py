r"""Lower envelopes along lines: the c-transform of one axis, compiled where numba is installed.

On a line of n nodes with values v, interpolated linearly, and the cost scale k^2 of moving k cells,

    u_i = min over y in [0, n - 1] of   scale (i - y)^2 - v(y),

exactly, in O(n): the minimum over nodes is a lower envelope of parabolas, and inside the segment
[s, s + 1] the cost is stationary at y = i + (v_{s+1} - v_s) / (2 scale), which lies there for one
node i at most.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

from jko.validation import Array, Index


class Lines(NamedTuple):
    """Minima of m lines of n nodes, and where they lie: y = segment + share.

    Attributes
    ----------
    values : (m, n) array
    segment : (m, n) array of int
        The node on the left, at most n - 2; on circles counted on from the target's own turn, from
        -n on.
    share : (m, n) array in [0, 1]
        Weight of the node on the right.
    circular : bool
        Whether the last node is followed by the first.
    """

    values: Array
    segment: Index
    share: Array
    circular: bool = False

    @property
    def left(self) -> Index:
        """The node on the left (m, n), in [0, n)."""
        return self.segment % self.segment.shape[1] if self.circular else self.segment

    @property
    def right(self) -> Index:
        """The node on the right (m, n), in [0, n)."""
        ahead: Index = self.segment + 1
        return ahead % self.segment.shape[1] if self.circular else ahead


def transform_lines(
    v: Array, scale: float, compiled: bool | None = None, circular: bool = False
) -> Lines:
    """The transform of the lines v (m, n), n >= 2; compiled=None uses numba where it is there.

    On circles of n nodes the least cost over all turns counts: no place is farther than half a
    turn, so that half a turn is laid on either side.
    """
    if circular:
        n = v.shape[1]
        half = n // 2 + 1
        around = np.arange(-half, n + half) % n
        found = transform_lines(v[:, around], scale, compiled)
        own = slice(half, half + n)
        segment = found.segment[:, own] - half
        return Lines(found.values[:, own], segment, found.share[:, own], True)
    v = np.ascontiguousarray(v, dtype=float)
    kernel = None if compiled is False else _compiled()
    if kernel is None:
        return _vectorised(v, scale)
    out = Lines(np.empty_like(v), np.empty(v.shape, dtype=np.int64), np.empty_like(v))
    kernel(v, scale, *out[:3])
    return out


def has_compiled() -> bool:
    """Whether numba is installed."""
    return _compiled() is not None


@cache
def _compiled() -> Callable[..., object] | None:
    try:
        import numba
    except ImportError:
        return None
    kernel: Callable[..., object]
    try:
        kernel = numba.njit(cache=True)(_envelopes)
    except RuntimeError:  # no directory for the compiled code
        kernel = numba.njit(_envelopes)
    return kernel


def _envelopes(v: Array, scale: float, values: Array, segment: Array, share: Array) -> None:
    """The loops that numba compiles; results go to the last three arguments."""
    m, n = v.shape
    hull, start = np.empty(n, np.int64), np.empty(n + 1)
    for line in range(m):
        f = v[line]
        # Parabolas of the envelope in hull[:top + 1]; hull[k] is lowest from start[k] on.
        top, hull[0], start[0] = 0, 0, -np.inf
        for q in range(1, n):
            while True:
                r = hull[top]
                cross = 0.5 * (q + r) - (f[q] - f[r]) / (2 * scale * (q - r))
                if cross > start[top] or top == 0:
                    break
                top -= 1
            top += 1
            hull[top], start[top] = q, cross
        k = 0
        for i in range(n):
            while k < top and start[k + 1] <= i:
                k += 1
            j = hull[k]
            values[line, i] = scale * (i - j) ** 2 - f[j]
            segment[line, i] = min(j, n - 2)
            share[line, i] = j - segment[line, i]
        for s in range(n - 1):
            shift = (f[s + 1] - f[s]) / (2 * scale)
            if not -n < s - shift < n:
                continue
            i = int(np.ceil(s - shift))
            part = i + shift - s
            if i < 0 or i >= n or part <= 0 or part >= 1:
                continue
            least = scale * shift**2 - f[s] - part * (f[s + 1] - f[s])
            if least < values[line, i]:
                values[line, i], segment[line, i], share[line, i] = least, s, part


def _vectorised(v: Array, scale: float, many: int = 4096) -> Lines:
    """The readable twin: the nodes by counting, then every segment's one candidate.

    As many entries at a time as leave all that is made of them in the cache: on 512^2 cells that
    takes less than half the time.
    """
    m, n = v.shape
    out = Lines(np.empty_like(v), np.empty(v.shape, dtype=np.int64), np.empty_like(v))
    rows = max(8, many // n)
    for start in range(0, m, rows):
        some = slice(start, start + rows)
        _few(v[some], scale, Lines(out.values[some], out.segment[some], out.share[some]))
    return out


def _few(v: Array, scale: float, out: Lines) -> None:
    """The minima of a few lines, written to `out`."""
    n = v.shape[1]
    node = _best_nodes(v, scale)
    hops = np.arange(n) - node
    np.subtract(scale * (hops * hops), np.take_along_axis(v, node, axis=1), out=out.values)
    np.minimum(node, n - 2, out=out.segment)
    np.subtract(node, out.segment, out=out.share)
    s, shift = np.arange(n - 1.0), np.diff(v, axis=1) * (0.5 / scale)
    target = s - shift
    np.ceil(np.clip(target, -1.0, n, out=target), out=target)
    part = target + shift
    part -= s
    fits = np.flatnonzero((target >= 0) & (target < n) & (part > 0) & (part < 1))
    line, at = np.divmod(fits, n - 1)
    part, shift = part.ravel()[fits], shift.ravel()[fits]
    place = target.ravel()[fits].astype(np.intp) + n * line
    least = scale * shift * (shift - 2 * part) - v.ravel()[fits + line]
    values = out.values.reshape(-1)
    before = values[place]
    np.minimum.at(values, place, least)
    won = np.flatnonzero((least == values[place]) & (least < before))
    out.segment.reshape(-1)[place[won]] = at[won]
    out.share.reshape(-1)[place[won]] = part[won]


def _best_nodes(v: Array, scale: float) -> Index:
    """The first minimiser among the nodes (m, n): it never decreases along a line.

    Node s + 1 is better than s from the target t_s = s + 1/2 - (v_{s+1} - v_s)/(2 scale) on. Where
    these increase, node i has passed as many as lie below it; elsewhere the envelope leaves nodes
    out, and its crossings are the isotonic regression of the t_s (differences of a concave
    majorant).
    """
    m, n = v.shape
    # A node so far below the best one is the answer to no target.
    v = np.maximum(v, v.max(axis=1, keepdims=True) - 2 * scale * float(n) ** 2)
    cross = np.arange(0.5, n - 1) - np.diff(v, axis=1) * (0.5 / scale)
    falls = cross[:, 1:] < cross[:, :-1]
    if falls.any():
        for row in np.flatnonzero(falls.any(axis=1)):
            cross[row] = _isotonic(cross[row])
    np.floor(np.clip(cross, -1.0, n - 1, out=cross), out=cross)
    # One on: the target that has passed it.
    at = cross.astype(np.intp) + (1 + (n + 1) * np.arange(m)[:, None])
    passed = np.bincount(at.ravel(), minlength=m * (n + 1)).reshape(m, n + 1)
    return np.cumsum(passed[:, :n], axis=1)


def _isotonic(values: Array) -> Array:
    """The nearest increasing sequence, in squares."""
    from scipy.optimize import isotonic_regression

    return np.asarray(isotonic_regression(values).x)
