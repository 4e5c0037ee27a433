"""Steps on the line against exact ones, from optimality, and against other solvers."""

import numpy as np
import pytest
from generators import measures
from line_cases import WELL, W, affine, profile, uneven

import jko
from jko import reference
from jko.solvers import Entropic, Lagrangian, Quantile, TransportProgram
from jko.solvers.line.parts import Parts
from jko.solvers.line.stated import Line

ENERGY = jko.kernels.Energy()
CONVEX = Quantile(curvature=1.0)


def positions(mu):
    return mu.points[:, 0]


# -- exact steps -----------------------------------------------------------------------------------


@pytest.mark.parametrize("tau", [1e-3, 0.05, 2.0])
def test_ornstein_uhlenbeck_step_is_affine(tau):
    # Formula W3: N(m, s) goes to N(m_+, s_+), and so does the discrete bell.
    y = profile(1.0)
    found = jko.step(affine(y, 1.5, 0.5), jko.Entropy() + WELL, W, tau, solver=CONVEX)
    mean, std = reference.ou_step(1.5, 0.5, tau)
    np.testing.assert_allclose(found.measure.points, affine(y, mean, std).points, atol=1e-11)
    assert found.success
    assert found.gap < 1e-12


@pytest.mark.parametrize("m", [0.5, 2.0, 4.0, 6.0])
def test_barenblatt_step_is_a_dilation(m):
    # Formula W5: lam_+ - lam = tau lam_+^{-m} for the profile whose internal force is -y.
    y, tau, scale = profile(m), 0.3, 0.4
    found = jko.step(affine(y, 0.0, scale), jko.PorousMedium(m), W, tau, solver=Quantile())
    ratio = float(positions(found.measure)[-1] / positions(y)[-1])
    assert ratio - scale == pytest.approx(tau * ratio**-m, rel=1e-11)
    np.testing.assert_allclose(found.measure.points, ratio * y.points, atol=1e-11)


@pytest.mark.parametrize("tau", [0.01, 0.1, 0.37, 2.0])
def test_a_dirac_spreads_under_the_energy_distance(tau):
    # Formula M9: every quantile moves at constant speed until it arrives, so steps are exact.
    s = (np.arange(50) + 0.5) / 50
    mu = jko.Particles(np.full((50, 1), -1.0))
    energy = jko.MMDEnergy(jko.Particles([[0.0]]), ENERGY)
    sol = jko.flow(mu, energy, W, tau=tau, t1=1.0, solver=Quantile())
    for t, nu in zip(sol.times, sol.measures, strict=True):
        exact = reference.energy_distance_quantile(s, t)
        np.testing.assert_allclose(positions(nu), exact, atol=1e-14)
    assert sol.verify().holds


def test_the_flow_to_spread_targets_is_first_order():
    # Off the kinks the speed changes along the way: the implicit flow errs by O(tau).
    mu = jko.Particles(np.full((40, 1), -1.0), uneven(40))
    target = jko.Particles(np.linspace(-1.5, 1.0, 160)[:, None])
    energy = jko.MMDEnergy(target, ENERGY) + 0.5 * WELL

    def end(tau):
        return positions(jko.flow(mu, energy, W, tau=tau, t1=1.0, solver=CONVEX).final)

    fine = end(1 / 1024)
    errors = [np.abs(end(tau) - fine).mean() for tau in (1 / 8, 1 / 16, 1 / 32)]
    assert np.log2(errors[1] / errors[2]) == pytest.approx(1.0, abs=0.15)


def test_a_saturated_crowd_moves_by_tau_a():
    # Formula W7: a block at the ceiling translates by -tau a.
    slope = jko.Potential(lambda x: 0.8 * x[:, 0], gradient=lambda x: np.full_like(x, 0.8))
    mu = jko.Particles(np.linspace(0.0, 1.0, 41)[:, None], np.full(41, 1 / 40))
    energy, solver = slope + jko.BoxConstraint(1.0), Quantile(curvature=0.0)
    found = jko.step(mu, energy, W, 0.3, solver=solver, tol=1e-11)
    assert np.abs(found.measure.points - mu.points + 0.24).max() < 1e-5
    # Squeezed into a corner it stays at the ceiling.
    corner = jko.step(mu, 50.0 * WELL + jko.BoxConstraint(1.0), W, 1.0, solver=solver)
    spacing = np.diff(positions(corner.measure))
    assert spacing.min() >= (1 - 1e-9) / 40
    np.testing.assert_allclose(spacing, 1 / 40, rtol=1e-5)


def test_attraction_by_distance_makes_clumps():
    # Each pair closes in at constant speed; those that meet stay together: sticky particles.
    mu = measures.particles(30, dim=1, seed=3)
    found = jko.step(mu, jko.Interaction.power(1.0), W, 1.2, solver=Quantile())
    places = np.unique(found.measure.points[mu.weights > 0])
    assert 1 < len(places) < int((mu.weights > 0).sum())
    np.testing.assert_allclose(found.measure.mean, mu.mean, atol=1e-14)


def test_energies_by_sorting_are_those_by_pairs():
    mu = measures.particles(23, dim=1, seed=3, mass=2.0)
    target = measures.particles(17, dim=1, seed=4, mass=2.0)
    energy = 0.7 * jko.MMDEnergy(target, 2.0 * ENERGY) + 1.3 * jko.Interaction.power(1.0) + WELL
    problem = jko.ProxProblem(energy, W, mu, 0.1)
    line = Line(problem, Parts.of(energy), None)
    assert line.energy(mu) == pytest.approx(energy.value(mu), rel=1e-12)


# -- optimality and other solvers ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["entropy", "porous", "kernel"])
def test_newton_meets_descent(name):
    energy = {
        "entropy": jko.Entropy() + WELL,
        "porous": 0.3 * jko.PorousMedium(3.0) + jko.Interaction.quadratic(),
        "kernel": jko.Entropy() + jko.Interaction(jko.kernels.Gaussian(0.5)),
    }[name]
    mu = jko.Particles(np.linspace(-1.0, 1.5, 20)[:, None], uneven(20))
    newton = jko.step(mu, energy, W, 0.02, solver=Quantile())
    descent = jko.step(mu, energy, W, 0.02, solver=Lagrangian(), tol=1e-8)
    np.testing.assert_allclose(newton.measure.points, descent.measure.points, atol=1e-6)
    assert newton.objective <= descent.objective + 1e-12
    assert newton.residual < 1e-8
    assert newton.iterations <= 30


def test_the_gap_covers_the_excess_and_needs_a_word_for_potentials():
    mu, energy = jko.Particles(np.linspace(-1.0, 2.0, 25)[:, None]), jko.Entropy() + WELL
    best = jko.step(mu, energy, W, 0.2, solver=CONVEX)
    rough = jko.step(mu, energy, W, 0.2, solver=CONVEX, max_iter=2, throw=False)
    assert not rough.success
    assert rough.gap >= rough.objective - best.objective > 0
    silent = jko.step(mu, energy, W, 0.2, solver=Quantile())
    assert silent.gap is None
    assert silent.success
    np.testing.assert_allclose(silent.measure.points, best.measure.points, atol=1e-14)


@pytest.mark.parametrize("unit", [1.0, 1e-7, 5e-4, 1e6])
def test_without_a_modulus_the_residual_is_met_in_any_unit(unit):
    """Newton's method stopped at a gap that left a residual of the size of the tolerance."""
    x = [-0.4147, -0.4146999, -0.2799, -0.8523, -0.7349, 0.3743, 0.8891, 0.7492, -0.5686, 0.6133]
    w = np.array([0.12, 1.17, 0.29, 1.62, 0.11, 0.62, 1.89, 0.64, 3.57, 0.72])
    mu = jko.Particles(unit * np.array(x)[:, None], w)
    goal = jko.Particles(unit * np.array([[0.78], [0.68], [-1.48]]), np.full(3, w.sum() / 3))
    well = jko.Potential(
        lambda z: 0.02 * (z[:, 0] / unit) ** 2, gradient=lambda z: 0.04 * z / unit**2
    )
    energy = 0.84 * jko.Entropy() + well + (1 / unit) * jko.MMDEnergy(goal, jko.kernels.Energy())
    found = jko.step(mu, energy, W, 1.5e-3 * unit**2, solver=Quantile(), throw=False)
    assert found.gap is None
    assert found.success, found.message


def test_convergence_to_the_continuum():
    # Quantiles of the exact bell at the middles of equal masses; away from the tails.
    from scipy.special import ndtri

    def error(n):
        s = (np.arange(n) + 0.5) / n
        mu = jko.Particles((1.5 + 0.5 * ndtri(s))[:, None])
        found = jko.step(mu, jko.Entropy() + WELL, W, 0.05, solver=CONVEX).measure
        mean, std = reference.ou_step(1.5, 0.5, 0.05)
        inner = np.abs(s - 0.5) < 0.3
        return np.abs(positions(found) - mean - std * ndtri(s))[inner].max()

    assert error(200) < 5e-5
    assert np.log2(error(100) / error(200)) > 1.35


def test_grids_agree():
    # The linear program on a grid has an error of one cell; the debiased entropic step is finer.
    grid = jko.Grid(-3.0, 3.0, 60)
    well = jko.Potential(lambda x: 0.5 * x[:, 0] ** 2, gradient=lambda x: x)
    rho = jko.GridDensity.from_function(lambda x: np.exp(-2 * (x[:, 0] - 0.5) ** 2), grid, mass=1)
    x = np.linspace(-3, 3, 1201)
    fine = np.interp(x, grid.points[:, 0], rho.density)
    fine[(x < -1.5) | (x > 2.5)] = 0
    mu = jko.Particles(x[:, None], fine / fine.sum())
    energy = jko.Entropy() + well
    exact = jko.step(mu, energy, W, 0.2, solver=CONVEX).measure
    for solver, mean_error, std_error in (
        (Entropic(), 1e-3, 3e-3),
        (TransportProgram(), 0.02, 0.05),
    ):
        found = jko.step(rho, energy, W, 0.2, solver=solver).measure
        assert abs(float(found.mean[0] - exact.mean[0])) < mean_error
        assert abs(float(np.sqrt(found.cov[0, 0]) - np.sqrt(exact.cov[0, 0]))) < std_error


def test_one_and_two_particles():
    # Alone it feels the potential only; two at one place spread to s = sqrt(2 tau), by hand.
    alone = jko.step(jko.Particles([[1.0]]), jko.Entropy() + WELL, W, 0.3, solver=CONVEX)
    assert alone.measure.points[0, 0] == pytest.approx(1 / 1.3)
    pair = jko.step(jko.Particles([[1.0], [1.0]]), jko.Entropy(), W, 0.3, solver=Quantile())
    spacing = float(np.diff(positions(pair.measure))[0])
    assert spacing**2 == pytest.approx(2 * 0.3, rel=1e-9)


def test_empty_particles_follow_the_map():
    y = profile(1.0)
    weights = np.append(y.weights, [0.0, 0.0])
    middle = 0.5 * (y.points[3] + y.points[4])
    mu = jko.Particles(np.vstack([y.points, middle, [50.0]]), weights)
    found = jko.step(mu, jko.Entropy(), W, 0.1, solver=Quantile()).measure.points[:, 0]
    assert found[-2] == pytest.approx(0.5 * (found[3] + found[4]), abs=1e-14)
    assert found[-1] - 50.0 == pytest.approx(found[-3] - positions(y)[-1], abs=1e-12)


@pytest.mark.parametrize(
    ("energy", "words"),
    [
        (WELL, "alone keeps the order"),
        (jko.Interaction(jko.kernels.Gaussian(1.0)), "Lagrangian"),
        (
            jko.BoxConstraint(9.0) + jko.MMDEnergy(jko.Particles([[0.0]]), ENERGY),
            "beside the kinks",
        ),
        (jko.Entropy() + jko.Potential(lambda x: x[:, 0]), "gradient="),
        (jko.MMDEnergy(jko.Particles([[0.0]], [2.0]), ENERGY), "masses|mass"),
        (jko.Entropy(np.ones(3)), "no Wasserstein gradient|particles"),
    ],
)
def test_refusals_say_what_to_use(energy, words):
    mu = jko.Particles([[0.0], [1.0], [2.0]])
    with pytest.raises(jko.JkoError, match=words):
        jko.step(mu, energy, W, 0.1, solver=Quantile())


def test_a_wrong_local_minimum_is_no_success():
    # One particle and a narrow ditch beyond a wall: bisection may find either side.
    wall = jko.Potential(
        lambda x: np.cos(8 * x[:, 0]), gradient=lambda x: -8 * np.sin(8 * x)
    ) + jko.Interaction.power(1.0)
    mu = jko.Particles(np.linspace(-2.0, 2.0, 15)[:, None])
    found = jko.step(mu, wall, W, 1.0, solver=Quantile(), throw=False)
    assert found.gap is None
    assert found.objective <= wall.value(mu) + 1e-12


def test_a_long_step_keeps_the_digits_of_the_steady_state():
    # Between two far targets of equal weight an energy distance repels alone; in a well of
    # curvature 6 particle i comes to rest near (mass on its left - mass on its right) / 6.
    w = np.array([0.4, 0.1, 0.3, 0.2])
    mu = jko.Particles([[-0.3], [0.1], [0.4], [0.9]], w)
    well = jko.Potential(lambda x: 3 * (x**2).sum(axis=1), gradient=lambda x: 6 * x)
    energy = well + jko.MMDEnergy(jko.Particles([[-100.0], [100.0]]), jko.kernels.Energy())
    result = jko.step(mu, energy, W, 1e6)
    assert result.solver == "Quantile"
    expected = (2 * np.cumsum(w) - w - 1 + 1e-6 * mu.points[:, 0]) / (6 + 1e-6)
    np.testing.assert_allclose(result.measure.points[:, 0], expected, rtol=0, atol=1e-13)
