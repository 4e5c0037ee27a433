"""Sets of Gaussians: where the curvature of the moments is known the step has a gap."""

from dataclasses import replace

import numpy as np
import pytest

import jko
from jko.prox.stated import Claim
from jko.solvers.constrained.everywhere import impossible

W = jko.Wasserstein()
START = jko.Gaussian([0.0, 0.0], np.eye(2))
ENERGY = jko.KL(jko.Gaussian([2.0, 1.0], [[2.0, 0.5], [0.5, 1.0]]))


def square(**bounds):
    return jko.Moment(
        lambda x: x[:, 0] ** 2,
        gradient=lambda x: x * [2.0, 0.0],
        curvature=(0.0, 2.0),
        **bounds,
    )


def mean(**bounds):
    return jko.Moment(lambda x: x[:, 0], curvature=(0.0, 0.0), **bounds)


def value(nu, tau=0.3):
    return ENERGY.value(nu) + W.sqdistance(nu, START) / (2 * tau)


@pytest.mark.parametrize(
    "sets",
    [
        [mean(value=0.2)],
        [square(upper=1.0)],
        [square(lower=3.0)],
        [mean(lower=0.1), square(upper=0.9)],
    ],
)
def test_no_gaussian_of_the_set_does_better_than_the_gap_allows(sets):
    res = jko.step(START, ENERGY, W, 0.3, constraints=sets)
    assert res.claim is Claim.MINIMISES
    assert res.objective == pytest.approx(value(res.measure), rel=1e-9)
    assert res.gap <= 1e-6 * res.objective
    rng, rivals = np.random.default_rng(0), 0
    for size in np.repeat([1e-3, 1e-2, 0.1, 0.5], 100):
        change = np.eye(2) + size * rng.normal(size=(2, 2))
        rival = jko.Gaussian(
            res.measure.mean + size * rng.normal(size=2), change @ res.measure.cov @ change.T
        )
        if sets[0].lower == sets[0].upper:  # an equality: moved into the set
            rival = jko.Gaussian([sets[0].lower, rival.mean[1]], rival.cov)
        if all(np.isfinite(s.value(rival)) for s in sets):
            rivals += 1
            assert value(rival) >= res.objective - res.gap - 1e-12
    assert rivals > 20


def test_a_held_mean_has_the_multiplier_of_the_formula():
    """KL to N(m, S) with one mean held: the unheld part follows, y is the missing force (G1)."""
    res = jko.step(START, ENERGY, W, 0.3, constraints=[mean(value=0.2)])
    precision = np.linalg.inv([[2.0, 0.5], [0.5, 1.0]])
    system = np.eye(2) + 0.3 * precision
    wanted = 0.3 * precision @ [2.0, 1.0]
    second = (wanted[1] - system[1, 0] * 0.2) / system[1, 1]
    assert res.measure.mean == pytest.approx([0.2, second], abs=1e-8)
    y = (wanted - system @ [0.2, second])[0] / 0.3
    assert res.info["multipliers"] == pytest.approx([y], rel=1e-6)


def test_without_curvature_or_beyond_it_the_step_is_stationary():
    loose = jko.Moment(lambda x: x[:, 0], 0.2)
    assert jko.step(START, ENERGY, W, 0.3, constraints=[loose]).claim is Claim.STATIONARY
    far = jko.step(START, ENERGY, W, 3.0, constraints=[square(lower=12.0)])
    assert 1 / 3.0 + 2 * far.info["multipliers"][0] < 0  # the objective is not known to be convex
    assert far.claim is Claim.STATIONARY
    for pair in ((1.0, 0.0), (1.0,), 3.0):
        with pytest.raises(jko.JkoError, match="curvature"):
            jko.Moment(lambda x: x[:, 0], 0.2, curvature=pair)


def test_potentials_of_known_curvature_give_steps_of_gaussians_a_gap():
    bent = (
        jko.Potential(lambda x: np.cos(x).sum(1), lambda x: -np.sin(x), convexity=-1.0)
        + jko.Entropy()
    )
    res = jko.step(START, bent, W, 0.5)
    assert res.claim is Claim.MINIMISES
    assert res.gap <= 1e-6
    with pytest.warns(jko.JkoWarning, match="too long for a unique step"):
        assert jko.step(START, bent, W, 1.5).claim is Claim.STATIONARY


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ([mean(value=2.0), square(upper=1.0)], "at least"),  # Jensen's inequality
        ([square(value=-1.0)], "allow at most -1"),
        ([mean(value=2.0), mean(value=1.0)], "combined"),
        ([jko.Moment(lambda x: np.tanh(x[:, 0]), 2.0)], "wherever f was evaluated"),
        ([jko.Moment(lambda x: (x[:, 0] > 0) * 1.0, lower=1.1)], "drop or relax one"),
    ],
)
def test_sets_without_a_measure_are_refused_with_the_combination_that_shows_it(sets, said):
    with pytest.raises(jko.InvalidArgument, match=said):
        jko.step(START, ENERGY, W, 0.3, constraints=sets)


@pytest.mark.parametrize(
    "sets",
    [
        [mean(value=1e5)],  # far away, and nearly at an edge: no contradiction
        [mean(value=2.0), square(upper=4.0 + 1e-5)],
        [jko.Moment(lambda x: np.tanh(x[:, 0]), lower=0.9999)],
        [jko.Moment(lambda x: np.exp(np.minimum(x[:, 0], 50.0)), 30.0)],
        [jko.Moment(lambda x: np.cos(20 * x[:, 0]), 0.98), square(upper=30.0)],
    ],
)
def test_sets_with_a_measure_are_not_refused(sets):
    assert impossible(START, sets) is None


def test_masses_count_in_moments():
    heavy, one = replace(START, mass=3.0), jko.Moment(lambda x: 1.0 + 0 * x[:, 0], 3.0)
    assert impossible(heavy, [one]) is None
    assert impossible(START, [one]) is not None


def test_sets_of_measures_without_a_gaussian_fail_in_a_sentence():
    """Two atoms have E x^2 = 1 and E cos(2 pi x) = 1, no Gaussian has nearly both."""
    second = jko.Moment(lambda x: x[:, 0] ** 2, 1.0)
    wave = jko.Moment(lambda x: np.cos(2 * np.pi * x[:, 0]), lower=0.5)
    start, energy = jko.Gaussian([0.0], [[1.0]]), jko.KL(jko.Gaussian([0.0], [[2.0]]))
    with pytest.raises(jko.StepFailed, match="no Gaussian meets all constraints"):
        jko.step(start, energy, W, 0.3, constraints=[second, wave], max_iter=1)
