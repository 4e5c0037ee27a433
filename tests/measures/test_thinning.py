"""Resampling, recombination and the fraction that is a copy."""

import numpy as np
import pytest
from generators import measures

import jko
from jko.kernels import Gaussian
from jko.thinning import copied_mass, nearest_distances, recombine, resample

K = Gaussian(0.8)


def test_systematic_resampling_rounds_each_weight():
    """Each particle comes floor or ceil of n w/m times, n w/m on average."""
    mu = measures.particles(9, 2, seed=1, mass=3.0)
    expected = 20 * mu.weights / mu.mass
    counts = []
    for seed in range(200):
        nu = resample(mu, 20, rng=seed)
        assert nu.n == 20
        assert nu.mass == pytest.approx(3.0, rel=1e-14)
        assert nu.ess == pytest.approx(20)
        counts.append([(nu.points == p).all(axis=1).sum() for p in mu.points])
    counts = np.array(counts)
    assert (counts >= np.floor(expected - 1e-12)).all()
    assert (counts <= np.ceil(expected + 1e-12)).all()
    assert counts.mean(axis=0) == pytest.approx(expected, abs=0.2)
    assert (counts[:, mu.weights == 0] == 0).all()


def test_multinomial_resampling_is_noisier():
    mu = measures.particles(50, 2, seed=1)
    noise = {
        method: np.mean([K.mmd2(resample(mu, method=method, rng=s), mu) for s in range(30)])
        for method in ("systematic", "multinomial")
    }
    assert 0 < noise["systematic"] < noise["multinomial"] < 2 / 50


@pytest.mark.parametrize("budget", [5, 20, 40])
def test_recombination_keeps_what_the_kernel_sees(budget):
    mu = measures.particles(80, 2, seed=1, mass=2.0)
    nu = recombine(mu, budget, K)
    assert nu.n <= budget
    assert nu.mass == pytest.approx(2.0, rel=1e-13)
    assert {tuple(p) for p in nu.points} <= {tuple(p) for p in mu.points[mu.weights > 0]}
    rng = np.random.default_rng(0)
    random = [
        K.mmd2(jko.Particles(mu.points[i], np.full(budget, 2 / budget)), mu)
        for i in (rng.choice(80, budget, p=mu.weights / mu.mass) for _ in range(20))
    ]
    assert K.mmd2(nu, mu) < 0.3 * np.mean(random)


def test_few_particles_stay():
    mu = measures.particles(6, 2, seed=1)
    nu = recombine(mu, 10, K)
    assert np.array_equal(nu.points, mu.points[mu.weights > 0])


def test_copied_mass_and_distances():
    pi = jko.Particles([[0.0, 0.0], [1.0, 1.0], [5.0, 5.0]], [0.5, 0.5, 0.0])
    mu = jko.Particles([[-0.0, 0.0], [1.0, 1.1], [5.0, 5.0]], [0.2, 0.3, 0.5])
    assert copied_mass(mu, pi) == pytest.approx(0.2)
    assert nearest_distances(mu, pi) == pytest.approx([0, 0.1, np.sqrt(32)])
    assert copied_mass(pi, pi) == 1


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda mu: resample("x"), "mu got 'x'"),
        (lambda mu: resample(mu, 0), "n = 0"),
        (lambda mu: resample(mu, method="best"), "method = 'best' is unknown"),
        (lambda mu: recombine(mu, 1, K), "budget = 1"),
        (lambda mu: recombine(mu, 3, "rbf"), "kernel got 'rbf'"),
        (lambda mu: copied_mass(mu, jko.Gaussian([0.0], [[1.0]])), "target got Gaussian"),
    ],
)
def test_bad_arguments(call, sentence):
    with pytest.raises(jko.InvalidArgument, match=sentence):
        call(measures.particles(5, 2))
