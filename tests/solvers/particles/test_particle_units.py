"""The same step in other units: lengths by L, masses by M, energies by c (formula B2)."""

from dataclasses import dataclass

import numpy as np
import pytest

import jko
from jko.kernels import Energy, Gaussian
from jko.solvers import (
    Euler,
    ExactFlow,
    GaussianForwardBackward,
    GaussianImplicit,
    GaussianMirror,
    Kernelised,
    Lagrangian,
    MixtureTransport,
    MixtureWeights,
    MomentMatching,
    Multiplicative,
    NaturalGradient,
    ProjectedWeights,
    Quantile,
)

W2, SHE = jko.Wasserstein(), jko.SphericalHellinger()
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(12, 2)) + np.array([1.0, 0.5]), RNG.normal(size=(9, 2)) * [0.5, 1.5]
LINE, GOAL = np.sort(RNG.normal(size=(11, 1)), axis=0), RNG.normal(size=(8, 1)) + 0.4
UNEVEN = RNG.uniform(1, 3, 12)
UNITS = [(1.0, 1.0, 1.0)] + [
    unit
    for s in (1e-9, 1e9)
    for unit in [(s, 1.0, 1.0), (1.0, s, 1.0), (1.0, 1.0, s), (s, s, 1 / s)]
]


@dataclass
class Units:
    """Lengths, masses and energies per unit, and the fixtures in them."""

    L: float
    M: float
    c: float

    def cloud(self):
        return jko.Particles(self.L * X, self.M * UNEVEN / UNEVEN.sum())

    def line(self):
        return jko.Particles(self.L * LINE, self.M * UNEVEN[:11] / UNEVEN[:11].sum())

    def target(self, points=Y):
        return jko.Particles(self.L * points, np.full(len(points), self.M / len(points)))

    def normal(self, mean=(1.0, -0.5), cov=((1.0, 0.3), (0.3, 0.5))):
        return jko.Gaussian(self.L * np.array(mean), self.L**2 * np.array(cov), self.M)

    def mixture(self):
        means, covs = np.array([[1.0, 0.0], [-1.0, 0.5]]), np.array([np.eye(2), 0.5 * np.eye(2)])
        w = self.M * np.array([0.3, 0.7])
        return jko.GaussianMixture(self.L * means, self.L**2 * covs, w)

    def well(self):
        """A quartic well with a quadratic part."""
        L = self.L
        return self.c * jko.Potential(
            lambda x: ((x / L) ** 2).sum(1) / 2 + ((x / L) ** 4).sum(1) / 4,
            gradient=lambda x: (x / L + (x / L) ** 3) / L,
        )

    def mmd(self, points=Y):
        return self.c * jko.MMDEnergy(self.target(points), Gaussian(self.L))

    def kl(self):
        return self.c * jko.KL(self.normal((0.0, 0.2), ((0.5, 0.1), (0.1, 2.0))))

    def pull(self):
        L = self.L
        return self.c * jko.Interaction(
            lambda z: np.log1p(((z / L) ** 2).sum(1)),
            gradient=lambda z: 2 * z / L**2 / (1 + ((z / L) ** 2).sum(1))[:, None],
        )


def time(u, lengths=2.0, masses=0.0):
    return 0.3 * u.L**lengths * u.M**masses / u.c


CASES = {
    "lagrangian potential": lambda u: (u.cloud(), u.well(), W2, time(u), Lagrangian()),
    "lagrangian mmd": lambda u: (u.cloud(), u.mmd(), W2, time(u, 2, -1), Lagrangian()),
    "lagrangian pairs": lambda u: (u.cloud(), u.pull(), W2, time(u, 2, -1), Lagrangian()),
    "lagrangian one": lambda u: (
        jko.Particles(u.L * X[:1], [u.M]), u.mmd(), W2, time(u, 2, -1), Lagrangian(),
    ),
    "euler": lambda u: (u.cloud(), u.mmd(), W2, time(u, 2, -1), Euler()),
    "euler fast": lambda u: (u.cloud(), u.mmd(), W2, time(u, 2, -1), Euler(accelerate=True)),
    "euler fixed": lambda u: (u.cloud(), u.well(), W2, 0.1 * time(u), Euler(armijo=False)),
    "quantile entropy": lambda u: (
        u.line(), u.c * jko.Entropy() + u.well(), W2, time(u), Quantile(curvature=0.0),
    ),
    "quantile porous": lambda u: (
        u.line(), u.c * jko.PorousMedium(2), W2, time(u, 3, -1), Quantile(),
    ),
    "quantile local": lambda u: (
        u.line(), u.c * jko.Entropy() + u.well(), W2, time(u), Quantile(),
    ),
    "quantile smooth": lambda u: (
        u.line(),
        u.c * jko.Entropy() + 1 / u.M * u.mmd(GOAL), W2, time(u), Quantile(),
    ),
    "quantile ceiling": lambda u: (
        u.line(), jko.BoxConstraint(0.4 * u.M / u.L) + u.well(), W2, time(u), Quantile(curvature=0),
    ),
    "quantile distance": lambda u: (
        u.line(), u.c * jko.MMDEnergy(u.target(GOAL), Energy()), W2, time(u, 1, -1), Quantile(),
    ),
    "quantile potential": lambda u: (u.line(), u.well(), W2, time(u), Quantile(curvature=0.0)),
    "projected": lambda u: (
        u.cloud(), u.mmd(), jko.MMD(Gaussian(u.L)), time(u, 0), ProjectedWeights(),
    ),
    "multiplicative": lambda u: (u.cloud(), u.mmd(), SHE, time(u, 0, -1), Multiplicative()),
    "multiplicative free": lambda u: (
        u.cloud(), u.mmd(), jko.Hellinger(), time(u, 0, -1), Multiplicative(),
    ),
    "kernelised": lambda u: (
        u.cloud(), u.kl(), W2, time(u, 2, -1), Kernelised(Gaussian(u.L)),
    ),
    "kernelised median": lambda u: (u.cloud(), u.kl(), W2, time(u, 2, -1), Kernelised()),
    "kernelised adaptive": lambda u: (
        u.cloud(), u.kl(), W2, 0.1 * u.L, Kernelised(Gaussian(u.L), adaptive=True),
    ),
    "bures": lambda u: (u.normal(), u.kl(), W2, time(u), "auto"),
    "exact flow": lambda u: (u.normal(), u.kl(), W2, time(u), ExactFlow()),
    "fisher-rao flow": lambda u: (u.normal(), u.kl(), SHE, time(u, 0), ExactFlow()),
    "implicit": lambda u: (
        u.normal(), u.c * jko.Entropy() + u.well(), W2, time(u), GaussianImplicit(),
    ),
    "forward-backward": lambda u: (
        u.normal(), u.c * jko.Entropy() + u.well(), W2, 0.1 * time(u), GaussianForwardBackward(),
    ),
    "natural": lambda u: (
        u.normal(), u.c * jko.Entropy() + u.well(), SHE, time(u, 0), NaturalGradient(),
    ),
    "mirror": lambda u: (
        u.normal(), u.c * jko.Entropy() + u.well(),
        jko.Divergence(p=1, mass="fixed"), time(u, 0), GaussianMirror(),
    ),
    "moments": lambda u: (
        u.normal(), u.c * jko.InclusiveKL(u.target()),
        jko.Divergence(p=0, mass="fixed"), time(u, 0), MomentMatching(),
    ),
    "mixture transport": lambda u: (
        u.mixture(), u.c * jko.Entropy() + u.well(), W2, 0.1 * time(u), MixtureTransport(),
    ),
    "mixture weights": lambda u: (
        u.mixture(), u.c * jko.Entropy() + u.well(), SHE, time(u, 0), MixtureWeights(),
    ),
}  # fmt: skip


def coordinates(mu, u):
    """Positions and weights in the units of the first line of `UNITS`."""
    if isinstance(mu, jko.Particles):
        return np.concatenate([(mu.points / u.L).ravel(), mu.weights / u.M])
    if isinstance(mu, jko.Gaussian):
        parts = [mu.mean / u.L, mu.cov.ravel() / u.L**2, [mu.mass / u.M]]
    else:
        weights, means, covs = mu.components
        parts = [weights / u.M, means.ravel() / u.L, covs.ravel() / u.L**2]
    return np.concatenate(parts)


def run(name, unit):
    u = Units(*unit)
    mu, energy, geometry, tau, solver = CASES[name](u)
    sol = jko.flow(mu, energy, geometry, tau=tau, steps=3, solver=solver)
    assert sol.success
    sol.verify().raise_if_failed()
    return coordinates(sol.measures[0], u), coordinates(sol.final, u)


@pytest.mark.parametrize("name", CASES)
def test_every_step_is_the_same_in_any_unit(name):
    start, right = run(name, UNITS[0])
    motion = np.abs(right - start).max()
    assert motion > 1e-3
    for unit in UNITS[1:]:
        found = run(name, unit)[1]
        assert np.abs(found - right).max() <= 1e-6 * motion, (name, unit)


@pytest.mark.parametrize("weights", ["projected", "multiplicative", "fixed"])
def test_matching_is_the_same_in_any_unit(weights):
    out = []
    for unit in UNITS:
        u = Units(*unit)
        sol = jko.match(u.cloud(), u.target(), u.c * Gaussian(u.L), steps=10, weights=weights)
        assert sol.success
        out.append(coordinates(sol.final, u))
    assert max(np.abs(found - out[0]).max() for found in out) <= 1e-8


def test_a_flow_in_a_small_unit_contracts():
    """Each step divides by 1 + tau, at the scale of 100 nm."""
    x = 1e-7 * np.random.default_rng(0).normal(size=(50, 2))
    well = jko.Potential(lambda x: 0.5 * (x**2).sum(1), gradient=lambda x: x)
    sol = jko.flow(jko.Particles(x), well, W2, tau=0.1, steps=50, save="last")
    assert sol.final.points == pytest.approx(x / 1.1**50, rel=1e-4)
