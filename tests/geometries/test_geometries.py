"""Geometries: metric axioms, closed forms, geodesics, potentials, rates and refusals."""

import numpy as np
import ot
import pytest

import jko
from jko import Gaussian, Grid, GridDensity, Histogram, Particles
from jko.errors import InvalidArgument, InvalidMeasure, InvalidType, Unsupported
from jko.geometries import MMD, GeometrySum, Hellinger, SphericalHellinger, Wasserstein
from jko.geometries.bures import bures, bures_map

K = jko.kernels.Gaussian(0.9)
X = np.random.default_rng(0).normal(size=(7, 2))
FREE = [Hellinger(), MMD(K, mass="free")]
FIXED = [
    Hellinger(mass="fixed"),
    SphericalHellinger(),
    MMD(K),
    MMD(jko.kernels.Energy()),
    Wasserstein(),
]
ALL = FREE + FIXED


def weights(seed, n=7, mass=1.0, zeros=2):
    rng = np.random.default_rng(seed)
    w = rng.dirichlet(np.ones(n))
    w[rng.permutation(n)[:zeros]] = 0
    return mass * w / w.sum()


def triple(mass=1.0):
    return [Histogram(X, weights(s, mass=mass)) for s in (1, 2, 3)]


# -- metric axioms --------------------------------------------------------------------------


@pytest.mark.parametrize("geometry", ALL, ids=repr)
@pytest.mark.parametrize("mass", [1.0, 3.7])
def test_metric_axioms(geometry, mass):
    a, b, c = triple(mass)
    d = geometry.distance
    assert d(a, a) == pytest.approx(0, abs=1e-7)
    assert d(a, b) > 0.05
    assert d(a, b) == pytest.approx(d(b, a), rel=1e-9)
    assert d(a, c) <= d(a, b) + d(b, c) + 1e-12
    assert d(a, b) ** 2 == pytest.approx(geometry.sqdistance(a, b))
    assert geometry.penalty(a, b, 0.3) == pytest.approx(geometry.sqdistance(a, b) / 0.6)


@pytest.mark.parametrize("geometry", ALL, ids=repr)
def test_the_order_of_the_atoms_is_no_matter(geometry):
    a, b, _ = triple()
    order = np.random.default_rng(4).permutation(7)
    shuffled = Particles(X[order], b.weights[order])
    assert geometry.sqdistance(a, shuffled) == pytest.approx(geometry.sqdistance(a, b), rel=1e-9)


@pytest.mark.parametrize("geometry", [g for g in ALL if g != Wasserstein()], ids=repr)
def test_atoms_only_one_measure_has(geometry):
    """Measures on two supports are compared on their union."""
    a = Particles(X[:5], weights(1, 5))
    b = Particles(X[3:], weights(2, 4))
    wa, wb = np.zeros(7), np.zeros(7)
    wa[:5], wb[3:] = a.weights, b.weights
    exact = geometry.sqdistance(Histogram(X, wa), Histogram(X, wb))
    assert geometry.sqdistance(a, b) == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("geometry", ALL, ids=repr)
def test_rates_divide_the_squared_distance(geometry):
    a, b, _ = triple()
    for scaled in (4 * geometry, geometry * 4.0, 2 * (2 * geometry), np.float64(4) * geometry):
        assert scaled.sqdistance(a, b) == pytest.approx(geometry.sqdistance(a, b) / 4)
        assert scaled.distance(a, b) == pytest.approx(geometry.distance(a, b) / 2)
        assert scaled.potential(a, b) == pytest.approx(geometry.potential(a, b) / 4)
        assert repr(scaled) == f"4 * {geometry!r}"
        assert scaled.conserves_mass == geometry.conserves_mass


@pytest.mark.parametrize("geometry", FIXED, ids=repr)
def test_masses_must_agree_where_they_are_conserved(geometry):
    a, b = Histogram(X, weights(1)), Histogram(X, weights(2, mass=1.001))
    for call in (geometry.sqdistance, geometry.distance, geometry.potential):
        with pytest.raises(InvalidMeasure, match="conserves mass"):
            call(a, b)
    assert geometry.conserves_mass
    if geometry != Hellinger(mass="fixed"):
        with pytest.raises(InvalidMeasure, match="conserves mass"):
            geometry.geodesic(a, b, 0.5)


@pytest.mark.parametrize("geometry", FREE, ids=repr)
def test_masses_may_differ_where_they_are_free(geometry):
    a, b = Histogram(X, weights(1)), Histogram(X, weights(2, mass=3))
    assert not geometry.conserves_mass
    assert geometry.sqdistance(a, b) > 0


@pytest.mark.parametrize("geometry", ALL, ids=repr)
def test_bad_pairs(geometry):
    a = Histogram(X, weights(1))
    with pytest.raises(InvalidMeasure, match="dimension 2, b has dimension 1"):
        geometry.sqdistance(a, Histogram(X[:, :1], weights(1)))
    with pytest.raises(InvalidType, match="wrap points"):
        geometry.sqdistance(a, X)
    with pytest.raises(InvalidArgument, match="must lie in"):
        geometry.geodesic(a, a, 1.5)
    with pytest.raises(InvalidType, match="t must be a number"):
        geometry.geodesic(a, a, "half")


# -- closed forms ---------------------------------------------------------------------------


def test_hellinger_closed_form():
    a, b, _ = triple(2.0)
    exact = 4 * sum(
        (np.sqrt(p) - np.sqrt(q)) ** 2 for p, q in zip(a.weights, b.weights, strict=True)
    )
    assert Hellinger().sqdistance(a, b) == pytest.approx(exact)
    disjoint = Histogram(X, np.eye(7)[0] * 2), Histogram(X, np.eye(7)[1] * 3)
    assert Hellinger().sqdistance(*disjoint) == pytest.approx(4 * 5)


def test_spherical_hellinger_is_arccos_and_he_is_its_chord():
    a, b, _ = triple()
    angle = 2 * np.arccos(np.sqrt(a.weights * b.weights).sum())
    assert SphericalHellinger().distance(a, b) == pytest.approx(angle, rel=1e-12)
    assert Hellinger().distance(a, b) == pytest.approx(4 * np.sin(angle / 4), rel=1e-12)
    disjoint = Histogram(X, np.eye(7)[0]), Histogram(X, np.eye(7)[1])
    assert SphericalHellinger().distance(*disjoint) == pytest.approx(np.pi)


def test_spherical_hellinger_of_close_measures_keeps_its_digits():
    a = Histogram(X, weights(1, zeros=0))
    d = np.array([1, -1, 0, 0, 0, 0, 0]) * 1e-9
    b = a.with_weights(a.weights + d)
    exact = np.sqrt((d**2 / a.weights).sum())  # Fisher-Rao line element
    assert SphericalHellinger().distance(a, b) == pytest.approx(exact, rel=1e-6)
    assert Hellinger().distance(a, b) == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("mass", ["fixed", "free"])
def test_mmd_closed_form(mass):
    a, b, _ = triple()
    d = a.weights - b.weights
    exact = d @ K(X, X) @ d
    assert MMD(K, mass=mass).sqdistance(a, b) == pytest.approx(exact)
    y = X + 0.3
    c = Particles(y, b.weights)
    exact = a.weights @ K(X, X) @ a.weights + b.weights @ K(y, y) @ b.weights
    exact -= 2 * a.weights @ K(X, y) @ b.weights
    assert MMD(K, mass=mass).sqdistance(a, c) == pytest.approx(exact)


def test_mmd_refusals():
    with pytest.raises(Unsupported, match="conditionally positive definite"):
        MMD(jko.kernels.Energy(), mass="free")
    with pytest.raises(InvalidArgument, match="choose one of"):
        MMD(K, mass="both")
    with pytest.raises(InvalidType, match="pass a kernel"):
        MMD("gaussian")
    with pytest.raises(InvalidArgument, match="choose one of"):
        Hellinger(mass="none")


@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("mass", [1.0, 2.5])
def test_wasserstein_is_the_linear_program(d, mass):
    rng = np.random.default_rng(d)
    for n, m in ((5, 9), (40, 31)):
        a = Particles(rng.normal(size=(n, d)), weights(n, n, mass))
        b = Particles(rng.normal(size=(m, d)) + 1, weights(m, m, mass))
        cost = ((a.points[:, None] - b.points[None]) ** 2).sum(2)
        exact = mass * ot.emd2(a.weights / mass, b.weights / mass, cost)
        assert Wasserstein().sqdistance(a, b) == pytest.approx(exact, rel=1e-10)


def test_wasserstein_of_a_translation_and_of_ties():
    a = Particles(np.array([[0.0], [0.0], [1.0]]), [0.2, 0.3, 0.5])
    assert Wasserstein().sqdistance(a, a.with_points(a.points + 2)) == pytest.approx(4)
    b = Particles(np.array([[0.0], [1.0]]), [0.5, 0.5])
    assert Wasserstein().sqdistance(a, b) == pytest.approx(0, abs=1e-15)


def test_wasserstein_refuses_what_is_too_large():
    x = np.zeros((5000, 2))
    with pytest.raises(Unsupported, match="too large"):
        Wasserstein().sqdistance(Particles(x), Particles(x + 1))
    with pytest.raises(Unsupported, match="too large"):
        Wasserstein().potential(Particles(x), Particles(x + 1))
    with pytest.raises(Unsupported, match="two Gaussians or two discrete"):
        Wasserstein().sqdistance(Particles(X), Gaussian([0, 0], np.eye(2)))


# -- Bures ----------------------------------------------------------------------------------


def random_gaussian(rng, d, condition=10.0, mass=1.0):
    q = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return Gaussian(rng.normal(size=d), (q * np.geomspace(1, 1 / condition, d)) @ q.T, mass)


def sqrtm(a):
    values, vectors = np.linalg.eigh(a)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


@pytest.mark.parametrize("d", [1, 2, 5])
def test_bures_formula_and_map(d):
    rng = np.random.default_rng(d)
    a, b = random_gaussian(rng, d, mass=2.0), random_gaussian(rng, d, mass=2.0)
    r = sqrtm(a.cov)
    exact = ((a.mean - b.mean) ** 2).sum() + np.trace(a.cov + b.cov - 2 * sqrtm(r @ b.cov @ r))
    assert Wasserstein().sqdistance(a, b) == pytest.approx(2 * exact, rel=1e-12)
    t = bures_map(a, b)
    assert t == pytest.approx(t.T)
    assert np.linalg.eigvalsh(t)[0] > 0
    assert t @ a.cov @ t == pytest.approx(b.cov, abs=1e-12)
    assert np.trace((t - np.eye(d)) @ a.cov @ (t - np.eye(d))) == pytest.approx(
        exact - ((a.mean - b.mean) ** 2).sum()
    )


def test_bures_of_close_and_of_ill_conditioned_gaussians():
    rng = np.random.default_rng(9)
    a = random_gaussian(rng, 4)
    shift = 1e-8 * np.eye(4)
    b = Gaussian(a.mean, a.cov + shift)
    exact = sum((1e-8 / (2 * np.sqrt(v))) ** 2 for v in np.linalg.eigvalsh(a.cov))
    assert bures(a, b) == pytest.approx(exact, rel=1e-5)
    stiff, other = (random_gaussian(rng, 4, 1e9) for _ in range(2))
    t = bures_map(stiff, other)
    back = bures_map(other, stiff)
    assert t @ stiff.cov @ t == pytest.approx(other.cov, abs=1e-12)
    root = sqrtm(stiff.cov)
    # T and its inverse are each other's, in the metric of the covariance.
    assert (back @ t - np.eye(4)) @ root == pytest.approx(np.zeros((4, 4)), abs=1e-9)


# -- geodesics ------------------------------------------------------------------------------

PATHS = [*FREE, SphericalHellinger(), MMD(K), Wasserstein(), 3 * Wasserstein(), 2 * Hellinger()]


@pytest.mark.parametrize(
    ("geometry", "kind"),
    [(g, "shared") for g in PATHS]
    # Hellinger geodesics live on one support.
    + [(g, k) for g in PATHS for k in ("scattered", "line") if "Hellinger" not in repr(g)],
    ids=repr,
)
def test_geodesics_have_constant_speed(geometry, kind):
    a, b = Histogram(X, weights(1)), Histogram(X, weights(2))
    if kind != "shared":
        d = 2 if kind == "scattered" else 1
        a, b = Particles(X[:4, :d], weights(1, 4)), Particles(X[2:, :d] + 1, weights(2, 5))
    total = geometry.distance(a, b)
    times = [0, 0.2, 0.7, 1]
    path = [geometry.geodesic(a, b, t) for t in times]
    assert all(p.mass > 0 for p in path)
    for i, s in enumerate(times):
        for j, t in enumerate(times[:i]):
            between = geometry.distance(path[i], path[j])
            assert between == pytest.approx((s - t) * total, abs=2e-7)
    assert geometry.distance(path[0], a) == pytest.approx(0, abs=1e-7)
    assert geometry.distance(path[-1], b) == pytest.approx(0, abs=1e-7)


def test_gaussian_geodesic():
    rng = np.random.default_rng(3)
    a, b = random_gaussian(rng, 3), random_gaussian(rng, 3)
    w = Wasserstein()
    path = [w.geodesic(a, b, t) for t in (0, 0.3, 1)]
    assert w.distance(path[0], path[1]) == pytest.approx(0.3 * w.distance(a, b))
    assert w.distance(path[1], path[2]) == pytest.approx(0.7 * w.distance(a, b))
    assert path[2].cov == pytest.approx(b.cov)


def test_hellinger_action():
    """Formula H6: the mass equation mu' = -xi mu along the geodesic costs He^2."""
    a, b = Histogram(X, weights(1, mass=2)), Histogram(X, weights(2, mass=0.7))
    he, h, action = Hellinger(), 1e-6, 0.0
    nodes, gauss = np.polynomial.legendre.leggauss(8)
    for t, share in zip((nodes + 1) / 2, gauss / 2, strict=True):
        low, middle, high = (he.geodesic(a, b, s).weights for s in (t - h, t, t + h))
        rate = (high - low) / (2 * h)
        charged = middle > 0
        action += share * (rate[charged] ** 2 / middle[charged]).sum()
    assert action == pytest.approx(he.sqdistance(a, b), rel=1e-6)


def test_hellinger_dual():
    """Formula H6: sup over (2+phi)(2-psi) = 4 of int psi db - int phi da is He^2/2."""
    a, b = Histogram(X, weights(1, zeros=0)), Histogram(X, weights(2, zeros=0, mass=2))
    half = Hellinger().sqdistance(a, b) / 2
    s0, s1 = np.sqrt(a.weights), np.sqrt(b.weights)
    phi, psi = 2 * (s1 - s0) / s0, 2 * (s1 - s0) / s1
    assert (2 + phi) * (2 - psi) == pytest.approx(np.full(7, 4.0))
    assert psi @ b.weights - phi @ a.weights == pytest.approx(half)
    for other in np.random.default_rng(0).uniform(-1.9, 5, size=(200, 7)):
        assert (2 - 4 / (2 + other)) @ b.weights - other @ a.weights <= half + 1e-12


def test_geodesics_that_do_not_exist():
    a, b = Histogram(X, weights(1)), Histogram(X, weights(2))
    with pytest.raises(Unsupported, match="leaves fixed mass"):
        Hellinger(mass="fixed").geodesic(a, b, 0.5)
    with pytest.raises(Unsupported, match="has other atoms than"):
        Hellinger().geodesic(a, Histogram(X + 1, weights(1)), 0.5)
    with pytest.raises(Unsupported, match="sample them"):
        MMD(K).geodesic(Gaussian([0, 0], np.eye(2)), b, 0.5)


def test_the_spherical_geodesic_is_the_projected_hellinger_one():
    a, b, _ = triple(2.0)
    middle = SphericalHellinger().geodesic(a, b, 0.5)
    chord = Hellinger().geodesic(a, b, 0.5).weights
    assert middle.weights == pytest.approx(chord * 2 / chord.sum())
    assert SphericalHellinger().geodesic(a, a, 0.5).weights == pytest.approx(a.weights)


# -- potentials: the first variation of D^2/2 -----------------------------------------------


def slope(geometry, a, b, i, h=1e-6):
    """Derivative of D^2/2 in the weight i: central, or to the right at an empty atom."""
    at = lambda s: geometry.sqdistance(a.with_weights(a.weights + s * np.eye(a.n)[i]), b) / 2
    if a.weights[i] == 0:
        return (4 * at(h) - 3 * at(0) - at(2 * h)) / (2 * h)
    return (at(h) - at(-h)) / (2 * h)


@pytest.mark.parametrize("geometry", [*FREE, 2.5 * Hellinger()], ids=repr)
def test_potentials_on_free_mass(geometry):
    a, b = Histogram(X, weights(1)), Histogram(X, weights(2, mass=1.5))
    phi = geometry.potential(a, b)
    for i in range(7):
        if phi[i] == -np.inf:
            assert a.weights[i] == 0 < b.weights[i]
            assert "Hellinger" in repr(geometry)
            continue
        assert phi[i] == pytest.approx(slope(geometry, a, b, i), abs=1e-6)


def test_hellinger_potential_where_neither_has_mass():
    a, b = Histogram(X, np.r_[0, 0, np.ones(5)]), Histogram(X, np.r_[0, 1, np.ones(5)])
    phi = Hellinger().potential(a, b)
    assert phi[0] == 2
    assert phi[1] == -np.inf
    assert phi[2:] == pytest.approx(np.zeros(5))


@pytest.mark.parametrize("geometry", [*FIXED, 2.5 * SphericalHellinger()], ids=repr)
@pytest.mark.parametrize("mass", [1.0, 2.5])
def test_potentials_on_fixed_mass(geometry, mass):
    """Only differences matter: move a little mass from the heaviest atom to each other one."""
    y = X + 0.4 if geometry == Wasserstein() else X
    a, b = Histogram(X, weights(1, mass=mass)), Histogram(y, weights(2, mass=mass))
    phi = geometry.potential(a, b)
    source, h = int(np.argmax(a.weights)), 1e-6
    for i in set(range(7)) - {source}:
        if phi[i] == -np.inf:
            assert a.weights[i] == 0
            continue
        along = np.eye(7)[i] - np.eye(7)[source]
        at = lambda s, along=along: (
            geometry.sqdistance(a.with_weights(a.weights + s * along), b) / 2
        )
        if a.weights[i] == 0:
            numeric = (4 * at(h) - 3 * at(0) - at(2 * h)) / (2 * h)
        else:
            numeric = (at(h) - at(-h)) / (2 * h)
        assert phi[i] - phi[source] == pytest.approx(numeric, abs=3e-5)


@pytest.mark.parametrize("d", [1, 2])
def test_wasserstein_potential_is_admissible_and_optimal(d):
    """phi + phi^c reaches the cost, and phi is its own double c-transform at empty atoms."""
    rng = np.random.default_rng(d)
    a = Particles(rng.normal(size=(9, d)), weights(5, 9, zeros=3))
    b = Particles(rng.normal(size=(6, d)), weights(6, 6, zeros=2))
    phi = Wasserstein().potential(a, b)
    assert a.weights @ phi == pytest.approx(0, abs=1e-12)
    cost = ((a.points[:, None] - b.points[None]) ** 2).sum(2) / 2
    charged = a.weights > 0
    psi = (cost - phi[:, None])[charged].min(0)
    dual = a.weights @ phi + b.weights @ psi
    assert dual == pytest.approx(Wasserstein().sqdistance(a, b) / 2, rel=1e-10)
    assert (cost - phi[:, None])[:, b.weights > 0].min(0) == pytest.approx(psi[b.weights > 0])
    assert phi == pytest.approx((cost - psi)[:, b.weights > 0].min(1))


def test_spherical_potential_has_zero_mean_and_its_limit():
    a, b, _ = triple()
    phi = SphericalHellinger().potential(a, b)
    charged = a.weights > 0
    assert a.weights[charged] @ phi[charged] == pytest.approx(0, abs=1e-12)
    assert SphericalHellinger().potential(a, a)[charged] == pytest.approx(np.zeros(charged.sum()))


def test_potentials_need_one_support():
    a, b = Histogram(X, weights(1)), Histogram(X + 1, weights(2))
    for geometry in (Hellinger(), SphericalHellinger()):
        with pytest.raises(Unsupported, match="has other atoms than"):
            geometry.potential(a, b)


# -- sums -----------------------------------------------------------------------------------


def test_sums_keep_order_and_scale():
    total = 2 * (Wasserstein() + 3 * Hellinger()) + MMD(K)
    assert isinstance(total, GeometrySum)
    assert repr(list(total)) == repr([2 * Wasserstein(), 6 * Hellinger(), MMD(K)])
    assert len(total) == 3
    assert not total.conserves_mass
    assert (Wasserstein() + SphericalHellinger()).conserves_mass
    assert repr(Wasserstein() + 2 * Hellinger()) == "Wasserstein() + 2 * Hellinger()"
    for bad in (0, "W", K):
        with pytest.raises(InvalidType, match="geometr"):
            Wasserstein() + bad
        with pytest.raises(InvalidType, match="geometr"):
            total + bad


@pytest.mark.parametrize("factor", [0, -1, np.nan, "2", None])
def test_factors_are_positive_numbers(factor):
    with pytest.raises((InvalidArgument, TypeError)):
        factor * Hellinger()


# -- grids ----------------------------------------------------------------------------------


@pytest.mark.parametrize("geometry", ALL, ids=repr)
def test_grids_and_histograms_agree(geometry):
    grid = Grid([-1, 0], [1, 1], [5, 4])
    a, b = GridDensity(grid, weights(1, 20)), GridDensity(grid, weights(2, 20))
    plain = Histogram(grid.points, a.weights), Histogram(grid.points, b.weights)
    assert geometry.sqdistance(a, b) == pytest.approx(geometry.sqdistance(*plain), rel=1e-9)
    assert geometry.potential(a, b) == pytest.approx(geometry.potential(*plain), abs=1e-9)


@pytest.mark.parametrize("p", [-0.5, 0, 0.5, 0.9, 1, 1.5, 2, 3])
@pytest.mark.parametrize("apart", [1e-12, 1e-8, 1e-5])
def test_divergences_of_close_weights_keep_their_digits(p, apart):
    # D_p(b (1 + d) | b) = sum b d^2 / 2 (1 + O(d)), whose terms are sums of order b.
    b = np.array([0.5, 0.0, 1e-290, 0.3])
    a = b * (1 + apart * np.array([1.0, 1.0, -1.0, -2.0]))
    exact = float((((a - b) ** 2)[b > 0] / b[b > 0]).sum())
    points = np.arange(4.0)[:, None]
    free = jko.Divergence(p, mass="free")
    found = free.sqdistance(jko.Histogram(points, a), jko.Histogram(points, b))
    assert found == pytest.approx(exact, rel=max(8 * apart, 1e-3))


def test_a_power_of_a_large_ratio_does_not_overflow():
    # w^2 / m of m = 1e-300 and w = 1e-120, whose ratio has no square among doubles.
    a, b = np.array([1.0, 1e-120]), np.array([1.0, 1e-300])
    points = np.arange(2.0)[:, None]
    found = jko.Divergence(2).sqdistance(jko.Histogram(points, a), jko.Histogram(points, b))
    assert found == pytest.approx(1e60, rel=1e-9)
