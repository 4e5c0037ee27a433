"""How far interior points may go: the ratio test of every primal-dual iteration here."""

from __future__ import annotations

import numpy as np

from jko.validation import Array

#: Fraction of the way to the boundary that an iterate takes, as in Mehrotra (1992): a longer one
#: leaves products of slacks and multipliers so small that the next direction is lost.
TO_BOUNDARY = 0.995
#: Products of slack and plan below this share of their mean are uneven, and centred by RECENTRE:
#: too near the boundary, the iterate goes back to the central path first.
UNEVEN = 1e-3
RECENTRE = 0.3
#: Share of what is left (gap, or residuals of linear conditions) that the sum of the products is
#: kept above: it must not vanish first.
LAG = 0.01
#: Correctors are cut at this many times the mean product.
CORRECTION = 10.0


def to_boundary(*pairs: tuple[Array, Array], share: float = 1.0, most: float = 1.0) -> float:
    """The step along which all parts stay positive: `share` of the longest, `most` at most.

    Parameters
    ----------
    pairs : pairs of arrays
        Positive values and their changes.
    """
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        rates = [
            float(np.fmax.reduce(-change / value, axis=None, initial=0.0))
            for value, change in pairs
        ]
    return share / max(share / most, *rates)
