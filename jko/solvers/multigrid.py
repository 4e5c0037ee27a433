"""Sparse systems on grids of cells: direct when small or on the line, else multigrid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jko.prox.result import Breakdown, Status
from jko.validation import Array

#: Up to this many unknowns a sparse factor in two or three dimensions costs less than iterations.
DIRECT = 3000
#: Unknowns of the coarsest level; damping of the Jacobi sweeps.
COARSEST, DAMPING = 300, 0.8


class Multigrid:
    """Aggregation multigrid: cells join in blocks of 2^d, coarse matrices are P'AP.

    P is constant on blocks, so that column sums of A survive on every level. A W-cycle with one
    damped Jacobi sweep before and after is a preconditioner whose number of iterations hardly
    grows with the grid.
    """

    def __init__(self, matrix: Any, shape: tuple[int, ...]) -> None:
        import scipy.sparse.linalg as sl

        self.levels: list[tuple[Any, Array, Any]] = []
        while matrix.shape[0] > COARSEST:
            blocks, shape = _blocks(shape)
            self.levels.append((matrix, DAMPING / matrix.diagonal(), blocks))
            matrix = (blocks.T @ matrix @ blocks).tocsr()
        self.coarsest = sl.splu(matrix.tocsc())

    def __call__(self, b: Array) -> Array:
        """An approximation of the solution."""
        return self._cycle(b, 0)

    def _cycle(self, b: Array, level: int) -> Array:
        if level == len(self.levels):
            return np.asarray(self.coarsest.solve(b))
        matrix, sweep, blocks = self.levels[level]
        x = sweep * b
        for _ in range(2 if level else 1):
            x = x + blocks @ self._cycle(blocks.T @ (b - matrix @ x), level + 1)
            x = x + sweep * (b - matrix @ x)
        return x


def _blocks(shape: tuple[int, ...]) -> tuple[Any, tuple[int, ...]]:
    """The matrix (n, m) that spreads block values over their cells, and the shape of the blocks."""
    import scipy.sparse as sp

    coarse = tuple(-(-s // 2) for s in shape)
    mesh = np.meshgrid(*[np.arange(s) // 2 for s in shape], indexing="ij")
    block = np.ravel_multi_index(tuple(mesh), coarse).ravel()
    n = block.size
    entries = (np.ones(n), (np.arange(n), block))
    return sp.csr_matrix(entries, shape=(n, int(np.prod(coarse)))), coarse


def solve(
    matrix: Any,
    b: Array,
    shape: tuple[int, ...],
    *,
    extra: Callable[[Array], Array] | None = None,
    symmetric: bool = False,
    tol: float = 1e-9,
) -> tuple[Array, int]:
    """The solution of (matrix + extra) x = b on the cells of a grid, and the iterations it took.

    `extra` is a dense operator that only iterations can use; 0 iterations: a sparse factor.
    """
    import scipy.sparse.linalg as sl

    if not b.any():
        return np.zeros_like(b), 0
    direct = len(shape) == 1 or b.size <= DIRECT
    inverse = _factor(matrix) if direct else Multigrid(matrix, shape)
    if direct and extra is None:
        return np.asarray(inverse(b)), 0
    whole = matrix
    if extra is not None:
        whole = sl.LinearOperator(matrix.shape, lambda x: matrix @ x + extra(x), dtype=float)
    count = [0]

    def tick(_: Any) -> None:
        count[0] += 1

    method = sl.cg if symmetric else sl.bicgstab
    prepared = sl.LinearOperator(matrix.shape, inverse, dtype=float)
    x, _ = method(whole, b, rtol=tol, atol=0.0, maxiter=200, M=prepared, callback=tick)
    return np.asarray(x), count[0]


def _factor(matrix: Any) -> Callable[[Array], Array]:
    import scipy.sparse.linalg as sl

    try:
        factor = sl.splu(matrix.tocsc())
    except RuntimeError as failure:
        raise Breakdown(Status.BROKEN, f"the linear system is singular: {failure}") from None
    return lambda b: np.asarray(factor.solve(b))
