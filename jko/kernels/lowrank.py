"""Low-rank factors of Gram matrices that are never formed: partial pivoted Cholesky."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jko.errors import InvalidArgument
from jko.numerics.elementary import EPS
from jko.validation import Array, Seed, positive_int, real

from .base import Kernel
from .pairwise import check_points

#: Candidates of one sweep of elimination, at least and at most: a 128th of the points between.
POOL = 64, 768
#: A sweep takes pivots down to this fraction of the largest remainder.
NEARLY = 3e-3


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
        `error`, and v'Ev <= error |v|_1^2 (the paragraph on low rank after formula M9).

    References
    ----------
    Fine and Scheinberg (2001); Harbrecht et al. (2012).
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
    """Partial pivoted Cholesky factor of the Gram matrix of `x`, a few columns at a time.

    Each pivot's remainder was at least `NEARLY` times the largest one when its sweep began.

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

    References
    ----------
    Fine and Scheinberg (2001); Harbrecht et al. (2012).
    """
    points = check_points(x)
    tolerance, shift = real(tol, "tol"), real(jitter, "jitter")
    for name, value in (("tol", tolerance), ("jitter", shift)):
        if value < 0:
            raise InvalidArgument(f"{name} = {value:g} is negative; pass a number >= 0")
    limit = (
        len(points) if max_rank is None else min(positive_int(max_rank, "max_rank"), len(points))
    )
    k = kernel.positive_about(points)
    diagonal = k.diagonal(points)
    factor, pivots = _factorise(k, points, diagonal, (tolerance, shift, limit))
    # Recomputed once: the running residual accumulates one rounding per column.
    residual = np.maximum(diagonal - np.einsum("ij,ij->i", factor, factor), 0.0)
    return LowRank(factor, pivots, residual, float(residual.max(initial=0.0)))


def _factorise(
    kernel: Kernel, x: Array, diagonal: Array, settings: tuple[float, float, int]
) -> tuple[Array, NDArray[np.intp]]:
    """Elimination by sweeps of several pivots; row k of the array is column k of L, contiguous.

    A sweep pools points of large remainder, factorises their block with complete pivoting while
    the pivots stay above `NEARLY` times the largest remainder of all, and only then evaluates the
    columns of the pivots it took: matrix products where one pivot at a time has none, at a rank
    that measures the same as the greedy one.
    """
    tol, jitter, limit = settings
    residual = diagonal.copy()
    stop = max(tol, 4.0 * EPS * diagonal.max(initial=0.0))
    size = min(max(len(x) // 128, POOL[0]), POOL[1])
    rows, rank = np.empty((min(size, limit), len(x))), 0
    pivots: list[NDArray[np.intp]] = []
    while rank < limit:
        pool, least = _pool(residual, stop, size)
        if not len(pool):
            break
        known = rows[:rank, pool]
        rest = kernel._gram(x[pool], x[pool]) - known.T @ known
        chosen, low = _eliminate(rest, least, jitter, limit - rank)
        taken = pool[chosen]
        if rank + len(taken) > len(rows):  # realloc: large arrays grow without being copied
            grown = min(limit, rank + len(taken) + max(32, rank // 8))
            rows.resize((grown, len(x)), refcheck=False)
        columns = kernel._gram(x[taken], x)
        columns -= known[:, chosen].T @ rows[:rank]
        new = np.dot(np.linalg.inv(low), columns, out=rows[rank : rank + len(taken)])
        residual -= np.einsum("ij,ij->j", new, new)
        if jitter == 0.0:
            # Exactly zero in theory; the assignment keeps rounding from choosing them again.
            residual[taken] = 0.0
        del new  # a view of what may move when it grows
        rank += len(taken)
        pivots.append(taken)
    rows.resize((rank, len(x)), refcheck=False)
    return rows.T, np.concatenate(pivots) if pivots else np.zeros(0, dtype=np.intp)


def _pool(residual: Array, stop: float, size: int) -> tuple[NDArray[np.intp], float]:
    """At most `size` points with remainders above `least`, and `least`; none when all are done.

    The best of each of many groups, not the best of all: those sit side by side, and one pivot
    settles them together.
    """
    groups = min(len(residual), 3 * size)
    width = len(residual) // groups
    whole = groups * width
    best = residual[:whole].reshape(groups, width).argmax(axis=1) + width * np.arange(groups)
    if whole < len(residual):
        best = np.append(best, whole + residual[whole:].argmax())
    values = residual[best]
    least = max(stop, NEARLY * float(values.max()))
    order = np.argsort(-values, kind="stable")[:size]
    return best[order[values[order] > least]], least


def _eliminate(
    rest: Array, least: float, jitter: float, most: int
) -> tuple[NDArray[np.intp], Array]:
    """Positions of the pivots above `least` in greedy order, and their Cholesky factor."""
    from scipy.linalg.lapack import dpstrf

    shifted = rest + jitter * np.eye(len(rest))
    factor, order, rank, _ = dpstrf(shifted, tol=least + jitter, lower=1)
    rank = min(max(int(rank), 1), most)
    return order[:rank] - 1, np.tril(factor[:rank, :rank])


def median_bandwidth(x: ArrayLike, max_points: int = 2000, rng: Seed = None) -> float:
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
