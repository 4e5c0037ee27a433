"""The product with a low-rank Gram matrix L L', linear in the number of points."""

from __future__ import annotations

import numpy as np

from jko.validation import Array, Index, Mask

from .base import Kernel
from .operators import DenseOperator


class LowRankOperator(DenseOperator):
    """L L' in place of K = L L' + E on scattered points; the last products are remembered.

    Parameters
    ----------
    kernel : Kernel
    points : array (n, d)
    rows : array (r, n)
        The transpose of L, in C order.
    """

    def __init__(self, kernel: Kernel, points: Array, rows: Array) -> None:
        super().__init__(kernel, points)
        self.rows = rows

    def _product(self, v: Array) -> Array:
        return np.asarray((self.rows @ v) @ self.rows)

    def dense(self) -> Array:
        """L L' (n, n)."""
        return np.asarray(self.rows.T @ self.rows)

    def diagonal(self) -> Array:
        """The diagonal of L L', shape (n,)."""
        return np.asarray(np.einsum("ij,ij->j", self.rows, self.rows))

    def columns(self, index: int | Index | Mask) -> Array:
        """Columns of L L', shape (n, q)."""
        chosen = self.rows[:, index].reshape(len(self.rows), -1)
        return np.asarray(self.rows.T @ chosen)
