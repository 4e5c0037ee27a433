"""jko.barycentre: closed forms, optimality, and known means."""

import numpy as np
import pytest

import jko
from jko import Gaussian, Grid, GridDensity, Histogram
from jko.errors import InvalidArgument, InvalidMeasure, Unsupported

RNG = np.random.default_rng(2)
X = RNG.normal(size=(8, 2))
FAMILY = [Histogram(X, RNG.dirichlet(np.ones(8))) for _ in range(3)]
LAM = np.array([0.5, 0.3, 0.2])


def spread(geometry, mu, family=FAMILY):
    return sum(c * geometry.sqdistance(nu, mu) for c, nu in zip(LAM, family, strict=True))


@pytest.mark.parametrize(
    "geometry",
    [
        jko.Wasserstein(),
        2.0 * jko.Wasserstein(cost=np.abs(X[:, None] - X).sum(-1)),
        jko.Hellinger(),
        jko.Hellinger(mass="fixed"),
        jko.MMD(jko.kernels.Gaussian()),
    ],
    ids=repr,
)
def test_no_competitor_has_a_smaller_spread(geometry):
    found = jko.barycentre(FAMILY, LAM, geometry)
    best = spread(geometry, found.measure)
    assert found.value == pytest.approx(best, rel=1e-9)
    assert abs(found.gap) <= 1e-9 * (1 + best)
    start = found.measure.weights
    for k in range(30):
        end = RNG.dirichlet(np.ones(8)) * (1 if geometry.conserves_mass else RNG.uniform(0.5, 1.5))
        rival = Histogram(X, start + 0.5 ** (k % 10) * (end - start))
        assert spread(geometry, rival) >= best - 1e-10


def test_histograms_on_different_atoms_meet_on_the_union():
    a, b = Histogram([[0.0], [1.0]], [0.5, 0.5]), Histogram([[2.0], [3.0]], [0.5, 0.5])
    found = jko.barycentre([a, b])
    # Each measure is moved by one, onto {1, 2}.
    assert found.value == pytest.approx(1.0)
    assert abs(found.gap) <= 1e-10


@pytest.mark.parametrize("dim", [1, 3])
def test_gaussians_meet_the_fixed_point_equation(dim):
    roots = RNG.normal(size=(3, dim, dim))
    family = [
        Gaussian(m, r @ r.T + 0.1 * np.eye(dim))
        for m, r in zip(RNG.normal(size=(3, dim)), roots, strict=True)
    ]
    found = jko.barycentre(family, LAM).measure
    values, vectors = np.linalg.eigh(found.cov)
    root = (vectors * np.sqrt(values)) @ vectors.T
    total = np.zeros((dim, dim))
    for c, g in zip(LAM, family, strict=True):
        values, vectors = np.linalg.eigh(root @ g.cov @ root)
        total += c * (vectors * np.sqrt(values)) @ vectors.T
    np.testing.assert_allclose(total, found.cov, rtol=0, atol=1e-10 * np.abs(found.cov).max())
    np.testing.assert_allclose(
        found.mean, sum(c * g.mean for c, g in zip(LAM, family, strict=True))
    )
    if dim == 1:
        deviations = [float(g.cov[0, 0]) ** 0.5 for g in family]
        assert float(found.cov[0, 0]) ** 0.5 == pytest.approx(float(LAM @ deviations), rel=1e-10)


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_gaussians_on_a_grid_are_not_blurred(scale):
    """Two near-Diracs of one width: the barycentre is the same bump, half way."""
    grid = Grid([0, 0], [scale, scale], [64, 64])
    width, places = 0.02 * scale, scale * np.array([[0.25, 0.3], [0.75, 0.6]])
    family = [
        GridDensity.from_function(
            lambda x, c=c: np.exp(-((x - c) ** 2).sum(-1) / (2 * width**2)), grid
        )
        for c in places
    ]
    family = [mu.with_weights(3 * mu.weights / mu.mass) for mu in family]
    found = jko.barycentre(family, [0.25, 0.75], tol=1e-5)
    assert found.residual <= 1e-5
    mu = found.measure
    assert mu.mass == pytest.approx(3)
    np.testing.assert_allclose(mu.mean, [0.25, 0.75] @ places, atol=1e-3 * scale)
    np.testing.assert_allclose(np.sqrt(np.diag(mu.cov)), width, rtol=1e-2)


def test_bad_input_gets_a_sentence():
    with pytest.raises(InvalidArgument, match="at least one"):
        jko.barycentre([])
    with pytest.raises(InvalidArgument, match="3 numbers"):
        jko.barycentre(FAMILY, [1.0, 2.0])
    with pytest.raises(InvalidArgument, match="3 numbers"):
        jko.barycentre(FAMILY, [1.0, -2.0, 1.0])
    with pytest.raises(InvalidMeasure, match="masses"):
        jko.barycentre([FAMILY[0], Histogram(X, np.ones(8))])
    with pytest.raises(InvalidMeasure, match="different atoms"):
        jko.barycentre([FAMILY[0], Histogram(X + 1, np.ones(8) / 8)], None, jko.Hellinger())
    with pytest.raises(Unsupported, match="no barycentre of Histogram"):
        jko.barycentre(FAMILY, None, jko.SphericalHellinger())
    with pytest.raises(Unsupported, match="no barycentre of Particles"):
        jko.barycentre([jko.Particles(X), jko.Particles(X)])
