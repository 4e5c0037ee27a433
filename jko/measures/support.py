"""One rule for atoms: when two of them are the same point, within a measure and between two.

Within a measure, atoms with equal coordinates are one atom whose weight is their sum. Between two
measures, atoms with equal coordinates match; a charged atom that is left over matches the nearest
atom that is left over on the other side, where every coordinate agrees up to the rounding of the
coarser of the two lists of points: a few units in the last place, of single precision where all
coordinates of one list are numbers of single precision, of double precision otherwise.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from jko.measures.atoms import Histogram, Particles
from jko.measures.base import Discrete, Measure
from jko.numerics.distinct import groups
from jko.numerics.elementary import EPS
from jko.validation import Array, Index, Mask

M = TypeVar("M", bound=Measure)

#: Rounding of coordinates that were computed in two ways, in units of the largest coordinate.
DOUBLE = 4 * EPS
#: Rounding of a coordinate that was stored in single precision, in units of itself.
SINGLE = float(np.finfo(np.float32).eps)


def merged(mu: M) -> tuple[M, Index | None]:
    """The same measure with every atom listed once, and the place of the old atoms in it.

    Histograms and particles alone may list an atom twice; None says that nothing was merged.
    """
    if not isinstance(mu, (Histogram, Particles)):
        return mu, None
    index = mu.groups
    if index is None:
        return mu, None
    _, first = np.unique(index, return_index=True)
    weights = np.bincount(index, mu.weights).astype(float)
    return type(mu)(mu.points[first], weights), index


def shared_back(weights: Array, previous: Array, index: Index) -> Array:
    """Weights (n,) of a list from those of its distinct atoms, in proportion to `previous`.

    Where an atom had no weight, its entries share the new weight equally.
    """
    size = weights.shape[0]
    before = np.bincount(index, previous, size)[index]
    count = np.bincount(index, minlength=size)[index]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(before > 0, previous / before, 1 / count)
    return np.asarray(weights[index] * share)


def place_of(points: Array, support: Array, wanted: Mask | None = None) -> Index:
    """Where every point (m, d) stands in a list without repetitions (n, d); -1 where it is not.

    Parameters
    ----------
    wanted : (m,) mask, optional
        Points that are looked for up to rounding when they are not found exactly; all by default.
    """
    n = len(support)
    number = groups(np.concatenate([support, points]))
    place = np.full(len(points), -1, dtype=np.intp)
    if number is not None:
        home = np.full(int(number.max()) + 1, -1, dtype=np.intp)
        home[number[:n]] = np.arange(n)
        place = home[number[n:]]
    lost = np.flatnonzero(place < 0 if wanted is None else (place < 0) & wanted)
    free = np.ones(n, dtype=bool)
    free[place[place >= 0]] = False
    if lost.size and free.any():
        place[lost] = _nearly(points, support, lost, np.flatnonzero(free))
    return place


def _nearly(points: Array, support: Array, lost: Index, free: Index) -> Index:
    """Nearest free atom of the support for every lost point, -1 beyond rounding or if taken."""
    from scipy.spatial import cKDTree

    off, near = cKDTree(support[free]).query(points[lost], p=np.inf)
    x, y = points[lost], support[free[near]]
    size = max(float(np.abs(points).max()), float(np.abs(support).max()))
    slack = np.full(x.shape, DOUBLE * size)
    if _single(points) or _single(support):
        slack = slack + SINGLE * np.maximum(np.abs(x), np.abs(y))
    found = np.where((np.abs(x - y) <= slack).all(axis=1), free[near], -1)
    # Two lost points may claim one atom: the nearer gets it.
    order = np.lexsort((off, found))
    ranked = found[order]
    second = np.concatenate([[False], (ranked[1:] == ranked[:-1]) & (ranked[1:] >= 0)])
    found[order[second]] = -1
    return np.asarray(found, dtype=np.intp)


def _single(points: Array) -> bool:
    """Whether all coordinates are numbers of single precision."""
    with np.errstate(over="ignore"):
        return bool((points.astype(np.float32) == points).all())


def on_one_list(a: Discrete, b: Discrete) -> tuple[Array, Array, Array]:
    """Points (k, d) of the union of two supports, and the weights of both measures on it."""
    first, _ = merged(a)
    second, _ = merged(b)
    place = place_of(second.points, first.points, second.weights > 0)
    new = np.flatnonzero(place < 0)
    place[new] = first.n + np.arange(new.size)
    size = first.n + new.size
    points = np.concatenate([first.points, second.points[new]])
    weights = np.concatenate([first.weights, np.zeros(new.size)])
    return points, weights, np.bincount(place, second.weights, size).astype(float)
