"""Union support, thinned to a budget: exact mass, positive weights, honest figures."""

import numpy as np
import pytest
from generators import measures

import jko
from jko import kernels
from jko.solvers import SimplexQP

KERNELS = [kernels.Gaussian(0.8), kernels.Laplace(1.1), kernels.Energy()]


def pair(n=40, m=55, mass=1.7):
    return (
        measures.particles(n, seed=1, mass=mass),
        measures.particles(m, seed=2, mass=mass, shift=0.3),
    )


@pytest.mark.parametrize("rate", [1.0, 0.5])
@pytest.mark.parametrize("budget", [1, 2, 7, 40, 70])
@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_budget(kernel, budget, rate):
    mu, pi = pair()
    energy, geometry = jko.MMDEnergy(pi, kernel), rate * jko.MMD(kernel)
    full = jko.step(mu, energy, geometry, 0.8, solver=SimplexQP(support="union"))
    thin = jko.step(mu, energy, geometry, 0.8, solver=SimplexQP(support="union", budget=budget))
    nu = thin.measure
    assert nu.n <= budget
    assert (nu.weights > 0).all()
    assert nu.mass == pytest.approx(1.7, rel=1e-13)
    true = jko.MMD(kernel).distance(nu, full.measure)
    assert thin.info["recombination_mmd"] == pytest.approx(true, rel=1e-6, abs=1e-8)
    assert thin.objective == pytest.approx(full.objective, rel=1e-12)
    reached = energy.value(nu) + geometry.sqdistance(nu, mu) / 1.6
    assert thin.bias == pytest.approx(reached - full.objective, abs=1e-11)
    assert thin.gap <= 1e-9
    on_target = (nu.points[:, None] == pi.points[None]).all(2).any(1)
    assert thin.info["copied_mass"] == pytest.approx(nu.weights[on_target].sum() / 1.7, rel=1e-12)
    # The triangle inequality against M2: what the thinning may cost.
    distance = jko.MMD(kernel).distance
    assert distance(nu, pi) <= distance(mu, pi) / (1 + 0.8 * rate) + true + 1e-9


def test_more_budget_costs_less():
    mu, pi = pair(200, 300)
    energy, geometry = jko.MMDEnergy(pi, KERNELS[0]), jko.MMD(KERNELS[0])
    costs = [
        jko.step(mu, energy, geometry, 0.8, solver=SimplexQP(support="union", budget=b)).info[
            "recombination_mmd"
        ]
        for b in (5, 20, 80)
    ]
    assert costs[0] > 3 * costs[1] > 9 * costs[2]


def test_a_budget_that_is_large_enough_changes_nothing():
    mu, pi = pair()
    energy, geometry = jko.MMDEnergy(pi, KERNELS[0]), jko.MMD(KERNELS[0])
    full = jko.step(mu, energy, geometry, 0.8, solver=SimplexQP(support="union"))
    same = jko.step(mu, energy, geometry, 0.8, solver=SimplexQP(support="union", budget=500))
    np.testing.assert_array_equal(same.measure.weights, full.measure.weights)
    assert same.info["recombination_mmd"] == 0
    assert full.measure.n == mu.n + np.count_nonzero(pi.weights)


def test_empty_atoms_do_not_count_but_are_dropped():
    """Seventeen atoms, three of them empty, and a budget of just the charged ones."""
    mu = measures.particles(10, seed=1)
    pi = mu.with_weights(np.where(np.arange(10) < 6, mu.weights, 0.0))
    pi = pi.with_weights(pi.weights / pi.mass)
    charged = np.count_nonzero(mu.weights)
    solver = SimplexQP(support="union", budget=charged)
    k = KERNELS[0]
    found = jko.step(mu, jko.MMDEnergy(pi, k), jko.MMD(k), 0.8, solver=solver)
    assert found.measure.n == charged < mu.n
    assert found.info["recombination_mmd"] == 0
    assert found.bias == pytest.approx(0, abs=1e-15)


def test_free_mass_with_a_well_and_a_budget():
    mu, pi = pair()
    pi = pi.with_weights(0.5 * pi.weights)
    k = KERNELS[0]
    energy = jko.MMDEnergy(pi, k) + 0.1 * jko.Potential(lambda x: (x**2).sum(axis=1))
    geometry = jko.MMD(k, mass="free")
    full = jko.step(mu, energy, geometry, 0.8, solver=SimplexQP(support="union"))
    thin = jko.step(mu, energy, geometry, 0.8, solver=SimplexQP(support="union", budget=30))
    assert thin.measure.n <= 30
    assert thin.measure.mass == pytest.approx(full.measure.mass, rel=1e-12)
    reached = energy.value(thin.measure) + geometry.sqdistance(thin.measure, mu) / 1.6
    assert thin.bias == pytest.approx(reached - full.objective, abs=1e-10)


def test_the_union_needs_the_energy_everywhere():
    mu, pi = pair()
    k = KERNELS[0]
    solver = SimplexQP(support="union")
    for energy, why in (
        (jko.Potential(np.ones(mu.n)) + jko.MMDEnergy(pi, k), "union of the supports"),
        (jko.KL(mu) + jko.MMDEnergy(pi, k), "not quadratic"),
        (jko.MMDEnergy(pi, k, statistic="U"), "U-statistic"),
    ):
        with pytest.raises(jko.Unsupported, match=why):
            jko.step(mu, energy, jko.MMD(k), 0.8, solver=solver)


def test_an_exhausted_union_step_says_so():
    mu, pi = pair()
    k = KERNELS[0]
    energy = jko.MMDEnergy(pi, k) + jko.Potential(lambda x: x[:, 0])
    found = jko.step(
        mu, energy, jko.MMD(k), 0.8, solver=SimplexQP(support="union"), max_iter=1, throw=False
    )
    assert found.status is jko.Status.MAX_ITERATIONS
    assert np.isfinite(found.measure.weights).all()
