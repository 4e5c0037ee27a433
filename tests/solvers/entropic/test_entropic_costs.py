"""Entropic steps with other costs than |x-y|^2: powers, matrices, functions, graphs."""

import numpy as np
import pytest
from generators.costs import geometries
from scipy.sparse import csr_array
from scipy.special import logsumexp

import jko
from jko import Histogram, Wasserstein
from jko.solvers import Entropic, TransportProgram

RNG = np.random.default_rng(3)
N = 14
X = RNG.normal(size=(N, 2))
OLD = Histogram(X, np.r_[0.0, RNG.dirichlet(np.ones(N - 1))] * 1.5)
GOAL = Histogram(X, RNG.dirichlet(np.ones(N)) * 1.5)
SKEW = RNG.uniform(size=(N, N))  # neither symmetric nor zero on the diagonal
RING = csr_array((RNG.uniform(0.5, 2, N - 1), (np.arange(N - 1), np.arange(1, N))), shape=(N, N))
GEOMETRIES = geometries(SKEW, RING)
ENERGIES = [
    jko.KL(GOAL),
    jko.KL(GOAL) + jko.MMDEnergy(GOAL, jko.kernels.Gaussian(1.0)),
    jko.Potential(lambda x: x[:, 0]) + jko.BoxConstraint(0.4),
]
PLAIN = Entropic(debias=False)
TAU = 0.4


def entropic(geometry, w, reg):
    """min <C, P> + reg sum P (log P - 1) by scaling rows and columns, and what a step pays."""
    cost = geometry.ground.between(OLD, OLD, np.arange(N), np.arange(N))
    m, f, g = OLD.weights, np.zeros(N), np.zeros(N)
    with np.errstate(divide="ignore"):
        for _ in range(2000):
            f = np.log(m) - logsumexp(g - cost / reg, axis=1)
            last = g
            g = np.log(w) - logsumexp(f[:, None] - cost / reg, axis=0)
            if np.abs(g - last)[w > 0].max() < 1e-11:
                break
        plan = np.exp(f[:, None] + g - cost / reg)
    charged = plan > 0
    entropy = float((plan[charged] * (np.log(plan[charged]) - 1)).sum())
    p = geometry.p if geometry.is_power else 2.0
    return (float((plan * cost).sum()) + reg * entropy) / (p * (geometry.rate * TAU) ** (p - 1))


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=repr)
@pytest.mark.parametrize("energy", ENERGIES, ids=repr)
def test_no_competitor_does_better_in_what_is_stated(geometry, energy):
    found = jko.step(OLD, energy, geometry, TAU, solver=Entropic(reg=1.0, debias=False))
    reg, w = found.info["reg"], found.measure.weights
    assert reg == pytest.approx(1.0, rel=1e-12)
    best = energy.value(found.measure) + entropic(geometry, w, reg)
    assert found.objective == pytest.approx(best, rel=1e-7, abs=1e-7)
    for k in range(2):
        rival = OLD.with_weights(w + 0.1 ** (k + 1) * (GOAL.weights - w))
        value = energy.value(rival)
        if np.isfinite(value):
            assert value + entropic(geometry, rival.weights, reg) >= best - found.gap - 1e-7


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=repr)
@pytest.mark.parametrize("energy", ENERGIES, ids=repr)
def test_the_bias_bounds_the_way_to_the_exact_step(geometry, energy):
    found = jko.step(OLD, energy, geometry, TAU, solver=PLAIN)
    exact = jko.step(OLD, energy, geometry, TAU, solver=TransportProgram())
    excess = energy.value(found.measure) + geometry.penalty(found.measure, OLD, TAU)
    excess -= exact.objective
    assert -exact.gap - 1e-12 <= excess <= found.bias + exact.gap + 1e-9
    assert found.sqdistance == pytest.approx(geometry.sqdistance(OLD, found.measure), rel=1e-9)
    smaller = Entropic(reg=found.info["reg"] / 10, debias=False)
    assert jko.step(OLD, energy, geometry, TAU, solver=smaller).bias < 0.7 * found.bias


def test_the_quadratic_cost_by_any_name_is_the_same_step():
    square = Wasserstein(cost=lambda x, y: ((x[:, None] - y) ** 2).sum(-1))
    solver = Entropic(reg=0.1, debias=False)
    steps = [jko.step(OLD, ENERGIES[0], g, TAU, solver=solver) for g in (Wasserstein(), square)]
    np.testing.assert_allclose(steps[0].measure.weights, steps[1].measure.weights, atol=1e-8)
    assert steps[0].objective == pytest.approx(steps[1].objective, rel=1e-9)
    assert steps[0].bias == pytest.approx(steps[1].bias, rel=0.5)


def test_auto_takes_them_where_programs_are_too_large():
    n = 120
    x = RNG.normal(size=(n, 2))
    old = Histogram(x, RNG.dirichlet(np.ones(n)))
    energy = jko.KL(old.with_weights(RNG.dirichlet(np.ones(n))))
    for geometry in (Wasserstein(p=1), Wasserstein(p=3)):
        found = jko.step(old, energy, geometry, TAU)
        assert found.solver == "Entropic(plain)"
        assert found.success
        assert found.bias < 0.05 * (found.baseline - found.objective)
        within = jko.step(old, energy, geometry, TAU, accuracy=1e-2)
        assert within.bias + within.gap <= 1e-2 * (within.baseline - within.objective)
    sol = jko.flow(old, energy, Wasserstein(p=1), tau=TAU, steps=3)
    assert sol.success
    assert (np.diff(sol.energies) < 0).all()


def test_an_accuracy_out_of_reach_names_the_exact_program():
    with pytest.raises(jko.StepFailed, match=r"use jko\.solvers\.TransportProgram") as caught:
        jko.step(OLD, ENERGIES[0], Wasserstein(p=1), TAU, solver=PLAIN, accuracy=1e-9)
    assert caught.value.result.info["accuracy"] > 1e-9
    exact = jko.step(OLD, ENERGIES[0], Wasserstein(p=1), TAU, solver=TransportProgram())
    assert exact.success


@pytest.mark.parametrize("solver", [Entropic(), Entropic(debias="half"), Entropic(backend="pot")])
def test_only_plain_steps_take_them(solver):
    with pytest.raises(jko.Unsupported, match="in plain steps alone; pass debias=False"):
        jko.step(OLD, ENERGIES[0], Wasserstein(p=3), TAU, solver=solver)
    assert jko.step(OLD, ENERGIES[0], Wasserstein(p=3), TAU, solver=PLAIN).success


def test_no_mass_goes_to_another_piece_of_a_graph():
    half = csr_array(RING.toarray() * (np.arange(N) != 6)[:, None])
    old = OLD.with_weights(np.where(np.arange(N) <= 6, OLD.weights, 0.0))
    energy = jko.Potential(lambda x: x[:, 0])
    found = jko.step(old, energy, Wasserstein(p=1, cost=half), TAU, solver=PLAIN)
    assert found.measure.weights[7:].max() == 0
    assert found.measure.mass == pytest.approx(old.mass, rel=1e-12)
