"""Operators on fixed supports against the dense matrix, and low-rank factors against K."""

from types import SimpleNamespace

import numpy as np
import pytest
from kernel_cases import IDS, KERNELS, PLAIN, atoms, cloud, grid

import jko
from jko.kernels import Energy, Gaussian, Laplace, Matern, operators, pivoted_cholesky

SHAPES = [(1,), (13,), (7, 6), (5, 1, 4), (4, 5, 3)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("k", KERNELS, ids=IDS)
def test_grid_operator_is_the_dense_matrix(k, shape):
    support = grid(shape)
    dense = k(support.points)
    op = k.operator(support)
    v = np.random.default_rng(1).normal(size=len(dense))
    v[0] = 0.0
    tolerance = 1e-13 * np.abs(dense).max() * np.abs(v).sum()
    np.testing.assert_allclose(op.matvec(v), dense @ v, atol=tolerance)
    np.testing.assert_allclose((op @ v.reshape(shape)).ravel(), dense @ v, atol=tolerance)
    assert op.matvec(v.reshape(shape)).shape == shape
    assert op.shape == dense.shape
    np.testing.assert_allclose(op.dense(), dense, rtol=1e-14)
    np.testing.assert_allclose(op.diagonal(), np.diag(dense), atol=1e-14)
    np.testing.assert_allclose(op.columns(0), dense[:, :1], rtol=1e-14)
    np.testing.assert_allclose(op.columns([0, -1]), dense[:, [0, -1]], rtol=1e-14)


@pytest.mark.parametrize(
    ("k", "kind"),
    [
        (Gaussian(), operators.SeparableOperator),
        (2.0 * Gaussian(), operators.SeparableOperator),
        (Gaussian() + Gaussian(2.0), operators.SumOperator),
        (Gaussian() + Laplace(), operators.FourierOperator),
        (Matern(), operators.FourierOperator),
        (Energy(), operators.FourierOperator),
        (Energy().positive(), operators.DenseOperator),
    ],
    ids=repr,
)
def test_the_fastest_exact_operator_is_chosen(k, kind):
    support = grid((6, 5))
    assert type(k.operator(support)) is kind
    assert type(k.operator(SimpleNamespace(points=support.points))) is operators.DenseOperator


def test_long_axes_and_uneven_axes(monkeypatch):
    monkeypatch.setattr(operators, "AXIS_LIMIT", 4)
    support = grid((6, 5))
    v = cloud(30, 1)[:, 0]
    op = Gaussian().operator(support)
    assert type(op) is operators.FourierOperator
    np.testing.assert_allclose(op @ v, Gaussian()(support.points) @ v, atol=1e-13)
    axis = np.array([0.0, 1.0, 3.0])
    uneven = SimpleNamespace(points=axis[:, None], grid=SimpleNamespace(axes=[axis], shape=(3,)))
    op = Laplace().operator(uneven)
    np.testing.assert_allclose(op @ v[:3], Laplace()(uneven.points) @ v[:3], rtol=1e-14)


def test_axis_grams_multiply_to_the_gram_matrix():
    support, k = grid((4, 5)), 2.0 * Gaussian(0.6) * Gaussian(1.0)
    first, second = k.axis_grams(support.grid.axes)
    np.testing.assert_allclose(np.kron(first, second), k(support.points), rtol=1e-13)


def test_scattered_points_beyond_the_stored_size(monkeypatch):
    monkeypatch.setattr(operators, "STORED_LIMIT", 10)
    mu, v = atoms(12, 3), cloud(12, 1)[:, 0]
    op = Laplace().operator(mu)
    np.testing.assert_allclose(op @ v, Laplace()(mu.points) @ v, rtol=1e-12)
    np.testing.assert_allclose(op.dense(), Laplace()(mu.points))
    np.testing.assert_allclose(op.columns(mu.weights == 0), Laplace()(mu.points)[:, [1]])


def test_operator_refusals():
    with pytest.raises(jko.Unsupported, match="pivoted_cholesky"):
        Gaussian().operator(cloud(20_001, 1)).dense()
    with pytest.raises(jko.InvalidArgument, match="v has shape"):
        Gaussian().operator(cloud(5, 2)).matvec(np.ones(4))


@pytest.mark.parametrize("tol", [1e-2, 1e-6])
@pytest.mark.parametrize("k", KERNELS, ids=IDS)
def test_pivoted_cholesky_bounds_the_remainder(k, tol):
    x = cloud(90, 2)
    x[7] = x[3]  # a duplicated point must not break it
    low = pivoted_cholesky(k, x, tol)
    remainder = k.positive_gram(x) - low.factor @ low.factor.T
    assert low.error <= tol
    assert np.abs(remainder).max() <= low.error + 1e-12
    assert np.linalg.eigvalsh(remainder)[0] >= -1e-12
    np.testing.assert_allclose(low.residual_diagonal, np.diag(remainder), atol=1e-13)
    assert low.factor.flags.f_contiguous
    assert len(set(low.pivots)) == low.rank == low.factor.shape[1]
    v = np.random.default_rng(0).normal(size=90)
    assert -1e-10 <= v @ remainder @ v <= low.error * np.abs(v).sum() ** 2


@pytest.mark.parametrize("k", PLAIN, ids=repr)
def test_pivoted_cholesky_stops_at_the_rank_or_at_rounding(k):
    x = cloud(80, 2)
    low = pivoted_cholesky(k, x, 0.0, max_rank=70)  # more than one growth block
    assert low.rank <= 70
    assert low.error == low.residual_diagonal.max()
    full = pivoted_cholesky(k, x, 0.0)
    assert full.error <= 1e-12
    jittered = pivoted_cholesky(k, x, 1e-3, jitter=1e-8)
    remainder = k.positive_gram(x) - jittered.factor @ jittered.factor.T
    assert np.linalg.eigvalsh(remainder)[0] >= -1e-12


def test_pivots_are_nearly_greedy():
    k, x = Gaussian(0.5), cloud(400, 2)
    low = pivoted_cholesky(k, x, 1e-6)
    for r in (0, 1, 4, 40, low.rank - 1):
        chosen = low.pivots[:r]
        rest = k(x) - k(x, x[chosen]) @ np.linalg.solve(k(x[chosen]), k(x[chosen], x))
        largest = np.diag(rest).max()
        assert largest > 1e-6
        assert rest[low.pivots[r], low.pivots[r]] >= 0.002 * largest


def greedy_rank(gram, tol):
    """The rank that one pivot at a time, the largest remainder, needs."""
    rest, rank = gram.copy(), 0
    while rest.diagonal().max() > tol:
        i = int(rest.diagonal().argmax())
        rest -= np.outer(rest[:, i], rest[i]) / rest[i, i]
        rank += 1
    return rank


@pytest.mark.parametrize("k", [Gaussian(0.5), Matern(0.8, nu=2.5)], ids=repr)
def test_sweeps_need_hardly_more_columns_than_single_pivots(k):
    x = cloud(600, 2)
    for tol in (1e-3, 1e-6):
        assert pivoted_cholesky(k, x, tol).rank <= 1.05 * greedy_rank(k(x), tol) + 2


def test_pivoted_cholesky_refusals():
    for settings, name in [({"tol": -1.0}, "tol"), ({"tol": 1e-3, "jitter": -1.0}, "jitter")]:
        with pytest.raises(jko.InvalidArgument, match=name):
            pivoted_cholesky(Gaussian(), cloud(3, 2), **settings)
    with pytest.raises(jko.InvalidArgument, match="max_rank"):
        pivoted_cholesky(Gaussian(), cloud(3, 2), 1e-3, max_rank=0)


def test_one_support_shares_one_operator_and_its_products(monkeypatch):
    calls = []
    product = operators.DenseOperator._product
    monkeypatch.setattr(
        operators.DenseOperator, "_product", lambda op, v: calls.append(1) or product(op, v)
    )
    mu = jko.Particles(cloud(30, 2))
    op = Gaussian(0.5).operator(mu)
    assert Gaussian(0.5).operator(mu.with_weights(np.arange(1.0, 31.0))) is op
    assert Gaussian(0.6).operator(mu) is not op
    assert Gaussian(0.5).operator(jko.Particles(mu.points)) is not op
    v = mu.weights.copy()
    first = op @ v
    first[:] = np.nan  # nobody can spoil what is remembered
    v[0] += 1.0
    other = op @ v
    np.testing.assert_array_equal(op @ mu.weights, Gaussian(0.5)(mu.points) @ mu.weights)
    np.testing.assert_array_equal(op @ v, other)
    assert len(calls) == 2


def test_points_that_may_change_are_never_shared():
    x = cloud(30, 2)
    one, two = Gaussian().operator(x), Gaussian().operator(x)
    assert one is not two
    before = one @ np.ones(30)
    x += 1.0
    np.testing.assert_array_equal(one @ np.ones(30), before)
