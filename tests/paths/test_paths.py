"""`jko.geodesic` and `jko.planning` against exact values, definitions and each other."""

from pathlib import Path

import numpy as np
import pytest

import jko

W = jko.Wasserstein()


def bump(grid: jko.Grid, mean: object, std: object, mass: float = 1.0) -> jko.GridDensity:
    m, s = np.asarray(mean, dtype=float), np.asarray(std, dtype=float)
    return jko.GridDensity.from_function(
        lambda x: np.exp(-((x - m) ** 2 / (2 * s**2)).sum(-1)), grid, mass=mass
    )


def square(n: int, **more: object) -> jko.Grid:
    return jko.Grid([0, 0], [1, 1], [n, n], **more)  # type: ignore[arg-type]


def continuity(path: jko.Path) -> float:
    """Largest defect of d_t mu + div(flux) = source over all cells and slices."""
    curve = path.curve
    grid = path.measures[0].grid
    tau = path.duration / (len(path.times) - 1)
    left = np.diff(curve.weights, axis=0) / tau
    for axis in range(grid.dim):
        m = curve.fluxes[axis].reshape(-1, *grid.shape)
        left += (m - np.roll(m, 1, axis + 1)).reshape(left.shape)
    return float(np.abs(left - (0 if curve.sources is None else curve.sources)).max())


@pytest.fixture(scope="module")
def plain() -> jko.Path:
    grid = square(24)
    return jko.geodesic(
        bump(grid, [0.35, 0.4], [0.1, 0.08]), bump(grid, [0.6, 0.6], [0.08, 0.1]), W, 12
    )


def test_extrapolated_action_is_bures(plain: jko.Path) -> None:
    exact = 0.25**2 + 0.2**2 + 2 * 0.02**2
    assert plain.gap <= 1e-3
    assert plain.extrapolated == pytest.approx(exact, rel=1e-2)
    assert plain.bias == pytest.approx(plain.action - exact, rel=0.3)


def test_order_in_h_is_two() -> None:
    exact, errors = 0.35**2 + 0.03**2, []
    for n in (48, 96):
        grid = jko.Grid([0], [1], [n])
        a, b = bump(grid, [0.3], [0.06]), bump(grid, [0.65], [0.09])
        errors.append(jko.geodesic(a, b, W, n // 4, tol=2e-4).action - exact)
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.15)


def test_tangent_is_that_of_the_path(plain: jko.Path) -> None:
    assert continuity(plain) < 1e-9
    mu, v = plain.at(0.5), plain.velocity(0.5)
    np.testing.assert_allclose(mu.weights @ v / mu.mass, [0.25, 0.2], rtol=0.02)
    assert not plain.rate(0.5).any()
    assert all(m.mass == pytest.approx(1.0, abs=1e-12) for m in plain.measures)


def test_obstacle_is_gone_round() -> None:
    mask = np.ones((24, 24), dtype=bool)
    mask[10:14, 6:18] = False
    grid = square(24, mask=mask)
    a, b = bump(grid, [0.2, 0.5], [0.07, 0.07]), bump(grid, [0.8, 0.5], [0.07, 0.07])
    path = jko.geodesic(a, b, W, 12, tol=5e-3)
    assert path.gap <= 5e-3
    assert path.action > 1.2 * 0.6**2
    assert all(not m.weights[~grid.mask].any() for m in path.measures)
    assert continuity(path) < 1e-9


def test_periodic_axis_agrees_with_the_plan_on_the_circle() -> None:
    import ot

    n = 32
    grid = jko.Grid([0], [1], [n], periodic=True)
    x = grid.points[:, 0]

    def around(c: float) -> jko.GridDensity:
        d = np.minimum(abs(x - c), 1 - abs(x - c))
        return jko.GridDensity.from_density(np.exp(-(d**2) / (2 * 0.07**2)), grid, mass=1.0)

    a, b = around(0.1), around(0.85)
    path = jko.geodesic(a, b, W, 16)
    d = np.abs(x[:, None] - x)
    exact = ot.emd2(a.weights, b.weights, np.minimum(d, 1 - d) ** 2)
    assert path.extrapolated == pytest.approx(exact, rel=2e-2)
    assert path.action < 0.3 * 0.75**2  # going round is shorter


def test_fisher_rao_geodesic_agrees_with_the_static_problem() -> None:
    geometry = jko.WassersteinFisherRao(1.0, 4.0)
    grid = jko.Grid([0], [1], [64])
    a, b = bump(grid, [0.35], [0.1]), bump(grid, [0.6], [0.08], mass=1.5)
    path = jko.geodesic(a, b, geometry, 16)
    low, up = geometry.bounds(a, b)
    assert path.extrapolated == pytest.approx(0.5 * (low + up), rel=3e-3)
    assert continuity(path) < 1e-9
    change = path.at(0.55).mass - path.at(0.51).mass
    assert path.at(0.53).weights @ path.rate(0.53) == pytest.approx(change / 0.04, rel=0.05)


def test_scaled_geometries_scale_their_action() -> None:
    grid = jko.Grid([0], [1], [32])
    a, b = bump(grid, [0.35], [0.1]), bump(grid, [0.6], [0.1], mass=1.5)
    G = jko.WassersteinFisherRao(1.0, 4.0)
    one, two = (jko.geodesic(a, b, g, 8, tol=1e-4).action for g in (G, 2 * G))
    assert two == pytest.approx(one / 2, rel=2e-4)


def test_units_of_mass_and_length_do_not_matter() -> None:
    grid, big = jko.Grid([0], [1], [32]), jko.Grid([-50], [50], [32])
    one = jko.geodesic(bump(grid, [0.35], [0.1]), bump(grid, [0.6], [0.1]), W, 8)
    a, b = bump(big, [-15], [10], 1e-6), bump(big, [10], [10], 1e-6)
    two = jko.geodesic(a, b, W, 8)
    assert two.action == pytest.approx(one.action * 1e4 * 1e-6, rel=1e-9)
    assert two.gap == pytest.approx(one.gap, rel=1e-3)


def test_congestion_spreads_and_costs() -> None:
    grid = square(24)
    a, b = bump(grid, [0.3, 0.5], [0.08, 0.08]), bump(grid, [0.7, 0.5], [0.08, 0.08])
    free = jko.planning(a, b, W, slices=8)
    F = 0.02 * jko.PorousMedium(2)
    crowded = jko.planning(a, b, W, running=F, slices=8)
    assert max(free.gap, crowded.gap) <= 1e-3
    assert crowded.at(0.5).density.max() < 0.8 * free.at(0.5).density.max()
    nodes = [F.value(m) for m in crowded.measures]
    paid = (sum(nodes) - 0.5 * (nodes[0] + nodes[-1])) / 8
    assert crowded.value == pytest.approx(crowded.action / 2 + paid, rel=1e-9)
    assert crowded.dual <= crowded.value <= free.value + sum(F.value(m) for m in free.measures) / 8


def test_free_end_with_a_ceiling() -> None:
    grid = square(16)
    a = bump(grid, [0.3, 0.5], [0.1, 0.1])
    V = jko.Potential(lambda x: 3 * ((x - np.array([0.7, 0.5])) ** 2).sum(-1))
    top = float(a.density.max())
    path = jko.planning(
        a, V, W, running=jko.BoxConstraint(top) + 0.01 * jko.PorousMedium(2), slices=6
    )
    assert path.gap <= 1e-3
    assert max(m.density.max() for m in path.measures) <= top * (1 + 1e-9)
    assert V.value(path.at(1.0)) < V.value(a)


def test_static_paths_share_the_object(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 2)), rng.normal(size=(7, 2)) + 1
    a, b = jko.Particles(x), jko.Particles(y)
    k = jko.kernels.Gaussian(1.0)
    h1 = jko.Histogram(x, np.array([0.1, 0.2, 0.3, 0.4, 0.0]))
    h2 = jko.Histogram(x, np.array([0.3, 0.2, 0.0, 0.1, 0.4]))
    g1, g2 = jko.Gaussian([0, 0], np.eye(2)), jko.Gaussian([1, 2], [[2, 0.5], [0.5, 1]])
    cases = [
        (a, b, W), (h1, h2, W), (g1, g2, W), (a, b, jko.WassersteinFisherRao(1.0, 1.0)),
        (h1, h2, jko.Hellinger()), (h1, h2, jko.SphericalHellinger()), (a, b, jko.MMD(k)),
        (h1, h2, 2 * jko.MMD(k)),
    ]  # fmt: skip
    for one, two, geometry in cases:
        path = jko.geodesic(one, two, geometry, slices=4)
        assert path.action == pytest.approx(geometry.sqdistance(one, two), rel=1e-9)
        assert path.gap <= 1e-9
        half = geometry.distance(one, path.at(0.5))
        assert half == pytest.approx(0.5 * np.sqrt(path.action), rel=1e-6)
        path.save(tmp_path / "path.npz")
        again = jko.Path.load(tmp_path / "path.npz")
        assert repr(again) == repr(path)
        assert geometry.sqdistance(again.at(0.3), path.at(0.3)) <= 1e-12


def test_rates_and_velocities_are_derivatives() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(4, 2))
    h1 = jko.Histogram(x, np.array([0.1, 0.2, 0.3, 0.4]))
    h2 = jko.Histogram(x, np.array([0.3, 0.2, 0.4, 0.1]))
    for geometry in (jko.Hellinger(), jko.SphericalHellinger(), jko.MMD(jko.kernels.Gaussian(1.0))):
        path = jko.geodesic(h1, h2, geometry)
        change = (path.at(0.4 + 1e-6).weights - path.at(0.4 - 1e-6).weights) / 2e-6
        np.testing.assert_allclose(path.at(0.4).weights * path.rate(0.4), change, atol=1e-8)
    cone = jko.geodesic(
        jko.Particles(x[:2], [1.0, 2.0]),
        jko.Particles(x[2:], [0.5, 1.0]),
        jko.WassersteinFisherRao(1.0, 0.3),
    )
    before, after, mu = cone.at(0.4 - 1e-6), cone.at(0.4 + 1e-6), cone.at(0.4)
    np.testing.assert_allclose((after.points - before.points) / 2e-6, cone.velocity(0.4), atol=1e-6)
    np.testing.assert_allclose(
        (after.weights - before.weights) / 2e-6, mu.weights * cone.rate(0.4), atol=1e-6
    )
    g1, g2 = jko.Gaussian([0, 0], np.eye(2)), jko.Gaussian([1, 2], [[2, 0.5], [0.5, 1]])
    bures = jko.geodesic(g1, g2, W)
    mu, points = bures.at(0.4), rng.normal(size=(3, 2))
    slope = (bures.velocity(0.4, points + np.array([1e-4, 0])) - bures.velocity(0.4, points)) / 1e-4
    late = bures.at(0.4 + 1e-6)
    assert slope[0, 0] == pytest.approx(slope[1, 0], rel=1e-6)
    drift = (late.mean - mu.mean) / 1e-6
    np.testing.assert_allclose(bures.velocity(0.4, mu.mean[None])[0], drift, atol=1e-6)


def test_bad_input_is_one_sentence() -> None:
    grid = jko.Grid([0], [1], [16])
    a, b = bump(grid, [0.3], [0.1]), bump(grid, [0.7], [0.1], mass=2.0)
    with pytest.raises(jko.InvalidMeasure, match="conserves mass"):
        jko.geodesic(a, b, W)
    mask = np.ones(16, dtype=bool)
    mask[8] = False
    walled = jko.Grid([0], [1], [16], mask=mask)
    ends = bump(walled, [0.3], [0.1]), bump(walled, [0.7], [0.1])
    with pytest.raises(jko.InvalidMeasure, match="regions"):
        jko.geodesic(*ends, W)
    with pytest.raises(jko.Unsupported, match="kernel"):
        jko.planning(a, a, W, running=jko.MMDEnergy(a, jko.kernels.Gaussian(1.0)))
    with pytest.raises(jko.InvalidType, match="end"):
        jko.planning(a, 3.0, W)  # type: ignore[arg-type]
    with pytest.raises(jko.InvalidArgument, match="infinite running cost"):
        jko.planning(a, a, W, running=jko.BoxConstraint(0.5))
    with pytest.raises(jko.InvalidArgument, match="outside"):
        jko.geodesic(a, a, jko.Hellinger()).at(2.0)
    with pytest.warns(jko.JkoWarning, match="max_iter"):
        jko.geodesic(a, bump(grid, [0.7], [0.1]), W, 4, tol=1e-9, max_iter=5)


@pytest.mark.parametrize("p", [1.5, 3.0])
def test_powers_are_those_of_quantiles_on_the_line(p: float) -> None:
    """W_p^p of two densities on the line, whatever solver: the integral of |quantiles apart|^p."""
    grid = jko.Grid([0], [1], [48])

    def bump(c: float, s: float) -> jko.GridDensity:
        return jko.GridDensity.from_function(
            lambda x: np.exp(-((x[:, 0] - c) ** 2) / (2 * s * s)), grid, mass=1.0
        )

    a, b = bump(0.35, 0.08), bump(0.6, 0.1)
    path = jko.geodesic(a, b, jko.Wasserstein(p=p), slices=8, tol=5e-3)
    levels = (np.arange(20000) + 0.5) / 20000
    edges = np.linspace(0, 1, 49)
    first, second = (
        np.interp(levels, np.concatenate([[0.0], np.cumsum(m.weights)]), edges) for m in (a, b)
    )
    exact = float(np.mean(np.abs(first - second) ** p))
    assert path.gap <= 5e-3
    assert path.extrapolated == pytest.approx(exact, rel=2e-2)
    assert path.dual <= path.action


@pytest.mark.parametrize("beta", [4.0, 1.0])
def test_fisher_rao_between_diracs_is_the_formula(beta: float) -> None:
    """Formula U1, on both sides of the cut."""
    geometry = jko.WassersteinFisherRao(1.0, beta)
    for apart in (0.4, 4.0):
        a, b = jko.Particles([[0.0]], [1.0]), jko.Particles([[apart]], [2.0])
        path = jko.geodesic(a, b, geometry)
        angle = min(np.sqrt(beta / 4) * apart, np.pi / 2)
        exact = (4 / beta) * (3 - 2 * np.sqrt(2) * np.cos(angle))
        assert path.action == pytest.approx(exact, rel=1e-9)
