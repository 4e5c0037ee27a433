"""The errata of the source talk (docs/concepts.md), each decided by a computation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jko.energies import PhiDivergence, Potential
from jko.energies.base import Energy
from jko.flows.splitting import split_step
from jko.geometries import Hellinger, Wasserstein
from jko.identity import Identity, max_of
from jko.measures import Histogram, Particles
from jko.solvers.step import step
from jko.validation import Array
from jko.verify import problems
from jko.verify.orders import TAUS, order

Stepper = Callable[..., Any]


def transport_sign(*, tau: float = 0.1, take: Stepper = step) -> Identity:
    """mu_t = + div(mu grad f): with V = |x|^2/2 a step divides the mean by 1 + tau (erratum 1)."""
    cloud = Particles(np.array([[-0.5, 1.0], [2.0, 0.3], [1.0, -0.2]]), [0.2, 0.5, 0.3])
    after = take(cloud, problems.well(), Wasserstein(), tau).measure
    rhs = cloud.mean / (1 + tau)
    residual = float(np.abs(after.mean - rhs).max())
    statement = "Wasserstein flow mu_t = + div(mu grad f): the mean of a well decays (erratum 1)"
    return Identity("erratum-1", statement, float(after.mean[0]), float(rhs[0]), residual, 1e-6)


def geodesic_signs(*, sign: float = 1.0) -> Identity:
    """mu_t = -mu xi goes with xi_t = + xi^2/2: on one atom from 1 to 4 the action is 4 (erratum 2).

    `sign` multiplies xi^2/2; -1 is the mixed pair of the talk, whose action is 14/3.
    """
    from scipy.integrate import solve_ivp
    from scipy.optimize import brentq

    def run(xi: float) -> tuple[float, float]:
        """Mass at time 1 and action of the path that leaves mass 1 with xi."""

        def rhs(_: float, y: Array) -> list[float]:
            return [-y[0] * y[1], sign * y[1] ** 2 / 2, y[0] * y[1] ** 2]

        y = solve_ivp(rhs, (0, 1), [1.0, xi, 0.0], rtol=1e-11, atol=1e-12).y[:, -1]
        return float(y[0]), float(y[2])

    start = brentq(lambda xi: run(xi)[0] - 4, -2.5, -0.5, xtol=1e-12)
    found = run(start)[1]
    atom = Histogram(np.zeros((1, 1)), np.ones(1))
    expected = Hellinger().sqdistance(atom, atom.with_weights([4.0]))
    statement = "mu_t = -mu xi goes with xi_t = + xi^2/2: action He^2 (erratum 2)"
    return Identity("erratum-2", statement, found, expected, abs(found - expected), 1e-8)


def halves(*, energy: Callable[[Histogram, float], Energy] = PhiDivergence) -> Identity:
    """D_2 = chi^2/2 and D_{1/2} = He^2/2 (erratum 3)."""
    target, mu = problems.shared(20, seed=3, zeros=0, masses=(1.0, 1.7))
    chi2 = float(((mu.weights - target.weights) ** 2 / target.weights).sum())
    he2 = Hellinger().sqdistance(mu, target)
    two, half = energy(target, 2.0).value(mu), energy(target, 0.5).value(mu)
    residual = max_of([abs(two - chi2 / 2) / two, abs(half - he2 / 2) / half])
    statement = "D_2 = chi^2/2 and D_1/2 = He^2/2 (erratum 3)"
    return Identity("erratum-3", statement, two, chi2 / 2, residual, 1e-12)


def step_lengths(*, alpha: float = 0.7, beta: float = 2.5, take: Stepper = split_step) -> Identity:
    """tau_W = alpha dt and eta = beta dt: split steps have the rates of the sum (erratum 5).

    One atom in the well |x|^2/2 under alpha Wasserstein() + beta Hellinger() for time 1:
    x_t = x_0 e^{-alpha t}, w_t = w_0 exp(-beta x_0^2 (1 - e^{-2 alpha t})/(4 alpha)).
    """
    x0, geometry = 1.2, alpha * Wasserstein() + beta * Hellinger()
    energy: Potential = problems.well()
    x1 = x0 * np.exp(-alpha)
    w1 = np.exp(-beta * x0**2 * (1 - np.exp(-2 * alpha)) / (4 * alpha))

    def error(tau: float) -> float:
        mu = Particles([[x0]], [1.0])
        for _ in range(round(1 / tau)):
            mu = take(mu, energy, geometry, tau, tol=1e-10).measure
        return float(abs(mu.points[0, 0] - x1) + abs(mu.weights[0] - w1))

    return order("tau_W = alpha dt, eta = beta dt (erratum 5): the split flow", 1.0, error, TAUS)
