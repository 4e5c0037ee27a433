"""Finite volumes on periodic boxes and around obstacles."""

import numpy as np
import pytest
from generators import measures

import jko
from jko.numerics.multigrid import solve
from jko.prox import ProxProblem
from jko.prox.stated import Controls
from jko.solvers import FiniteVolume
from jko.solvers.finite_volume.scheme import CellScheme, displacement, model_error
from jko.testing import check_solver

W = jko.Wasserstein()
ENERGIES = {
    "entropy": jko.Entropy(),
    "porous": jko.PorousMedium(3.0),
    "drift": jko.PorousMedium(2.0) + jko.Potential(lambda x: np.cos(2 * np.pi * x).sum(axis=1)),
}


def ring(shape):
    return jko.Grid([0.0] * len(shape), [1.0] * len(shape), shape, periodic=True)


def random_density(grid, seed=0, zeros=0.2):
    count = int(zeros * grid.size)
    return jko.GridDensity(grid, measures.weights(grid.size, seed=seed, mass=1.3, zeros=count))


@pytest.mark.parametrize("name", sorted(ENERGIES))
@pytest.mark.parametrize("shape", [(1,), (2,), (9,), (2, 5), (1, 4), (12, 10), (3, 4, 5)])
def test_steps_round_the_box_commute_with_translations(name, shape):
    energy = ENERGIES[name] if name != "drift" else jko.PorousMedium(2.0)
    mu = random_density(ring(shape))
    rolled = lambda m: m.with_weights(
        np.roll(m.weights.reshape(shape), [1, 3, 2][: len(shape)], axis=range(len(shape))).ravel()
    )
    found = jko.step(mu, energy, W, 0.01, solver=FiniteVolume())
    moved = jko.step(rolled(mu), energy, W, 0.01, solver=FiniteVolume())
    assert found.measure.mass == pytest.approx(mu.mass, rel=1e-13)
    np.testing.assert_allclose(moved.measure.weights, rolled(found.measure).weights, atol=1e-12)
    if shape != (1,):
        assert np.abs(found.measure.weights - mu.weights).max() > 1e-3
    grid, flat = mu.grid, jko.Grid(mu.grid.lower, mu.grid.upper, shape)
    scheme = CellScheme(energy.restrict(mu), grid)
    other = CellScheme(energy.restrict(mu), flat)
    assert len(scheme.faces.i) == sum(grid.size for s in shape if s > 1)
    w = mu.weights + 0.01
    for length in (model_error, displacement):
        there = np.roll(w.reshape(shape), 1, axis=0).ravel()
        assert length(scheme, there, 0.1) == pytest.approx(length(scheme, w, 0.1), rel=1e-12)
        assert length(scheme, w, 0.1) >= length(other, w, 0.1)


@pytest.mark.parametrize("name", sorted(ENERGIES))
def test_periodic_jacobians_by_differences(name):
    grid = jko.Grid([0.0, 0.0], [1.0, 2.0], [5, 2], periodic=[True, True])
    mu = random_density(grid, zeros=0)
    scheme, w = CellScheme(ENERGIES[name].restrict(mu), grid), mu.weights
    _, flux = scheme.residual(w, w, 0.1)
    balance, slope = scheme.jacobian(flux, 0.1)
    found = balance.matrix.toarray() * slope
    for k in range(w.size):
        e = np.eye(w.size)[k] * 1e-6 * w[k]
        up, down = (scheme.residual(v, w, 0.1)[0] for v in (w + e, w - e))
        np.testing.assert_allclose(found[:, k], (up - down) / (2 * e[k]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(80, 81), (64, 64), (15, 17, 20)])
def test_multigrid_round_the_box(shape):
    import scipy.sparse.linalg as sl

    grid = ring(shape)
    scheme = CellScheme(jko.Entropy().restrict(random_density(grid, zeros=0)), grid)
    rng = np.random.default_rng(0)
    mobility = np.exp(0.3 * rng.normal(size=scheme.faces.i.size))
    balance = scheme.faces.laplacian(mobility, np.full(grid.size, 0.1))
    b = rng.normal(size=grid.size)
    x, count = solve(balance, b, symmetric=True)
    exact = sl.splu(balance.matrix.tocsc()).solve(b)
    np.testing.assert_allclose(x, exact, atol=1e-6 * np.abs(exact).max())
    assert 0 < count <= 30


def wave_error(cells, tau, scheme="implicit"):
    """L1 distance to exp(-4 pi^2 t) cos(2 pi (x + y)) about 1, by exact cell averages."""
    grid = ring((cells, cells))
    h = 1 / cells
    wave = np.cos(2 * np.pi * grid.points.sum(axis=1)) * (np.sinc(h)) ** 2
    exact = lambda t: jko.GridDensity.from_density(1 + 0.5 * np.exp(-8 * np.pi**2 * t) * wave, grid)
    settings = {"tau": tau, "t1": 0.01, "solver": FiniteVolume(), "save": "last", "scheme": scheme}
    found = jko.flow(exact(0.0), jko.Entropy(), W, **settings).final
    return float(np.abs(found.weights - exact(0.01).weights).sum())


def test_periodic_heat_decays_as_fourier_says():
    taus = [wave_error(128, tau) for tau in (1 / 400, 1 / 800, 1 / 1600)]
    assert np.log2(taus[0] / taus[1]) == pytest.approx(1.0, abs=0.15)
    assert np.log2(taus[1] / taus[2]) == pytest.approx(1.0, abs=0.15)
    cells = [wave_error(n, 1 / 3200, scheme="richardson") for n in (8, 16)]
    assert np.log2(cells[0] / cells[1]) == pytest.approx(2.0, abs=0.15)


def walled(shape, seed=None):
    """A wall along the middle column with a door of two cells, or without one."""
    mask = np.ones(shape, dtype=bool)
    mask[shape[0] // 2] = False
    if seed is not None:
        mask[shape[0] // 2, shape[1] // 2 - 1 : shape[1] // 2 + 1] = True
    return jko.Grid([-1.0, -1.0], [1.0, 1.0], shape, mask=mask)


@pytest.mark.parametrize("name", sorted(ENERGIES))
@pytest.mark.parametrize("tau", [1e-2, 10.0])
@pytest.mark.parametrize("shape", [(9, 8), (81, 64)])
def test_no_mass_goes_through_a_wall(name, tau, shape):
    grid = walled(shape)
    left = grid.mask & (np.arange(grid.size) // shape[1] < shape[0] // 2)
    weights = np.where(left, measures.weights(grid.size, seed=3), 0.0)
    mu = jko.GridDensity(grid, weights)
    found = jko.step(mu, ENERGIES[name], W, tau, solver=FiniteVolume()).measure
    assert found.weights[left].sum() == pytest.approx(mu.mass, rel=1e-13)
    assert (found.weights[~left] == 0).all()


@pytest.mark.parametrize("name", ["entropy", "porous"])
def test_through_a_door_the_density_becomes_constant(name):
    grid = walled((33, 32), seed=0)
    left = grid.mask & (grid.points[:, 0] < 0)
    mu = jko.GridDensity(grid, np.where(left, 1.0 / left.sum(), 0.0))
    # Reflecting the box reflects the step.
    first = jko.step(mu, ENERGIES[name], W, 0.3, solver=FiniteVolume()).measure.weights
    field = first.reshape(grid.shape)
    np.testing.assert_allclose(field, field[:, ::-1], atol=1e-13)
    assert 0 < first[grid.points[:, 0] > 0].sum() < 0.5
    found = jko.step(mu, ENERGIES[name], W, 1e7, solver=FiniteVolume()).measure.weights
    np.testing.assert_allclose(found[grid.mask], 1 / grid.mask.sum(), rtol=1e-3)
    assert (found[~grid.mask] == 0).all()


def test_an_equilibrium_around_an_obstacle_stays():
    mask = np.ones((12, 12), dtype=bool)
    mask[4:7, 5:9] = False
    grid = jko.Grid([-2.0, -2.0], [2.0, 2.0], [12, 12], mask=mask)
    bowl = lambda x: (x**2).sum(axis=1)
    mu = jko.GridDensity.from_function(lambda x: np.exp(-bowl(x)), grid)
    found = jko.step(mu, jko.Entropy() + jko.Potential(bowl), W, 3.0, solver=FiniteVolume())
    np.testing.assert_allclose(found.measure.weights, mu.weights, atol=1e-14)


@pytest.mark.parametrize("name", sorted(ENERGIES))
def test_the_certificate_round_the_box(name):
    mu = random_density(ring((5, 6)), zeros=0)
    problem = ProxProblem(ENERGIES[name], W, mu, 0.02)
    assert "certified" in check_solver(FiniteVolume(), problem)


@pytest.mark.parametrize("name", sorted(ENERGIES))
def test_nobody_does_better_around_an_obstacle(name):
    mask = np.ones((6, 7), dtype=bool)
    mask[2, 2:5] = False
    grid = jko.Grid([0.0, 0.0], [1.0, 1.0], [6, 7], mask=mask)
    weights = np.where(grid.mask, measures.weights(grid.size, seed=1, zeros=0), 0.0)
    problem = ProxProblem(ENERGIES[name], W, jko.GridDensity(grid, weights), 0.02)
    answer = FiniteVolume().solve(problem, Controls(tol=1e-9))
    gap = answer.problem.certificate(answer).gap
    assert 0 <= gap < 1e-12
    rng = np.random.default_rng(2)
    for size in (1e-4, 1e-2, 0.3):
        rival = answer.measure.weights * np.exp(size * rng.normal(size=grid.size))
        rival = answer.measure.with_weights(rival * (weights.sum() / rival.sum()))
        assert answer.problem.objective(rival) > answer.objective - gap
