"""Two flows of the talk in the plane, where the axes do not decouple."""

import numpy as np
from scipy.integrate import solve_ivp

import jko
from jko import reference

TAUS, TIME = (0.1, 0.05, 0.025), 0.4
W = jko.Wasserstein()


def orders(errors):
    return np.log2(np.divide(errors[:-1], errors[1:]))


def normal(x, mean, cov):
    z = x - mean
    quadratic = np.einsum("ij,jk,ik->i", z, np.linalg.inv(cov), z)
    return np.exp(-quadratic / 2) / (2 * np.pi * np.sqrt(np.linalg.det(cov)))


def run(mu, energy, geometry, tau, **settings):
    """The last measure of a flow that keeps its promises."""
    sol = jko.flow(mu, energy, geometry, tau=tau, t1=TIME, **settings)
    for nu in sol.measures:
        assert abs(nu.mass - mu.mass) < 1e-12
        assert nu.weights.min() >= 0
    assert (np.diff(sol.energies) < 0).all()
    return sol.final


def test_wfr_of_kl_between_tilted_gaussians():
    # Formula G2; covariances without a common axis.
    start = np.array([1.0, -0.5]), np.array([[0.5, 0.2], [0.2, 0.35]])
    end = np.array([0.0, 0.3]), np.array([[0.9, -0.3], [-0.3, 0.6]])
    grid = jko.Grid([-4.0, -4.0], [4.0, 4.0], [48, 48])
    bell = lambda g: jko.GridDensity.from_function(lambda x: normal(x, *g), grid, mass=1.0)
    exact = bell(reference.wfr_gaussian_flow(*start, *end, TIME))
    errors = []
    for tau in TAUS:
        found = run(bell(start), jko.KL(bell(end)), W + jko.SphericalHellinger(), tau)
        errors.append(np.abs(found.weights - exact.weights).sum())
    assert np.abs(orders(errors) - 1).max() < 0.1
    assert errors[-1] < 7.5e-3


ALPHA, BETA = 1.3, 0.7


def hill(x):
    """A tilted hill on flat ground, where pi/mu stays moderate."""
    z = x - np.array([0.5, -0.3])
    return 0.02 + 0.15 * np.exp(-2 * z[:, 0] ** 2 - 1.5 * z[:, 1] ** 2 + 1.5 * z[:, 0] * z[:, 1])


def ridge(x):
    z = x + np.array([0.3, -0.2])
    return 0.02 + 0.12 * np.exp(-(z[:, 0] ** 2) - 2 * z[:, 1] ** 2) * (
        1 + 0.5 * np.sin(2 * z[:, 1])
    )


def by_cosines(points, half_width, n=30):
    """mu_t = alpha div(pi grad log mu - grad pi) - beta (mu - pi), at points (k, 2).

    Densities as series of cosines, which close the box; fluxes are series of sines.
    """
    wave = np.pi / (2 * half_width) * np.arange(n)
    axis = (np.arange(n) + 0.5) * (2 * half_width / n)
    cosines, sines = np.cos(axis[:, None] * wave), np.sin(axis[:, None] * wave)
    analysis = np.linalg.inv(cosines)
    slope_of_even = -(sines * wave) @ analysis
    slope_of_odd = (cosines * wave) @ np.linalg.pinv(sines)
    mesh = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2) - half_width
    pi = ridge(mesh).reshape(n, n)

    def change(_, state):
        log = state.reshape(n, n)
        mu = np.exp(log)
        along = pi * (slope_of_even @ log) - slope_of_even @ pi
        across = pi * (log @ slope_of_even.T) - pi @ slope_of_even.T
        spread = slope_of_odd @ along + across @ slope_of_odd.T
        return ((ALPHA * spread - BETA * (mu - pi)) / mu).ravel()

    found = solve_ivp(change, (0.0, TIME), np.log(hill(mesh)), rtol=1e-6, max_step=2e-3)
    assert found.success
    modes = analysis @ np.exp(found.y[:, -1]).reshape(n, n) @ analysis.T
    x, y = (np.cos((points[:, i, None] + half_width) * wave) for i in (0, 1))
    return np.einsum("ij,jk,ik->i", x, modes, y)


def test_wfr_of_inclusive_kl_against_a_series_of_cosines():
    half = 3.5
    grid = jko.Grid([-half, -half], [half, half], [40, 40])
    mu = jko.GridDensity.from_function(hill, grid)
    pi = jko.GridDensity.from_function(ridge, grid)
    exact = by_cosines(grid.points, half) * grid.cell_volume
    energy, geometry = jko.InclusiveKL(pi), ALPHA * W + BETA * jko.Hellinger()
    errors = []
    for tau in TAUS:
        sol = jko.flow(mu, energy, geometry, tau=tau, t1=TIME)
        assert all(nu.weights.min() >= 0 for nu in sol.measures)
        assert (np.diff(sol.energies) < 0).all()
        errors.append(np.abs(sol.final.weights - exact).sum())
    assert np.abs(orders(errors) - 1).max() < 0.1, errors
    assert errors[-1] < 4.5e-3, errors
