"""Worst cases on finite sets: closed forms, duality gaps, edges, and competitors that try."""

import numpy as np
import pytest
from generators import measures

import jko
from jko.dro import worst_case

GAUSS, LAPLACE, ENERGY = jko.kernels.Gaussian(0.7), jko.kernels.Laplace(0.5), jko.kernels.Energy()
SETS = {
    "kl": jko.Divergence(p=1),
    "reverse-kl": jko.Divergence(p=0),
    "chi2": jko.Divergence(p=2),
    "phi-half": jko.Divergence(p=0.5),
    "phi-3": jko.Divergence(p=3),
    "phi-negative": jko.Divergence(p=-1),
    "hellinger": jko.Hellinger(),
    "wasserstein": jko.Wasserstein(),
    "wasserstein-scaled": 2.0 * jko.Wasserstein(),
    "mmd": jko.MMD(GAUSS),
    "mmd-laplace": jko.MMD(LAPLACE),
    "mmd-energy": jko.MMD(ENERGY),
}
RADII = (1e-3, 0.1, 1.0)


def wave(x):
    return np.sin(3 * x[:, 0]) + x[:, 1]


def size(found, geometry, nominal):
    """The distance of a worst case, in the units of the radius."""
    if isinstance(geometry, jko.Divergence):
        return geometry.sqdistance(found.measure, nominal) / 2
    at = nominal if nominal.n == found.measure.n else None
    fixed = jko.Hellinger(mass="fixed") if isinstance(geometry, jko.Hellinger) else geometry
    return fixed.distance(found.measure, at if at is not None else nominal)


@pytest.mark.parametrize("radius", RADII)
@pytest.mark.parametrize("name", SETS)
def test_the_gap_is_closed_and_the_measure_is_in_the_ball(name, radius):
    """Unequal weights, zero weights, mass 2: relative gap 1e-8, feasible, better than nominal."""
    geometry, mu = SETS[name], measures.particles(60, seed=3, mass=2.0)
    found = worst_case(wave, mu, geometry, radius=radius)
    assert found.success
    assert 0 <= found.gap <= 1e-8 * abs(found.value)
    assert found.measure.mass == pytest.approx(2.0, rel=1e-12)
    assert size(found, geometry, mu) <= radius * (1 + 1e-7) + 1e-9
    assert found.nominal == pytest.approx(mu.expect(wave), rel=1e-13)
    assert found.value == pytest.approx(found.measure.expect(wave), rel=1e-13)
    assert found.value > found.nominal
    assert type(found.measure) is type(mu)


@pytest.mark.parametrize("name", SETS)
def test_no_measure_in_the_ball_is_worse(name):
    """Random and extreme competitors, pulled back into the ball, stay below the bound."""
    geometry, mu, radius = SETS[name], measures.histogram(25, seed=5), 0.15
    found = worst_case(wave, mu, geometry, radius=radius)
    rng, best = np.random.default_rng(0), -np.inf
    for trial in range(60):
        base = rng.dirichlet(np.full(25, 0.3 if trial % 2 else 3.0))
        if geometry == jko.Divergence(p=1) or getattr(geometry, "p", 0) >= 1:
            base = np.where(mu.weights > 0, base, 0.0)
        toward = (base / base.sum()) if trial % 3 else found.measure.weights
        for t in np.geomspace(1e-3, 1, 25):
            nu = mu.with_weights((1 - t) * mu.weights + t * toward)
            if size(jko.dro.WorstCase(**{**vars(found), "measure": nu}), geometry, mu) <= radius:
                best = max(best, nu.expect(wave))
    assert best <= found.bound + 1e-12
    assert best >= found.nominal


@pytest.mark.parametrize("name", SETS)
def test_the_penalised_form_is_minus_a_step(name):
    """Formula R1; and the ball of the radius it reaches has the same worst case and multiplier."""
    geometry, mu, tau = SETS[name], measures.histogram(30, seed=2), 0.4
    found = worst_case(wave, mu, geometry, tau=tau)
    fixed = jko.Hellinger(mass="fixed") if isinstance(geometry, jko.Hellinger) else geometry
    step = jko.step(mu, jko.Potential(lambda x: -wave(x)), fixed, tau)
    assert found.value == pytest.approx(-step.objective, abs=1e-9)
    assert found.gap <= 1e-9
    ball = worst_case(wave, mu, geometry, radius=found.distance)
    assert ball.value == pytest.approx(found.expectation, abs=1e-8)
    if not isinstance(geometry, jko.Wasserstein):  # there the multiplier is not unique
        assert ball.multiplier == pytest.approx(found.multiplier, rel=1e-3)


def test_exponential_tilting():
    """The KL set: w ~ w_hat exp(l/gamma), value gamma log E exp(l/gamma) + gamma radius."""
    mu = measures.histogram(50, seed=1)
    loss = wave(mu.points)
    found = worst_case(loss, mu, jko.Divergence(p=1), radius=0.2)
    gamma = found.multiplier
    tilted = mu.weights * np.exp(loss / gamma)
    np.testing.assert_allclose(found.measure.weights, tilted / tilted.sum(), rtol=1e-5, atol=1e-14)
    dual = gamma * np.log(mu.weights @ np.exp(loss / gamma)) + 0.2 * gamma
    assert found.value == pytest.approx(dual, abs=1e-9)
    penalised = worst_case(loss, mu, jko.Divergence(p=1), tau=0.7)
    assert penalised.value == pytest.approx(
        np.log(mu.weights @ np.exp(0.7 * loss)) / 0.7, abs=1e-12
    )


def test_chi2_is_mean_plus_deviation():
    """D_2 is half chi^2: value = E l + sqrt(2 radius Var l) while no weight reaches 0."""
    mu = measures.histogram(50, seed=1)
    loss = wave(mu.points)
    mean = mu.weights @ loss
    deviation = np.sqrt(mu.weights @ (loss - mean) ** 2)
    for radius in (1e-6, 1e-3, 0.03):
        found = worst_case(loss, mu, jko.Divergence(p=2), radius=radius)
        assert found.value == pytest.approx(mean + np.sqrt(2 * radius) * deviation, abs=1e-12)
        assert found.multiplier == pytest.approx(deviation / np.sqrt(2 * radius), rel=1e-6)


@pytest.mark.parametrize("kernel", [LAPLACE, jko.kernels.Gaussian(0.2), ENERGY])
def test_mmd_is_mean_plus_a_norm(kernel):
    """ERM + eps min_c |l - c|_H while w >= 0 is inactive."""
    x = np.linspace(-1, 1, 12)[:, None] + 0.01 * np.random.default_rng(0).normal(size=(12, 1))
    mu = jko.Histogram(x, np.random.default_rng(1).dirichlet(np.full(12, 20.0)))
    loss = np.cos(2 * x[:, 0]) + 0.3 * x[:, 0]
    gram = kernel.positive_gram(x)
    inverse = np.linalg.inv(gram)
    one = np.ones(12)
    c = (one @ inverse @ loss) / (one @ inverse @ one)
    norm = np.sqrt((loss - c) @ inverse @ (loss - c))
    for eps in (1e-4, 3e-3):
        found = worst_case(loss, mu, jko.MMD(kernel), radius=eps)
        assert (found.measure.weights > 0).all()
        assert found.value == pytest.approx(mu.weights @ loss + eps * norm, abs=1e-6)
        assert found.value == pytest.approx(mu.weights @ loss + eps * norm, abs=1e-8)


@pytest.mark.parametrize("name", SETS)
def test_edges(name):
    """Radius 0 is the measure itself, a huge radius the maximum, a constant loss a constant."""
    geometry, mu = SETS[name], measures.particles(20, seed=7)
    at_zero = worst_case(wave, mu, geometry, radius=0)
    assert at_zero.value == at_zero.nominal == mu.weights @ wave(mu.points)
    np.testing.assert_array_equal(at_zero.measure.weights, mu.weights)
    assert (at_zero.gap, at_zero.multiplier) == (0.0, np.inf)
    loss = wave(mu.points)
    charged = mu.weights > 0 if getattr(geometry, "p", 0) >= 1 else np.full(20, True)
    top = loss[charged].max()
    everything = worst_case(wave, mu, geometry, radius=300.0)
    # For p <= 0 every charged atom keeps some mass in any ball.
    slack = 0.01 if getattr(geometry, "p", 1) <= 0 else 1e-7
    assert everything.value == pytest.approx(top, abs=slack)
    assert everything.value <= top * (1 + 1e-15)
    constant = worst_case(np.full(20, 3.0), mu, geometry, radius=0.3)
    assert constant.value == pytest.approx(3.0, rel=1e-15)
    assert "constant" in constant.message
    shifted = worst_case(lambda x: 1e3 * wave(x) - 5e5, mu, geometry, radius=0.1)
    plain = worst_case(wave, mu, geometry, radius=0.1)
    assert (shifted.value + 5e5) / 1e3 == pytest.approx(plain.value, abs=1e-6)


def test_values_grow_and_are_concave_in_the_budget():
    mu = measures.histogram(30, seed=4)
    for geometry in SETS.values():
        squared = 1 if isinstance(geometry, jko.Divergence) else 0.5
        budgets = np.linspace(0.01, 0.5, 8)
        values = [worst_case(wave, mu, geometry, radius=b**squared).value for b in budgets]
        assert (np.diff(values) >= -1e-9).all()
        assert (np.diff(values, 2) <= 1e-8).all()


def test_ties_and_zero_weights():
    """Mass may come to life on empty atoms under Hellinger and transport, never under KL."""
    mu = jko.Histogram([[0.0], [1.0], [2.0], [3.0]], [0.5, 0.5, 0.0, 0.0])
    loss = [0.0, 1.0, 2.0, 2.0]
    for geometry in (jko.Divergence(p=1), jko.Divergence(p=2)):
        found = worst_case(loss, mu, geometry, radius=10.0)
        assert found.value == pytest.approx(1.0, abs=1e-12)
        assert (found.measure.weights[2:] == 0).all()
    for geometry in (jko.Hellinger(), jko.Wasserstein(), jko.MMD(GAUSS)):
        found = worst_case(loss, mu, geometry, radius=10.0)
        assert found.value == pytest.approx(2.0, abs=1e-9)
        part = worst_case(loss, mu, geometry, radius=1.2)
        assert 0.5 < part.value < 2.0 or isinstance(geometry, jko.MMD)
        assert part.measure.weights[2:].sum() > 0


def test_supports():
    """A grid, the union with certification points, a grid density."""
    mu = jko.Particles(np.linspace(-1, 1, 9)[:, None])
    bump = lambda x: np.exp(-((x[:, 0] - 1.7) ** 2))
    fine = jko.Grid(-2, 2, 81)
    for geometry in (jko.Wasserstein(), jko.MMD(GAUSS)):
        sample = worst_case(bump, mu, geometry, radius=0.4)
        union = worst_case(bump, mu, geometry, radius=0.4, support="union", points=fine)
        grid = worst_case(bump, mu, geometry, radius=0.4, support="grid", points=fine.points)
        assert union.value >= sample.value - 1e-9
        assert grid.value <= union.value + 1e-9
        assert union.value - grid.value < 0.02
        assert (grid.measure.weights[:9] == 0).all()
        assert max(sample.gap, union.gap, grid.gap) <= 1e-8
    on_grid = jko.GridDensity.from_function(lambda x: np.exp(-(x[:, 0] ** 2)), fine, mass=1)
    found = worst_case(bump, on_grid, jko.Hellinger(), radius=0.3)
    assert isinstance(found.measure, jko.GridDensity)
    coarse = [[-2.0], [2.0]]
    with pytest.raises(jko.InvalidArgument, match=r"radius = 0.1 is below 1\.\d+, the distance"):
        worst_case(bump, mu, jko.Wasserstein(), radius=0.1, support="grid", points=coarse)


@pytest.mark.parametrize("name", SETS)
def test_five_hundred_atoms(name):
    """The size of the accuracy promise, with its gap; the benchmark times it."""
    mu = jko.Particles(np.random.default_rng(0).normal(size=(500, 2)))
    found = worst_case(wave, mu, SETS[name], radius=0.1)
    assert found.gap <= 1e-8 * abs(found.value)


def test_tied_losses_in_mmd_sets():
    """Integer losses, where single quadratic programs stall: certified all the same."""
    rng = np.random.default_rng(0)
    for _ in range(40):
        n = int(rng.integers(5, 40))
        mu = jko.Histogram(rng.normal(size=(n, 2)), rng.dirichlet(np.full(n, 0.5)) * 3)
        loss = np.round(rng.normal(size=n))
        size = {"tau": 10 ** rng.uniform(-1, 2)} if n % 2 else {"radius": 0.3}
        assert worst_case(loss, mu, jko.MMD(LAPLACE), **size).success
