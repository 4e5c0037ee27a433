r"""Gaussian kernels along one axis, applied to many lines in the log domain.

log sum_x exp(v(x) - |x - y|^2/eps) for lines v of cells: one matrix product where nothing
underflows. Elsewhere, a block of targets only sees the sources near those that reach it best: with
the sources written around their centre and the targets around theirs, o apart,

    |x - y|^2 = o^2 + 2 o (dx - dy) + (dx - dy)^2,

the middle term tilts v and the result, and what is left is one small matrix for all blocks and
lines. Blocks whose sources do not fit into the window are summed entry by entry.
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np

from jko.numerics.elementary import log_or_minus_inf
from jko.numerics.products import LIFT, SAFE, Bands, exp_scaled, log_scaled, product, without_tiny
from jko.validation import Array, Index, Mask

#: Sources this far (in log) below the best one of a target do not matter: 4e-18 each, and room for
#: what sampling one source in a group misses.
NEGLIGIBLE = 60.0
#: Numbers that one batch of blocks may take.
BATCH = 1 << 22


class LineKernel:
    """The kernel exp(-|x - y|^2/eps) between equally spaced cells, periodic or not.

    Parameters
    ----------
    n : int
        Cells along the axis.
    spacing : float
    eps : float
    periodic : bool
        Sum over the images of every source (a theta function, positive definite).
    """

    def __init__(self, n: int, spacing: float, eps: float, periodic: bool = False) -> None:
        self.n, self.spacing, self.eps = n, spacing, eps
        self.unit = spacing**2 / eps
        # exp(-(images n)^2 unit) is below rounding.
        self.images = int(np.ceil(np.sqrt(40.0 / self.unit) / n)) if periodic else 0
        x = np.arange(n, dtype=float)
        offsets = (x[:, None] - x)[None] + n * np.arange(-self.images, self.images + 1.0)[
            :, None, None
        ]
        self._entries = self.unit * offsets**2
        with np.errstate(under="ignore"):
            weights = np.exp(-self._entries)
        self.gram: Array = without_tiny(weights.sum(axis=0))
        self._weights = weights

    @cached_property
    def squared_gram(self) -> Array:
        """The kernel times |x - y|^2/eps, no entry large."""
        return without_tiny((self._entries * self._weights).sum(axis=0))

    @cached_property
    def _bands(self) -> Bands:
        return Bands(self.gram)

    def narrows(self, reach: float) -> bool:
        """Whether leaving out entries below exp(-reach) pays."""
        return not self.images and self._bands.pays(math.sqrt(reach / self.unit))

    def contract(self, rows: Array, squared: bool = False, reach: float = math.inf) -> Array:
        """rows' K (m, n) for rows (n, m), as far as entries above exp(-reach) say."""
        if squared:
            return product(rows.T, self.squared_gram)
        cells = math.inf if self.images else math.sqrt(reach / self.unit)
        return self._bands.contract(rows, cells)

    def log_apply(self, lines: Array, squared: bool = False) -> Array:
        """log(e^lines K) for lines (m, n), exact whatever their range.

        `squared`: of K times |x - y|^2/eps.
        """
        top = lines.max(axis=1, keepdims=True)
        shift = np.where(np.isfinite(top), top, 0.0)
        plain = product(exp_scaled(lines, shift), self.squared_gram if squared else self.gram)
        out = log_scaled(plain) + shift
        lost = (plain <= SAFE * LIFT) & np.isfinite(top)
        if not lost.any():
            return out
        if squared:
            rows = np.flatnonzero(lost.any(axis=1))
            out[rows] = self._entry_by_entry(lines[rows], squared=True)
            return out
        return _Windows(self).mend(lines, out, lost)

    def _entry_by_entry(self, lines: Array, squared: bool = False) -> Array:
        """The same from the definition: n^2 exponentials a line."""
        log_kernel = -self._entries
        if squared:
            log_kernel = log_kernel + log_or_minus_inf(self._entries)
        out = np.empty_like(lines)
        for i, line in enumerate(lines):
            work = log_kernel + line[:, None]
            top = work.max(axis=(0, 1))
            out[i] = np.log(np.exp(work - top).sum(axis=(0, 1))) + top
        return out


class _Windows:
    """Blocks of targets and windows of sources, in units of one cell."""

    def __init__(self, kernel: LineKernel) -> None:
        self.kernel, self.unit = kernel, kernel.unit
        width = 1 / np.sqrt(self.unit)  # sqrt(eps) in cells
        self.block = max(4, int(np.ceil(6 * width)))
        self.reach = int(np.ceil(1.5 * self.block + 7 * width))
        self.group = max(2, int(2 * width))
        self.near = np.arange(-self.reach, self.reach + 1.0)
        self.targets = np.arange(self.block) - (self.block - 1) / 2
        self.gram = without_tiny(np.exp(-self.unit * (self.near[:, None] - self.targets) ** 2))

    def mend(self, lines: Array, out: Array, lost: Mask) -> Array:
        """`out` with every block that holds a lost result computed anew."""
        m, n = out.shape
        count = -(-n // self.block)
        padded = np.zeros((m, count * self.block), dtype=bool)
        padded[:, :n] = lost
        rows, blocks = np.nonzero(padded.reshape(m, count, self.block).any(axis=2))
        sources = np.tile(lines, (1, 2 * self.kernel.images + 1))
        origin = self.kernel.images * n  # where the middle image starts
        full = np.empty((m, count * self.block))
        full[:, :n] = out
        size = max(1, BATCH // (len(self.near) + sources.shape[1] // self.group))
        for i in range(0, rows.size, size):
            part = slice(i, i + size)
            self._batch(sources, origin, rows[part], blocks[part], full)
        return full[:, :n]

    def _batch(self, v: Array, origin: int, rows: Index, blocks: Index, full: Array) -> None:
        """Windows of some (line, block) pairs, written into `full` (m, blocks * block)."""
        first = origin + blocks * self.block
        centre, fits = self._centres(v, rows, first)
        offset = centre - (first + (self.block - 1) / 2)
        padded = np.full((v.shape[0], v.shape[1] + 2 * self.reach), -np.inf)
        padded[:, self.reach : self.reach + v.shape[1]] = v
        windows = np.lib.stride_tricks.sliding_window_view(padded, self.near.size, axis=1)
        tilt = 2 * self.unit * offset[:, None]
        work = windows[rows, centre] - tilt * self.near
        top = work.max(axis=1, keepdims=True)
        top = np.where(np.isfinite(top), top, 0.0)
        work = exp_scaled(work, top)
        value = log_scaled(product(work, self.gram)) + top
        value += tilt * self.targets - self.unit * offset[:, None] ** 2
        shaped = full.reshape(full.shape[0], -1, self.block)
        shaped[rows, blocks] = value
        for k in np.flatnonzero(~fits):
            shaped[rows[k], blocks[k]] = self._exact(v[rows[k]], int(first[k]))

    def _centres(self, v: Array, rows: Index, first: Index) -> tuple[Index, Mask]:
        """Middle of the best sources of a block's ends; whether the window holds all that count.

        One source stands for each group: the heaviest.
        """
        groups = -(-v.shape[1] // self.group)
        padded = np.full((v.shape[0], groups * self.group), -np.inf)
        padded[:, : v.shape[1]] = v
        grouped = padded.reshape(v.shape[0], groups, self.group)
        place = grouped.argmax(axis=2) + np.arange(groups) * self.group
        height, place = grouped.max(axis=2)[rows], place[rows]
        ends = []
        low, high = np.full(rows.size, v.shape[1]), np.zeros(rows.size, dtype=np.intp)
        for y in (first, first + self.block - 1):
            score = height - self.unit * (place - y[:, None]) ** 2
            best = score.argmax(axis=1)
            ends.append(np.take_along_axis(place, best[:, None], 1)[:, 0])
            counts = score >= score.max(axis=1, keepdims=True) - NEGLIGIBLE
            low = np.minimum(low, np.where(counts, place, v.shape[1]).min(axis=1))
            high = np.maximum(high, np.where(counts, place, 0).max(axis=1))
        centre = (ends[0] + ends[1]) // 2
        fits = (low >= centre - self.reach + self.group) & (
            high <= centre + self.reach - self.group
        )
        return centre, fits

    def _exact(self, line: Array, first: int) -> Array:
        """One block from the definition."""
        charged = np.flatnonzero(np.isfinite(line))
        y = first + np.arange(self.block)
        work = line[charged][:, None] - self.unit * (charged[:, None] - y) ** 2
        top = work.max(axis=0)
        return np.asarray(np.log(np.exp(work - top).sum(axis=0)) + top)
