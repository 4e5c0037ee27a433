"""Energies: values by hand, first variations and gradients by finite differences, the algebra."""

import numpy as np
import pytest

import jko
from jko import Gaussian, Grid, GridDensity, Histogram, LogDensity, Particles
from jko.energies import (
    KL,
    BoxConstraint,
    Energy,
    EnergySum,
    Entropy,
    InclusiveKL,
    Interaction,
    MMDEnergy,
    PhiDivergence,
    PorousMedium,
    Potential,
)
from jko.errors import InvalidArgument, InvalidMeasure, InvalidType, Unsupported
from jko.geometries import Hellinger, Wasserstein

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 2))
W = np.array([0.3, 0.05, 0.0, 0.9, 0.4, 0.2])
PI = np.array([0.2, 0.3, 0.1, 0.0, 0.5, 0.25])
FULL = np.array([0.2, 0.3, 0.1, 0.15, 0.5, 0.25])
K = jko.kernels.Gaussian(0.8)
GRID = Grid([-2, -1], [2, 1], [5, 4])
GRID_WEIGHTS = np.random.default_rng(1).random(20) + 0.05
LOG = LogDensity(lambda x: -3 - (x**2).sum(1), lambda x: -2 * x, dim=2)


def V(x):
    return np.sin(x[:, 0]) + x[:, 1] ** 2


def grad_V(x):
    return np.stack([np.cos(x[:, 0]), 2 * x[:, 1]], axis=1)


def quartic(z):
    return (z**2).sum(1) ** 2 / 4


def grad_quartic(z):
    return z * (z**2).sum(1)[:, None]


def energies(measure):
    """Every energy on the measure's support, and some sums."""
    rng = np.random.default_rng(2)
    target = measure.with_weights(rng.random(measure.n) + 0.1)
    reference = rng.random(measure.n) + 0.5
    out = [PhiDivergence(target, p) for p in (-1, 0, 0.5, 1, 2, 3)]
    out += [
        KL(target),
        InclusiveKL(target),
        Potential(V, grad_V),
        Potential(rng.normal(size=measure.n)),
    ]
    out += [Entropy(reference), PorousMedium(2.5, reference), BoxConstraint(9.0, reference)]
    out += [
        MMDEnergy(target, K),
        MMDEnergy(Particles(X + 0.3, W), K),
        MMDEnergy(Gaussian([0, 1], np.eye(2)), K),
        Interaction(quartic, grad_quartic),
        Interaction(K),
        Interaction.quadratic(),
        Interaction.power(3),
    ]
    if isinstance(measure, GridDensity):
        out += [Entropy(), PorousMedium(0.5), KL(LOG), KL(Gaussian([0, 0], np.eye(2))),
                Interaction.logarithmic()]  # fmt: skip
    out += [
        2 * KL(target) + Potential(V),
        0.3 * MMDEnergy(target, K) + Entropy(reference) + Interaction.quadratic(),
    ]
    return out


SUPPORTS = [
    Histogram(X, W + 0.1),
    Particles(X, W + 0.1),
    GridDensity(GRID, GRID_WEIGHTS),
]
CASES = [
    pytest.param(mu, energy, id=f"{type(mu).__name__}-{i}-{type(energy).__name__}")
    for mu in SUPPORTS
    for i, energy in enumerate(energies(mu))
]


@pytest.mark.parametrize(("mu", "energy"), CASES)
def test_first_variation_is_the_derivative_of_the_value(mu, energy):
    f, h = energy.first_variation(mu), 1e-5
    numeric = np.empty(mu.n)
    for i in range(mu.n):
        ahead, behind = (
            energy.value(mu.with_weights(mu.weights + s * h * np.eye(mu.n)[i])) for s in (1, -1)
        )
        numeric[i] = (ahead - behind) / (2 * h)
    assert f.shape == (mu.n,)
    assert f == pytest.approx(numeric, abs=1e-6, rel=1e-6)


@pytest.mark.parametrize(("mu", "energy"), CASES)
def test_the_normal_form_has_the_value(mu, energy):
    form = energy.restrict(mu)
    assert form.value(mu.weights) == pytest.approx(energy.value(mu), rel=1e-10, abs=1e-12)
    other = mu.with_weights(mu.weights[::-1] * 1.3)
    assert form.value(other.weights) == pytest.approx(energy.value(other), rel=1e-10, abs=1e-12)
    assert form.gradient(other.weights) == pytest.approx(energy.first_variation(other))


MOVING = [
    Potential(V, grad_V),
    MMDEnergy(Particles(X[:4] + 0.3, PI[:4] + 0.1), K),
    MMDEnergy(Gaussian([0, 1], [[1, 0.3], [0.3, 0.5]]), K),
    MMDEnergy(Particles(X[:4] + 0.3, PI[:4] + 0.1), jko.kernels.Matern(0.7, nu=2.5)),
    Interaction(quartic, grad_quartic),
    Interaction(K),
    Interaction.power(3),
    Interaction.logarithmic(),
    0.5 * Potential(V, grad_V) + 2 * Interaction.quadratic(),
    MMDEnergy(Particles(X[:4] + 0.3, PI[:4] + 0.1), K) + 3 * Potential(V, grad_V),
]


@pytest.mark.parametrize("energy", MOVING, ids=lambda e: type(e).__name__)
def test_wasserstein_gradient_is_the_gradient_in_the_positions(energy):
    """(1/w_i) dF/dx_i at charged particles; the gradient of f at empty ones."""
    mu, h = Particles(X, W), 1e-5
    gradient = energy.wasserstein_gradient(mu)
    assert gradient.shape == X.shape
    for i in range(6):
        for j in range(2):
            bump = np.zeros_like(X)
            bump[i, j] = h
            ahead, behind = mu.with_points(X + bump), mu.with_points(X - bump)
            if W[i] > 0:
                numeric = (energy.value(ahead) - energy.value(behind)) / (2 * h * W[i])
            else:
                change = energy.first_variation(ahead)[i] - energy.first_variation(behind)[i]
                numeric = change / (2 * h)
            assert gradient[i, j] == pytest.approx(numeric, abs=2e-6)


# -- values by hand -------------------------------------------------------------------------


def phi(p, t):
    """The generator, with its limits at t = 0."""
    if p == 1:
        return np.where(t > 0, t * np.log(np.where(t > 0, t, 1)), 0) - t + 1
    if p == 0:
        with np.errstate(divide="ignore"):
            return t - 1 - np.log(t)
    with np.errstate(divide="ignore"):
        return (t**p - p * (t - 1) - 1) / (p * (p - 1))


def divergence(p, w, pi):
    """D_p by its definition, with the recession term where the target is empty."""
    charged = pi > 0
    stray = w[~charged].sum()
    value = (phi(p, w[charged] / pi[charged]) * pi[charged]).sum()
    if stray > 0:
        value += stray / (1 - p) if p < 1 else np.inf
    return value


@pytest.mark.parametrize("p", [-1.0, 0.0, 0.5, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("kind", [Histogram, Particles])
@pytest.mark.parametrize(("w", "pi"), [(W, PI), (W, FULL), (FULL, PI), (FULL, W + 0.1), (PI, PI)])
def test_divergences_by_their_definition(p, w, pi, kind):
    mu, target = kind(X, w), kind(X, pi)
    exact = divergence(p, w, pi)
    for energy in (PhiDivergence(target, p), PhiDivergence(Particles(X[::-1], pi[::-1]), p)):
        assert energy.value(mu) == pytest.approx(exact, rel=1e-12, abs=1e-14)
        if w is not pi:
            assert energy.value(mu) > 0


@pytest.mark.parametrize("p", [0.5, 1.0, 2.0])
def test_target_mass_the_measure_cannot_charge_counts(p):
    target = Histogram(np.vstack([X, [[9.0, 9.0]]]), np.append(FULL, 0.7))
    exact = divergence(p, np.append(W, 0), np.append(FULL, 0.7))
    assert PhiDivergence(target, p).value(Histogram(X, W)) == pytest.approx(exact)


@pytest.mark.parametrize("p", [-1.0, 0.0])
def test_mass_that_would_make_it_infinite_everywhere_is_refused(p):
    target = Histogram(X + 1.0, FULL)
    with pytest.raises(Unsupported, match="put the target on the measure's support"):
        PhiDivergence(target, p).value(Histogram(X, FULL))


@pytest.mark.parametrize("scale", [1.0, 1e-9])
def test_an_atom_to_be_charged_stays_one_where_its_coefficient_underflows(scale):
    """pi^{3/2} is below the least double; the divergence of an empty atom from it is infinite."""
    target = Histogram(X, np.append(FULL[:-1], 1e-301))
    energy = scale * PhiDivergence(target, -0.5)
    assert energy.value(Histogram(X, np.append(FULL[:-1], 0.0))) == np.inf
    assert energy.value(Histogram(X, np.append(FULL[:-1], 1e-12))) < 1e-9


def test_named_divergences():
    mu, target = Histogram(X, FULL), Histogram(X, W + 0.1)
    pi = target.weights
    kl = (FULL * np.log(FULL / pi) - FULL + pi).sum()
    assert KL(target).value(mu) == pytest.approx(kl)
    assert InclusiveKL(mu).value(target) == pytest.approx(kl)
    assert PhiDivergence(target, 2).value(mu) == pytest.approx(((FULL - pi) ** 2 / pi).sum() / 2)
    assert PhiDivergence(target, 0.5).value(mu) == pytest.approx(
        Hellinger().sqdistance(mu, target) / 2
    )


def test_infinite_values():
    mu, empty = Histogram(X, FULL), Histogram(X, W)
    assert KL(empty).value(mu) == np.inf
    assert PhiDivergence(empty, 2).value(mu) == np.inf
    assert InclusiveKL(mu).value(empty) == np.inf
    assert PhiDivergence(mu, -1).value(empty) == np.inf
    assert (KL(empty) + Potential(V)).value(mu) == np.inf
    assert KL(mu).value(empty) < np.inf
    wall = Potential(np.array([0, 0, 1, np.inf, 0, 0]))
    assert wall.value(mu) == np.inf
    assert wall.value(Histogram(X, PI)) == pytest.approx(PI[2])
    assert BoxConstraint(0.45).value(mu) == np.inf
    assert BoxConstraint(0.55).value(mu) == 0


def test_empty_atoms_have_the_right_first_variation():
    mu = Histogram(X, W)
    assert KL(Histogram(X, FULL)).first_variation(mu)[2] == -np.inf
    assert PhiDivergence(Histogram(X, FULL), 2).first_variation(mu)[2] == pytest.approx(-1)
    assert PhiDivergence(Histogram(X, FULL), 0.5).first_variation(mu)[2] == -np.inf


@pytest.mark.parametrize("mass", [1.0, 2.5])
def test_kl_between_gaussians_is_the_integral(mass):
    a = Gaussian([0.3, -0.2], [[0.6, 0.1], [0.1, 0.4]], mass)
    b = Gaussian([0.0, 0.1], [[0.9, -0.2], [-0.2, 0.7]], 1.7)
    grid = Grid([-6, -6], [6, 6], [180, 180])
    on_grid = GridDensity.from_function(lambda x: np.exp(a.log_density_at(x)), grid)
    assert KL(b).value(a) == pytest.approx(KL(b).value(on_grid), abs=1e-9)
    assert InclusiveKL(a).value(b) == pytest.approx(KL(b).value(a))
    log = LogDensity(b.log_density_at, dim=2)
    assert KL(log).value(on_grid) == pytest.approx(KL(b).value(on_grid))


def test_kl_reads_log_densities_far_below_zero():
    """The logarithm is all that KL needs: a posterior of log density -1e4 is no special case."""
    mu = GridDensity(GRID, GRID_WEIGHTS / GRID_WEIGHTS.sum())
    near, far = (LogDensity(lambda x, c=c: c - (x**2).sum(1), dim=2) for c in (0.0, -1e4))
    total = np.exp(near.log_density_at(GRID.points)).sum() * GRID.cell_volume
    assert KL(far).value(mu) == pytest.approx(KL(near).value(mu) + 1e4 - total, rel=1e-12)
    shift = KL(far).first_variation(mu) - KL(near).first_variation(mu)
    assert shift == pytest.approx(np.full(20, 1e4))
    with pytest.raises(InvalidMeasure, match="add a constant to the log density"):
        PhiDivergence(far, 2).value(mu)
    with pytest.raises(InvalidMeasure, match="add a constant to the log density"):
        KL(LogDensity(lambda x: 1e4 + x[:, 0], dim=2)).value(mu)
    tail = LogDensity(lambda x: -400 * (x**2).sum(1), dim=2)
    assert np.isfinite(KL(tail).value(mu))


def test_internal_energies_by_hand():
    mu = GridDensity(GRID, GRID_WEIGHTS)
    rho, h = mu.density.ravel(), GRID.cell_volume
    assert Entropy().value(mu) == pytest.approx((rho * np.log(rho)).sum() * h)
    assert PorousMedium(3).value(mu) == pytest.approx((rho**3).sum() * h / 2)
    assert PorousMedium(0.5).value(mu) == pytest.approx(-2 * (rho**0.5).sum() * h)
    hist = Histogram(X, FULL)
    assert Entropy().value(hist) == pytest.approx((FULL * np.log(FULL)).sum())
    assert Entropy().value(Histogram(X, W)) == pytest.approx((W[W > 0] * np.log(W[W > 0])).sum())
    assert Entropy(PI + 0.1).value(hist) == pytest.approx((FULL * np.log(FULL / (PI + 0.1))).sum())


def test_interaction_by_hand():
    mu = Histogram(X, W)
    pairs = [(i, j) for i in range(6) for j in range(6)]
    double = lambda f: 0.5 * sum(W[i] * W[j] * f(X[i] - X[j]) for i, j in pairs)
    assert Interaction(quartic).value(mu) == pytest.approx(double(lambda z: (z @ z) ** 2 / 4))
    assert Interaction.quadratic().value(mu) == pytest.approx(double(lambda z: z @ z / 2))
    about = W.sum() * 0.5 * (W @ ((X - mu.mean) ** 2).sum(1))  # Formula W7
    assert Interaction.quadratic().value(mu) == pytest.approx(about)
    log = double(lambda z: -np.log(np.linalg.norm(z)) if z.any() else 0)
    assert Interaction.logarithmic().value(mu) == pytest.approx(log)


def test_mmd_energy_by_hand():
    mu, y = Particles(X, W), X[:4] + 0.3
    target = Particles(y, PI[:4])
    signed = np.concatenate([W, -PI[:4]])
    z = np.vstack([X, y])
    exact = 0.5 * signed @ K(z, z) @ signed
    energy = MMDEnergy(target, K)
    assert energy.value(mu) == pytest.approx(exact)
    assert energy.first_variation(mu) == pytest.approx(K(X, z) @ signed)
    assert MMDEnergy(mu, K).value(mu) == 0
    assert MMDEnergy(mu, K).value(Histogram(X[::-1], W[::-1])) == pytest.approx(0, abs=1e-16)


def test_the_u_statistic_is_for_monitoring():
    energy = MMDEnergy(Particles(X + 0.3, FULL), K, statistic="U")
    mu = Particles(X, FULL)
    assert energy.value(mu) < MMDEnergy(energy.target, K).value(mu)
    for capability in (energy.first_variation, energy.wasserstein_gradient, energy.restrict):
        with pytest.raises(Unsupported, match="statistic='V'"):
            capability(mu)


# -- the algebra ----------------------------------------------------------------------------


def test_sums_and_multiples():
    mu = GridDensity(GRID, GRID_WEIGHTS)
    v, e, k = Potential(V), Entropy(), KL(GridDensity(GRID, GRID_WEIGHTS[::-1]))
    total = v + 2 * (e + 0.5 * k)
    assert isinstance(total, EnergySum)
    assert [c for c, _ in total] == [1, 2, 1]
    assert total.value(mu) == pytest.approx(v.value(mu) + 2 * e.value(mu) + k.value(mu))
    assert total.first_variation(mu) == pytest.approx(
        v.first_variation(mu) + 2 * e.first_variation(mu) + k.first_variation(mu)
    )
    assert sum([v, e]).value(mu) == pytest.approx((v + e).value(mu))
    for double in (2 * e, e * 2, np.float64(2) * e, np.int64(2) * e, e + e):
        assert double.value(mu) == pytest.approx(2 * e.value(mu))
    assert repr(2 * e + v) == "2 * Entropy() + Potential(V)"


def test_the_order_of_a_sum_is_no_matter():
    mu = GridDensity(GRID, GRID_WEIGHTS)
    v, e, f = Potential(V), Entropy(), MMDEnergy(GridDensity(GRID, GRID_WEIGHTS[::-1]), K)
    q = GRID_WEIGHTS[::-1]
    one, two = (v + e).restrict(mu), (e + v).restrict(mu)
    assert one.separable.linear == pytest.approx(two.separable.linear, abs=0)
    assert list(one.separable.powers) == list(two.separable.powers) == [1.0]
    assert (v + e).log_prox_kl(np.log(q), 0.3, mu) == pytest.approx(
        (e + v).log_prox_kl(np.log(q), 0.3, mu), abs=0
    )
    for first, second in ((v, f), (f, e), (f, 2 * f)):
        a, b = (first + second), (second + first)
        assert a.value(mu) == pytest.approx(b.value(mu), rel=1e-14)
        assert len(a.restrict(mu).quadratics) == len(b.restrict(mu).quadratics) == 1


@pytest.mark.parametrize("power", [None, 0.0, 0.5, 1.0, 2.0])
def test_the_kl_prox_has_no_better_competitor(power):
    mu = Histogram(X, FULL)
    rng = np.random.default_rng(3)
    energy: Energy = Potential(V)
    if power is not None:
        energy = energy + PhiDivergence(Histogram(X, W + 0.05), power)
    q, step = rng.random(6) + 0.1, 0.7
    w = np.exp(energy.log_prox_kl(np.log(q), step, mu))
    objective = lambda u: step * energy.restrict(mu).value(u) + (u * np.log(u / q) - u + q).sum()
    for size in (1e-4, 1e-2, 0.5):
        for _ in range(20):
            assert objective(w * np.exp(size * rng.normal(size=6))) > objective(w)


def test_the_kl_prox_keeps_empty_atoms_empty_and_needs_separability():
    mu = Histogram(X, FULL)
    out = KL(mu).log_prox_kl(np.log(np.where(W > 0, W, 1)) + np.where(W > 0, 0, -np.inf), 0.3, mu)
    assert (np.isinf(out) == (W == 0)).all()
    with pytest.raises(Unsupported, match="not separable"):
        (KL(mu) + MMDEnergy(mu, K)).log_prox_kl(np.log(FULL), 0.3, mu)


def test_convexity_moduli():
    g = Gaussian([0, 0], np.diag([2.0, 0.5]))
    assert KL(g).convexity(Wasserstein()) == pytest.approx(0.5)
    assert (3 * KL(g)).convexity(2 * Wasserstein()) == pytest.approx(3.0)
    assert KL(g).convexity(Hellinger()) is None
    assert (KL(g) + Entropy()).convexity(Wasserstein()) == pytest.approx(0.5)


def test_a_new_energy_needs_its_value_only():
    class Mass(Energy):
        def value(self, mu):
            return mu.mass

    mu = Histogram(X, FULL)
    assert (2 * Mass() + Potential(V)).value(mu) == pytest.approx(3 + mu.expect(V))
    for capability, sentence in (
        (Mass().first_variation, "write first_variation"),
        (Mass().restrict, "write first_variation"),
        (Mass().wasserstein_gradient, "write wasserstein_gradient"),
    ):
        with pytest.raises(Unsupported, match=sentence):
            capability(mu)
    with pytest.raises(Unsupported):
        (Mass() + Potential(V)).restrict(mu)


# -- bad input ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda mu: KL("target"), InvalidType, "pass a measure"),
        (lambda mu: KL(X), InvalidType, "pass a measure"),
        (lambda mu: PhiDivergence(mu, "2"), InvalidType, "p must be a number"),
        (lambda mu: PhiDivergence(mu, np.nan), InvalidArgument, "finite"),
        (lambda mu: MMDEnergy(mu, "gaussian"), InvalidType, "pass a kernel"),
        (lambda mu: MMDEnergy(LOG, K), InvalidType, "measure"),
        (lambda mu: MMDEnergy(mu, K, statistic="W"), InvalidArgument, "choose one of"),
        (lambda mu: Potential("x"), InvalidType, "V"),
        (lambda mu: Potential(V, gradient=3), InvalidType, "gradient"),
        (lambda mu: Potential(np.ones(3)).value(mu), InvalidMeasure, "one value per (atom|point)"),
        (lambda mu: Potential(lambda x: x).value(mu), InvalidMeasure, "one value per (atom|point)"),
        (lambda mu: Potential(lambda x: x[:, 0] * np.nan).value(mu), InvalidMeasure, "V is nan"),
        (lambda mu: Potential(np.full(6, -np.inf)).value(mu), InvalidMeasure, "V is -inf"),
        (
            lambda mu: Potential(V, lambda x: x[:, 0]).wasserstein_gradient(mu),
            InvalidMeasure,
            "shape",
        ),
        (
            lambda mu: Potential(V, lambda x: x * np.nan).wasserstein_gradient(mu),
            InvalidMeasure,
            "not finite",
        ),
        (lambda mu: Potential(V).wasserstein_gradient(mu), Unsupported, "gradient="),
        (lambda mu: KL(mu).wasserstein_gradient(mu), Unsupported, "Wasserstein gradient"),
        (lambda mu: Entropy([1.0, -1.0]), InvalidMeasure, "positive"),
        (lambda mu: Entropy([1.0, 1.0]).value(mu), InvalidMeasure, r"expected \(6,\)"),
        (lambda mu: Entropy().value(Particles(X)), Unsupported, "particles"),
        (lambda mu: PorousMedium(2).value(Gaussian([0], [[1]])), Unsupported, "discretise"),
        (lambda mu: KL(Gaussian([0], [[1]])).value(mu), InvalidArgument, "dimension"),
        (lambda mu: PorousMedium(1), InvalidArgument, "Entropy"),
        (lambda mu: BoxConstraint(0), InvalidArgument, "bound"),
        (lambda mu: 0 * Entropy(), InvalidArgument, "positive"),
        (lambda mu: -1 * Entropy(), InvalidArgument, "positive"),
        (lambda mu: "2" * Entropy(), InvalidType, "factor of an energy"),
        (lambda mu: Entropy() + 1, InvalidType, "add two energies"),
        (lambda mu: Entropy() + V, InvalidType, "add two energies"),
    ],
)
def test_bad_input_gets_one_sentence(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call(Histogram(X, FULL))
