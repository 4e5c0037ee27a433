"""Long steps with sources towards a target of a kernel: the energy is all there is to minimise."""

import numpy as np
import pytest
from scipy.optimize import nnls

import jko

K = jko.kernels.InverseMultiquadric(1.0)


def problem(seed, n=8):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    mu = jko.Histogram(x, rng.dirichlet(np.ones(n)) * rng.choice([0, 1, 1], n))
    target = jko.Histogram(rng.normal(size=(n, 3)), rng.dirichlet(np.ones(n)))
    v = rng.normal(size=n)
    energy = jko.Potential(v) + 2.8 * jko.MMDEnergy(target, K)
    return mu, energy, v - 2.8 * K.embed(target, x), 2.8 * K(x, x)


@pytest.mark.parametrize("seed", range(8))
def test_they_end_at_the_minimum_of_the_energy(seed):
    """Tangents at the weights themselves bound nothing: slopes are too low by rounding."""
    mu, energy, linear, gram = problem(seed)
    tau = 5e4
    found = jko.step(mu, energy, jko.WassersteinFisherRao(0.1, 9.0), tau)
    assert found.gap <= found.allowed
    # min w'Gw/2 + l.w over w >= 0 as least squares of G^(1/2) w + G^(-1/2) l
    values, vectors = np.linalg.eigh(gram)
    root, half = np.sqrt(values)[:, None] * vectors.T, vectors.T @ linear / np.sqrt(values)
    w, _ = nnls(root, -half)
    least = 0.5 * w @ gram @ w + linear @ w
    energy_found = 0.5 * found.measure.weights @ gram @ found.measure.weights
    energy_found += linear @ found.measure.weights
    # He^2 <= 4 (m + m'), so that the best measure pays at most this for its distance
    paid = 4 * (mu.mass + w.sum()) / (9.0 * 2 * tau)
    assert energy_found >= least - 1e-10
    assert energy_found <= least + paid + found.allowed


@pytest.mark.parametrize("seed", [0, 3, 6, 11])
def test_long_steps_on_grids_are_bounded(seed):
    """By tangents at the point that the weights answer to, or by the interior point."""
    grid, rng = jko.Grid([0.0], [1.0], [12]), np.random.default_rng(seed)
    mu = jko.GridDensity(grid, rng.dirichlet(np.ones(12)))
    target = jko.GridDensity(grid, rng.dirichlet(np.ones(12)))
    energy = jko.MMDEnergy(target, jko.kernels.Gaussian(0.3))
    energy = energy + 30 * jko.Potential(rng.normal(size=12))
    found = jko.step(mu, energy, jko.WassersteinFisherRao(1.0, 1.0), 1e6)
    assert found.gap <= found.allowed
