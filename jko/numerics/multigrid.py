r"""Linear systems of fluxes through the faces of a grid: direct when small, else multigrid.

A `Balance` is the matrix of x -> diag x + div F(x), where the flux from a cell to the next along an
axis is F = ahead x_cell + back x_next: three numbers a cell and axis, whatever the dimension.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from jko.status import Breakdown, Status
from jko.validation import Array

if TYPE_CHECKING:
    from scipy.sparse import csr_array

#: Up to this many unknowns a sparse factor in two or three dimensions costs less than iterations.
DIRECT = 3000
#: Unknowns of the coarsest level.
COARSEST = 300
#: Damping of the two Jacobi sweeps that Chebyshev's polynomial makes for eigenvalues in [1/2, 2].
SWEEPS = tuple(1 / (1.25 + 0.75 * np.cos(angle)) for angle in (0.25 * np.pi, 0.75 * np.pi))
#: An axis is coarsened when its couplings are at least this share of the strongest.
STRONG = 0.25
#: Levels end where what leaves a cell is below this share of what stays: sweeps do the rest.
WEAK = 0.5

NOT_FINITE = "the linear system has entries that are not finite"


@dataclass(frozen=True, eq=False)
class Balance:
    """A matrix on the cells of a grid.

    Attributes
    ----------
    diagonal : array of the grid's shape
    ahead, back : one array of the grid's shape per axis
        Derivatives of the flux from a cell to its successor along the axis in the two unknowns;
        0 where there is no face. The successor of the last cell is the first (periodic boxes).
    """

    diagonal: Array
    ahead: tuple[Array, ...]
    back: tuple[Array, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Cells along the axes."""
        return self.diagonal.shape

    @property
    def circular(self) -> bool:
        """Whether something passes from the last cells of an axis to its first."""
        faces = (*enumerate(self.ahead), *enumerate(self.back))
        return any(bool(np.take(face, -1, axis=k).any()) for k, face in faces)

    @cached_property
    def matrix(self) -> csr_array:
        """The sparse matrix (n, n), by diagonals."""
        import scipy.sparse as sp

        n = self.diagonal.size
        bands: dict[int, Array] = {0: self.main.ravel().copy()}
        stride = n
        for k, (ahead, back) in enumerate(zip(self.ahead, self.back, strict=True)):
            size = self.shape[k]
            stride //= size
            a, b = ahead.reshape(-1, size, stride), back.reshape(-1, size, stride)
            # Entry (row, column) is stored at the column; a shift by `hop` leads to the successor.
            for hop, here, there in _hops(size):
                if not (a[:, here].any() or b[:, here].any()):
                    continue
                for offset, entries, cells in (
                    (-hop * stride, -a, here),
                    (hop * stride, b, there),
                ):
                    band = bands.setdefault(offset, np.zeros(n)).reshape(-1, size, stride)
                    band[:, cells] += entries[:, here]
        offsets = sorted(bands)
        return sp.dia_array((np.stack([bands[o] for o in offsets]), offsets), shape=(n, n))

    @cached_property
    def main(self) -> Array:
        """The diagonal of the matrix, of the grid's shape."""
        out = self.diagonal.copy()
        for k, (ahead, back) in enumerate(zip(self.ahead, self.back, strict=True)):
            out += ahead
            out -= np.roll(back, 1, axis=k)
        return out

    @cached_property
    def coupling(self) -> Array:
        """The largest |ahead| of every axis."""
        return np.array([float(np.abs(a).max(initial=0.0)) for a in self.ahead])

    def coarse(self, axes: tuple[int, ...]) -> Balance:
        """The balance of blocks that join two cells along some axes.

        Constants on blocks add the faces between them. Along a coarsened axis the distance doubles,
        which halves the diffusive part D = min(ahead, -back) of the sum and leaves the drift.
        """
        diagonal = joined(self.diagonal, axes)
        ahead, back = [], []
        for k, (a, b) in enumerate(zip(self.ahead, self.back, strict=True)):
            a, b = (_between(v, k, axes) for v in (a, b))
            if k in axes:
                half = 0.5 * np.maximum(np.minimum(a, -b), 0.0)
                a, b = a - half, b + half
            ahead.append(a)
            back.append(b)
        return Balance(diagonal, tuple(ahead), tuple(back))


def _hops(size: int) -> list[tuple[int, slice, slice]]:
    """Steps from a cell to its successor along an axis: the steps, from where, to where."""
    around = [(1 - size, slice(size - 1, size), slice(0, 1))]
    return [(1, slice(0, size - 1), slice(1, size)), *around] if size > 1 else []


def joined(values: Array, axes: tuple[int, ...]) -> Array:
    """Sums over blocks of two cells along the axes; the last block of an odd axis has one."""
    for k in axes:
        head = (slice(None),) * k
        out = values[(*head, slice(0, None, 2))].copy()
        second = values[(*head, slice(1, None, 2))]
        out[(*head, slice(0, second.shape[k]))] += second
        values = out
    return values


def _between(values: Array, k: int, axes: tuple[int, ...]) -> Array:
    """Sums of face values over the faces between blocks, along axis k."""
    if k in axes:
        head, size = (slice(None),) * k, values.shape[k]
        last = values[(*head, slice(size - 1, size))]
        values = values[(*head, slice(1, None, 2))]
        if size % 2:  # the face around the box belongs to the single last cell
            values = np.concatenate([values, last], axis=k)
        if values.shape[k] == 1:  # one block is its own successor
            values = np.zeros_like(values)
    return joined(values, tuple(a for a in axes if a != k))


class Multigrid:
    """A V-cycle on a balance: blocks of two cells along strongly coupled axes, Chebyshev-Jacobi.

    Restriction sums over blocks, so that coarse problems keep the balance; prolongation is constant
    on blocks, in an unknown that is smooth.
    """

    def __init__(self, balance: Balance) -> None:
        self.levels: list[tuple[Balance, Array, tuple[int, ...]]] = []
        self.coarsest: Callable[[Array], Array] | None = None
        while True:
            main = balance.main
            if float((balance.diagonal - WEAK * (main - balance.diagonal)).min()) >= 0:
                self.levels.append((balance, 1 / main, ()))  # sweeps are enough
                return
            if main.size <= COARSEST:
                self.coarsest = factor(balance.matrix)
                return
            strong = balance.coupling >= STRONG * balance.coupling.max()
            axes = tuple(k for k in range(main.ndim) if strong[k] and main.shape[k] > 1)
            if not axes:
                axes = tuple(k for k in range(main.ndim) if main.shape[k] > 1)
            self.levels.append((balance, 1 / main, axes))
            balance = balance.coarse(axes)

    def __call__(self, b: Array) -> Array:
        """An approximation of the solution (n,)."""
        return self._cycle(b, 0)

    def _cycle(self, b: Array, level: int) -> Array:
        if level == len(self.levels):
            assert self.coarsest is not None
            return np.asarray(self.coarsest(b))
        balance, inverse, axes = self.levels[level]
        matrix, inverse = balance.matrix, inverse.ravel()
        x = SWEEPS[0] * inverse * b
        x += SWEEPS[1] * inverse * (b - matrix @ x)
        if axes:
            r = (b - matrix @ x).reshape(balance.shape)
            _spread(x.reshape(balance.shape), self._cycle(joined(r, axes).ravel(), level + 1), axes)
        for damping in reversed(SWEEPS):
            x += damping * inverse * (b - matrix @ x)
        return np.asarray(x)


def _spread(x: Array, blocks: Array, axes: tuple[int, ...]) -> None:
    """Add block values to the cells of x, in place."""
    shape = tuple(-(-s // 2) if k in axes else s for k, s in enumerate(x.shape))
    blocks = blocks.reshape(shape)
    for starts in product(*[(0, 1) if k in axes else (None,) for k in range(x.ndim)]):
        cells = x[tuple(slice(s, None, 2) if s is not None else slice(None) for s in starts)]
        cells += blocks[tuple(slice(0, size) for size in cells.shape)]


def solve(
    balance: Balance,
    b: Array,
    *,
    extra: Callable[[Array], Array] | None = None,
    symmetric: bool = False,
    tol: float = 1e-9,
) -> tuple[Array, int]:
    """The solution (n,) of (matrix + extra) x = b, and the iterations it took.

    `extra` is a dense operator that only iterations can use; 0 iterations: a sparse factor.
    """
    import scipy.sparse.linalg as sl

    if not b.any():
        return np.zeros_like(b), 0
    line = max(balance.shape) == b.size
    if line and extra is None and not balance.circular:
        return _on_a_line(balance, b), 0
    direct = b.size <= DIRECT or line
    inverse = factor(balance.matrix) if direct else Multigrid(balance)
    if direct and extra is None:
        return np.asarray(inverse(b)), 0
    whole = balance.matrix
    if extra is not None:
        plain = balance.matrix
        whole = sl.LinearOperator(plain.shape, lambda x: plain @ x + extra(x), dtype=float)
    count = [0]

    def tick(_: object) -> None:
        count[0] += 1

    method = sl.cg if symmetric else sl.bicgstab
    prepared = sl.LinearOperator(balance.matrix.shape, inverse, dtype=float)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        x, _ = method(whole, b, rtol=tol, atol=0.0, maxiter=200, M=prepared, callback=tick)
    return np.asarray(x), count[0]


def _on_a_line(balance: Balance, b: Array) -> Array:
    """The solution on cells in a row: three diagonals, and no sparse matrix to set up."""
    from scipy.linalg.lapack import dgtsv

    k = balance.shape.index(b.size)
    below, above = -balance.ahead[k].ravel()[:-1], balance.back[k].ravel()[:-1]
    main = balance.main.ravel()
    if not (np.isfinite(main).all() and np.isfinite(below).all() and np.isfinite(above).all()):
        raise Breakdown(Status.BROKEN, NOT_FINITE)
    *_, x, singular = dgtsv(below, main, above, b)
    if singular:
        raise Breakdown(Status.BROKEN, "the linear system is singular")
    return np.asarray(x)


def factor(matrix: csr_array) -> Callable[[Array], Array]:
    """The inverse of a sparse matrix as a function; a `Breakdown` where it has none."""
    import scipy.sparse.linalg as sl

    if not np.isfinite(matrix.data).all():
        raise Breakdown(Status.BROKEN, NOT_FINITE)
    try:
        found = sl.splu(matrix.tocsc())
    except RuntimeError as failure:
        raise Breakdown(Status.BROKEN, f"the linear system is singular: {failure}") from None
    return lambda b: np.asarray(found.solve(b))
