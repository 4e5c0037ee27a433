"""Measures: what they compute, what they refuse, and that nothing changes under a reader."""

import copy
import pickle

import numpy as np
import pytest
from scipy.integrate import dblquad

import jko
from jko import Gaussian, GaussianMixture, Grid, GridDensity, Histogram, LogDensity, Particles
from jko.errors import InvalidArgument, InvalidMeasure, InvalidType, Unsupported

X = np.array([[0.0, 1.0], [2.0, -1.0], [0.5, 0.5], [3.0, 2.0]])
WEIGHTS = np.array([0.2, 0.0, 1.0, 0.5])
GRID = Grid([-1, 0], [1, 3], [4, 3])


def discrete():
    return [
        Histogram(X, WEIGHTS),
        Particles(X, WEIGHTS),
        GridDensity(GRID, np.arange(12.0)),
    ]


nan, inf = np.nan, np.inf
POINT = [[0.0, 1.0]]


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (lambda: Particles([1.0, 2.0]), InvalidMeasure, r"expected \(n, d\); write points"),
        (lambda: Particles(np.zeros((0, 2))), InvalidMeasure, "n, d >= 1"),
        (lambda: Particles(np.zeros((2, 0))), InvalidMeasure, "n, d >= 1"),
        (lambda: Particles(np.zeros((2, 2, 2))), InvalidMeasure, r"expected \(n, d\)"),
        (lambda: Particles([[nan, 0]]), InvalidMeasure, "first at index \\(0, 0\\)"),
        (lambda: Particles([[inf, 0]]), InvalidMeasure, "non-finite"),
        (lambda: Particles("points"), InvalidType, "points must be an array of real numbers"),
        (lambda: Particles([["a", "b"]]), InvalidType, "real numbers"),
        (lambda: Particles([[1j, 0]]), InvalidType, "real numbers"),
        (lambda: Particles([[1, 2], [3]]), InvalidType, "points"),
        (lambda: Particles(None), InvalidType, "points"),
        (lambda: Histogram(X, WEIGHTS[:2]), InvalidMeasure, r"shape \(2,\), expected \(4,\)"),
        (lambda: Histogram(X, WEIGHTS[:, None]), InvalidMeasure, r"shape \(4, 1\)"),
        (lambda: Histogram(X, [1, 1, -1e-9, 1]), InvalidMeasure, r"weights\[2\] = -1e-09"),
        (lambda: Histogram(X, [1, nan, 1, 1]), InvalidMeasure, "non-finite"),
        (lambda: Histogram(X, np.zeros(4)), InvalidMeasure, "sum to zero"),
        (lambda: Histogram(X, "uniform"), InvalidType, "weights"),
        (lambda: Particles(POINT, 1.0), InvalidMeasure, r"shape \(\)"),
        (lambda: Grid([0], [1, 2], [3]), InvalidArgument, "disagree"),
        (lambda: Grid([0, 0], [1, 1], 3), InvalidArgument, "disagree"),
        (lambda: Grid([0], [0], [3]), InvalidArgument, "must be below"),
        (lambda: Grid([0], [1], [0]), InvalidArgument, "at least 1"),
        (lambda: Grid([0], [1], [2.0]), InvalidType, "whole number"),
        (lambda: Grid([0], [1], 2.5), InvalidType, "whole number"),
        (lambda: Grid([0], [1], "12"), InvalidType, "whole number"),
        (lambda: Grid([0], [1], True), InvalidType, "whole number"),
        (lambda: Grid([nan], [1], 2), InvalidMeasure, "lower"),
        (lambda: GridDensity("grid", [1.0]), InvalidType, r"pass a jko.Grid"),
        (lambda: GridDensity(GRID, np.ones((3, 4))), InvalidMeasure, r"expected \(12,\)"),
        (lambda: GridDensity.from_density(-np.ones(12), GRID), InvalidMeasure, "negative"),
        (lambda: GridDensity.from_density(np.ones(12), GRID, mass=0), InvalidArgument, "mass"),
        (lambda: GridDensity.from_function(lambda x: 1.0, GRID), InvalidMeasure, "shape"),
        (lambda: Gaussian([0, 0], np.eye(3)), InvalidMeasure, r"expected \(2, 2\)"),
        (lambda: Gaussian([0, 0], [[1, 2], [0, 1]]), InvalidMeasure, "not symmetric"),
        (lambda: Gaussian([0, 0], [[1, 2], [2, 1]]), InvalidMeasure, "positive definite"),
        (lambda: Gaussian([0, 0], np.zeros((2, 2))), InvalidMeasure, "positive definite"),
        (lambda: Gaussian([[0, 0]], np.eye(2)), InvalidMeasure, "mean"),
        (lambda: Gaussian([0, nan], np.eye(2)), InvalidMeasure, "mean"),
        (lambda: Gaussian([0], [[1]], mass=-1), InvalidArgument, "mass"),
        (lambda: Gaussian([0], [[1]], mass="1"), InvalidType, "mass"),
        (lambda: GaussianMixture(X, np.eye(2)), InvalidMeasure, "covs has shape"),
        (lambda: GaussianMixture(X, [np.eye(2)] * 4, [1, 1]), InvalidMeasure, "weights"),
        (lambda: GaussianMixture(X[:2], [np.eye(2), -np.eye(2)]), InvalidMeasure, r"covs\[1\]"),
        (lambda: LogDensity(3.0), InvalidType, "log_density"),
        (lambda: LogDensity(len, gradient=1), InvalidType, "gradient"),
        (lambda: LogDensity(len, dim=1.5), InvalidType, "dim"),
        (lambda: LogDensity(len, dim=0), InvalidArgument, "dim"),
    ],
)
def test_bad_input_gets_one_sentence(make, error, sentence):
    with pytest.raises(error, match=sentence):
        make()


@pytest.mark.parametrize("mu", discrete(), ids=lambda m: type(m).__name__)
def test_mass_mean_and_covariance(mu):
    w, x = mu.weights, mu.points
    assert mu.n == len(w) == len(x)
    assert mu.dim == 2
    assert mu.mass == pytest.approx(sum(w))
    mean = sum(a * p for a, p in zip(w, x, strict=True)) / sum(w)
    cov = sum(a * np.outer(p - mean, p - mean) for a, p in zip(w, x, strict=True)) / sum(w)
    assert mu.mean == pytest.approx(mean)
    assert mu.cov == pytest.approx(cov)
    assert mu.ess == pytest.approx(sum(w) ** 2 / sum(w**2))
    assert mu.expect(lambda p: p[:, 0] ** 2) == pytest.approx(sum(w * x[:, 0] ** 2))
    assert mu.expect(lambda p: p) == pytest.approx(mean * mu.mass)
    k = jko.kernels.Gaussian(0.8)
    assert mu.pair_expect(k) == pytest.approx(w @ k(x, x) @ w)


@pytest.mark.parametrize("mu", discrete(), ids=lambda m: type(m).__name__)
def test_functions_must_be_vectorised(mu):
    with pytest.raises(InvalidMeasure, match="one value"):
        mu.expect(lambda p: p[:1, 0])
    with pytest.raises(InvalidMeasure, match="one value"):
        mu.expect(lambda p: 1.0)


@pytest.mark.parametrize("mu", discrete(), ids=lambda m: type(m).__name__)
def test_nothing_changes_under_a_reader(mu):
    for array in (mu.points, mu.weights):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0
    with pytest.raises(AttributeError):
        mu.weights = np.ones(mu.n)
    other = mu.with_weights(np.ones(mu.n))
    assert type(other) is type(mu)
    assert other.points is mu.points
    assert other.mass == mu.n
    with pytest.raises(InvalidMeasure):
        mu.with_weights(-np.ones(mu.n))
    with pytest.raises(ValueError, match="read-only"):
        other.weights[0] = 1.0


def test_input_arrays_are_copied():
    x, w = X.copy(), WEIGHTS.copy()
    for mu in (Histogram(x, w), Particles(x, w)):
        x[0], w[0] = 99, 99
        assert mu.points[0, 0] == 0
        assert mu.weights[0] == 0.2
        x[0], w[0] = X[0], WEIGHTS[0]
    m, s = np.zeros(2), np.eye(2)
    g = Gaussian(m, s)
    m[0], s[0, 0] = 5, 5
    assert g.mean[0] == 0
    assert g.cov[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        g.cov[0, 0] = 2


def test_only_particles_move():
    moved = Particles(X, WEIGHTS).with_points(X + 1)
    assert moved.points == pytest.approx(X + 1)
    assert moved.weights == pytest.approx(WEIGHTS)
    for mu in (Histogram(X, WEIGHTS), GridDensity(GRID, np.ones(12))):
        with pytest.raises(Unsupported, match=r"use jko\.Particles"):
            mu.with_points(mu.points)
    assert Particles(X).weights == pytest.approx(np.full(4, 0.25))


def test_grid_cells():
    assert GRID.dim == 2
    assert GRID.size == 12
    assert GRID.spacing == pytest.approx([0.5, 1.0])
    assert GRID.cell_volume == pytest.approx(0.5)
    assert GRID.axes[0] == pytest.approx([-0.75, -0.25, 0.25, 0.75])
    assert GRID.points[1] == pytest.approx([-0.75, 1.5])  # C order: the last axis runs fastest
    mu = GridDensity(GRID, np.arange(12.0).reshape(4, 3))
    assert mu.density[1, 2] == pytest.approx(5 / 0.5)
    assert mu.reference == pytest.approx(np.full(12, 0.5))
    assert Grid(0, 1, 5) == Grid([0.0], [1.0], [5]) == Grid([0], [1], np.int64(5))


def test_equal_grids_hash_alike():
    assert Grid([-0.0], [1], 3) == Grid([0.0], [1], 3)
    assert hash(Grid([-0.0], [1], 3)) == hash(Grid([0.0], [1], 3))
    assert Grid([0], [1], 3) != Grid([0], [2], 3)


def test_densities_are_sampled_by_the_midpoint_rule():
    grid = Grid([-6, -6], [6, 6], [60, 48])
    f = lambda x: np.exp(-0.5 * (x**2).sum(1)) / (2 * np.pi)
    mu = GridDensity.from_function(f, grid)
    assert mu.mass == pytest.approx(1, abs=1e-8)
    assert mu.cov == pytest.approx(np.eye(2), abs=1e-6)
    assert GridDensity.from_function(f, grid, mass=2.5).mass == pytest.approx(2.5)
    assert GridDensity.from_density(mu.density, grid).weights == pytest.approx(mu.weights)


def test_same_support():
    h = Histogram(X, WEIGHTS)
    assert h.same_support(Particles(X))
    assert not h.same_support(Particles(X[::-1]))
    assert not h.same_support(Gaussian([0, 0], np.eye(2)))
    a = GridDensity(GRID, np.ones(12))
    assert a.same_support(GridDensity(Grid([-1, 0], [1, 3], [4, 3]), np.arange(12)))
    assert not a.same_support(GridDensity(Grid([-1, 0], [1, 4], [4, 3]), np.arange(12)))
    assert a.same_support(Histogram(GRID.points, np.ones(12)))


# -- Gaussians ------------------------------------------------------------------------------

ROOT = np.array([[1.0, 0.0], [0.6, 0.5]])
GAUSSIANS = [
    Gaussian([0.3, -0.2], ROOT @ ROOT.T, mass=2.0),
    GaussianMixture(
        [[0, 0], [1, -1], [9, 9]], [np.eye(2) * 0.5, ROOT @ ROOT.T, np.eye(2)], [0.5, 1.5, 0.0]
    ),
]


@pytest.mark.parametrize("g", GAUSSIANS, ids=["one", "mixture"])
def test_gaussian_moments_by_quadrature(g):
    f = lambda y, x: np.exp(g.log_density_at(np.array([[x, y]]))[0])
    grid = Grid([-9, -9], [10, 10], [200, 200])
    numeric = GridDensity.from_function(lambda x: np.exp(g.log_density_at(x)), grid)
    assert g.mass == pytest.approx(2.0)
    assert numeric.mass == pytest.approx(g.mass, abs=1e-9)
    assert numeric.mean == pytest.approx(g.mean, abs=1e-9)
    assert numeric.cov == pytest.approx(g.cov, abs=1e-8)
    box = dblquad(f, 0, 0.1, 0, 0.1)[0]
    assert box == pytest.approx(0.01 * f(0.05, 0.05), rel=2e-2)


@pytest.mark.parametrize("g", GAUSSIANS, ids=["one", "mixture"])
def test_score_is_the_gradient_of_the_log_density(g):
    x, h = np.random.default_rng(0).normal(size=(6, 2)), 1e-5
    numeric = np.stack(
        [(g.log_density_at(x + h * e) - g.log_density_at(x - h * e)) / (2 * h) for e in np.eye(2)],
        axis=1,
    )
    assert g.score(x) == pytest.approx(numeric, abs=1e-8)
    assert np.isfinite(g.score(np.array([[300.0, -300.0]]))).all()  # far in the tail


@pytest.mark.parametrize("g", GAUSSIANS, ids=["one", "mixture"])
def test_samples_have_the_moments(g):
    x = g.sample(40_000, np.random.default_rng(1))
    assert x.mean(axis=0) == pytest.approx(g.mean, abs=0.03)
    assert np.cov(x.T) == pytest.approx(g.cov, abs=0.05)
    again = g.sample(40_000, np.random.default_rng(1))
    assert (x == again).all()


def test_one_dimensional_covariances_may_be_numbers():
    assert Gaussian([1.0], 4.0).cov == pytest.approx(np.array([[4.0]]))
    assert Gaussian(1.0, 4.0).dim == 1


def test_mixture_defaults_and_representations():
    assert GaussianMixture(X, [np.eye(2)] * 4).components[0] == pytest.approx(np.full(4, 0.25))
    shown = [*discrete(), *GAUSSIANS, LogDensity(len, dim=2), GRID]
    assert all(type(m).__name__ in repr(m) for m in shown)


def arrays_of(value):
    """All arrays inside a measure and its grid."""
    for part in vars(value).values():
        if isinstance(part, np.ndarray):
            yield part
        elif isinstance(part, tuple):
            yield from (p for p in part if isinstance(p, np.ndarray))
        elif isinstance(part, Grid):
            yield from arrays_of(part)


@pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy, lambda mu: pickle.loads(pickle.dumps(mu))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_copies_stay_read_only(again):
    walled = Grid([-1, 0], [1, 3], [4, 3], mask=np.arange(12).reshape(4, 3) > 2, periodic=True)
    measures = [
        *discrete(),
        GridDensity(walled, np.arange(12.0) * (np.arange(12) > 2)),
        Gaussian([0.0, 1.0], np.eye(2)),
        GaussianMixture(X, np.stack([np.eye(2)] * 4)),
    ]
    for mu in measures:
        if isinstance(mu, GridDensity):  # fills the caches of the grid
            assert mu.points.shape == (12, 2)
            assert mu.grid.regions.shape == (12,)
        found = list(arrays_of(again(mu)))
        assert len(found) >= 1
        assert not any(a.flags.writeable for a in found)


def test_means_keep_their_digits_far_from_zero():
    """Unix times: the mean of t0 + s is t0 + mean(s), to the spacing of doubles there."""
    t0, s = 1.7e9, np.arange(40.0) / 4
    mu = Particles((t0 + s)[:, None], np.arange(1.0, 41.0))
    right = Particles(s[:, None], mu.weights)
    assert abs(mu.mean[0] - t0 - right.mean[0]) <= 2 * np.spacing(t0)
    assert mu.cov[0, 0] == pytest.approx(right.cov[0, 0], rel=1e-12)
