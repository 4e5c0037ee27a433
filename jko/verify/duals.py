"""Duality of static transport, and what holds along the paths of its dynamic form on grids."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from jko.distances import transport
from jko.geometries import Wasserstein, WassersteinFisherRao
from jko.identity import Identity, max_of
from jko.measures.base import Discrete
from jko.paths.geodesic import geodesic
from jko.paths.path import Path
from jko.validation import Array
from jko.verify import problems
from jko.verify.path_checks import BETA, CONE, bumps

Potentials = tuple[Array, Array]


def kantorovich(
    a: Discrete, b: Discrete, p: float = 2.0, *, found: Potentials | None = None
) -> Identity:
    """W_p^p = max int f da + int h db over f(x) + h(y) <= |x - y|^p, attained (formula Y2)."""
    f, h = transport(a, b, p=p).potentials if found is None else found
    i, j = a.weights > 0, b.weights > 0  # elsewhere a potential is not bounded
    cost = np.linalg.norm(a.points[i][:, None] - b.points[j], axis=2) ** p
    primal = Wasserstein(p=p).distance(a, b) ** p
    dual = float(f[i] @ a.weights[i] + h[j] @ b.weights[j])
    beyond = float((f[i][:, None] + h[j] - cost).max())
    residual = max_of([abs(dual / primal - 1), beyond / float(cost.max())])
    statement = f"W_{p:g}^p = max int f da + int h db over f + h <= |x - y|^p"
    return Identity("dual", statement, dual, primal, residual, 1e-10)


def unbalanced_dual(
    a: Discrete, b: Discrete, geometry: WassersteinFisherRao = CONE, *,
    found: Potentials | None = None,
) -> Identity:  # fmt: skip
    """WFR^2 = (4/beta) max int 1 - e^{-f} da + int 1 - e^{-h} db over f + h <= c (formula U2)."""
    f, h = transport(a, b, cost=geometry, relax=1.0).potentials if found is None else found
    i, j = a.weights > 0, b.weights > 0
    apart = np.linalg.norm(a.points[i][:, None] - b.points[j], axis=2)
    angle = np.minimum(np.sqrt(geometry.beta / (4 * geometry.alpha)) * apart, np.pi / 2)
    with np.errstate(divide="ignore"):
        cost = -2 * np.log(np.where(angle < np.pi / 2, np.cos(angle), 0.0))
    primal = geometry.sqdistance(a, b)
    f, h = f[i], h[j]
    gain = float(a.weights[i] @ -np.expm1(-f) + b.weights[j] @ -np.expm1(-h))
    inside = np.isfinite(cost) & np.isfinite(f[:, None] + h)
    beyond = float((f[:, None] + h - cost)[inside].max())
    residual = max_of([abs(4 / geometry.beta * gain / primal - 1), beyond])
    statement = "WFR^2 = 4/beta max int 1 - e^-f da + int 1 - e^-h db over f + h <= cost (U2)"
    return Identity("dual", statement, 4 / geometry.beta * gain, primal, residual, 1e-9)


def kinetic(path: Path, name: str, *, p: float = 2.0) -> Identity:
    """int |v|^p dmu is the same at all times, and so is the momentum int |v|^{p-2} v dmu.

    Both follow from the geodesic equation v_t + (v . grad) v = 0.
    """
    speeds, momenta = [], []
    for t in 0.5 * (path.times[1:] + path.times[:-1]):
        mu, v = path.at(float(t)), path.velocity(float(t))
        assert isinstance(mu, Discrete)
        length = np.linalg.norm(v, axis=1)
        speeds.append(float(mu.weights @ length**p))
        with np.errstate(divide="ignore", invalid="ignore"):
            along = np.where(length > 0, length ** (p - 2) * v[:, 0], 0.0)
        momenta.append(float(mu.weights @ along))
    misses = [np.ptp(speeds) / np.mean(speeds), np.ptp(momenta) / abs(np.mean(momenta))]
    statement = f"{name} geodesic on a grid: speed and momentum are constant in time"
    return Identity("geodesic-equation", statement, speeds[0], speeds[-1], max_of(misses), 2e-2)


def mass_law(path: Path, *, beta: float = BETA) -> Identity:
    """m'' = beta WFR^2/2 along a WFR geodesic: xi' = beta |v|^2/(2 alpha) - xi^2/2, integrated."""
    masses = [mu.mass for mu in path.measures if isinstance(mu, Discrete)]
    bend = np.polyfit(path.times, masses, 2)[0] * 2
    wanted = beta * path.action / 2
    off = float(np.abs(np.polyval(np.polyfit(path.times, masses, 2), path.times) - masses).max())
    residual = max_of([abs(bend / wanted - 1), off / max(masses)])
    statement = "WFR geodesic on a grid: the mass is quadratic in time, m'' = beta WFR^2/2 (Y1)"
    return Identity("geodesic-equation", statement, float(bend), wanted, residual, 2e-2)


def grid_path(kind: str) -> Path:
    """The geodesic between two bumps on the line, in its dynamic form."""
    if kind == "wfr":
        return geodesic(*bumps((1.0, 1.7)), CONE, slices=12)
    return geodesic(*bumps(), Wasserstein(p=1.5 if kind == "power" else 2.0), slices=16, tol=2e-4)


def dual_checks() -> dict[str, Callable[[], Identity]]:
    """U2, Y1, Y2: duals of static forms, and the geodesic equation along paths on grids."""
    equal = problems.scattered(6, 8, masses=(1.3, 1.3))
    unequal = problems.scattered(6, 8, masses=(1.3, 0.7))
    return {
        "dual-wasserstein": partial(kantorovich, *equal),
        "dual-power": partial(kantorovich, *equal, 1.5),
        "dual-wfr": partial(unbalanced_dual, *unequal),
        "geodesic-equation-grid": lambda: kinetic(grid_path("plain"), "W2"),
        "geodesic-equation-power": lambda: kinetic(grid_path("power"), "W_1.5", p=1.5),
        "geodesic-equation-mass": lambda: mass_law(grid_path("wfr")),
    }
