"""Proximal steps with their exact answer, from the page of formulas, written out plainly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import jko
from generators import measures


@dataclass(frozen=True)
class Exact:
    """A step and the weights (or the Gaussian) it must return."""

    name: str
    problem: jko.ProxProblem
    answer: jko.Histogram | jko.Gaussian


def mmd_mixture(tau: float = 0.7, mass: str = "fixed", factor: float = 1.0) -> Exact:
    """M1: (c eta pi + m')/(c eta + 1)."""
    mu = measures.histogram(seed=1, mass=2.0)
    pi = measures.sibling(mu, seed=2, mass=2.0 if mass == "fixed" else 3.0)
    k = jko.kernels.Gaussian(0.8)
    energy = factor * jko.MMDEnergy(pi, k)
    w = (factor * tau * pi.weights + mu.weights) / (factor * tau + 1)
    problem = jko.ProxProblem(energy, jko.MMD(k, mass=mass), mu, tau)
    return Exact(f"M1-{mass}", problem, mu.with_weights(w))


def hellinger_inclusive(tau: float = 0.7) -> Exact:
    """H2b: a quadratic equation for the square root of each weight."""
    mu = measures.histogram(seed=3, mass=2.0)
    pi = measures.sibling(mu, seed=4, mass=1.5)
    a = 2 / tau
    root = a * np.sqrt(mu.weights) + np.sqrt(a**2 * mu.weights + 4 * (1 + a) * pi.weights)
    s = root / (2 * (1 + a))
    problem = jko.ProxProblem(jko.InclusiveKL(pi), jko.Hellinger(), mu, tau)
    return Exact("H2b", problem, mu.with_weights(s**2))


def hellinger_half(tau: float = 0.7) -> Exact:
    """H2d: the square roots are averaged."""
    mu = measures.histogram(seed=5, mass=2.0)
    pi = measures.sibling(mu, seed=6, mass=1.5)
    s = (np.sqrt(mu.weights) + tau * np.sqrt(pi.weights)) / (1 + tau)
    problem = jko.ProxProblem(jko.PhiDivergence(pi, p=0.5), jko.Hellinger(), mu, tau)
    return Exact("H2d", problem, mu.with_weights(s**2))


def hellinger_linear(tau: float = 0.7) -> Exact:
    """H2e: m'/(1 + tau V/2)^2."""
    mu = measures.histogram(seed=7, mass=2.0)
    v = np.linspace(-1.5, 3.0, mu.n)
    problem = jko.ProxProblem(jko.Potential(v), jko.Hellinger(), mu, tau)
    return Exact("H2e", problem, mu.with_weights(mu.weights / (1 + tau * v / 2) ** 2))


def hellinger_hard_case() -> Exact:
    """H2, fixed mass: the missing mass sits on the empty atom of least potential."""
    mu = jko.Histogram([[0.0], [1.0], [2.0]], [0.0, 0.5, 0.5])
    energy = jko.Potential([0.0, 1.0, 2.0])
    problem = jko.ProxProblem(energy, jko.Hellinger(mass="fixed"), mu, 4.0)
    return Exact("H2-hard", problem, mu.with_weights([0.84375, 0.125, 0.03125]))


def gaussian_flow(tau: float = 0.7) -> Exact:
    """W3 along each axis: KL to N(a, 1/kap) has D = 1."""
    mean, std = np.array([2.0, -1.0]), np.array([0.5, 3.0])
    at, kap = np.array([0.3, 0.1]), np.array([1.0, 4.0])
    target = jko.Gaussian(at, np.diag(1 / kap))
    new_mean = (mean + tau * kap * at) / (1 + tau * kap)
    new_std = (std + np.sqrt(std**2 + 4 * tau * (1 + tau * kap))) / (2 * (1 + tau * kap))
    before = jko.Gaussian(mean, np.diag(std**2))
    problem = jko.ProxProblem(jko.KL(target), jko.Wasserstein(), before, tau)
    return Exact("W3", problem, jko.Gaussian(new_mean, np.diag(new_std**2)))


EXACT = [
    mmd_mixture(),
    mmd_mixture(mass="free"),
    mmd_mixture(factor=2.5),
    hellinger_inclusive(),
    hellinger_half(),
    hellinger_linear(),
    hellinger_hard_case(),
    gaussian_flow(),
]
