"""Gram matrices of a fixed support as linear operators, for loops that apply them many times."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from functools import cached_property, reduce
from typing import TYPE_CHECKING, cast
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import ArrayLike

from jko.errors import InvalidArgument, Unsupported
from jko.kernels.hooks import Weighted
from jko.validation import Array, Index, Mask

from .pairwise import check_points

if TYPE_CHECKING:
    from .base import Kernel

#: Above this many points `dense` refuses: the matrix would take 3.2 GB.
DENSE_LIMIT = 20_000
#: Up to this many scattered points the matrix is stored (134 MB) rather than recomputed.
STORED_LIMIT = 4096
#: Products an operator on scattered points remembers: a step asks for those of the old and the new
#: weights and of their difference again and again (solver, certificate, energy, distance).
REMEMBERED = 4
#: Axes longer than this go through the Fourier transform: their one-dimensional Gram matrices
#: would cost more memory and time than it does.
AXIS_LIMIT = 2048


class KernelOperator(ABC):
    """The symmetric matrix K = k(x_i, x_j) over a fixed support of n points.

    Attributes
    ----------
    kernel : Kernel
    points : array (n, d)
    """

    def __init__(self, kernel: Kernel, points: Array) -> None:
        self.kernel = kernel
        self.points = points

    @property
    def shape(self) -> tuple[int, int]:
        """(n, n)."""
        return len(self.points), len(self.points)

    def matvec(self, v: ArrayLike) -> Array:
        """K v.

        Parameters
        ----------
        v : array (n,), or of the shape of the grid
            On a grid the entries follow C order, as in ``Grid.points``.

        Returns
        -------
        array of the shape of v
        """
        vector = np.asarray(v, dtype=np.float64)
        if vector.size != len(self.points):
            raise InvalidArgument(
                f"v has shape {vector.shape}, expected ({len(self.points)},), one entry per point"
            )
        return self._matvec(vector.ravel()).reshape(vector.shape)

    def __matmul__(self, v: ArrayLike) -> Array:
        return self.matvec(v)

    @abstractmethod
    def _matvec(self, v: Array) -> Array:
        """K v for a flat v."""

    def dense(self) -> Array:
        """The matrix itself (n, n); refused above about 20 000 points."""
        n = len(self.points)
        if n > DENSE_LIMIT:
            raise Unsupported(
                f"a dense Gram matrix of {n} points would take {8e-9 * n * n:.1f} GB; use matvec,"
                " columns, or jko.kernels.pivoted_cholesky"
            )
        return self.kernel._gram(self.points, self.points)

    def diagonal(self) -> Array:
        """The diagonal k(x_i, x_i), shape (n,)."""
        return self.kernel.diagonal(self.points)

    def columns(self, index: int | Index | Mask) -> Array:
        """Columns of K, shape (n, q); `index` is an integer, or q of them, or a mask."""
        return self.kernel._gram(self.points, np.atleast_2d(self.points[index]))


class DenseOperator(KernelOperator):
    """Scattered points: the matrix is stored when small, recomputed in blocks otherwise.

    The last products are remembered: equal vectors give the same bits, only sooner.
    """

    def __init__(self, kernel: Kernel, points: Array) -> None:
        super().__init__(kernel, points)
        self._recent: deque[tuple[Array, Array]] = deque(maxlen=REMEMBERED)

    @cached_property
    def _matrix(self) -> Array | None:
        small = len(self.points) <= STORED_LIMIT
        return self.kernel._self_gram(self.points) if small else None

    def _matvec(self, v: Array) -> Array:
        for known, product in self._recent:
            if np.array_equal(known, v):
                return product.copy()
        product = self._product(v)
        self._recent.appendleft((v.copy(), product.copy()))
        return product

    def _product(self, v: Array) -> Array:
        if self._matrix is None:
            return self.kernel.apply(self.points, self.points, v)
        return self._matrix @ v

    def dense(self) -> Array:
        """The matrix itself (n, n); refused above about 20 000 points."""
        return super().dense() if self._matrix is None else self._matrix.copy()


class SeparableOperator(KernelOperator):
    """A product kernel on a grid, applied axis by axis: O(n sum n_k) instead of O(n^2)."""

    def __init__(self, kernel: Kernel, points: Array, axes: Sequence[Array]) -> None:
        super().__init__(kernel, points)
        self._grams = kernel.axis_grams(axes)
        self._shape = tuple(len(a) for a in axes)

    def _matvec(self, v: Array) -> Array:
        out = v.reshape(self._shape)
        for gram in self._grams:
            # Contracting the first axis puts the result last: after d rounds all are in place.
            rest, n = out.shape[1:], len(gram)
            out = (out.reshape(n, -1).T @ gram).reshape(*rest, n)
        return out.ravel()


class FourierOperator(KernelOperator):
    """A stationary kernel on a uniform grid by circulant embedding: O(n log n).

    The grid is padded to at least 2 n_k - 1 cells per axis, where the matrix is circulant, so
    the product is exact up to rounding of the order of machine epsilon times max|K| sum|v|.
    Small entries of K v therefore have an absolute, not a relative, accuracy.
    """

    def __init__(self, kernel: Kernel, points: Array, axes: Sequence[Array]) -> None:
        from scipy.fft import next_fast_len, rfftn

        super().__init__(kernel, points)
        self._shape = tuple(len(a) for a in axes)
        self._padded = tuple(next_fast_len(2 * n - 1, real=True) for n in self._shape)
        # Signed lags in wrap-around order. Lags of n_k cells or more meet only padding zeros.
        lags = [
            _wrapped(size) * (a[1] - a[0] if len(a) > 1 else 0.0)
            for a, size in zip(axes, self._padded, strict=True)
        ]
        lattice = np.stack([m.ravel() for m in np.meshgrid(*lags, indexing="ij")], axis=1)
        row = kernel.apply(lattice, np.zeros((1, len(axes))), np.ones(1))
        # k(-z) = k(z): the spectrum is real, its imaginary part rounding or padding.
        self._spectrum = rfftn(row.reshape(self._padded)).real

    def _matvec(self, v: Array) -> Array:
        from scipy.fft import irfftn, rfftn

        spectrum = rfftn(v.reshape(self._shape), s=self._padded)
        spectrum *= self._spectrum
        out = irfftn(spectrum, s=self._padded)
        return np.asarray(out[tuple(slice(n) for n in self._shape)]).ravel()


def _wrapped(size: int) -> Array:
    lag = np.arange(size, dtype=np.float64)
    return np.where(lag <= size // 2, lag, lag - size)


class SumOperator(KernelOperator):
    """A sum of kernels, each applied in its own way."""

    def __init__(self, kernel: Kernel, points: Array, terms: Sequence[KernelOperator]) -> None:
        super().__init__(kernel, points)
        self._terms = tuple(terms)

    def _matvec(self, v: Array) -> Array:
        return reduce(np.add, [t._matvec(v) for t in self._terms])


def operator(kernel: Kernel, support: Weighted | ArrayLike) -> KernelOperator:
    """The fastest exact operator for a kernel on a support; see `Kernel.operator`.

    Parameters
    ----------
    kernel : Kernel
    support : a measure, or an array (n, d)

    Returns
    -------
    KernelOperator
    """
    points = _points(support)
    grid = getattr(support, "grid", None)
    if grid is None:
        return _shared(kernel, points)
    axes = [np.asarray(a, dtype=np.float64) for a in grid.axes]
    terms = kernel.terms
    if all(t.separable for t in terms) and max(map(len, axes)) <= AXIS_LIMIT:
        parts = [SeparableOperator(t, points, axes) for t in terms]
        return parts[0] if len(parts) == 1 else SumOperator(kernel, points, parts)
    # One transform serves a whole sum, so a sum with a single non-separable term goes there too.
    if kernel.stationary and all(map(_uniform, axes)):
        return FourierOperator(kernel, points, axes)
    return DenseOperator(kernel, points)


def _points(support: Weighted | ArrayLike) -> Array:
    """The points themselves when a measure froze them (checked then), else a checked copy."""
    points: ArrayLike | None = getattr(support, "points", None)
    if isinstance(points, np.ndarray) and not points.flags.writeable and points.base is None:
        return points
    listed = cast("ArrayLike", support) if points is None else points
    return check_points(listed, "support")


#: Operators in use, by kernel and by the identity of the points, which an operator keeps alive.
_ALIVE: WeakValueDictionary[tuple[Kernel, int], DenseOperator] = WeakValueDictionary()


def _shared(kernel: Kernel, points: Array) -> DenseOperator:
    """The operator somebody else already holds, where the points cannot change under it.

    An energy, a geometry and a solver on one support then share one matrix and its products.
    """
    if points.flags.writeable:
        return DenseOperator(kernel, points)
    try:
        found = _ALIVE.get((kernel, id(points)))
    except TypeError:  # a kernel that cannot be hashed is not shared
        return DenseOperator(kernel, points)
    if found is None:
        found = _ALIVE[kernel, id(points)] = DenseOperator(kernel, points)
    return found


def _uniform(axis: Array) -> bool:
    steps = np.diff(axis)
    return len(steps) == 0 or bool(np.ptp(steps) <= 1e-9 * abs(steps.mean()))
