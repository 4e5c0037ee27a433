"""Steps of Sinkhorn divergences beyond what the conic program takes."""

import numpy as np
import pytest

import jko
from jko.energies.nonlocal_part import _columns, _differences

K = jko.kernels.Gaussian(1.0)


def problem(n, seed=0):
    rng = np.random.default_rng(seed)
    target = jko.Particles(rng.normal(size=(n, 2)) + 0.5, rng.dirichlet(np.ones(n)))
    mu = jko.Histogram(rng.normal(size=(n, 2)), rng.dirichlet(np.ones(n)))
    return mu, jko.SinkhornDivergence(target, 0.1)


@pytest.mark.parametrize(
    "geometry", [jko.MMD(K), jko.Hellinger(mass="fixed"), jko.SphericalHellinger()]
)
def test_they_are_certified_minima(geometry):
    mu, energy = problem(110)
    found = jko.step(mu, energy, geometry, 0.1)
    assert found.claim is jko.Claim.MINIMISES
    assert found.gap <= found.allowed
    rng = np.random.default_rng(1)
    for share in (1e-3, 1e-2, 0.1):
        other = rng.dirichlet(np.ones(mu.n))
        rival = mu.with_weights((1 - share) * found.measure.weights + share * other)
        there = energy.value(rival) + geometry.sqdistance(rival, mu) / 0.2
        assert found.objective <= there + found.gap


def test_the_known_hessian_is_that_of_differences():
    mu, energy = problem(9)
    chosen = np.arange(mu.n)
    centred = np.eye(mu.n) - np.ones((mu.n, mu.n)) / mu.n  # changes that keep the mass
    both = 2.0 * energy + jko.Entropy()
    known = _columns(both, mu, chosen)
    w, h = mu.weights, 3e-4
    rough = np.empty_like(known)
    for k in range(mu.n):
        change = h * w[k] * centred[k]
        there, here = (both.first_variation(mu.with_weights(w + s * change)) for s in (1, -1))
        rough[:, k] = (there - here) / (2 * h * w[k])
    np.testing.assert_allclose(centred @ known @ centred, centred @ rough, rtol=1e-4, atol=2e-4)
    plain = _differences(jko.Entropy(), mu, chosen)
    assert np.abs(plain - np.diag(np.diag(plain))).max() == 0


@pytest.mark.parametrize("reg", [1e-3, 0.03, 1.0, None])
@pytest.mark.parametrize("geometry", [jko.Wasserstein(), jko.MMD(K), jko.SphericalHellinger()])
def test_steps_are_certified_at_every_regularisation(reg, geometry):
    mu, energy = problem(90, seed=3)
    target = energy.target
    energy = jko.WassersteinEnergy(target) if reg is None else jko.SinkhornDivergence(target, reg)
    for tau in (0.05, 5.0):
        found = jko.step(mu, energy, geometry, tau)
        assert found.claim is jko.Claim.MINIMISES
        assert found.gap <= found.allowed
        assert found.iterations <= 150
        rng = np.random.default_rng(2)
        moved = geometry.sqdistance(found.measure, mu) / (2 * tau)
        assert abs(found.objective - energy.value(found.measure) - moved) <= found.allowed
        for share in (1e-3, 0.1):
            other = mu.with_weights(
                (1 - share) * found.measure.weights + share * rng.dirichlet(np.ones(mu.n))
            )
            there = energy.value(other) + geometry.sqdistance(other, mu) / (2 * tau)
            assert found.objective <= there + found.gap


@pytest.mark.parametrize("reg", [1e-3, 2.0, None])
@pytest.mark.parametrize("geometry", [jko.Hellinger(mass="fixed"), jko.Wasserstein(), jko.MMD(K)])
def test_targets_and_measures_of_next_to_no_weight(reg, geometry):
    """Columns of a plan that carry 1e-20 of the mass started off the central path for good."""
    rng = np.random.default_rng(5)
    target = jko.Particles(rng.normal(size=(40, 2)), rng.dirichlet(np.full(40, 0.05)))
    w = rng.dirichlet(np.full(15, 0.1)) * (np.arange(15) % 4 > 0)
    mu = jko.Histogram(rng.normal(size=(15, 2)), w / w.sum())
    energy = jko.WassersteinEnergy(target) if reg is None else jko.SinkhornDivergence(target, reg)
    for whole in (energy, energy + 0.3 * jko.Entropy()):
        found = jko.step(mu, whole, geometry, 10.0)
        assert found.gap <= found.allowed
        assert found.info["inner_solver"] == "JointInterior"
