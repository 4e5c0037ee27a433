r"""Products with radial kernels of short reach on plane grids, in the log domain.

A kernel k(|x - y|) on a grid of one axis is a matrix. In the plane, written over the kernels of the
axes alone, g(a) = k(a, 0) and h(b) = k(0, b), it is

    k(a, b) = g(a) h(b) sum_r u_r(a) v_r(b),

where the sum, the singular value decomposition of a smooth function between 0 and 1, takes few
terms. What it leaves out is a rounding of g(a) h(b), so that results far down in the tails keep
their digits; a product costs two dense ones a term. Where cancellation or underflow loses a result,
logarithms are added up: cell by cell where few are lost, else offset by offset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import product as iter_product

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from jko.numerics.products import (
    FAINT,
    LIFT,
    SAFE,
    Bands,
    exp_scaled,
    log_scaled,
    without_faint,
    without_tiny,
)
from jko.validation import Array, Index, Mask

Cells = tuple[slice, ...]
Cost = Callable[[Array], Array]

#: Costs up to which few terms do, and where the kernel is cut: beyond, doubles underflow.
NEAR = 110.0
FAR = 670.0
#: What is left out is this far (in log) below a result: 1e-13 of it.
DIGITS = 30.0
#: Singular values below this share of the first are left out, and so many digits asked for.
RANK = 1e-13
#: Results below this share of the product with g h have lost digits to cancellation.
LOST = 1e-6


class RadialCosts:
    """A cost of the distance between the cells of a grid with one or two axes, up to some cost.

    Parameters
    ----------
    shape : tuple of int
    spacing : tuple of float
    cost : callable
        Of the distance (array), increasing, 0 at 0; inf allowed.
    most : float
        Costs above it are looked at no further.
    """

    def __init__(
        self, shape: tuple[int, ...], spacing: tuple[float, ...], cost: Cost, most: float
    ) -> None:
        if len(shape) > 2:
            raise ValueError("radial costs have one or two axes")
        self.shape, self.most = shape, most
        away = [h * np.arange(float(n)) for n, h in zip(shape, spacing, strict=True)]
        within: list[Array] = [np.asarray(x[cost(x) <= most], dtype=float) for x in away]
        self.axes = [np.asarray(cost(x)) for x in within]
        #: Costs of the offsets (a, [b]).
        self.reached: Array = np.asarray(cost(_distances(within)))

    def shifts(self) -> Iterator[tuple[float, Cells, Cells]]:
        """Costs, and the cells there and here that are so far apart."""
        for index in np.argwhere(self.reached <= self.most):
            cost = float(self.reached[tuple(index)])
            for ks in iter_product(*({int(k), -int(k)} for k in index)):
                pairs = list(zip(ks, self.shape, strict=True))
                there = tuple(slice(max(k, 0), n + min(k, 0)) for k, n in pairs)
                here = tuple(slice(max(-k, 0), n + min(-k, 0)) for k, n in pairs)
                yield cost, there, here

    def transform(self, psi: Array) -> Array:
        """min over y of cost(|x - y|) - psi(y), from below: costs beyond `most` count as `most`."""
        best = np.full(psi.shape, self.most - float(psi.max()))
        for c, there, here in self.shifts():
            np.minimum(best[here], c - psi[there], out=best[here])
        return best


class RadialFactors(RadialCosts):
    """exp(-cost(|x - y|)) up to some cost, as a sum of products over the axes."""

    def __init__(
        self, shape: tuple[int, ...], spacing: tuple[float, ...], cost: Cost, most: float
    ) -> None:
        super().__init__(shape, spacing, cost, most)
        self.factors = self._factors(lambda c: np.ones_like(c))
        axes = zip(self.axes, shape, strict=True)
        self.bound = [[_matrix(np.exp(-c), n)] for c, n in axes]

    @property
    def rank(self) -> int:
        """Terms of the sum."""
        return len(self.factors[0])

    def _factors(self, weight: Callable[[Array], Array]) -> list[list[Bands]]:
        """Matrices of the terms along every axis, of the kernel times a weight of the cost."""
        axes = self.axes
        with np.errstate(invalid="ignore"):
            scaled = np.where(np.isfinite(self.reached), weight(self.reached), 0.0)
            if len(axes) == 1:
                return [[_matrix(np.exp(-axes[0]) * scaled, self.shape[0])]]
            rest = np.exp(-(self.reached - axes[0][:, None] - axes[1])) * scaled
        u, s, v = np.linalg.svd(np.where(np.isfinite(rest), rest, 0.0), full_matrices=False)
        kept = range(int((s > RANK * s[0]).sum()))
        left = [_matrix(np.exp(-axes[0]) * s[r] * u[:, r], self.shape[0]) for r in kept]
        right = [_matrix(np.exp(-axes[1]) * v[r], self.shape[1]) for r in kept]
        return [left, right]

    @cached_property
    def paying(self) -> list[list[Bands]]:
        """The same for the kernel times the cost."""
        return self._factors(lambda c: c)

    def contracted(self, factors: list[list[Bands]], scaled: Array) -> Array:
        """A sum of products over the axes, applied to scaled values."""
        reach = [float(len(x)) for x in self.axes]
        if len(self.shape) == 1:
            return np.asarray(factors[0][0].contract(scaled[:, None], reach[0])[0])
        out = np.zeros(self.shape)
        for left, right in zip(*factors, strict=True):
            out += right.contract(without_faint(left.contract(scaled, reach[0])), reach[1])
        return out

    def product(self, scaled: Array) -> tuple[Array, Mask]:
        """K applied to scaled values, and which results lost digits."""
        out, bound = (self.contracted(parts, scaled) for parts in (self.factors, self.bound))
        return out, (out <= LOST * bound) | (out <= SAFE * LIFT)


class RadialProducts:
    """exp(-cost(|x - y|)) on the cells of a grid, with cost(hypot(a, b)) >= cost(a) + cost(b).

    Few terms do up to the cost NEAR; results so small that farther cells may matter are taken from
    many terms, up to the cost FAR, where the kernel is cut.
    """

    def __init__(self, shape: tuple[int, ...], spacing: tuple[float, ...], cost: Cost) -> None:
        self.shape, self._given = shape, (shape, spacing, cost)
        self.near = RadialFactors(*self._given, NEAR)
        self.steep = False  # whether a product needed the far kernel

    @cached_property
    def far(self) -> RadialFactors:
        """The kernel up to FAR."""
        return RadialFactors(*self._given, FAR)

    @cached_property
    def window(self) -> list[int]:
        """Cells that the far kernel spans along the axes."""
        return [2 * len(x) - 1 for x in RadialCosts(*self._given, FAR).axes]

    def log_apply(self, v: Array) -> Array:
        """log(K e^v) for v of the grid's shape, entries -inf allowed; -inf beyond the reach."""
        top = float(v.max())
        if top == -np.inf:
            return np.full(v.shape, -np.inf)
        scaled, highest = exp_scaled(v, top), self._highest(v)
        out, lost = self.near.product(scaled)
        found = _logs(out, top)
        lost |= found < highest + np.log(v.size) - NEAR + DIGITS
        lost &= np.isfinite(highest)
        if lost.any():
            self.steep = True
            out, faint = self.far.product(scaled)
            found = np.where(lost, _logs(out, top), found)
            cells = np.argwhere(lost & faint)
            if 8 * len(cells) > v.size:
                found = np.where(lost & faint, self._by_offsets(v), found)
            elif len(cells):
                found[tuple(cells.T)] = self._at(cells, v)
        return np.where(np.isfinite(highest), found, -np.inf)

    def paid(self, log_a: Array, log_b: Array) -> float:
        """sum of cost a K b; where cancellation loses digits, the most that the mass there may pay.

        An upper bound: what is lost is far down in the tails, but a may be huge there.
        """
        rows = np.exp(log_a + self.log_apply(log_b))
        top, kernel = float(log_b.max()), self.far if self.steep else self.near
        scaled = exp_scaled(log_b, top)
        _, lost = kernel.product(scaled)
        out = kernel.contracted(kernel.paying, scaled)
        moved = np.where(out > FAINT, np.exp(log_a + _logs(np.maximum(out, FAINT), top)), 0.0)
        most = np.where(rows > 0, kernel.most * rows, 0.0)
        return float(np.where(lost, most, np.minimum(moved, most)).sum())

    def _highest(self, v: Array) -> Array:
        """The largest v within the window of the far kernel."""
        from scipy.ndimage import maximum_filter  # costs .1 s to import

        low = -np.finfo(float).max
        floored = np.where(np.isfinite(v), v, low)
        out = maximum_filter(floored, size=self.window, mode="constant", cval=low)
        return np.where(out > low, out, -np.inf)

    def _at(self, cells: Index, v: Array) -> Array:
        """The definition at some cells (m, axes)."""
        reach = [len(x) - 1 for x in self.far.axes]
        away = np.ix_(*(np.abs(np.arange(-k, k + 1)) for k in reach))
        cost = np.where(self.far.reached <= FAR, self.far.reached, np.inf)[away]
        wide = np.pad(v, [(k, k) for k in reach], constant_values=-np.inf)
        windows, out = sliding_window_view(wide, cost.shape), np.empty(len(cells))
        for k, cell in enumerate(cells):
            terms = windows[tuple(cell)] - cost
            top = float(terms.max())
            out[k] = top + np.log(np.exp(terms - top).sum()) if top > -np.inf else top
        return out

    def _by_offsets(self, v: Array) -> Array:
        """The definition, offset by offset."""
        best = np.full(v.shape, -np.inf)
        for c, there, here in self.far.shifts():
            best[here] = np.maximum(best[here], v[there] - c)
        safe, total = np.where(np.isfinite(best), best, 0.0), np.zeros(v.shape)
        for c, there, here in self.far.shifts():
            total[here] += np.exp(v[there] - c - safe[here])
        with np.errstate(divide="ignore"):
            return np.where(np.isfinite(best), np.log(total) + safe, -np.inf)


def _logs(out: Array, top: float) -> Array:
    with np.errstate(divide="ignore"):
        return log_scaled(np.maximum(out, 0.0), top)


def _distances(axes: list[Array]) -> Array:
    return axes[0] if len(axes) == 1 else np.hypot(axes[0][:, None], axes[1])


def _matrix(values: Array, n: int) -> Bands:
    """The symmetric matrix of a function of the offset, 0 beyond its last value."""
    wide = np.zeros(n)
    wide[: len(values)] = values
    index = np.abs(np.arange(n)[:, None] - np.arange(n))
    return Bands(without_tiny(wide[index]))
