"""A density without a gradient: its score by central differences."""

from __future__ import annotations

import numpy as np

from jko.markov.mala import Density
from jko.numerics.elementary import EPS
from jko.validation import Array, Index

#: Step of a difference, relative to the size of the coordinate: where truncation and rounding of a
#: central difference are about equal.
STEP = EPS ** (1 / 3)
#: Numbers handed to the log density at once.
ENTRIES = 2**21


class Differences:
    """A density whose score is made of 2 d values of its log density.

    (f(x + h e_j) - f(x - h e_j)) / (2 h) with h = `STEP` max(|x_j|, scale_j): the error is about
    1e-10 of the size of f over that of x_j. Langevin moves stay exact with it, since their
    Metropolis test asks only that the drift be a function of the point.

    Where one end leaves the support, the difference is taken on the other side.

    Parameters
    ----------
    inner : density with `log_density_at` and `dim`
    scale : array (d,)
        Typical size of each coordinate where x_j itself is near 0.
    """

    def __init__(self, inner: Density, scale: Array | None = None) -> None:
        self.inner = inner
        self.scale = np.ones(inner.dim) if scale is None else scale

    @property
    def dim(self) -> int:
        """Dimension d."""
        return self.inner.dim

    def log_density_at(self, x: Array) -> Array:
        """Log density (n,)."""
        return self.inner.log_density_at(x)

    def score(self, x: Array) -> Array:
        """Its gradient (n, d) by differences."""
        out = np.empty_like(x)
        most = max(1, ENTRIES // x.size)
        for start in range(0, self.dim, most):
            chosen = np.arange(start, min(start + most, self.dim))
            out[:, chosen] = self._slopes(x, chosen)
        return out

    def _slopes(self, x: Array, chosen: Index) -> Array:
        """Derivatives (n, k) in some coordinates (k,), two calls of the log density."""
        n, k = len(x), len(chosen)
        h = STEP * np.maximum(np.abs(x[:, chosen]), self.scale[chosen])
        ends, reached = [], []
        for sign in (1.0, -1.0):
            moved = np.repeat(x[None], k, axis=0)
            moved[np.arange(k), :, chosen] += sign * h.T
            reached.append(moved[np.arange(k), :, chosen].T)
            ends.append(self.inner.log_density_at(moved.reshape(n * k, -1)).reshape(k, n).T)
        (right, left), (above, below) = ends, reached
        edge = ~(np.isfinite(right) & np.isfinite(left))
        if edge.any():
            middle = np.broadcast_to(self.inner.log_density_at(x)[:, None], edge.shape)
            here = x[:, chosen]
            for end, place in ((right, above), (left, below)):
                lost = np.isneginf(end)
                end[lost], place[lost] = middle[lost], here[lost]
        # The distance between the points as they are, not 2 h: x + h is rounded.
        width = above - below
        return np.divide(right - left, width, out=np.zeros((n, k)), where=width > 0)
