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
