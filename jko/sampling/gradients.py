"""A gradient checked by finite differences, coordinate by coordinate."""

from __future__ import annotations

import numpy as np

from jko.errors import InvalidArgument
from jko.markov.mala import Density
from jko.validation import Array, Index

#: Relative error beyond which a gradient is wrong.
TOLERANCE = 1e-4
#: Coordinates compared at each point; beyond, some are drawn at random.
MOST = 64


def check_gradient(target: Density, points: Array, rng: np.random.Generator) -> float:
    r"""Compare the score with central differences at points (m, d).

    The difference of step h is (f(x + h e_j) - f(x - h e_j)) / (2h), for h = 1e-5 and 1e-4 of the
    size of x_j; the better of the two is compared, up to the rounding eps |f| / h.

    Returns
    -------
    float
        The largest relative disagreement found, at most `TOLERANCE`.

    Raises
    ------
    InvalidArgument
        The gradient disagrees; the message names the coordinate, the point and both values.
    """
    worst = 0.0
    for x in points:
        chosen = np.arange(len(x))
        if len(x) > MOST:
            chosen = np.sort(rng.choice(len(x), MOST, replace=False))
        given = target.score(x[None])[0, chosen]
        error, found = _best_difference(target, x, chosen, given)
        j = int(np.argmax(error))
        if error[j] > TOLERANCE:
            raise InvalidArgument(
                f"gradient disagrees with finite differences in coordinate {chosen[j]} at"
                f" {x.tolist()}: it says {given[j]:.6g}, differences say {found[j]:.6g};"
                " correct it, or pass check=False if the log density is not smooth there"
            )
        worst = max(worst, float(error[j]))
    return worst


def _best_difference(target: Density, x: Array, chosen: Index, given: Array) -> tuple[Array, Array]:
    """The smaller relative disagreement of two step lengths (k,), and that difference (k,)."""
    best, value = np.full(len(chosen), np.inf), np.zeros(len(chosen))
    for size in (1e-5, 1e-4):
        h = size * np.maximum(1.0, np.abs(x[chosen]))
        shift = np.zeros((len(chosen), len(x)))
        shift[np.arange(len(chosen)), chosen] = h
        right, left = target.log_density_at(x + shift), target.log_density_at(x - shift)
        ends = np.isfinite(right) & np.isfinite(left)  # an edge of the support is no evidence
        with np.errstate(invalid="ignore"):
            slope = (right - left) / (2 * h)
        rounding = 8 * np.finfo(float).eps * (np.abs(right) + np.abs(left)) / (2 * h)
        scale = np.maximum(1e-2 * (1 + float(np.abs(given).max())), np.abs(given))
        with np.errstate(invalid="ignore"):
            off = np.maximum(np.abs(slope - given) - rounding, 0.0) / scale
        off = np.where(ends, off, 0.0)
        better = off < best
        best, value = np.where(better, off, best), np.where(better, slope, value)
    return best, value
