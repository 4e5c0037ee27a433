"""Cells of next to no mass do not keep mass away: a step is continuous in them."""

import numpy as np
import pytest

import jko

CELLS = 20


def start(dust, kind):
    """All mass at one cell, and some dust at the others."""
    grid, w = jko.Grid([0.0], [1.0], [CELLS]), np.full(CELLS, dust)
    w[7] = 1.0
    w /= w.sum()
    return jko.GridDensity(grid, w) if kind == "grid" else jko.Histogram(grid.points, w)


@pytest.mark.parametrize("kind", ["grid", "histogram"])
@pytest.mark.parametrize("tau", [0.01, 1.0])
def test_a_point_mass_with_dust(tau, kind):
    geometry = jko.WassersteinFisherRao(1.0, 1.0)
    solver = jko.solvers.UnbalancedScaling()
    take = lambda dust: jko.step(start(dust, kind), jko.Entropy(), geometry, tau, solver=solver)
    alone = take(0.0)
    for dust in (1e-300, 1e-14, 1e-9):
        found = take(dust)
        assert found.objective == pytest.approx(alone.objective, abs=0.02)
        assert found.bias <= 2 * alone.bias
        np.testing.assert_allclose(found.measure.weights, alone.measure.weights, atol=0.02)


@pytest.mark.parametrize("dust", [0.0, 1e-12, 1e-6, 1e-3])
def test_the_bias_covers_the_excess_between_atoms(dust):
    mu, geometry = start(dust, "histogram"), jko.WassersteinFisherRao(1.0, 1.0)
    exact = jko.step(mu, jko.Entropy(), geometry, 0.01, solver=jko.solvers.UnbalancedProgram())
    found = jko.step(mu, jko.Entropy(), geometry, 0.01, solver=jko.solvers.UnbalancedScaling())
    energy = jko.Entropy().value(found.measure)
    true = energy + geometry.sqdistance(found.measure, mu) / 0.02 - exact.objective
    assert -1e-6 <= true <= found.bias + exact.gap
