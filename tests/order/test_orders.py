"""Orders in tau, measured against exact flows and held to what `Scheme.order` declares."""

import numpy as np
import pytest
from generators import measures

import jko
from jko import reference
from jko.flows.plan import Scheme

W = jko.Wasserstein()
ALL = [(s, c) for s in ("lie", "strang") for c in ("implicit", "midpoint")]
TAUS = (0.1, 0.05, 0.025)


def measured_order(error, taus=TAUS):
    """Slope of log error against log tau over the last two step lengths."""
    errors = [error(tau) for tau in taus]
    assert errors == sorted(errors, reverse=True)
    return float(np.log(errors[-2] / errors[-1]) / np.log(taus[-2] / taus[-1]))


def assert_order(error, declared, taus=TAUS):
    assert measured_order(error, taus) == pytest.approx(declared, abs=0.15)


def final(mu, energy, geometry, tau, t1=1.0, **settings):
    return jko.flow(mu, energy, geometry, tau=tau, t1=t1, save="last", **settings).final


# -- one geometry: the proximal step is first order, the implicit midpoint rule second -----------


@pytest.mark.parametrize("scheme", ["implicit", "midpoint"])
def test_bures_steps_against_the_exact_ornstein_uhlenbeck_flow(scheme):
    start, target = jko.Gaussian([2.0], [[0.3]]), jko.Gaussian([0.5], [[0.5]])
    mean, std = reference.ou_flow(2.0, 0.3**0.5, 1.0, diffusion=1.0, stiffness=2.0, centre=0.5)

    def error(tau):
        g = final(start, jko.KL(target), W, tau, scheme=scheme)
        return abs(g.mean[0] - mean) + abs(g.cov[0, 0] ** 0.5 - std)

    assert_order(error, Scheme("lie", scheme).order(1))


@pytest.mark.parametrize("scheme", ["implicit", "midpoint"])
def test_bures_steps_in_two_dimensions(scheme):
    # No axes in common: the exact covariance is S* + E (S_0 - S*) E, E = exp(-t S*^{-1}).
    start, target = measures.gaussian(2, seed=1), measures.gaussian(2, seed=2)
    values, basis = np.linalg.eigh(target.cov)
    decay = (basis * np.exp(-0.4 / values)) @ basis.T
    mean = target.mean + decay @ (start.mean - target.mean)
    cov = target.cov + decay @ (start.cov - target.cov) @ decay

    def error(tau):
        g = final(start, jko.KL(target), W, tau, t1=0.4, scheme=scheme)
        return np.abs(g.mean - mean).max() + np.abs(g.cov - cov).max()

    assert_order(error, Scheme("lie", scheme).order(1), (0.05, 0.025, 0.0125))


PENDULUM = jko.Potential(lambda x: -np.cos(x[:, 0]), gradient=np.sin)


@pytest.mark.parametrize("scheme", ["implicit", "midpoint"])
def test_particles_in_a_periodic_potential(scheme):
    # x' = -sin x: tan(x/2) decays as e^{-t}.
    mu = jko.Particles(np.linspace(-2.5, 2.0, 9)[:, None], np.arange(1.0, 10.0))
    exact = 2 * np.arctan(np.tan(mu.points / 2) * np.exp(-1.0))

    def error(tau):
        moved = final(mu, PENDULUM, W, tau, scheme=scheme, tol=1e-11)
        return np.abs(moved.points - exact).max()

    assert_order(error, Scheme("lie", scheme).order(1))


REACTIONS = {
    "Hellinger KL": (jko.Hellinger(), 1.0),
    "Hellinger inclusive": (jko.Hellinger(), 0.0),
    "Hellinger p=1/2": (jko.Hellinger(), 0.5),
    "Hellinger p=2": (jko.Hellinger(), 2.0),
    "spherical": (jko.SphericalHellinger(), 1.0),
    "Hellinger fixed": (jko.Hellinger(mass="fixed"), 1.0),
}


@pytest.mark.parametrize("scheme", ["implicit", "midpoint"])
@pytest.mark.parametrize("name", sorted(REACTIONS))
def test_reactions_against_their_exact_flow(name, scheme):
    geometry, p = REACTIONS[name]
    mu = measures.histogram(seed=3, zeros=0)
    pi = measures.sibling(mu, seed=4, zeros=0, mass=1.0 if geometry.conserves_mass else 1.7)
    kind = "fixed" if geometry.conserves_mass else "free"
    exact = reference.hellinger_flow(mu.weights, pi.weights, 1.0, p, kind)

    def error(tau):
        moved = final(mu, jko.PhiDivergence(pi, p=p), geometry, tau, scheme=scheme)
        return np.abs(moved.weights - exact).sum()

    assert_order(error, Scheme("lie", scheme).order(1))


@pytest.mark.parametrize("mass", ["fixed", "free"])
@pytest.mark.parametrize("scheme", ["implicit", "midpoint"])
def test_mmd_steps_against_the_exponential(mass, scheme):
    # mu_t = pi + e^{-t} (mu_0 - pi) for the energy of the geometry's own kernel.
    kernel = jko.kernels.Gaussian(0.8)
    mu = measures.histogram(seed=3)
    pi = measures.sibling(mu, seed=4, zeros=0, mass=1.0 if mass == "fixed" else 1.7)
    exact = pi.weights + np.exp(-1.0) * (mu.weights - pi.weights)

    def error(tau):
        energy, geometry = jko.MMDEnergy(pi, kernel), jko.MMD(kernel, mass=mass)
        return np.abs(final(mu, energy, geometry, tau, scheme=scheme).weights - exact).sum()

    assert_order(error, Scheme("lie", scheme).order(1))


# -- two geometries: Strang is second order with midpoint sub-steps only ---------------------------

CLOUD = jko.Particles(np.linspace(-2.0, 1.5, 8)[:, None], np.arange(1.0, 9.0) / 36)
WELL = jko.Potential(lambda x: 0.5 * x[:, 0] ** 2, gradient=lambda x: x)


@pytest.mark.parametrize("reaction", [jko.Hellinger(), jko.SphericalHellinger()], ids=repr)
@pytest.mark.parametrize(("splitting", "scheme"), ALL)
def test_transport_and_reaction_of_particles_in_a_well(splitting, scheme, reaction):
    # x = x_0 e^{-at}; log w falls by b int x^2/2 dt (up to the normalisation on P).
    alpha, beta = 0.7, 1.5
    points = CLOUD.points * np.exp(-alpha)
    lost = beta * CLOUD.points[:, 0] ** 2 / (4 * alpha) * (1 - np.exp(-2 * alpha))
    weights = CLOUD.weights * np.exp(-lost)
    if reaction.conserves_mass:
        weights *= CLOUD.mass / weights.sum()
    geometry = alpha * W + beta * reaction

    def error(tau):
        settings = {"splitting": splitting, "scheme": scheme, "tol": 1e-11}
        moved = final(CLOUD, WELL, geometry, tau, **settings)
        return np.abs(moved.points - points).max() + np.abs(moved.weights - weights).max()

    assert_order(error, Scheme(splitting, scheme).order(2))


SLOPE = jko.Potential(lambda x: -0.8 * x[:, 0], gradient=lambda x: np.full_like(x, -0.8))


@pytest.mark.parametrize(("splitting", "scheme"), ALL)
def test_energies_split_over_the_geometries(splitting, scheme):
    # A well in the first geometry, a slope in the second: x' = 0.8 - x.
    exact = 0.8 + (CLOUD.points - 0.8) * np.exp(-1.0)

    def error(tau):
        settings = {"splitting": splitting, "scheme": scheme, "tol": 1e-11}
        moved = final(CLOUD, (WELL, SLOPE), W + 1.0 * W, tau, **settings)
        return np.abs(moved.points - exact).max()

    assert_order(error, Scheme(splitting, scheme).order(2))


def test_three_geometries_in_strang_with_midpoint_are_second_order():
    # The rates add up; the parts do not commute.
    lift = jko.Potential(lambda x: 0.3 * np.cos(x[:, 0]), gradient=lambda x: -0.3 * np.sin(x))
    energies, geometry = (WELL, SLOPE, lift), W + (W + W)
    fine = final(
        CLOUD, energies, geometry, 0.1 / 16, splitting="strang", scheme="midpoint", tol=1e-11
    )

    def error(tau, scheme):
        settings = {"splitting": "strang", "scheme": scheme, "tol": 1e-11}
        moved = final(CLOUD, energies, geometry, tau, **settings)
        return np.abs(moved.points - fine.points).max()

    assert_order(lambda tau: error(tau, "midpoint"), Scheme("strang", "midpoint").order(3))
    assert_order(lambda tau: error(tau, "implicit"), Scheme("strang", "implicit").order(3))


# -- equilibria ------------------------------------------------------------------------------------


def drift(mu, energy, geometry, **settings):
    """How far 20 steps carry a measure from where it started."""
    moved = final(mu, energy, geometry, 0.2, t1=4.0, **settings)
    return max(np.abs(moved.points - mu.points).max(), np.abs(moved.weights - mu.weights).max())


KERNEL = jko.kernels.Gaussian(0.8)
REST = jko.Particles(np.full((3, 1), 0.8), [0.2, 0.3, 0.5])


@pytest.mark.parametrize(("splitting", "scheme"), ALL)
def test_one_energy_keeps_its_equilibrium(splitting, scheme):
    settings = {"splitting": splitting, "scheme": scheme}
    assert Scheme(splitting, scheme).preserves_equilibrium(shared_energy=True)
    assert drift(REST, WELL + SLOPE, W + jko.SphericalHellinger(), **settings) < 1e-6
    pi = measures.particles(12, seed=5, zeros=0)
    assert drift(pi, jko.MMDEnergy(pi, KERNEL), W + jko.MMD(KERNEL), **settings) < 1e-6
    grid = jko.Grid(-4.0, 4.0, 60)
    bell = jko.GridDensity.from_function(lambda x: np.exp(-(x[:, 0] ** 2)), grid, mass=1.3)
    reactions = jko.Hellinger() + jko.SphericalHellinger() + jko.Hellinger(mass="fixed")
    assert drift(bell, jko.KL(bell), reactions, **settings) < 1e-9
    if scheme == "implicit":  # debiased entropic transport
        assert drift(bell, jko.KL(bell), W + jko.SphericalHellinger(), **settings) < 1e-7


@pytest.mark.parametrize(("splitting", "scheme"), ALL)
def test_split_energies_lose_it(splitting, scheme):
    # x' = (0.8 - ...) rests at 0.8 only where the two halves see the same point.
    settings = {"splitting": splitting, "scheme": scheme}
    assert not Scheme(splitting, scheme).preserves_equilibrium(shared_energy=False)
    assert drift(REST, (WELL, SLOPE), W + W, **settings) > 1e-3


def test_the_plain_entropic_step_loses_it():
    grid = jko.Grid(-4.0, 4.0, 60)
    bell = jko.GridDensity.from_function(lambda x: np.exp(-(x[:, 0] ** 2)), grid, mass=1.3)
    plain = jko.solvers.Entropic(reg=0.05, debias=False)
    debiased = jko.solvers.Entropic(reg=0.05)
    assert drift(bell, jko.KL(bell), W, solver=plain) > 1e-3
    assert drift(bell, jko.KL(bell), W, solver=debiased) < 1e-7
