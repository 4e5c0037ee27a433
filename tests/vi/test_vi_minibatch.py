"""Fits by gradients of a few observations."""

import numpy as np
import pytest
from generators.logistic import Logistic

import jko
from jko.geometries.gaussian import gaussian_kl
from jko.vi.minibatch import Controlled, Minibatch

PROBLEM = Logistic.draw(5, 3000)
COUNT = len(PROBLEM.signed)


def slope(x, rows):
    a = PROBLEM.signed[rows]
    return (COUNT / len(rows)) * ((1 / (1 + np.exp(x @ a.T))) @ a) - x


BATCH = Minibatch(slope, COUNT, 300)


def test_against_the_exact_bound():
    """A tenth of the observations in a round; nearer to the optimum than Laplace by far."""
    fit = jko.vi.fit(PROBLEM.target, minibatch=BATCH, rng=0)
    best, _ = PROBLEM.optimum(fit.laplace)
    short = best - PROBLEM.elbo_of(fit.measure)
    assert fit.success
    assert -1e-6 <= short <= 2 * fit.moment_error**2 + 1e-5
    assert short <= 0.2 * (best - PROBLEM.elbo_of(fit.laplace))
    assert fit.evaluations.gradients <= 600  # of all observations: for Laplace and the verdict
    assert "batches of 300 observations" in fit.status


def test_the_error_claimed_is_the_error():
    """Root mean square over seeds of the distance from a fit with all observations."""
    exact = jko.vi.fit(PROBLEM.target, rng=0, accuracy=1e-3).measure
    fits = [jko.vi.fit(PROBLEM.target, minibatch=BATCH, rng=seed) for seed in range(6)]
    made = np.sqrt(np.mean([2 * gaussian_kl(f.measure, exact) for f in fits]))
    claimed = np.sqrt(np.mean([f.moment_error**2 for f in fits]))
    assert 0.4 <= claimed / made <= 2.5


def test_the_control_variate_keeps_the_gradient_and_removes_noise():
    fit = jko.vi.laplace(PROBLEM.target)
    x = fit.sample(40, np.random.default_rng(0))
    precision, rng = np.linalg.inv(fit.cov), np.random.default_rng(1)
    draws = [BATCH.draw(rng) for _ in range(200)]
    plain = np.array([slope(x, rows) for rows in draws])
    calm = np.array([Controlled(BATCH, rows, fit, precision)(x) for rows in draws])
    exact = slope(x, np.arange(COUNT))
    error = calm.std(axis=0) / np.sqrt(len(draws))
    assert (np.abs(calm.mean(axis=0) - exact) <= 5 * error + 1e-3 * np.abs(exact).max()).all()
    assert calm.std(axis=0).mean() < 0.2 * plain.std(axis=0).mean()


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"minibatch": 100}, jko.InvalidType, r"pass a jko\.vi\.Minibatch"),
        ({"objective": "inclusive"}, jko.Unsupported, "objective='exclusive'"),
        ({"family": "mixture"}, jko.Unsupported, "leave out"),
        ({"geometry": jko.Wasserstein()}, jko.Unsupported, "leave out"),
    ],
)
def test_one_sentence(options, error, sentence):
    with pytest.raises(error, match=sentence):
        jko.vi.fit(PROBLEM.target, **{"minibatch": BATCH, **options})


def test_arguments_of_a_batch():
    with pytest.raises(jko.InvalidType, match="gradient got int"):
        Minibatch(3, 10)
    with pytest.raises(jko.InvalidArgument, match="observations = 0"):
        Minibatch(slope, 0)
    assert len(Minibatch(slope, 10, 100).draw(np.random.default_rng(0))) == 10
