"""The Gaussian JKO step: exact, and certified by a gap that bounds the true suboptimality."""

import numpy as np
import pytest

import jko
from jko import reference
from jko.energies import KL, Entropy, InclusiveKL
from jko.geometries import Hellinger, Wasserstein
from jko.prox import ProxProblem
from jko.prox.stated import Answer
from jko.solvers import Bures
from jko.solvers.step import step

W = Wasserstein()


def gaussian(rng, d, condition=10.0, mass=1.0) -> jko.Gaussian:
    q = np.linalg.qr(rng.normal(size=(d, d)))[0]
    values = np.geomspace(1, 1 / condition, d)
    return jko.Gaussian(rng.normal(size=d), (q * values) @ q.T, mass)


@pytest.mark.parametrize("tau", [1e-3, 0.3, 50.0])
@pytest.mark.parametrize("d", [1, 2, 5])
def test_agrees_with_the_plain_formula(d, tau):
    rng = np.random.default_rng(d)
    a, b = gaussian(rng, d), gaussian(rng, d)
    out = step(a, KL(b), W, tau, solver=Bures())
    mean, cov = reference.gaussian_jko_step(a.mean, a.cov, b.mean, b.cov, tau)
    assert out.measure.mean == pytest.approx(mean, abs=1e-12)
    assert out.measure.cov == pytest.approx(cov, abs=1e-12)
    assert out.gap < 1e-13
    assert out.residual < 1e-6
    assert out.sqdistance == pytest.approx(W.sqdistance(out.measure, a))


def test_in_one_dimension_it_is_the_ornstein_uhlenbeck_step():
    a, b = jko.Gaussian([1.0], [[4.0]]), jko.Gaussian([0.5], [[0.25]])
    out = step(a, KL(b), W, 0.3).measure
    mean, std = reference.ou_step(1.0, 2.0, 0.3, stiffness=4.0, centre=0.5)
    assert out.mean[0] == pytest.approx(mean, abs=1e-14)
    assert out.cov[0, 0] == pytest.approx(std**2, abs=1e-14)


@pytest.mark.parametrize("tau", [1e-4, 0.1, 10.0, 1e4])
@pytest.mark.parametrize("condition", [1e5, 1e9])
def test_ill_conditioned_covariances_stay_certified(condition, tau):
    rng = np.random.default_rng(7)
    for d in (2, 4, 8):
        a, b, c = (gaussian(rng, d, condition) for _ in range(3))
        for energy in (KL(b), 3 * KL(b), KL(b) + 0.5 * KL(c)):
            out = step(a, energy, W, tau)
            assert out.solver == "Bures"
            assert 0 <= out.gap < 1e-11


def test_stiff_targets_against_the_exact_step_per_axis():
    """Diagonal covariances: every axis is a scalar step, correct to relative precision."""
    start, end = np.geomspace(1, 1e-9, 5), np.geomspace(1e-9, 1, 5)
    out = step(
        jko.Gaussian(np.ones(5), np.diag(start)), KL(jko.Gaussian(0 * end, np.diag(end))), W, 0.1
    )
    for i in range(5):
        mean, std = reference.ou_step(1.0, start[i] ** 0.5, 0.1, stiffness=1 / end[i])
        assert out.measure.mean[i] == pytest.approx(mean, rel=1e-12)
        assert out.measure.cov[i, i] == pytest.approx(std**2, rel=1e-10)


@pytest.mark.parametrize("which", ["one", "scaled", "sum"])
@pytest.mark.parametrize("size", [1e-6, 1e-3, 0.1, 1.0])
def test_gap_bounds_the_true_suboptimality(which, size):
    """Perturbed answers: objective - minimum <= gap, and the gap is not idle for small ones."""
    rng = np.random.default_rng(3)
    for trial in range(8):
        d, tau, mass = 1 + trial % 3, 10 ** rng.uniform(-2, 1.5), 0.5 + trial
        a, b, c = (gaussian(rng, d, 50, mass) for _ in range(3))
        energy = {"one": KL(b), "scaled": 2.5 * KL(b), "sum": KL(b) + 0.3 * KL(c)}[which]
        problem = ProxProblem(energy, 1.7 * W, a, tau)
        best = step(a, energy, 1.7 * W, tau)
        twist = np.eye(d) + size * rng.normal(size=(d, d)) / d
        worse = jko.Gaussian(
            best.measure.mean + size * rng.normal(size=d), twist @ best.measure.cov @ twist.T, mass
        )
        gap = problem.certificate(Answer(worse, problem, 0)).gap
        excess = problem.objective(worse) - best.objective
        assert -1e-12 < excess <= gap * (1 + 1e-9) + 1e-12
        if size == 1e-3:
            # The Hessian used is that of the quadratic terms: the entropy alone is left out.
            assert gap < 30 * excess


def test_no_gaussian_does_better():
    rng = np.random.default_rng(5)
    a, b, c = (gaussian(rng, 3) for _ in range(3))
    energy = 0.7 * KL(b) + 2 * KL(c)
    out = step(a, energy, W, 0.4)
    problem = ProxProblem(energy, W, a, 0.4)
    assert out.objective == pytest.approx(problem.objective(out.measure), abs=1e-14)
    for _ in range(50):
        twist = np.eye(3) + 1e-3 * rng.normal(size=(3, 3))
        other = jko.Gaussian(
            out.measure.mean + 1e-3 * rng.normal(size=3), twist @ out.measure.cov @ twist.T
        )
        assert problem.objective(other) > out.objective


def test_the_rate_of_the_geometry_scales_the_step():
    rng = np.random.default_rng(6)
    a, b = gaussian(rng, 2), gaussian(rng, 2)
    scaled, plain = step(a, KL(b), 3 * W, 0.1), step(a, KL(b), W, 0.3)
    assert scaled.measure.cov == pytest.approx(plain.measure.cov, abs=1e-14)
    assert scaled.sqdistance == pytest.approx(plain.sqdistance / 3)
    assert step(a, 3 * KL(b), W, 0.1).measure.cov == pytest.approx(plain.measure.cov, abs=1e-14)


def test_mass_is_kept_and_does_not_matter():
    rng = np.random.default_rng(8)
    a, b = gaussian(rng, 2, mass=5.0), gaussian(rng, 2, mass=0.3)
    out = step(a, KL(b), W, 0.1)
    light = step(jko.Gaussian(a.mean, a.cov), KL(b), W, 0.1)
    assert out.measure.mass == 5.0
    assert out.measure.cov == pytest.approx(light.measure.cov, abs=1e-14)


@pytest.mark.parametrize(
    ("energy", "geometry", "measure", "sentence"),
    [
        ("kl", Hellinger(), "gaussian", "it steps in jko.Wasserstein"),
        ("kl", W, "particles", "it moves a jko.Gaussian"),
        ("inclusive", W, "gaussian", "the energy must be jko.KL to a jko.Gaussian"),
        ("sum", W, "gaussian", "the energy must be jko.KL to a jko.Gaussian"),
        ("particles", W, "gaussian", "the energy must be jko.KL to a jko.Gaussian"),
    ],
)
def test_refusals(energy, geometry, measure, sentence):
    g, p = jko.Gaussian([0.0], [[1.0]]), jko.Particles([[0.0], [1.0]])
    energies = {
        "kl": KL(g),
        "inclusive": InclusiveKL(g),
        "sum": KL(g) + Entropy(),
        "particles": KL(p),
    }
    mu = g if measure == "gaussian" else p
    with pytest.raises(jko.Unsupported, match=sentence):
        step(mu, energies[energy], geometry, 0.1, solver=Bures())
    problem = ProxProblem(energies[energy], W, g, 0.1)
    if energy in ("inclusive", "sum", "particles"):
        assert problem.certificate(Answer(g, problem, 0)) == (None, None)
