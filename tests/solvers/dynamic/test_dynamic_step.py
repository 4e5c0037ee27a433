"""`jko.solvers.Dynamic`: its own statement, and agreement with solvers that share no code."""

import numpy as np
import pytest

import jko
from jko.prox.problem import ProxProblem
from jko.solvers import Dynamic
from jko.testing import check_solver

GRID = jko.Grid([-3, -3], [3, 3], [16, 16])
V = jko.Potential(lambda x: 0.5 * (x**2).sum(1))


def bump(grid: jko.Grid, centre: tuple[float, float], mass: float = 1.0) -> jko.GridDensity:
    return jko.GridDensity.from_function(
        lambda x: np.exp(-((x - centre) ** 2).sum(1)), grid, mass=mass
    )


@pytest.mark.parametrize("slices", [1, 3])
def test_contract(slices: int) -> None:
    energy = V + jko.PorousMedium(2)
    problem = ProxProblem(energy, jko.Wasserstein(), bump(GRID, (0.5, 0.3)), 0.1)
    assert check_solver(Dynamic(slices), problem, tol=1e-4) == [
        "certified",
        "result",
        "rivals",
        "gap",
    ]


def test_contract_with_sources() -> None:
    energy = jko.PhiDivergence(bump(GRID, (0, 0), 1.2), p=2)
    problem = ProxProblem(energy, jko.WassersteinFisherRao(1, 1), bump(GRID, (0.5, 0.3)), 0.2)
    assert "rivals" in check_solver(Dynamic(2), problem, tol=1e-4)


@pytest.mark.parametrize("energy", [V + jko.PorousMedium(2), V + 0.2 * jko.PorousMedium(3)])
def test_one_slice_agrees_with_auto_within_both_bounds(energy: jko.energies.Energy) -> None:
    rho = bump(GRID, (0.5, 0.3))
    one = jko.step(rho, energy, jko.Wasserstein(), 0.1, solver=Dynamic(), tol=1e-5)
    two = jko.step(rho, energy, jko.Wasserstein(), 0.1, throw=False)
    assert one.gap is not None
    assert one.bias is not None
    allowed = one.gap + one.bias + abs(two.gap or 0.0) + abs(two.bias or 0.0)
    assert abs(one.objective - two.objective) <= allowed
    assert one.measure.mass == pytest.approx(1.0, abs=1e-12)


def test_obstacles_with_sources() -> None:
    mask = np.ones((16, 16), dtype=bool)
    mask[7:9, 3:13] = False
    grid = jko.Grid([-3, -3], [3, 3], [16, 16], mask=mask)
    rho = bump(grid, (-1, 0))
    energy = jko.Potential(lambda x: 0.2 * (x[:, 0] - 1) ** 2) + jko.PorousMedium(2)
    geometry = jko.WassersteinFisherRao(1.0, 1.0)
    res = jko.step(rho, energy, geometry, 0.1, solver=Dynamic(slices=2), tol=1e-3)
    assert res.success
    assert not res.measure.weights[~grid.mask].any()
    assert res.objective < res.baseline
    assert jko.solvers_for(rho, energy, geometry)[0].name == "Dynamic"
    for other in (energy, jko.KL(bump(grid, (1, 0), 1.3)), energy + 0.1 * jko.Entropy()):
        res = jko.step(rho, other, geometry, 0.1)  # by default, to 1e-6
        assert (res.solver, res.success) == ("Dynamic", True)


def test_refusals() -> None:
    rho, W = bump(GRID, (0, 0)), jko.Wasserstein()
    F = jko.MMDEnergy(rho, jko.kernels.Gaussian(1.0))
    with pytest.raises(jko.Unsupported, match="kernels"):
        jko.step(rho, F, W, 0.1, solver=Dynamic())
    with pytest.raises(jko.Unsupported, match="GridDensity"):
        jko.step(jko.Particles([[0.0, 0.0]]), V, W, 0.1, solver=Dynamic())
    with pytest.raises(jko.Unsupported, match="takes Wasserstein"):
        jko.step(rho, V, jko.Hellinger(), 0.1, solver=Dynamic())


HOLE = np.ones((16, 16), dtype=bool)
HOLE[5:10, 5:10] = False


@pytest.mark.parametrize("tau", [0.1, 0.01])
@pytest.mark.parametrize("energy", [jko.Entropy(), jko.PorousMedium(2)])
@pytest.mark.parametrize("around", [False, True])
def test_steps_with_sources_round_obstacles_need_no_settings(tau, energy, around):
    """`auto` takes one interval; its bias covers what two more solve differently."""
    periodic = {"periodic": True} if around else {"mask": HOLE}
    grid = jko.Grid([0, 0], [1, 1], [16, 16], **periodic)
    start = jko.GridDensity.from_function(
        lambda x: np.exp(-30 * ((x - 0.2) ** 2).sum(axis=1)), grid, mass=1
    )
    geometry = jko.WassersteinFisherRao(1, 1)
    found = jko.step(start, energy, geometry, tau)
    assert found.success
    assert found.solver == "Dynamic"
    two = jko.step(start, energy, geometry, tau, solver=Dynamic(2, bias=False), tol=1e-3)
    assert abs(two.objective - found.objective) <= found.bias + two.gap
