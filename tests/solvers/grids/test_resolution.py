"""A grid too coarse for a step is told, with the numbers that would do."""

import re
import warnings

import numpy as np
import pytest

import jko
from jko.prox.problem import ProxProblem
from jko.solvers import BackAndForth, Entropic, TransportProgram
from jko.solvers.grids.resolution import blocks, squared_cells

W = jko.Wasserstein()
WELL = jko.Potential(lambda x: 0.5 * (x**2).sum(axis=1))


def bump(cells=30, width=6.0):
    grid = jko.Grid(-width / 2, width / 2, cells)
    return jko.GridDensity.from_function(lambda x: np.exp(-(x[:, 0] ** 2)), grid, mass=2.0)


@pytest.mark.parametrize("solver", [
    Entropic(debias=False), Entropic(debias="half"), BackAndForth(), TransportProgram(),
], ids=repr)  # fmt: skip
def test_the_numbers_of_the_warning_do(solver):
    mu, energy = bump(), jko.Entropy() + WELL
    with pytest.warns(jko.JkoWarning, match="too coarse for tau") as caught:
        jko.step(mu, energy, W, 1e-4, solver=solver, throw=False)
    side, tau = map(
        float, re.search(r"at most (\S+), tau >= (\S+),", str(caught[0].message)).groups()
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jko.step(mu, energy, W, 1.1 * tau, solver=solver, throw=False)
        if not isinstance(solver, TransportProgram):
            fine = bump(int(np.ceil(6.0 / (0.9 * side))))
            jko.step(fine, energy, W, 1e-4, solver=solver, throw=False)


def test_debiased_steps_and_scattered_atoms_are_right_at_any_length():
    mu = bump()
    jko.step(mu, jko.Entropy() + WELL, W, 1e-4, solver=Entropic())
    atoms = jko.Histogram(mu.points, mu.weights)
    jko.step(atoms, jko.Entropy() + WELL, W, 1e-4, solver=TransportProgram())


def test_reach_is_the_distance_in_cells():
    """Drift: |tau grad V|^2; diffusion: tau, the diffusivity of an entropy being 1."""
    mu = bump()
    (h,) = mu.grid.spacing
    drift = squared_cells(ProxProblem(jko.Potential(lambda x: 3 * x[:, 0]), W, mu, 0.5))
    np.testing.assert_allclose(drift, [0.0, (0.5 * 3 / h) ** 2], rtol=1e-3)
    diffusion = squared_cells(ProxProblem(2 * jko.Entropy(), 0.5 * W, mu, 0.5))
    np.testing.assert_allclose(diffusion, [2 * 0.25 / h**2, 0.0], rtol=1e-12)


def test_measures_on_a_single_cell_are_no_trouble():
    grid = jko.Grid([-1, -1], [1, 1], [40, 1])
    mu = jko.GridDensity.from_function(lambda x: np.exp(-4 * x[:, 0] ** 2), grid, mass=1.0)
    with pytest.warns(jko.JkoWarning, match="too coarse"):
        jko.step(mu, jko.Entropy(), W, 1e-4, solver=Entropic(debias=False), throw=False)


def test_a_target_that_rises_faster_than_the_density_is_no_gain():
    """dh' dw was -2 there: with it the bias of a step with sources was below its true excess."""
    grid = jko.Grid(0.0, 1.0, 5)
    mu = jko.GridDensity(grid, [0.1, 0.2, 0.3, 0.25, 0.15])
    steep = jko.GridDensity(grid, [0.1, 0.8, 5.0, 3.0, 0.4])
    problem = ProxProblem(jko.KL(steep), jko.Wasserstein(), mu, 0.1)
    h = problem.form.separable
    assert (np.diff(h.gradient(mu.weights)) * np.diff(mu.weights)).sum() < 0
    assert blocks(problem, mu.weights) > 0
