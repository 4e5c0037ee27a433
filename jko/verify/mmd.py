"""Identities of the MMD geometry (formulas M2 to M6, M8)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jko.energies import InclusiveKL, MMDEnergy
from jko.energies.base import Energy
from jko.flows.driver import flow
from jko.geometries import MMD, Hellinger, Wasserstein
from jko.geometries.base import Geometry
from jko.identity import Identity, max_of
from jko.kernels import Kernel
from jko.measures.base import Discrete, Measure
from jko.solvers.rules import Solver
from jko.solvers.step import step
from jko.validation import Array
from jko.verify.actions import action, integrate
from jko.verify.orders import SLACK, measured_order

Stepper = Callable[..., Any]


def mmd(kernel: Kernel, a: Measure, b: Measure) -> float:
    """MMD(a, b)."""
    return float(np.sqrt(np.maximum(kernel.mmd2(a, b), 0.0)))


def _solve(gram: Array, f: Array) -> Array:
    """K^{-1} f, for a kernel whose Gram matrix can be inverted."""
    return np.asarray(np.linalg.solve(gram, f), dtype=float)


def contraction(
    target: Discrete,
    previous: Discrete,
    *,
    kernel: Kernel,
    eta: float = 0.5,
    solver: Solver = "auto",
    take: Stepper = step,
) -> Identity:
    """MMD(mu_+, pi) = MMD(m', pi)/(1+eta), exactly (formula M2)."""
    energy = MMDEnergy(target, kernel)
    after = take(previous, energy, MMD(kernel), eta, solver=solver).measure
    before = mmd(kernel, previous, target)
    lhs, rhs = mmd(kernel, after, target) / before, 1 / (1 + eta)
    statement = "an MMD step contracts MMD to the target by exactly 1/(1+eta) (M2)"
    return Identity("mmd-contraction", statement, lhs, rhs, abs(lhs - rhs), 1e-8)


def implicit_decay(
    target: Discrete,
    previous: Discrete,
    *,
    kernel: Kernel,
    eta: float = 0.5,
    steps: int = 8,
    run: Stepper = flow,
) -> Identity:
    """MMD_k = (1+eta)^{-k} MMD_0 without transport, above continuous e^{-eta k} (formula M5)."""
    energy = MMDEnergy(target, kernel)
    sol = run(previous, energy, MMD(kernel), tau=eta, steps=steps)
    start = mmd(kernel, previous, target)
    ratio = np.array([mmd(kernel, mu, target) / start for mu in sol.measures[1:]])
    k = np.arange(1, steps + 1)
    equality = float(np.abs(ratio * (1 + eta) ** k - 1).max())
    below = float(np.maximum(np.exp(-eta * k) - ratio, 0).max())
    statement = "MMD flow: MMD_k = (1+eta)^-k MMD_0, which exceeds e^(-eta k) MMD_0 (M5)"
    rhs = float((1 + eta) ** -steps)
    return Identity("mmd-decay", statement, float(ratio[-1]), rhs, max_of([equality, below]), 1e-7)


def interaction_force_bound(
    target: Discrete,
    previous: Discrete,
    *,
    kernel: Kernel,
    eta: float = 0.3,
    steps: int = 6,
    tau: float = 0.1,
    solver: Solver = "auto",
    run: Stepper = flow,
) -> Identity:
    """Transport and MMD steps in turn: MMD_k <= (1+eta)^{-k} MMD_0 (formula M5).

    Needs an MMD step that may charge the target's atoms (a common support, or
    `SimplexQP(support="union")`) and transport steps that do not increase the energy.
    """
    energy = MMDEnergy(target, kernel)
    geometry = Wasserstein() + (eta / tau) * MMD(kernel)
    sol = run(previous, energy, geometry, tau=tau, steps=steps, solver=solver)
    start = mmd(kernel, previous, target)
    ratio = np.array([mmd(kernel, mu, target) / start for mu in sol.measures[1:]])
    share = ratio * (1 + eta) ** np.arange(1, steps + 1)
    statement = "interaction-force transport: MMD_k <= (1+eta)^-k MMD_0 (M5)"
    rhs = float((1 + eta) ** -steps)
    excess = max_of([0.0, float(share.max()) - 1])
    return Identity("ift-bound", statement, float(ratio[-1]), rhs, excess, 1e-8)


def same_flow(
    target: Discrete,
    previous: Discrete,
    *,
    kernel: Kernel,
    time: float = 1.0,
    inclusive: Energy | None = None,
    energy: Energy | None = None,
) -> Identity:
    """The Hellinger flow of KL(pi|.) and the MMD flow of 1/2 MMD^2 are one ODE (formula M3).

    Both are integrated from their definitions, mu_t = -mu f and mu_t = -K^{-1} f, with a kernel
    whose Gram matrix can be inverted, and compared with pi + (m' - pi) e^{-t}.
    """
    first = InclusiveKL(target) if inclusive is None else inclusive
    second = MMDEnergy(target, kernel) if energy is None else energy
    gram = kernel.positive_gram(previous.points)
    ends = [
        integrate(lambda mu: -mu.weights * first.first_variation(mu), previous, time),
        integrate(lambda mu: -_solve(gram, second.first_variation(mu)), previous, time),
    ]
    exact = target.weights + (previous.weights - target.weights) * np.exp(-time)
    worst = max_of(float(np.abs(w - exact).sum()) for w in ends)
    between = float(np.abs(ends[0] - ends[1]).sum())
    statement = "Hellinger flow of KL(pi|.) = MMD flow of 1/2 MMD^2: mu_t = -(mu - pi) (M3)"
    return Identity("same-flow", statement, between, 0.0, worst, 1e-8)


def implicit_steps_differ(
    target: Discrete,
    previous: Discrete,
    *,
    kernel: Kernel,
    taus: Sequence[float] = (0.02, 0.01, 0.005),
    take: Stepper = step,
) -> Identity:
    """Their implicit steps differ, at second order in the step length (formula M3)."""
    gaps = []
    for tau in taus:
        one = take(previous, InclusiveKL(target), Hellinger(), tau).measure
        two = take(previous, MMDEnergy(target, kernel), MMD(kernel), tau).measure
        gaps.append(float(np.abs(one.weights - two.weights).sum()))
    found = measured_order(gaps, taus) if min(gaps) > 0 else np.inf
    statement = "yet their implicit steps differ, by O(tau^2) (M3)"
    return Identity("steps-differ", statement, found, 2.0, abs(found - 2), SLACK)


def force_norm(
    target: Discrete, mu: Discrete, *, kernel: Kernel, energy: Energy | None = None
) -> Identity:
    """On P the force f = K(mu - pi) has int K^{-1} f = 0 and |f|_H^2 = 2 F (formula M4)."""
    functional = MMDEnergy(target, kernel) if energy is None else energy
    f = functional.first_variation(mu)
    source = _solve(kernel(mu.points), f)
    norm, twice = float(f @ source), 2 * functional.value(mu)
    residual = max_of([abs(norm - twice) / twice, abs(float(source.sum()))])
    statement = "f = K(mu-pi): int K^-1 f = 0 and |f|_H^2 = 2 F (M4)"
    return Identity("force-norm", statement, norm, twice, residual, 1e-9)


def inclusive_velocity(
    target: Discrete,
    mu: Discrete,
    *,
    kernel: Kernel,
    inclusive: Energy | None = None,
    energy: Energy | None = None,
) -> Identity:
    """Kernelising the inclusive-KL force gives the MMD force (formula M6).

    int k(z, .) (1 - dpi/dmu)(z) dmu(z) = K(mu - pi).
    """
    first = InclusiveKL(target) if inclusive is None else inclusive
    second = MMDEnergy(target, kernel) if energy is None else energy
    lhs = kernel(mu.points) @ (mu.weights * first.first_variation(mu))
    rhs = second.first_variation(mu)
    worst = float(np.abs(lhs - rhs).max())
    statement = "the kernelised inclusive-KL force is the MMD force (M6)"
    size = float(np.abs(lhs).max())
    return Identity("kernel-force", statement, size, float(np.abs(rhs).max()), worst, 1e-12)


def straight_geodesic(
    a: Discrete, b: Discrete, *, kernel: Kernel, geometry: Geometry | None = None, seed: int = 0
) -> Identity:
    """The dynamic form of MMD: least action int |xi|_H^2 dt, mu_t = -mu K_mu^{-1} xi (formula M8).

    The action of the geometry's geodesic is MMD^2, and other paths between the same ends have more.
    """
    space = MMD(kernel) if geometry is None else geometry
    gram = kernel.positive_gram(a.points)

    def power(mu: Discrete, rate: Array) -> float:
        """|xi|_H^2 for xi = -K_mu (mu_t/mu), K_mu = K diag(mu)."""
        density = np.where(mu.weights > 0, rate / np.where(mu.weights > 0, mu.weights, 1), 0)
        xi = -(gram * mu.weights) @ density
        return float(xi @ _solve(gram, xi))

    return action(space, a, b, power, "dynamic MMD: straight lines have least action (M8)", seed)
