"""Energy balance and evolution variational inequality along exact flows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from jko import reference
from jko.energies import KL, MMDEnergy, PhiDivergence
from jko.energies.base import Energy
from jko.geometries import MMD, Hellinger, Wasserstein
from jko.geometries.base import Geometry
from jko.identity import Identity, max_of
from jko.kernels import Kernel
from jko.measures import Gaussian, Particles
from jko.measures.base import Discrete, Measure
from jko.solvers.step import step
from jko.validation import Array
from jko.verify import problems
from jko.verify.actions import NODES, RULE, STEP
from jko.verify.orders import reaction_transport_flow

FlowMap = Callable[[float], Measure]


@dataclass(frozen=True)
class Curves:
    """A flow as figures of time: energy, squared metric speed, squared slope of the energy.

    Attributes
    ----------
    energy, speed, slope : callable t -> float
    name : str
    """

    energy: Callable[[float], float]
    speed: Callable[[float], float]
    slope: Callable[[float], float]
    name: str

    def hurried(self, factor: float) -> Curves:
        """The same curve run through `factor` times as fast: no longer the flow."""
        return Curves(
            lambda t: self.energy(factor * t),
            lambda t: factor**2 * self.speed(factor * t),
            lambda t: self.slope(factor * t),
            self.name,
        )


def balance(curves: Curves, time: float = 1.0) -> Identity:
    """F(mu_0) - F(mu_T) = 1/2 int |mu'|^2 + |dF|^2 dt (De Giorgi), an equality for the flow only.

    Every other curve spends more than it gains: the sum of the halves exceeds the product.
    Ambrosio et al. (2008).
    """
    drop = curves.energy(0.0) - curves.energy(time)
    spent = sum(
        time * w * (curves.speed(time * t) + curves.slope(time * t)) / 2
        for t, w in zip(NODES, RULE, strict=True)
    )
    statement = f"{curves.name}: F(mu_0) - F(mu_T) = 1/2 int |mu'|^2 + |dF|^2 dt (De Giorgi)"
    return Identity("balance", statement, drop, float(spent), abs(spent / drop - 1), 1e-7)


def _rate(weights: Callable[[float], Array], t: float) -> Array:
    h = 1e-3
    one = 8 * (weights(t + h) - weights(t - h)) - (weights(t + 2 * h) - weights(t - 2 * h))
    return np.asarray(one / (12 * h))


def hellinger_curves(
    target: Discrete, start: Discrete, p: float = 1.0, mass: str = "free"
) -> Curves:
    """The Hellinger flow of D_p, from its closed form (formula H5)."""
    energy = PhiDivergence(target, p)

    def weights(t: float) -> Array:
        return reference.hellinger_flow(start.weights, target.weights, t, p, mass)

    def slope(t: float) -> float:
        w = weights(t)
        f = energy.first_variation(start.with_weights(w))
        mean = float(w @ f) / float(w.sum()) if mass == "fixed" else 0.0
        return float(w @ (f - mean) ** 2)

    return Curves(
        lambda t: energy.value(start.with_weights(weights(t))),
        lambda t: float((_rate(weights, t) ** 2 / weights(t)).sum()),
        slope,
        "Hellinger" if mass == "free" else "Spherical Hellinger",
    )


def mmd_curves(target: Discrete, start: Discrete, kernel: Kernel) -> Curves:
    """mu_t = pi + (mu_0 - pi) e^{-t} for 1/2 MMD^2 (formula M3)."""
    gram, energy = kernel.positive_gram(start.points), MMDEnergy(target, kernel)

    def weights(t: float) -> Array:
        return np.asarray(target.weights + (start.weights - target.weights) * np.exp(-t))

    def speed(t: float) -> float:
        rate = _rate(weights, t)
        return float(rate @ gram @ rate)

    def slope(t: float) -> float:
        f = energy.first_variation(start.with_weights(weights(t)))
        return float(f @ np.linalg.solve(gram, f))

    return Curves(lambda t: energy.value(start.with_weights(weights(t))), speed, slope, "MMD")


def gaussian_curves(mean: float = -1.0, std: float = 0.6, variance: float = 0.7) -> Curves:
    """The Ornstein-Uhlenbeck flow of KL(.|N(0, variance)) in W2, on Gaussians of the line."""
    energy = KL(Gaussian(np.zeros(1), variance * np.eye(1)))
    at = partial(reference.ou_flow, mean, std, stiffness=1 / variance)

    def value(t: float) -> float:
        m, s = at(t)
        return energy.value(Gaussian(np.array([m]), np.array([[s**2]])))

    def speed(t: float) -> float:
        rate = _rate(lambda u: np.array(at(u)), t)
        return float(rate @ rate)

    def slope(t: float) -> float:
        # E (x/variance - (x - m)/s^2)^2: the relative Fisher information
        m, s = at(t)
        return float((m / variance) ** 2 + (s / variance - 1 / s) ** 2)

    return Curves(value, speed, slope, "W2 of Gaussians")


def reaction_transport_curves() -> Curves:
    """Flow of int |x|^2/2 dmu in Wasserstein() + Hellinger() on particles (formula Y1)."""
    x, w = np.array([[-1.5], [-0.4], [0.3], [1.1]]), np.array([0.1, 0.4, 0.3, 0.5])

    def at(t: float) -> Array:
        points, weights = reaction_transport_flow(x, w, t)
        return np.stack([points[:, 0], weights])

    def speed(t: float) -> float:
        (v, growth), (_, mass) = _rate(at, t), at(t)
        return float(mass @ v**2 + (growth**2 / mass).sum())

    def slope(t: float) -> float:
        points, mass = at(t)
        return float(mass @ (points**2 + points**4 / 4))

    def value(t: float) -> float:
        points, mass = at(t)
        return float(mass @ points**2 / 2)

    return Curves(value, speed, slope, "WFR of particles")


def evi(
    flow: FlowMap,
    energy: Energy,
    geometry: Geometry,
    others: list[Measure],
    convexity: float,
    name: str,
    *,
    equality: bool = False,
) -> Identity:
    """1/2 d/dt D^2(mu_t, nu) + convexity/2 D^2(mu_t, nu) <= F(nu) - F(mu_t) for every nu.

    Holds where F is `convexity`-convex along geodesics of the geometry; an equality where it is
    quadratic there. Ambrosio et al. (2008).
    """
    excess, sides = [], (0.0, 0.0)
    for t in (0.1, 0.5):
        mu, ahead, behind = flow(t), flow(t + STEP), flow(t - STEP)
        for nu in others:
            rate = (geometry.sqdistance(ahead, nu) - geometry.sqdistance(behind, nu)) / (4 * STEP)
            left = rate + convexity / 2 * geometry.sqdistance(mu, nu)
            right = energy.value(nu) - energy.value(mu)
            sides = left, right
            excess.append(abs(left - right) if equality else left - right)
    sign = "=" if equality else "<="
    statement = f"{name}: 1/2 (D^2)' + {convexity:g}/2 D^2 {sign} F(nu) - F(mu_t) (EVI)"
    return Identity("evi", statement, *sides, max_of([0.0, *excess]), 1e-6)


def evi_fails(found: Identity, name: str, floor: float = 1e-2) -> Identity:
    """The same inequality must be violated, by more than `floor`, where F is not convex."""
    lack = max(0.0, floor - found.residual) if found.residual == found.residual else np.nan
    statement = f"{name}: not geodesically convex, the EVI with constant 0 fails"
    return Identity("evi-fails", statement, found.residual, floor, lack, 0.0)


def evi_gaussians(convexity: float = 1 / 0.7) -> Identity:
    """KL(.|N(0, S)) is 1/max(S)-convex along W2 geodesics (formula G1)."""
    energy = KL(Gaussian(np.zeros(1), 0.7 * np.eye(1)))

    def flow(t: float) -> Measure:
        m, s = reference.ou_flow(-1.0, 0.4, t, stiffness=1 / 0.7)
        return Gaussian(np.array([m]), np.array([[s**2]]))

    others: list[Measure] = [
        Gaussian(np.array([m]), np.array([[v]])) for m, v in ((0.0, 0.7), (2.0, 0.1), (-1.0, 3.0))
    ]
    return evi(flow, energy, Wasserstein(), others, convexity, "KL in W2, Gaussian target")


def evi_mmd(target: Discrete, start: Discrete, kernel: Kernel, convexity: float = 1.0) -> Identity:
    """1/2 MMD^2 is 1-convex along MMD geodesics, and quadratic: an equality."""

    def flow(t: float) -> Measure:
        return start.with_weights(target.weights + (start.weights - target.weights) * np.exp(-t))

    others: list[Measure] = [target, start.with_weights(start.weights[::-1])]
    energy, geometry = MMDEnergy(target, kernel), MMD(kernel)
    return evi(flow, energy, geometry, others, convexity, "1/2 MMD^2 in MMD", equality=True)


def evi_hellinger(
    target: Discrete, start: Discrete, p: float = 0.5, convexity: float = 1.0
) -> Identity:
    """D_{1/2} = He^2/2 is 1-convex along Hellinger geodesics, and quadratic: an equality."""

    def flow(t: float) -> Measure:
        w = reference.hellinger_flow(start.weights, target.weights, t, p, "free")
        return start.with_weights(w)

    others: list[Measure] = [target, start.with_weights(2.0 * start.weights[::-1])]
    others.append(target.with_weights(1e-4 * target.weights))
    energy = PhiDivergence(target, p)
    name = f"D_{p:g} in Hellinger"
    return evi(
        flow, energy, Hellinger(), others, convexity, name, equality=p == 0.5 and convexity == 1
    )


def evi_kl_hellinger(p: float = 1.0) -> Identity:
    """KL is not convex along Hellinger geodesics of M+: near 0 it is concave."""
    target, start = problems.shared(15, seed=6, zeros=0, masses=(1.0, 1e-3))
    return evi_fails(evi_hellinger(target, start, p, 0.0), f"D_{p:g} in Hellinger on M+")


def evi_mmd_transport(distance: float = 3.0) -> Identity:
    """1/2 MMD^2 is not convex in W2: a Dirac far from its target feels a concave attraction."""
    kernel = problems.SMOOTH
    target = Particles([[0.0]], [1.0])
    energy = MMDEnergy(target, kernel)

    def flow(t: float) -> Measure:
        from scipy.integrate import solve_ivp

        def rhs(_: float, x: Array) -> Array:
            return np.asarray(kernel.gradient(x[None], target.points)[0, 0])  # minus grad f

        out = solve_ivp(rhs, (0.0, t), [distance], rtol=1e-11, atol=1e-13).y[:, -1]
        return Particles([[float(out[0])]], [1.0])

    return evi_fails(
        evi(flow, energy, Wasserstein(), [target], 0.0, "1/2 MMD^2 in W2"), "1/2 MMD^2 in W2"
    )


def strong_decay(
    target: Gaussian, start: Gaussian, *, tau: float = 0.3, steps: int = 5, factor: float = 1.0
) -> Identity:
    """JKO steps of a c-convex energy: F(mu_k) - inf F <= (1 + c tau)^{-2k} (F(mu_0) - inf F).

    For KL(.|N(m, S)) in W2 c = 1/max eigenvalue of S. `factor` multiplies the constant claimed.
    """
    c = factor / float(np.linalg.eigvalsh(target.cov)[-1])
    energy, mu = KL(target), start
    first = energy.value(start)
    shares = []
    for k in range(1, steps + 1):
        after = step(mu, energy, Wasserstein(), tau).measure
        assert isinstance(after, Gaussian)
        mu = after
        shares.append(energy.value(mu) / first * (1 + c * tau) ** (2 * k))
    excess = max_of([0.0, *(s - 1 for s in shares)])
    statement = "W2 steps of a c-convex F: F_k - inf F <= (1 + c tau)^-2k (F_0 - inf F)"
    return Identity("decay-wasserstein", statement, shares[-1], 1.0, excess, 1e-9)
