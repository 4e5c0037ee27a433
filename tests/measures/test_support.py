"""Atoms listed twice, reordered, on a finer list or rounded make the same measure."""

import numpy as np
import pytest

import jko
from jko.measures.support import groups, merged, place_of, shared_back

K = jko.kernels.Gaussian(0.7)
X = np.array([[0.0, 1.0], [2.0, -1.0], [0.5, 0.5], [3.0, 2.0], [1.0, 1.0]])
A = np.array([0.1, 0.3, 0.2, 0.25, 0.15])
B = np.array([0.3, 0.05, 0.25, 0.1, 0.3])


def doubled(x, w):
    """Every atom twice with unequal shares, in another order, and points without mass."""
    share = np.linspace(0.2, 0.7, len(w))
    extra = np.array([[9.0, 9.0], [-9.0, 0.0]])
    points = np.concatenate([x, x, extra])
    weights = np.concatenate([share * w, (1 - share) * w, [0.0, 0.0]])
    order = np.random.default_rng(0).permutation(len(weights))
    return points[order], weights[order]


MU, PI = jko.Histogram(X, A), jko.Histogram(X, B)
MU2, PI2 = jko.Histogram(*doubled(X, A)), jko.Histogram(*doubled(X, B))
ENERGIES = {
    "kl": lambda pi: jko.KL(pi),
    "inclusive": lambda pi: jko.InclusiveKL(pi),
    "half chi2": lambda pi: jko.PhiDivergence(pi, p=2),
    "half hellinger": lambda pi: jko.PhiDivergence(pi, p=0.5),
    "p=3": lambda pi: jko.PhiDivergence(pi, p=3),
    "mmd": lambda pi: jko.MMDEnergy(pi, K),
    "entropy": lambda pi: jko.Entropy() + jko.Potential(lambda x: x[:, 0]),
    "porous": lambda pi: jko.PorousMedium(m=2),
}
GEOMETRIES = [
    jko.Hellinger(),
    jko.Hellinger(mass="fixed"),
    jko.SphericalHellinger(),
    jko.Divergence(p=1),
    jko.MMD(K),
    jko.Wasserstein(),
    jko.WassersteinFisherRao(),
]


@pytest.mark.parametrize("name", ENERGIES)
def test_energies_are_functions_of_measures(name):
    right = ENERGIES[name](PI).value(MU)
    for mu in (MU, MU2):
        for pi in (PI, PI2):
            assert ENERGIES[name](pi).value(mu) == pytest.approx(right, rel=1e-12)


@pytest.mark.parametrize("name", ENERGIES)
def test_first_variations_agree_at_every_entry(name):
    """At the same place the same slope, however often it is listed."""
    right = ENERGIES[name](PI).first_variation(MU)
    found = ENERGIES[name](PI2).first_variation(MU2)
    home = place_of(MU2.points, MU.points)
    charged = home >= 0
    np.testing.assert_allclose(found[charged], right[home[charged]], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=repr)
def test_distances_are_functions_of_measures(geometry):
    right = geometry.sqdistance(MU, PI)
    for mu in (MU, MU2):
        for pi in (PI, PI2):
            assert geometry.sqdistance(mu, pi) == pytest.approx(right, rel=1e-9)
    assert geometry.sqdistance(MU2, MU) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("geometry", GEOMETRIES[:5], ids=repr)
@pytest.mark.parametrize("name", ["kl", "half chi2", "mmd"])
def test_steps_are_functions_of_measures(name, geometry):
    """The step of the doubled list, merged, is the step of the plain one."""
    right = jko.step(MU, ENERGIES[name](PI), geometry, 0.7)
    twice = jko.Histogram(np.concatenate([X, X]), np.concatenate([0.3 * A, 0.7 * A]))
    found = jko.step(twice, ENERGIES[name](PI2), geometry, 0.7)
    assert found.success
    assert found.measure.same_support(twice)
    assert found.objective == pytest.approx(right.objective, rel=1e-8)
    both = found.measure.weights[:5] + found.measure.weights[5:]
    if name != "mmd" or not isinstance(geometry, jko.MMD):  # there weights are not identified
        np.testing.assert_allclose(both, right.measure.weights, atol=1e-7)
        # Entries of one atom keep their shares.
        np.testing.assert_allclose(found.measure.weights[:5], 0.3 * both, rtol=1e-9)


def test_a_transport_step_on_a_doubled_list():
    energy = jko.KL(PI) + jko.Entropy()
    right = jko.step(MU, energy, jko.Wasserstein(), 0.5)
    twice = jko.Histogram(np.concatenate([X, X]), np.concatenate([0.3 * A, 0.7 * A]))
    found = jko.step(twice, energy, jko.Wasserstein(), 0.5)
    both = found.measure.weights[:5] + found.measure.weights[5:]
    np.testing.assert_allclose(both, right.measure.weights, atol=1e-6)


def test_a_flow_keeps_the_list():
    twice = jko.Histogram(np.concatenate([X, X]), np.concatenate([0.3 * A, 0.7 * A]))
    sol = jko.flow(twice, jko.KL(PI), jko.Hellinger(mass="fixed"), tau=0.3, steps=3)
    right = jko.flow(MU, jko.KL(PI), jko.Hellinger(mass="fixed"), tau=0.3, steps=3)
    np.testing.assert_allclose(sol.energies, right.energies, rtol=1e-9)
    assert sol.verify().holds


def test_particles_that_share_a_place():
    """Weights of particles react as those of the measure they make up."""
    twice = jko.Particles(np.concatenate([X, X]), np.concatenate([0.3 * A, 0.7 * A]))
    right = jko.step(MU, jko.KL(PI), jko.Hellinger(), 0.7).measure.weights
    found = jko.step(twice, jko.KL(PI2), jko.Hellinger(), 0.7).measure.weights
    np.testing.assert_allclose(found[:5] + found[5:], right, rtol=1e-9)


def test_targets_in_single_precision_match():
    """Float32 copies of the points, and of part of them, in another order."""
    rng = np.random.default_rng(1)
    for scale, shift in ((1.0, 0.0), (1e-7, 0.0), (1.0, 50.0), (1e9, 0.0)):
        x = scale * rng.normal(size=(40, 2)) + shift
        order = rng.permutation(40)
        mu, w = jko.Histogram(x, rng.dirichlet(np.ones(40))), rng.dirichlet(np.ones(40))
        exact = jko.Histogram(x[order], w[order])
        copy = jko.Histogram(x[order].astype(np.float32), w[order])
        for make in (jko.KL, jko.InclusiveKL):
            right = make(exact).value(mu)
            assert np.isfinite(right)
            assert make(copy).value(mu) == pytest.approx(right, rel=1e-12)
        for geometry in (jko.Hellinger(), jko.Divergence(p=1)):
            right = geometry.sqdistance(mu, exact)
            assert geometry.sqdistance(mu, copy) == pytest.approx(right, rel=1e-12)
            assert geometry.sqdistance(copy, mu) == pytest.approx(
                geometry.sqdistance(exact, mu), rel=1e-12
            )


def test_coordinates_computed_in_two_ways_match():
    x = np.arange(30)[:, None] * 0.1
    y = np.cumsum(np.full(30, 0.1))[:, None] - 0.1
    assert not np.array_equal(x, y)
    w = np.full(30, 1 / 30)
    assert jko.KL(jko.Histogram(y, w)).value(jko.Histogram(x, w)) == pytest.approx(0, abs=1e-13)


def test_points_that_differ_stay_apart():
    """Close is not equal: two points of double precision 1e-9 apart, and charged neighbours."""
    a = jko.Histogram([[0.1], [0.7]], [0.5, 0.5])
    for off in (1e-9, -1e-12):
        b = jko.Histogram([[0.1], [0.7 + off]], [0.5, 0.5])
        assert jko.KL(b).value(a) == np.inf
        assert jko.Hellinger().sqdistance(a, b) == pytest.approx(4.0)


def test_one_atom_is_claimed_once():
    """Two copies within rounding of one atom: the nearer gets it, the other is missing."""
    x = np.array([[1.0 + 3e-8]])
    y = np.array([[1.0], [1.0 + 1.2e-7]])
    place = place_of(y.astype(np.float32).astype(float), x)
    assert place.tolist() == [0, -1]


@pytest.mark.parametrize("seed", range(5))
def test_groups_against_a_dictionary(seed):
    rng = np.random.default_rng(seed)
    points = rng.integers(-2, 3, size=(60, 2)) * 1.0
    points[::7] *= -0.0 if seed % 2 else 1.0
    seen = {}
    right = [seen.setdefault(tuple(p + 0.0), len(seen)) for p in points]
    assert groups(points).tolist() == right
    assert groups(rng.normal(size=(60, 2))) is None
    one, index = merged(jko.Particles(points))
    assert one.n == len(seen)
    back = shared_back(2 * one.weights, np.full(60, 1 / 60), index)
    np.testing.assert_allclose(back, 2 / 60)


def test_an_energy_of_a_list_is_left_alone():
    """An array with a value per entry speaks of entries: nothing is merged."""
    twice = jko.Histogram([[0.0], [0.0], [1.0]], [0.25, 0.25, 0.5])
    energy = jko.Potential([0.0, 1.0, 2.0])
    assert energy.value(twice) == pytest.approx(1.25)
    found = jko.step(twice, energy, jko.Divergence(p=1), 1.0).measure.weights
    right = twice.weights * np.exp([-0.0, -1.0, -2.0])
    np.testing.assert_allclose(found, right / right.sum(), rtol=1e-9)
