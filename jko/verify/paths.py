"""Computed paths against their definitions: action, continuity, geodesic equation, speed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from jko.geometries.base import Geometry
from jko.identity import Identity, max_of
from jko.measures import Gaussian, GridDensity
from jko.measures.base import Discrete, Measure
from jko.paths.path import Path
from jko.validation import Array
from jko.verify.actions import NODES, RULE, STEP

#: Where they are taken: inside the interval and away from its middle.
TIMES = (0.2, 0.45, 0.8)


def _speed(path: Path, t: float, alpha: float, beta: float, p: float) -> float:
    """int |v|^p/alpha + xi^2/beta dmu at time t."""
    mu = path.at(t)
    if isinstance(mu, Gaussian):
        # v is affine: the mean over mean +- sqrt(d) columns of a root is exact for |v|^2.
        root = np.sqrt(mu.dim) * np.linalg.cholesky(mu.cov).T
        v = path.velocity(t, np.concatenate([mu.mean + root, mu.mean - root]))
        return float(mu.mass * (v**2).sum(axis=1).mean()) / alpha
    assert isinstance(mu, Discrete)
    length = np.linalg.norm(path.velocity(t), axis=1)
    return float(mu.weights @ (length**p / alpha + path.rate(t) ** 2 / beta))


def action_is_distance(
    path: Path, square: float, name: str, *, alpha: float = 1.0, beta: float = 1.0, p: float = 2.0
) -> Identity:
    """The action of a curve, integrated from its tangents, is the squared distance (formula Y1)."""
    found = sum(
        w * _speed(path, float(t), alpha, beta, p) for t, w in zip(NODES, RULE, strict=True)
    )
    residual = max_of([abs(found / square - 1), abs(path.action / square - 1)])
    statement = f"{name}: int int |v|^2/alpha + xi^2/beta dmu dt = D^2 (Y1, Y2)"
    return Identity("action", statement, float(found), square, residual, 1e-8)


def dynamic_is_static(
    path: Path, static: float, name: str, *, alpha: float = 1.0, beta: float = 1.0, p: float = 2.0
) -> Identity:
    """Benamou-Brenier on a grid: least action, extrapolated, and its dual against the static value.

    The tangents of the path, integrated slice by slice, must give the action the path reports; both
    and the dual bound must agree with the static optimum to the accuracy of the grid.
    """
    middles = 0.5 * (path.times[1:] + path.times[:-1])
    felt = float(np.mean([_speed(path, float(t), alpha, beta, p) for t in middles]))
    misses = [
        0.5 * abs(path.extrapolated / static - 1),
        path.gap,
        0.1 * abs(felt / path.action - 1),
        (path.dual - path.value) / static,
    ]
    statement = f"{name}: least action of the dynamic form = static optimum (Y1, Y2)"
    return Identity("dynamic", statement, path.extrapolated, static, max_of(misses), 5e-3)


def continuity(path: Path, name: str, *, mass_factor: float = 1.0) -> Identity:
    """d/dt int phi dmu = int grad phi . v + phi xi dmu for phi = sin(c.x) + x_1^2/5."""
    misses, sides = [], (0.0, 0.0)
    for t in TIMES:
        mu = path.at(t)
        assert isinstance(mu, Discrete)
        c = np.arange(1.0, mu.dim + 1)

        def phi(nu: Measure, c: Array = c) -> float:
            assert isinstance(nu, Discrete)
            return float(nu.weights @ (np.sin(nu.points @ c) + nu.points[:, 0] ** 2 / 5))

        rate = (phi(path.at(t + STEP)) - phi(path.at(t - STEP))) / (2 * STEP)
        grad = np.cos(mu.points @ c)[:, None] * c
        grad[:, 0] += 0.4 * mu.points[:, 0]
        value = np.sin(mu.points @ c) + mu.points[:, 0] ** 2 / 5
        flow = (grad * path.velocity(t)).sum(axis=1) + mass_factor * value * path.rate(t)
        sides = rate, float(mu.weights @ flow)
        misses.append(abs(sides[0] - sides[1]) / max(1.0, abs(rate)))
    statement = f"{name}: mu_t + div(mu v) = mu xi in the weak form, along the path"
    return Identity("continuity", statement, *sides, max_of(misses), 1e-6)


Right = Callable[[Array, Array, Array], Array]


def reaction_law(path: Path, name: str, right: Right, law: str) -> Identity:
    """xi along the atoms of a path obeys d xi/dt = right(xi, weights, v), the geodesic equation."""
    misses, sides = [], (0.0, 0.0)
    for t in TIMES:
        mu = path.at(t)
        assert isinstance(mu, Discrete)
        change = (path.rate(t + STEP) - path.rate(t - STEP)) / (2 * STEP)
        law_says = right(path.rate(t), mu.weights, path.velocity(t))
        misses.append(float(np.abs(change - law_says).max() / (1 + np.abs(change).max())))
        sides = float(np.abs(change).max()), float(np.abs(law_says).max())
    return Identity("geodesic-equation", f"{name} geodesics: {law}", *sides, max_of(misses), 1e-6)


def hellinger_law(xi: Array, weights: Array, v: Array) -> Array:
    """xi' = -xi^2/2, for mu' = mu xi (formula H6)."""
    return -(xi**2) / 2


def spherical_law(xi: Array, weights: Array, v: Array) -> Array:
    """xi' = -(xi^2 + mean of xi^2)/2: the sphere's multiplier keeps the mass."""
    return -(xi**2 + float(weights @ xi**2) / float(weights.sum())) / 2


def mmd_law(xi: Array, weights: Array, v: Array) -> Array:
    """xi' = -xi^2: mu'' = 0 (formula M8)."""
    return -(xi**2)


def cone_law(alpha: float, beta: float) -> Right:
    """xi' = beta |v|^2/(2 alpha) - xi^2/2 along the atoms, by Hamilton-Jacobi (Y1)."""
    return lambda xi, weights, v: beta * (v**2).sum(axis=1) / (2 * alpha) - xi**2 / 2


def momentum(path: Path, *, power: float = 1.0) -> Identity:
    """Along the atoms of a WFR geodesic v' = -xi v (formula Y1): v m is conserved."""
    misses, sides = [], (0.0, 0.0)
    for t in TIMES:
        change = (path.velocity(t + STEP) - path.velocity(t - STEP)) / (2 * STEP)
        law = -power * path.rate(t)[:, None] * path.velocity(t)
        misses.append(float(np.abs(change - law).max() / (1 + np.abs(change).max())))
        sides = float(np.abs(change).max()), float(np.abs(law).max())
    statement = "WFR geodesics: v' = -xi v along the atoms (Y1)"
    return Identity("geodesic-momentum", statement, *sides, max_of(misses), 1e-6)


def free_motion(path: Path, *, drag: float = 0.0) -> Identity:
    """The velocity of a Bures geodesic is carried along itself: v_t + (v . grad) v = 0."""
    misses, sides = [], (0.0, 0.0)
    for t in TIMES:
        mu = path.at(t)
        assert isinstance(mu, Gaussian)
        x = mu.mean + np.linalg.cholesky(mu.cov).T
        now = path.velocity(t, x)
        later = path.velocity(t + STEP, x + STEP * now)
        misses.append(float(np.abs(later - (1 - STEP * drag) * now).max()) / STEP)
        sides = float(np.abs(later).max()), float(np.abs(now).max())
    statement = "W2 geodesics of Gaussians: v_t + (v . grad) v = 0"
    return Identity("geodesic-free-motion", statement, *sides, max_of(misses), 1e-8)


def constant_speed(path: Path, geometry: Geometry, name: str) -> Identity:
    """D(mu_s, mu_t) = |t - s| D(mu_0, mu_1) on a geodesic."""
    whole = float(np.sqrt(path.action))
    pairs = [(0.0, 0.3), (0.3, 0.4), (0.25, 0.9), (0.6, 1.0)]
    parts = [geometry.distance(path.at(s), path.at(t)) / (t - s) for s, t in pairs]
    residual = max_of(abs(part / whole - 1) for part in parts)
    statement = f"{name} geodesics have constant speed: D(mu_s, mu_t) = |t-s| D"
    return Identity("constant-speed", statement, parts[0], whole, residual, 1e-7)


def static_line(a: GridDensity, b: GridDensity, p: float = 2.0) -> float:
    """W_p^p of densities constant on the cells of a line, from quantiles.

    A Gauss rule on every interval between the levels where either quantile has a corner.
    """
    edges = np.linspace(float(a.grid.lower[0]), float(a.grid.upper[0]), a.n + 1)
    levels = [np.concatenate([[0.0], np.cumsum(m.weights)]) for m in (a, b)]
    corners = np.unique(np.concatenate(levels))
    corners = corners[corners <= min(levels[0][-1], levels[1][-1])]
    width = np.diff(corners)
    s = corners[:-1, None] + width[:, None] * NODES
    x, y = (np.interp(s, level, edges) for level in levels)
    return float(width @ (np.abs(x - y) ** p @ RULE))
