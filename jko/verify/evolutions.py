"""Balances, variational inequalities and limits in geometries whose flows have no closed form."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np

from jko import reference
from jko.energies import KL, InclusiveKL, MMDEnergy, PhiDivergence, Potential
from jko.flows.driver import flow
from jko.flows.trajectory import Trajectory
from jko.geometries import SphericalHellinger, Wasserstein, WassersteinFisherRao
from jko.geometries.mmd import KernelFisherRao
from jko.identity import Identity
from jko.kernels import Kernel
from jko.measures import Histogram, Particles
from jko.measures.base import Discrete, Measure
from jko.validation import Array
from jko.verify import problems
from jko.verify.actions import STEP, integrate
from jko.verify.balance import Curves, evi, evi_fails
from jko.verify.kernels import ridge_regression
from jko.verify.orders import order

Stepper = Callable[..., Trajectory]


def _moved(target: Particles, start: Particles, kernel: Kernel, time: float) -> Array:
    """Places (n, d) at `time` of the W2 flow of 1/2 MMD^2, from the kernel's own gradients."""
    from scipy.integrate import solve_ivp

    def rhs(_: float, x: Array) -> Array:
        at = x.reshape(start.points.shape)
        pull = kernel.gradient_apply(at, at, start.weights)
        pull -= kernel.gradient_apply(at, target.points, target.weights)
        return np.asarray(-pull.ravel())

    found = solve_ivp(rhs, (0.0, time), start.points.ravel(), "DOP853", rtol=1e-11, atol=1e-12)
    return np.asarray(found.y[:, -1].reshape(start.points.shape))


def swarm_curves(target: Particles, start: Particles, kernel: Kernel) -> Curves:
    """The W2 flow of 1/2 MMD^2 on particles."""
    energy = MMDEnergy(target, kernel)

    @lru_cache(maxsize=256)
    def at(t: float) -> Particles:
        return start if t == 0 else Particles(_moved(target, start, kernel, t), start.weights)

    def speed(t: float) -> float:
        h = 1e-3
        velocity = (at(t + h).points - at(t - h).points) / (2 * h)
        wide = (at(t + 2 * h).points - at(t - 2 * h).points) / (4 * h)
        return float(start.weights @ (((4 * velocity - wide) / 3) ** 2).sum(axis=1))

    def slope(t: float) -> float:
        return float(start.weights @ (energy.wasserstein_gradient(at(t)) ** 2).sum(axis=1))

    return Curves(lambda t: energy.value(at(t)), speed, slope, "W2 of particles")


def power_curves(p: float = 3.0) -> Curves:
    """The W_p flow of int |x|^2/2 dmu on the line: v = -|x|^{q-2} x (formula Y2), 1/p + 1/q = 1.

    De Giorgi's halves become 1/p and 1/q: F(mu_0) - F(mu_T) = int |v|^p/p + |grad F|^q/q.
    """
    q = p / (p - 1)
    x, w = np.array([-2.5, -1.4, 1.3, 2.1]), np.array([0.1, 0.4, 0.2, 0.3])

    def at(t: float) -> Array:
        # d|x|/dt = -|x|^{q-1}
        return np.asarray(np.sign(x) * (np.abs(x) ** (2 - q) - (2 - q) * t) ** (1 / (2 - q)))

    def speed(t: float) -> float:
        velocity = (at(t + STEP) - at(t - STEP)) / (2 * STEP)
        return 2 / p * float(w @ np.abs(velocity) ** p)

    return Curves(
        lambda t: float(w @ at(t) ** 2 / 2),
        speed,
        lambda t: 2 / q * float(w @ np.abs(at(t)) ** q),
        f"W_{p:g}",
    )


def _regression_flow(
    target: Discrete, start: Discrete, kernel: Kernel, ridge: float, time: float
) -> Array:
    """Weights at `time` of mu_t = -mu g, g the ridge regression of 1 - pi/mu under mu (Y3)."""
    energy = InclusiveKL(target)

    def velocity(mu: Discrete) -> Array:
        g = ridge_regression(kernel.integral_operator(mu), energy.first_variation(mu), ridge)
        return np.asarray(-mu.weights * g)

    return integrate(velocity, start, time) if time > 0 else start.weights


def regression_curves(
    target: Discrete, start: Discrete, kernel: Kernel, ridge: float = 0.1
) -> Curves:
    """The kernel Fisher-Rao flow as the flow of 1/2 MMD^2 in MMD^2 + ridge He^2 (formula Y3).

    Rates are those of the regression; speed and slope those of the metric K + ridge/mu.
    """
    energy = MMDEnergy(target, kernel)
    gram = kernel.positive_gram(start.points)

    @lru_cache(maxsize=256)
    def at(t: float) -> Discrete:
        weights = _regression_flow(target, start, kernel, ridge, t)
        out: Discrete = start.with_weights(weights)
        return out

    def metric(t: float) -> Array:
        return np.asarray(gram + ridge * np.diag(1 / at(t).weights))

    def speed(t: float) -> float:
        h = 1e-3
        near, far = ((at(t + s).weights - at(t - s).weights) / (2 * s) for s in (h, 2 * h))
        rate = (4 * near - far) / 3
        return float(rate @ metric(t) @ rate)

    def slope(t: float) -> float:
        f = energy.first_variation(at(t))
        return float(f @ np.linalg.solve(metric(t), f))

    return Curves(lambda t: energy.value(at(t)), speed, slope, "Kernel Fisher-Rao")


def curves() -> dict[str, Curves]:
    """The flows of this page."""
    cloud, swarm = problems.scattered(6, 8, seed=3)
    small = problems.shared(8, seed=4, zeros=0)
    return {
        "particles": swarm_curves(cloud, swarm, problems.SMOOTH),
        "power": power_curves(),
        "kernel-fisher-rao": regression_curves(*small, problems.ROUGH),
    }


def evi_spherical(target: Discrete, start: Discrete, convexity: float = 0.0) -> Identity:
    """D_{1/2} is convex on the sphere: its second derivative along arcs is int sqrt(mu pi) >= 0."""
    energy = PhiDivergence(target, 0.5)

    def velocity(mu: Discrete) -> Array:
        f = energy.first_variation(mu)
        return np.asarray(-mu.weights * (f - float(mu.weights @ f) / mu.mass))

    def run(t: float) -> Measure:
        return start.with_weights(integrate(velocity, start, t))

    others: list[Measure] = [target, start.with_weights(start.weights[::-1])]
    name = "D_0.5 in spherical Hellinger"
    return evi(run, energy, SphericalHellinger(), others, convexity, name)


def evi_spherical_kl(share: float = 4e-4) -> Identity:
    """KL is not convex on the sphere: at an atom with too little mass its logarithm bends down."""
    target = Histogram(np.array([[0.0], [1.0]]), np.array([0.5, 0.5]))
    mu, nu = (target.with_weights(np.array([1 - s, s])) for s in (share, 0.09))
    energy = KL(target)

    def run(t: float) -> Measure:
        weights = reference.hellinger_flow(mu.weights, target.weights, t - 0.0999, 1.0, "fixed")
        return mu.with_weights(weights)

    name = "KL in spherical Hellinger"
    return evi_fails(evi(run, energy, SphericalHellinger(), [nu], 0.0, name), name)


def evi_wfr(constant: float = 0.8, beta: float = 2.0, factor: float = 1.0) -> Identity:
    """The mass is quadratic along Wasserstein-Fisher-Rao geodesics, m'' = beta WFR^2/2.

    c int dmu is therefore c beta/2-convex with an equality; its flow is mu_0 e^{-c beta t}.
    """
    start, other = problems.scattered(5, 7, seed=2, masses=(1.3, 0.7))
    energy = Potential(lambda x: np.full(len(x), constant))
    geometry = WassersteinFisherRao(0.8, beta)

    def run(t: float) -> Measure:
        return start.with_weights(start.weights * np.exp(-constant * beta * t))

    others: list[Measure] = [other, other.with_weights(3 * other.weights)]
    convexity = factor * constant * beta / 2
    return evi(run, energy, geometry, others, convexity, "c mass in WFR", equality=True)


def evi_wfr_tilt(place: float = 0.05) -> Identity:
    """int x dmu is convex in W2, but not in Wasserstein-Fisher-Rao near x = 0, on cones."""
    geometry = WassersteinFisherRao(1.0, 4.0)
    energy = Potential(lambda x: x[:, 0], lambda x: np.ones_like(x))

    def run(t: float) -> Measure:
        # x' = -alpha, m' = -beta x m
        s = t - 0.1
        return Particles([[place - s]], [np.exp(-4 * (place * s - s**2 / 2))])

    others: list[Measure] = [Particles([[place + 0.6]], [0.8])]
    name = "int x dmu in WFR"
    return evi_fails(evi(run, energy, geometry, others, 0.0, name), name)


def spherical_limit(
    target: Discrete, start: Discrete, *, time: float = 1.0, run: Stepper = flow
) -> Identity:
    """Spherical Hellinger steps of KL approach the normalised mixture, order 1 (H3, H5)."""
    exact = reference.hellinger_flow(start.weights, target.weights, time, 1.0, "fixed")

    def error(tau: float) -> float:
        end = run(start, KL(target), SphericalHellinger(), tau=tau, t1=1.0, save="last").final
        assert isinstance(end, Discrete)
        return float(np.abs(end.weights - exact).sum())

    return order("spherical Hellinger steps of KL (H3, H5):", 1.0, error)


def particle_limit(
    target: Particles, start: Particles, *, kernel: Kernel, run: Stepper = flow
) -> Identity:
    """W2 steps of 1/2 MMD^2 on particles approach x' = -grad f(x), order 1."""
    exact = _moved(target, start, kernel, 1.0)

    def error(tau: float) -> float:
        energy = MMDEnergy(target, kernel)
        end = run(start, energy, Wasserstein(), tau=tau, t1=1.0, save="last", tol=1e-9).final
        assert isinstance(end, Particles)
        return float(np.linalg.norm(end.points - exact))

    return order("W2 steps of 1/2 MMD^2 on particles:", 1.0, error)


def regression_limit(
    target: Discrete, start: Discrete, *, kernel: Kernel, ridge: float = 0.1, run: Stepper = flow
) -> Identity:
    """Kernel Fisher-Rao steps approach mu_t = -mu g, g the ridge regression, order 1 (Y3)."""
    exact = _regression_flow(target, start, kernel, ridge, 1.0)
    geometry = KernelFisherRao(kernel, ridge, mass="free")

    def error(tau: float) -> float:
        end = run(start, InclusiveKL(target), geometry, tau=tau, t1=1.0, save="last").final
        assert isinstance(end, Discrete)
        return float(np.abs(end.weights - exact).sum())

    return order("kernel Fisher-Rao steps of KL(pi|.) (Y3):", 1.0, error)


def evolution_checks() -> dict[str, Callable[[], Identity]]:
    """Balances, inequalities and limits of this page."""
    from jko.verify.balance import balance

    equal = problems.shared(15, seed=6, zeros=0)
    small = problems.shared(8, seed=4, zeros=0)
    cloud = problems.scattered(6, 8, seed=3)
    return {
        **{f"balance-{k}": partial(balance, c) for k, c in curves().items()},
        "evi-spherical": partial(evi_spherical, *equal),
        "evi-wfr": evi_wfr,
        "evi-fails-spherical-kl": evi_spherical_kl,
        "evi-fails-wfr-tilt": evi_wfr_tilt,
        "limit-spherical": partial(spherical_limit, *equal),
        "limit-particles": partial(particle_limit, *cloud, kernel=problems.SMOOTH),
        "limit-kernel-fisher-rao": partial(regression_limit, *small, kernel=problems.ROUGH),
    }
