"""Flows integrated from their definition, and actions of paths of measures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from jko.geometries.base import Geometry
from jko.identity import Identity, max_of
from jko.measures.base import Discrete
from jko.validation import Array

#: Length of the differences in time.
STEP = 1e-4
#: Nodes and weights of a Gauss-Legendre rule on [0, 1].
_X, _W = np.polynomial.legendre.leggauss(12)
NODES = (_X + 1) / 2
RULE = _W / 2


def integrate(velocity: Callable[[Discrete], Array], start: Discrete, time: float) -> Array:
    """Weights (n,) at `time` of mu_t = velocity(mu), integrated to about 1e-11 (DOP853)."""
    from scipy.integrate import solve_ivp

    def rhs(_: float, w: Array) -> Array:
        return velocity(start.with_weights(np.maximum(w, 0.0)))

    out = solve_ivp(rhs, (0.0, time), start.weights, method="DOP853", rtol=1e-11, atol=1e-13)
    return np.asarray(out.y[:, -1])


def path_action(
    path: Callable[[float], Array], start: Discrete, power: Callable[[Discrete, Array], float]
) -> float:
    """int_0^1 power(mu_t, d mu_t/dt) dt for a path of weights that is smooth in t."""
    h = 1e-3
    total = 0.0
    for t, share in zip(NODES, RULE, strict=True):
        # fourth-order central difference
        rate = (8 * (path(t + h) - path(t - h)) - (path(t + 2 * h) - path(t - 2 * h))) / (12 * h)
        total += share * power(start.with_weights(path(t)), rate)
    return total


def action(
    geometry: Geometry,
    a: Discrete,
    b: Discrete,
    power: Callable[[Discrete, Array], float],
    statement: str,
    seed: int = 0,
) -> Identity:
    """The geodesic's action is D^2, and perturbed paths with the same ends have more.

    Parameters
    ----------
    power : callable (mu, d mu/dt) -> float
        The squared speed, from the definition of the dynamic problem.
    """

    def geodesic(t: float) -> Array:
        mu = geometry.geodesic(a, b, t)
        assert isinstance(mu, Discrete)
        return mu.weights

    square = geometry.sqdistance(a, b)
    least = path_action(geodesic, a, power)
    rng = np.random.default_rng(seed)
    shortfalls = []
    for _ in range(4):
        # A bump that vanishes at both ends, small enough to stay positive, of zero mass.
        tilt = rng.uniform(-1, 1, a.n) * np.minimum(a.weights, b.weights)
        tilt -= tilt.sum() * a.weights / a.mass

        def curved(t: float, tilt: Array = tilt) -> Array:
            return np.asarray(geodesic(t) + 0.5 * np.sin(np.pi * t) * tilt)

        shortfalls.append(least - path_action(curved, a, power))
    residual = max_of([abs(least - square), *shortfalls]) / square
    return Identity("geodesic-action", statement, least, square, residual, 1e-7)
