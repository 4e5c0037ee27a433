"""`jko.sample` without a gradient: central differences in its place."""

import numpy as np
import pytest
from generators.targets import gaussian, two_modes

import jko
from jko.sampling.target import differences
from jko.sampling.target.differences import Differences


def exponential(x):
    with np.errstate(over="ignore"):
        return np.where((x > 0).all(axis=1), -x.sum(axis=1), -np.inf)


@pytest.mark.parametrize("d", [1, 2, 7])
@pytest.mark.parametrize("entries", [1, 100, 2**21])
def test_scores_of_a_smooth_density(d, entries, monkeypatch):
    """Against the gradient by hand, in blocks of any size, near and far from 0."""
    monkeypatch.setattr(differences, "ENTRIES", entries)
    target, rng = two_modes(d), np.random.default_rng(0)
    x = np.vstack([rng.normal(size=(20, d)), 1e3 * rng.normal(size=(5, d)), np.zeros((1, d))])
    exact = target.score(x)
    size = 1 + np.abs(exact).max(axis=1, keepdims=True)
    assert (np.abs(Differences(target).score(x) - exact) <= 1e-8 * size).all()


@pytest.mark.parametrize("size", [1e-6, 1e6])
def test_the_scale_of_the_start_counts(size):
    """A density much narrower than 1 is not stepped over, a wider one not lost in rounding."""
    target = jko.LogDensity(lambda x: -np.cosh(x[:, 0] / size), dim=1)
    x = size * np.linspace(-2, 2, 9)[:, None]
    slope = Differences(target, np.array([size])).score(x)
    assert slope == pytest.approx(-np.sinh(x / size) / size, rel=1e-8, abs=1e-10 / size)


def test_edges_of_the_support_take_the_other_side():
    """Inside by less than the step, in each coordinate, and in the corner."""
    target = jko.LogDensity(exponential, dim=2)
    x = np.array([[1e-9, 1.0], [1.0, 1e-9], [1e-9, 1e-9], [1.0, 1.0]])
    assert Differences(target).score(x) == pytest.approx(-np.ones((4, 2)), rel=1e-8)


@pytest.mark.parametrize("method", ["auto", "langevin", "svgd", "wfr"])
def test_a_bare_function_is_enough(method):
    """The cost is said, in a warning and in the result; the sample is as good as ever."""
    known = gaussian(2, 2.0, 1.0)
    with pytest.warns(jko.JkoWarning, match="no gradient: central differences of 4 values"):
        out = jko.sample(known.log_density, 2, 400, method, rng=0)
    assert out.converged
    assert any("gradient=" in w for w in out.warnings)
    assert out.diagnostics["gradients"] == 0
    np.testing.assert_allclose(out.mean, 1.0, atol=0.2)
    np.testing.assert_allclose(out.std, 2.0, rtol=0.25 if method in ("svgd", "wfr") else 0.05)


def test_the_cost_is_counted():
    """2 d values for each gradient, beside those that the same run takes with one."""
    known, seen = gaussian(3), []

    def counting(x):
        seen.append(len(x))
        return known.log_density(x)

    with_one = jko.sample(counting, 3, 50, gradient=known.gradient, moves=10, rng=0, check=False)
    assert sum(seen) == with_one.diagnostics["evaluations"]
    seen.clear()
    with pytest.warns(jko.JkoWarning, match="no gradient"):
        without = jko.sample(counting, 3, 50, moves=10, rng=0)
    assert sum(seen) == without.diagnostics["evaluations"]
    # The search looks at many points without their gradients: fewer than 7 times as many.
    assert sum(seen) > 4 * with_one.diagnostics["evaluations"]


def test_nan_beside_a_particle_is_an_error():
    target = jko.LogDensity(lambda x: np.where(x[:, 0] > 0, np.nan, 0.0), dim=1)
    with pytest.raises(jko.InvalidMeasure, match="nan at point"):
        Differences(target).score(np.array([[-1e-9]]))


def test_two_modes_without_a_gradient():
    with pytest.warns(jko.JkoWarning, match="no gradient"):
        out = jko.sample(two_modes(2).log_density, dim=2, moves=40, rng=0)
    share = out.measure.weights[out.measure.points[:, 0] > 4].sum()
    assert share == pytest.approx(0.7, abs=0.03)
