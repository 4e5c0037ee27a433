"""Products with Gibbs kernels: no denormal number enters one, and nothing that matters is lost."""

import numpy as np
import pytest
from scipy.special import logsumexp

import jko
from jko.numerics import log_lines, log_matrix, products
from jko.numerics.log_matrix import LogMatrix
from jko.numerics.products import Bands
from jko.solvers.entropic import gibbs
from jko.solvers.entropic.gibbs import DenseGibbs, GridGibbs

LEAST = np.finfo(float).tiny
#: The product itself, which tests replace by one that is watched.
PRODUCT = products.product
W = jko.Wasserstein()


def least(x):
    """The least size of the entries that are not zero."""
    size = np.abs(x[(x != 0) & np.isfinite(x)])
    return size.min() if size.size else 1.0


@pytest.fixture
def watched(monkeypatch):
    """Products are looked at before they are taken: factors, their products, results."""
    seen = []

    def product(left, right, out=None):
        for factor in (left, right):
            assert least(factor) >= LEAST
        assert least(left) * least(right) >= LEAST, "a product of entries is denormal"
        done = PRODUCT(left, right, out)
        assert least(done) >= LEAST
        seen.append(left.shape)
        return done

    for module in (products, log_lines, log_matrix, gibbs):
        monkeypatch.setattr(module, "product", product)
    return seen


def steep(x, slope, rng):
    """A potential that falls by slope |x|^2, rough, with an empty cell."""
    v = -slope * (x**2).sum(1) + rng.normal(size=len(x))
    v[3] = -np.inf
    return v


@pytest.mark.parametrize("slope", [0.0, 1.0, 20.0, 300.0])
@pytest.mark.parametrize(("eps", "periodic"), [(0.3, False), (0.02, True), (0.003, False)])
def test_no_denormal_enters_a_product_on_a_grid(watched, eps, periodic, slope):
    grid = jko.Grid([-4, -3], [4, 3], [96, 40], periodic=periodic)
    kernel, v = GridGibbs(grid, eps), steep(grid.points, slope, np.random.default_rng(0))
    kernel.log_apply(v, "b")
    kernel.log_apply(v, "b")
    kernel.cost(v, v)
    kernel.apply(np.sin(grid.points[:, 0]) * np.exp(np.maximum(v, -700.0)))
    assert watched


@pytest.mark.parametrize("eps", [1.0, 1e-2])
def test_no_denormal_enters_a_product_of_atoms(watched, eps):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(60, 2)) * 4
    kernel, v = DenseGibbs(x, eps), steep(x, 2.0, rng)
    matrix = LogMatrix(-((x[:, :1] - x[:, 0]) ** 2) / eps)
    for _ in range(2):
        kernel.log_apply(v, "b")
        matrix(v)
        v = v + 0.1 * rng.normal(size=60)
    kernel.apply(np.exp(v) * np.sin(np.arange(60.0)))
    assert len(watched) == 3


@pytest.mark.parametrize("debias", [True, False, "half"])
def test_no_denormal_enters_a_product_of_a_step(watched, debias):
    grid = jko.Grid([-4, -4], [4, 4], [48, 48])
    bell = jko.GridDensity.from_function(
        lambda x: np.exp(-9 * ((x - [1.5, 0.5]) ** 2).sum(1)), grid, mass=1
    )
    energy = jko.KL(jko.Gaussian([0.0, 0.0], np.eye(2)))
    jko.step(bell, energy, W, 0.05, solver=jko.solvers.Entropic(debias=debias))
    assert watched


@pytest.mark.parametrize("eps", [0.3, 0.02, 0.003])
def test_narrow_kernels_lose_nothing(eps):
    """Against the definition, after products that were flatter and steeper than the next one."""
    rng = np.random.default_rng(2)
    grid = jko.Grid([-4, -4], [4, 4], [96, 24])
    kernel = GridGibbs(grid, eps)
    logs = [-((x[:, None] - x) ** 2) / eps for x in grid.axes]
    for slope in (0.0, 3.0, 0.1, 60.0):
        v = -slope * (grid.points**2).sum(1) + rng.normal(size=grid.size)
        exact = v.reshape(grid.shape)
        exact = logsumexp(logs[0][:, :, None] + exact[:, None], axis=0)
        exact = logsumexp(exact[:, :, None] + logs[1], axis=1)
        found = kernel.log_apply(v, "b")
        rounding = 1e-13 + 16 * np.finfo(float).eps * np.abs(v).max()
        np.testing.assert_allclose(found, exact.ravel(), rtol=0, atol=rounding)


def test_narrow_kernels_are_cheap(monkeypatch):
    """On 512 cells, a kernel ten wide multiplies less than half, one two wide an eighth."""
    entries = []

    def product(left, right, out=None):
        entries.append(left.shape[0] * left.shape[1] * right.shape[1])
        return PRODUCT(left, right, out)

    monkeypatch.setattr(products, "product", product)
    grid = jko.Grid([-4, -4], [4, 4], [512, 512])
    v = -0.5 * (grid.points**2).sum(1)
    for width, share in ((10, 0.45), (2, 0.13)):
        kernel = GridGibbs(grid, (width * 8 / 512) ** 2)
        kernel.log_apply(v)
        entries.clear()
        kernel.log_apply(v)
        assert sum(entries) <= share * 2 * 512**3


def test_blocks_of_a_band_are_its_products():
    rng = np.random.default_rng(3)
    n, reach = 203, 20
    far = np.abs(np.arange(n)[:, None] - np.arange(n)) > reach
    matrix = np.where(far, 0.0, rng.random((n, n)))
    rows = rng.random((n, 7))
    np.testing.assert_allclose(Bands(matrix).contract(rows, reach), rows.T @ matrix, rtol=1e-14)


def test_the_least_product_is_normal():
    assert products.TINY * products.FAINT >= LEAST
    assert np.finfo(float).max > products.LIFT * 1e12
