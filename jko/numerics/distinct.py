"""Which rows of an array are equal."""

from __future__ import annotations

import numpy as np

from jko.validation import Array, Index


def groups(points: Array) -> Index | None:
    """Number (n,) of the distinct point of every row, in order of appearance; None: all differ."""
    first = points[:, 0]
    if (first[1:] > first[:-1]).all():
        return None
    first = np.sort(first)
    if not (first[1:] == first[:-1]).any():  # most lists end here
        return None
    # Not np.unique(axis=0): it compares records, and a Ctrl-C in there becomes a TypeError.
    order = np.lexsort(points.T[::-1])
    ordered = points[order]
    fresh = np.concatenate([[True], (ordered[1:] != ordered[:-1]).any(axis=1)])
    if fresh.all():
        return None
    number = np.empty(len(points), dtype=np.intp)
    number[order] = np.cumsum(fresh) - 1
    _, appearance = np.unique(number, return_index=True)
    rank = np.empty_like(appearance)
    rank[np.argsort(appearance, kind="stable")] = np.arange(len(appearance))
    return np.asarray(rank[number], dtype=np.intp)
