"""The checker of gradients: right ones pass in every unit and precision, wrong ones do not."""

import numpy as np
import pytest

import jko
from jko.numerics.gradients import MOST, check_gradient

SINGLE = np.float32
SCALES = [1e-12, 1e-6, 1.0, 1e6]


def points(d=4, scale=1.0, seed=0):
    return scale * np.random.default_rng(seed).normal(size=(3, d))


def bowl(scale):
    return lambda x: -0.5 * ((x / scale) ** 2).sum(axis=1), lambda x: -x / scale**2


def logistic(dtype, seed=0):
    """20 000 observations: values of size 1e4, sums with rounding of their own."""
    rng = np.random.default_rng(seed)
    a, y = rng.normal(size=(20_000, 3)).astype(dtype), (rng.random(20_000) < 0.5).astype(dtype)

    def value(x):
        u = x.astype(dtype) @ a.T
        return (u * y - np.logaddexp(0, u)).sum(axis=1, dtype=dtype)

    return value, lambda x: (y - 1 / (1 + np.exp(-(x.astype(dtype) @ a.T)))) @ a


@pytest.mark.parametrize("unit", SCALES)
@pytest.mark.parametrize("place", SCALES)
@pytest.mark.parametrize("height", [1e-6, 1.0, 1e9])
def test_units_do_not_matter(unit, place, height):
    """Points a thousand widths out or at a thousandth of one, values in any unit."""
    value, slope = bowl(unit)
    x = points(scale=place)
    assert check_gradient(lambda x: height * value(x), lambda x: height * slope(x), x) <= 1e-6
    with pytest.raises(jko.InvalidArgument, match="gradient disagrees with finite differences"):
        check_gradient(lambda x: height * value(x), lambda x: 1.01 * height * slope(x), x)


def test_a_function_much_narrower_than_its_points():
    """Width 1e-6 around points of size 1: a step of 1e-5 sees nothing of it."""
    wave, slope = (lambda x: np.sin(1e6 * x[:, 0])), (lambda x: 1e6 * np.cos(1e6 * x))
    assert check_gradient(wave, slope, points(1)) <= 1e-5
    with pytest.raises(jko.InvalidArgument):
        check_gradient(wave, lambda x: 0.5 * slope(x), points(1))


@pytest.mark.parametrize("hidden", [False, True], ids=["said", "hidden"])
def test_single_precision(hidden):
    """Right in its own precision, even where the values are handed over as doubles."""
    out = (lambda v: v.astype(float)) if hidden else (lambda v: v)
    mean, var = np.array([1, 3], SINGLE), np.array([1, 4], SINGLE)
    cases = [
        (
            lambda x: -0.5 * ((x.astype(SINGLE) - mean) ** 2 / var).sum(axis=1),
            lambda x: -(x.astype(SINGLE) - mean) / var,
            points(2),
        ),
        (*logistic(SINGLE), points(3)),
        (*logistic(SINGLE), points(3, 1e-2)),
    ]
    for value, slope, x in cases:
        check_gradient(lambda x, f=value: out(f(x)), lambda x, g=slope: out(g(x)), x)
        for wrong in (-1.0, 0.5, 1.2):
            with pytest.raises(jko.InvalidArgument, match="disagrees"):
                check_gradient(
                    lambda x, f=value: out(f(x)), lambda x, g=slope, c=wrong: out(c * g(x)), x
                )


@pytest.mark.parametrize("single_value", [True, False])
def test_one_per_cent_is_seen_in_single_precision(single_value):
    """It was below what single precision was forgiven."""
    x = np.random.default_rng(0).normal(size=(5, 3))
    kind = np.float32 if single_value else np.float64
    value = lambda z: (0.5 * (z**2).sum(axis=1) + 0.1 * np.cos(z[:, 0])).astype(kind)
    right = lambda z: (z - 0.1 * np.sin(z[:, :1]) * [1, 0, 0]).astype(np.float32)
    assert check_gradient(value, right, x) < 1e-3
    with pytest.raises(jko.InvalidArgument, match="disagrees"):
        check_gradient(value, lambda z: 1.01 * right(z), x)


def test_the_message_of_single_precision_says_so():
    value, slope = logistic(SINGLE)
    with pytest.raises(jko.InvalidArgument, match="single precision"):
        check_gradient(value, lambda x: -slope(x), points(3))


def test_a_large_constant_hides_nothing():
    value, slope = bowl(1.0)
    assert check_gradient(lambda x: 1e8 + value(x), slope, points()) <= 1e-4
    with pytest.raises(jko.InvalidArgument):
        check_gradient(lambda x: 1e8 + value(x), lambda x: -slope(x), points())
    far = points() + 1e6
    assert check_gradient(lambda x: value(x - 1e6), lambda x: slope(x - 1e6), far) <= 1e-4


def test_edges_kinks_and_tops_are_no_faults():
    value, slope = bowl(1.0)
    check_gradient(value, slope, np.zeros((1, 3)))
    check_gradient(lambda x: np.abs(x[:, 0]), np.sign, np.array([[1e-7], [0.0], [1.0]]))
    inside = lambda x: np.where(x[:, 0] > 0, -x[:, 0], -np.inf)
    check_gradient(inside, lambda x: -np.ones_like(x), np.array([[1e-7], [1.0]]))
    check_gradient(lambda x: np.log(x[:, 0]), lambda x: 1 / x, np.array([[1e-7], [1.0]]))


def test_the_coordinate_is_named():
    value, slope = bowl(1.0)
    with pytest.raises(jko.InvalidArgument, match=r"my slope .* .* coordinate 2 .*; mend it"):
        check_gradient(
            value, lambda x: slope(x) * [1, 1, 0, 1], points(), name="my slope", remedy="mend it"
        )
    with pytest.raises(jko.InvalidArgument, match=r"gradient returned shape \(3,\)"):
        check_gradient(value, lambda x: x[:, 0], points())


def test_what_it_costs():
    """2 d values a point for a right gradient, no more than `MOST` coordinates beyond."""
    value, slope = bowl(1.0)
    seen = []
    check_gradient(lambda x: seen.append(len(x)) or value(x), slope, points(10))
    assert sum(seen) == 2 * 10 * 3
    seen.clear()
    check_gradient(lambda x: seen.append(len(x)) or value(x), slope, points(500))
    assert sum(seen) == 2 * MOST * 3
