"""Recombination keeps nonnegativity, mass and moments on few atoms."""

import numpy as np
import pytest

from jko.numerics import recombination
from jko.numerics.recombination import gram_factor, kernel_features, recombine
from jko.threads import limited


def cloud(n, q, seed=0):
    rng = np.random.default_rng(seed)
    v = rng.random(n)
    v[::5] = 0.0
    return v, rng.standard_normal((n, q))


@pytest.mark.parametrize(
    ("n", "q", "budget"),
    [(200, 20, 21), (200, 20, 40), (1500, 3, 4), (300, 0, 1), (997, 50, 70), (30, 20, 21)],
)
@pytest.mark.parametrize("mass", [1.0, 1e-9, 1e9])
def test_moments_mass_sign_and_budget(n, q, budget, mass):
    v, phi = cloud(n, q)
    v *= mass
    result = recombine(v, phi, budget)
    w = result.full(n)
    assert result.indices.size <= budget
    assert (result.weights > 0).all()
    assert (np.diff(result.indices) > 0).all()
    assert (v[result.indices] > 0).all()
    assert w.sum() == pytest.approx(v.sum(), rel=1e-14)
    if q:
        assert np.max(np.abs(phi.T @ (w - v)) / (np.abs(phi).T @ v)) <= 1e-12
    assert result.residual <= 1e-12


def test_few_factorisations_and_deterministic(monkeypatch):
    """log2(N / q) rounds, each with one factorisation of at most 2 q rows: O(N q + q^3 log)."""
    sizes = []

    def counted(points, null_basis=recombination._null_basis):
        sizes.append(points.shape)
        return null_basis(points)

    monkeypatch.setattr(recombination, "_null_basis", counted)
    v, phi = cloud(2000, 100)
    with limited():
        first, second = (recombine(v, phi, 101) for _ in range(2))
    assert len(sizes) <= 2 * (1 + np.log2(2000 / 101))
    assert max(sizes) <= (2 * 101, 101)
    assert (first.indices == second.indices).all()
    assert (first.weights == second.weights).all()


def test_nothing_to_do_returns_the_input():
    v, phi = cloud(20, 3)
    result = recombine(v, phi, 20)
    assert (result.full(20) == v).all()


@pytest.mark.parametrize("scales", [(1.0, 1e-12), (1e12, 1.0)])
def test_badly_scaled_and_dependent_features(scales):
    v, phi = cloud(400, 6)
    phi = np.column_stack([scales[0] * phi, scales[1] * phi[:, :3], np.zeros(400), phi[:, :1] + 1])
    result = recombine(v, phi, 15)
    error = np.abs(phi.T @ (result.full(400) - v))
    assert (error <= 1e-12 * (np.abs(phi).T @ v)).all()


def test_gauss_quadrature_in_one_dimension():
    """Moments up to degree 9 on at most 10 atoms: the integral of x^8 is kept."""
    x = np.linspace(-1, 1, 501)
    phi = np.polynomial.legendre.legvander(x, 9)[:, 1:]
    result = recombine(np.full(501, 1 / 501), phi, 10)
    kept = result.weights @ x[result.indices] ** 8
    assert kept == pytest.approx(np.mean(x**8), rel=1e-12)


def test_kernel_features_make_the_mmd_small():
    rng = np.random.default_rng(4)
    x = rng.standard_normal((400, 2))
    gram = np.exp(-((x[:, None] - x[None]) ** 2).sum(-1) / 2)
    v = rng.dirichlet(np.ones(400))
    factor = gram_factor(gram)
    np.testing.assert_allclose(factor @ factor.T, gram, atol=1e-12)

    def mmd(w):
        return np.linalg.norm(factor.T @ (w - v))

    w = recombine(v, kernel_features(factor, v, 59), 60).full(400)
    thinned = np.zeros(400)
    thinned[:60] = v[:60] / v[:60].sum()
    assert mmd(w) < 1e-2 * mmd(thinned)


@pytest.mark.parametrize(
    ("v", "phi", "budget", "message"),
    [
        (np.ones(3), np.ones((4, 1)), 2, "disagree"),
        (-np.ones(3), np.ones((3, 1)), 2, "nonnegative"),
        (np.array([1, np.nan, 1]), np.ones((3, 1)), 2, "finite"),
        (np.ones(3), np.ones((3, 2)), 2, "budget"),
    ],
)
def test_wrong_inputs_are_refused(v, phi, budget, message):
    with pytest.raises(ValueError, match=message):
        recombine(v, phi, budget)


def test_zero_measure():
    assert recombine(np.zeros(9), np.ones((9, 1)), 3).full(9).sum() == 0
