r"""Entropic transport of a measure with itself: one potential for both sides.

With E = e^{-|x - y|^2/reg} among the atoms and weights w, the plan is z E z with z (E z) = w, and
the potential reg log(z/w).
"""

from __future__ import annotations

import numpy as np

from jko.numerics.elementary import EPS
from jko.validation import Array

#: Means of log z and of what it answers to: each at least halves what is missing, as E is positive
#: semidefinite.
MEANS = 200


def self_scaling(w: Array, near: Array, start: Array | None = None) -> Array:
    """z > 0 (n,) with z (E z) = w, for weights w > 0 and E (n, n); `start` is a guess of z."""
    log_w = np.log(w)
    log_z = 0.5 * log_w if start is None else np.log(start)
    before = np.inf
    for _ in range(MEANS):
        off = log_w - log_z - np.log(near @ np.exp(log_z))
        log_z = log_z + 0.5 * off
        missing = float(np.abs(off).max())
        if missing <= 4 * EPS * (1 + float(np.abs(log_z).max())) or (
            missing < np.sqrt(EPS) and missing > 0.9 * before
        ):
            break
        before = missing
    return np.asarray(np.exp(log_z))
