"""Losses of linear models as functions of their parameters and samples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from jko.dro.predictions import PredictionLoss
from jko.dro.scenarios import Scenario
from jko.validation import Array


def linear_scenario(
    loss: PredictionLoss, x: Array, y: Array, weights: Array, intercept: bool, paid: float
) -> Scenario:
    """E loss(x.theta + b, y) under fixed weights on fixed samples."""
    value, slope = linear_model(loss, y, intercept)
    return Scenario(value, slope, x, weights, paid)


#: A function of parameters and samples.
Modelled = Callable[[Array, Array], ArrayLike]


def linear_model(loss: PredictionLoss, y: Array, intercept: bool) -> tuple[Modelled, Modelled]:
    """loss(theta, x) and its gradient, theta = (coefficients, intercept)."""

    def predict(theta: Array, x: Array) -> Array:
        return x @ theta[:-1] + theta[-1] if intercept else x @ theta

    def value(theta: Array, x: Array) -> ArrayLike:
        return loss.value(predict(theta, x), y)

    def slope(theta: Array, x: Array) -> Array:
        steep = np.asarray(loss.slope(predict(theta, x), y))[:, None]
        return np.hstack([steep * x, steep]) if intercept else steep * x

    return value, slope
