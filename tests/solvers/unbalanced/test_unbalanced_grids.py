"""Steps with sources on large grids: radial kernels against the definition and the dense solver."""

import numpy as np
import pytest
from scipy.special import logsumexp

import jko
from jko.numerics import products
from jko.numerics.radial import FAR, RadialCosts, RadialProducts
from jko.solvers import UnbalancedScaling
from jko.solvers.unbalanced import cone

WFR = jko.WassersteinFisherRao(0.7, 1.3)
#: The product itself, which a test replaces by one that counts.
PRODUCT = products.product


def bell(grid, at, width, mass):
    return jko.GridDensity.from_function(
        lambda x: np.exp(-((x - at) ** 2).sum(1) / (2 * width**2)), grid, mass=mass
    )


def planar(n, mass=0.7):
    grid = jko.Grid([-4, -3], [4, 3], [n, n - n // 4])
    return bell(grid, 0.7, 0.6, mass), bell(grid, 0.0, 1.0, 1.5)


def costs(eps, geometry=WFR):
    return lambda x: geometry.cost(x.reshape(-1, 1), np.zeros((1, 1))).reshape(x.shape) / eps


def between(shape, spacing, cost):
    axes = [h * np.arange(n) for h, n in zip(spacing, shape, strict=True)]
    x = np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")], axis=1)
    return x, cost(np.sqrt(((x[:, None] - x) ** 2).sum(axis=-1)))


@pytest.mark.parametrize("shape", [(24, 20), (40,)])
@pytest.mark.parametrize("eps", [0.2, 0.02, 0.004])
@pytest.mark.parametrize("slope", [0.0, 3.0, 40.0])
def test_products_are_those_of_the_definition(shape, eps, slope):
    """Cells without mass, tails of any depth; the kernel ends where it is below e^-670."""
    rng, spacing = np.random.default_rng(0), tuple(6 / n for n in shape)
    kernel = RadialProducts(shape, spacing, costs(eps))
    x, full = between(shape, spacing, costs(eps))
    v = -slope * ((x - 2) ** 2).sum(1) + rng.normal(size=len(x))
    v[rng.random(len(x)) < 0.1] = -np.inf
    along = [costs(eps)(np.abs(c[:, None] - c)) <= FAR for c in x.T]
    reached = np.where(np.all(along, axis=0), full, np.inf)
    found = kernel.log_apply(v.reshape(shape)).ravel()
    exact = logsumexp(v - reached, axis=1)
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(exact))
    known = np.isfinite(exact)
    np.testing.assert_allclose(found[known], exact[known], rtol=1e-12, atol=1e-8)


def test_costs_and_transforms_are_those_of_the_definition():
    rng, shape, spacing = np.random.default_rng(1), (18, 15), (0.3, 0.4)
    kernel = RadialProducts(shape, spacing, costs(0.1))
    _, full = between(shape, spacing, costs(0.1))
    a, b, psi = rng.normal(size=(3, full.shape[0]))
    moved = np.where(np.isfinite(full), full, 0.0) * np.exp(a[:, None] - full + b)
    assert kernel.paid(a.reshape(shape), b.reshape(shape)) == pytest.approx(moved.sum(), rel=1e-9)
    exact = (full - psi).min(axis=1)
    far = RadialCosts(shape, spacing, costs(0.1), float(np.ptp(psi)))
    np.testing.assert_allclose(far.transform(psi.reshape(shape)).ravel(), exact, atol=1e-12)
    near = RadialCosts(shape, spacing, costs(0.1), 0.3).transform(psi.reshape(shape)).ravel()
    assert (near <= exact + 1e-12).all()  # what is not looked at only lowers a bound


def test_no_denormal_enters_a_product(monkeypatch):
    seen, tiny = [], np.finfo(float).tiny

    def product(left, right, out=None):
        least = [np.abs(x[x != 0]).min(initial=1.0) for x in (left, right)]
        assert min(*least, least[0] * least[1]) >= tiny
        seen.append(left.shape)
        return PRODUCT(left, right, out)

    monkeypatch.setattr(products, "product", product)
    shape, spacing = (60, 44), (0.1, 0.15)
    x, _ = between(shape, spacing, costs(1.0))
    for slope in (1.0, 20.0, 80.0):
        v = -slope * ((x - 2) ** 2).sum(1)
        RadialProducts(shape, spacing, costs(0.02)).log_apply(v.reshape(shape))
    assert seen


ENERGIES = {
    "kl": jko.KL,
    "inclusive": jko.InclusiveKL,
    "drift": lambda pi: jko.Potential(lambda x: 0.5 * (x**2).sum(1)) + 0.1 * jko.Entropy(),
    "mmd-kl": lambda pi: jko.KL(pi) + 3 * jko.MMDEnergy(pi, jko.kernels.Gaussian(1.0)),
    "box": lambda pi: jko.Potential(lambda x: np.abs(x[:, 0])) + jko.BoxConstraint(0.4),
}


@pytest.mark.parametrize("name", ENERGIES)
def test_radial_and_dense_kernels_take_one_step(name, monkeypatch):
    mu, pi = planar(16)
    mu = mu.with_weights(np.where(mu.weights > 1e-6, mu.weights, 0.0))
    taken = []
    for small in (10_000, 0):
        monkeypatch.setattr(cone, "SMALL", small)
        monkeypatch.setattr("jko.solvers.unbalanced.bias.MAX_PAIRS", 0)
        taken.append(jko.step(mu, ENERGIES[name](pi), WFR, 0.2, solver=UnbalancedScaling(0.03)))
    dense, radial = taken
    assert radial.objective == pytest.approx(dense.objective, abs=2e-9)
    np.testing.assert_allclose(radial.measure.weights, dense.measure.weights, atol=1e-7)
    near, whole = radial.info["bias_reg"], dense.info["bias_reg"]
    assert near >= whole - 1e-9  # partners far away may be left out of the bound
    assert near <= 1.2 * whole + 1e-6


def test_a_large_step_is_certified_and_keeps_its_target():
    mu, pi = planar(72)
    found = jko.step(mu, jko.KL(pi), WFR, 0.1)
    assert found.solver == "UnbalancedScaling"
    assert found.iterations <= 20  # 12
    assert found.info["kernel_applications"] <= 80  # 57
    assert found.objective < found.baseline
    kept = jko.step(pi, jko.KL(pi), WFR, 0.1)
    np.testing.assert_allclose(kept.measure.weights, pi.weights, rtol=1e-6, atol=1e-14)


def test_the_split_step_is_first_order_away():
    """Over one time, twice the steps come half as far from the split flow."""
    mu, pi = planar(48)
    split = 0.7 * jko.Wasserstein() + 1.3 * jko.Hellinger()
    apart = []
    for steps in (2, 4):
        a = jko.flow(mu, jko.KL(pi), WFR, tau=0.2 / steps, steps=steps, save="last").final
        b = jko.flow(mu, jko.KL(pi), split, tau=0.2 / steps, steps=steps, save="last").final
        apart.append(np.abs(a.weights - b.weights).sum())
    assert np.log2(apart[0] / apart[1]) == pytest.approx(1, abs=0.2)
