"""Steps in the arccos metric: brute-force scalar search, competitors, the fixed point itself."""

import numpy as np
import pytest
from generators import measures
from scipy.optimize import minimize_scalar

import jko
from jko.prox.stated import Controls
from jko.solvers import DualRoot, SphericalFixedPoint
from jko.solvers.hellinger.spherical import half_angle_root

SPHERE, FIXED = jko.SphericalHellinger(), jko.Hellinger(mass="fixed")
TAUS = (1e-3, 0.5, 5.0, 1e4)


def problems(mass=1.4):
    mu = measures.histogram(23, seed=3, mass=mass)
    pi = measures.sibling(mu, seed=4)
    v = np.random.default_rng(5).normal(size=mu.n)
    return {
        "potential": (mu, jko.Potential(v)),
        "kl": (mu, jko.KL(pi)),
        "inclusive + V": (mu, jko.InclusiveKL(pi) + jko.Potential(v)),
        "half chi2": (mu, jko.PhiDivergence(pi, p=2.0)),
        "mixed": (mu, jko.KL(pi) + 0.3 * jko.PhiDivergence(pi, p=0.5)),
        "capped": (mu, jko.Potential(v) + jko.BoxConstraint(0.2 * mass)),
        # All mass moves to an atom that had none: the angle is as large as it gets.
        "opposite": (
            jko.Histogram([[0.0], [1.0], [2.0]], [0.0, mass, 0.0]),
            jko.Potential([-1.0, 0.0, 3.0]),
        ),
    }


NAMES = tuple(problems())


@pytest.mark.parametrize("tau", TAUS)
@pytest.mark.parametrize("name", NAMES)
def test_against_a_search_over_hellinger_steps(name, tau):
    mu, energy = problems()[name]
    problem = jko.ProxProblem(energy, SPHERE, mu, tau)
    found = jko.step(mu, energy, SPHERE, tau)
    assert found.solver == "SphericalFixedPoint"

    def objective(share):  # Hellinger steps of length share * tau are the only candidates (H3)
        inner = jko.ProxProblem(energy, FIXED, mu, share * tau)
        candidate = DualRoot().solve(inner, Controls(DualRoot.default_tol))  # judged as a rival
        return problem.objective(candidate.measure)

    lengths = np.linspace(2 / np.pi, 1, 60)
    values = [objective(t) for t in lengths]
    best = int(np.argmin(values))
    around = lengths[max(best - 1, 0)], lengths[min(best + 1, 59)]
    refined = minimize_scalar(objective, bounds=around, method="bounded", options={"xatol": 1e-9})
    lowest = min(refined.fun, *values)
    scale = max(1, abs(lowest))
    assert found.objective <= lowest + 1e-13 * scale
    assert found.objective >= lowest - 1e-9 * scale
    assert abs(found.gap) < 1e-12 * scale


@pytest.mark.parametrize("name", NAMES)
def test_no_competitor_does_better(name, rng):
    mu, energy = problems()[name]
    for tau in TAUS:
        found = jko.step(mu, energy, SPHERE, tau)
        problem = jko.ProxProblem(energy, SPHERE, mu, tau)
        w = found.measure.weights
        for size in (1e-5, 1e-2, 0.5):
            for _ in range(10):
                other = w * np.exp(size * rng.normal(size=w.size))
                other[rng.integers(w.size)] += size * mu.mass / w.size
                rival = mu.with_weights(other * (mu.mass / other.sum()))
                slack = 1e-13 * max(1, abs(found.objective))
                assert problem.objective(rival) >= found.objective - slack


@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_hellinger_step_of_the_shortened_length(name):
    mu, energy = problems()[name]
    for tau in TAUS:
        found = jko.step(mu, energy, 0.5 * SPHERE, 2 * tau)
        half = SPHERE.angle(found.measure.weights, mu.weights) / 2
        assert found.info["half_angle"] == pytest.approx(half, rel=1e-9, abs=1e-12)
        inner = jko.step(mu, energy, FIXED, tau * np.sinc(half / np.pi), solver=DualRoot())
        np.testing.assert_allclose(
            found.measure.weights, inner.measure.weights, rtol=1e-8, atol=1e-14
        )
        assert found.measure.mass == pytest.approx(mu.mass, rel=1e-15)


def test_the_mass_only_scales_the_step():
    for name in ("kl", "mixed", "potential"):
        (mu, energy), (one, same) = problems(mass=4.0)[name], problems(mass=1.0)[name]
        many = jko.step(mu, energy, SPHERE, 0.5)
        single = jko.step(one, same, SPHERE, 0.5)
        np.testing.assert_allclose(many.measure.weights, 4 * single.measure.weights, rtol=1e-9)
        assert many.sqdistance == pytest.approx(4 * single.sqdistance, rel=1e-9)


def test_a_short_step_is_a_hellinger_step_and_a_long_one_reaches_the_minimum():
    mu, energy = problems()["half chi2"]
    mu = energy.target.with_weights(0.5 * energy.target.weights + 0.5 * energy.target.weights[::-1])
    energy = jko.InclusiveKL(energy.target)
    short = jko.step(mu, energy, SPHERE, 1e-4)
    flat = jko.step(mu, energy, FIXED, 1e-4)
    np.testing.assert_allclose(short.measure.weights, flat.measure.weights, rtol=1e-8)
    far = jko.step(mu, energy, SPHERE, 1e9)
    np.testing.assert_allclose(far.measure.weights, energy.target.weights, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("slope", [0.0, 0.1, 1.0, 30.0, 1e4])
@pytest.mark.parametrize("start", [0.0, 1e-9, 0.3, 1.5])
def test_the_scalar_root_converges_for_any_decrease(slope, start):
    calls = []

    def moved(h):
        calls.append(h)
        return max(start - slope * h**2, 0.0)

    h, count = half_angle_root(moved, limit=100)
    exact = start if slope == 0 else (-1 + np.sqrt(1 + 4 * slope * start)) / (2 * slope)
    assert h == pytest.approx(exact, rel=1e-12, abs=1e-15)
    assert count == len(calls) <= 25
    assert calls[-1] == h


def test_refusals():
    mu, _ = problems()["kl"]
    coupled = jko.MMDEnergy(measures.sibling(mu, seed=4), jko.kernels.Gaussian(1.0))
    with pytest.raises(jko.Unsupported, match="separable"):
        jko.step(mu, coupled, SPHERE, 1.0, solver=SphericalFixedPoint())
    with pytest.raises(jko.Unsupported, match="forbids every atom"):
        jko.step(mu, jko.Potential(np.full(mu.n, np.inf)), SPHERE, 1.0)
