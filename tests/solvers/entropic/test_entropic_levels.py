"""Entropic steps on large grids: levels, the half step, periodic boxes, sharp fronts."""

import numpy as np
import pytest

import jko
from jko import reference
from jko.prox.problem import ProxProblem
from jko.solvers import Entropic
from jko.solvers.entropic.stated import EntropicStep
from jko.solvers.grids.levels import coarsened, prolonged

W2 = jko.Wasserstein()


def barenblatt(cells, scale, solution):
    return solution.on(jko.Grid([-0.5, -0.5], [0.5, 0.5], [cells, cells]), scale)


@pytest.mark.parametrize(("m", "bound"), [(2.0, 1.5e-3), (6.0, 6e-3)])
@pytest.mark.parametrize("debias", [True, "half"])
def test_sharp_fronts_by_default_settings(m, bound, debias):
    # Formula W5 at 64^2: the whole mass moves, the peak falls from 15 to 2 or 3 in one step.
    solution = reference.Barenblatt(2, m, 0.5, 15.0, 1e-3)
    mu = barenblatt(64, solution.start, solution)
    exact = barenblatt(64, solution.jko(solution.start, 0.4), solution)
    # The terms of the energy are up to 40: the gap asked for is 1e-8 in its own unit.
    solver = Entropic(debias=debias)
    out = jko.step(mu, 1e-3 * jko.PorousMedium(m), W2, 0.4, solver=solver, tol=2e-10)
    assert out.success
    assert out.gap <= 1e-8
    assert out.measure.mass == pytest.approx(0.5, abs=1e-12)
    assert np.abs(out.measure.weights - exact.weights).sum() <= bound


def test_steps_of_a_few_cells_are_certified_with_most_cells_empty():
    # Weights fall to 1e-320 before they vanish: every term of the gap has to survive that.
    solution = reference.Barenblatt(2, 6.0, 0.5, 15.0, 1e-3)
    mu = barenblatt(160, solution.start, solution)
    exact = barenblatt(160, solution.jko(solution.start, 0.05), solution)
    out = jko.step(mu, 1e-3 * jko.PorousMedium(6.0), W2, 0.05, solver=Entropic(), tol=2e-12)
    assert out.gap <= 1e-10
    assert np.abs(out.measure.weights - exact.weights).sum() <= 4e-3


def smooth_problem(cells=40):
    grid = jko.Grid([-4, -4], [4, 4], [cells, cells])
    mu = jko.GridDensity.from_function(
        lambda x: np.exp(-((x - [1.5, 0.5]) ** 2).sum(1) / 0.5), grid, mass=1.0
    )
    return ProxProblem(jko.KL(jko.Gaussian([0, 0], np.eye(2))), W2, mu, 0.1)


@pytest.mark.parametrize("debias", [True, False, "half"])
def test_gap_bounds_what_competitors_win(debias):
    problem = smooth_problem(16)
    out = jko.step(problem.previous, problem.energy, W2, 0.1, solver=Entropic(0.5, debias))
    stated = EntropicStep(problem, 0.5, debias)
    best = stated.objective(out.measure)
    assert best == pytest.approx(out.objective, abs=1e-9)
    rng = np.random.default_rng(0)
    for size in (1e-3, 1e-2, 0.3):
        rival = out.measure.weights * np.exp(size * rng.standard_normal(out.measure.n))
        nu = out.measure.with_weights(rival / rival.sum())
        assert stated.objective(nu) >= best - out.gap - 1e-12


@pytest.mark.parametrize("periodic", [False, True, (True, False)])
@pytest.mark.parametrize(("order", "rate", "wall"), [(1, 2, 1), (3, 4, 3)])
def test_orders_of_prolongation(order, rate, wall, periodic):
    """Second and fourth order on circles, one less than the degree at walls and their corners."""
    errors = []
    for n in (32, 64):
        a, b = (jko.Grid([0, 0], [1, 1], [k * n, k * n], periodic=periodic) for k in (1, 2))
        f = lambda x: np.sin(2 * np.pi * x[:, 0]) * np.cos(2 * np.pi * x[:, 1] + 0.3)
        errors.append(np.abs(prolonged(f(a.points), a, b, order) - f(b.points)).max())
    expected = rate if periodic is True else wall
    assert np.log2(errors[0] / errors[1]) == pytest.approx(expected, abs=0.35)


def test_counts_say_what_a_step_costs():
    """Products by grid and by stage, judge and bias included; few on the grid itself."""
    problem = smooth_problem(160)
    r = jko.step(problem.previous, problem.energy, W2, 0.1, solver=Entropic())
    info = r.info
    assert info["products"]["160x160"] <= 24  # 19
    assert info["products"]["80x80"] > 0
    assert sum(info["products"].values()) == sum(info["products_by_stage"].values())
    assert info["products_by_stage"]["judge"] == 2
    assert info["products_by_stage"].get("bias", 0) <= 1
    assert info["sweeps"] == r.iterations
    assert {"levels", "sweeps", "report", "bias"} <= set(info["seconds_by_stage"])
    assert min(info["seconds_by_stage"].values()) >= 0
    without = jko.step(problem.previous, problem.energy, W2, 0.1, solver=Entropic(bound=False))
    assert without.bias is None
    assert "bias" not in without.info["seconds_by_stage"]
    np.testing.assert_array_equal(without.measure.weights, r.measure.weights)


def test_coarse_levels_hold_the_same_energy():
    problem = smooth_problem(64)
    level = coarsened(problem)
    assert level.discrete.grid.shape == (32, 32)
    assert level.discrete.mass == pytest.approx(1.0)
    # Equal weights on the cells of a coarse cell have the energy of the coarse weight.
    blocks = np.kron(level.discrete.weights.reshape(32, 32), np.ones((2, 2)) / 4).ravel()
    constant = problem.form.separable.constant
    assert level.form.value(level.discrete.weights) + constant == pytest.approx(
        problem.form.value(blocks), rel=1e-12
    )


def test_periodic_heat_flow_decays_like_fourier():
    # F = entropy: a small wave of wave number k decays by 1/(1 + tau k^2) a step.
    grid = jko.Grid([0.0, 0.0], [1.0, 1.0], [64, 24], periodic=True)
    wave = lambda x: np.cos(2 * np.pi * x[:, 0])
    mu = jko.GridDensity.from_function(lambda x: 1 + 1e-3 * wave(x), grid, mass=1.0)
    tau = 0.01
    out = jko.step(mu, jko.Entropy(), W2, tau, solver=Entropic(2e-3), tol=1e-12)
    factor = out.measure.expect(wave) / mu.expect(wave)
    assert factor == pytest.approx(1 / (1 + tau * (2 * np.pi) ** 2), rel=2e-3)
    shifted = mu.with_weights(np.roll(mu.density, 32, axis=0).ravel() * grid.cell_volume)
    again = jko.step(shifted, jko.Entropy(), W2, tau, solver=Entropic(2e-3), tol=1e-12)
    moved = np.roll(again.measure.density, -32, axis=0)
    np.testing.assert_allclose(moved, out.measure.density, rtol=1e-6)


def test_half_step_refusals():
    points = np.random.default_rng(0).normal(size=(20, 2))
    hist = jko.Histogram(points, np.ones(20) / 20)
    with pytest.raises(jko.Unsupported, match="GridDensity"):
        jko.step(hist, jko.Entropy(), W2, 0.1, solver=Entropic(debias="half"))
    with pytest.raises(jko.InvalidArgument, match="'half'"):
        Entropic(debias="full")
