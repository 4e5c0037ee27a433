"""Limits tau -> 0 of transport schemes, and flows in the interaction-force transport geometry."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np

from jko import reference
from jko.energies import KL, MMDEnergy, Potential
from jko.flows.driver import flow
from jko.flows.trajectory import Trajectory
from jko.geometries import MMD, Wasserstein, WassersteinFisherRao
from jko.identity import Identity, max_of
from jko.kernels import Kernel
from jko.measures import GridDensity, Histogram, Particles
from jko.measures.base import Discrete
from jko.measures.grid import Grid
from jko.solvers.entropic.solver import Entropic
from jko.solvers.rules import Solver
from jko.validation import Array
from jko.verify import problems
from jko.verify.actions import integrate
from jko.verify.balance import Curves, balance
from jko.verify.orders import order

Stepper = Callable[..., Trajectory]


def _bump(centre: float, variance: float) -> GridDensity:
    def density(x: Array) -> Array:
        return np.asarray(np.exp(-((x[:, 0] - centre) ** 2) / (2 * variance)))

    return GridDensity.from_function(density, Grid([-5.0], [5.0], [100]), mass=1.0)


def power_limit(p: float = 3.0, *, run: Stepper = flow) -> Identity:
    """W_p steps of int |x|^2/2 dmu approach x' = -|x|^{q-2} x, 1/p + 1/q = 1, order 1 (Y2)."""
    q, time = p / (p - 1), 0.8
    points = np.linspace(0.0, 2.2, 2001)[:, None]
    start = Histogram(points, 1.0 * (np.arange(2001) == 1818))
    exact = (float(points[1818, 0]) ** (2 - q) - (2 - q) * time) ** (1 / (2 - q))
    energy = Potential(lambda x: 0.5 * (x**2).sum(axis=1), lambda x: x)

    def error(tau: float) -> float:
        end = run(start, energy, Wasserstein(p=p), tau=tau, t1=time, save="last").final
        assert isinstance(end, Discrete)
        return float(abs(end.mean[0] - exact))

    return order(f"W_{p:g} steps of int |x|^2/2 (Y2):", 1.0, error, (0.4, 0.2, 0.1))


def entropic_limit(solver: Solver | None = None, *, run: Stepper = flow) -> Identity:
    """Debiased entropic W2 steps of KL approach the Fokker-Planck equation, order 1 (W2)."""
    chosen = Entropic() if solver is None else solver
    mean, std = reference.ou_flow(1.0, 0.6, 0.6)

    def error(tau: float) -> float:
        end = run(
            _bump(1.0, 0.36), KL(_bump(0.0, 1.0)), Wasserstein(), tau=tau, t1=0.6, save="last",
            solver=chosen,
        ).final  # fmt: skip
        assert isinstance(end, Discrete)
        return float(abs(end.mean[0] - mean) + abs(np.sqrt(end.cov[0, 0]) - std))

    return order("entropic W2 steps of KL, debiased (W2):", 1.0, error, (0.2, 0.1, 0.05))


def wfr_limit(*, beta: float = 1.0, run: Stepper = flow) -> Identity:
    """Unsplit WFR steps of KL on M+ approach shape and mass of formula G2, order 1.

    With h the logarithm of the mass over the target's, h' = -(h + KL of the shapes).
    """
    from scipy.integrate import solve_ivp

    def shape(t: float) -> tuple[float, float]:
        mean, cov = reference.wfr_gaussian_flow([1.0], [[0.36]], [0.0], [[1.0]], t)
        return float(mean[0]), float(cov[0, 0])

    def growth(t: float, h: Array) -> Array:
        m, v = shape(t)
        return np.asarray(-(h + 0.5 * (v + m**2 - 1 - np.log(v))))

    mean, variance = shape(0.6)
    mass = float(solve_ivp(growth, (0, 0.6), [0.0], rtol=1e-10, atol=1e-12).y[0, -1])
    geometry = WassersteinFisherRao(1.0, beta)

    def error(tau: float) -> float:
        end = run(
            _bump(1.0, 0.36), KL(_bump(0.0, 1.0)), geometry, tau=tau, t1=0.6, save="last"
        ).final
        assert isinstance(end, Discrete)
        off = abs(end.mean[0] - mean) + abs(np.sqrt(end.cov[0, 0]) - np.sqrt(variance))
        return float(off + abs(np.log(end.mass) - mass))

    return order("unsplit WFR steps of KL on M+ (G2):", 1.0, error, (0.2, 0.1, 0.05))


def interaction_force_curves(alpha: float = 0.02, beta: float = 1.0) -> Curves:
    """The flow of 1/2 MMD^2 in alpha W2 + beta MMD^2, in space discretised on a ring of atoms.

    Its Onsager operator is G = alpha L(mu) + beta P K^{-1} P, L the graph Laplacian with the means
    of neighbouring masses and P K^{-1} P that of mass-preserving rates: mu' = -G f.
    """
    target, start = problems.shared(9, seed=4, zeros=0)
    gram, n = problems.ROUGH.positive_gram(start.points), start.n
    energy = MMDEnergy(target, problems.ROUGH)
    inverse = np.linalg.inv(gram)
    sums = inverse.sum(axis=1)
    fixed = inverse - np.outer(sums, sums) / sums.sum()

    def operator(w: Array) -> Array:
        after = np.roll(np.arange(n), -1)
        mobility = n**2 * (w + w[after]) / 2
        ways = np.eye(n)[after] - np.eye(n)
        return np.asarray(alpha * ways.T @ (mobility[:, None] * ways) + beta * fixed)

    def velocity(mu: Discrete) -> Array:
        return np.asarray(-operator(mu.weights) @ energy.first_variation(mu))

    @lru_cache(maxsize=256)
    def at(t: float) -> Discrete:
        out: Discrete = start if t == 0 else start.with_weights(integrate(velocity, start, t))
        return out

    def speed(t: float) -> float:
        h = 1e-3
        near, far = ((at(t + s).weights - at(t - s).weights) / (2 * s) for s in (h, 2 * h))
        rate = (4 * near - far) / 3
        return float(rate @ np.linalg.pinv(operator(at(t).weights)) @ rate)

    def slope(t: float) -> float:
        f = energy.first_variation(at(t))
        return float(f @ operator(at(t).weights) @ f)

    return Curves(
        lambda t: energy.value(at(t)), speed, slope, "Interaction-force transport on a ring"
    )


def interaction_force_inequality(
    target: Particles,
    start: Particles,
    *,
    kernel: Kernel,
    alpha: float = 0.7,
    beta: float = 1.3,
    share: float = 2.0,
    run: Stepper = flow,
) -> Identity:
    """alpha |grad f|^2 + beta |f|_H^2 >= 2 beta F along the flow in alpha W2 + beta MMD (M4).

    `share` beta is the constant claimed; energies and norms are computed afresh from the kernel.
    """
    energy, tau, steps = MMDEnergy(target, kernel), 0.2, 4
    geometry = alpha * Wasserstein() + beta * MMD(kernel)
    sol = run(start, energy, geometry, tau=tau, steps=steps)
    shares, values = [], []
    for mu in sol.measures:
        assert isinstance(mu, Discrete)
        gradient = energy.wasserstein_gradient(mu)
        norm = kernel.inner(mu, mu) - 2 * kernel.inner(mu, target) + kernel.inner(target, target)
        values.append(norm / 2)
        power = alpha * float(mu.weights @ (gradient**2).sum(axis=1)) + beta * norm
        shares.append(power / (beta * values[-1]))
    statement = "alpha |grad f|^2 + beta |f|_H^2 >= 2 beta F along alpha W2 + beta MMD flows (M4)"
    residual = max_of([0.0, *(share - s for s in shares)])
    return Identity("inequality-flow", statement, min(shares), share, residual, 1e-9)


def limit_checks() -> dict[str, Callable[[], Identity]]:
    """Limits, balance and inequality of this page."""
    return {
        "balance-interaction-force": partial(balance, interaction_force_curves()),
        "inequality-flow": partial(
            interaction_force_inequality, *problems.scattered(8, 10), kernel=problems.SMOOTH
        ),
        "limit-entropic": entropic_limit,
        "limit-power": power_limit,
        "limit-unsplit-wfr": wfr_limit,
    }
