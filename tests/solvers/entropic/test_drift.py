"""Densities on grids in a potential alone: they go all of their way, also within a cell."""

import numpy as np
import pytest

import jko

GRID = jko.Grid(-1, 1, 128)
RHO = jko.GridDensity.from_function(lambda x: np.exp(-50 * (x[:, 0] - 0.3) ** 2), GRID, mass=1)


@pytest.mark.parametrize("tau", [0.01, 0.1, 0.5])  # .4 to 10 cells
def test_a_well_draws_mean_and_width_by_the_exact_factor(tau):
    """min x^2 + |x - y|^2/(2 tau) at y/(1 + 2 tau): mean and deviation shrink by that."""
    found = jko.step(RHO, jko.Potential(lambda x: x[:, 0] ** 2), jko.Wasserstein(), tau)
    assert found.success
    assert found.measure.mean[0] == pytest.approx(RHO.mean[0] / (1 + 2 * tau), rel=1e-6)
    width = np.sqrt(RHO.cov[0, 0]) / (1 + 2 * tau)
    assert np.sqrt(found.measure.cov[0, 0]) == pytest.approx(width, rel=3e-3)


def test_a_slope_moves_a_block_by_its_length():
    block = jko.GridDensity.from_function(lambda x: np.abs(x[:, 0]) < 0.3, GRID, mass=1)
    found = jko.step(block, jko.Potential(lambda x: x[:, 0]), jko.Wasserstein(), 0.0371)
    assert found.measure.mean[0] == pytest.approx(block.mean[0] - 0.0371, abs=1e-6)


def test_single_cells_bounds_and_atoms_are_left_to_others():
    well = jko.Potential(lambda x: x[:, 0] ** 2)
    one = RHO.with_weights(np.eye(128)[90])
    assert jko.step(one, well, jko.Wasserstein(), 0.1).solver == "LinearTransport"
    atoms = jko.Histogram(RHO.points, RHO.weights)
    assert jko.step(atoms, well, jko.Wasserstein(), 0.1).solver == "LinearTransport"
    bounded = jko.step(RHO, well + jko.BoxConstraint(5.0), jko.Wasserstein(), 0.1)
    assert bounded.measure.density.max() <= 5 * (1 + 1e-9)
