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
from typing import Any, NamedTuple

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
def _compiled() -> Callable[..., Any] | None:
    try:
        import numba
    except ImportError:
        return None
    kernel: Callable[..., Any]
    try:
        kernel = numba.njit(cache=True)(_envelopes)
    except RuntimeError:  # no directory for the compiled code
        kernel = numba.njit(_envelopes)
    return kernel


def _envelopes(v: Any, scale: float, values: Any, segment: Any, share: Any) -> None:
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


def _vectorised(v: Array, scale: float) -> Lines:
    """The readable twin: monotone searches for the nodes, then every segment's one candidate."""
    m, n = v.shape
    node = _best_nodes(v, scale)
    i, rows = np.arange(n), np.arange(m)[:, None]
    values = scale * (i - node) ** 2 - v[rows, node]
    segment = np.minimum(node, n - 2)
    share = (node - segment).astype(float)
    s, slope = np.arange(n - 1), np.diff(v, axis=1)
    shift = slope / (2 * scale)
    target = np.ceil(np.clip(s - shift, -1.0, n)).astype(int)
    part = target + shift - s
    least = scale * shift**2 - v[:, :-1] - part * slope
    line, at = np.nonzero((target >= 0) & (target < n) & (part > 0) & (part < 1))
    order = np.argsort(-least[line, at], kind="stable")  # of several candidates the last one stays
    line, at = line[order], at[order]
    better = least[line, at] < values[line, target[line, at]]
    line, at = line[better], at[better]
    where = (line, target[line, at])
    values[where], segment[where], share[where] = least[line, at], at, part[line, at]
    return Lines(values, segment, share)


def _best_nodes(v: Array, scale: float) -> Index:
    """The first minimiser among the nodes (m, n): it never decreases along a line.

    Halving strides: a node between two known ones searches between their minimisers only.
    """
    m, n = v.shape
    best = np.zeros((m, n + 2), dtype=int)
    best[:, n + 1] = n - 1
    rows, stride = np.arange(m)[:, None, None], 1 << int(n).bit_length()
    while stride > 1:
        half = stride // 2
        i = np.arange(half, n + 1, stride)  # shifted by one: column 0 and n + 1 are the walls
        if i.size:
            low, high = best[:, i - half], best[:, np.minimum(i + half, n + 1)]
            j = low[:, :, None] + np.arange(int((high - low).max()) + 1)
            inside = j <= high[:, :, None]
            j = np.minimum(j, high[:, :, None])
            cost = scale * (i[:, None] - 1 - j) ** 2 - v[rows, j]
            pick = np.where(inside, cost, np.inf).argmin(axis=2)
            best[:, i] = np.take_along_axis(j, pick[:, :, None], axis=2)[:, :, 0]
        stride = half
    return best[:, 1 : n + 1]
