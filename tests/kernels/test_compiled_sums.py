"""Sums compiled by numba against the blocks of NumPy and the definition."""

import importlib.util

import numpy as np
import pytest
from kernel_cases import cloud

from jko.kernels import Energy, Gaussian, InverseMultiquadric, Laplace, Matern, radial
from jko.kernels.base import Kernel
from jko.kernels.pairwise import ApartSlopes, block_sums, difference_sums

COMPILED = [
    Gaussian(0.7),
    InverseMultiquadric(1.3),
    Matern(1.1, nu=0.5),
    Matern(1.1, nu=1.5),
    Matern(1.1, nu=2.5),
    Laplace(0.8),
    Energy(),
]
needs_numba = pytest.mark.skipif(
    importlib.util.find_spec("numba") is None, reason="numba is not installed"
)


def twin_sums(k, x, y, v):
    return block_sums(Kernel._gram_blocks(k, x, y), x, y, v)


def twin_gradient(k, x, y, v):
    apart = ApartSlopes(k._slope, x, y, v)
    return difference_sums(apart, x, y, v) + apart.close


@pytest.fixture
def always(monkeypatch):
    """Compiled however few the pairs."""
    monkeypatch.setattr(radial, "COMPILED_PAIRS", 0)


@needs_numba
@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("n", [1, 511, 512, 513, 1100])
@pytest.mark.parametrize("k", COMPILED, ids=repr)
def test_they_are_the_sums_of_numpy(k, n):
    d = 3
    rng = np.random.default_rng(n)
    x, y = cloud(n, d), cloud(700, d, seed=1)
    y[: min(n, 3)], y[5] = x[:3], x[0] + 1e-9  # coincident and close pairs
    for b in (x, y):
        v = rng.normal(size=(len(b), 2))
        size = np.abs(k(x, b)) @ np.abs(v)
        assert (np.abs(k.apply(x, b, v) - twin_sums(k, x, b, v)) <= 1e-13 * size).all()
        single = k.apply(x, b, v[:, 1])
        assert (np.abs(single - k(x, b) @ v[:, 1]) <= 1e-13 * size[:, 1]).all()
        pairs = np.einsum("ijk,j->ik", np.abs(k.gradient(x, b)), np.abs(v[:, 0]))
        off = k.gradient_apply(x, b, v[:, 0]) - twin_gradient(k, x, b, v[:, 0])
        assert (np.abs(off) <= 1e-11 * pairs.max()).all()


@needs_numba
@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("k", COMPILED, ids=repr)
def test_every_entry_keeps_its_digits(k):
    """Far and near, from 1e-9 to where the exponential underflows."""
    x = np.zeros((1, 2))
    y = np.geomspace(1e-9, 1e4, 2000)[:, None] * np.array([[0.6, 0.8]])
    found = np.array([k.apply(x, y[j : j + 1], [1.0])[0] for j in range(len(y))])
    tiny = 1e-300  # below it NumPy goes on with fewer and fewer digits, the loops say 0
    np.testing.assert_allclose(found, k(x, y)[0], rtol=3e-13, atol=tiny)
    slope = np.array([k.gradient_apply(x, y[j : j + 1], [1.0])[0] for j in range(len(y))])
    np.testing.assert_allclose(slope, k.gradient(x, y)[0], rtol=3e-13, atol=tiny)


@needs_numba
def test_pieces_of_rows_add_up(monkeypatch, always):
    from jko.kernels import compiled

    x, v = cloud(900, 2), np.random.default_rng(0).normal(size=900)
    whole = Laplace().apply(x, x, v), Laplace().gradient_apply(x, x, v)
    monkeypatch.setattr(compiled, "PAIRS", 900 * 70)
    np.testing.assert_allclose(Laplace().apply(x, x, v), whole[0], rtol=1e-12)
    np.testing.assert_allclose(Laplace().gradient_apply(x, x, v), whole[1], atol=1e-12)


@pytest.mark.parametrize("missing", [True, False])
def test_what_is_chosen(monkeypatch, missing):
    """Where measurements found the loops faster, and only with numba."""
    monkeypatch.setattr(radial, "_has_numba", lambda: not missing)
    monkeypatch.setitem(__import__("sys").modules, "jko.kernels.compiled", object())
    many = {d: np.zeros((2048, d)) for d in (2, 10, 30)}
    taken = {
        (name, d): radial.compiled(name, x, x) is not None
        for name in ("gaussian", "laplace")
        for d, x in many.items()
    }
    expected = {("gaussian", 2), ("laplace", 2), ("laplace", 10)}
    assert {key for key, found in taken.items() if found} == (set() if missing else expected)
    assert radial.compiled("laplace", many[2][:2047], many[2]) is None
    assert radial.compiled(None, many[2], many[2]) is None


def test_formulas_without_loops_say_so():
    """Other exponents and bandwidths out of range stay with NumPy."""
    for k in (InverseMultiquadric(1.0, 1.5), Energy(1.5), Gaussian(1e-160), Laplace(1e200)):
        assert k._formula[0] is None


@pytest.mark.parametrize("d", [2, 25])
def test_sums_of_kernels_go_part_by_part(d):
    k = 0.5 * Gaussian(0.7) + Laplace(2.0) + 3.0 * (Gaussian(1.0) * Laplace(1.0))
    x, y = cloud(300, d), cloud(200, d, seed=1)
    v = np.random.default_rng(2).normal(size=200)
    np.testing.assert_allclose(k.apply(x, y, v), k(x, y) @ v, rtol=1e-10, atol=1e-12)
    whole = np.einsum("ijk,j->ik", k.gradient(x, y), v)
    np.testing.assert_allclose(k.gradient_apply(x, y, v), whole, rtol=1e-9, atol=1e-11)
