"""Gibbs kernels and scalings from their definitions: dense matrices and log-sum-exp."""

import numpy as np
import pytest

import jko
from jko.prox import gibbs as module
from jko.prox.gibbs import DenseGibbs, GridGibbs, gibbs
from jko.prox.scaling import anderson, pair_scaling, self_scaling


def squares(x):
    return ((x[:, None] - x[None]) ** 2).sum(-1)


def logsumexp(a):
    top = a.max(axis=1, keepdims=True)
    return np.log(np.exp(a - top).sum(axis=1)) + top[:, 0]


def grid(shape):
    return jko.Grid([-3.0] * len(shape), [2.0] * len(shape), shape)


@pytest.mark.parametrize("shape", [(60,), (14, 11), (7, 5, 6), (9, 1, 4)])
@pytest.mark.parametrize("eps", [2.0, 0.02])
@pytest.mark.parametrize("holes", [0.0, 0.8])
def test_products_on_grids_survive_any_range(shape, eps, holes):
    rng = np.random.default_rng(1)
    g = grid(shape)
    v = 30 * rng.standard_normal(g.size)
    v[rng.random(g.size) < holes] = -np.inf
    expected = logsumexp(v - squares(g.points) / eps)
    np.testing.assert_allclose(GridGibbs(g, eps).log_apply(v), expected, rtol=1e-13, atol=1e-12)
    np.testing.assert_allclose(DenseGibbs(g.points, eps).log_apply(v), expected, rtol=1e-13)


@pytest.mark.parametrize("squared", [False, True])
def test_blocks_agree_with_entry_by_entry(squared):
    rng = np.random.default_rng(2)
    x = np.linspace(-3, 3, 200)
    lines = 200 * rng.standard_normal((5, 200))
    lines[:, ::3] = -np.inf
    slow = module._log_entries(lines, x, 0.05, squared)
    for size in (3, 20):
        fast = module._log_blocks(lines, x, 0.05, squared, size)
        np.testing.assert_allclose(fast, slow, rtol=1e-14)


@pytest.mark.parametrize("make", [GridGibbs, lambda g, eps: DenseGibbs(g.points, eps)])
@pytest.mark.parametrize("eps", [1.0, 0.01])
def test_cost_and_displacement_without_the_plan(make, eps):
    rng = np.random.default_rng(3)
    g = grid((12, 9))
    a, b = rng.standard_normal((2, g.size))
    distance = squares(g.points)
    plan = np.exp(a[:, None] - distance / eps + b)
    kernel = make(g, eps)
    assert kernel.cost(a, b) == pytest.approx((plan * distance).sum(), rel=1e-12)
    share = plan / plan.sum(axis=0)
    expected = share.T @ g.points - g.points
    np.testing.assert_allclose(kernel.displacement(a), expected, atol=1e-12)


def test_dense_kernel_absorbs_again_when_potentials_drift():
    rng = np.random.default_rng(4)
    x = rng.standard_normal((40, 2))
    kernel = DenseGibbs(x, 0.05)
    for size in (0.1, 1.0, 500.0, 1.0):
        v = size * rng.standard_normal(40)
        v[rng.random(40) < 0.2] = -np.inf
        expected = logsumexp(v - squares(x) / 0.05)
        np.testing.assert_allclose(kernel.log_apply(v, "v"), expected, rtol=1e-12)
    assert kernel.count == 4


def test_large_scattered_supports_are_refused():
    with pytest.raises(jko.Unsupported, match="too large"):
        DenseGibbs(np.zeros((module.DENSE_LIMIT + 1, 1)), 1.0)


def test_scalings_solve_their_equations_with_zero_weights():
    rng = np.random.default_rng(5)
    x = rng.standard_normal((50, 2))
    m, w = rng.random((2, 50))
    m[::4], w[1::5] = 0, 0
    w *= m.sum() / w.sum()
    kernel = gibbs(jko.Histogram(x, m), 0.1)
    matrix = np.exp(-squares(x) / 0.1)
    with np.errstate(divide="ignore"):
        log_m, log_w = np.log(m), np.log(w)
    d = np.exp(self_scaling(kernel, log_m, tol=1e-12))
    np.testing.assert_allclose(d * (matrix @ d), m, atol=1e-11)
    b = np.exp(pair_scaling(kernel, log_m, log_w, tol=1e-12))
    a = m / (matrix @ b)
    np.testing.assert_allclose(b * (matrix @ a), w, atol=1e-10)


def test_acceleration_recovers_from_nan_and_reports_failure():
    calls = []

    def step(x):
        calls.append(x)
        image = 0.9 * x + 1 if len(calls) != 4 else np.full_like(x, np.nan)
        return image, np.ones_like(x)

    found = anderson(step, np.zeros(3), done=lambda _, r: r < 1e-10)
    assert found.converged
    np.testing.assert_allclose(found.x, 10.0, rtol=1e-8)
    stopped = anderson(step, np.zeros(3), done=lambda _, r: False, max_iter=3)
    assert not stopped.converged
    assert np.isfinite(stopped.x).all()


def test_acceleration_saves_iterations():
    rates = np.linspace(0.1, 0.97, 30)

    def step(x):
        return rates * x + 1, np.ones_like(x)

    runs = [anderson(step, np.zeros(30), done=lambda _, r: r < 1e-9, depth=d) for d in (0, 5)]
    assert runs[1].iterations < runs[0].iterations / 3
