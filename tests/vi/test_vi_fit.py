"""Exclusive fits: the right optimum, whatever the scales; rules and what they claim."""

import numpy as np
import pytest
from generators.logistic import Logistic
from generators.problems import bent_target, smooth_target

import jko
from jko.expectations import Cubature, GaussHermite, MonteCarlo
from jko.geometries.gaussian import gaussian_kl

W, SHE = jko.Wasserstein(), jko.SphericalHellinger()


# -- expectation rules ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "dim"),
    [(GaussHermite(8), 2), (Cubature(300), 2), (Cubature(300), 9), (MonteCarlo(400), 9)],
    ids=str,
)
def test_rules_integrate_quadratics_exactly(rule, dim):
    nodes = rule.nodes(dim)
    assert nodes.weights.sum() == pytest.approx(1.0, abs=1e-13)
    np.testing.assert_allclose(nodes.mean(nodes.z), 0, atol=1e-13)
    second = (nodes.z * nodes.weights[:, None]).T @ nodes.z
    np.testing.assert_allclose(second, np.eye(dim), atol=1e-12)
    assert rule.nodes(dim) is nodes  # drawn once: common random numbers


@pytest.mark.parametrize("rule", [Cubature(500), MonteCarlo(500)], ids=str)
def test_standard_errors_cover_the_error(rule):
    """E cos(x_0) = e^{-1/2} and its Hessian, over 40 seeds: the errors claimed are the errors."""
    kind, truth, misses, claimed, made = type(rule), np.exp(-0.5), 0, 0.0, 0.0
    energy = jko.LogDensity(lambda x: -np.cos(x[:, 0]), dim=5)
    g = jko.Gaussian(np.zeros(5), np.eye(5))
    hessian = np.zeros((5, 5))
    hessian[0, 0] = -truth
    for seed in range(40):
        found = jko.KL(energy, kind(500, seed)).gaussian_form().moments(g)
        misses += abs(found.value - truth) > 2 * found.value_error
        claimed += found.error**2
        made += (found.slope**2).sum() + 0.5 * ((found.curvature - hessian) ** 2).sum()
    assert misses <= 8
    assert 0.6 <= np.sqrt(claimed / made) <= 1.6


def test_curvature_is_the_derivative_of_the_value():
    """Reflected Stein products are the exact derivative of the sum over nodes, not of E V."""
    form = jko.KL(bent_target(), Cubature(60, seed=2)).gaussian_form()
    rng = np.random.default_rng(0)
    root = np.linalg.cholesky([[1.0, 0.4], [0.4, 0.7]])
    g = jko.Gaussian([0.3, -0.2], root @ root.T)
    found = form.moments(g)
    for _ in range(4):
        turn, shift = rng.normal(size=(2, 2)), rng.normal(size=2)
        turn = turn + turn.T

        def moved(t, turn=turn, shift=shift):
            cov = root @ (np.eye(2) + t * turn) @ root.T
            return form.moments(jko.Gaussian(g.mean + t * root @ shift, cov)).value

        slope = (moved(1e-5) - moved(-1e-5)) / 2e-5
        expected = found.slope @ shift + 0.5 * (found.curvature * turn).sum()
        assert slope == pytest.approx(expected, abs=1e-7)


# -- fits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("gradient", [True, False])
@pytest.mark.parametrize("condition", [1e3, 1e9])
@pytest.mark.parametrize("d", [2, 5, 20])
def test_condition_numbers(d, condition, gradient):
    """From N(0, I) to covariances of condition 1e9: 1e-6 in the natural metric."""
    rng = np.random.default_rng(d)
    q = np.linalg.qr(rng.normal(size=(d, d)))[0]
    values = np.geomspace(1, 1 / condition, d)
    mean = rng.normal(size=d)
    target = jko.Gaussian(mean, (q * values) @ q.T)
    fit = jko.vi.fit(
        lambda x: -0.5 * (((x - mean) @ q) ** 2 / values).sum(axis=1),
        d,
        gradient=(lambda x: -((x - mean) @ q / values) @ q.T) if gradient else None,
        start=jko.Gaussian(np.zeros(d), np.eye(d)),
        tol=5e-7,
    )
    assert fit.success
    assert np.linalg.eigvalsh(fit.measure.cov)[0] > 0
    assert np.sqrt(2 * max(gaussian_kl(fit.measure, target), 0)) <= 1e-6
    assert np.sqrt(2 * max(gaussian_kl(fit.laplace, target), 0)) <= 1e-6


@pytest.mark.parametrize(("dim", "count"), [(10, 50), (100, 500)])
def test_logistic_regression_reaches_the_optimum(dim, count):
    """Against L-BFGS on the exact bound: within 1e-3."""
    problem = Logistic.draw(dim, count)
    fit = jko.vi.fit(problem.target, rng=0)
    best, gradient = problem.optimum(fit.laplace)
    assert gradient < 1e-4
    short = best - problem.elbo_of(fit.measure)
    assert -1e-6 <= short <= 1e-3
    assert short <= 0.01 * (best - problem.elbo_of(fit.laplace))  # Laplace: .31 and 6.2 short
    assert abs(fit.elbo - problem.elbo_of(fit.measure)) <= 4 * fit.elbo_error
    assert short <= 2 * fit.moment_error**2  # what the error claimed allows
    assert len(fit.trace) <= 20  # steps: 11 and 15; the seconds are in benchmarks/


def test_every_geometry_finds_the_same_gaussian():
    target = smooth_target()
    best = jko.vi.fit(target, tol=1e-6)
    for geometry in (W, jko.Divergence(p=1), W + SHE):
        other = jko.vi.fit(target, geometry=geometry, tol=1e-6)
        np.testing.assert_allclose(other.measure.cov, best.measure.cov, atol=1e-5)
        assert other.elbo == pytest.approx(best.elbo, abs=1e-9)
    assert (np.diff(best.elbos) >= -1e-10).all()
    assert best.elbo > best.laplace_elbo
    times = [row.time for row in best.trace]
    assert times == sorted(times)


def test_fits_are_reproducible():
    problem = Logistic.draw(6, 30)
    a, b, c = (jko.vi.fit(problem.target, rng=seed) for seed in (1, 1, 2))
    assert np.array_equal(a.measure.cov, b.measure.cov)
    assert not np.array_equal(a.measure.cov, c.measure.cov)


def test_without_a_gradient_the_same_fit():
    problem = Logistic.draw(5, 40)
    with_score = jko.vi.fit(problem.target, rng=3)
    without = jko.vi.fit(problem.log_density, 5, rng=3)
    np.testing.assert_allclose(without.measure.mean, with_score.measure.mean, atol=1e-5)
    assert without.elbo == pytest.approx(with_score.elbo, abs=1e-6)


def test_a_missed_tolerance_raises_and_carries_the_fit():
    with pytest.raises(jko.StepFailed, match="the step limit was reached") as caught:
        jko.vi.fit(bent_target(), max_iter=1, tol=1e-9)
    assert not caught.value.result.success
    kept = jko.vi.fit(bent_target(), max_iter=1, tol=1e-9, throw=False)
    assert "Fit(" in repr(kept)
    assert not kept.success


def test_mixture_finds_both_modes():
    target = jko.GaussianMixture([[-3.0, 0], [3, 1]], [np.eye(2), 0.5 * np.eye(2)], [0.3, 0.7])
    wide = jko.Gaussian([0, 0], 4 * np.eye(2))
    options = {"family": "mixture", "components": 3, "start": wide, "rng": 1, "tol": 3e-3}
    fit = jko.vi.fit(target, **options)
    assert isinstance(fit.measure, jko.GaussianMixture)
    assert fit.elbo == pytest.approx(0.0, abs=1e-3)  # the log mass of the target
    left = fit.measure.means[:, 0] < 0
    assert fit.measure.weights[left].sum() == pytest.approx(0.3, abs=5e-3)
    one = jko.vi.fit(target, rng=1)
    assert one.elbo < -0.3  # one Gaussian covers one mode
