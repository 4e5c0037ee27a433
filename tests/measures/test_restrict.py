"""Targets read on the atoms of a support."""

import numpy as np
import pytest

from jko import Gaussian, Grid, GridDensity, Histogram, LogDensity, Particles
from jko.errors import InvalidArgument, InvalidMeasure, Unsupported
from jko.measures.target import restrict

X = np.array([[0.0, 1.0], [2.0, -1.0], [0.5, 0.5], [3.0, 2.0]])
SUPPORT = Histogram(X, np.ones(4))
GRID = Grid([-3], [3], 50)


def test_atoms_are_matched_whatever_their_order():
    target = Particles(X[[2, 0, 3, 1]], [1.0, 2.0, 0.0, 3.0])
    found = restrict(target, SUPPORT)
    assert found.weights == pytest.approx([2.0, 3.0, 1.0, 0.0])
    assert found.log_weights[3] == -np.inf
    assert found.missing == 0


def test_mass_off_the_support_is_counted():
    target = Particles(np.vstack([X[1], [[7.0, 7.0]], X[0], [[8.0, 0.0]]]), [1.0, 2.0, 0.5, 0.25])
    found = restrict(target, SUPPORT)
    assert found.weights == pytest.approx([0.5, 1.0, 0.0, 0.0])
    assert found.missing == pytest.approx(2.25)


def test_duplicates_in_the_target_add_up():
    found = restrict(Particles(X[[0, 1, 0, 0]], [1.0, 2.0, 3.0, 4.0]), SUPPORT)
    assert found.weights == pytest.approx([8.0, 2.0, 0.0, 0.0])


def test_duplicates_in_the_support_get_the_mass_once():
    support = Histogram(X[[0, 1, 1]], np.ones(3))
    found = restrict(Particles(X[[1, 0]], [2.0, 1.0]), support)
    assert found.weights == pytest.approx([1.0, 2.0, 0.0])
    assert found.missing == 0


def test_minus_zero_is_zero():
    found = restrict(Particles([[-0.0, 1.0]], [2.0]), SUPPORT)
    assert found.weights == pytest.approx([2.0, 0, 0, 0])


def test_no_mass_is_lost_in_random_cases():
    rng = np.random.default_rng(0)
    pool = rng.integers(0, 3, size=(40, 2)).astype(float)
    target = Particles(pool[rng.integers(0, 40, 30)], rng.random(30))
    support = Histogram(np.unique(pool[:10], axis=0), np.ones(len(np.unique(pool[:10], axis=0))))
    found = restrict(target, support)
    assert found.weights.sum() + found.missing == pytest.approx(target.mass)
    for x, w in zip(support.points, found.weights, strict=True):
        assert w == pytest.approx(target.weights[(target.points == x).all(1)].sum())


def test_densities_on_a_grid_are_density_times_volume():
    support = GridDensity(GRID, np.ones(50))
    g = Gaussian([0.2], [[0.5]], mass=3.0)
    found = restrict(g, support)
    x = GRID.points[:, 0]
    exact = 3 * np.exp(-((x - 0.2) ** 2)) / np.sqrt(np.pi) * GRID.cell_volume
    assert found.weights == pytest.approx(exact, rel=1e-12)
    log = LogDensity(lambda y: -1e4 - y[:, 0] ** 2, dim=1)
    assert restrict(log, support).log_weights == pytest.approx(-1e4 - x**2 + np.log(0.12))


def test_grids_must_agree():
    support = GridDensity(GRID, np.ones(50))
    same = GridDensity(Grid([-3], [3], 50), np.arange(50.0))
    assert restrict(same, support).weights == pytest.approx(np.arange(50.0))
    with pytest.raises(InvalidArgument, match="sample the target on the measure's grid"):
        restrict(GridDensity(Grid([-3], [4], 50), np.ones(50)), support)
    with pytest.raises(InvalidArgument, match="dimension"):
        restrict(SUPPORT, support)
    with pytest.raises(Unsupported, match=r"jko\.Histogram on these points"):
        restrict(Gaussian([0, 0], np.eye(2)), SUPPORT)


@pytest.mark.parametrize(
    ("log_density", "sentence"),
    [
        (lambda x: np.zeros(3), "one value per point"),
        (lambda x: x, "one value per point"),
        (lambda x: np.full(len(x), np.nan), "is nan at point"),
        (lambda x: np.full(len(x), np.inf), "is inf at point"),
    ],
)
def test_log_densities_are_checked(log_density, sentence):
    with pytest.raises(InvalidMeasure, match=sentence):
        restrict(LogDensity(log_density, dim=1), GridDensity(GRID, np.ones(50)))


def test_scores_are_checked():
    x = np.zeros((2, 1))
    with pytest.raises(Unsupported, match="gradient="):
        LogDensity(lambda y: y[:, 0]).score(x)
    with pytest.raises(InvalidMeasure, match="shape"):
        LogDensity(lambda y: y[:, 0], gradient=lambda y: y[:, 0]).score(x)
    with pytest.raises(InvalidMeasure, match="not finite"):
        LogDensity(lambda y: y[:, 0], gradient=lambda y: y + np.nan).score(x)
