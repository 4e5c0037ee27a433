"""The same step on coarser and finer grids: masses, energies, and what walls do."""

import numpy as np
import pytest

import jko
from jko.forms.separable import Separable
from jko.prox.duality.fenchel import kl
from jko.prox.problem import ProxProblem
from jko.solvers.grids.levels import coarsened, gathered, refined

rng = np.random.default_rng(0)
GRID = jko.Grid([0.0, -1.0], [1.0, 2.0], [12, 9])


def level(energy, mu):
    return ProxProblem(energy, jko.Wasserstein(), mu, 0.1)


def noise(grid=GRID):
    return jko.GridDensity(grid, rng.exponential(size=grid.size))


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_parts_keep_the_mass_of_their_cell_and_stay_between_the_neighbours(parts):
    mu = noise()
    fine = refined(level(jko.PorousMedium(2.0), mu), parts).discrete
    cells = gathered(fine.weights, fine.grid.shape, [parts, parts])
    np.testing.assert_allclose(cells, mu.weights, rtol=1e-13)
    assert fine.weights.min() >= 0
    density = fine.weights.reshape(fine.grid.shape) * parts**2
    w = mu.weights.reshape(GRID.shape)
    around = np.pad(w, 1, mode="edge")
    near = np.stack([around[i : i + 12, j : j + 9] for i in range(3) for j in range(3)])
    low, high = (np.kron(f(near, axis=0), np.ones((parts, parts))) for f in (np.min, np.max))
    assert (density >= low - 1e-12).all()
    assert (density <= high + 1e-12).all()


def test_parts_of_a_linear_density_are_linear():
    grid = jko.Grid(0.0, 1.0, 10)
    mu = jko.GridDensity(grid, 1 + grid.points[:, 0])
    fine = refined(level(jko.Entropy(), mu), 4).discrete
    inside = slice(4, -4)  # the cells at the walls have no slope
    np.testing.assert_allclose(fine.weights[inside], (1 + fine.grid.points[inside, 0]) / 4)


def test_no_part_exceeds_the_bound_of_its_cell():
    mu = noise()
    bound = jko.BoxConstraint(1.1 * mu.density.max())
    fine = refined(level(bound, mu), 3)
    assert np.isfinite(fine.form.value(fine.discrete.weights))
    np.testing.assert_allclose(fine.form.separable.ceiling.sum(), 1.1 * mu.density.max() * 3)


ENERGIES = {
    "entropy": jko.Entropy(),
    "porous": jko.PorousMedium(3.0) + 2 * jko.PorousMedium(1.5),
    "inclusive": jko.InclusiveKL(jko.GridDensity(GRID, np.ones(GRID.size))),
    "bound": jko.BoxConstraint(1e3) + jko.Entropy(),
}


@pytest.mark.parametrize("name", ENERGIES)
def test_equal_parts_have_the_energy_of_their_cell(name):
    mu = noise()
    problem = level(ENERGIES[name], mu)
    fine = refined(problem, 2)
    equal = np.kron(mu.weights.reshape(GRID.shape), np.full((2, 2), 0.25)).ravel()
    assert fine.form.value(equal) == pytest.approx(problem.form.value(mu.weights), rel=1e-12)


def test_potentials_are_interpolated_and_walls_are_not():
    grid = jko.Grid(0.0, 1.0, 8)
    linear = jko.Potential(lambda x: np.where(x[:, 0] > 0.7, np.inf, 3 * x[:, 0]))
    mu = jko.GridDensity(grid, np.where(grid.points[:, 0] > 0.7, 0.0, 1.0))
    fine = refined(level(linear, mu), 2)
    h, x = fine.form.separable, fine.discrete.grid.points[:, 0]
    free = h.ceiling > 0
    np.testing.assert_array_equal(free, np.repeat(level(linear, mu).form.separable.ceiling > 0, 2))
    np.testing.assert_allclose(h.linear[free], 3 * x[free], atol=1e-12)


def test_references_are_interpolated_in_their_logarithm():
    grid = jko.Grid(-1.0, 1.0, 16)
    pi = jko.GridDensity.from_function(lambda x: np.exp(-x[:, 0]), grid, mass=1.0)
    h = refined(level(jko.PhiDivergence(pi, p=2), pi), 2).form.separable
    (c,) = (h.powers[p] for p in h.powers if p == 2)
    np.testing.assert_allclose(np.diff(np.log(c)), np.diff(np.log(c))[0], rtol=1e-9)


def test_coarser_than_a_refinement_is_the_grid_itself():
    grid = jko.Grid([0, 0], [1, 1], [32, 32])
    mu = noise(grid)
    problem = level(0.3 * jko.Entropy() + jko.PorousMedium(2.0), mu)
    again = coarsened(refined(problem, 2))
    assert again.discrete.grid == grid
    w = rng.exponential(size=grid.size)
    assert again.form.value(w) - again.form.value(mu.weights) == pytest.approx(
        problem.form.value(w) - problem.form.value(mu.weights), rel=1e-10
    )
    assert isinstance(again.form.separable, Separable)


def test_the_kl_term_survives_weights_that_are_next_to_nothing():
    log_w = np.array([-740.0, -5.0, -np.inf, -40.0])
    log_v = np.array([-20.0, -5.0 + 1e-9, -30.0, -41.0])
    w, v = np.exp(log_w), np.exp(log_v)
    exact = v[0] + v[2] + v[3]  # w log(w/v) - w + v: at -40 against -41 the first two cancel
    assert kl(w, log_w, log_v) == pytest.approx(exact, rel=1e-12)
