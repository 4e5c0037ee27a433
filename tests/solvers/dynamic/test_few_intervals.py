"""Few intervals by Newton's method: the gap, the system, and the splitting's opinion."""

from dataclasses import replace

import numpy as np
import pytest

import jko
from jko.prox import ProxProblem
from jko.solvers.dynamic.newton import applies, few_intervals
from jko.solvers.dynamic.run import solve
from jko.solvers.dynamic.saddle import SaddleSystem
from jko.solvers.dynamic.stated import DynamicStep

WELL = jko.Potential(lambda x: 0.5 * (x**2).sum(axis=1))
ENERGIES = {
    "porous": jko.PorousMedium(2),
    "steep": jko.PorousMedium(4) + 0.1 * WELL,
    "crowd": WELL + jko.BoxConstraint(0.6),
    "entropy": WELL + jko.Entropy(),
    "sum": jko.Entropy() + jko.PorousMedium(2),
}
GEOMETRIES = {"w2": jko.Wasserstein(), "wfr": jko.WassersteinFisherRao(0.8, 1.3)}


def stated(energy, geometry, n=16, mask=None, periodic=False, tau=0.05, slices=1):
    grid = jko.Grid([-3, -3], [3, 3], [n, n], mask=mask, periodic=periodic)
    free = np.ones(grid.size) if grid.mask is None else grid.mask
    x = grid.points - [0.8, 0.4]
    rho = jko.GridDensity.from_density(free * np.exp(-2 * (x**2).sum(axis=1)), grid, mass=1.3)
    return DynamicStep(ProxProblem(energy, geometry, rho, tau), slices)


@pytest.mark.parametrize("slices", [1, 4])
@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("name", ENERGIES)
def test_the_gap_closes(name, geometry, slices):
    n = 16 if slices == 1 else 10
    problem = stated(ENERGIES[name], GEOMETRIES[geometry], n=n, slices=slices).discrete
    found = few_intervals(problem, 1e-7, 0.0)
    assert found is not None
    size = max(abs(found.best.value), found.best.action)
    assert -1e-12 * size <= found.best.value - found.lower <= 1e-7 * size


@pytest.mark.parametrize("slices", [1, 3])
@pytest.mark.parametrize("name", ["porous", "crowd", "entropy"])
def test_the_splitting_agrees_within_both_gaps(name, slices):
    problem = stated(ENERGIES[name], GEOMETRIES["w2"], n=12, slices=slices).discrete
    one, two = few_intervals(problem, 1e-7, 0.0), solve(problem, 1e-3, 2000)
    assert one is not None
    slack = 1e-12 * abs(two.upper)
    assert two.lower <= one.best.value + slack
    assert one.lower <= two.upper + slack


def test_obstacles_and_axes_that_lead_round():
    mask = np.ones((14, 14), dtype=bool)
    mask[6:8, 2:9] = False
    for more in ({"mask": mask}, {"periodic": True}):
        step = stated(ENERGIES["porous"], GEOMETRIES["w2"], n=14, **more)
        mu = step.problem.previous
        out = jko.step(
            mu, ENERGIES["porous"], GEOMETRIES["w2"], 0.05,
            solver=jko.solvers.Dynamic(bias=False), tol=1e-7,
        )  # fmt: skip
        assert out.success
        assert out.iterations <= 30
        if "mask" in more:
            assert (out.measure.weights[~mask.ravel()] == 0).all()


@pytest.mark.parametrize("slices", [1, 3])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_the_system_is_the_derivative_of_the_residuals(geometry, slices):
    problem = stated(ENERGIES["sum"], GEOMETRIES[geometry], n=6, slices=slices).discrete
    system, rng = SaddleSystem(problem), np.random.default_rng(0)
    w, phi = rng.uniform(0.1, 1.0, system.energy.n), rng.normal(size=system.total)
    rows, columns, cross = system.blocks(w, phi)
    matrix = np.block(
        [[rows.toarray(), cross.T.toarray()], [cross.toarray(), -problem.tau * columns.toarray()]]
    )
    point, h = np.concatenate([w, phi]), 1e-6
    for way in rng.normal(size=(4, point.size)) * 0.1:
        sides = []
        for sign in (1, -1):
            first, second = system.residuals(*np.split(point + sign * h * way, [w.size]))
            sides.append(np.concatenate([second, first]))
        change = (sides[0] - sides[1]) / (2 * h)
        np.testing.assert_allclose(
            matrix @ way, change, rtol=1e-5, atol=1e-6 * np.abs(change).max()
        )


def test_where_it_does_not_apply_the_splitting_does():
    assert not applies(replace(stated(ENERGIES["porous"], GEOMETRIES["w2"]).discrete, slices=64))
    walled = WELL + jko.Potential(lambda x: np.where(x[:, 0] > 2, np.inf, 0.0))
    step = stated(jko.PorousMedium(2), GEOMETRIES["w2"])
    w = np.where(step.problem.previous.points[:, 0] > 1.9, 0.0, step.problem.previous.weights)
    mu = step.problem.previous.with_weights(w)
    out = jko.step(
        mu, jko.PorousMedium(2) + walled, GEOMETRIES["w2"], 0.05,
        solver=jko.solvers.Dynamic(bias=False), tol=1e-4, throw=False,
    )  # fmt: skip
    assert out.gap is not None
