"""A user's losses and their derivatives, compared before they are trained on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from jko.dro.predictions import CLASSIFICATION, REGRESSION, PredictionLoss
from jko.errors import InvalidArgument
from jko.measures.base import Discrete
from jko.numerics.checked_gradient import CheckedGradient
from jko.validation import Array

#: Predictions that are looked at beside every target, in units of the targets.
BESIDE = (-1.3, 0.4, 1.1)


def check_loss(
    loss: Callable[[Array, Array], ArrayLike],
    gradient: Callable[[Array, Array], ArrayLike],
    start: Array,
    measure: Discrete,
) -> None:
    """Compare the mean loss with its gradient at three parameters near the start (p,)."""
    points, share = measure.points, measure.weights / measure.mass

    def mean(thetas: Array) -> Array:
        return np.array([share @ np.asarray(loss(t, points), dtype=float) for t in thetas])

    def slope(thetas: Array) -> Array:
        rows = [np.asarray(gradient(t, points), dtype=float) for t in thetas]
        wanted = (len(points), start.size)
        for row in rows:
            if row.shape != wanted:
                raise InvalidArgument(
                    f"gradient returned shape {row.shape} for {wanted[0]} points and {wanted[1]}"
                    " parameters; return one row per point, (n, p)"
                )
        return np.array([share @ row for row in rows])

    with np.errstate(all="ignore"):
        steep = float(np.linalg.norm(slope(start[None])[0]))
        way = abs(float(mean(start[None])[0])) / steep if steep > 0 else 0.0
        way = way if 0 < way < np.inf else float(np.abs(start).max()) or 1.0
        aside = np.random.default_rng(0).standard_normal((3, start.size))
        aside *= 0.1 * way / np.linalg.norm(aside, axis=1, keepdims=True)
        remedy = "return d loss / d theta of every point, (n, p)"
        CheckedGradient(mean, slope, "gradient of the loss", remedy).check(start + aside)


def check_prediction(loss: PredictionLoss, y: Array) -> None:
    """Compare value and slope of a user's loss at predictions beside some of the targets (n,)."""
    if loss in (*REGRESSION.values(), *CLASSIFICATION.values()):
        return
    unit = float(np.abs(y).max()) or 1.0
    for target in np.unique([y.min(), np.median(y), y.max()]):

        def value(z: Array, t: float = float(target)) -> ArrayLike:
            return loss.value(z[:, 0], np.full(len(z), t))

        def slope(z: Array, t: float = float(target)) -> ArrayLike:
            return np.asarray(loss.slope(z[:, 0], np.full(len(z), t)), dtype=float)[:, None]

        remedy = "return d value / d z of every prediction, (n,)"
        checked = CheckedGradient(value, slope, "slope of the loss", remedy)
        with np.errstate(all="ignore"):
            checked.check(float(target) + unit * np.array(BESIDE)[:, None])
