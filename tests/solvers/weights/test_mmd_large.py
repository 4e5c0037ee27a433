"""MMD steps of many atoms on one factor: linear cost, and a gap that bounds the true one."""

import resource

import numpy as np
import pytest
from generators import measures

import jko
from jko import kernels
from jko.prox import ProxProblem
from jko.prox.stated import Answer
from jko.solvers import SimplexQP
from jko.solvers.weights import lowrank_step
from jko.solvers.weights.lowrank_step import factored, is_large

GAUSS = kernels.Gaussian(0.8)


@pytest.fixture
def small_is_large(monkeypatch):
    """The large path on sizes a dense matrix can judge."""
    monkeypatch.setattr(lowrank_step, "LARGE", 10)


def pair(n=60, m=45, mass=2.0):
    return measures.particles(n, seed=1, mass=mass), measures.particles(m, seed=2, mass=mass)


def truth(w, mu, pi, kernel, tau, factor=1.0):
    """Objective and Frank-Wolfe gap on the simplex, from dense matrices of the kernel."""
    k, cross = kernel.positive()(mu.points), kernel.positive()(mu.points, pi.points)
    fit = w @ k @ w - 2 * w @ cross @ pi.weights
    fit += pi.weights @ kernel.positive()(pi.points) @ pi.weights
    moved = w - mu.weights
    g = factor * (k @ w - cross @ pi.weights) + k @ moved / tau
    return factor / 2 * fit + moved @ k @ moved / (2 * tau), w @ g - w.sum() * g.min()


def true_minimum(mu, pi, kernel, tau, factor=1.0):
    """A lower bound of the minimum, tight to the gap of an exact step."""
    exact = jko.step(mu, factor * jko.MMDEnergy(pi, kernel), jko.MMD(kernel), tau, tol=1e-12)
    value, gap = truth(exact.measure.weights, mu, pi, kernel, tau, factor)
    return value - gap


@pytest.mark.parametrize("tol", [1e-3, 1e-6, 1e-9])
@pytest.mark.parametrize("kernel", [GAUSS, kernels.Matern(0.9, nu=2.5)], ids=repr)
@pytest.mark.parametrize(("tau", "factor"), [(1.0, 1.0), (0.02, 3.0), (30.0, 0.5)])
def test_the_gap_bounds_the_true_one(kernel, tol, tau, factor, monkeypatch):
    mu, pi = pair()
    least = true_minimum(mu, pi, kernel, tau, factor)
    monkeypatch.setattr(lowrank_step, "LARGE", 10)
    energy = factor * jko.MMDEnergy(pi, kernel)
    found = jko.step(mu, energy, jko.MMD(kernel), tau, tol=tol)
    value, _ = truth(found.measure.weights, mu, pi, kernel, tau, factor)
    assert value - least <= found.gap * (1 + 1e-9) + 1e-13
    assert found.gap <= tol * max(1.0, found.objective)
    bound = found.info["lowrank_error"]
    assert found.gap >= bound > 0
    assert bound <= 0.51 * tol
    assert -1e-13 <= value - found.objective <= bound
    worst = found.info["delta"] * (2 * factor + 2 / tau) * mu.mass**2
    assert bound <= worst + 1e-12
    assert found.energy == pytest.approx(energy.value(found.measure), abs=bound + 1e-13)
    away = jko.MMD(kernel).sqdistance(found.measure, mu)
    assert found.sqdistance == pytest.approx(away, abs=2 * tau * bound + 1e-13)
    assert found.baseline == pytest.approx(energy.value(mu), abs=2 * tol)


def test_any_weights_are_bounded_and_bad_ones_are_not_certified(small_is_large, rng):
    """The certificate on answers of all qualities: never below the true suboptimality."""
    mu, pi = pair()
    problem = ProxProblem(jko.MMDEnergy(pi, GAUSS), jko.MMD(GAUSS), mu, 0.7)
    best = jko.step(mu, problem.energy, problem.geometry, 0.7, tol=1e-10).measure.weights
    least = truth(best, mu, pi, GAUSS, 0.7)[0] - 1e-10
    for tol in (1e-2, 1e-5, 1e-9):
        stated = factored(problem, tol).step
        for size in (0.0, 1e-6, 1e-3, 0.1, 1.0):
            w = (1 - size) * best + size * 2.0 * rng.dirichlet(np.full(mu.n, 0.3))
            answer = Answer(mu.with_weights(w), stated, 0)
            gap = stated.certificate(answer).gap
            assert truth(w, mu, pi, GAUSS, 0.7)[0] - least <= gap + 1e-9
            if size >= 0.1:
                assert gap > 1e-4


@pytest.mark.parametrize("mass", ["fixed", "free"])
def test_several_targets_potentials_and_free_mass(mass, monkeypatch):
    mu, pi = pair()
    cloud, blob = measures.particles(9, seed=7, mass=2.0), measures.gaussian(seed=4, mass=2.0)
    energy = jko.MMDEnergy(pi, GAUSS) + 0.5 * jko.MMDEnergy(cloud, GAUSS)
    energy = energy + 0.3 * jko.MMDEnergy(blob, GAUSS)
    energy = energy + 0.1 * jko.Potential(lambda x: (x**2).sum(axis=1))
    geometry = 2.0 * jko.MMD(GAUSS, mass=mass)
    exact = jko.step(mu, energy, geometry, 0.8)
    monkeypatch.setattr(lowrank_step, "LARGE", 10)
    found = jko.step(mu, energy, geometry, 0.8, tol=1e-7)
    assert "delta" in found.info
    assert "delta" not in exact.info
    assert exact.objective - 1e-9 <= found.objective + found.info["lowrank_error"]
    assert found.objective <= exact.objective + found.gap
    reached = energy.value(found.measure) + geometry.sqdistance(found.measure, mu) / 1.6
    assert reached == pytest.approx(found.objective, abs=found.info["lowrank_error"] + 1e-12)


@pytest.mark.parametrize("budget", [None, 20])
def test_united_support(small_is_large, budget):
    mu, pi = pair()
    energy, geometry = jko.MMDEnergy(pi, GAUSS), jko.MMD(GAUSS)
    found = jko.step(mu, energy, geometry, 0.8, solver=SimplexQP("union", budget), tol=1e-8)
    assert found.info["copied_mass"] > 0
    full = jko.step(mu, energy, geometry, 0.8, solver=SimplexQP("union"), tol=1e-8)
    distance = geometry.distance(full.measure, pi)
    assert distance == pytest.approx(geometry.distance(mu, pi) / 1.8, rel=1e-9)
    if budget is not None:
        assert found.measure.n <= budget
        away = geometry.distance(found.measure, full.measure)
        assert found.info["recombination_mmd"] == pytest.approx(away, rel=1e-3, abs=1e-4)


def test_columns_that_run_out_are_a_sentence(monkeypatch):
    mu, pi = pair()
    rough = kernels.Laplace(0.1)
    least = true_minimum(mu, pi, rough, 0.7)
    monkeypatch.setattr(lowrank_step, "LARGE", 10)
    monkeypatch.setattr(lowrank_step, "ENTRIES", 20 * (mu.n + pi.n))
    energy, geometry = jko.MMDEnergy(pi, rough), jko.MMD(rough)
    found = jko.step(mu, energy, geometry, 0.7, solver=SimplexQP(), throw=False)
    assert found.status is jko.Status.INACCURATE
    assert "20 columns leave an error" in found.message
    assert np.isfinite(found.measure.weights).all()
    value, _ = truth(found.measure.weights, mu, pi, rough, 0.7)
    assert value - least <= found.gap


def test_what_counts_as_large():
    few = jko.Particles(np.zeros((9000, 1)))
    grid = measures.grid_density((9, 8), seed=1)

    def large(previous, kernel=GAUSS, geometry=GAUSS):
        energy = jko.MMDEnergy(jko.Particles(np.ones((9000, previous.dim))), kernel)
        return is_large(ProxProblem(energy, jko.MMD(geometry), previous, 1.0))

    assert large(few)
    assert not large(jko.Particles(np.zeros((4, 1))))
    assert not large(grid)  # its products cost O(n log n) already
    assert not large(few, kernels.Gaussian(0.7))


def test_twenty_thousand_particles():
    """Eight digits with the error of the factor, against kernel products in blocks."""
    rng = np.random.default_rng(0)
    mu = jko.Particles(rng.standard_normal((20_000, 2)))
    pi = jko.Particles(0.8 * rng.standard_normal((20_000, 2)) + [0.7, -0.3])
    k = kernels.Gaussian(1.0)
    found = jko.step(mu, jko.MMDEnergy(pi, k), jko.MMD(k), 1.0, tol=1e-8)
    assert found.gap <= 1e-8
    w = found.measure.weights
    g = k.apply(mu.points, mu.points, 2 * w - mu.weights) - k.embed(pi, mu.points)
    assert w @ g - g.min() <= 1e-8 + found.info["delta"] * 4
    # What the step costs: Newton systems (11 of them) of the factor's rank (223).
    assert found.iterations <= 16
    assert found.info["rank"] <= 270
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 4e6
