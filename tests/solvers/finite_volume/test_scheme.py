"""Means, fluxes and Jacobians of the finite-volume scheme, and the multigrid beneath."""

import numpy as np
import pytest
from generators import measures

import jko
from jko.forms.separable import psi_prime
from jko.numerics.multigrid import DIRECT, solve
from jko.solvers.finite_volume.flux import _Internal
from jko.solvers.finite_volume.means import bernoulli, power, secant
from jko.solvers.finite_volume.scheme import CellScheme

GRID = jko.Grid([-1.0, 0.0], [1.0, 3.0], [7, 5])
SLOPE = jko.Potential(lambda x: 3.0 * x[:, 0] - x[:, 1] ** 2)
ENERGIES = {
    "entropy": jko.Entropy() + SLOPE,
    "porous": jko.PorousMedium(3.0),
    "porous-drift": 0.2 * jko.PorousMedium(2.0) + SLOPE,
    "fast": jko.PorousMedium(0.6) + SLOPE,
    "both": jko.Entropy() + 0.3 * jko.PorousMedium(2.0) + SLOPE,
    "two": jko.PorousMedium(2.0) + jko.PorousMedium(4.0) + SLOPE,
    "potential": SLOPE,
    "chi2": jko.PhiDivergence(measures.grid_density((7, 5), seed=3, zeros=0), p=2),
}


def scheme_of(name):
    mu = jko.GridDensity(GRID, measures.weights(35, seed=5, zeros=0))
    energy = ENERGIES[name]
    if name == "chi2":
        target = jko.GridDensity(GRID, energy.target.weights)
        energy = jko.PhiDivergence(target, p=2)
    return CellScheme(energy.restrict(mu), GRID), mu.weights


@pytest.mark.parametrize("name", sorted(ENERGIES))
def test_fluxes_are_mobility_times_the_drop_of_the_first_variation(name):
    scheme, w = scheme_of(name)
    flux, f = scheme.flux(w), scheme.first_variation(w)
    i, j = scheme.faces.i, scheme.faces.j
    assert (flux.mobility > 0).all()
    np.testing.assert_allclose(flux.value, flux.mobility * (f[i] - f[j]), rtol=1e-9, atol=1e-13)
    # A mean lies between the two cells, except Scharfetter and Gummel's.
    if 1.0 not in scheme.powers:
        assert (flux.mobility <= np.maximum(w[i], w[j]) * (1 + 1e-12)).all()
        assert (flux.mobility >= np.minimum(w[i], w[j]) * (1 - 1e-12)).all()


@pytest.mark.parametrize("name", sorted(ENERGIES))
def test_jacobians_by_differences(name):
    scheme, w = scheme_of(name)
    _, flux = scheme.residual(w, w, 0.1)
    balance, slope = scheme.jacobian(flux, 0.1)
    jacobian = balance.matrix.toarray() * slope  # in the masses
    h = 1e-7 * w
    differences = np.empty_like(jacobian)
    for k in range(w.size):
        e = np.eye(w.size)[k] * h[k]
        up, down = scheme.residual(w + e, w, 0.1)[0], scheme.residual(w - e, w, 0.1)[0]
        differences[:, k] = (up - down) / (2 * h[k])
    np.testing.assert_allclose(jacobian, differences, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(jacobian.sum(axis=0), 1.0, atol=1e-10)  # mass is conserved
    # Monotone fluxes: more in the giver, more given; more in the taker, less.
    assert (flux.by_i >= 0).all()
    assert (flux.by_j <= 0).all()


def internal(p, w):
    return _Internal(w**p / p, psi_prime(p, w), w ** (p - 2), (p - 2) * w ** (p - 2))


@pytest.mark.parametrize("p", [0.5, 1.0, 1.5, 2.0, 4.0])
def test_stolarsky_means(p):
    a = np.array([1.0, 1.0, 2.0, 1e-3, 1.0])
    b = np.array([1.0, 1.0 + 1e-5, 0.7, 5.0, 1.0 + 2e-3])
    stolarsky = lambda a, b: secant(a, b, internal(p, a), internal(p, b))
    mean, by_a, by_b = stolarsky(a, b)
    far = np.array([2, 3])
    ratio = (a**p - b**p)[far] / p / (psi_prime(p, a) - psi_prime(p, b))[far]
    np.testing.assert_allclose(mean[far], ratio, rtol=1e-12)
    np.testing.assert_allclose(mean[:2], 1 + (b - a)[:2] / 2, atol=1e-10)
    if p == 2:
        np.testing.assert_allclose(mean, (a + b) / 2, rtol=1e-12)
    h = 1e-6 * a
    found = (stolarsky(a + h, b)[0] - stolarsky(a - h, b)[0]) / (2 * h)
    np.testing.assert_allclose(by_a, found, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(by_b, stolarsky(b, a)[1], rtol=1e-9)


def test_bernoulli_and_powers():
    x = np.array([-800.0, -3.0, -1e-7, 0.0, 2e-5, 5.0, 800.0])
    value, slope = bernoulli(x)
    exact = np.array([800.0, 3 / (1 - np.exp(-3)), 1 + 5e-8, 1.0, 1 - 1e-5, 5 / np.expm1(5), 0.0])
    np.testing.assert_allclose(value[1:], exact[1:], rtol=1e-9, atol=1e-300)
    assert (slope <= 0).all()
    w = np.array([0.0, 0.3, 2.0])
    for q in (0.0, 1.0, 2.0, 5.0, 7.0, 0.5, 11.5):
        np.testing.assert_allclose(power(w, q), w**q, rtol=1e-14)


@pytest.mark.parametrize("shape", [(80, 81), (20, 17, 23)])
@pytest.mark.parametrize("stiff", [0.1, 100.0])
def test_multigrid_finds_what_a_factor_finds(shape, stiff):
    import scipy.sparse.linalg as sl

    grid = jko.Grid([0.0] * len(shape), [1.0] * len(shape), shape)
    mu = jko.GridDensity.from_function(lambda x: np.exp(-20 * ((x - 0.4) ** 2).sum(1)), grid)
    scheme = CellScheme((jko.Entropy() + SLOPE).restrict(mu), grid)
    flux = scheme.flux(mu.weights)
    step = stiff / scheme.faces.scale.max()
    jacobian, _ = scheme.jacobian(flux, step)
    assert grid.size > DIRECT
    b = np.random.default_rng(0).normal(size=grid.size)
    x, count = solve(jacobian, b)
    exact = sl.splu(jacobian.matrix.tocsc()).solve(b)
    np.testing.assert_allclose(x, exact, atol=1e-6 * np.abs(x).max())
    assert 0 < count <= 25
    spd = scheme.faces.laplacian(step * np.ones_like(flux.value), np.ones(grid.size))
    y, count = solve(spd, b, symmetric=True)
    np.testing.assert_allclose(spd.matrix @ y, b, atol=1e-6)
    assert count <= 25
