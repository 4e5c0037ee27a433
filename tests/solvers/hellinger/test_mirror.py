"""Divergence steps: the softmax of formula H4, roots to fifty digits, hard cases, bad input."""

import mpmath
import numpy as np
import pytest
from generators import measures

import jko
from jko.solvers import DualRoot, Mirror

POWERS = (-0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0)


def full(seed, n=17, mass=1.0):
    return measures.histogram(n, seed=seed, mass=mass, zeros=0)


def take(mu, energy, geometry, tau, **kw):
    return jko.step(mu, energy, geometry, tau, solver=Mirror(), **kw)


@pytest.mark.parametrize("tau", [1e-3, 1.0, 1e3])
def test_entropic_step_of_kl_is_the_geometric_mean(tau):
    mu = measures.histogram(seed=1, mass=2.0)
    pi = measures.sibling(mu, seed=2, zeros=0)
    w = mu.weights ** (1 / (1 + tau)) * pi.weights ** (tau / (1 + tau))
    result = take(mu, jko.KL(pi), jko.Divergence(p=1), tau)
    np.testing.assert_allclose(result.measure.weights, w * (2.0 / w.sum()), rtol=1e-12)


@pytest.mark.parametrize("mass", ["fixed", "free"])
def test_entropic_step_of_a_potential_tilts(mass):
    mu = measures.histogram(seed=3, mass=2.0)
    v = np.linspace(-1, 5, mu.n)
    w = mu.weights * np.exp(-0.7 * v)
    if mass == "fixed":
        w *= 2.0 / w.sum()
    result = take(mu, jko.Potential(v), jko.Divergence(p=1, mass=mass), 0.7)
    np.testing.assert_allclose(result.measure.weights, w, rtol=1e-12)


def test_softmax_stays_in_log_domain():
    mu = full(4)
    v = np.linspace(0, 1e5, mu.n)
    result = take(mu, jko.Potential(v), jko.Divergence(p=1), 1.0)
    assert result.measure.weights[0] == 1.0
    assert abs(result.gap) < 1e-12


@pytest.mark.parametrize("p", POWERS)
@pytest.mark.parametrize("q", [0.0, 1.0, 2.0, 1.7])
def test_stationary_to_many_digits(p, q):
    """h'(w) = lam for every atom, with h' written out from phi_p and evaluated by mpmath."""
    mu, tau = full(5, mass=1.3), 0.6
    pi = measures.sibling(mu, seed=6, mass=0.8, zeros=0)
    result = take(mu, jko.PhiDivergence(pi, p=q), jko.Divergence(p=p), tau)
    slopes = []
    with mpmath.workdps(50):

        def slope(power, w, m):
            t = mpmath.mpf(w) / mpmath.mpf(m)
            return mpmath.log(t) if power == 1 else (t ** (power - 1) - 1) / (power - 1)

        rows = zip(result.measure.weights, mu.weights, pi.weights, strict=True)
        for w, before, target in rows:
            slopes.append(slope(q, w, target) + slope(p, w, before) / tau)
    spread = float(max(slopes) - min(slopes))
    assert spread < 1e-12 * max(1.0, abs(float(slopes[0])))
    assert abs(result.measure.mass - 1.3) < 1e-14 * 1.3


@pytest.mark.parametrize("p", POWERS)
def test_no_competitor_does_better(p, rng):
    mu = measures.histogram(seed=7)
    pi = mu.with_weights(np.where(mu.weights > 0, 1.0, 0.0) / (mu.weights > 0).sum())
    energy = jko.KL(pi) + 0.5 * jko.Potential(lambda x: x[:, 0])
    problem = jko.ProxProblem(energy, jko.Divergence(p=p), mu, 0.4)
    found = take(mu, energy, jko.Divergence(p=p), 0.4)
    for size in 10.0 ** rng.uniform(-5, 0, 40):
        w = found.measure.weights * np.exp(size * rng.normal(size=mu.n))
        assert problem.objective(mu.with_weights(w / w.sum())) >= found.objective - 1e-13


@pytest.mark.parametrize("tau", [0.05, 2.0])
@pytest.mark.parametrize("mass", ["fixed", "free"])
def test_half_is_the_hellinger_step(tau, mass):
    mu = measures.histogram(seed=8, mass=2.0)
    energy = jko.PhiDivergence(measures.sibling(mu, seed=9), p=0.3) + jko.Potential(
        lambda x: x[:, 0] ** 2
    )
    ours = take(mu, energy, jko.Divergence(p=0.5, mass=mass), tau)
    theirs = jko.step(mu, energy, jko.Hellinger(mass=mass), tau, solver=DualRoot())
    np.testing.assert_allclose(ours.measure.weights, theirs.measure.weights, rtol=1e-9)
    assert abs(ours.objective - theirs.objective) < 1e-12


def test_hard_case_fills_the_empty_atom_of_least_potential():
    mu = jko.Histogram([[0.0], [1.0], [2.0]], [0.0, 0.5, 0.5])
    result = take(mu, jko.Potential([0.0, 1.0, 2.0]), jko.Divergence(p=0.5), 4.0)
    np.testing.assert_allclose(result.measure.weights, [0.84375, 0.125, 0.03125], rtol=1e-13)


def test_ceilings_are_respected_and_tight():
    mu = full(10)
    energy = jko.BoxConstraint(0.08) + jko.Potential(lambda x: x[:, 0])
    result = take(mu, energy, jko.Divergence(p=1), 5.0)
    w = result.measure.weights
    assert w.max() <= 0.08 * (1 + 1e-12)
    assert (w > 0.08 * (1 - 1e-9)).sum() >= 5


def test_large_steps_start_from_a_sample():
    grid = jko.Grid([-4, -4], [4, 4], (160, 160))
    mu = jko.GridDensity.from_function(lambda x: np.exp(-(x**2).sum(1) / 2), grid, mass=1.0)
    pi = jko.GridDensity.from_function(lambda x: np.exp(-((x - 1) ** 2).sum(1)), grid, mass=1.0)
    result = take(mu, jko.PhiDivergence(pi, p=2), jko.Divergence(p=1), 1.0)
    assert result.iterations <= 8
    assert abs(result.gap) < 1e-12


def test_unbounded_step_says_so():
    mu = full(11)
    with pytest.raises(jko.StepFailed, match=r"falls like .* smaller tau, or fix the mass"):
        take(mu, jko.Potential(np.full(mu.n, -9.0)), jko.Divergence(p=0.5, mass="free"), 1.0)


def test_ceilings_that_cannot_carry_the_mass():
    mu = full(12)
    with pytest.raises(jko.Unsupported, match="less than the mass"):
        take(mu, jko.BoxConstraint(0.01), jko.Divergence(p=1), 1.0)


def test_an_atom_that_must_and_cannot_carry_weight():
    mu = measures.histogram(seed=13)
    target = measures.sibling(mu, seed=14, zeros=0)
    with pytest.raises(jko.Unsupported, match=r"must carry weight .* closed"):
        take(mu, jko.InclusiveKL(target), jko.Divergence(p=1), 1.0)


def test_refusals():
    mu = full(15)
    k = jko.kernels.Gaussian(1.0)
    with pytest.raises(jko.Unsupported, match="separable energies only"):
        take(mu, jko.MMDEnergy(full(16), k), jko.Divergence(p=1), 1.0)
    with pytest.raises(jko.Unsupported, match="divergence steps"):
        take(mu, jko.KL(mu), jko.Hellinger(), 1.0)


@pytest.mark.parametrize("unit", [1e-30, 1e-10, 1e-5, 1e8])
@pytest.mark.parametrize("p", [-1.0, 0.0, 0.5, 1.5, 2.0, 3.0])
def test_the_unit_of_the_energy_does_not_matter(p, unit):
    """Energy and penalty times a number: the same step, and at p = 2 one known by hand."""
    points = np.arange(4.0)[:, None]
    w, v = np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.0, 0.5, 1.0, 1.5])
    steps = [
        jko.step(
            jko.Histogram(points, w), jko.Potential(c * v), jko.Divergence(p), 0.7 / c
        ).measure.weights
        for c in (1.0, unit)
    ]
    np.testing.assert_allclose(steps[1], steps[0], rtol=1e-12)
    if p == 2:  # w (1 - tau (V - mean V)), all positive here
        np.testing.assert_allclose(steps[1], w * (1 - 0.7 * (v - w @ v)), rtol=1e-12)


def test_mass_that_leaves_an_atom_of_huge_curvature():
    """At the previous measure the curvature is 1e29 times what it is at the answer."""
    points = np.arange(3.0)[:, None]
    mu = jko.Histogram(points, [1e-8, 0.28, 1e-7])
    target = jko.Histogram(points, [0.1, 1e-15, 0.1801])
    energy = 0.37 * jko.KL(target) + 2.6 * jko.PhiDivergence(target, p=3)
    found = jko.step(mu, energy, jko.Divergence(p=1), 80.0)
    assert found.solver == "Mirror"
    w, t = found.measure.weights, target.weights
    slopes = 0.37 * np.log(w / t) + 2.6 * ((w / t) ** 2 - 1) / 2 + np.log(w / mu.weights) / 80
    np.testing.assert_allclose(slopes, slopes[0], rtol=1e-9)
    assert w.sum() == pytest.approx(mu.mass, rel=1e-12)
