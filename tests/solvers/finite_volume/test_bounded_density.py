"""Crowds: finite-volume steps under a bound on the density (formula W7)."""

import numpy as np
import pytest
from generators import measures

import jko
from jko.prox import ProxProblem
from jko.prox.stated import Controls
from jko.solvers import FiniteVolume
from jko.solvers.finite_volume.newton import Newton
from jko.solvers.finite_volume.scheme import CellScheme
from jko.testing import check_solver

W = jko.Wasserstein()
PULL = jko.Potential(lambda x: x[:, 0])


def block(cells, left=0.5):
    """A full block of width 1/4."""
    grid = jko.Grid([0.0, 0.0], [1.0, 1.0], [cells, cells])
    x, y = grid.points.T
    inside = (x > left) & (x < left + 0.25) & (y > 0.25) & (y < 0.75)
    return jko.GridDensity.from_density(inside.astype(float), grid)


def crowd(shape, seed=0, mass=0.4):
    """Densities between 0 and 1, a fifth of the cells empty, on the unit box."""
    grid = jko.Grid([0.0] * len(shape), [1.0] * len(shape), shape)
    w = measures.weights(grid.size, seed=seed, zeros=grid.size // 5)
    return jko.GridDensity.from_density(np.minimum(w / w.max(), 0.9), grid, mass=mass)


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_a_full_block_moves_at_the_speed_of_the_slope(share):
    mu = block(32)
    tau = share / 32
    found = jko.step(mu, jko.BoxConstraint(1.0) + PULL, W, tau, solver=FiniteVolume())
    np.testing.assert_allclose(found.measure.mean - mu.mean, [-tau, 0], atol=1e-12)
    assert found.gap < 1e-12


def smearing(cells):
    mu, tau = block(cells), 0.5 / cells
    energy = jko.BoxConstraint(1.0) + PULL
    settings = {"tau": tau, "t1": 0.125, "solver": FiniteVolume(), "save": "last"}
    found = jko.flow(mu, energy, W, **settings).final
    np.testing.assert_allclose(found.mean - mu.mean, [-0.125, 0], atol=1e-4)
    return float(np.abs(found.weights - block(cells, 0.375).weights).sum()) / mu.mass


def test_its_edges_smear_as_the_root_of_the_cell():
    errors = [smearing(n) for n in (32, 64, 128)]
    assert np.log2(errors[1] / errors[2]) == pytest.approx(0.5, abs=0.1)
    assert errors[2] < 0.3


ENERGIES = {
    "crowd": jko.BoxConstraint(1.0) + PULL,
    "porous": jko.BoxConstraint(1.0) + 0.02 * jko.PorousMedium(2.0) + PULL,
    "entropy": jko.BoxConstraint(1.0) + 0.02 * jko.Entropy() + PULL,
    "kernel": jko.BoxConstraint(1.0) + jko.Interaction(lambda z: -np.exp(-4 * (z**2).sum(axis=1))),
}


@pytest.mark.parametrize("tau", [1e-3, 0.1, 20.0])
@pytest.mark.parametrize("shape", [(24,), (17, 16), (4, 3, 5)])
@pytest.mark.parametrize("name", sorted(ENERGIES))
def test_promises_of_any_step(name, shape, tau):
    mu = crowd(shape)
    found = jko.step(mu, ENERGIES[name], W, tau, solver=FiniteVolume(), throw=False)
    if name == "kernel" and tau > 1 and not found.success:
        assert found.status is jko.Status.MAX_ITERATIONS  # many equilibria, no convergence promised
        return
    assert found.success, found.message
    assert abs(found.measure.mass / mu.mass - 1) < 1e-12
    assert found.measure.weights.min() >= 0
    assert found.measure.density.max() <= 1 + 1e-11
    assert found.energy <= ENERGIES[name].value(mu) + 1e-12


@pytest.mark.parametrize("name", ["crowd", "porous", "entropy"])
def test_the_certificate_tells_the_truth(name):
    problem = ProxProblem(ENERGIES[name], 0.5 * W, crowd((6, 7), seed=3), 2.0)
    answer = FiniteVolume().solve(problem, Controls(tol=1e-9))
    assert (answer.problem.pressure > 0).any()
    assert "certified" in check_solver(FiniteVolume(), problem)


def test_pressures_and_room_complement_each_other():
    mu = crowd((24, 20))
    problem = ProxProblem(ENERGIES["crowd"], W, mu, 0.5)
    stated = FiniteVolume().solve(problem, Controls(tol=1e-9)).problem
    full = stated.dual >= problem.form.separable.ceiling
    assert (stated.pressure >= 0).all()
    assert (stated.pressure[~full] == 0).all()
    assert 0.05 < full.mean() < 0.5


def test_a_heap_against_the_wall_is_at_rest():
    # Full where x < 1/2: the pressure 1/2 - x holds it.
    grid = jko.Grid([0.0, 0.0], [1.0, 1.0], [24, 10])
    mu = jko.GridDensity.from_density((grid.points[:, 0] < 0.5).astype(float), grid)
    problem = ProxProblem(ENERGIES["crowd"], W, mu, 0.3)
    answer = FiniteVolume().solve(problem, Controls(tol=1e-9))
    np.testing.assert_allclose(answer.measure.weights, mu.weights, atol=1e-15)
    inside = mu.weights > 0
    drop = (answer.problem.pressure + grid.points[:, 0])[inside]
    assert np.ptp(drop) < 1 / 24 + 1e-9  # the last column may be held by less than a cell's worth


def test_what_is_above_the_bound_spreads():
    mu = block(32).with_weights(1.5 * block(32).weights)
    found = jko.step(mu, jko.BoxConstraint(1.0), W, 0.1, solver=FiniteVolume()).measure
    assert found.density.max() <= 1 + 1e-11
    assert found.mass == pytest.approx(mu.mass, rel=1e-13)


def test_a_crowd_passes_a_door_and_not_the_wall():
    mask = np.ones((32, 32), dtype=bool)
    mask[15:17] = False
    mask[15:17, 14:18] = True
    grid = jko.Grid([0.0, 0.0], [1.0, 1.0], [32, 32], mask=mask)
    behind = grid.points[:, 0] > 0.55
    start = jko.GridDensity.from_density(0.8 * behind, grid)

    def way(x):
        right = np.maximum(x[:, 0] - 0.5, 0)
        side = np.where(x[:, 0] > 0.5, x[:, 1] - 0.5, 0)
        return np.hypot(right, side) + np.minimum(x[:, 0] - 0.5, 0)

    energy = jko.BoxConstraint(1.0) + jko.Potential(way)
    assert jko.solvers_for(start, energy, W, 0.04)[0].name == "FiniteVolume"
    run = jko.flow(start, energy, W, tau=0.04, steps=12)
    passed = [m.weights[grid.points[:, 0] < 0.47].sum() for m in run.measures]
    assert np.all(np.diff(passed) >= 0)
    # The door is 1/8 wide; the pressure of those behind makes them faster than the slope, 1.
    assert 0.5 * 0.125 * 0.48 < passed[-1] < 0.5 * start.mass
    for m in run.measures:
        assert m.mass == pytest.approx(start.mass, rel=1e-12)
        np.testing.assert_allclose(m.density, m.density[:, ::-1], atol=1e-9)


@pytest.mark.parametrize("name", sorted(ENERGIES))
def test_jacobians_with_pressures_by_differences(name):
    mu = crowd((5, 4), mass=0.5)
    scheme = CellScheme(ENERGIES[name].restrict(mu), mu.grid)
    newton = Newton(scheme, mu.weights, 0.1)
    x = newton.ceiling * np.random.default_rng(1).uniform(0.2, 1.8, 20)
    full = x > newton.ceiling
    r, flux = newton._residual(x)
    balance, slope = scheme.jacobian(flux, 0.1, np.where(full, newton.stiff, 0.0))
    dense = scheme.long_range(flux, 0.1)
    for k in range(20):
        e = np.eye(20)[k] * 1e-6 * x[k]
        found = (balance.matrix @ (slope * e)) + (0 if dense is None or full[k] else dense(e))
        up, down = newton._residual(x + e)[0], newton._residual(x - e)[0]
        np.testing.assert_allclose(found, (up - down) / 2, atol=1e-5 * np.abs(found).max())
    assert full.any()
    assert not full.all()
    assert r.shape == (20,)
    w, pressure = newton.state(x)
    np.testing.assert_allclose(newton.unknown(w, pressure), x, rtol=1e-12)
