"""Wasserstein-Fisher-Rao flows by splitting, on a grid, against exact Gaussian solutions."""

import numpy as np
import pytest
from test_orders import assert_order, final

import jko
from jko import reference
from jko.flows.plan import Scheme

W = jko.Wasserstein()
GRID = jko.Grid(-4.0, 5.0, 120)
START, TARGET = (1.0, 0.5), (0.0, 0.8)  # mean and variance
END = 0.4


def bell(mean, variance, mass=1.0):
    return jko.GridDensity.from_function(
        lambda x: np.exp(-((x[:, 0] - mean) ** 2) / (2 * variance)), GRID, mass=mass
    )


def exact(time):
    """Mean and variance of the normalised flow (formula G2)."""
    mean, cov = reference.wfr_gaussian_flow(
        [START[0]], [[START[1]]], [TARGET[0]], [[TARGET[1]]], time
    )
    return mean[0], cov[0, 0]


@pytest.mark.parametrize("splitting", ["lie", "strang"])
@pytest.mark.parametrize("mass", [1.0, 2.5])
def test_shape_on_fixed_mass(splitting, mass):
    mean, variance = exact(END)
    density = bell(mean, variance, mass).weights
    mu, energy = bell(*START, mass), jko.KL(bell(*TARGET, mass))

    def errors(tau):
        geometry = W + jko.SphericalHellinger()
        moved = final(mu, energy, geometry, tau, t1=END, splitting=splitting)
        moments = abs(moved.mean[0] - mean) + abs(moved.cov[0, 0] - variance)
        return moments, np.abs(moved.weights - density).sum() / mass

    table = {tau: errors(tau) for tau in (0.1, 0.05, 0.025)}
    order = Scheme(splitting).order(2)
    assert order == 1
    for i in range(2):
        assert_order(lambda tau, i=i: table[tau][i], order)
    assert table[0.025][1] < 6e-3


def test_unsplit_transport_on_a_grid_is_first_order():
    start, target = (1.0, 0.5), (0.0, 0.8)
    mean, std = reference.ou_flow(1.0, 0.5**0.5, END, stiffness=1 / 0.8)

    def error(tau):
        moved = final(bell(*start), jko.KL(bell(*target)), W, tau, t1=END)
        return abs(moved.mean[0] - mean) + abs(moved.cov[0, 0] ** 0.5 - std)

    assert_order(error, 1)


def log_mass_ratio(ratio, times):
    """h' = -(h + KL(nu_t | nu_pi)), h = log(z/z_pi), by the trapezoidal rule on a fine mesh."""
    fine = np.linspace(0.0, times[-1], 401)
    means, variances = np.array([exact(t) for t in fine]).T
    r = variances / TARGET[1]
    kl = 0.5 * (r - 1 - np.log(r) + (means - TARGET[0]) ** 2 / TARGET[1])
    grown = np.exp(fine) * kl
    integral = np.concatenate([[0.0], np.cumsum((grown[1:] + grown[:-1]) / 2 * np.diff(fine))])
    return np.interp(times, fine, np.exp(-fine) * (np.log(ratio) - integral))


@pytest.mark.parametrize("splitting", ["lie", "strang"])
@pytest.mark.parametrize("ratio", [0.3, 1.0, 3.3])
def test_mass_on_the_cone_obeys_its_equation(ratio, splitting):
    z = 1.4
    mu, energy = bell(*START, z * ratio), jko.KL(bell(*TARGET, z))

    def error(tau):
        geometry = W + jko.Hellinger()
        sol = jko.flow(mu, energy, geometry, tau=tau, t1=END, splitting=splitting)
        h = np.log([m.mass / z for m in sol.measures])
        return float(np.abs(h - log_mass_ratio(ratio, sol.times)).max())

    errors = {tau: error(tau) for tau in (0.04, 0.02, 0.01)}
    assert errors[0.01] <= 5e-3
    assert_order(errors.__getitem__, Scheme(splitting).order(2), (0.04, 0.02, 0.01))


def test_shape_does_not_depend_on_the_mass():
    energy, geometry = jko.KL(bell(*TARGET, 1.4)), W + jko.Hellinger()
    shapes = []
    for ratio in (0.3, 3.3):
        moved = final(bell(*START, 1.4 * ratio), energy, geometry, 0.01, t1=END)
        shapes.append(moved.weights / moved.mass)
    assert np.abs(shapes[0] - shapes[1]).sum() < 1e-2  # of the order of tau
