"""Values, gradients and blocked sums, from their definitions."""

import numpy as np
import pytest
from kernel_cases import IDS, KERNELS, cloud

import jko
from jko.kernels import (
    Energy,
    Gaussian,
    InverseMultiquadric,
    Laplace,
    Matern,
    base,
    median_bandwidth,
    pairwise,
    stationary,
)

all_kernels = pytest.mark.parametrize("k", KERNELS, ids=IDS)


@pytest.mark.parametrize(
    ("k", "value"),
    [
        (Gaussian(2.0), np.exp(-25 / 8)),
        (Gaussian.from_gamma(0.3), np.exp(-0.3 * 25)),
        (InverseMultiquadric(2.0), (1 + 25 / 4) ** -0.5),
        (InverseMultiquadric(2.0, exponent=2), (1 + 25 / 4) ** -2.0),
        (Matern(2.0, nu=0.5), np.exp(-2.5)),
        (Matern(2.0, nu=1.5), (1 + np.sqrt(3) * 2.5) * np.exp(-np.sqrt(3) * 2.5)),
        (
            Matern(2.0, nu=2.5),
            (1 + np.sqrt(5) * 2.5 + 5 * 2.5**2 / 3) * np.exp(-np.sqrt(5) * 2.5),
        ),
        (Laplace(2.0), np.exp(-2.5)),
        (Energy(), -5.0),
        (Energy(1.5), -(5.0**1.5)),
        (Gaussian(2.0) * Laplace(2.0) + 3 * Energy(), np.exp(-25 / 8 - 2.5) - 15.0),
    ],
    ids=repr,
)
def test_value_at_distance_five(k, value):
    np.testing.assert_allclose(k([[1.0, 1.0]], [[4.0, 5.0]]), [[value]], rtol=1e-14)


@all_kernels
def test_gram_is_symmetric_with_its_diagonal_and_bound(k):
    x, y = cloud(9, 3), cloud(6, 3, seed=1)
    gram = k(x)
    assert np.array_equal(gram, gram.T)
    np.testing.assert_allclose(k.diagonal(x), np.diag(gram), atol=1e-14)
    np.testing.assert_allclose(k(x, y), k(y, x).T, rtol=1e-13)
    if k.maximum is not None:
        assert np.abs(gram).max() <= k.maximum * (1 + 1e-14)


@all_kernels
def test_positive_gram_is_positive_and_agrees_on_mass_zero(k):
    x = cloud(30, 2)
    gram, positive = k(x), k.positive_gram(x)
    assert np.linalg.eigvalsh(positive)[0] > -1e-12 * np.abs(positive).max()
    v = np.random.default_rng(3).normal(size=30)
    v -= v.mean()
    assert v @ positive @ v == pytest.approx(v @ gram @ v, rel=1e-11)
    assert v @ gram @ v > 0
    assert (k.definiteness == "conditional") == (np.linalg.eigvalsh(gram)[0] < -1e-9)


@pytest.mark.parametrize("d", [1, 3])
@all_kernels
def test_gradient_is_the_central_difference(k, d):
    x, y, h = cloud(7, d), cloud(5, d, seed=1), 1e-5
    gradient = k.gradient(x, y)
    assert gradient.shape == (7, 5, d)
    for axis, e in enumerate(np.eye(d)):
        numeric = (k(x + h * e, y) - k(x - h * e, y)) / (2 * h)
        np.testing.assert_allclose(gradient[:, :, axis], numeric, atol=2e-8, rtol=2e-6)


@pytest.mark.parametrize("k", [Laplace(0.5), Matern(0.5, nu=0.5), Energy(), Energy(0.5)], ids=repr)
def test_gradient_vanishes_at_coincident_points(k):
    x = cloud(4, 2)
    assert np.array_equal(k.gradient(x, x)[range(4), range(4)], np.zeros((4, 2)))


@pytest.mark.parametrize("d", [2, 25])
@all_kernels
def test_blocked_sums_are_the_dense_ones(k, d, monkeypatch):
    monkeypatch.setattr(base, "BLOCK_ENTRIES", 17 * d)
    monkeypatch.setattr(pairwise, "TILE", 6)
    x = cloud(23, d)
    y = np.vstack([cloud(11, d, seed=1), x[:3], x[5:7] + 1e-9])  # coincident and close pairs
    v = np.random.default_rng(2).normal(size=len(y))
    np.testing.assert_allclose(k.apply(x, y, v), k(x, y) @ v, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(
        k.apply(x, y, np.stack([v, -v], axis=1))[:, 1], -k(x, y) @ v, rtol=1e-10, atol=1e-12
    )
    expected = np.einsum("ijk,j->ik", k.gradient(x, y), v)
    # Energy(0.5) pulls with 1e4 at distance 1e-9, where the distance itself has seven digits.
    scale = max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(k.gradient_apply(x, y, v), expected, atol=1e-9 * scale)


@pytest.mark.parametrize("d", [2, 40])
def test_close_far_away_points_keep_their_distance(d):
    x = cloud(40, d) + 1e3
    y = x + 1e-6 * cloud(40, d, seed=1)
    got = pairwise.sqdistances(x, y)
    exact = ((x.astype(np.longdouble)[:, None] - y.astype(np.longdouble)[None]) ** 2).sum(-1)
    np.testing.assert_allclose(got, exact.astype(float), rtol=1e-11)


def test_many_close_pairs_in_high_dimension():
    x = np.ones((50, 30)) + 1e-9 * cloud(50, 30)
    x[0] += 1.0
    exact = ((x[:, None] - x[None]) ** 2).sum(-1)
    np.testing.assert_allclose(pairwise.sqdistances(x, x), exact, rtol=1e-11)


def test_singular_gradient_near_coincidence_far_from_the_origin():
    x = np.array([[1.0, 2.0], [-3.0, 1.0], [2.0, 2.0]])
    y = x + np.array([[1e-9, 0.0], [0.0, -1e-9], [1e-9, 1e-9]])
    k, v = Energy(), np.array([1.0, 2.0, -1.0])
    expected = np.einsum("ijk,j->ik", k.gradient(x, y), v)
    np.testing.assert_allclose(k.gradient_apply(x, y, v), expected, rtol=1e-13)


def test_empty_clouds_give_empty_answers():
    x, none = cloud(3, 2), np.zeros((0, 2))
    assert Gaussian()(none, x).shape == (0, 3)
    assert np.array_equal(Laplace().gradient_apply(x, none, []), np.zeros((3, 2)))


def test_median_bandwidth_is_the_median_over_pairs():
    x = np.array([[0.0], [1.0], [3.0]])
    assert median_bandwidth(x) == 2.0  # distances 1, 2, 3
    big = cloud(3000, 2)
    assert median_bandwidth(big) == median_bandwidth(big)
    assert median_bandwidth(big, rng=1) == pytest.approx(median_bandwidth(big), rel=0.05)
    pairs = [np.linalg.norm(a - b) for i, a in enumerate(big[:40]) for b in big[:i]]
    assert median_bandwidth(big[:40]) == pytest.approx(np.median(pairs), rel=1e-14)


X = cloud(4, 2)
BAD = [
    (lambda: Gaussian(0.0), jko.InvalidArgument, "bandwidth = 0 must be positive"),
    (lambda: Gaussian(-1), jko.InvalidArgument, "median_bandwidth"),
    (lambda: Gaussian(np.inf), jko.InvalidArgument, "bandwidth"),
    (lambda: Gaussian("wide"), jko.InvalidType, "bandwidth"),
    (lambda: Gaussian([1.0, 2.0]), jko.InvalidType, "bandwidth"),
    (lambda: Gaussian.from_gamma(-1.0), jko.InvalidArgument, "gamma"),
    (lambda: Laplace(float("nan")), jko.InvalidArgument, "bandwidth"),
    (lambda: InverseMultiquadric(1.0, exponent=-0.5), jko.InvalidArgument, "exponent"),
    (lambda: Matern(1.0, nu=2.0), jko.InvalidArgument, "pass 0.5, 1.5 or 2.5"),
    (lambda: Energy(2.0), jko.InvalidArgument, r"\(0, 2\)"),
    (lambda: -1.0 * Gaussian(), jko.InvalidArgument, "factor"),
    (lambda: Gaussian() * Energy(), jko.Unsupported, "not positive definite"),
    (lambda: Gaussian()([1.0, 2.0]), jko.InvalidArgument, r"x\[:, None\]"),
    (lambda: Gaussian()(X, X[:, 0]), jko.InvalidArgument, r"y has shape"),
    (lambda: Gaussian()(X, X[:, :1]), jko.InvalidArgument, "dimension 1"),
    (lambda: Gaussian()(X * np.nan), jko.InvalidArgument, "non-finite"),
    (lambda: Gaussian()(X * 1j), jko.InvalidType, "complex"),
    (lambda: Gaussian().apply(X, X, [1.0]), jko.InvalidArgument, "v has shape"),
    (lambda: Gaussian().gradient_apply(X, X, X), jko.InvalidArgument, "v has shape"),
    (lambda: Laplace().axis_grams([X[:, 0]]), jko.Unsupported, "operator"),
    (lambda: median_bandwidth(np.ones((5, 2))), jko.InvalidArgument, "duplicated"),
    (lambda: median_bandwidth(X[:1]), jko.InvalidArgument, "at least 2"),
    (lambda: median_bandwidth(X, max_points=0), jko.InvalidArgument, "max_points"),
]


@pytest.mark.parametrize(("call", "error", "match"), BAD)
def test_bad_input_is_told_what_to_do(call, error, match):
    with pytest.raises(error, match=match):
        call()


@pytest.mark.parametrize("n", [1, 191, 192, 193, 600])
@pytest.mark.parametrize("k", [Gaussian(0.7), Laplace(), Energy()], ids=repr)
def test_half_a_symmetric_sweep_is_the_whole_sum(k, n):
    x, v = cloud(n, 2), np.random.default_rng(n).normal(size=(n, 2))
    bound = 1e-13 * (np.abs(k(x)) @ np.abs(v))
    assert (np.abs(k.apply(x, x, v) - k(x) @ v) <= bound).all()
    assert (np.abs(k.apply(x.copy(), x, v) - k(x) @ v) <= bound).all()
    gram = k._self_gram(x)
    assert np.array_equal(gram, gram.T)
    np.testing.assert_allclose(gram, k(x), rtol=1e-13)


@pytest.mark.parametrize("n", [191, 193, 600])
@pytest.mark.parametrize("k", [Gaussian(0.7), Matern(1.0), Laplace(), Energy()], ids=repr)
def test_half_a_symmetric_sweep_is_the_whole_gradient(k, n):
    x, v = cloud(n, 2), np.random.default_rng(n).normal(size=n)
    x[5], x[n - 3] = x[2] + 1e-9, x[1] + 1e-9  # close pairs inside a tile and across tiles
    pairs = k.gradient(x, x)
    expected = np.einsum("ijk,j->ik", pairs, v)
    bound = 1e-12 * np.einsum("ijk,j->ik", np.abs(pairs), np.abs(v)).max()
    assert np.abs(k.gradient_apply(x, x, v) - expected).max() <= bound
    assert np.abs(k.gradient_apply(x.copy(), x, v) - expected).max() <= bound


@pytest.mark.parametrize("shift", [0.0, 1e6])
@pytest.mark.parametrize("h", [3.0, 0.5, 0.05])
def test_gaussian_products_keep_thirteen_digits_of_every_entry(h, shift, monkeypatch):
    """By matrix products while the cloud spans few bandwidths, by differences beyond."""
    monkeypatch.setattr(stationary, "PRODUCT_PAIRS", 0)
    x, y = cloud(300, 2) + shift, np.vstack([cloud(200, 2, seed=1), cloud(300, 2)[:50]]) + shift
    square = ((x.astype(np.longdouble)[:, None] - y.astype(np.longdouble)[None]) ** 2).sum(-1)
    exact = np.exp(-square / (2 * np.longdouble(h) ** 2))
    got = Gaussian(h).apply(x, y, np.eye(len(y)))
    assert np.abs(got - exact).max() <= 1e-13
    np.testing.assert_allclose(got, exact.astype(float), rtol=1e-13 if h > 0.1 else 1e-11)
    assert pairwise.Augmented(x, y, h).accurate == (h > 0.1)


@all_kernels
def test_an_outlier_spoils_no_gradient(k):
    """One atom at 1e10 adds its own force; the other forces keep their digits (d = 2 and 25)."""
    for d in (2, 25):
        rng = np.random.default_rng(d)
        x, v = rng.normal(size=(70, d)) / np.sqrt(d), rng.normal(size=70)
        far = np.zeros((1, d))
        far[0, 0] = 1e10
        alone = k.gradient_apply(x, x, v) + k.gradient_apply(x, far, [1.0])
        both = np.concatenate([x, far])
        found = k.gradient_apply(both, both, np.append(v, 1.0))[:-1]
        np.testing.assert_allclose(found, alone, rtol=1e-9, atol=1e-10 * np.abs(alone).max())
