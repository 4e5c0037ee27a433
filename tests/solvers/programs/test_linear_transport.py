"""The closed form of linear energies in Wasserstein: against the conic oracle and by hand."""

import numpy as np
import pytest
from generators import measures

import jko
from jko.numerics.partners import best_partners
from jko.solvers import LinearTransport, TransportProgram

W = jko.Wasserstein()


def test_by_hand():
    """An atom moves when the fall of V exceeds |x-y|^2/(2 tau)."""
    mu = jko.Histogram([[0.0], [1.0], [2.0]], [0.5, 0.3, 0.2])
    potential = jko.Potential([0.0, -1.0, -3.0])
    short = jko.step(mu, potential, W, 0.2)  # a move of 1 costs 2.5, of 2 costs 10
    assert short.solver == "LinearTransport"
    np.testing.assert_array_equal(short.measure.weights, mu.weights)
    np.testing.assert_allclose(jko.step(mu, potential, W, 0.4).measure.weights, [0.5, 0, 0.5])
    long = jko.step(mu, potential, W, 2.0)
    np.testing.assert_allclose(long.measure.weights, [0, 0, 1])
    assert long.sqdistance == pytest.approx(0.5 * 4 + 0.3)


@pytest.mark.parametrize("tau", [0.05, 0.5, 20.0])
def test_agrees_with_the_conic_program(tau):
    mu = measures.histogram(30, seed=4, mass=2.0)
    values = np.sin(3 * mu.points[:, 0]) + mu.points[:, 1]
    values[[3, 7]] = np.inf
    energy = jko.Potential(values)
    ours = jko.step(mu, energy, W, tau, solver=LinearTransport())
    reference = jko.step(mu, energy, W, tau, solver=TransportProgram())
    assert abs(ours.gap) <= 1e-12
    assert ours.objective == pytest.approx(reference.objective, abs=1e-6)
    assert ours.objective <= reference.objective + 1e-12
    assert (ours.measure.weights[[3, 7]] == 0).all()


def test_ties_go_to_the_nearest():
    partner, best = best_partners(np.zeros(3), np.array([[2.0, 1.0, 3.0]]), 0.0)
    assert (partner[0], best[0]) == (1, 0.0)


def test_refusals():
    mu = measures.histogram(10, seed=1)
    well = jko.Potential(lambda x: (x**2).sum(axis=1), gradient=lambda x: 2 * x)
    cases = [
        (mu, jko.KL(measures.sibling(mu)), "linear in the weights"),
        (mu, well + jko.BoxConstraint(0.5), "bounds the weights from above"),
        (mu, jko.Potential(np.full(10, np.inf)), "forbids every atom"),
        (measures.particles(5), well, "fixed support"),
    ]
    for measure, energy, sentence in cases:
        with pytest.raises(jko.Unsupported, match=sentence):
            jko.step(measure, energy, W, 0.1, solver=LinearTransport())
    with pytest.raises(jko.Unsupported, match="takes Wasserstein steps"):
        jko.step(mu, well, jko.Hellinger(), 0.1, solver=LinearTransport())


POINT_STEPS = [(201, 3.0, 0.25), (51, 3.0, 0.25), (201, 10.0, 0.25), (101, 3.0, 0.01)]


@pytest.mark.parametrize(("n", "half", "tau"), POINT_STEPS)
@pytest.mark.parametrize("mass", [1.0, 1e-6])
def test_heat_from_a_point_is_a_gaussian(n, half, tau, mass):
    """argmin int rho log rho + |x - x0|^2 rho / (2 tau) = N(x0, tau), W2^2 = tau."""
    grid = jko.Grid(-half, half, n)
    start = np.zeros(n)
    start[n // 2] = mass
    result = jko.step(jko.GridDensity(grid, start), jko.Entropy(), W, tau)
    assert result.claim is jko.Claim.MINIMISES
    cut = np.exp(-(grid.axes[0] ** 2) / (2 * tau))  # the same, cut off at the ends of the grid
    right = mass * cut / cut.sum()
    np.testing.assert_allclose(result.measure.weights, right, rtol=1e-9, atol=1e-300)
    assert result.sqdistance == pytest.approx(right @ grid.axes[0] ** 2, rel=1e-9)


@pytest.mark.parametrize("m", [1.5, 2.0, 4.0])
def test_a_point_of_porous_medium_spreads_to_a_parabola(m):
    """m/(m-1) rho^(m-1) + |x - x0|^2 / (2 tau) = lam where rho > 0."""
    tau, n = 0.3, 161
    grid = jko.Grid([-2, -2], [2, 2], [n, n])
    start = np.zeros((n, n))
    start[70, 85] = 2.0
    result = jko.step(jko.GridDensity(grid, start), jko.PorousMedium(m), W, tau)
    rho = result.measure.weights / grid.cell_volume
    cost = ((grid.points - grid.points[70 * n + 85]) ** 2).sum(axis=1) / (2 * tau)
    level = m / (m - 1) * rho ** (m - 1) + cost
    inside = rho > 0
    assert np.ptp(level[inside]) < 1e-9 * level.max()
    assert cost[~inside].min() >= level[inside].max() * (1 - 1e-9)
    assert result.measure.mass == pytest.approx(2.0, rel=1e-12)
    assert 0 <= abs(result.gap) <= result.allowed


def test_a_point_that_spreads_within_its_cell_is_left_to_others():
    """The cell stands for a density: at the centres alone nothing would move."""
    grid = jko.Grid(-3, 3, 61)
    start = np.zeros(61)
    start[30] = 1.0
    result = jko.step(jko.GridDensity(grid, start), jko.Entropy(), W, 1e-4)
    assert result.solver != "LinearTransport"
    assert result.info["tried"][0]["solver"] == "LinearTransport"
