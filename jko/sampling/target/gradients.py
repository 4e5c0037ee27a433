"""The gradient of a target checked by finite differences (`jko.numerics.gradients`)."""

from __future__ import annotations

import numpy as np

from jko.errors import InvalidMeasure
from jko.markov.mala import Density
from jko.numerics import gradients
from jko.validation import Array


def check_gradient(
    target: Density,
    points: Array,
    rng: np.random.Generator | None = None,
    tolerance: float = gradients.TOLERANCE,
) -> float:
    r"""Compare the score with central differences at points (m, d).

    In the precision and scale of the target: see `jko.numerics.gradients.check_gradient`.

    Returns
    -------
    float
        The largest relative disagreement found, at most `tolerance` (1e-2 in single precision).

    Raises
    ------
    InvalidArgument
        The gradient disagrees; the message names the coordinate, the point and both values.
    """

    def values(x: Array) -> Array:
        try:
            return target.log_density_at(x)
        except InvalidMeasure:  # NaN outside the support is no evidence, and no fault here
            return np.full(len(x), np.nan)

    remedy = "correct it, or pass check=False if the log density is not smooth there"
    return gradients.check_gradient(
        values, target.score, points, remedy=remedy, rng=rng, tolerance=tolerance
    )
