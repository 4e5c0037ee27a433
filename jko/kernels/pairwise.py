"""Point clouds, squared distances and blocked loops shared by all kernels.

Nothing here knows a kernel: this is where accuracy and memory are looked after once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike

from jko.errors import InvalidArgument
from jko.numerics.elementary import EPS
from jko.threads import shared_out
from jko.validation import Array, finite_array

#: Rectangles of a Gram matrix by row and column slices.
GramBlock = Callable[[slice, slice], Array]

#: Entries of one block. A block needs about six arrays of this size: 2**18 doubles keep the
#: total near 12 MB, far under the promised 64 MB, and close enough to the cache to be fast.
BLOCK_ENTRIES = 2**18
BLOCK_COLUMNS = 4096

#: Side of the squares of a sweep: they stay in cache, and a product of so few rows, columns and
#: coordinates is not handed to several threads, which would wait for each other.
TILE = 192

#: From this dimension on a matrix product beats the direct difference (see `sqdistances`).
PRODUCT_DIMENSION = 20

#: Fewer pairs than this are left to differences: time is no matter there, and particles that close
#: in on a target want the last digit.
PRODUCT_PAIRS = 2**18

#: Fewer pairs than this are not worth starting threads for.
SHARED_PAIRS = 2**22

#: Pairs closer than this fraction of their squared norms are recomputed by direct difference.
NEAR = 1e-3


def check_points(points: ArrayLike, name: str = "x") -> Array:
    """Points as a finite float64 array (n, d); one-dimensional points must be (n, 1)."""
    array = finite_array(points, name, InvalidArgument)
    if array.ndim != 2 or array.shape[1] == 0:
        raise InvalidArgument(
            f"{name} has shape {array.shape}, expected (n, d);"
            f" write {name}[:, None] for n points on the line"
        )
    return array


def check_pair(x: ArrayLike, y: ArrayLike | None) -> tuple[Array, Array]:
    """Both clouds checked; y = None or y = x gives the same object, so Gram is symmetric."""
    first = check_points(x, "x")
    if y is None or y is x:
        return first, first
    second = check_points(y, "y")
    if first.shape[1] != second.shape[1]:
        raise InvalidArgument(
            f"y has dimension {second.shape[1]} but x has dimension {first.shape[1]};"
            " pass points of the same space"
        )
    return first, second


def check_coefficients(v: ArrayLike, size: int, columns: bool = False) -> Array:
    """A finite vector (size,), or (size, q) when `columns` allows it."""
    array = finite_array(v, "v", InvalidArgument)
    if array.ndim not in ((1, 2) if columns else (1,)) or array.shape[0] != size:
        raise InvalidArgument(
            f"v has shape {array.shape}, expected ({size},), one coefficient per point"
        )
    return array


def sqdistances(x: Array, y: Array) -> Array:
    """Squared Euclidean distances, accurate for close points too.

    In low dimension the coordinates are subtracted directly. From `PRODUCT_DIMENSION` on,
    |x|^2 + |y|^2 - 2 x.y (a matrix product) is several times faster but loses close pairs to
    cancellation: those, few in high dimension, are recomputed by direct difference, so
    every entry has relative error below about 1e-12.

    Parameters
    ----------
    x : array (n, d)
    y : array (m, d)

    Returns
    -------
    array (n, m)
    """
    from scipy.spatial.distance import cdist

    if x.shape[1] < PRODUCT_DIMENSION or min(len(x), len(y)) < 8:
        return np.asarray(cdist(x, y, "sqeuclidean"))
    centre = y.mean(axis=0)  # distances do not see a shift, cancellation does
    a = x - centre
    b = a if y is x else y - centre
    scale = np.einsum("ij,ij->i", a, a)[:, None] + np.einsum("ij,ij->i", b, b)[None, :]
    out = scale - 2.0 * (a @ b.T)
    rows, cols = np.nonzero(out < NEAR * scale)
    if rows.size > 0.1 * out.size:
        return np.asarray(cdist(x, y, "sqeuclidean"))
    near = x[rows] - y[cols]
    out[rows, cols] = np.einsum("ij,ij->i", near, near)
    return np.asarray(out)


def blocks(n: int, m: int, entries: int = BLOCK_ENTRIES) -> Iterator[tuple[slice, slice]]:
    """Cut an (n, m) matrix into rectangles of at most `entries` entries, row by row."""
    width = max(1, min(m, BLOCK_COLUMNS, entries))
    height = max(1, entries // width)
    for i in range(0, n, height):
        for j in range(0, m, width):
            yield slice(i, min(i + height, n)), slice(j, min(j + width, m))


def rectangles(n: int, m: int) -> Iterator[tuple[slice, slice]]:
    """Cut an (n, m) matrix into pieces of the size of a tile, row by row."""
    for i in range(0, n, TILE // 3):
        for j in range(0, m, 3 * TILE):
            yield slice(i, min(i + TILE // 3, n)), slice(j, min(j + 3 * TILE, m))


def tiles(n: int) -> Iterator[tuple[slice, slice]]:
    """Cut the upper triangle of an (n, n) matrix into squares; the diagonal ones come whole."""
    for i in range(0, n, TILE):
        for j in range(i, n, TILE):
            yield slice(i, min(i + TILE, n)), slice(j, min(j + TILE, n))


def block_sums(gram: GramBlock, x: Array, y: Array, v: Array, alone: bool = False) -> Array:
    """K v from rectangles of K: all of them, or one triangle when y is x.

    Large sums are shared out between threads (`jko.threads`), unless they must stay `alone`.
    """
    pieces = list(tiles(len(x)) if y is x else rectangles(len(x), len(y)))

    def some(share: Sequence[tuple[slice, slice]]) -> Array:
        out = np.zeros((len(x), *v.shape[1:]))
        for i, j in share:
            part = gram(i, j)
            out[i] += part @ v[j]
            if y is x and i != j:
                out[j] += part.T @ v[i]
        return out

    if alone or len(x) * len(y) < SHARED_PAIRS:
        return some(pieces)
    return shared_out(some, pieces)


class Augmented:
    """-|x_i - y_j|^2 / (2 h^2) as one matrix product of augmented coordinates.

    left_i = (a_i, -|a_i|^2/2, -1) and right_j = (b_j, 1, |b_j|^2/2) with a, b the centred points
    over h: three times faster than subtracting coordinates. The sum loses about
    (d + 2)/2 eps R^2, R the largest |a|: `accurate` says whether that stays below 1e-13, the
    relative error of the Gaussian kernel then.
    """

    def __init__(self, x: Array, y: Array, bandwidth: float) -> None:
        centre = y.mean(axis=0) if len(y) else 0.0
        a = (x - centre) / bandwidth
        b = a if y is x else (y - centre) / bandwidth
        with np.errstate(over="ignore"):
            p = 0.5 * np.einsum("ij,ij->i", a, a)
            q = p if y is x else 0.5 * np.einsum("ij,ij->i", b, b)
        reach = max(p.max(initial=0.0), q.max(initial=0.0))
        self.accurate = bool((x.shape[1] + 2) * EPS * reach <= 1e-13)
        self.left = np.column_stack([a, -p, np.full(len(a), -1.0)])
        self.right = np.vstack([b.T, np.ones(len(b)), q])

    def block(self, i: slice, j: slice) -> Array:
        """One rectangle of exponents."""
        return np.asarray(self.left[i] @ self.right[:, j])


def difference_sums(slope: GramBlock, x: Array, y: Array, v: Array, alone: bool = False) -> Array:
    """Sum over j of s_ij v_j (x_i - y_j) from rectangles of s, never an (n, m, d) array.

    The sum is x_i (S v)_i - (S diag(v) y)_i: one product with d + 1 columns, over one triangle of
    S when y is x.

    Parameters
    ----------
    slope : function of two slices
        Rectangles of s, symmetric when y is x.
    x, y : arrays (n, d), (m, d)
    v : array (m,)

    Returns
    -------
    array (n, d)
    """
    if not len(x) or not len(y):
        return np.zeros_like(x)
    # Differences do not see a shift, cancellation does; a mean would follow the outliers.
    centre = np.partition(y, len(y) // 2, axis=0)[len(y) // 2]
    b = y - centre
    a = b if y is x else x - centre
    sums = block_sums(slope, x, y, np.column_stack([v, v[:, None] * b]), alone)
    out: Array = a * sums[:, :1] - sums[:, 1:]
    return out


class ApartSlopes:
    """Rectangles of slopes that blow up at coincident points (Laplace, Energy): no close pairs.

    There the subtraction of `difference_sums` would turn rounding into an error, so the share
    of close pairs is summed by direct difference into `close` (n, d) on the way, which only one
    thread may do.
    """

    def __init__(self, slope: Callable[[Array], Array], x: Array, y: Array, v: Array) -> None:
        self.slope, self.x, self.y, self.v = slope, x, y, v
        self.close = np.zeros_like(x)

    def __call__(self, i: slice, j: slice) -> Array:
        x, y = self.x[i], self.y[j]
        sq = sqdistances(x, y)
        rows, cols = np.nonzero(sq < NEAR**2 * sq.max(initial=0.0))
        out = self.slope(sq)
        force = out[rows, cols][:, None] * (x[rows] - y[cols])
        out[rows, cols] = 0.0
        np.add.at(self.close[i], rows, self.v[j][cols][:, None] * force)
        if self.y is self.x and i != j:  # this rectangle stands for its mirror image too
            np.add.at(self.close[j], cols, -self.v[i][rows][:, None] * force)
        return out
