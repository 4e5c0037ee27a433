"""The bias of entropic steps: it covers the true excess, and is not much more.

The true excess is measured by what shares no code with the bound: closed forms for a point, exact
programs between atoms, rivals on the line with their exact distances.
"""

import numpy as np
import pytest

import jko
from jko import ProxProblem
from jko.numerics.c_transform import c_transform
from jko.solvers import Entropic
from jko.solvers.base import Controls
from jko.solvers.entropic.regularisation import choose_reg
from jko.solvers.grids.coupling import couple

W = jko.Wasserstein()
pytestmark = pytest.mark.filterwarnings("ignore::jko.JkoWarning")


def gain(mu, energy, tau, r):
    return energy.value(mu) - r.energy - r.sqdistance / (2 * tau)


@pytest.mark.parametrize("unit", [1.0, 1e-6, 1e6])
@pytest.mark.parametrize("debias", [True, "half", False])
def test_heat_step_of_a_point(debias, unit):
    """argmin int rho log rho + int |x|^2 rho / (2 tau) = N(0, tau), whatever the unit of length."""
    n, tau = 201, 0.25 * unit**2
    grid, point = jko.Grid(-3 * unit, 3 * unit, n), np.zeros(n)
    point[n // 2] = 1.0
    mu = jko.GridDensity(grid, point)
    r = jko.step(mu, jko.Entropy(), W, tau, solver=Entropic(debias=debias))
    own = float(r.measure.weights @ grid.axes[0] ** 2)
    least = -0.5 * np.log(2 * np.pi * np.e * tau) + 0.5
    excess = r.energy + own / (2 * tau) - least
    assert r.measure.cov[0, 0] == pytest.approx(tau, rel=0.02)
    assert r.sqdistance == pytest.approx(own, rel=1e-3)
    # The walls, at six standard deviations, keep out what the closed form has beyond: 2e-9.
    assert excess <= r.bias + 1e-8
    assert r.bias <= 1e-2 * gain(mu, jko.Entropy(), tau, r)


@pytest.mark.parametrize("reg", [0.25, 0.05, 0.01])
def test_the_bound_of_a_point_is_its_true_excess(reg):
    """Twenty-fold too small before: at reg = tau the excess is .011."""
    grid, point = jko.Grid(-3.0, 3.0, 201), np.zeros(201)
    point[100] = 1.0
    r = jko.step(jko.GridDensity(grid, point), jko.Entropy(), W, 0.25, solver=Entropic(reg))
    w, x = r.measure.weights, grid.axes[0]
    goal = np.exp(-(x**2) / 0.5)
    excess = float(w @ np.log(w / (goal / goal.sum())))  # KL to the step between the cells
    assert excess <= r.info["bias_reg"] * (1 + 1e-6) + 1e-12
    assert r.info["bias_reg"] <= 1.5 * excess + 1e-6


def lines(grid):
    w = np.zeros(grid.size)
    w[[60, 150, 220]] = [0.5, 0.3, 0.2]
    return w


def outlier(grid):
    x = grid.axes[0]
    return np.exp(-(((x - 0.3) / 0.1) ** 2)) + 0.05 * np.exp(-(((x - 2.3) / 0.04) ** 2))


SHAPES = {"lines": (lines, 0.01), "outlier": (outlier, 0.01)}


@pytest.mark.parametrize("debias", [True, "half", False])
@pytest.mark.parametrize("shape", SHAPES)
def test_accuracy_is_reached_on_narrow_shapes(shape, debias):
    make, tau = SHAPES[shape]
    grid = jko.Grid(-3.0, 3.0, 300)
    w = make(grid)
    mu = jko.GridDensity(grid, w / w.sum())
    answer = Entropic(debias=debias).solve(
        ProxProblem(jko.Entropy(), W, mu, tau), Controls(1e-8, accuracy=1e-2)
    )
    assert answer.remark == ""
    paid = answer.sqdistance / (2 * tau)
    fall = jko.Entropy().value(mu) - jko.Entropy().value(answer.measure) - paid
    assert answer.bias <= 1e-2 * fall
    # No density of a family through the answer does better than the bound allows.
    rng, x = np.random.default_rng(0), grid.axes[0]
    mine = jko.Entropy().value(answer.measure) + W.sqdistance(answer.measure, mu) / (2 * tau)
    for _ in range(30):
        k, phase, size = rng.integers(1, 9), rng.uniform(0, 6), 10 ** rng.uniform(-3, -1)
        other = answer.measure.weights * (1 + size * np.cos(k * x + phase))
        rival = mu.with_weights(other / other.sum())
        value = jko.Entropy().value(rival) + W.sqdistance(rival, mu) / (2 * tau)
        assert value >= mine - answer.bias - 1e-12


def test_accuracy_beyond_the_cells_is_refused_with_cells_that_do():
    grid = jko.Grid([-1.0, -1.0], [1.0, 1.0], [40, 40])
    w = np.zeros((40, 40))
    w[12] = 1.0 / 40
    problem = ProxProblem(jko.Entropy(), W, jko.GridDensity(grid, w), 0.01)
    answer = Entropic().solve(problem, Controls(1e-8, accuracy=1e-4))
    assert "use cells of at most" in answer.remark
    assert answer.info["accuracy"] > 1e-4
    mu, tau = problem.previous, problem.tau
    with pytest.raises(jko.StepFailed, match="use cells of at most"):
        jko.step(mu, jko.Entropy(), W, tau, solver=Entropic(), accuracy=1e-4)
    assert jko.step(mu, jko.Entropy(), W, tau, solver=Entropic(), accuracy=0.1).success


def test_the_regularisation_follows_the_narrowest_piece():
    """Not the distance between pieces, not an outlier, not the way round a circle."""
    tau, s = 1.0, 0.05
    for periodic in (False, True):
        grid = jko.Grid(0.0, 4.0, 1600, periodic=periodic)
        x = grid.axes[0]

        def piece(at, x=x, periodic=periodic):
            d = np.abs(x - at)
            return np.exp(-((np.minimum(d, 4 - d) if periodic else d) ** 2) / (2 * s**2))

        for density in (
            piece(2.0),
            piece(1.0) + piece(2.0) + piece(3.0),
            piece(2.0) + 1e-3 * piece(3.8),
            piece(0.01) if periodic else piece(2.0),
        ):
            mu = jko.GridDensity(grid, density / density.sum())
            eps = choose_reg(ProxProblem(1e-3 * jko.Entropy(), W, mu, tau), True)
            assert eps == pytest.approx(s**2 / 5, rel=0.02)


def test_far_tails_do_not_choose_the_regularisation():
    """The mean of w h'' was 1e18 there, and so was the regularisation."""
    grid = jko.Grid(-5.0, 5.0, 200)
    x = grid.axes[0]
    mu = jko.GridDensity(grid, np.exp(-2 * (x - 2) ** 2) / np.exp(-2 * (x - 2) ** 2).sum())
    pi = mu.with_weights(np.exp(-(x**2)) / np.exp(-(x**2)).sum())
    energy = jko.PhiDivergence(pi, p=-1)
    assert choose_reg(ProxProblem(energy, W, mu, 0.1), True) == pytest.approx(0.05, rel=0.1)
    r = jko.step(mu, energy, W, 0.1, solver=Entropic(debias=False))
    assert r.success
    assert r.bias < 0.05 * r.energy


@pytest.mark.parametrize("factor", [1e-6, 1e3])
def test_the_regularisation_has_its_unit(factor):
    """eps scales by L^2, and not with the energy and the penalty together."""
    x = np.linspace(-3, 3, 121)[1:] - 0.025
    w = np.exp(-(x**2)) / np.exp(-(x**2)).sum()
    here = jko.GridDensity(jko.Grid(-3.0, 3.0, 120), w)
    there = jko.GridDensity(jko.Grid(-3 * factor, 3 * factor, 120), w)
    eps = choose_reg(ProxProblem(jko.Entropy(), W, here, 0.05), True)
    scaled = choose_reg(ProxProblem(jko.Entropy(), W, there, 0.05 * factor**2), True)
    dearer = choose_reg(ProxProblem(factor * jko.Entropy(), W, here, 0.05 / factor), True)
    assert scaled == pytest.approx(eps * factor**2, rel=1e-9)
    assert dearer == pytest.approx(eps, rel=1e-9)


@pytest.mark.parametrize("make", [jko.Entropy, lambda: 0.1 * jko.PorousMedium(2)])
def test_the_regularisation_does_not_know_the_cut(make):
    """At fronts it followed the variance in the unrolled box."""
    grid, found = jko.Grid(0.0, 1.0, 48, periodic=True), []
    w = np.exp(-(((grid.axes[0] - 0.5) / 0.1) ** 2))
    for turn in (0, 7, 24):
        mu = jko.GridDensity(grid, np.roll(w, turn) / w.sum())
        found.append(choose_reg(ProxProblem(make(), W, mu, 0.2), True))
    assert found == pytest.approx([found[0]] * 3, rel=1e-9)


def test_steps_commute_with_shifts_on_a_circle():
    """Across the cut nothing changes: measure, distance and bound."""
    results = []
    for at in (0.5, 0.02):
        grid = jko.Grid(0.0, 1.0, 128, periodic=True)
        shift = round((at - 0.5) * 128)
        w = np.roll(np.exp(-(((grid.axes[0] - 0.5) / 0.05) ** 2)), shift)
        mu = jko.GridDensity(grid, w / w.sum())
        r = jko.step(mu, jko.Entropy(), W, 2e-3, solver=Entropic())
        results.append((np.roll(r.measure.weights, -shift), r.sqdistance, r.info["bias_reg"]))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-10)


def test_transforms_on_a_circle_are_the_least_over_all_turns():
    rng, n = np.random.default_rng(0), 17
    phi = rng.normal(size=(n, 12))
    for compiled in (False, None):
        found = c_transform(phi, (0.3, 0.7), compiled, (True, False))
        turns = np.concatenate([phi] * 3)
        flat = c_transform(turns, (0.3, 0.7), compiled)
        np.testing.assert_allclose(found.values, flat.values[n : 2 * n], atol=1e-12)
        w, q = rng.random(phi.shape), rng.random(phi.shape)
        q *= w.sum() / q.sum()
        coupled = couple(found.plan, w, q)
        assert coupled.cost >= float((phi * q).sum() + (found.values * w).sum()) - 1e-9
        assert found.plan.push(w).sum() == pytest.approx(w.sum())


@pytest.mark.parametrize("n", [30, 400])
def test_scattered_atoms_have_a_bound_too(n):
    rng = np.random.default_rng(n)
    x = rng.normal(size=(n, 2))
    mu = jko.Histogram(x, np.exp(-((x - 0.5) ** 2).sum(1)))
    pi = mu.with_weights(np.full(n, mu.mass / n))
    problem = ProxProblem(jko.KL(pi), W, mu, 0.5)
    r = jko.step(mu, jko.KL(pi), W, 0.5, solver=Entropic(0.05))
    assert np.isfinite(r.bias)
    if n == 30:
        best = jko.step(mu, jko.KL(pi), W, 0.5, solver=jko.solvers.TransportProgram())
        assert r.sqdistance == pytest.approx(W.sqdistance(r.measure, mu), rel=1e-9)
        excess = problem.objective(r.measure) - best.objective
        assert excess <= r.bias <= max(20 * excess, 1e-2 * gain(mu, jko.KL(pi), 0.5, r))


@pytest.mark.parametrize("ratio", [1e3, 1e-3, 1e6, 1e-6])
def test_axes_in_different_units(ratio):
    """What is left over of a plan was sent on along any axis: .9 of an energy of .07 at 1e3."""
    unit = np.array([1.0, ratio])
    grid = jko.Grid(lower=-4 * unit, upper=4 * unit, shape=[24, 24])
    bump = lambda at, v: jko.GridDensity.from_function(
        lambda x: np.exp(-((x / unit - at) ** 2).sum(axis=1) / (2 * v)) / (2 * np.pi * v), grid
    )
    mu, target = (jko.GridDensity(grid, d.weights / d.mass) for d in (bump(0.7, 0.5), bump(0, 1)))
    tau = 0.1 * unit.min() ** 2
    r = jko.step(mu, jko.KL(target), W, tau)
    gained = gain(mu, jko.KL(target), tau, r)
    assert r.bias <= gained
    assert r.info["bias_reg"] <= 0.1 * gained + 1e-13 * grid.spacing.max() ** 2 / tau
    # The long axis does not move: every line is a step by itself, and costs what it does alone.
    line = jko.Grid(-4.0 * unit.min(), 4.0 * unit.min(), 24)
    short = int(np.argmin(unit))
    lines, goal = (np.moveaxis(d.weights.reshape(24, 24), short, -1) for d in (mu, target))
    moved = sum(
        jko.step(jko.GridDensity(line, a), jko.KL(jko.GridDensity(line, b)), W, tau).sqdistance
        for a, b in zip(lines, goal, strict=True)
    )
    assert r.sqdistance == pytest.approx(moved, rel=2e-2)


def test_kernels_on_flat_cells_do_not_fall_back_to_a_blur():
    """The plain step, tried next, moved so far that its answer cost thirty times the energy."""
    grid = jko.Grid(lower=[0, 0], upper=[1, 1], shape=[40, 3])
    bump = lambda at: jko.GridDensity.from_function(
        lambda x: 0.05 + np.exp(-20 * ((x - at) ** 2).sum(axis=1)), grid
    )
    mu, energy = bump([0.5, 0.7]), jko.MMDEnergy(bump([0.4, 0.4]), jko.kernels.Gaussian(0.3))
    names = [solver.name for solver in jko.solvers_for(mu, energy, W, 0.02)]
    assert names.index("FiniteVolume") < names.index("Entropic(plain)")
    r = jko.step(mu, energy, W, 0.02, solver=jko.solvers.FiniteVolume())
    assert r.objective <= energy.value(mu)
    assert r.bias <= 0.05 * energy.value(mu)
