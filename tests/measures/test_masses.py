"""Masses that differ by the rounding of single precision are equal; others are not."""

import numpy as np
import pytest

import jko
from jko.measures.masses import balanced, same_mass

F = np.float32
K = jko.kernels.Gaussian(1.0)


def cloud(n, seed, dtype=float):
    rng = np.random.default_rng(seed)
    return jko.Particles(rng.normal(size=(n, 2)), np.full(n, 1 / n, dtype))


@pytest.mark.parametrize(
    "geometry",
    [
        jko.Wasserstein(),
        jko.MMD(K),
        jko.MMD(jko.kernels.Energy()),
        jko.Hellinger(mass="fixed"),
        jko.SphericalHellinger(),
        jko.Divergence(p=1),
    ],
    ids=repr,
)
def test_distances_do_not_see_single_precision(geometry):
    """The distance between copies in single precision is that in double precision."""
    a, b = cloud(30, 0), cloud(70, 1)
    if not isinstance(geometry, (jko.Wasserstein, jko.MMD)):
        rng = np.random.default_rng(2)
        b = jko.Particles(a.points, rng.dirichlet(np.ones(30)))
    a32, b32 = (jko.Particles(m.points, m.weights.astype(F)) for m in (a, b))
    assert a32.mass != b32.mass
    right = geometry.sqdistance(a, b)
    assert geometry.sqdistance(a32, b32) == pytest.approx(right, rel=1e-6, abs=1e-13)


def test_match_takes_single_precision():
    mu, target = cloud(40, 0, F), cloud(70, 1, F)
    for kernel in (K, jko.kernels.Matern(1.0)):
        sol = jko.match(mu, target, kernel, steps=3)
        assert sol.energies[-1] < sol.energies[0]
        assert sol.final.mass == pytest.approx(mu.mass, rel=1e-12)


def test_a_step_in_the_energy_distance_takes_single_precision():
    """A kernel that compares equal masses only: the step of the rescaled target comes back."""
    mu, target, k = cloud(20, 0, F), cloud(30, 1, F), jko.kernels.Energy()
    exact = jko.Particles(target.points, np.full(30, mu.mass / 30))
    found = jko.step(mu, jko.MMDEnergy(target, k), jko.MMD(k), 0.5)
    right = jko.step(mu, jko.MMDEnergy(exact, k), jko.MMD(k), 0.5)
    assert found.success
    assert found.objective == pytest.approx(right.objective, rel=1e-7)


def test_other_masses_stay_different():
    a, b = cloud(5, 0), jko.Particles(np.zeros((1, 2)), [1 + 1e-5])
    assert not same_mass(a, b)
    assert balanced(b, a) is b
    for geometry in (jko.Wasserstein(), jko.MMD(jko.kernels.Energy())):
        with pytest.raises(jko.JkoError, match="normalise the measures"):
            geometry.sqdistance(a, b)
    with pytest.raises(jko.InvalidArgument, match="give both the same mass"):
        jko.match(a, b, K)


def test_balanced_keeps_what_the_measure_is():
    a = cloud(5, 0)
    for b in (
        jko.Gaussian([0.0, 0.0], np.eye(2), 1 + 1e-8),
        jko.GaussianMixture(np.zeros((2, 2)), [np.eye(2)] * 2, [0.5, 0.5 + 1e-8]),
        jko.Histogram(np.zeros((1, 2)), [1 - 1e-8]),
    ):
        found = balanced(b, a)
        assert type(found) is type(b)
        assert found.mass == pytest.approx(a.mass, rel=1e-15)
