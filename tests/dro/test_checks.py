"""Derivatives of losses are compared before anything is trained on them."""

import numpy as np
import pytest

import jko

POINTS = np.random.default_rng(0).normal(size=(30, 2))
SAMPLE = jko.Histogram(POINTS, np.ones(30) / 30)


def square(theta, x):
    return (x @ theta - 1) ** 2


def slope(theta, x):
    return 2 * (x @ theta - 1)[:, None] * x


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("start", [0.0, 0.5])
@pytest.mark.parametrize("wrong", [lambda g: -g, lambda g: 1.02 * g, lambda g: g * [1.0, 0.9]])
def test_wrong_gradients_are_named(wrong, start, unit):
    """Against a minus sign, 2 % and one coordinate, whatever the unit of the features."""
    sample = jko.Histogram(unit * POINTS, SAMPLE.weights)
    fit = lambda gradient: jko.dro.minimise(
        square,
        np.full(2, start / unit),
        sample,
        jko.Divergence(p=1),
        gradient=gradient,
        radius=0.1,
        throw=False,
    )
    with pytest.raises(jko.InvalidArgument, match="gradient of the loss disagrees"):
        fit(lambda theta, x: wrong(slope(theta, x)))
    with pytest.raises(jko.InvalidArgument, match="one row per point"):
        fit(lambda theta, x: slope(theta, x).T)
    assert fit(slope).value > 0


def test_slopes_of_predictions():
    pytest.importorskip("sklearn")
    y = POINTS @ [1.0, -2.0] + 0.1
    value = lambda z, y: np.logaddexp(z - y, y - z)
    right = jko.dro.PredictionLoss(value, lambda z, y: np.tanh(z - y), lipschitz=1.0)
    wrong = jko.dro.PredictionLoss(value, lambda z, y: np.tanh(y - z), lipschitz=1.0)
    with pytest.raises(jko.InvalidArgument, match="slope of the loss disagrees"):
        jko.dro.RobustRegressor(loss=wrong).fit(POINTS, y)
    assert jko.dro.RobustRegressor(loss=right).fit(POINTS, y).gap_ < 1e-5
