"""Mean embeddings, double integrals and MMD, against quadrature and loops (formula M7)."""

from types import SimpleNamespace

import mpmath
import numpy as np
import pytest
from kernel_cases import IDS, KERNELS, atoms, cloud, gaussians

import jko
from jko.kernels import Energy, Gaussian, Laplace

G = Gaussian(0.8)
MULTI = Gaussian(0.8) + 0.5 * Gaussian(2.0)


def hermite(measure, nodes=60):
    """Gaussian components as atoms of a tensor Gauss-Hermite rule: exact to rounding here."""
    t, w = np.polynomial.hermite_e.hermegauss(nodes)
    w = w / w.sum()
    points, weights = [], []
    for c, mean, cov in zip(*measure.components, strict=True):
        mesh = np.meshgrid(*[t] * len(mean), indexing="ij")
        z = np.stack([m.ravel() for m in mesh], axis=1)
        points.append(mean + z @ np.linalg.cholesky(cov).T)
        weights.append(c * np.prod(np.meshgrid(*[w] * len(mean), indexing="ij"), axis=0).ravel())
    return SimpleNamespace(points=np.vstack(points), weights=np.concatenate(weights))


def test_embedding_against_mpmath():
    mean, var, x, h = 0.3, 0.5, 1.1, 0.8
    density = lambda y: mpmath.npdf(y, mean, mpmath.sqrt(var))
    exact = mpmath.quad(
        lambda y: mpmath.exp(-((x - y) ** 2) / (2 * h**2)) * density(y),
        [-mpmath.inf, 0, mpmath.inf],
    )
    mu = SimpleNamespace(components=([1.0], [[mean]], [[[var]]]))
    assert G.embed(mu, [[x]])[0] == pytest.approx(float(exact), rel=1e-14)


@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("k", [G, 3.0 * G, MULTI, G * Gaussian(1.5)], ids=repr)
def test_gaussian_measures_against_quadrature(k, d):
    mu, nu = gaussians([0.3, 0.0, 0.9], d), gaussians([0.5, 0.7], d, seed=1)
    q, x = hermite(mu), cloud(5, d, seed=2)
    np.testing.assert_allclose(k.embed(mu, x), k.embed(q, x), rtol=1e-9)
    np.testing.assert_allclose(
        k.embed_gradient(mu, x), k.embed_gradient(q, x), rtol=1e-8, atol=1e-10
    )
    once = k.embed(nu, q.points) @ q.weights  # one integral closed, the other by quadrature
    assert k.inner(mu, nu) == pytest.approx(once, rel=1e-9)
    assert k.inner(nu, mu) == pytest.approx(k.inner(mu, nu), rel=1e-13)


def test_mixture_is_the_sum_of_its_components():
    mu, x = gaussians([0.3, 0.9], 3), cloud(4, 3)
    c, m, s = mu.components
    each = [SimpleNamespace(components=(c[i : i + 1], m[i : i + 1], s[i : i + 1])) for i in (0, 1)]
    np.testing.assert_allclose(G.embed(mu, x), sum(G.embed(e, x) for e in each), rtol=1e-14)
    assert G.inner(mu, mu) == pytest.approx(sum(G.inner(a, b) for a in each for b in each))


def test_singular_covariance_is_a_dirac():
    dirac = SimpleNamespace(components=([1.0], [[0.5, 0.0]], [np.zeros((2, 2))]))
    x = cloud(3, 2)
    np.testing.assert_allclose(G.embed(dirac, x), G(x, [[0.5, 0.0]])[:, 0], rtol=1e-14)


def test_embedding_gradient_is_the_central_difference():
    mu, x, h = gaussians([0.3, 0.9], 3), cloud(4, 3), 1e-5
    for axis, e in enumerate(np.eye(3)):
        numeric = (MULTI.embed(mu, x + h * e) - MULTI.embed(mu, x - h * e)) / (2 * h)
        np.testing.assert_allclose(MULTI.embed_gradient(mu, x)[:, axis], numeric, atol=1e-9)


@pytest.mark.parametrize("k", KERNELS, ids=IDS)
def test_discrete_measures_from_the_definition(k):
    mu, nu, x = atoms(7, 2), atoms(4, 2, seed=1), cloud(3, 2, seed=2)
    np.testing.assert_allclose(k.embed(mu, x), k(x, mu.points) @ mu.weights, rtol=1e-12)
    expected = np.einsum("ijk,j->ik", k.gradient(x, mu.points), mu.weights)
    np.testing.assert_allclose(k.embed_gradient(mu, x), expected, rtol=1e-9, atol=1e-12)
    cross = mu.weights @ k(mu.points, nu.points) @ nu.weights
    assert k.inner(mu, nu) == pytest.approx(cross, rel=1e-13)
    three = k.inner(mu, mu) - 2 * cross + k.inner(nu, nu)
    assert k.mmd2(mu, nu) == pytest.approx(three, rel=1e-12)
    assert k.mmd2(mu, nu) > 0


def unbiased(k, mu):
    w, m = mu.weights, mu.weights.sum()
    n = range(len(w))
    total = sum(
        w[i] * w[j] * k(mu.points[[i]], mu.points[[j]])[0, 0] for i in n for j in n if i != j
    )
    return m**2 * total / (m**2 - (w**2).sum())


@pytest.mark.parametrize("k", [G, Laplace(), Energy(), MULTI], ids=repr)
@pytest.mark.parametrize("mass", [1.0, 2.5])
def test_u_statistic_against_its_loop(k, mass):
    mu, nu = atoms(7, 2, mass=mass), atoms(4, 2, seed=1, mass=mass)
    expected = unbiased(k, mu) + unbiased(k, nu) - 2 * k.inner(mu, nu)
    assert k.mmd2(mu, nu, statistic="U") == pytest.approx(expected, rel=1e-12)


def test_u_statistic_of_uniform_weights_is_the_mean_over_pairs():
    x, y = cloud(6, 2), cloud(4, 2, seed=1)
    mu = SimpleNamespace(points=x, weights=np.full(6, 1 / 6))
    nu = SimpleNamespace(points=y, weights=np.full(4, 1 / 4))
    a, b = G(x)[~np.eye(6, dtype=bool)].mean(), G(y)[~np.eye(4, dtype=bool)].mean()
    expected = a + b - 2 * G(x, y).mean()
    assert G.mmd2(mu, nu, statistic="U") == pytest.approx(expected, rel=1e-12)


def test_u_statistic_of_an_exact_target_keeps_its_own_term():
    mu, pi = atoms(6, 2), gaussians([0.4, 0.6], 2)
    expected = unbiased(G, mu) - 2 * G.inner(mu, pi) + G.inner(pi, pi)
    assert G.mmd2(mu, pi, statistic="U") == pytest.approx(expected, rel=1e-12)


def test_mmd_between_atoms_and_gaussians():
    mu, pi = atoms(6, 2), gaussians([0.4, 0.6], 2)
    expected = G.inner(mu, mu) - 2 * G.inner(mu, pi) + G.inner(pi, pi)
    assert G.mmd2(mu, pi) == pytest.approx(expected, rel=1e-12)
    assert G.mmd2(pi, mu) == pytest.approx(expected, rel=1e-12)
    assert G.mmd2(mu, hermite(pi)) == pytest.approx(expected, rel=1e-10)
    assert G.mmd2(pi, pi) == 0.0


def test_energy_distance_of_two_exact_laws():
    # k = -|x-y|: MMD^2 = 2E|X-Y| - E|X-X'| - E|Y-Y'|, here {0,1} with halves against delta_3.
    mu = SimpleNamespace(points=np.array([[0.0], [1.0]]), weights=np.array([0.5, 0.5]))
    nu = SimpleNamespace(points=np.array([[3.0]]), weights=np.array([1.0]))
    assert Energy().mmd2(mu, nu) == pytest.approx(2 * 2.5 - 0.5 - 0.0, rel=1e-15)
    # One dimension: also twice the integral of the squared difference of distribution functions.
    t = np.linspace(-1, 4, 500_001)
    squared = (0.5 * (t >= 0) + 0.5 * (t >= 1) - (t >= 3.0)) ** 2
    assert Energy().mmd2(mu, nu) == pytest.approx(2 * squared.mean() * 5, rel=1e-4)


def test_common_atoms_cancel_exactly():
    # The weights differ by 1e-12: three separate sums would return rounding noise of 1e-17.
    mu = atoms(50, 2)
    nu = SimpleNamespace(points=mu.points[::-1], weights=mu.weights[::-1].copy())
    nu.weights[[0, 3]] += np.array([1e-12, -1e-12])
    v = nu.weights[::-1] - mu.weights
    assert G.mmd2(mu, nu) == pytest.approx(v @ G(mu.points) @ v, rel=1e-8, abs=0)
    assert G.mmd2(mu, mu) == 0.0


BAD = [
    (lambda: Laplace().embed(gaussians([1.0], 2), cloud(2, 2)), jko.Unsupported, "Particles"),
    (
        lambda: (G + Laplace()).embed_gradient(gaussians([1.0], 2), cloud(2, 2)),
        jko.Unsupported,
        "Laplace",
    ),
    (lambda: Energy().inner(gaussians([1.0], 2), atoms(3, 2)), jko.Unsupported, "Particles"),
    (lambda: Energy().mmd2(atoms(3, 2), atoms(3, 2, mass=2.0)), jko.Unsupported, "masses 1 and 2"),
    (lambda: G.mmd2(atoms(3, 2), atoms(3, 1)), jko.InvalidMeasure, "dimension"),
    (lambda: G.embed(atoms(3, 2), cloud(3, 1)), jko.InvalidMeasure, "dimension"),
    (lambda: G.mmd2(atoms(3, 2), atoms(1, 2), statistic="U"), jko.InvalidMeasure, "single atom"),
    (lambda: G.mmd2(atoms(3, 2), atoms(3, 2), statistic="W"), jko.InvalidArgument, "statistic"),
    (lambda: G.mmd2(np.zeros((3, 2)), atoms(3, 2)), jko.InvalidType, "mu is a ndarray"),
]


@pytest.mark.parametrize(("call", "error", "match"), BAD)
def test_bad_input_is_told_what_to_do(call, error, match):
    with pytest.raises(error, match=match):
        call()
