"""Homogeneity of steps, conjugate bounds, robust optimisation, limits (formulas B1, B2, R1, H7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.special import logsumexp

from jko import dro, reference
from jko.energies import KL, InclusiveKL, MMDEnergy, PhiDivergence, Potential
from jko.energies.base import Energy
from jko.flows.driver import flow
from jko.geometries import MMD, Divergence, Hellinger, Wasserstein
from jko.geometries.base import Geometry
from jko.identity import Identity, max_of
from jko.kernels import Kernel
from jko.measures import Particles
from jko.measures.base import Discrete
from jko.solvers.step import step
from jko.validation import Array
from jko.verify.orders import TAUS, order

Stepper = Callable[..., Any]


def units(
    mu: Discrete,
    energy: Energy,
    geometry: Geometry,
    tau: float,
    name: str,
    *,
    c: float = 50.0,
    take: Stepper = step,
) -> Identity:
    """F -> c F with tau -> tau/c is the same step (formula B2)."""
    one = take(mu, energy, geometry, tau, tol=1e-10, throw=False).measure
    two = take(mu, c * energy, geometry, tau / c, tol=1e-10, throw=False).measure
    return _same(one, two, 1.0, f"{name}: F -> c F, tau -> tau/c is the same step (B2)")


def masses(
    mu: Discrete,
    build: Callable[[float], Energy],
    geometry: Geometry,
    tau: float,
    name: str,
    *,
    power: float = 0.0,
    scale: float = 40.0,
    take: Stepper = step,
) -> Identity:
    """Masses times M, tau times M^power: the step is M times the step (formula B2).

    Parameters
    ----------
    build : callable M -> Energy
        The energy with its target of mass M times as large.
    power : float
        0 for D_p in W2, Hellinger, SHe and Divergence, and for 1/2 MMD^2 in MMD; -1 for
        1/2 MMD^2 in those four; 1 for D_p and potentials in MMD.
    """
    one = take(mu, build(1.0), geometry, tau, tol=1e-10, throw=False).measure
    large = mu.with_weights(scale * mu.weights)
    longer = tau * scale**power
    two = take(large, build(scale), geometry, longer, tol=1e-10, throw=False).measure
    statement = f"{name}: masses times M, tau times M^{power:g} is M times the step (B2)"
    return _same(one, two, scale, statement)


def lengths(*, scale: float = 30.0, power: float = 2.0, take: Stepper = step) -> Identity:
    """Lengths times L, bandwidths times L, tau times L^2: the W2 step times L (formula B2)."""
    from jko.kernels import Gaussian as GaussianKernel
    from jko.verify import problems

    target, mu = problems.scattered(6, 8)

    def energy(size: float) -> Energy:
        there = Particles(size * target.points, target.weights)
        return MMDEnergy(there, GaussianKernel(0.8 * size))

    one = take(mu, energy(1.0), Wasserstein(), 0.3, tol=1e-9).measure
    large = Particles(scale * mu.points, mu.weights)
    two = take(large, energy(scale), Wasserstein(), 0.3 * scale**power, tol=1e-9).measure
    apart = float(np.abs(two.points / scale - one.points).max())
    statement = "W2: lengths times L, tau times L^2 is L times the step (B2)"
    lhs, rhs = float(two.points[0, 0] / scale), float(one.points[0, 0])
    return Identity("homogeneity", statement, lhs, rhs, apart, 1e-6)


def _same(one: Any, two: Any, scale: float, statement: str) -> Identity:
    apart = float(np.abs(two.weights / scale - one.weights).sum() / one.mass)
    moved = float(two.weights[0] / scale), float(one.weights[0])
    return Identity("homogeneity", statement, *moved, apart, 1e-6)


def conjugate_bound(
    *, bracketed: bool = True, values: Sequence[float] = (-3.0, -0.5, 0.0, 1.2, 4.0)
) -> Identity:
    """Brackets bound a conjugate from above, approximate maximisers from below (formula B1).

    h(v) = v log v - v has h*(y) = e^y; the maximiser is known to a tenth only. Without the bracket
    (`bracketed=False`) the value is no upper bound.
    """
    misses, last = [], (0.0, 0.0)
    for y in values:
        exact = float(np.exp(y))
        low, high = 0.9 * exact, 1.1 * exact
        below = y * low - (low * np.log(low) - low)
        above = below + (y - np.log(low)) * (high - low) * bracketed
        last = float(above), exact
        misses += [(exact - above) / exact, (below - exact) / exact]
    statement = "h*(y) <= y v - h(v) + (y - h'(v))(v_hi - v); y v - h(v) alone is below h* (B1)"
    return Identity("conjugate-bound", statement, *last, max_of([0.0, *misses]), 1e-12)


def robust_is_a_step(
    mu: Discrete, loss: Array, geometry: Geometry, tau: float, name: str, *, factor: float = 1.0
) -> Identity:
    """sup E loss - D^2/(2 tau) is minus the step of Potential(-loss) (formula R1).

    `factor` multiplies the length of the step that is compared.
    """
    worst = dro.worst_case(loss, mu, geometry, tau=tau)
    length = factor * tau
    after = step(mu, Potential(-loss), geometry, length).measure
    assert isinstance(after, Discrete)
    value = -(Potential(-loss).value(after) + geometry.penalty(after, mu, length))
    residual = abs(value - worst.value) / max(1.0, abs(value))
    statement = f"{name}: the robust value is minus a step of Potential(-loss) (R1)"
    return Identity("robust-step", statement, float(worst.value), value, residual, 1e-6)


def robust_closed_form(
    mu: Discrete, loss: Array, tau: float, *, temperature: float = 1.0
) -> Identity:
    """With KL the robust value is log(E e^{tau loss})/tau (formula H4 and R1)."""
    found = float(dro.worst_case(loss, mu, Divergence(p=1), tau=tau).value)
    t = temperature * tau
    exact = mu.mass * float(logsumexp(t * loss, b=mu.weights / mu.mass)) / t
    statement = "KL-robust value = log E exp(tau loss)/tau (H4, R1)"
    return Identity("robust-kl", statement, found, exact, abs(found / exact - 1), 1e-8)


def mirror_limit(
    target: Discrete, start: Discrete, *, time: float = 1.0, run: Stepper = flow
) -> Identity:
    """Entropic mirror steps of KL approach the Hellinger flow on P, order 1 (H4, H5)."""
    exact = reference.hellinger_flow(start.weights, target.weights, time, 1.0, "fixed")

    def error(tau: float) -> float:
        end = run(start, KL(target), Divergence(p=1), tau=tau, t1=1.0, save="last").final
        return float(np.abs(end.weights - exact).sum())

    return order("mirror steps of KL against the Hellinger flow on P (H4, H5):", 1.0, error, TAUS)


def mmd_limit(
    target: Discrete, start: Discrete, *, kernel: Kernel, time: float = 1.0, run: Stepper = flow
) -> Identity:
    """MMD steps of 1/2 MMD^2 approach pi + (mu_0 - pi) e^{-t}, order 1 (formulas M1, M3)."""
    exact = target.weights + (start.weights - target.weights) * np.exp(-time)
    gram = kernel.positive_gram(start.points)

    def error(tau: float) -> float:
        end = run(start, MMDEnergy(target, kernel), MMD(kernel), tau=tau, t1=1.0, save="last")
        off = end.final.weights - exact
        return float(np.sqrt(off @ gram @ off))

    return order("MMD steps against mu_t = -(mu - pi) (M3):", 1.0, error, TAUS)


def inclusive_limit(
    target: Discrete, start: Discrete, *, time: float = 1.0, run: Stepper = flow
) -> Identity:
    """Hellinger steps of KL(pi|.) approach pi + (mu_0 - pi) e^{-t}, order 1 (formula M3)."""
    exact = target.weights + (start.weights - target.weights) * np.exp(-time)

    def error(tau: float) -> float:
        end = run(start, InclusiveKL(target), Hellinger(), tau=tau, t1=1.0, save="last").final
        return float(np.abs(end.weights - exact).sum())

    return order("Hellinger steps of KL(pi|.) against mu_t = -(mu - pi) (M3):", 1.0, error, TAUS)


def no_constant(target: Discrete, *, p: float = 1.0, floor: float = 1e-3) -> Identity:
    """For p > 1/2 no c > 0 has int mu phi_p'(r)^2 >= c D_p on M+ (formula H7): shares fall to 0."""
    energy = PhiDivergence(target, p)
    shares = []
    for size in 10.0 ** -np.arange(1.0, 13.0):
        mu = target.with_weights(size * target.weights)
        f = energy.first_variation(mu)
        shares.append(float(mu.weights @ f**2) / energy.value(mu))
    least = min(shares)
    statement = f"D_{p:g} on M+: no c > 0 with int mu f^2 >= c D_p (H7), the decay fails"
    return Identity("decay-fails", statement, least, floor, max(0.0, least - floor), 0.0)


def transport_inequality(
    target: Particles,
    start: Particles,
    *,
    kernel: Kernel,
    alpha: float = 0.7,
    beta: float = 1.3,
    share: float = 2.0,
    steps: int = 5,
) -> Identity:
    """alpha |grad f|^2_{L2} + beta |f|_H^2 >= 2 beta F along transport of 1/2 MMD^2 (formula M4).

    `share` beta is the constant claimed; 2 beta is the one of alpha = 0.
    """
    energy, mu = MMDEnergy(target, kernel), start
    shares = []
    for _ in range(steps):
        gradient = energy.wasserstein_gradient(mu)
        norm = kernel.inner(mu, mu) - 2 * kernel.inner(mu, target) + kernel.inner(target, target)
        power = alpha * float(mu.weights @ (gradient**2).sum(axis=1)) + beta * norm
        shares.append(power / (beta * energy.value(mu)))
        after = step(mu, energy, Wasserstein(), 0.3).measure
        assert isinstance(after, Particles)
        mu = after
    statement = "alpha |grad f|^2 + beta |f|_H^2 >= 2 beta F along transport of 1/2 MMD^2 (M4)"
    residual = max_of([0.0, *(share - s for s in shares)])
    return Identity("inequality-transport", statement, min(shares), share, residual, 1e-9)
