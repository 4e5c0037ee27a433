"""Identities of the Hellinger geometries (formulas H3, H5, H6, H7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jko import reference
from jko.energies import KL, PhiDivergence
from jko.energies.base import Energy
from jko.flows.driver import flow
from jko.geometries import Hellinger, SphericalHellinger
from jko.geometries.base import Geometry
from jko.identity import Identity, max_of
from jko.measures.base import Discrete
from jko.solvers.rules import Solver
from jko.solvers.step import step
from jko.validation import Array, Mask
from jko.verify.actions import action, integrate
from jko.verify.orders import TAUS, order

ExactFlow = Callable[..., Array]


def exact_flow(
    target: Discrete,
    start: Discrete,
    *,
    p: float = 1.0,
    mass: str = "free",
    time: float = 1.0,
    exact: ExactFlow = reference.hellinger_flow,
    energy: Energy | None = None,
) -> Identity:
    """The closed form of the Hellinger flow of D_p against its ODE, solved tightly (formula H5).

    mu_t = -mu f on M+, mu_t = -mu (f - int f dmu / mass) on P.
    """
    functional = PhiDivergence(target, p) if energy is None else energy

    def velocity(mu: Discrete) -> Array:
        f = functional.first_variation(mu)
        mean = float(mu.weights @ f) / mu.mass if mass == "fixed" else 0.0
        return -mu.weights * (f - mean)

    found = integrate(velocity, start, time)
    closed = exact(start.weights, target.weights, time, p, mass)
    worst = float(np.abs(found - closed).sum()) / float(closed.sum())
    space = "M+" if mass == "free" else "P"
    statement = f"closed form of the Hellinger flow of D_{p:g} on {space} solves mu_t = -mu f (H5)"
    lhs, rhs = float(found.sum()), float(closed.sum())
    return Identity("hellinger-flow", statement, lhs, rhs, worst, 1e-8)


def steps_follow_flow(
    target: Discrete,
    start: Discrete,
    *,
    p: float = 1.0,
    mass: str = "free",
    exact: ExactFlow = reference.hellinger_flow,
    taus: Sequence[float] = TAUS,
    run: Callable[..., Any] = flow,
) -> Identity:
    """Hellinger steps of D_p approach the exact flow with order 1 (formula H5)."""
    closed = exact(start.weights, target.weights, 1.0, p, mass)

    def error(tau: float) -> float:
        geometry = Hellinger(mass=mass)
        end = run(start, PhiDivergence(target, p), geometry, tau=tau, t1=1.0, save="last").final
        return float(np.abs(end.weights - closed).sum())

    space = "M+" if mass == "free" else "P"
    return order(f"Hellinger steps of D_{p:g} on {space} against the flow (H5):", 1.0, error, taus)


def geodesic_action(a: Discrete, b: Discrete, *, geometry: Geometry | None = None) -> Identity:
    """Least action of mu_t = -mu xi, int xi^2 dmu, is He^2 along the geodesic (formula H6)."""
    space = Hellinger() if geometry is None else geometry

    def power(mu: Discrete, rate: Array) -> float:
        charged = mu.weights > 0
        return float((rate[charged] ** 2 / mu.weights[charged]).sum())

    return action(space, a, b, power, "the Hellinger geodesic has least action, He^2 (H6)")


def geodesic_dual(
    a: Discrete, b: Discrete, *, geometry: Geometry | None = None, seed: int = 0
) -> Identity:
    """1/2 He^2 = sup int psi dmu_1 - int phi dmu_0 over (2+phi)(2-psi) = 4, phi > -2 (formula H6).

    phi = 2(s1-s0)/s0, psi = 2(s1-s0)/s1 attain it; random feasible pairs stay below.
    """
    space = Hellinger() if geometry is None else geometry
    half = 0.5 * space.sqdistance(a, b)
    s0, s1 = np.sqrt(a.weights), np.sqrt(b.weights)

    def value(phi: Array) -> float:
        psi = 2 - 4 / (2 + phi)
        return float(b.weights @ psi - a.weights @ phi)

    best = 2 * (s1 - s0) / s0
    attained = value(best)
    rng = np.random.default_rng(seed)
    rivals = [value((2 + best) * np.exp(rng.normal(0, s, a.n)) - 2) for s in (0.1, 0.5, 2.0)]
    residual = max_of([abs(attained - half), *(r - half for r in rivals)]) / half
    statement = "1/2 He^2 = sup of int psi dmu_1 - int phi dmu_0, (2+phi)(2-psi) = 4 (H6)"
    return Identity("hellinger-dual", statement, attained, half, residual, 1e-12)


def half_decay(
    target: Discrete, start: Discrete, *, time: float = 1.3, energy: Energy | None = None
) -> Identity:
    """Along the Hellinger flow of D_{1/2}: He(mu_t, pi) = e^{-t} He(mu_0, pi) (formula H7)."""
    functional = PhiDivergence(target, 0.5) if energy is None else energy
    end = integrate(lambda mu: -mu.weights * functional.first_variation(mu), start, time)
    he = Hellinger()
    lhs = he.distance(start.with_weights(end), target) / he.distance(start, target)
    rhs = float(np.exp(-time))
    statement = "flow of D_1/2: He(mu_t, pi) = e^-t He(mu_0, pi) (H7)"
    return Identity("half-decay", statement, lhs, rhs, abs(lhs - rhs), 1e-8)


def lojasiewicz(
    target: Discrete,
    *,
    powers: Sequence[float] = (-1.0, 0.0, 0.3, 0.5),
    c: float = 1.0,
    seed: int = 0,
) -> Identity:
    """int mu phi_p'(r)^2 >= D_p/(1-p) on M+ for p <= 1/2, attained (formula H7).

    Random measures of any mass from 1e-6 to 1e6 times the target stay above 1; at p = 1/2 every one
    of them is an equality. `c` scales the constant that is claimed.
    """
    rng = np.random.default_rng(seed)
    charged = target.weights > 0
    pi = target.weights[charged]
    shares, equality = [], [0.0]
    for p in powers:
        for _ in range(50):
            r = np.exp(rng.normal(rng.uniform(-12, 12), rng.uniform(0.1, 3), pi.size))
            mu = target.with_weights(_embed(r * pi, charged))
            energy = PhiDivergence(target, p)
            slope = energy.first_variation(mu)[charged]
            share = (1 - p) / c * float((r * pi) @ slope**2) / energy.value(mu)
            shares.append(share)
            if p == 0.5:
                equality.append(abs(share - 1))
    residual = max_of([*(1 - share for share in shares), *equality])
    statement = "int mu phi_p'(r)^2 >= D_p/(1-p) for p <= 1/2, equality at p = 1/2 (H7)"
    return Identity("lojasiewicz", statement, float(np.min(shares)), 1.0, residual, 1e-9)


def _embed(values: Array, charged: Mask) -> Array:
    out = np.zeros(charged.size)
    out[charged] = values
    return out


def spherical_step(
    target: Discrete, previous: Discrete, *, tau: float = 0.8, solver: Solver = "auto"
) -> Identity:
    """A spherical step of length tau is a Hellinger step on P of tau sinc(SHe/2) (formula H3)."""
    energy = KL(target)
    one = step(previous, energy, SphericalHellinger(), tau, solver=solver, throw=False).measure
    angle = SphericalHellinger().distance(one, previous) / np.sqrt(previous.mass)
    shorter = tau * float(np.sinc(angle / 2 / np.pi))
    two = step(previous, energy, Hellinger(mass="fixed"), shorter).measure
    assert isinstance(one, Discrete)
    assert isinstance(two, Discrete)
    apart = float(np.abs(one.weights - two.weights).sum()) / previous.mass
    statement = "SHe step of tau = He step on P of tau sinc(SHe/2) (H3)"
    return Identity("spherical-step", statement, tau, shorter, apart, 1e-8)


def chord_and_arc(
    pairs: Sequence[tuple[Discrete, Discrete]],
    *,
    chord: Geometry | None = None,
    arc: Geometry | None = None,
) -> Identity:
    """He = 4 sin(SHe/4) on P, from disjoint to nearly equal measures."""
    he = Hellinger() if chord is None else chord
    she = SphericalHellinger() if arc is None else arc
    chords = [he.distance(a, b) for a, b in pairs]
    arcs = [4 * float(np.sin(she.distance(a, b) / 4)) for a, b in pairs]
    worst = max_of(abs(x - y) / x for x, y in zip(chords, arcs, strict=True))
    return Identity("chord-arc", "He = 4 sin(SHe/4) on P", chords[0], arcs[0], worst, 1e-9)
