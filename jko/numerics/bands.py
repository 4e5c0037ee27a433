"""Products with matrices whose entries fall off from the diagonal, by blocks of columns."""

from __future__ import annotations

import numpy as np

from jko.numerics.normal import product
from jko.validation import Array

#: Columns of a block, where few rows and where many are needed: smaller blocks leave a dense
#: product's speed unused, larger ones take more rows than they need (measured on 128 to 1024).
NARROW, WIDE = 32, 64
#: Blocks are worth it where the rows that they need are less than this share of all.
WORTH = 0.7


class Bands:
    """rows -> rows' K for a square K (n, n) whose entries far from the diagonal may be left out.

    Parameters
    ----------
    kernel : (n, n) array
    """

    def __init__(self, kernel: Array) -> None:
        self.kernel = kernel

    def contract(self, rows: Array, reach: float) -> Array:
        """rows' K (m, n) for rows (n, m); entries further than `reach` from the diagonal may go."""
        n = len(self.kernel)
        block = NARROW if reach <= NARROW else WIDE
        if block + 2 * reach > WORTH * n:
            return product(rows.T, self.kernel)
        far, out = int(np.ceil(reach)), np.empty((rows.shape[1], n))
        for first in range(0, n, block):
            last = min(first + block, n)
            low, high = max(0, first - far), min(n, last + far)
            near = self.kernel[low:high, first:last]
            product(rows[low:high].T, near, out=out[:, first:last])
        return out
