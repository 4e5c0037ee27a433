"""Ornstein-Uhlenbeck by entropic steps, against exact Gaussian steps (formulas W3, W4)."""

import numpy as np
import pytest
from scipy.optimize import brentq

import jko
from jko.solvers import Entropic

TAU, EPS = 0.05, 0.05
TARGET = jko.Gaussian([0.0], [[1.0]])


def exact_std(s, tau):
    """W3 with D = kap = 1."""
    return (s + np.sqrt(s * s + 4 * tau * (1 + tau))) / (2 * (1 + tau))


def plain_variance(a, tau, eps):
    """W4: b (1 + tau) = (-e + sqrt(e^2 + 4ab))/2 + tau + e."""
    e = eps / 2
    return brentq(
        lambda b: b * (1 + tau) - (-e + np.sqrt(e * e + 4 * a * b)) / 2 - tau - e, 1e-6, 60
    )


def debiased_variance(a, tau, eps):
    """W4: b (1 + tau) = b + (sqrt(e^2 + 4ab) - sqrt(e^2 + 4b^2))/2 + tau."""
    e = eps / 2

    def f(b):
        return b * tau - (np.sqrt(e * e + 4 * a * b) - np.sqrt(e * e + 4 * b * b)) / 2 - tau

    return brentq(f, 1e-6, 60, xtol=1e-15, rtol=1e-14)


def start(mean, std, cells=400, lower=-5.0, upper=5.0):
    grid = jko.Grid(lower, upper, cells)
    return jko.GridDensity.from_function(
        lambda x: np.exp(-((x[:, 0] - mean) ** 2) / (2 * std**2)), grid, mass=1.0
    )


def five_steps(solver):
    mu, warm, results = start(2.0, 0.5), None, []
    for _ in range(5):
        r = jko.step(mu, jko.KL(TARGET), jko.Wasserstein(), TAU, solver=solver, warm=warm)
        mu, warm = r.measure, r.warm
        results.append(r)
    return results


def moments(mu):
    return float(mu.mean[0]), float(np.sqrt(mu.cov[0, 0]))


def test_five_debiased_steps_are_the_exact_ones_within_2e_4():
    mean, std = 2.0, 0.5
    for r in five_steps(Entropic(reg=EPS)):
        mean, std = mean / (1 + TAU), exact_std(std, TAU)
        found = moments(r.measure)
        assert found[0] == pytest.approx(mean, abs=2e-4)
        assert found[1] == pytest.approx(std, abs=2e-4)
        assert abs(r.gap) <= 1e-8
        assert r.measure.mass == pytest.approx(1.0, abs=1e-14)


def test_five_plain_steps_are_the_entropic_gaussians_within_5e_5():
    mean, variance = 2.0, 0.25
    results = five_steps(Entropic(reg=EPS, debias=False))
    for r in results:
        mean, variance = mean / (1 + TAU), plain_variance(variance, TAU, EPS)
        found = moments(r.measure)
        assert found[0] == pytest.approx(mean, abs=5e-5)
        assert found[1] == pytest.approx(np.sqrt(variance), abs=5e-5)
        assert abs(r.gap) <= 1e-8
    assert moments(results[-1].measure)[1] == pytest.approx(0.78620, abs=5e-5)


def test_debiased_steps_also_match_their_own_closed_form():
    for tau, eps in [(0.05, 0.2), (0.3, 0.05)]:
        r = jko.step(start(1.0, 0.7), jko.KL(TARGET), jko.Wasserstein(), tau, solver=Entropic(eps))
        expected = np.sqrt(debiased_variance(0.49, tau, eps))
        assert moments(r.measure)[1] == pytest.approx(expected, abs=3e-6)


@pytest.mark.parametrize("debias", [True, False])
def test_order_in_eps(debias):
    """Error of the std: first order for the plain step, second for the debiased one."""
    errors = []
    for eps in (0.05, 0.1):
        solver = Entropic(reg=eps, debias=debias)
        r = jko.step(
            start(1.0, 0.6), jko.KL(TARGET), jko.Wasserstein(), 0.1, solver=solver, tol=1e-12
        )
        errors.append(abs(moments(r.measure)[1] - exact_std(0.6, 0.1)))
    assert np.log2(errors[1] / errors[0]) == pytest.approx(2 if debias else 1, abs=0.15)


def excess(b, a, tau):
    """Unregularised objective at variance b minus its minimum (the means are exact)."""
    best, s = exact_std(np.sqrt(a), tau), np.sqrt(b)
    # Both terms vanish to second order at the minimum, so differences are expanded about it.
    d = s - best
    log_part = -(np.log1p(d / best) - d / best)
    return 0.5 * d * d * (1 + 1 / tau) + log_part


@pytest.mark.parametrize("std", [0.25, 0.5])
@pytest.mark.parametrize("tau", [0.02, 0.05, 0.3])
@pytest.mark.parametrize("eps", [0.02, 0.05, 0.1])
@pytest.mark.parametrize("debias", [True, False])
def test_bias_covers_the_true_excess(std, tau, eps, debias):
    """And is within twenty times of it, or below 1 % of what the step gains."""
    a = std**2
    b = debiased_variance(a, tau, eps) if debias else plain_variance(a, tau, eps)
    solver, mu, energy = Entropic(reg=eps, debias=debias), start(1.0, std), jko.KL(TARGET)
    r = jko.step(mu, energy, jko.Wasserstein(), tau, solver=solver)
    truth, found = excess(b, a, tau), r.info["bias_reg"]
    gain = energy.value(mu) - r.energy - r.sqdistance / (2 * tau)
    assert truth <= found <= max(20 * truth, 1e-2 * gain)
    assert r.bias == found + r.info["bias_grid"]


def test_equilibrium_is_kept_by_the_debiased_step_and_moved_by_the_plain_one():
    mu = start(0.0, 1.0, lower=-6.0, upper=6.0)
    debiased = jko.step(mu, jko.KL(mu), jko.Wasserstein(), TAU, solver=Entropic(EPS), tol=1e-12)
    plain = jko.step(mu, jko.KL(mu), jko.Wasserstein(), TAU, solver=Entropic(EPS, debias=False))
    assert np.abs(debiased.measure.weights - mu.weights).sum() < 1e-6
    assert debiased.sqdistance < 1e-10
    assert np.abs(plain.measure.weights - mu.weights).sum() > 1e-2
    assert moments(plain.measure)[1] > 1.01


def test_the_regularisation_chosen_by_default_is_accurate():
    for cells, tau in [(100, 0.02), (200, 0.1), (400, 0.02)]:
        mu = start(1.0, 0.5, cells)
        r = jko.step(mu, jko.KL(TARGET), jko.Wasserstein(), tau)
        assert r.solver == "Entropic"
        mean, std = moments(r.measure)
        assert mean == pytest.approx(mu.mean[0] / (1 + tau), abs=1e-5)
        assert std == pytest.approx(exact_std(np.sqrt(mu.cov[0, 0]), tau), abs=1e-4)
