"""Gibbs kernels and scalings from their definitions: dense matrices and log-sum-exp."""

import numpy as np
import pytest

import jko
from jko.numerics.log_lines import LineKernel
from jko.solvers.entropic import gibbs as module
from jko.solvers.entropic.gibbs import DenseGibbs, GridGibbs, gibbs
from jko.solvers.entropic.kernel import Gibbs
from jko.solvers.entropic.scaling import SMALL, Sweep, _Memory, anderson, pair_scaling, self_scaling


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


def steep_lines(kind, n, unit):
    """Lines whose best sources are far from their targets, or everywhere at once."""
    rng = np.random.default_rng(2)
    x = np.arange(n, dtype=float) - n / 2
    if kind == "spread":  # maps that expand and contract, up to the limit of convexity
        return -unit * x**2 * rng.uniform(-0.95, 4, size=(12, 1)) + rng.normal(size=(12, n))
    if kind == "flat":  # every source reaches the middle alike
        return unit * x**2 + np.zeros((3, 1))
    if kind == "two":  # two peaks compete
        return np.where(np.abs(np.abs(x) - 0.4 * n) < 3, 0.0, -1e4) + rng.normal(size=(5, n))
    lines = 200 * rng.standard_normal((5, n))
    lines[:, ::3] = -np.inf
    lines[2] = -np.inf
    return lines


@pytest.mark.parametrize("kind", ["spread", "flat", "two", "rough"])
@pytest.mark.parametrize("unit", [2.0, 0.25, 0.02])
@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("squared", [False, True])
def test_lines_agree_with_entry_by_entry(kind, unit, periodic, squared):
    n, h = 200, 0.03
    kernel = LineKernel(n, h, h**2 / unit, periodic)
    lines = steep_lines(kind, n, unit)
    with np.errstate(all="ignore"):
        slow = kernel._entry_by_entry(lines, squared)
        fast = kernel.log_apply(lines, squared)
    slow[np.isnan(slow)] = -np.inf
    np.testing.assert_allclose(fast, slow, rtol=1e-13, atol=1e-12)


def test_periodic_lines_sum_over_images():
    n, h, eps = 12, 0.5, 30.0  # a kernel wider than the period
    x = h * np.arange(n)
    images = h * n * np.arange(-20, 21)
    gap = x[:, None, None] - x[None, :, None] + images
    expected = np.exp(-(gap**2) / eps).sum(axis=2)
    np.testing.assert_allclose(LineKernel(n, h, eps, True).gram, expected, rtol=1e-13)


@pytest.mark.parametrize("make", [GridGibbs, lambda g, eps: DenseGibbs(g.points, eps)])
@pytest.mark.parametrize("shape", [(40,), (8, 5, 6)])
def test_products_with_vectors_of_any_sign(make, shape):
    g = grid(shape)
    v = np.random.default_rng(7).standard_normal(g.size)
    kernel = make(g, 0.3)
    np.testing.assert_allclose(kernel.apply(v), np.exp(-squares(g.points) / 0.3) @ v, atol=1e-13)
    assert kernel.count == 1


@pytest.mark.parametrize("make", [GridGibbs, lambda g, eps: DenseGibbs(g.points, eps)])
@pytest.mark.parametrize("eps", [1.0, 0.01])
def test_cost_without_the_plan(make, eps):
    rng = np.random.default_rng(3)
    g = grid((12, 9))
    a, b = rng.standard_normal((2, g.size))
    distance = squares(g.points)
    plan = np.exp(a[:, None] - distance / eps + b)
    assert make(g, eps).cost(a, b) == pytest.approx((plan * distance).sum(), rel=1e-12)


@pytest.mark.parametrize("bend", [3.0, 0.4, 1e-12, 0.0, -0.5])
def test_steep_arguments_are_flattened_by_a_quadratic(bend):
    """Ranges of thousands, against the definition; line by line where places leave the box."""
    g = jko.Grid([-4, -3], [4, 3], [60, 44])
    eps, rng = 0.01, np.random.default_rng(8)
    kernel = GridGibbs(g, eps)
    for step in range(3):
        v = -bend * ((g.points - [1.0, 0.3 * step]) ** 2).sum(axis=1) / eps
        if 0 <= bend < 0.1:  # straight lines, and what rounding makes of them
            v += (g.points @ [4.0, -2.0]) / eps
        v += rng.standard_normal(g.size)
        logs = [-((x[:, None] - x) ** 2) / eps for x in g.axes]
        exact = logsumexp_axis(logs[0][:, :, None] + v.reshape(g.shape)[:, None], 0)
        exact = logsumexp_axis(exact[:, :, None] + logs[1], 1).ravel()
        found = kernel.log_apply(v, "b")
        rounding = 1e-12 + 16 * np.finfo(float).eps * np.abs(v).max()
        np.testing.assert_allclose(found, exact, rtol=0, atol=rounding)
        assert ("b" in kernel._bent) == (bend >= 0)
        assert kernel.remembered(v.copy(), "b") is found
    assert kernel.count == 3


def logsumexp_axis(values, axis):
    top = values.max(axis=axis, keepdims=True)
    return np.log(np.exp(values - top).sum(axis=axis)) + np.squeeze(top, axis)


@pytest.mark.parametrize("slope", [0.0, 1.0, 20.0, 300.0])
def test_plans_by_a_quotient_are_plans_by_logarithms(slope):
    """The quick way between two products against the plain one; empty cells and faint weights."""
    g, rng = jko.Grid([-4, -3], [4, 3], [60, 44]), np.random.default_rng(9)
    m = np.exp(-slope * ((g.points - [1.0, 0.5]) ** 2).sum(axis=1))
    m[rng.random(g.size) < 0.2] = 0.0
    with np.errstate(divide="ignore"):
        log_m = np.log(m)
    for bend in (0.0, 2.0, 50.0):
        log_b = -bend * (g.points**2).sum(axis=1) + rng.standard_normal(g.size)
        quick, plain = GridGibbs(g, 0.05), GridGibbs(g, 0.05)
        found, exact = quick.plan(m, log_m, log_b), Gibbs.plan(plain, m, log_m, log_b)
        rounding = 1e-12 + 16 * np.finfo(float).eps * np.abs(log_b).max()
        for name in ("log_a", "log_s", "log_w", "w"):
            a, b = getattr(found, name), getattr(exact, name)
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=16 * rounding, err_msg=name)
        reached = [k.remembered(log_b, "b") for k in (quick, plain)]
        np.testing.assert_allclose(*reached, rtol=1e-12, atol=rounding)
        assert quick.count == plain.count == 2


@pytest.mark.parametrize("small", [0, SMALL])
def test_extrapolation_is_the_least_squares_fit_of_the_last_residuals(monkeypatch, small):
    """From its definition, in a weighted norm, with more iterates than are remembered."""
    monkeypatch.setattr("jko.solvers.entropic.scaling.SMALL", small)
    rng, memory = np.random.default_rng(10), _Memory(3, (2, 40))
    weights, iterates = rng.random(40), rng.standard_normal((6, 2, 2, 40))
    for f, image in iterates:
        found = memory.extrapolated(f, image, weights, weights * f)
    df, dg = (np.diff(iterates[-4:, k], axis=0).reshape(3, -1) for k in (0, 1))
    root = np.sqrt(np.tile(weights, 2))
    best, *_ = np.linalg.lstsq((df * root).T, root * f.ravel(), rcond=None)
    np.testing.assert_allclose(found.ravel(), image.ravel() - best @ dg, rtol=1e-7, atol=1e-7)


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
        return Sweep(image, np.ones_like(x), None)

    found = anderson(step, np.zeros(3), done=lambda _, r: r < 1e-10)
    assert found.converged
    np.testing.assert_allclose(found.x, 10.0, rtol=1e-8)
    stopped = anderson(step, np.zeros(3), done=lambda _, r: False, max_iter=3)
    assert not stopped.converged
    assert np.isfinite(stopped.x).all()


def test_acceleration_saves_iterations():
    rates = np.linspace(0.1, 0.97, 30)

    def step(x):
        return Sweep(rates * x + 1, np.ones_like(x), None)

    runs = [anderson(step, np.zeros(30), done=lambda _, r: r < 1e-9, depth=d) for d in (0, 5)]
    assert runs[1].iterations < runs[0].iterations / 3
