"""Low-rank factors of Gram matrices that are never formed: partial pivoted Cholesky."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jko.errors import InvalidArgument
from jko.validation import Array, positive_int, real

from .base import Kernel
from .pairwise import check_points

#: Columns allocated at a time: the rank is not known beforehand.
GROWTH = 64


@dataclass(frozen=True, eq=False)
class LowRank:
    """K = L L' + E with E positive semidefinite and small.

    Attributes
    ----------
    factor : array (n, r)
        L, in column-major order.
    pivots : array (r,) of int
        The points whose columns span the approximation.
    residual_diagonal : array (n,)
        diag(E), clipped at 0.
    error : float
        max of `residual_diagonal`. E is positive semidefinite, so every entry of E is at most
        `error`, and v'Ev <= error |v|_1^2 (the delta of MATH section 2, fixed support).
    """

    factor: Array
    pivots: NDArray[np.intp]
    residual_diagonal: Array
    error: float

    @property
    def rank(self) -> int:
        """r."""
        return len(self.pivots)


def pivoted_cholesky(
    kernel: Kernel,
    x: ArrayLike,
    tol: float,
    max_rank: int | None = None,
    jitter: float = 0.0,
) -> LowRank:
    """Partial pivoted Cholesky factor of the Gram matrix of `x`, one column at a time.

    Conditional kernels are replaced by their positive version (`Kernel.positive`), whose
    quadratic form is the same on coefficients of sum 0. Costs O(n r^2) time, O(n r) memory.

    Parameters
    ----------
    kernel : Kernel
    x : array (n, d)
    tol : float
        Stop when the largest diagonal entry of K - L L' is at most `tol` (absolute). Below the
        rounding level of the diagonal the factor cannot improve: it stops there.
    max_rank : int, optional
        Stop at this rank whatever the error; the result then says the error it reached.
    jitter : float, default 0
        Added to each pivot before its square root. The remainder K - L L' stays positive
        semidefinite, so `error` remains a bound; columns get a little smaller.

    Returns
    -------
    LowRank
    """
    points = check_points(x)
    tolerance, shift = real(tol, "tol"), real(jitter, "jitter")
    for name, value in (("tol", tolerance), ("jitter", shift)):
        if value < 0:
            raise InvalidArgument(f"{name} = {value:g} is negative; pass a number >= 0")
    limit = (
        len(points) if max_rank is None else min(positive_int(max_rank, "max_rank"), len(points))
    )
    k = kernel.positive()
    diagonal = k.diagonal(points)
    factor, pivots = _factorise(k, points, diagonal, (tolerance, shift, limit))
    # Recomputed once: the running residual accumulates one rounding per column.
    residual = np.maximum(diagonal - np.einsum("ij,ij->i", factor, factor), 0.0)
    return LowRank(factor, pivots, residual, float(residual.max(initial=0.0)))


def _factorise(
    kernel: Kernel, x: Array, diagonal: Array, settings: tuple[float, float, int]
) -> tuple[Array, NDArray[np.intp]]:
    """Greedy elimination. Rows of the blocks are columns of L: contiguous, and fast to apply."""
    tol, jitter, limit = settings
    n = len(x)
    residual = diagonal.copy()
    floor = 4.0 * np.finfo(np.float64).eps * diagonal.max(initial=0.0)
    stop = max(tol, floor)
    blocks: list[Array] = []
    pivots: list[int] = []
    while len(pivots) < limit:
        p = int(np.argmax(residual))
        if not residual[p] > stop:
            break
        used = len(pivots) % GROWTH
        if used == 0:
            blocks.append(np.empty((min(GROWTH, limit - len(pivots)), n)))
        column = blocks[-1][used]
        column[:] = kernel._gram(x, x[p : p + 1])[:, 0]
        for i, block in enumerate(blocks):
            filled = block[: used if i == len(blocks) - 1 else len(block)]
            column -= filled[:, p] @ filled
        column /= np.sqrt(residual[p] + jitter)
        residual -= column * column
        pivots.append(p)
        if jitter == 0.0:
            # Exactly zero in theory; the assignment keeps rounding from choosing p again.
            residual[p] = 0.0
    return _join(blocks, len(pivots), n), np.asarray(pivots, dtype=np.intp)


def _join(blocks: list[Array], rank: int, n: int) -> Array:
    """The filled rows of the blocks as one (n, rank) column-major array, freeing as it copies."""
    rows = np.empty((rank, n))
    start = 0
    while blocks:
        block = blocks.pop(0)[: rank - start]
        rows[start : start + len(block)] = block
        start += len(block)
    return rows.T


def median_bandwidth(x: ArrayLike, max_points: int = 2000, rng: Any = None) -> float:
    """The median heuristic: the median of |x_i - x_j| over the pairs i < j.

    No factor is applied: with `jko.kernels.Gaussian` two points at the median distance have
    k = exp(-1/2).

    Parameters
    ----------
    x : array (n, d)
    max_points : int, default 2000
        More points than this are replaced by a random subset of this size, without replacement.
    rng : Generator, seed or None
        For the subset. None takes a fixed seed: the same data then give the same bandwidth.

    Returns
    -------
    float

    Raises
    ------
    InvalidArgument
        With fewer than two points, or when half of the pairs coincide.
    """
    from scipy.spatial.distance import pdist

    from jko.validation import rng_of

    points = check_points(x)
    size = positive_int(max_points, "max_points")
    if len(points) > size:
        chosen = rng_of(0 if rng is None else rng).choice(len(points), size, replace=False)
        points = points[chosen]
    if len(points) < 2:
        raise InvalidArgument(
            f"x has {len(points)} points to compare; a median distance needs at least 2"
        )
    median = float(np.median(pdist(points)))
    if not median > 0:
        raise InvalidArgument(
            "x has duplicated points: the median pairwise distance is 0; pass distinct points"
            " (numpy.unique(x, axis=0)) or choose a bandwidth"
        )
    return median
