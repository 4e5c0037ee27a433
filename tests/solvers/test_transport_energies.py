"""Weights stepped in energies made of transport to a target: bounds, curvature, gaps."""

from functools import cache

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

import jko
from jko.energies.sinkhorn import EntropicTransport

RNG = np.random.default_rng(4)
X, Y = RNG.normal(size=(6, 2)), RNG.normal(size=(5, 2))
W = RNG.dirichlet(np.ones(6)) * np.array([1, 1, 0, 1, 1, 1])
MU = jko.Histogram(X, 1.7 * W / W.sum())
NU = jko.Histogram(Y, 1.7 * RNG.dirichlet(np.ones(5)))
SMOOTH = [jko.SinkhornDivergence(NU, 0.3), EntropicTransport(NU, 0.3)]
METRIC = jko.kernels.Gaussian(1.0)
GEOMETRIES = [
    jko.Wasserstein(),
    jko.Hellinger(mass="fixed"),
    jko.SphericalHellinger(),
    jko.MMD(METRIC),
    jko.Divergence(1.0),
    jko.Divergence(2.0),
]


def energy_of(target, reg):
    return jko.SinkhornDivergence(target, reg) if reg else jko.WassersteinEnergy(target)


@pytest.mark.parametrize("energy", SMOOTH, ids=lambda e: type(e).__name__)
def test_second_variations_are_those_of_the_first(energy):
    change = RNG.normal(size=6)
    change[2] = abs(change[2])  # the empty atom can only gain
    change[0] -= change.sum()
    found = energy.second_variation(MU) @ change
    h = 1e-5
    ahead = energy.first_variation(MU.with_weights(MU.weights + h * change))
    seen = (ahead - energy.first_variation(MU)) / h
    off = (seen - found) - (seen - found).mean()
    assert np.abs(off).max() <= 1e-3 * np.abs(found).max()


@pytest.mark.parametrize("reg", [0.0, 1e-3, 0.1, 10.0])
def test_tangents_lie_below_for_any_potential(reg):
    energy = energy_of(NU, reg)
    for k in range(12):
        near = RNG.normal(size=5) * 10.0 ** RNG.uniform(-2, 1)
        slope, excess = energy.tangent(MU, near, 10.0 ** RNG.uniform(-8, 0))
        assert excess >= -1e-9
        spike = RNG.dirichlet(np.full(6, 0.1 if k % 2 else 1.0))
        other = MU.with_weights(MU.mass * spike)
        bound = energy.value(MU) - excess + float(slope @ (other.weights - MU.weights))
        assert energy.value(other) >= bound - 1e-9 * (1 + abs(bound))


def test_the_first_variation_of_a_measure_in_pieces():
    """Nothing goes between far atoms at small reg: each piece has its own potential."""
    mu = jko.Histogram(np.array([[0.0], [5.0], [5.1]]), [0.2, 0.3, 0.5])
    energy = jko.SinkhornDivergence(jko.Histogram(np.array([[1.0], [4.0]]), [0.4, 0.6]), 1e-2)
    h, change = 1e-6, np.array([0.0, 1.0, -1.0])
    ahead, back = (energy.value(mu.with_weights(mu.weights + s * change)) for s in (h, -h))
    assert energy.first_variation(mu) @ change == pytest.approx((ahead - back) / (2 * h), rel=1e-5)


TWO = jko.Histogram(np.array([[0.0], [1.0]]), [0.3, 0.7])


def energy_of_two(reg):
    return energy_of(jko.Histogram(np.array([[0.2], [0.5], [1.4]]), [0.5, 0.3, 0.2]), reg)


@cache
def value_of_two(reg, share):
    """Searches in every geometry ask for the same values."""
    return energy_of_two(reg).value(TWO.with_weights([share, 1 - share]))


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=repr)
@pytest.mark.parametrize("reg", [0.0, 1e-3, 0.1, 1.0])
@pytest.mark.parametrize("tau", [0.1, 10.0])
def test_two_atoms_are_a_search_on_an_interval(geometry, reg, tau):
    mu, energy = TWO, energy_of_two(reg)

    def objective(share):
        nu = mu.with_weights([share, 1 - share])
        return value_of_two(reg, float(share)) + geometry.penalty(nu, mu, tau)

    grid = np.linspace(1e-9, 1 - 1e-9, 41)
    best = grid[np.argmin([objective(s) for s in grid])]
    ends = (max(best - 0.03, 1e-12), min(best + 0.03, 1 - 1e-12))
    exact = minimize_scalar(objective, bounds=ends, method="bounded", options={"xatol": 1e-10})
    found = jko.step(mu, energy, geometry, tau)
    assert found.claim is jko.Claim.MINIMISES
    assert found.gap <= found.allowed
    assert found.objective <= exact.fun + 1e-8
    assert found.objective >= exact.fun - found.allowed - 1e-8


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=repr)
@pytest.mark.parametrize("reg", [0.0, 1e-3, 0.1])
def test_no_rival_does_better(geometry, reg):
    energy = energy_of(NU, reg) + 0.1 * jko.MMDEnergy(NU, METRIC)
    found = jko.step(MU, energy, geometry, 10.0)
    best, own = found.objective, found.measure.weights
    assert found.gap <= found.allowed
    charged = (own > 0) | (not isinstance(geometry, jko.Divergence))
    for k in range(12):
        rival = np.where(charged, RNG.dirichlet(np.ones(6)), 0.0)
        mixed = own + 0.2**k * (MU.mass * rival / rival.sum() - own)
        nu = MU.with_weights(mixed)
        assert energy.value(nu) + geometry.penalty(nu, MU, 10.0) >= best - found.allowed


@pytest.mark.parametrize("missing", [1e-1, 1e-4, 1e-8])
def test_plans_in_pieces_find_the_shift_of_their_potentials(missing):
    """Each piece almost feeds itself; the rest crosses at a cost of many regularisations."""
    x = np.array([[0.0], [0.1], [5.0], [5.1]])
    a, b = np.array([0.2, 0.3, 0.2, 0.3]), np.array([0.25, 0.25 + missing, 0.25, 0.25 - missing])
    plan = jko.transport(jko.Histogram(x, a), jko.Histogram(x, b), reg=1e-3, reference="product")
    assert plan.gap <= 1e-10
    assert plan.value >= missing * 23.0


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("reg", [0.0, 0.3])
def test_one_atom_at_its_target_stays(geometry, reg):
    """Nothing costs anything there, and the scale of costs was divided by."""
    mu = jko.Histogram(X[:1], [1.0])
    found = jko.step(mu, energy_of(mu, reg), geometry, 0.5, throw=False)
    assert found.measure.weights[0] == pytest.approx(1.0)
    assert found.success, found.message


def test_grids_too_fine_for_the_program_are_refused_with_a_way_out():
    """The refusal takes no time, and both its remedies step."""
    bell = lambda n, c: jko.GridDensity.from_function(
        lambda x: np.exp(-30 * ((x - c) ** 2).sum(axis=1)), jko.Grid([0, 0], [1, 1], [n, n]), mass=1
    )
    start, energy = bell(16, 0.3), jko.WassersteinEnergy(bell(16, 0.7))
    with pytest.raises(jko.Unsupported, match=r"256 cells .* coarser grids, or move jko.Particles"):
        jko.step(start, energy, jko.Wasserstein(), 0.5)
    moved = jko.Particles(start.points, start.weights)
    assert jko.step(moved, energy, jko.Wasserstein(), 0.5).success
    coarse = jko.WassersteinEnergy(bell(8, 0.7))
    assert jko.step(bell(8, 0.3), coarse, jko.Wasserstein(), 0.5).success


@pytest.mark.parametrize("moved", [jko.WassersteinEnergy, lambda t: jko.SinkhornDivergence(t, 0.1)])
def test_steps_without_an_answer_are_refused_by_what_rules_it_out(moved, rng):
    # The terms with a normal form were not looked at: the objective of the measure found was inf.
    x = rng.normal(size=(6, 2))
    mu, target = jko.Histogram(x, [0.5, 0.5, 0, 0, 0, 0]), jko.Histogram(x, np.full(6, 1 / 6))
    with pytest.raises(jko.Unsupported, match=r"has no answer.*atom 2 must carry weight"):
        jko.step(mu, jko.InclusiveKL(target) + moved(target), jko.Divergence(p=1), 0.1)
    for geometry in (jko.Wasserstein(), jko.Hellinger(mass="fixed"), jko.Divergence(p=2)):
        with pytest.raises(jko.Unsupported, match=r"has no answer.*carry 0\.[26] in all"):
            jko.step(mu, jko.BoxConstraint(0.1) + moved(target), geometry, 0.1)
