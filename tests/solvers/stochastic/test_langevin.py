"""Langevin steps: invariance from its definition, the flow they discretise, honest certificates."""

from dataclasses import replace

import numpy as np
import pytest
from generators.targets import gaussian, two_modes

import jko
from jko.markov.mala import Cloud, LangevinKernel
from jko.solvers import Langevin


def step(mu, target, tau, **options):
    solver = options.pop("solver", Langevin())
    return jko.step(mu, jko.KL(target), jko.Wasserstein(), tau, solver=solver, **options)


def test_gradient_of_the_test_target():
    jko.sampling.check_gradient(two_modes(3), np.array([[4.1, 0, 1], [0.2, 1, -1]]), None)


def test_adjusted_moves_keep_the_target(rng):
    """From the target to the target: moments after 40 coarse moves are those of fresh draws."""
    x = rng.standard_normal((20_000, 2))
    mu = jko.Particles(x)
    for _ in range(4):
        mu = step(mu, gaussian(2), 5.0, solver=Langevin(moves=10), rng=rng).measure
    assert np.abs(mu.mean).max() < 4 / np.sqrt(mu.n)
    assert np.abs(mu.cov - np.eye(2)).max() < 6 / np.sqrt(mu.n)
    assert (mu.points != x).mean() > 0.9


def test_unadjusted_moves_have_their_known_bias(rng):
    """Euler's step of length d has stationary variance 1/(1 - d/2), not 1."""
    mu = jko.Particles(rng.standard_normal((20_000, 1)))
    for _ in range(40):
        result = step(mu, gaussian(1), 0.4, solver=Langevin(adjusted=False), rng=rng)
        mu = result.measure
    assert mu.cov[0, 0] == pytest.approx(1 / (1 - 0.2), abs=0.05)
    assert "not the target" in result.info["note"]
    assert 0.01 < result.info["metropolis_defect"] < 0.3


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_small_steps_follow_the_flow(rng, scale):
    """Ornstein-Uhlenbeck: mean e^-ct, variance 1 + (v - 1) e^-2ct, c the factor of the energy."""
    mu = jko.Particles(3 + 0.5 * rng.standard_normal((20_000, 1)))
    sol = jko.flow(
        mu, scale * jko.KL(gaussian(1)), jko.Wasserstein(),
        tau=0.05, steps=10, solver=Langevin(moves=2), rng=rng,
    )  # fmt: skip
    t = 0.5 * scale
    assert sol.final.mean[0] == pytest.approx(3 * np.exp(-t), abs=0.05)
    assert sol.final.cov[0, 0] == pytest.approx(1 + (0.25 - 1) * np.exp(-2 * t), abs=0.05)


def test_detailed_balance_of_the_formula(rng):
    """pi(x) q(x, y) a(x, y) is symmetric, densities of the proposals written out."""
    target, root = two_modes(2), np.array([[1.0, 0.0], [0.4, 0.7]])
    kernel = LangevinKernel(0.8, root, clip=1.5)
    x, y = (Cloud.at(target, 3 * rng.standard_normal((50, 2))) for _ in range(2))
    precision = np.linalg.inv(root @ root.T)

    def log_flow(a, b):
        drift = 0.5 * kernel.h**2 * kernel.drift(a) @ root.T
        off = (b.x - a.x - drift) / kernel.h
        log_q = -0.5 * np.einsum("ni,ij,nj->n", off, precision, off)
        accept = np.minimum(0, kernel.log_ratio(a, b, kernel.noise(a, b)))
        return a.log_p + log_q + accept

    np.testing.assert_allclose(log_flow(x, y), log_flow(y, x), rtol=1e-12, atol=1e-10)


def test_result_is_honest(rng):
    mu = jko.Particles(rng.standard_normal((50, 2)), np.r_[np.zeros(10), np.full(40, 1 / 40)])
    result = step(mu, gaussian(2), 0.1, rng=rng)
    assert result.success
    assert result.gap is None
    assert result.residual < 1e-12
    np.testing.assert_array_equal(result.measure.weights, mu.weights)
    cost = mu.weights @ ((result.measure.points - mu.points) ** 2).sum(axis=1)
    assert result.sqdistance == pytest.approx(cost)
    log_p = gaussian(2).log_density_at(result.measure.points)
    assert result.energy == pytest.approx(-mu.weights @ log_p)
    assert "no gap" in Langevin.guarantee


class _Wrong(Langevin):
    """A solver whose Metropolis test is left out while it claims to be adjusted."""

    def solve(self, problem, controls):
        answer = super().solve(problem, controls)
        stated = answer.problem
        trace = tuple(replace(m, log_accept=np.zeros(len(m.accepted))) for m in stated.trace)
        return replace(answer, problem=replace(stated, trace=trace))


class _Moved(Langevin):
    """A solver that hands back other particles than those its moves reached."""

    def solve(self, problem, controls):
        answer = super().solve(problem, controls)
        measure = answer.measure.with_points(answer.measure.points + 1e-3)
        return replace(answer, measure=measure)


@pytest.mark.parametrize("solver", [_Wrong(), _Moved()])
def test_the_certificate_catches_false_moves(rng, solver):
    mu = jko.Particles(2 * rng.standard_normal((50, 2)))
    with pytest.raises(jko.StepFailed, match="residual"):
        step(mu, gaussian(2), 1.0, solver=solver, rng=rng)


def test_the_certificate_catches_a_noisy_density(rng):
    """A log density that changes between calls (minibatches) is no fixed target."""
    noisy = jko.LogDensity(
        lambda x: -0.5 * (x**2).sum(axis=1) + 0.1 * rng.standard_normal(len(x)), lambda x: -x, 2
    )
    with pytest.raises(jko.StepFailed, match="residual"):
        step(jko.Particles(rng.standard_normal((50, 2))), noisy, 0.5, rng=rng)


def test_moves_of_the_boundary_are_refused_by_the_test(rng):
    """A half line: proposals outside have log density -inf and are never taken."""
    half = jko.LogDensity(
        lambda x: np.where(x[:, 0] > 0, -x[:, 0], -np.inf), lambda x: -np.ones_like(x), 1
    )
    mu = jko.Particles(rng.exponential(size=(5000, 1)))
    for _ in range(20):
        mu = step(mu, half, 0.3, rng=rng).measure
    assert mu.points.min() > 0
    assert mu.mean[0] == pytest.approx(1.0, abs=0.06)


def test_few_accepted_moves_are_said(rng):
    mu = jko.Particles(rng.standard_normal((200, 5)))
    with pytest.warns(UserWarning, match="reduce tau"):
        step(mu, gaussian(5, 0.01), 10.0, rng=rng)


REFUSED = {
    "histogram": (lambda x: jko.Histogram(x, np.full(len(x), 0.1)), gaussian(2), "Particles"),
    "no gradient": (jko.Particles, jko.LogDensity(lambda x: x[:, 0], dim=2), "gradient"),
    "samples": (jko.Particles, jko.Particles([[0.0, 0.0]]), "density as the target"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(rng, case):
    kind, target, message = REFUSED[case]
    with pytest.raises(jko.Unsupported, match=message):
        step(kind(rng.standard_normal((10, 2))), target, 0.1)


def test_a_particle_where_the_target_vanishes_is_named():
    half = jko.LogDensity(
        lambda x: np.where(x[:, 0] > 0, -x[:, 0], -np.inf), lambda x: -np.ones_like(x), 1
    )
    with pytest.raises(jko.InvalidMeasure, match="particle 1"):
        step(jko.Particles([[1.0], [-1.0], [2.0]]), half, 0.1)


def test_an_unadjusted_move_out_of_the_support_breaks_down(rng):
    half = jko.LogDensity(
        lambda x: np.where(x[:, 0] > 0, -x[:, 0], -np.inf), lambda x: -np.ones_like(x), 1
    )
    mu = jko.Particles(rng.exponential(size=(500, 1)))
    with pytest.raises(jko.StepFailed, match="left the support"):
        step(mu, half, 1.0, solver=Langevin(adjusted=False), rng=rng)


def test_auto_points_to_the_random_steps(rng):
    """Nothing random is chosen unasked; the refusal says what there is."""
    mu = jko.Particles(rng.standard_normal((10, 2)))
    with pytest.raises(jko.Unsupported, match=r"jko.solvers.Langevin\(\), or call jko.sample"):
        jko.step(mu, jko.KL(gaussian(2)), jko.Wasserstein(), 0.1)


BAD = {
    "NaN": (lambda x: np.where(x[:, 0] > 1, np.nan, 0.0), lambda x: -x, "nan at point"),
    "values": (lambda x: x, lambda x: -x, "one value per point"),
    "gradient": (lambda x: -(x[:, 0] ** 2), lambda x: -x[:, :1], "gradient returned shape"),
    "infinite": (lambda x: -(x[:, 0] ** 2), lambda x: x / 0.0, "gradient is not finite"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_bad_functions_are_named(rng, case):
    value, slope, message = BAD[case]
    mu = jko.Particles(rng.standard_normal((50, 2)))
    with pytest.raises(jko.InvalidMeasure, match=message):
        step(mu, jko.LogDensity(value, slope, 2), 0.1, rng=rng)


def test_one_particle_and_copies_move(rng):
    """Copies of one point are particles of their own; a weightless one moves with the others."""
    one = step(jko.Particles([[1.0, 2.0]]), gaussian(2), 0.1, rng=rng)
    assert one.success
    copies = jko.Particles(np.ones((30, 2)), np.r_[0.0, np.full(29, 1 / 29)])
    result = step(copies, gaussian(2), 0.1, rng=rng)
    assert result.success
    assert len(np.unique(result.measure.points, axis=0)) > 20
    assert result.measure.weights[0] == 0
