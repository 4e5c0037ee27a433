"""Entropic steps of energies with kernels: on grids, certified, and as good as they say."""

import numpy as np
import pytest

import jko
from jko.forms.separable import Separable
from jko.numerics.elementary import log_or_minus_inf
from jko.prox.duality.fenchel import fenchel_gap
from jko.prox.problem import ProxProblem
from jko.solvers import Entropic
from jko.solvers.entropic import run as entropic_run
from jko.solvers.entropic.maps import LOWEST, SelfPotential, chebyshev
from jko.solvers.entropic.scaling import self_scaling
from jko.solvers.entropic.stated import EntropicStep

W2 = jko.Wasserstein()


def planar(cells, shape=None):
    """Two bells off each other's axes on cells x (cells - 2), so that the axes differ."""
    grid = jko.Grid([-3.0, -3.0], [3.0, 3.0], shape or [cells, cells - 2])
    bell = lambda c, s: jko.GridDensity.from_function(
        lambda x: np.exp(-((x - c) ** 2).sum(axis=1) / (2 * s**2)), grid, mass=1.0
    )
    return bell([0.9, -0.5], 0.5), bell([-0.6, 0.2], 0.7)


def energies(pi, width):
    mmd = jko.MMDEnergy(pi, jko.kernels.Gaussian(width))
    well = jko.Potential(lambda x: 0.1 * (x**2).sum(axis=1))
    return {
        "mmd": mmd,
        "mmd+well": mmd + well,
        "mmd+entropy": mmd + 0.1 * jko.Entropy(),
        "mmd+porous": mmd + 0.02 * jko.PorousMedium(2),
        "mmd+box": mmd + jko.BoxConstraint(1.0),
        "interaction": jko.Interaction(jko.kernels.Gaussian(width)) + well,
        "laplace": jko.MMDEnergy(pi, jko.kernels.Laplace(width)),
    }


NAMES = list(energies(planar(4)[1], 1.0))


@pytest.mark.filterwarnings("ignore:cells .* too coarse:jko.JkoWarning")
@pytest.mark.parametrize("tau", [0.01, 0.2, 1.0])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("debias", [True, False, "half"])
def test_steps_are_certified_without_dense_systems(name, debias, tau, monkeypatch):
    monkeypatch.setattr(entropic_run, "newton", lambda *_: pytest.fail("a dense Newton system"))
    mu, pi = planar(40)
    r = jko.step(mu, energies(pi, 0.8)[name], W2, tau, solver=Entropic(debias=debias))
    assert r.gap <= 1e-8
    assert r.measure.mass == pytest.approx(1.0, abs=1e-12)
    assert r.measure.weights.min() >= 0
    assert r.energy < r.baseline or debias is False
    assert r.iterations < 1000


@pytest.mark.filterwarnings("ignore:cells .* too coarse:jko.JkoWarning")
@pytest.mark.parametrize("width", [0.3, 0.8, 2.0])
@pytest.mark.parametrize("debias", [True, False, "half"])
def test_no_competitor_wins_more_than_the_gap(debias, width):
    mu, pi = planar(16)
    energy = energies(pi, width)["mmd"]
    r = jko.step(mu, energy, W2, 0.3, solver=Entropic(debias=debias))
    stated = EntropicStep(ProxProblem(energy, W2, mu, 0.3), r.info["reg"], debias)
    rng = np.random.default_rng(0)
    w = r.measure.weights
    x = mu.points - mu.mean
    rivals = [w * np.exp(size * rng.standard_normal(mu.n)) for size in (1e-3, 1e-2, 0.3)]
    rivals += [w * np.exp(0.01 * x @ rng.standard_normal(2)) for _ in range(3)]
    rivals += [0.99 * w + 0.01 * mu.weights, 0.99 * w + 0.01 * pi.weights]
    for rival in rivals:
        rival = mu.with_weights(rival / rival.sum())
        assert stated.objective(rival) >= r.objective - r.gap - 1e-12


def test_a_tighter_tolerance_is_met_and_agrees():
    mu, pi = planar(26)
    energy = energies(pi, 0.8)["mmd"]
    loose, tight = (
        jko.step(mu, energy, W2, 0.2, solver=Entropic(), tol=tol) for tol in (1e-8, 1e-10)
    )
    assert tight.gap <= 1e-10
    assert abs(tight.objective - loose.objective) <= loose.gap + tight.gap
    # What the last digits of the gap leave open is of short wave length and small.
    assert np.abs(tight.measure.weights - loose.measure.weights).sum() < 1e-3


def test_three_dimensions_and_large_grids_take_few_sweeps():
    for shape in ([96, 90], [16, 16, 14]):
        grid = jko.Grid([-3.0] * len(shape), [3.0] * len(shape), shape)
        mu, pi = (
            jko.GridDensity.from_function(f, grid, mass=1.0)
            for f in (
                lambda x: np.exp(-((x - 0.5) ** 2).sum(axis=1)),
                lambda x: np.exp(-((x + 0.5) ** 2).sum(axis=1)),
            )
        )
        energy = jko.MMDEnergy(pi, jko.kernels.Gaussian(0.8))
        # The terms of this energy are a fifth of 1, and the gap is relative to them: 216 and 345
        # sweeps, where 300 were enough for a gap of 1e-8 that is now 1e-10.
        r = jko.step(mu, energy, W2, 0.2, solver=Entropic())
        assert r.gap <= 1e-8
        assert r.iterations < 420


def test_late_steps_of_a_flow_stay_cheap():
    """The measure roughens at the scale of the blur along a flow; its steps must not mind."""
    mu, pi = planar(40)
    sol = jko.flow(mu, energies(pi, 0.8)["mmd"], 4 * W2, tau=0.02, steps=16)
    assert all(s.substeps[0].gap <= 1e-8 for s in sol.steps)
    assert max(s.substeps[0].iterations for s in sol.steps) < 700
    assert (np.diff(sol.energies) < 0).all()


def test_the_floor_of_the_self_potential_costs_what_it_says():
    mu, pi = planar(16)
    problem = ProxProblem(energies(pi, 0.8)["mmd"], W2, mu, 0.2)
    stated = EntropicStep(problem, 0.3, True)
    floor = 1e-6
    own = SelfPotential(stated, floor)
    assert own.mu * mu.n / stated.rate == pytest.approx(floor)
    plan = stated.plan(np.zeros(mu.n))
    log_d = self_scaling(stated.kernel, plan.log_w, tol=1e-13)
    raised = self_scaling(stated.kernel, np.logaddexp(plan.log_w, np.log(own.mu)), tol=1e-13)
    extra = [stated.transport(plan, d) / (2 * problem.step) for d in (log_d, raised)]
    # d'Kd/2 - <w, log d> at the wrong d: less than n mu, of which half goes into the energy.
    assert 0 < extra[1] - extra[0] < floor
    assert SelfPotential(EntropicStep(ProxProblem(jko.KL(pi), W2, mu, 0.2), 0.3, True), 1.0).mu == 0


@pytest.mark.parametrize("terms", [2, 5, 16])
def test_the_polynomial_approximates_the_inverse(terms):
    values = np.geomspace(1e-6, 2.0, 400)
    answer = chebyshev(lambda x: values * x, np.ones(400), terms)
    assert (answer > 0).all()
    assert answer.max() <= terms**2 + 1
    left = np.abs(1 - values * answer)[values >= LOWEST].max()
    expected = 1 / np.cosh(terms * np.arccosh((2 + LOWEST) / (2 - LOWEST)))
    assert left == pytest.approx(expected, rel=1e-3)


def test_a_sweep_stands_still_at_the_solution():
    rng = np.random.default_rng(3)
    mu, pi = planar(12)
    stated = EntropicStep(ProxProblem(energies(pi, 0.8)["mmd"], W2, mu, 0.2), 0.5, True)
    for terms in (1, 16):
        own = SelfPotential(stated, 1e-9, terms)
        log_d = rng.standard_normal(mu.n)
        smooth = stated.kernel.log_apply(log_d)
        log_w = log_or_minus_inf(np.exp(log_d + smooth) - own.mu)
        np.testing.assert_allclose(own.change(log_w, log_d, smooth), 0, atol=1e-13)


def test_the_gap_of_a_linear_energy_is_not_lost_to_rounding():
    """F* is the mass times the largest y - V: one rounding above it the bound is infinite."""
    rng = np.random.default_rng(4)
    for _ in range(200):
        v, y, w = rng.standard_normal((3, 9)) * 10.0 ** rng.integers(-3, 4)
        w = np.abs(w) / np.abs(w).sum()
        gap, _ = fenchel_gap(Separable(v), w, y)
        exact = (y - v).max() - w @ (y - v)
        assert gap == pytest.approx(exact, abs=1e-13 * np.abs([v, y]).max())


def test_the_multiplier_of_a_gap_is_refined():
    """The gap of h + h* is that of the best constant."""
    rng = np.random.default_rng(5)
    w = rng.random(30)
    w[::4] = 0
    h = Separable(rng.standard_normal(30), {2.0: np.full(30, 0.7)})
    y = h.gradient(w) + np.where(w > 0, 0.03 * rng.standard_normal(30), 0.2)
    levels = np.linspace(-0.5, 1.5, 2001)
    conjugate = lambda z: (np.maximum(z, 0) ** 2).sum(axis=0) / 1.4
    z = y[:, None] - h.linear[:, None] - levels
    brackets = h.value(w) + conjugate(z) - (z + h.linear[:, None]).T @ w
    assert fenchel_gap(h, w, y)[0] == pytest.approx(brackets.min(), rel=1e-4)
