"""Tolerances see what is left of an energy, however huge it was before the step."""

from __future__ import annotations

import numpy as np
import pytest

import jko
from jko.prox.stated import Answer

#: Of the answer's own terms, the share that a gap may be: REACH times the largest default
#: tolerance of the solvers below, 1e-8.
SHARE = 2e-5


def sparse_target(n, least):
    """Weights (n,), one of them next to nothing, and a measure with much of its mass there."""
    target = np.linspace(1.0, 2.0, n)
    target[n // 2] = least
    before = np.full(n, 1.0)
    before[n // 2] = n / 2
    return target / target.sum(), before / before.sum()


def steps():
    """(measure, energy, geometry) whose energy is 1e9 to 1e290 before the step."""
    for least in (1e-11, 1e-60, 1e-290):
        for p in (2, 3):
            if least == 1e-290 and p == 3:  # beyond the largest double
                continue
            target, before = sparse_target(9, least)
            grid = jko.Grid([0.0], [1.0], [9])
            points = np.linspace(0, 1, 9)[:, None]
            goal = jko.PhiDivergence(jko.Histogram(points, target), p=p)
            atoms = jko.Histogram(points, before)
            on_grid = jko.PhiDivergence(jko.GridDensity(grid, target), p=p)
            label = f"p = {p}, {least:g}"
            more = jko.Interaction(jko.kernels.Gaussian(0.5))
            kernel = jko.kernels.Gaussian(0.3)
            yield pytest.param(atoms, goal, jko.MMD(kernel), id=f"MMD {label}")
            wfr = jko.WassersteinFisherRao(1.0, 1.0)
            yield pytest.param(atoms, goal, wfr, id=f"WFR {label}")
            moving = jko.Wasserstein()
            density = jko.GridDensity(grid, before)
            yield pytest.param(density, on_grid + more, moving, id=f"W {label}")


@pytest.mark.parametrize(("mu", "energy", "geometry"), list(steps()))
def test_no_gap_beyond_what_is_left_is_certified(mu, energy, geometry):
    result = jko.step(mu, energy, geometry, 1.0, throw=False)
    problem = jko.ProxProblem(energy, geometry, mu, 1.0)
    form, w = problem.form, result.measure.weights
    moved = result.sqdistance / 2
    size = form.sizes(w, geometry.conserves_mass).size + moved
    before = form.sizes(mu.weights, geometry.conserves_mass)
    assert before.size > 1e6 * size
    assert result.success
    assert abs(result.gap) <= SHARE * (size + before.slopes)


@pytest.mark.parametrize(("mu", "energy", "geometry"), list(steps()))
def test_the_certified_measure_is_as_good_as_one_of_a_finer_tolerance(mu, energy, geometry):
    result = jko.step(mu, energy, geometry, 1.0, throw=False)
    finer = jko.step(mu, energy, geometry, 1.0, tol=1e-14, throw=False)
    size = abs(finer.objective) + finer.sqdistance / 2
    if finer.solver == result.solver:  # each states a problem of its own
        assert result.objective - finer.objective <= SHARE * 10 * size


def test_the_allowance_counts_what_is_left():
    target, before = sparse_target(9, 1e-290)
    points = np.linspace(0, 1, 9)[:, None]
    mu = jko.Histogram(points, before)
    energy = jko.PhiDivergence(jko.Histogram(points, target), p=2)
    problem = jko.ProxProblem(energy, jko.Hellinger(mass="fixed"), mu, 1.0)
    assert problem.value(mu) > 1e285
    nu = mu.with_weights(target)
    allowed = problem.size(Answer(nu, problem, 0)).allowed(1e-9)
    assert 0 < allowed < 1e-4


def test_a_step_between_two_atoms_counts_what_it_gained():
    # All the mass at one atom before and after: no spread of the potential at either end.
    mu = jko.Histogram(np.array([[0.0], [1.0]]), np.array([1.0, 1e-300]))
    energy = jko.Potential(np.array([30.0, 10.0]))
    problem = jko.ProxProblem(energy, jko.SphericalHellinger(), mu, 1e5)
    nu = mu.with_weights(np.array([0.0, 1.0]))
    size, raw = problem.energy_size(nu)
    assert size == pytest.approx(20.0)
    assert raw >= size
    assert jko.step(mu, energy, jko.SphericalHellinger(), 1e5).success
