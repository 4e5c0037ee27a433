"""Robust losses and learners in other units and far from the origin: the same answers."""

import warnings

import numpy as np
import pytest

import jko

RNG = np.random.default_rng(0)
X, W = RNG.normal(size=(24, 2)), RNG.dirichlet(np.ones(24))
Y = X[:, 0] + 0.2 * RNG.normal(size=24)
SIGN = np.sign(Y)
#: Factor on lengths, and where the origin is.
PLACES = [(1e-6, 0.0), (1e6, 0.0), (1.0, 5e6)]


def wave(x):
    return np.sqrt((x**2).sum(axis=1)) + np.sin(x[:, 0])


def ball(size, origin, measure):
    found = jko.dro.worst_case(
        lambda x: wave((x - origin) / size), measure(X * size + origin, W), jko.Wasserstein(),
        radius=0.1 * size, rng=0,
    )  # fmt: skip
    return found.value, found.multiplier * size**2, found.gap


def kernel_ball(size, origin):
    kernel = jko.kernels.Gaussian(size)
    found = jko.dro.worst_case(
        lambda x: wave((x - origin) / size), jko.Histogram(X * size + origin, W),
        jko.MMD(kernel), radius=0.1,
    )  # fmt: skip
    return found.value, found.multiplier, found.gap


def box(size, origin):
    measure = jko.Histogram(0.2 * X * size + origin, W)
    corners = np.full(2, origin - size), np.full(2, origin + size)
    found = jko.dro.kernel_worst_case(
        lambda x: wave((x - origin) / size), measure, jko.MMD(jko.kernels.Gaussian(size)),
        radius=0.1, lower=corners[0], upper=corners[1],
        points=jko.Grid(lower=corners[0], upper=corners[1], shape=[6, 6]),
        lipschitz=2.0 / size, rounds=2, cells=500,
    )  # fmt: skip
    return found.lower, found.upper, found.violation.lower


def classifier(loss, geometry):
    def fit(size, origin):
        metric, radius = geometry(size)
        learner = jko.dro.RobustClassifier(
            loss=loss, geometry=metric, radius=radius, alpha=1e-3 * size**2
        )
        found = learner.fit(X * size + origin, SIGN)
        return found.robust_loss_, found.coef_[0] * size, found.coef_[1] * size

    return fit


USES = {
    "particles": lambda s, o: ball(s, o, jko.Particles),
    "histogram": lambda s, o: ball(s, o, jko.Histogram),
    "kernel": kernel_ball,
    "box": box,
    "logistic, Wasserstein": classifier("logistic", lambda s: (jko.Wasserstein(), 0.1 * s)),
    "logistic, order one": classifier("logistic", lambda s: (jko.Wasserstein(p=1), 0.1 * s)),
    "logistic, divergence": classifier("logistic", lambda s: (jko.Divergence(1.0), 0.1)),
    "hinge, order one": classifier("hinge", lambda s: (jko.Wasserstein(p=1), 0.1 * s)),
    "hinge, divergence": classifier("hinge", lambda s: (jko.Divergence(1.0), 0.1)),
}


@pytest.mark.parametrize("use", USES)
def test_other_lengths_and_origins(use):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a fit that misses its tolerance warns
        here = np.array(USES[use](1.0, 0.0))
        for size, origin in PLACES:
            there = np.array(USES[use](size, origin))
            assert np.abs(there - here).max() <= 2e-5 * (1 + np.abs(here).max()), (size, origin)


@pytest.mark.parametrize("loss", ["squared", "absolute"])
@pytest.mark.parametrize("geometry", [jko.Divergence(1.0), jko.Wasserstein(p=1)], ids=repr)
def test_other_units_of_the_response(loss, geometry):
    if loss == "squared" and isinstance(geometry, jko.Wasserstein):
        geometry = jko.Wasserstein()
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for unit in (1.0, 1e-6, 1e6):
            learner = jko.dro.RobustRegressor(loss=loss, geometry=geometry, radius=0.1)
            fit = learner.fit(X, Y * unit)
            power = 2 if loss == "squared" else 1
            found[unit] = np.append(fit.coef_ / unit, fit.robust_loss_ / unit**power)
    for unit in (1e-6, 1e6):
        assert np.abs(found[unit] - found[1.0]).max() <= 1e-4


@pytest.mark.parametrize("unit", [1e-9, 1e9])
def test_other_units_of_the_loss(unit):
    for measure in (jko.Particles(X, W), jko.Histogram(X, W)):
        for geometry in (jko.Wasserstein(), jko.Divergence(2.0)):
            if isinstance(measure, jko.Particles) and isinstance(geometry, jko.Divergence):
                continue
            one = jko.dro.worst_case(wave, measure, geometry, radius=0.1, rng=0)
            two = jko.dro.worst_case(lambda x: unit * wave(x), measure, geometry, radius=0.1, rng=0)
            assert two.status is one.status
            assert two.value / unit == pytest.approx(one.value, rel=1e-6)


def test_a_fit_of_small_losses_is_no_fit_because_they_are_small():
    """At losses of 1e-12 a tolerance relative to 1 would call the start a minimum."""
    fit = jko.dro.minimise(
        lambda theta, x: 1e-12 * (x[:, 0] - theta[0]) ** 2, [5.0], jko.Histogram(X, W),
        jko.Divergence(1.0), radius=0.05,
        gradient=lambda theta, x: -2e-12 * (x[:, :1] - theta[0]),
    )  # fmt: skip
    big = jko.dro.minimise(
        lambda theta, x: (x[:, 0] - theta[0]) ** 2, [5.0], jko.Histogram(X, W),
        jko.Divergence(1.0), radius=0.05, gradient=lambda theta, x: -2 * (x[:, :1] - theta[0]),
    )  # fmt: skip
    assert fit.theta[0] == pytest.approx(big.theta[0], abs=1e-4)
    assert fit.value == pytest.approx(1e-12 * big.value, rel=1e-6)


@pytest.mark.parametrize("size", [1e-6, 1e6])
def test_barycentres_in_other_lengths(size):
    family = lambda s: [jko.Histogram(X[:8] * s, W[:8] / W[:8].sum()),
                        jko.Histogram(X[8:18] * s, W[8:18] / W[8:18].sum())]  # fmt: skip
    one, two = jko.barycentre(family(1.0)), jko.barycentre(family(size))
    assert two.value / size**2 == pytest.approx(one.value, rel=1e-9)
    assert two.gap <= 1e-9 * two.value
