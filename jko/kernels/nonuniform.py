"""Fourier sums at scattered points: sum_j v_j exp(-i m.t_j) for all modes m, and its transpose.

By finufft where it is installed, else by spreading to a grid twice as fine and an FFT. Modes run
over -M_k..M_k along each axis, angles t over [-pi, pi].
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from jko.validation import Array

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Complex = NDArray[np.complex128]
#: Entries of the spreading matrix built at a time: about 64 MB.
ENTRIES = 2**22
#: Points that finufft gets at a time: their coordinates and sums fill some megabytes.
PIECE = 2**16


class Transform(ABC):
    """A non-uniform Fourier transform to a relative accuracy `eps`."""

    @abstractmethod
    def forward(self, angles: Array, v: Array, most: tuple[int, ...]) -> Complex:
        """sum_j v_j exp(-i m.t_j), shape (2 M_1 + 1, ...), for real v (n,)."""

    @abstractmethod
    def backward(self, angles: Array, modes: Sequence[Complex]) -> Array:
        """Real part of sum_m c_m exp(i m.t_j) for each array of modes, shape (q, n)."""


@dataclass(frozen=True)
class Finufft(Transform):
    """By finufft; one thread gives the same bits every time."""

    eps: float
    threads: int = 1

    def forward(self, angles: Array, v: Array, most: tuple[int, ...]) -> Complex:
        import finufft

        function = getattr(finufft, f"nufft{len(most)}d1")
        shape = tuple(2 * m + 1 for m in most)
        out = np.zeros(shape, dtype=np.complex128)
        for rows in _pieces(len(angles), out.size):
            out += function(
                *_columns(angles[rows]),
                v[rows].astype(np.complex128),
                n_modes=shape[0] if len(shape) == 1 else shape,
                isign=-1,
                **self._options,
            )
        return out

    def backward(self, angles: Array, modes: Sequence[Complex]) -> Array:
        import finufft

        function = getattr(finufft, f"nufft{angles.shape[1]}d2")
        out = np.empty((len(modes), len(angles)))
        for rows in _pieces(len(angles), modes[0].size):
            columns = _columns(angles[rows])
            # One at a time: the fine grid of all of them would be held together otherwise.
            for k, c in enumerate(modes):
                out[k, rows] = function(*columns, c, isign=1, **self._options).real
        return out

    @property
    def _options(self) -> dict[str, float]:
        return {"eps": max(self.eps, 1e-14), "nthreads": self.threads}


def _pieces(n: int, modes: int) -> Iterator[slice]:
    """Runs of points that stay in cache, but long enough that their FFT costs less than they do."""
    width = max(PIECE, 8 * modes)
    for start in range(0, n, width):
        yield slice(start, min(start + width, n))


def _columns(angles: Array) -> list[Array]:
    return [np.ascontiguousarray(angles[:, k]) for k in range(angles.shape[1])]


@dataclass(frozen=True)
class Spread(Transform):
    """By spreading each point over w cells per axis of a fine grid, and an FFT.

    The window is exp(b (sqrt(1 - z^2) - 1)) on [-1, 1] with b = 2.3 w, w = 1 + digits asked for
    (Barnett et al. (2019)): each further cell gives another digit.
    """

    eps: float

    @property
    def width(self) -> int:
        """Cells that a point touches along each axis."""
        return int(np.ceil(-np.log10(max(self.eps, 1e-14)))) + 1

    def forward(self, angles: Array, v: Array, most: tuple[int, ...]) -> Complex:
        from scipy.fft import fftn

        sizes = _fine(most, self.width)
        grid = np.zeros(int(np.prod(sizes)))
        for rows, matrix in self._spreading(angles, sizes):
            grid += matrix.T @ v[rows]
        fine = fftn(grid.reshape(sizes), overwrite_x=True)
        index = np.ix_(*[np.arange(-m, m + 1) for m in most])
        return np.asarray(fine[index] * self._correction(most, sizes))

    def backward(self, angles: Array, modes: Sequence[Complex]) -> Array:
        from scipy.fft import ifftn

        most = tuple((s - 1) // 2 for s in modes[0].shape)
        sizes = _fine(most, self.width)
        index = np.ix_(*[np.arange(-m, m + 1) for m in most])
        correction = self._correction(most, sizes)
        grids = []
        for c in modes:
            fine = np.zeros(sizes, dtype=np.complex128)
            fine[index] = c * correction
            grids.append(ifftn(fine, norm="forward", overwrite_x=True).real.ravel())
        columns = np.stack(grids, axis=1)
        out = np.empty((len(modes), len(angles)))
        for rows, matrix in self._spreading(angles, sizes):
            out[:, rows] = (matrix @ columns).T
        return out

    def _correction(self, most: tuple[int, ...], sizes: tuple[int, ...]) -> Array:
        """The inverse of what the window does to each mode."""
        factors = [_window_inverse(m, s, self.width) for m, s in zip(most, sizes, strict=True)]
        return reduce(np.multiply.outer, factors)

    def _spreading(
        self, angles: Array, sizes: tuple[int, ...]
    ) -> Iterator[tuple[slice, csr_matrix]]:
        """Row blocks of the sparse matrix (points, fine cells) of the window's values."""
        from scipy.sparse import csr_matrix

        d, w = angles.shape[1], self.width
        height = max(1, ENTRIES // w**d)
        for start in range(0, len(angles), height):
            rows = slice(start, min(start + height, len(angles)))
            count = rows.stop - rows.start
            values, cells = np.ones((count, 1)), np.zeros((count, 1), dtype=np.int32)
            for k in range(d):
                value, cell = _window(angles[rows, k], sizes[k], w)
                values = (values[:, :, None] * value[:, None, :]).reshape(count, -1)
                cells = (cells[:, :, None] * sizes[k] + cell[:, None, :]).reshape(count, -1)
            pointer = np.arange(0, values.size + 1, w**d)
            matrix = csr_matrix(
                (values.ravel(), cells.ravel(), pointer), shape=(count, int(np.prod(sizes)))
            )
            yield rows, matrix


def _window(angles: Array, size: int, width: int) -> tuple[Array, NDArray[np.int32]]:
    """Values (n, w) of the window around each angle, and the cells (n, w) they belong to."""
    place = angles * (size / (2 * np.pi))
    first = np.ceil(place - width / 2)
    z = (first[:, None] + np.arange(width) - place[:, None]) * (2 / width)
    value = np.exp(2.3 * width * (np.sqrt(np.maximum(1 - z * z, 0.0)) - 1))
    cell = (first.astype(np.int64)[:, None] + np.arange(width)) % size
    return value, cell.astype(np.int32)


def _fine(most: tuple[int, ...], width: int) -> tuple[int, ...]:
    """Cells per axis: twice the modes, a size that the FFT likes, and room for the window."""
    from scipy.fft import next_fast_len

    return tuple(next_fast_len(max(2 * (2 * m + 1), 2 * width), real=True) for m in most)


@lru_cache(maxsize=32)
def _window_inverse(most: int, size: int, width: int) -> Array:
    """1 / (Fourier coefficient of the window, in cells) for m = -M..M, by quadrature."""
    nodes, weights = np.polynomial.legendre.leggauss(4 * width + 24)
    window = np.exp(2.3 * width * (np.sqrt(1 - nodes**2) - 1))
    m = np.arange(-most, most + 1)
    waves = np.cos(np.outer(m, nodes) * (np.pi * width / size))
    return np.asarray(1.0 / (0.5 * width * (waves @ (weights * window))))
