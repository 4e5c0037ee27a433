"""Reaction of the weights of mixtures against integrals on the line that share no code."""

from __future__ import annotations

import numpy as np
import pytest

import jko
from jko.measures import GaussianMixture

MEANS = np.array([-1.0, 0.5, 4.0])
DEVIATIONS = np.array([0.4, 1.5, 0.6])
BEFORE = np.array([0.2, 0.5, 0.3])


def mixture(w):
    return GaussianMixture(MEANS[:, None], DEVIATIONS[:, None, None] ** 2, w)


def variation(w, entropy):
    """E_k of (x - 1)^2 / 2 + c log mu, by sums over even nodes."""
    x = np.linspace(-25, 28, 2001)
    z = (x - MEANS[:, None]) / DEVIATIONS[:, None]
    parts = np.exp(-(z**2) / 2) / (np.sqrt(2 * np.pi) * DEVIATIONS[:, None])
    mu = w @ parts
    log_mu = np.where(mu > 0, np.log(np.where(mu > 0, mu, 1.0)), 0.0)
    return (parts * ((x - 1) ** 2 / 2 + entropy * log_mu)).sum(axis=1) * (x[1] - x[0])


def objective(w, entropy, tau):
    apart = w - BEFORE
    moved = w * np.log1p(apart / BEFORE) - apart
    return float(w @ variation(w, entropy) + moved.sum() / tau)


@pytest.mark.parametrize("tau", [1e-5, 1e-2, 1.0, 10.0])
@pytest.mark.parametrize("entropy", [0.0, 0.3, 5.0])
def test_gap_and_bias_cover_the_excess_over_the_exact_integrals(entropy, tau):
    well = jko.Potential(lambda x: (x[:, 0] - 1) ** 2 / 2, gradient=lambda x: x - 1)
    energy = well + entropy * jko.Entropy() if entropy else well
    found = jko.step(mixture(BEFORE), energy, jko.Divergence(p=1), tau)
    w = BEFORE
    for _ in range(20_000):  # the fixed point, damped where the entropy is stiff
        logs = np.log(BEFORE) - tau * variation(w, entropy)
        logs = (logs + tau * entropy * np.log(w)) / (1 + tau * entropy)
        new = np.exp(logs - logs.max())
        last, w = w, new / new.sum()
        if np.abs(w - last).max() <= 1e-15:
            break
    excess = objective(found.measure.weights, entropy, tau) - objective(w, entropy, tau)
    assert excess <= found.gap + (found.bias or 0.0) + 1e-14
    assert found.bias is None or found.bias <= 1e-5
    assert (found.bias is None) == (entropy == 0)


def test_long_steps_in_a_potential_empty_components():
    """Without an entropy w = w' exp(-tau f): components underflow, and what is left is exact."""
    means = np.array([3.80343564, -0.46845865, -7.27782174, -0.22230543])
    deviations = np.array([1.73792062, 0.32695356, 0.95912091, 0.85097125])
    w, tau = np.array([0.09760801, 0.06357821, 1.9858204, 0.35582958]), 3877.0041940782066
    a, b = 0.05797766344850574, 0.22595510982262906
    mu = GaussianMixture(means[:, None], deviations[:, None, None] ** 2, w)
    well = jko.Potential(lambda x: a * (x[:, 0] - b) ** 2 / 2, lambda x: a * (x - b))
    found = jko.step(mu, well, jko.Divergence(p=1), tau)
    assert found.success
    f = a * ((means - b) ** 2 + deviations**2) / 2
    right = np.exp(-tau * (f - f.min())) * w
    np.testing.assert_allclose(found.measure.weights, right * w.sum() / right.sum(), atol=1e-8)
