"""Partners: for every row the column that pays best."""

from __future__ import annotations

import numpy as np

from jko.validation import Array, Index


def best_partners(gain: Array, cost: Array, price: float) -> tuple[Index, Array]:
    """argmax and max over j of gain_j - price cost_ij (n,); the nearest of equally good ones.

    Parameters
    ----------
    gain : (m,) array
    cost : (n, m) array
    price : float
    """
    score = gain - price * cost
    partner = score.argmax(axis=1)
    best = score[np.arange(len(score)), partner]
    tied = score >= best[:, None]
    several = np.flatnonzero(tied.sum(axis=1) > 1)
    if several.size:
        partner[several] = np.where(tied[several], cost[several], np.inf).argmin(axis=1)
    return partner, best
