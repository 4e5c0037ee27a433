"""Inclusive fits cover: moments within their Monte-Carlo error, and effective sample sizes."""

import numpy as np
import pytest

import jko
from jko.vi.importance import tail_index

MODES = jko.GaussianMixture(
    [[-3.0, 0.0], [3.0, 1.0]], [np.eye(2), [[0.5, 0.2], [0.2, 1.0]]], [0.3, 0.7]
)
BLACK_BOX = jko.LogDensity(MODES.log_density_at, MODES.score, 2)


def test_covariance_is_that_of_the_target_within_the_error_reported():
    """Eight seeds: errors in units of the standard error look standard normal."""
    scores, scales = [], []
    for seed in range(8):
        fit = jko.vi.fit(BLACK_BOX, objective="inclusive", rng=seed)
        sample = fit.importance
        cov = (fit.measure.cov - MODES.cov) / sample.cov_error
        scores += [*cov[np.triu_indices(2)], *((fit.measure.mean - MODES.mean) / sample.mean_error)]
        scales.append(np.max(sample.cov_error / np.sqrt(np.outer(*[np.diag(MODES.cov)] * 2))))
        assert sample.ess > 0.1 * sample.particles.n
        assert fit.success
    scores = np.abs(scores)
    assert np.max(scores) < 4.0
    assert 0.6 < np.sqrt(np.mean(scores**2)) < 1.5
    assert max(scales) < 0.02  # and the error is small
    one = jko.vi.fit(BLACK_BOX, rng=0)  # the exclusive fit seeks one mode
    assert one.measure.cov[0, 0] < 0.3 * MODES.cov[0, 0]


def test_known_moments_are_matched_exactly():
    fit = jko.vi.fit(MODES, objective="inclusive")
    np.testing.assert_allclose(fit.measure.mean, MODES.mean, atol=1e-9)
    np.testing.assert_allclose(fit.measure.cov, MODES.cov, atol=1e-9)
    assert fit.moment_error == 0.0
    assert fit.importance is None


def test_evidence_and_effective_sample_size():
    scaled = jko.LogDensity(lambda x: MODES.log_density_at(x) + 2.5, dim=2)
    proposal = jko.Gaussian(MODES.mean, MODES.cov)
    sample = jko.vi.importance_sample(scaled, proposal, 20_000, rng=0)
    assert sample.log_evidence == pytest.approx(2.5, abs=4 / np.sqrt(sample.ess))
    assert sample.ess == pytest.approx(sample.particles.ess)
    assert sample.particles.mass == pytest.approx(1.0)
    poor = jko.vi.importance_sample(scaled, jko.Gaussian([0, 0], 100 * np.eye(2)), 20_000, rng=0)
    assert poor.ess < sample.ess / 3


@pytest.mark.parametrize("index", [0.5, 1.0, 2.0])
def test_tail_index_of_pareto_draws(index):
    u = np.random.default_rng(1).random(50_000)
    assert tail_index(u**-index) == pytest.approx(index, rel=0.15)


def test_tail_index_of_bounded_values_is_small():
    assert tail_index(np.random.default_rng(1).random(50_000)) < 0.05


def test_mixture_steps_move_towards_the_target():
    """The proximal steps on their own: D_0 from the previous, eta at a time (formula G3)."""
    mu = jko.Gaussian([0.0, 0.0], np.eye(2))
    sol = jko.flow(mu, jko.InclusiveKL(MODES), jko.Divergence(p=0), tau=0.5, steps=12)
    gap = [np.linalg.norm(m.mean - MODES.mean) for m in sol.measures]
    np.testing.assert_allclose(np.divide(gap[1:], gap[:-1]), 1 / 1.5, rtol=1e-9)
    second = [m.cov + np.outer(m.mean, m.mean) for m in sol.measures]
    goal = MODES.cov + np.outer(MODES.mean, MODES.mean)
    left = [np.linalg.norm(s - goal) for s in second]
    np.testing.assert_allclose(np.divide(left[1:], left[:-1]), 1 / 1.5, rtol=1e-9)
