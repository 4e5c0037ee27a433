"""Faces between the cells of a grid: gathers, divergences and the matrices they make."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from jko.measures.grid import Grid
from jko.numerics.multigrid import Balance
from jko.validation import Array, Index, Mask

#: Slopes of empty cells, whose unknown would otherwise be divided by 0.
LEAST_SLOPE = 1e-200


class Flux(NamedTuple):
    """M (f_i - f_j) on every face, M, and the derivatives of the flux in w_i, w_j and the drift."""

    value: Array
    mobility: Array
    by_i: Array
    by_j: Array
    by_drift: Array


@dataclass(frozen=True, eq=False)
class Faces:
    """Pairs of neighbouring open cells i, j and 1/h^2 between their centres, axis by axis.

    Attributes
    ----------
    i, j : (k,) integer arrays
        j follows i along an axis; the first cell follows the last along periodic axes.
    scale : (k,) array
    shape : tuple of int
        Of the grid.
    cuts : tuple of int
        Where the faces of each axis end in the arrays above.
    """

    i: Index
    j: Index
    scale: Array
    shape: tuple[int, ...]
    cuts: tuple[int, ...]

    @classmethod
    def of(cls, grid: Grid, opened: Mask) -> Faces:
        """All faces of a grid between open cells.

        A periodic axis of two cells has two faces between them, one of a single cell has none: a
        cell cannot exchange with itself.
        """
        index = np.arange(grid.size).reshape(grid.shape)
        left, right, scale = [], [], []
        for axis, h in enumerate(grid.spacing):
            size = grid.shape[axis]
            cells = range(size if grid.periodic[axis] and size > 1 else size - 1)
            a = np.take(index, cells, axis).ravel()
            b = np.take(np.roll(index, -1, axis), cells, axis).ravel()
            keep = opened[a] & opened[b]
            left.append(a[keep])
            right.append(b[keep])
            scale.append(np.full(int(keep.sum()), h**-2))
        cuts = tuple(int(c) for c in np.cumsum([len(a) for a in left]))
        i, j, scales = (np.concatenate(parts) for parts in (left, right, scale))
        return cls(i, j, scales, grid.shape, cuts)

    @property
    def size(self) -> int:
        """Number of cells."""
        return int(np.prod(self.shape))

    def divergence(self, flux: Array) -> Array:
        """What leaves every cell (n,) for fluxes from i to j."""
        out = np.bincount(self.i, flux, self.size) - np.bincount(self.j, flux, self.size)
        return np.asarray(out, dtype=float)

    def outgoing(self, flux: Flux) -> Array:
        """Derivative (n,) of what leaves a cell in its own mass; kernels may make it too small."""
        out = np.bincount(self.i, self.scale * np.maximum(flux.by_i, 0.0), self.size)
        out = out - np.bincount(self.j, self.scale * np.minimum(flux.by_j, 0.0), self.size)
        return np.asarray(out, dtype=float)

    @cached_property
    def degree(self) -> Array:
        """Sum of 1/h^2 over the faces of every cell (n,); 1 where there is none."""
        out = np.bincount(self.i, self.scale, self.size)
        out = out + np.bincount(self.j, self.scale, self.size)
        return np.where(out > 0, out, 1.0)

    def balance(self, diagonal: Array, ahead: Array, back: Array) -> Balance:
        """The matrix x -> diagonal x + div(scale (ahead x_i + back x_j))."""
        return Balance(
            diagonal.reshape(self.shape),
            self._spread(self.scale * ahead),
            self._spread(self.scale * back),
        )

    def laplacian(self, mobility: Array, diagonal: Array) -> Balance:
        """The matrix diagonal + A, A f = sum_j M_ij (f_i - f_j)/h^2."""
        return self.balance(diagonal, mobility, -mobility)

    def _spread(self, values: Array) -> tuple[Array, ...]:
        """Values on faces as one array of the grid's shape per axis, at cell i, 0 elsewhere."""
        out, start = [], 0
        for end in self.cuts:
            field = np.zeros(self.size)
            field[self.i[start:end]] = values[start:end]
            out.append(field.reshape(self.shape))
            start = end
        return tuple(out)
