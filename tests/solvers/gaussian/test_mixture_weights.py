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
    means, deviations = np.array([3.8, -0.47, -7.3, -0.22]), np.array([1.7, 0.33, 0.96, 0.85])
    w, tau = np.array([0.098, 0.064, 1.99, 0.36]), 3900.0
    mu = GaussianMixture(means[:, None], deviations[:, None, None] ** 2, w)
    well = jko.Potential(lambda x: 0.029 * (x[:, 0] - 0.23) ** 2, lambda x: 0.058 * (x - 0.23))
    found = jko.step(mu, well, jko.Divergence(p=1), tau)
    assert found.success
    f = 0.029 * ((means - 0.23) ** 2 + deviations**2)
    right = np.exp(-tau * (f - f.min())) * w
    np.testing.assert_allclose(found.measure.weights, right * w.sum() / right.sum(), atol=1e-8)
