"""`jko.sample` on posteriors with a reference: reduced sizes, the full ones are in benchmarks."""

import importlib
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from generators.targets import gaussian, two_modes

import jko
from jko.sampling.methods import compare_with_search
from jko.sampling.target.counted import Counted
from jko.sampling.task import SampleProgress, Task
from jko.solvers import BirthDeath, Kernelised

ROOT = Path(__file__).parents[2]


@pytest.fixture
def posteriors(monkeypatch):
    """The module with the real posteriors, which the demos use too."""
    monkeypatch.syspath_prepend(str(ROOT / "demos"))
    return importlib.import_module("_posteriors")


def worst(measure, mean, std):
    """Largest error of a mean, in standard deviations, and of a standard deviation, relative."""
    return np.abs((measure.mean - mean) / std).max(), np.abs(
        measure.cov.diagonal() ** 0.5 / std - 1
    ).max()


def test_the_exact_quadrature_is_the_published_one(posteriors):
    exact = posteriors.eight_schools_exact()
    assert exact["mu"] == pytest.approx((4.397, 3.318), abs=1e-3)
    assert exact["log tau"] == pytest.approx((0.802, 1.171), abs=1e-3)
    assert exact["tau"] == pytest.approx((3.598, 3.220), abs=1e-3)
    coarse = posteriors.eight_schools_exact(4001)
    for name, figures in exact.items():
        assert coarse[name] == pytest.approx(figures, abs=1e-6)


def test_eight_schools(posteriors):
    """mu, log tau and, as observables, tau and every theta: within .05 sd and 5 %."""
    exact = posteriors.eight_schools_exact()
    mean, std = np.array(list(exact.values())).T
    out = jko.sample(posteriors.eight_schools(), observables=posteriors.schools_observables, rng=0)
    assert out.converged
    assert out.warnings == ()
    x = out.measure.points
    seen = jko.Particles(
        np.column_stack([x[:, :2], posteriors.schools_observables(x)]), out.measure.weights
    )
    off_mean, off_std = worst(seen, mean, std)
    assert off_mean < 0.05
    assert off_std < 0.05
    assert out.diagnostics["ess"] > 900
    assert out.diagnostics["evaluations"] < 1_500_000  # a few seconds on one core


def test_logistic_regression(posteriors):
    """d = 31 against a long reference chain of another method: within .05 sd and 5 %."""
    pytest.importorskip("sklearn")
    text = (ROOT / "tests" / "data" / "breast_cancer_reference.json").read_text(encoding="utf-8")
    known = json.loads(text)
    assert known["worst_error_of_mean_in_std"] < 0.01
    assert known["worst_relative_error_of_std"] < 0.01
    out = jko.sample(posteriors.breast_cancer().target, moves=60, rng=3)
    assert out.converged
    off_mean, off_std = worst(out.measure, np.array(known["mean"]), np.array(known["std"]))
    assert off_mean < 0.05
    assert off_std < 0.05
    assert out.diagnostics["ess"] > 900


@pytest.mark.parametrize("dim", [2, 10])
def test_two_modes(dim):
    out = jko.sample(two_modes(dim), moves=60, rng=dim)
    assert _right(out.measure) == pytest.approx(0.7, abs=0.03)
    assert out.converged
    assert out.diagnostics["modes"] == 2
    assert out.diagnostics["jump_acceptance"] > 0.1


@pytest.mark.parametrize("dim", [2, 30])
def test_a_start_in_one_mode_is_overcome(dim):
    """The default method finds the other mode, and its weight."""
    start = jko.Gaussian(np.zeros(dim), 0.04 * np.eye(dim))
    out = jko.sample(two_modes(dim), start=start, moves=40, rng=1)
    assert _right(out.measure) == pytest.approx(0.7, abs=0.05)


@pytest.mark.parametrize(("method", "dim"), [("langevin", 2), ("langevin", 10), ("svgd", 2)])
def test_a_start_in_one_mode_is_detected(method, dim):
    """Methods that stay in one mode never say that they have converged."""
    start = jko.Gaussian(np.zeros(dim), 0.04 * np.eye(dim))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        out = jko.sample(two_modes(dim), n=400, method=method, start=start, moves=40, rng=1)
    assert any("tempered" in str(w.message) for w in said)
    assert _right(out.measure) < 0.2
    assert not out.converged
    assert "NOT converged" in repr(out)


def test_wrong_weights_of_known_modes_are_overcome():
    """Chains in both modes, half and half: jumps between the modes mend the weights."""
    start = jko.GaussianMixture([[0.0, 0.0], [12.0, 0.0]], np.stack([np.eye(2)] * 2))
    target = two_modes(2, 12.0, 0.95)
    out = jko.sample(target, n=400, method="langevin", start=start, moves=60, rng=2)
    assert out.converged
    assert _right(out.measure) == pytest.approx(0.95, abs=0.02)


def test_wrong_weights_would_be_detected(rng):
    """A sample of both modes with wrong weights: nothing is unseen, but the means disagree."""
    sample = rng.standard_normal((400, 2))
    sample[:200, 0] += 8
    task = Task(Counted(two_modes(2)), 400, 400, sample, None, 10, 6.0, rng)
    progress = SampleProgress(points=sample)
    compare_with_search(task, progress, sample)
    assert progress.figures["unseen"] < 0.02
    found = progress.evidence["agreement"]
    assert found.value > found.threshold
    assert not found.passes
    assert "wrong weights" in found.advice


def _right(mu):
    return float(mu.weights @ (mu.points[:, 0] > 4))


def test_scales_that_differ_are_learnt():
    """Standard deviations from 1e-3 to 1e3, strong correlation, far from the start."""
    rng = np.random.default_rng(0)
    mix = np.diag([1e-3, 1.0, 1e3]) @ (np.eye(3) + 0.9 * rng.standard_normal((3, 3)))
    cov, mean = mix @ mix.T, np.array([1.0, -5.0, 2e3])
    out = jko.sample(jko.Gaussian(mean, cov), moves=60, rng=0)
    off_mean, off_std = worst(out.measure, mean, np.sqrt(np.diag(cov)))
    assert out.converged
    assert off_mean < 0.05
    assert off_std < 0.05


def test_a_narrow_mode_among_wide_ones_is_not_lost():
    """Five modes of uneven volume, d = 10: tempering alone loses the narrow ones."""
    rng = np.random.default_rng(1)
    means, weights = rng.uniform(-20, 20, (5, 10)), np.array([0.1, 0.15, 0.2, 0.25, 0.3])
    roots = 0.5 * rng.standard_normal((5, 10, 10))
    covs = roots @ roots.transpose(0, 2, 1) + 0.1 * np.eye(10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jko.JkoWarning)
        out = jko.sample(jko.GaussianMixture(means, covs, weights), moves=100, rng=0)
    assert out.diagnostics["modes"] == 5
    # The search may say that it has met the narrowest mode too seldom to be sure of the rest.
    assert {k for k, e in out.evidence.items() if not e.passes} <= {"search"}
    mu = out.measure
    nearest = np.argmin(((mu.points[:, None] - means) ** 2).sum(axis=2), axis=1)
    shares = np.bincount(nearest, mu.weights, minlength=5)
    np.testing.assert_allclose(shares, weights, atol=0.03)


def test_a_funnel_is_not_called_converged():
    """Neal's funnel: one scale does not fit it, and the result says so."""

    def log_density(x):
        return (
            -(x[:, 0] ** 2) / 18 - 0.5 * (x[:, 1:] ** 2).sum(1) * np.exp(-x[:, 0]) - 4.5 * x[:, 0]
        )

    def gradient(x):
        e = np.exp(-x[:, 0])
        first = -x[:, 0] / 9 + 0.5 * (x[:, 1:] ** 2).sum(1) * e - 4.5
        return np.column_stack([first, -x[:, 1:] * e[:, None]])

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        out = jko.sample(log_density, 10, n=400, gradient=gradient, moves=60, rng=0)
    assert not out.converged
    assert any("reparametrise" in str(w.message) for w in said)
    failed = [e for e in out.evidence.values() if not e.passes]
    assert failed
    assert all(e.advice for e in failed)


def test_wfr_in_two_dimensions():
    out = jko.sample(two_modes(2), n=400, method="wfr", rng=0)
    assert _right(out.measure) == pytest.approx(0.7, abs=0.08)
    assert any("density estimate" in w for w in out.warnings)
    with pytest.raises(jko.Unsupported, match="keeps no chains"):
        out.to_arviz()


@pytest.mark.parametrize(("method", "solver"), [("svgd", Kernelised), ("wfr", BirthDeath)])
def test_flows_inside_can_be_interrupted(method, solver, monkeypatch):
    """Ctrl-C in the middle of the flow: the particles so far, and no figure of half a flow."""
    solve, calls = solver.solve, []

    def until_the_ninth(self, problem, controls):
        calls.append(problem.previous.points)
        if len(calls) == 9:
            raise KeyboardInterrupt
        return solve(self, problem, controls)

    monkeypatch.setattr(solver, "solve", until_the_ninth)
    with pytest.warns(UserWarning, match="interrupted"):
        out = jko.sample(gaussian(2, 2.0, 1.0), n=100, method=method, rng=0)
    assert not out.converged
    assert out.measure.n == 100
    assert "unseen" not in out.diagnostics
    assert len(calls) == 9


def test_svgd_on_a_gaussian():
    """A baseline: the mean is right, the spread is said to be doubtful."""
    out = jko.sample(gaussian(2, 2.0, 1.0), n=200, method="svgd", rng=0)
    np.testing.assert_allclose(out.mean, 1.0, atol=0.2)
    np.testing.assert_allclose(out.std, 2.0, rtol=0.2)
    assert any("baseline" in w for w in out.warnings)
