"""Exact solutions with sharp edges: a saturated crowd, a disc that aggregates; drift in a box."""

import numpy as np
import pytest

import jko
from jko import reference
from jko.solvers import Entropic, TransportProgram

W = jko.Wasserstein()


def orders(errors):
    return np.log2(np.divide(errors[:-1], errors[1:]))


# -- formula W7: a saturated set moves by -tau a in every step ---

SLOPE = jko.Potential(lambda x: 0.8 * x[:, 0])


def block(cells=40):
    """Density 1 on [2, 3], in [0, 4]."""
    grid = jko.Grid(0.0, 4.0, cells)
    x = grid.points[:, 0]
    return jko.GridDensity.from_density(((x > 2) & (x < 3)).astype(float), grid)


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("cells_moved", [1, 4])
def test_a_crowd_on_a_line_of_cells(cells_moved, steps):
    mu, energy = block(), SLOPE + jko.BoxConstraint(1.0)
    tau = cells_moved * 0.1 / 0.8
    sol = jko.flow(mu, energy, W, tau=tau, steps=steps, solver=TransportProgram())
    moved = np.roll(mu.weights, -cells_moved * steps)
    assert np.abs(sol.final.weights - moved).sum() < 1e-8
    assert sol.steps[0].substeps[0].sqdistance == pytest.approx((0.8 * tau) ** 2, rel=1e-8)
    # One cell more is seen.
    assert np.abs(sol.final.weights - np.roll(moved, 1)).sum() > 0.1


def test_a_crowd_in_the_plane():
    grid = jko.Grid([0.0, 0.0], [1.6, 1.6], [8, 8])
    x = grid.points
    inside = (np.abs(x - [1.2, 1.0]) < 0.4).all(axis=1)
    mu = jko.GridDensity.from_density(inside.astype(float), grid)
    energy = jko.Potential(lambda x: x @ np.array([0.8, 0.4])) + jko.BoxConstraint(1.0)
    found = jko.step(mu, energy, W, 0.5, solver=TransportProgram()).measure
    exact = np.roll(mu.density, (-2, -1), (0, 1))
    assert np.abs(found.density - exact).max() < 1e-7


def test_a_crowd_by_entropic_steps():
    # The plain step keeps mean, mass and ceiling; its edges are blurred by O(sqrt eps).
    mu, energy = block(160), SLOPE + jko.BoxConstraint(1.0)
    exact, blur = np.roll(mu.weights, -16), []
    for reg in (0.04, 0.01, 0.0025):
        found = jko.step(mu, energy, W, 0.5, solver=Entropic(reg=reg, debias=False)).measure
        assert found.density.max() < 1 + 1e-5
        assert abs(found.mass - mu.mass) < 1e-12
        assert found.mean[0] == pytest.approx(mu.mean[0] - 0.4, abs=1e-6)
        blur.append(np.abs(found.weights - exact).sum())
    np.testing.assert_allclose(orders(blur) / 2, 0.5, atol=0.05)
    assert blur[-1] < 0.06


def test_quadratic_attraction_is_a_potential_about_the_centroid():
    # Two parts of a crowd close up until they touch; the centroid rests.
    x = np.concatenate([np.linspace(0.0, 0.5, 11), np.linspace(1.5, 2.0, 11)])
    mu, box = jko.Particles(x[:, None]), jko.BoxConstraint(1.0)
    well = jko.Potential(
        lambda x: ((x - mu.mean) ** 2).sum(axis=1) / 2, gradient=lambda x: x - mu.mean
    )
    pulled, fallen = (
        jko.step(mu, energy + box, W, 0.5, tol=1e-10).measure
        for energy in (jko.Interaction.quadratic(), well)
    )
    np.testing.assert_allclose(pulled.points, fallen.points, atol=1e-6)
    np.testing.assert_allclose(pulled.mean, mu.mean, atol=1e-9)


# -- formula W7: |x|^2/2 - ln|x| gathers a uniform disc ---

DISC = jko.Interaction.quadratic() + jko.Interaction.logarithmic()


def sunflower(n, radius):
    """Points spread evenly over a disc."""
    k = np.arange(n) + 0.5
    angle = np.pi * (1 + np.sqrt(5)) * k
    r = radius * np.sqrt(k / n)
    return jko.Particles(np.stack([r * np.cos(angle), r * np.sin(angle)], axis=1))


@pytest.mark.parametrize("tau", [0.1, 0.5])
@pytest.mark.parametrize("start", [0.4, 1.8])
def test_discs_stay_discs(start, tau):
    """Inside a uniform disc the force is -(1 - 1/R^2) x: the step is the dilation of formula W3."""
    n, radius = 200, start
    sol = jko.flow(sunflower(n, start), DISC, W, tau=tau, t1=3.0)
    for mu in sol.measures[1:]:
        radius = reference.ou_step(0.0, radius, tau)[1]
        found = np.sqrt(2 * (mu.points**2).sum(axis=1).mean())
        assert found == pytest.approx(radius, abs=2.6e-3)  # 1/(2n): no atom repels itself
    r = np.sort(np.linalg.norm(sol.final.points, axis=1)) / radius
    np.testing.assert_allclose(r**2, (np.arange(n) + 0.5) / n, atol=0.12)
    assert sol.verify().holds


def test_the_second_moment_of_any_cloud(rng):
    """M' = 1 - 1/n - 2 M, M = int |x|^2, whatever the shape: at first order in tau."""
    n = 120
    x = rng.uniform(-1, 1, (n, 2)) * [2.0, 0.3]
    mu = jko.Particles(x - x.mean(axis=0))
    rest = (1 - 1 / n) / 2
    exact = rest + ((mu.points**2).sum(axis=1).mean() - rest) * np.exp(-2.0)
    errors = []
    for tau in (0.1, 0.05, 0.025):
        end = jko.flow(mu, DISC, W, tau=tau, t1=1.0).final
        errors.append(abs((end.points**2).sum(axis=1).mean() - exact))
    np.testing.assert_allclose(orders(errors), 1.0, atol=0.1)
    assert errors[-1] < 6e-3
    # A disc is where it comes to rest: F = 3/8, and the radius is 1.
    end = jko.flow(mu, DISC, W, tau=0.5, t1=10.0, save="last")
    assert end.energies[-1] == pytest.approx(3 / 8, abs=0.02)
    assert np.linalg.norm(end.final.points, axis=1).max() == pytest.approx(1.0, abs=0.08)


def test_a_ring_where_repulsion_is_weak_at_short_range():
    """|x|^3/3 - |x|^2/2 gathers a ring of radius 3 pi/16, where its mean force vanishes."""
    energy = jko.Interaction.power(3.0) + jko.Interaction.power(2.0, repulsive=True)
    end = jko.flow(sunflower(80, 0.5), energy, W, tau=1.0, t1=60.0, save="last").final
    r = np.linalg.norm(end.points - end.mean, axis=1)
    np.testing.assert_allclose(r, 3 * np.pi / 16, atol=4e-3)


# -- formula W6: drift against the walls of a box, by entropic steps ---


def test_drift_in_a_box_by_entropic_steps():
    grid, drift, errors = jko.Grid(0.0, 1.0, 120), 2.0, []
    x = grid.points[:, 0]
    at = lambda t: jko.GridDensity.from_density(reference.drift_density(x, t, drift), grid)
    energy = jko.Entropy() + jko.Potential(-drift * x)
    for tau in (0.02, 0.01, 0.005):
        sol = jko.flow(at(0.0), energy, W, tau=tau, t1=0.1)
        assert abs(sol.final.mass - at(0.0).mass) < 1e-12
        assert (np.diff(sol.energies) < 0).all()
        errors.append(np.abs(sol.final.weights - at(0.1).weights).sum())
    np.testing.assert_allclose(orders(errors), 1.0, atol=0.15)
    assert errors[-1] < 0.03, errors
