"""The bias of a step with sources on a grid is not known where its bound proved nothing."""

from dataclasses import replace

import numpy as np
import pytest

import jko
from jko.solvers.unbalanced.grid_error import on_densities


@pytest.mark.parametrize(
    ("bound", "proved", "known"),
    [(True, np.inf, False), (True, 1e-3, True), (True, None, False), (False, None, True)],
)
def test_a_bound_without_a_proof_is_no_bias(bound, proved, known):
    """What was asked for and is not there leaves none; what was switched off, the estimate."""
    grid = jko.Grid([0.0], [1.0], [12])
    mu = jko.GridDensity(grid, np.arange(1, 13) / 78)
    problem = jko.ProxProblem(jko.Entropy(), jko.WassersteinFisherRao(1, 1), mu, 0.1)
    solver = jko.solvers.UnbalancedScaling(bound=bound)
    answer = solver.solve(problem, jko.solvers.Controls(tol=1e-9))
    info = {**answer.info, "bias_reg": proved}
    found = on_densities(problem, replace(answer, bias=proved, info=info), 0.01)
    assert (found.bias is not None) == known


@pytest.mark.parametrize(
    ("shape", "known"), [((12,) * 3, True), ((10, 12, 13), True), ((13,) * 3, False)]
)
def test_grids_in_space_are_compared_with_coarser_cells(shape, known):
    """Refined they have too many cells; only axes of odd numbers of cells leave no others."""
    grid = jko.Grid([-1.0] * 3, [1.0] * 3, shape)
    mu = jko.GridDensity.from_function(lambda x: np.exp(-4 * (x**2).sum(-1)), grid, mass=1)
    energy = jko.Entropy() + jko.Potential(lambda x: ((x - 0.2) ** 2).sum(-1))
    found = jko.step(mu, energy, jko.WassersteinFisherRao(1, 1), 0.1)
    assert (found.bias is not None) == known
    assert np.isfinite(found.info["bias_grid"]) == known


def test_coarser_cells_say_no_less_than_finer_ones(monkeypatch):
    """Where both can be asked, on smooth densities: within a factor of two."""
    grid = jko.Grid([-1.0] * 2, [1.0] * 2, [16, 16])
    mu = jko.GridDensity.from_function(lambda x: np.exp(-4 * (x**2).sum(-1)), grid, mass=1)
    energy = jko.Entropy() + jko.Potential(lambda x: ((x - 0.2) ** 2).sum(-1))
    solver = jko.solvers.UnbalancedScaling()
    found = []
    for most in (4096, 0):
        monkeypatch.setattr("jko.solvers.unbalanced.grid_error.FINE", most)
        step = jko.step(mu, energy, jko.WassersteinFisherRao(1, 1), 0.1, solver=solver)
        found.append(step.info["bias_grid"])
    assert 0.5 * found[0] <= found[1] <= 2 * found[0]
