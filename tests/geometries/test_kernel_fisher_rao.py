"""The kernel approximation of Fisher-Rao: its flow, both limits, and clouds far from each other."""

import numpy as np
import pytest
from generators import measures

import jko
from jko.geometries import KernelFisherRao

KERNEL = jko.kernels.Gaussian(0.7)


def pair(n=12, mass=1.0):
    mu = measures.histogram(n, seed=4, mass=1.0)
    mu = mu.with_weights((mu.weights + 0.02) / (mu.weights + 0.02).sum())
    pi = measures.sibling(mu, seed=5, mass=1.0, zeros=0)
    return mu, pi.with_weights(mass * pi.weights / pi.mass)


def gram(mu):
    apart = ((mu.points[:, None] - mu.points[None]) ** 2).sum(-1)
    return np.exp(-apart / (2 * 0.7**2))


def test_short_steps_follow_the_ridge_regression():
    """(mu - mu_+)/tau -> mu K_mu (K_mu + ridge)^{-1} f for f = 1 - pi/mu, by dense algebra."""
    mu, pi = pair(mass=1.4)
    ridge, k = 0.3, gram(mu)
    inner = k * mu.weights
    force = np.linalg.solve(inner + ridge * np.eye(mu.n), inner @ (1 - pi.weights / mu.weights))
    errors = []
    for tau in (2e-2, 1e-2):
        geometry = KernelFisherRao(KERNEL, ridge, mass="free")
        after = jko.step(mu, jko.InclusiveKL(pi), geometry, tau).measure
        rate = (mu.weights - after.weights) / tau
        errors.append(np.abs(rate - mu.weights * force).max() / np.abs(mu.weights * force).max())
    assert errors[1] < 0.03
    assert errors[0] / errors[1] == pytest.approx(2.0, abs=0.3)


def end(mu, energy, geometry, time, steps=20):
    sol = jko.flow(mu, energy, geometry, tau=time / steps, steps=steps, save="last")
    return sol.final.weights


def test_the_ridge_vanishes_to_fisher_rao():
    """KL(pi|.) in Fisher-Rao is mu_t = pi - mu on fixed mass: mixtures (formula M3)."""
    mu, pi = pair()
    rough = jko.kernels.Laplace(0.3)
    exact = pi.weights + np.exp(-1.0) * (mu.weights - pi.weights)
    errors = [
        np.abs(end(mu, jko.InclusiveKL(pi), KernelFisherRao(rough, r), 1.0) - exact).sum()
        for r in (1.0, 0.1, 0.01, 0.001)
    ]
    assert errors[0] > errors[1] > 3 * errors[2] > 6 * errors[3]
    assert errors[-1] < 0.02


def test_the_ridge_grows_to_the_fisher_rao_flow_of_mmd():
    mu, pi = pair()
    energy = jko.MMDEnergy(pi, KERNEL)
    goal = end(mu, energy, jko.Hellinger(mass="fixed"), 1.0)
    moved = np.abs(goal - mu.weights).sum()
    errors = []
    for ridge in (10.0, 100.0, 1000.0):
        geometry = KernelFisherRao(KERNEL, ridge)
        found = end(mu, jko.InclusiveKL(pi), geometry, ridge)
        errors.append(np.abs(found - goal).sum() / moved)
    assert errors[0] / errors[1] == pytest.approx(10, rel=0.3)
    assert errors[2] < 2e-3


@pytest.mark.parametrize("dim", [2, 6])
def test_modes_of_unequal_width_get_their_weights_without_a_density(dim):
    """Two modes at 1/2 move to .3 / .7: a density estimate loses the narrow one's in d = 5."""
    rng = np.random.default_rng(0)
    centre = np.zeros(dim)
    centre[0] = 2.5

    def draw(n, share):
        right = rng.random(n)[:, None] < share
        spread = np.where(right, 1.0, 0.5)
        return jko.Particles(rng.normal(size=(n, dim)) * spread + np.where(right, centre, -centre))

    cloud, target = draw(300, 0.5), draw(300, 0.3)
    kernel = jko.kernels.Gaussian(jko.kernels.median_bandwidth(cloud.points))
    geometry = KernelFisherRao(kernel, ridge=0.01)
    sol = jko.flow(cloud, jko.InclusiveKL(target), geometry, tau=1.0, steps=8)
    right = sol.final.points[:, 0] > 0
    wanted = float((target.points[:, 0] > 0).mean())
    assert sol.final.weights[right].sum() == pytest.approx(wanted, abs=0.03)
    assert sol.final.ess > 100
    assert (np.diff(sol.energies[1:]) <= 1e-12).all()


def test_distance_is_a_metric_of_both_parts():
    mu, pi = pair()
    geometry = KernelFisherRao(KERNEL, 0.4)
    both = jko.MMD(KERNEL).sqdistance(mu, pi) + 0.4 * jko.Hellinger().sqdistance(mu, pi)
    assert geometry.sqdistance(mu, pi) == pytest.approx(both, rel=1e-12)
    assert (2.0 * geometry).sqdistance(mu, pi) == pytest.approx(both / 2, rel=1e-12)


def test_bad_arguments_get_one_sentence():
    mu, pi = pair()
    with pytest.raises(jko.InvalidArgument, match="ridge"):
        KernelFisherRao(KERNEL, 0.0)
    with pytest.raises(jko.Unsupported, match="not positive definite"):
        KernelFisherRao(jko.kernels.Energy(), 1.0)
    with pytest.raises(jko.Unsupported, match="needs a density"):
        jko.step(mu, jko.KL(pi), KernelFisherRao(KERNEL, 1.0), 0.1)
