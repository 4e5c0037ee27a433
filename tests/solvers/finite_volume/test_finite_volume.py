"""Finite-volume steps: promises, exact flows, orders."""

import re

import numpy as np
import pytest
from generators import measures

import jko
from jko import ProxProblem, reference
from jko.solvers import FiniteVolume, TransportProgram
from jko.solvers.auto import short_step
from jko.testing import check_solver

W = jko.Wasserstein()
GAUSS = jko.kernels.Gaussian(0.8)
DRIFT = jko.Potential(lambda x: 2.0 * x[:, 0] - (x**2).sum(axis=1))
WALL = jko.Potential(lambda x: np.where(np.abs(x[:, 0]) < 0.3, np.inf, x[:, -1]))


def energies(mu):
    target = mu.with_weights(measures.weights(mu.n, seed=8, mass=mu.mass, zeros=0))
    return {
        "entropy": jko.Entropy() + DRIFT,
        "kl": jko.KL(target),
        "porous": jko.PorousMedium(2.0),
        "steep": 0.3 * jko.PorousMedium(4.0) + DRIFT,
        "fast": jko.PorousMedium(0.7),
        "chi2": jko.PhiDivergence(target, p=2),
        "potential": DRIFT,
        "mmd": jko.MMDEnergy(target, GAUSS) + 0.2 * jko.Entropy(),
        "both": jko.Entropy() + jko.PorousMedium(3.0),
    }


SHAPES = {1: (24,), 2: (7, 6), 3: (4, 3, 5)}


@pytest.mark.parametrize("tau", [1e-3, 0.1, 20.0])
@pytest.mark.parametrize("dim", sorted(SHAPES))
def test_mass_positivity_and_energy_of_any_step(dim, tau):
    mu = measures.grid_density(SHAPES[dim], seed=dim, mass=1.7)  # a fifth of the cells is empty
    for name, energy in energies(mu).items():
        result = jko.step(mu, energy, W, tau, solver=FiniteVolume(), throw=False)
        assert result.success, f"{name}: {result.message}"
        assert abs(result.measure.mass / mu.mass - 1) < 1e-12, name
        assert result.measure.weights.min() >= 0, name
        assert result.energy <= energy.value(mu) + 1e-12, name
        assert result.objective <= result.baseline + result.gap, name


@pytest.mark.parametrize("dim", sorted(SHAPES))
def test_the_stated_problem_is_solved_and_its_certificate_tells_the_truth(dim):
    mu = measures.grid_density(SHAPES[dim], seed=dim, mass=1.7, zeros=0)
    for energy in energies(mu).values():
        problem = ProxProblem(energy, 0.5 * W, mu, 0.05)
        assert check_solver(FiniteVolume(), problem) == ["certified", "result", "rivals", "gap"]


def test_walls_hold_and_parts_keep_their_mass():
    grid = jko.Grid([-1.0, -1.0], [1.0, 1.0], [10, 8])
    weights = measures.weights(80, seed=2, zeros=0)
    weights[np.abs(grid.points[:, 0]) < 0.3] = 0
    mu = jko.GridDensity(grid, weights)
    left = grid.points[:, 0] < 0
    for energy in (jko.Entropy() + WALL, jko.PorousMedium(2.0) + WALL):
        found = jko.step(mu, energy, W, 1.0, solver=FiniteVolume()).measure
        assert (found.weights[weights == 0] == 0).all()
        assert found.weights[left].sum() == pytest.approx(weights[left].sum(), rel=1e-12)


@pytest.mark.parametrize("name", ["entropy", "steep"])
def test_equilibria_stay(name):
    # f constant where there is mass.
    grid = jko.Grid(-2.0, 2.0, 50)
    if name == "entropy":
        mu = jko.GridDensity.from_function(lambda x: np.exp(-(x[:, 0] ** 4)), grid)
        energy = jko.Entropy() + jko.Potential(lambda x: x[:, 0] ** 4)
    else:
        mu = jko.GridDensity.from_function(lambda x: np.maximum(1 - x[:, 0] ** 2, 0) / 2, grid)
        energy = jko.PorousMedium(2.0) + jko.Potential(lambda x: x[:, 0] ** 2)
    found = jko.step(mu, energy, W, 5.0, solver=FiniteVolume())
    np.testing.assert_allclose(found.measure.weights, mu.weights, atol=1e-14)


# -- the PDE ---------------------------------------------------------------------------------------


def drift_error(cells, tau, t1=0.05, scheme="implicit"):
    """L1 distance to the exact solution of formula W6."""
    grid = jko.Grid(0.0, 1.0, cells)
    exact = lambda t: jko.GridDensity.from_density(
        reference.drift_density(grid.points[:, 0], t, 2.0), grid
    )
    energy = jko.Entropy() + jko.Potential(lambda x: -2.0 * x[:, 0])
    settings = {"tau": tau, "t1": t1, "solver": FiniteVolume(), "save": "last", "scheme": scheme}
    found = jko.flow(exact(0.0), energy, W, **settings).final
    return float(np.abs(found.weights - exact(t1).weights).sum())


def test_drift_is_first_order_in_tau_and_second_in_h():
    taus = [drift_error(400, tau) for tau in (1 / 320, 1 / 640, 1 / 1280)]
    assert np.log2(taus[0] / taus[1]) == pytest.approx(1.0, abs=0.1)
    assert np.log2(taus[1] / taus[2]) == pytest.approx(1.0, abs=0.1)
    # Richardson leaves an error of tau^2, so that h shows.
    cells = [drift_error(n, 1 / 640, scheme="richardson") for n in (8, 16, 32)]
    assert np.log2(cells[0] / cells[1]) == pytest.approx(2.0, abs=0.2)
    assert cells[2] < 1.1e-3


def test_richardson_makes_it_second_order_in_tau():
    errors = [drift_error(1000, tau, scheme="richardson") for tau in (1 / 80, 1 / 160, 1 / 320)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.2)


@pytest.mark.parametrize("m", [2.0, 4.0])
def test_barenblatt_late_in_the_flow(m):
    # Formula W5 on the line, from the profile at t = 1 on, in short steps.
    solution = reference.Barenblatt(1, m, 0.5, 15.0, 1e-3)
    grid = jko.Grid(-0.5, 0.5, 256)
    scale = solution.flow(solution.start, 1.0)
    settings = {"tau": 1e-3, "steps": 100, "solver": FiniteVolume(), "save": "last"}
    found = jko.flow(solution.on(grid, scale), 1e-3 * jko.PorousMedium(m), W, **settings).final
    exact = solution.on(grid, solution.flow(scale, 0.1))
    error = np.abs(found.weights - exact.weights).sum()
    assert error < 5e-4


def test_it_nears_the_wasserstein_step_as_the_square_of_the_model_error():
    grid = jko.Grid(-4.0, 4.0, 800)

    def bell(mean, std):
        density = lambda x: np.exp(-((x[:, 0] - mean) ** 2) / (2 * std**2))
        return jko.GridDensity.from_function(density, grid, mass=1.0)

    energy = jko.Entropy() + jko.Potential(lambda x: 0.5 * x[:, 0] ** 2)
    errors, models = [], []
    for tau in (0.02, 0.01, 0.005):
        found = jko.step(bell(1.0, 0.6), energy, W, tau, solver=FiniteVolume())
        exact = bell(*reference.ou_step(1.0, 0.6, tau))
        errors.append(np.abs(found.measure.weights - exact.weights).sum())
        models.append(found.info["model_error"])
    assert np.log(errors[0] / errors[2]) / np.log(models[0] / models[2]) == pytest.approx(
        2, abs=0.2
    )
    assert all(e <= 2 * q**2 for e, q in zip(errors, models, strict=True))


def test_the_bias_has_the_size_of_what_the_wasserstein_objective_says():
    grid = jko.Grid(-3.0, 3.0, 48)
    rho = jko.GridDensity.from_function(lambda x: np.exp(-2 * (x[:, 0] - 0.5) ** 2), grid, mass=1.0)
    problem = ProxProblem(jko.Entropy(), W, rho, 0.2)
    volume = jko.step(rho, jko.Entropy(), W, 0.2, solver=FiniteVolume())
    exact = jko.step(rho, jko.Entropy(), W, 0.2, solver=TransportProgram())
    excess = problem.objective(volume.measure) - exact.objective
    assert -1e-9 <= excess <= volume.bias


# -- settings and refusals -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("energy", "tau", "why"),
    [
        (jko.PorousMedium(2.0), 10.0, r"with a model error q = .*, which others do better"),
        (
            1e-3 * jko.PorousMedium(2.0) + jko.Potential(lambda x: 300.0 * x[:, 0]),
            1e-3,
            r"mass moves by .* cells",
        ),
        (jko.Entropy(), 1e-6, "entropic step is the closer one"),
        (jko.Potential(lambda x: 300.0 * x[:, 0]), 1e-6, "smears"),
        (jko.PorousMedium(2.0) + jko.BoxConstraint(1e3), 1e-6, "edges of crowds smear"),
    ],
)
def test_auto_says_where_the_linearisation_is_not_worth_it(energy, tau, why):
    mu = measures.grid_density((20,), seed=1, zeros=0)
    problem = ProxProblem(energy, W, mu, tau)
    assert re.search(why, short_step(problem))
    assert FiniteVolume().accepts(problem) is None
    assert short_step(ProxProblem(jko.PorousMedium(2.0), W, mu, 1e-4)) is None


def test_a_deprecated_limit_says_that_it_does_nothing():
    with pytest.warns(DeprecationWarning, match="limit has no effect"):
        FiniteVolume(limit=0.004)


def test_auto_takes_it_for_fronts_in_short_steps_only():
    grid = jko.Grid(-0.5, 0.5, 128)
    solution = reference.Barenblatt(1, 2.0, 0.5, 15.0, 1e-3)
    mu = solution.on(grid, solution.flow(solution.start, 1.0))
    energy = 1e-3 * jko.PorousMedium(2.0)
    assert jko.step(mu, energy, W, 1e-3).solver == "FiniteVolume"
    assert jko.solvers_for(mu, energy, W, 0.4)[0].name == "BackAndForth"
    assert jko.solvers_for(mu, jko.Entropy(), W, 1e-3)[0].name == "Entropic"


@pytest.mark.parametrize("tau", [1e-3, 1.0])
def test_auto_takes_it_where_nobody_else_can(tau):
    mask = np.ones((20, 16), dtype=bool)
    mask[10, :9] = False
    grid = jko.Grid([-1.0, -1.0], [1.0, 1.0], [20, 16], mask=mask)
    mu = jko.GridDensity.from_function(lambda x: np.exp(-5 * (x**2).sum(axis=1)), grid, mass=1.0)
    for energy in (jko.Entropy(), jko.KL(mu) + jko.PorousMedium(2.0), DRIFT):
        assert jko.step(mu, energy, W, tau).solver == "FiniteVolume"


@pytest.mark.parametrize("tau", [1e-3, 0.3])
def test_auto_takes_it_for_a_callable_interaction(tau):
    grid = jko.Grid([-1.0, -1.0], [1.0, 1.0], [24, 24])
    mu = jko.GridDensity.from_function(lambda x: np.maximum(0.3 - (x**2).sum(axis=1), 0), grid)
    well = jko.Interaction(lambda z: -np.exp(-3 * (z**2).sum(axis=1)))
    for energy in (well, 0.05 * jko.PorousMedium(2.0) + well, 0.05 * jko.Entropy() + well):
        found = jko.step(mu, energy, W, tau)
        assert found.solver == "FiniteVolume"
        assert found.measure.mass == pytest.approx(mu.mass, rel=1e-13)
        np.testing.assert_allclose(found.measure.mean, 0, atol=1e-12)
        assert found.energy < energy.value(mu)
    # The same kernel by its name, its sign reversed, is a positive definite one with the same step.
    bump = jko.Interaction(lambda z: np.exp(-3 * (z**2).sum(axis=1)))
    named = jko.Interaction(jko.kernels.Gaussian(np.sqrt(1 / 6)))
    steps = [jko.step(mu, e, W, tau, solver=FiniteVolume()).measure for e in (bump, named)]
    np.testing.assert_allclose(steps[0].weights, steps[1].weights, atol=1e-13)


@pytest.mark.parametrize(
    ("energy", "words"),
    [
        (jko.BoxConstraint(0.01), r"less than the mass"),
        (jko.InclusiveKL(measures.grid_density((6, 5), seed=4, zeros=0)), "powers p >= 1"),
        (jko.Entropy() + WALL, "charges cells that the energy closes"),
    ],
)
def test_refusals(energy, words):
    with pytest.raises(jko.Unsupported, match=words):
        jko.step(measures.grid_density(zeros=0), energy, W, 0.1, solver=FiniteVolume())
    with pytest.raises(jko.Unsupported, match="GridDensity"):
        jko.step(measures.histogram(), jko.Entropy(), W, 0.1, solver=FiniteVolume())


def test_too_few_iterations_say_so():
    mu = measures.grid_density((30,), seed=1)
    found = jko.step(
        mu, jko.PorousMedium(4.0), W, 1.0, solver=FiniteVolume(), max_iter=1, throw=False
    )
    assert found.status is jko.Status.MAX_ITERATIONS
    assert found.gap > 1e-9
