"""Equal weights from unequal ones: systematic resampling."""

from __future__ import annotations

import numpy as np

from jko.validation import Array, Index


def systematic(weights: Array, count: int, rng: np.random.Generator) -> Index:
    """Indices (count,) drawn so that atom i appears floor or ceil of count w_i / sum w times.

    One uniform number serves all draws; the atoms are taken in random order, so that neighbours
    in the array are no strata. The expected counts are exact.
    """
    order = rng.permutation(len(weights))
    shares = np.cumsum(weights[order])
    ticks = (rng.random() + np.arange(count)) / count * shares[-1]
    index = np.searchsorted(shares, ticks, side="right")
    chosen: Index = order[np.minimum(index, len(weights) - 1)]
    return chosen


def effective_size(weights: Array) -> float:
    """(sum w)^2 / sum w^2."""
    return float(weights.sum() ** 2 / (weights @ weights))
