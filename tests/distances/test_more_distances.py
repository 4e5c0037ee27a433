"""Sliced distances, boxes whose axes repeat, barycentres with sources."""

import numpy as np
import pytest
from generators import measures
from scipy.optimize import linprog

import jko

# -- sliced ----------------------------------------------------------------------------------------


def test_sliced_on_the_line_is_the_distance_itself():
    rng = np.random.default_rng(0)
    a = jko.Particles(rng.normal(size=(7, 1)))
    b = jko.Particles(rng.normal(size=(9, 1)) + 1)
    for p in (1.0, 2.0, 3.0):
        found = jko.sliced_wasserstein(a, b, p)
        assert found.value == pytest.approx(jko.Wasserstein(p=p).distance(a, b), rel=1e-12)
        assert found.error == 0


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_sliced_is_the_mean_of_sorted_differences(p):
    """Against sorting, direction by direction, of equal weights."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(30, 2)), 1.5 * rng.normal(size=(30, 2)) + 0.5
    found = jko.sliced_wasserstein(jko.Particles(x), jko.Particles(y), p, directions=64)
    costs = []
    for angle in np.pi * np.arange(64) / 64:
        u = np.array([np.cos(angle), np.sin(angle)])
        costs.append(np.mean(np.abs(np.sort(x @ u) - np.sort(y @ u)) ** p))
    assert found.value == pytest.approx(np.mean(costs) ** (1 / p), rel=1e-12)
    fine = jko.sliced_wasserstein(jko.Particles(x), jko.Particles(y), p, directions=2000)
    assert abs(found.value - fine.value) <= 3 * found.error + 1e-6


def test_sliced_shift_has_a_mean_square_of_one_dth():
    """Two Diracs at distance r: SW_2^2 = r^2/d; the error bar holds, units and masses scale."""
    for dim in (2, 5):
        a, b = jko.Particles(np.zeros((1, dim))), jko.Particles(3 * np.eye(dim)[:1])
        found = jko.sliced_wasserstein(a, b, directions=2000, rng=0)
        assert abs(found.value - 3 / np.sqrt(dim)) <= 4 * found.error + 1e-12
    heavy = jko.sliced_wasserstein(
        jko.Particles([[0.0, 0.0]], [5.0]), jko.Particles([[3.0, 0.0]], [5.0])
    )
    assert heavy.value == pytest.approx(np.sqrt(5 * 9 / 2), rel=1e-10)


def test_sliced_bad_input():
    a, b = measures.particles(5, mass=1.0), measures.particles(6, mass=2.0)
    with pytest.raises(jko.InvalidMeasure, match="masses"):
        jko.sliced_wasserstein(a, b)
    with pytest.raises(jko.InvalidArgument, match=r"p = 0\.5"):
        jko.sliced_wasserstein(a, a, p=0.5)
    with pytest.raises(jko.InvalidArgument, match="directions"):
        jko.sliced_wasserstein(a, a, directions=0)


# -- periodic boxes --------------------------------------------------------------------------------


def ring(n=24, periodic=True):
    grid = jko.Grid([0.0], [2.0], [n], periodic=periodic)
    x = grid.points[:, 0]
    one = jko.GridDensity.from_density(np.exp(np.cos(np.pi * x)), grid, mass=1.3)
    two = jko.GridDensity.from_density(np.exp(2 * np.cos(np.pi * (x - 1.7))), grid, mass=1.3)
    return one, two


def program(a, b, cost):
    n, m = a.n, b.n
    rows = np.vstack([np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))])
    wanted = np.concatenate([a.weights, b.weights])
    return linprog(cost.ravel(), None, None, rows, wanted, method="highs").fun


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
def test_ways_may_lead_round_a_ring(p):
    a, b = ring()
    x = a.points[:, 0]
    apart = np.abs(x[:, None] - x)
    cost = np.minimum(apart, 2 - apart) ** p
    exact = program(a, b, cost)
    assert jko.Wasserstein(p=p).distance(a, b) == pytest.approx(exact ** (1 / p), rel=1e-9)
    assert jko.transport(a, b, p=p).value == pytest.approx(exact, rel=1e-9)
    plan = jko.Wasserstein(p=p).plan(a, b)
    np.testing.assert_allclose(plan.sum(axis=1), a.weights, atol=1e-12)
    assert float((plan.toarray() * cost).sum()) == pytest.approx(exact, rel=1e-9)
    straight, other = ring(periodic=False)
    assert exact < jko.Wasserstein(p=p).distance(straight, other) ** p


def test_shifts_round_a_torus_do_not_matter():
    grid = jko.Grid([0, 0], [1, 2], [6, 8], periodic=[True, False])
    rng = np.random.default_rng(0)
    w, v = rng.dirichlet(np.ones(48), size=2).reshape(2, 6, 8)
    W = jko.Wasserstein()
    found = [
        W.sqdistance(
            jko.GridDensity(grid, np.roll(w, s, 0).ravel()),
            jko.GridDensity(grid, np.roll(v, s, 0).ravel()),
        )
        for s in (0, 1, 4)
    ]
    np.testing.assert_allclose(found, found[0], rtol=1e-10)
    straight = jko.Grid([0, 0], [1, 2], [6, 8])
    line = W.sqdistance(jko.GridDensity(straight, w.ravel()), jko.GridDensity(straight, v.ravel()))
    assert found[0] <= line * (1 + 1e-12)


def test_what_moves_along_straight_lines_still_refuses_rings():
    a, b = ring()
    for call in (
        lambda: jko.Wasserstein().barycentric_map(a, b),
        lambda: jko.Wasserstein().geodesic(a, b, 0.5),
        lambda: jko.Wasserstein().distance(a, ring(periodic=False)[1]),
        lambda: jko.sliced_wasserstein(a, b),
    ):
        with pytest.raises(jko.JkoError):
            call()


# -- barycentres with sources ----------------------------------------------------------------------


def bumps():
    x = np.linspace(0, 1, 16)[:, None]
    a = np.exp(-((x[:, 0] - 0.3) ** 2) / 0.005)
    b = np.exp(-((x[:, 0] - 0.6) ** 2) / 0.01)
    return jko.Histogram(x, a / a.sum()), jko.Histogram(x, 2 * b / b.sum())


def test_barycentre_with_sources_is_certified_and_no_rival_is_better():
    a, b = bumps()
    geometry = jko.WassersteinFisherRao(1.0, 4.0)
    found = jko.barycentre([a, b], [0.6, 0.4], geometry, max_iter=200)
    value = 0.6 * geometry.sqdistance(found.measure, a) + 0.4 * geometry.sqdistance(
        found.measure, b
    )
    assert found.gap <= 2e-3 * found.value
    assert value <= found.value * (1 + 1e-9)
    rng = np.random.default_rng(0)
    for size in (0.01, 0.1):
        for _ in range(3):
            w = found.measure.weights * np.exp(size * rng.normal(size=a.n))
            rival = a.with_weights(w)
            other = 0.6 * geometry.sqdistance(rival, a) + 0.4 * geometry.sqdistance(rival, b)
            assert other >= found.value - found.gap
    # No measure does better than the midpoint of the geodesic, wherever its atoms may be.
    assert found.value >= 0.6 * 0.4 * geometry.sqdistance(a, b) * (1 - 1e-9)


@pytest.mark.filterwarnings("ignore:the barycentre has a gap")
def test_barycentre_of_one_place_is_that_of_hellinger():
    """Beyond the cut nothing is transported: each atom is a Hellinger barycentre of its own."""
    points = np.array([[0.0], [9.0]])
    a, b = jko.Histogram(points, [1.0, 0.5]), jko.Histogram(points, [2.0, 0.1])
    found = jko.barycentre([a, b], geometry=jko.WassersteinFisherRao(1.0, 4.0), tol=1e-9)
    wanted = jko.barycentre([a, b], geometry=jko.Hellinger()).measure.weights
    np.testing.assert_allclose(found.measure.weights, wanted, rtol=1e-4)


def test_barycentre_with_sources_beyond_the_cut():
    """Far atoms exchange nothing: (sum lambda sqrt(m))^2 each, whatever the others do."""
    geometry = jko.WassersteinFisherRao(1.0, 4.0)
    a, b = jko.Histogram([[0.0]], [1.0]), jko.Histogram([[10.0]], [4.0])
    found = jko.barycentre([a, b], [0.25, 0.75], geometry, tol=1e-6)
    np.testing.assert_allclose(found.measure.weights, [0.25**2, 1.5**2], rtol=5e-3)
    exact = 0.25 + 3 - 0.25**2 - 1.5**2
    assert found.value - found.gap <= exact <= found.value * (1 + 1e-12)
    lone = jko.barycentre([a, b], [1.0, 0.0], geometry)
    assert lone.measure.weights == pytest.approx(1)
    assert lone.value == pytest.approx(0, abs=1e-12)


def test_a_missed_tolerance_of_a_barycentre_warns():
    geometry = jko.WassersteinFisherRao(1.0, 4.0)
    with pytest.warns(jko.JkoWarning, match="pass a larger max_iter or tol"):
        jko.barycentre(bumps(), None, geometry, tol=1e-9, max_iter=5)
    grid = jko.Grid([0.0], [1.0], [30])
    ends = [jko.GridDensity(grid, w / w.sum()) for w in np.random.default_rng(0).random((2, 30))]
    with pytest.warns(jko.JkoWarning, match="still changes by"):
        jko.barycentre(ends, max_iter=1)


@pytest.mark.parametrize(("p", "place"), [(1.0, 3.0), (4.0, 5.0)])
def test_a_barycentre_in_wp_is_least_in_powers_of_wp(p, place):
    """Three points: the median at p = 1, and at p = 4 what a scan of the atoms finds."""
    atoms = [0.0, 3.0, 10.0, 5.0]
    points = [jko.Histogram([[x]], [2.0]) for x in atoms[:3]]
    points.append(jko.Histogram([[5.0], [0.0]], [2.0, 0.0]))
    found = jko.barycentre(points, [0.3, 0.31, 0.3, 0.09], jko.Wasserstein(p=p))
    costs = [2 * np.dot([0.3, 0.31, 0.3, 0.09], np.abs(np.array(atoms) - x) ** p) for x in atoms]
    assert found.value == pytest.approx(min(costs), rel=1e-12)
    assert abs(found.gap) <= 1e-10 * found.value
    assert found.measure.points[found.measure.weights.argmax(), 0] == place


def test_sliced_distances_keep_digits_and_range():
    """Powers stay in range, and offsets of 1e10 or lengths of 1e-200 cost no digits."""
    line = [jko.Histogram([[x]], [1.0]) for x in (0.0, 10.0)]
    assert jko.sliced_wasserstein(*line, p=1000).value == pytest.approx(10)
    for origin, length in ((0.0, 1e-200), (1e10, 1.0), (0.0, 1e200)):
        ends = [jko.Histogram([[origin + x, 0.0]], [1.0]) for x in (0.0, length)]
        assert jko.sliced_wasserstein(*ends).value == pytest.approx(length / np.sqrt(2))


def test_barycentre_with_sources_on_other_atoms_and_bad_input():
    geometry = jko.WassersteinFisherRao(1.0, 4.0)
    a, b = jko.Particles([[0.0], [0.4]], [1.0, 0.5]), jko.Particles([[0.2]], [2.0])
    found = jko.barycentre([a, b], geometry=geometry)
    assert found.measure.n == 3
    assert found.gap <= 1e-2 * found.value
    with pytest.raises(jko.Unsupported, match="discrete"):
        jko.barycentre([jko.Gaussian([0.0], [[1.0]])] * 2, geometry=geometry)


def test_the_map_between_gaussians_carries_one_to_the_other():
    """Means and covariances of mapped points, and the cost: the exact distance."""
    rng = np.random.default_rng(0)
    covs = [r @ r.T + 0.2 * np.eye(3) for r in rng.normal(size=(2, 3, 3))]
    a, b = (jko.Gaussian(m, c) for m, c in zip(rng.normal(size=(2, 3)), covs, strict=True))
    corners = np.concatenate([s * np.sqrt(3) * np.linalg.cholesky(a.cov).T for s in (1, -1)])
    x = a.mean + corners  # six points with a's mean and covariance
    moved = jko.Wasserstein().barycentric_map(a, b, x)
    np.testing.assert_allclose(moved.mean(axis=0), b.mean, atol=1e-12)
    np.testing.assert_allclose(np.cov(moved.T, bias=True), b.cov, atol=1e-12)
    cost = ((moved - x) ** 2).sum(axis=1).mean()
    assert cost == pytest.approx(jko.Wasserstein().sqdistance(a, b), rel=1e-12)
    with pytest.raises(jko.InvalidArgument, match="pass points x"):
        jko.Wasserstein().barycentric_map(a, b)
    with pytest.raises(jko.InvalidArgument, match=r"shape \(k, 3\)"):
        jko.Wasserstein().barycentric_map(a, b, [[0.0, 1.0]])
