"""Energies of a user's own whose first variation at an atom depends on all weights."""

import numpy as np
import pytest

import jko

METRIC = jko.kernels.Gaussian(0.7)
GEOMETRIES = [
    jko.MMD(METRIC),
    jko.MMD(METRIC, mass="free"),
    jko.WassersteinFisherRao(1.0, 1.0),
    jko.Hellinger(),
    jko.SphericalHellinger(),
    jko.Divergence(p=1),
    jko.Wasserstein(),
]


class Own(jko.Energy):
    """An energy of the engine of which only value and first variation are known."""

    def __init__(self, inner):
        self.inner = inner

    def value(self, mu):
        return self.inner.value(mu)

    def first_variation(self, mu):
        return self.inner.first_variation(mu)


class Level(jko.Energy):
    """(int |x|^2 dmu - a)^2 / 2."""

    def __init__(self, a):
        self.a = a

    def _off(self, mu):
        return float((mu.points**2).sum(axis=1) @ mu.weights) - self.a

    def value(self, mu):
        return self._off(mu) ** 2 / 2

    def first_variation(self, mu):
        return (mu.points**2).sum(axis=1) * self._off(mu)


def scattered(n, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    w, v = rng.dirichlet(np.ones(n), size=2)
    w[0] = 0.0
    return jko.Histogram(x, w / w.sum()), jko.Histogram(x, v)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=repr)
@pytest.mark.parametrize("tau", [1.0, 1e3])
def test_own_kernels_are_as_good_as_the_engines(geometry, tau):
    mu, pi = scattered(14)
    known = jko.MMDEnergy(pi, jko.kernels.Gaussian(1.0)) + jko.Interaction(jko.kernels.Laplace(1.0))
    exact = jko.step(mu, known, geometry, tau)
    found = jko.step(mu, Own(known), geometry, tau)
    assert found.solver == "ProximalNewton"
    assert found.iterations <= 12
    gained = known.value(mu) - exact.objective
    rivals = exact.objective - abs(exact.gap) - abs(exact.bias or 0.0)
    assert found.objective <= exact.objective + 1e-5 * gained + abs(found.bias or 0.0)
    assert found.objective >= rivals - 1e-5 * gained


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=repr)
def test_squares_of_integrals(geometry):
    mu, _ = scattered(20)
    found = jko.step(mu, Level(0.3), geometry, 100.0)
    assert found.success
    # No competitor between the previous measure and the new one does better.
    for share in (1e-3, 0.1, 0.5):
        w = (1 - share) * found.measure.weights + share * mu.weights
        other = Level(0.3).value(mu.with_weights(w))
        other += geometry.penalty(mu.with_weights(w), mu, 100.0)
        assert found.objective <= other + abs(found.bias or 0.0) + 1e-9


@pytest.mark.parametrize("geometry", [jko.MMD(METRIC), jko.Hellinger()], ids=repr)
def test_more_atoms_than_columns(geometry):
    """A part of the columns stands for the others."""
    mu, pi = scattered(330)
    known = jko.MMDEnergy(pi, jko.kernels.Gaussian(1.0))
    exact = jko.step(mu, known, geometry, 10.0)
    found = jko.step(mu, Own(known), geometry, 10.0)
    gained = known.value(mu) - exact.objective
    assert found.objective <= exact.objective + 1e-4 * gained


def test_a_local_part_beside_a_nonlocal_one():
    mu, pi = scattered(14)
    known = jko.MMDEnergy(pi, jko.kernels.Gaussian(1.0)) + 0.1 * jko.Entropy()
    for geometry in (jko.Hellinger(mass="fixed"), jko.MMD(METRIC)):
        exact = jko.step(mu, known, geometry, 10.0)
        found = jko.step(mu, Own(known), geometry, 10.0)
        gained = known.value(mu) - exact.objective
        assert found.objective <= exact.objective + 1e-5 * gained


def test_the_nonlocal_part_is_that_of_the_kernel():
    """The Hessian of 1/2 MMD^2 is the Gram matrix; a local energy has none."""
    from jko.energies.nonlocal_part import far_part

    mu, pi = scattered(14)
    mu = mu.with_weights(np.full(14, 1 / 14))
    kernel = jko.kernels.Gaussian(1.0)
    part = far_part(Own(jko.MMDEnergy(pi, kernel)), mu, fixed_mass=False)
    gram = kernel(mu.points)
    np.testing.assert_allclose(part.kernel(mu.points), gram, atol=1e-6)
    assert part.quadratic
    np.testing.assert_allclose(part.kernel.product(pi.weights), gram @ pi.weights, atol=1e-6)
    for local in (jko.KL(pi), jko.Entropy(), jko.PorousMedium(m=2), jko.KL(pi) + jko.Entropy()):
        assert far_part(Own(local), mu, fixed_mass=False) is None
    # The energy distance is positive among changes that keep the mass.
    distance = far_part(Own(jko.MMDEnergy(pi, jko.kernels.Energy())), mu, fixed_mass=True)
    v = pi.weights - mu.weights
    assert v @ distance.kernel(mu.points) @ v == pytest.approx(
        v @ jko.kernels.Energy()(mu.points) @ v
    )
