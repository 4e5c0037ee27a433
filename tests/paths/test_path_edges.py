"""Paths at the edges of what they take: one slice, pictures of every kind, nearly empty cells."""

from pathlib import Path

import numpy as np
import pytest

import jko

W = jko.Wasserstein()
LINE = jko.Grid(0.0, 1.0, 40)


def on_line(centre: float, width: float) -> jko.GridDensity:
    def shape(x: np.ndarray) -> np.ndarray:
        return np.exp(-((x[:, 0] - centre) ** 2) / (2 * width**2))

    return jko.GridDensity.from_function(shape, LINE, mass=1.0)


@pytest.mark.parametrize("p", [1.5, 2.0, 3.0])
def test_one_slice_on_the_line_moves_the_only_flux_there_is(p: float) -> None:
    a, b = on_line(0.4, 0.1), on_line(0.6, 0.12)
    path = jko.geodesic(a, b, jko.Wasserstein(p=p), slices=1)
    flux = np.concatenate([[0.0], np.cumsum(a.weights - b.weights)[:-1], [0.0]]) * LINE.spacing[0]
    r = (a.weights + b.weights) / 2
    sides = np.sqrt((flux[1:] ** 2 + flux[:-1] ** 2) / 2)
    assert path.action == pytest.approx(float((sides**p / r ** (p - 1)).sum()), rel=1e-9)
    assert path.gap <= 1e-3
    for mu, end in zip(path.measures, (a, b), strict=True):
        np.testing.assert_allclose(mu.weights, end.weights, rtol=1e-12)


def test_one_slice_with_sources_and_with_running_costs() -> None:
    a, b = on_line(0.4, 0.1), on_line(0.6, 0.12)
    for geometry in (W, jko.WassersteinFisherRao(1.0, 4.0)):
        plan = jko.planning(a, b, geometry, running=0.1 * jko.PorousMedium(2), slices=1)
        cost = 0.05 * sum(jko.PorousMedium(2).value(mu) for mu in (a, b))
        assert plan.value == pytest.approx(plan.action / 2 + cost, rel=1e-12)
        assert plan.gap <= 1e-3


def test_every_kind_of_measure_has_pictures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    rng = np.random.default_rng(0)
    pairs: list[tuple[jko.measures.base.Measure, jko.measures.base.Measure]] = [
        (on_line(0.3, 0.1), on_line(0.6, 0.1)),
        *(
            (
                jko.Particles(rng.normal(size=(4, d))),
                jko.Particles(rng.normal(size=(5, d)) + 1),
            )
            for d in (1, 3)
        ),
        *(
            (jko.Gaussian(np.zeros(d), np.eye(d)), jko.Gaussian(np.ones(d), 2 * np.eye(d)))
            for d in (1, 2)
        ),
    ]
    for a, b in pairs:
        path = jko.geodesic(a, b, W, slices=2)
        panels = [ax for ax in path.plot(shots=2).axes if ax.get_title("left")]
        assert [ax.get_title("left") for ax in panels] == ["t = 0", "t = 1"]
        assert panels[0].get_xlim() == panels[1].get_xlim()
        assert panels[0].get_ylim() == panels[1].get_ylim()
        if a.dim != 1:
            continue
        target = tmp_path / "path.gif"
        assert path.animate(target, size=(2, 2)) == target
        assert target.read_bytes()[:3] == b"GIF"


def test_blocks_that_next_to_no_mass_ties_to_the_rest() -> None:
    """Masses of 1e-60 beside 1: the system of the best fluxes has blocks singular to rounding."""
    grid = jko.Grid([-4, -4], [4, 4], [24, 24])
    rho = jko.GridDensity.from_function(
        lambda x: np.exp(-2 * ((x - [1, 0.5]) ** 2).sum(1)), grid, mass=1.0
    )
    energy, taken = jko.PorousMedium(2), []
    for slices in (1, 2, 4):
        res = jko.step(rho, energy, W, 0.05, solver=jko.solvers.Dynamic(slices), tol=1e-4)
        assert res.success
        taken.append(res.objective)
    assert np.ptp(taken) <= 2e-4 * taken[0]


def test_mass_that_hugs_a_wall_takes_few_steps() -> None:
    """The least path goes along the wall, ever denser on finer grids: weights cell by cell."""
    n = 32
    grid = jko.Grid([0, 0], [1, 1], [n, n])
    x, y = grid.points.T
    mask = ~((np.abs(x - 0.5) < 0.08) & (np.abs(y - 0.5) < 0.25)).reshape(n, n)
    grid = jko.Grid([0, 0], [1, 1], [n, n], mask=mask)
    a, b = (
        jko.GridDensity.from_density(
            np.exp(-((x - c) ** 2 + (y - 0.5) ** 2) / (2 * 0.08**2)) * mask.ravel(), grid, mass=1.0
        )
        for c in (0.25, 0.75)
    )
    path = jko.geodesic(a, b, W, 16, max_iter=150)  # 1e-3 after 80; 1e-2 with one weight for all
    assert path.gap <= 1e-3
    assert path.dual <= path.action


def test_high_powers_in_the_plane_reach_the_static_cost() -> None:
    """Scales are read from the splitting: those of a path blow up with the power."""
    grid = jko.Grid([0, 0], [1, 1], [16, 16])
    a, b = (
        jko.GridDensity.from_function(
            lambda x, c=c: np.exp(-((x - c) ** 2).sum(1) / (2 * 0.12**2)), grid, mass=1.0
        )
        for c in ([0.35, 0.4], [0.6, 0.6])
    )
    geometry = jko.Wasserstein(p=3)
    path = jko.geodesic(a, b, geometry, slices=8)
    assert path.gap <= 1e-3
    assert path.action == pytest.approx(geometry.distance(a, b) ** 3, rel=0.15)  # 16 cells
    assert path.dual <= path.action


def test_paths_to_a_free_end_far_away_are_no_steps() -> None:
    """Weights of steps, whose mass hardly moves, left gaps of .3 and .012 after 1000 steps."""
    grid = jko.Grid([0, 0], [1, 1], [20, 20])
    a, b = (
        jko.GridDensity.from_function(
            lambda x, c=c: np.exp(-((x - c) ** 2).sum(1) / (2 * 0.09**2)), grid, mass=1.0
        )
        for c in ([0.3, 0.35], [0.65, 0.6])
    )
    bowl = jko.Potential(lambda x: 4 * ((x - 0.7) ** 2).sum(1))
    for end, geometry in ((bowl, W), (jko.KL(b), W), (jko.KL(b), jko.WassersteinFisherRao(1, 4))):
        assert jko.planning(a, end, geometry, slices=8, max_iter=1000).gap <= 1e-3


def test_births_between_regions_cut_off_are_closed_by_newton():
    """The splitting left 1e-2 here; between regions far apart all mass dies and is born again."""
    mask = np.ones((12, 12), dtype=bool)
    mask[5:7] = False
    grid = jko.Grid([0, 0], [1, 1], [12, 12], mask=mask)
    geometry = jko.WassersteinFisherRao(1, 1)
    one, two = (
        jko.GridDensity.from_density(
            mask.ravel() * np.exp(-80 * ((grid.points - [x, 0.5]) ** 2).sum(axis=1)), grid, mass=1
        )
        for x in (0.25, 0.75)
    )
    path = jko.geodesic(one, two, geometry, slices=8, tol=1e-4)
    assert path.gap <= 1e-4
    assert path.action <= jko.Hellinger().sqdistance(one, two)
    assert path.action >= 0.8 * jko.Hellinger().sqdistance(one, two)


@pytest.mark.parametrize("geometry", [jko.Wasserstein(), jko.WassersteinFisherRao(1, 2)])
def test_ends_with_an_entropy_in_wide_boxes(geometry):
    grid = jko.Grid([-8], [8], [64])
    one, two = (
        jko.GridDensity.from_density(np.exp(-((grid.points[:, 0] - m) ** 2) / 2), grid, mass=1)
        for m in (2.0, 0.0)
    )
    path = jko.planning(one, jko.KL(two), geometry, slices=8, tol=1e-5)
    assert path.gap <= 1e-5


def test_the_fourth_power_on_the_line_reaches_its_gap() -> None:
    grid = jko.Grid(0.0, 1.0, 48)
    a, b = (
        jko.GridDensity.from_density(
            np.exp(-((grid.points[:, 0] - m) ** 2) / (2 * s**2)), grid, mass=1.0
        )
        for m, s in ((0.3, 0.06), (0.6, 0.1))
    )
    geometry = jko.Wasserstein(p=4)
    path = jko.geodesic(a, b, geometry, slices=12, max_iter=1000)
    assert path.gap <= 1e-3
    assert path.action == pytest.approx(geometry.distance(a, b) ** 4, rel=0.05)


@pytest.mark.parametrize("grid", [LINE, jko.Grid([-2.0, -2.0], [2.0, 2.0], [6, 5])], ids=str)
@pytest.mark.parametrize("geometry", [W, jko.Wasserstein(p=3), jko.WassersteinFisherRao()], ids=str)
def test_equal_measures_are_joined_by_rest(grid: jko.Grid, geometry: jko.Geometry) -> None:
    # A gap relative to an action of nothing was 1, or no path was found at all.
    mu = jko.GridDensity(grid, np.exp(-(grid.points**2).sum(axis=1)))
    path = jko.geodesic(mu, mu.with_weights(mu.weights * (1 + 1e-15)), geometry, 4)
    assert path.action == path.value == path.gap == 0
    np.testing.assert_allclose(path.at(0.3).weights, mu.weights, rtol=1e-14)
    np.testing.assert_array_equal(path.velocity(0.3), 0)
