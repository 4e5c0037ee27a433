"""Steps far longer than the flow needs to come to rest: they end at the steady state."""

import numpy as np
import pytest

import jko
from jko.solvers import Euler, Kernelised, ProjectedWeights

W2 = jko.Wasserstein()
CLOUD = np.random.default_rng(0).normal(size=(20, 2)) + 0.5
WELL = jko.Potential(lambda x: 0.5 * ((x - 3) ** 2).sum(1), gradient=lambda x: x - 3)
SOFT = jko.Potential(lambda x: (np.exp(x) - x).sum(1), gradient=lambda x: np.exp(x) - 1)
DOUBLE = jko.Potential(lambda x: ((x**2 - 1) ** 2).sum(1) / 4, gradient=lambda x: x * (x**2 - 1))


def quietly(f):
    """f without a word on overflow."""

    def g(x):
        with np.errstate(over="ignore"):
            return f(x)

    return g


HILL = jko.Potential(quietly(lambda x: -(x**4).sum(1)), gradient=quietly(lambda x: -4 * x**3))


@pytest.mark.parametrize("tau", [1e6, 1e12])
@pytest.mark.parametrize(("energy", "rests"), [(WELL, [3.0]), (SOFT, [0.0]), (DOUBLE, [-1.0, 1.0])])
def test_particles_end_in_a_well(energy, rests, tau):
    sol = jko.flow(jko.Particles(CLOUD), energy, W2, tau=tau, steps=5)
    assert sol.success
    away = np.abs(sol.final.points[..., None] - np.array(rests)).min(axis=-1)
    assert away.max() < 1e-6


def test_particles_end_at_rest_in_mmd():
    target = jko.Particles(np.random.default_rng(1).normal(size=(15, 2)))
    energy = jko.MMDEnergy(target, jko.kernels.Gaussian(1.0))
    sol = jko.flow(jko.Particles(CLOUD[:3]), energy, W2, tau=1e6, steps=4)
    assert sol.success
    sol.verify().raise_if_failed()
    slope = energy.wasserstein_gradient(sol.final)
    assert np.sqrt(sol.final.weights @ (slope**2).sum(1)) < 1e-6


def test_gaussians_end_at_their_steady_state():
    sol = jko.flow(jko.Gaussian([1.0, 2.0], np.eye(2)), jko.Entropy() + WELL, W2, tau=1e6, steps=5)
    assert sol.success
    assert sol.final.mean == pytest.approx([3.0, 3.0], abs=1e-6)
    assert sol.final.cov == pytest.approx(np.eye(2), abs=1e-5)


def test_rest_at_a_place_where_the_gradient_is_rounding():
    """exp(x) - 1 near 0 is a multiple of 2e-16: the residual never falls, the energy neither."""
    sol = jko.flow(jko.Particles(CLOUD), SOFT, W2, tau=1.0, steps=60, save="last")
    assert sol.success
    assert np.abs(sol.final.points).max() < 1e-7


@pytest.mark.parametrize("tau", [1e6, 1e20, 1e200])
def test_projected_weights_of_any_length(tau):
    mu = jko.Particles(CLOUD)
    energy = jko.MMDEnergy(jko.Particles(-CLOUD), jko.kernels.Gaussian(1.0))
    out = jko.step(mu, energy, jko.SphericalHellinger(), tau, solver=ProjectedWeights())
    assert out.success
    assert out.energy < energy.value(mu)


@pytest.mark.parametrize("solver", [Euler(armijo=False), Kernelised()])
def test_leaving_the_domain_is_a_status(solver):
    with pytest.raises(jko.StepFailed, match="where the energy is not defined, reduce tau"):
        jko.flow(jko.Particles(CLOUD), HILL, W2, tau=10.0, steps=9, solver=solver)


@pytest.mark.parametrize("tau", [10.0, 1e3, 1e6])
@pytest.mark.parametrize("length", [1.0, 1e-7])
def test_stiff_wells_with_flat_bottoms(tau, length):
    """Curvatures from 0.01 to 100, quartics: each coordinate solves x + tau (a x + b x^3) = y."""
    rng = np.random.default_rng(2)
    y = rng.normal(size=(4, 8))
    a, b = 10.0 ** rng.uniform(-2, 2, (2, 8)) * (rng.random((2, 8)) < 0.8)
    well = jko.Potential(
        lambda x: (a * (x / length) ** 2 / 2 + b * (x / length) ** 4 / 4).sum(axis=1),
        gradient=lambda x: (a * (x / length) + b * (x / length) ** 3) / length,
    )
    lo, hi = np.minimum(y, 0), np.maximum(y, 0)
    for _ in range(100):
        x = (lo + hi) / 2
        above = x + tau * (a * x + b * x**3) > y
        hi, lo = np.where(above, x, hi), np.where(above, lo, x)
    step = jko.step(jko.Particles(length * y), well, jko.Wasserstein(), tau * length**2)
    assert np.abs(step.measure.points / length - x).max() <= 1e-5 * np.abs(y - x).max()


@pytest.mark.parametrize("tau", [2e6, 1e8])
@pytest.mark.parametrize("seed", [2, 3])
def test_a_few_particles_that_turn_about_one_another(seed, tau):
    """A crowd in a round well: at its rest turning costs nothing but the penalty of a long step."""
    rng = np.random.default_rng(seed)
    mu = jko.Particles(rng.normal(size=(4, 3)), rng.dirichlet(np.ones(4)))
    well = jko.Potential(lambda p: 0.1 * (p**2).sum(axis=1), gradient=lambda p: 0.2 * p)
    energy = jko.Interaction(jko.kernels.Gaussian(1.0)) + well
    found = jko.step(mu, energy, jko.Wasserstein(), tau)
    x, w = found.measure.points, mu.weights[:, None]
    # No turn about the origin shortens the way: x'(w x') is symmetric (the torque vanishes).
    turn = x.T @ (w * mu.points)
    assert np.abs(turn - turn.T).max() <= 1e-5 * np.abs(turn).max()
    force = energy.wasserstein_gradient(found.measure)
    assert np.abs(force).max() <= 10 / tau * np.abs(x - mu.points).max()
