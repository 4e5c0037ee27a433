"""The checks of paths and of kernel operators: a name, a function and its problem."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from jko.geometries import MMD, Hellinger, SphericalHellinger, Wasserstein, WassersteinFisherRao
from jko.geometries.base import Geometry
from jko.identity import Identity
from jko.measures import Grid, GridDensity, Particles
from jko.measures.base import Measure
from jko.paths.geodesic import geodesic
from jko.paths.path import Path
from jko.validation import Array
from jko.verify import kernels, paths, problems
from jko.verify.problems import ROUGH, SMOOTH

Check = Callable[[], Identity]
#: The rates of transport and reaction in every check.
ALPHA = 0.8
BETA = 2.0
CONE = WassersteinFisherRao(ALPHA, BETA)


def bumps(masses: tuple[float, float] = (1.0, 1.0)) -> tuple[GridDensity, GridDensity]:
    """Two densities on 32 cells of the line, small at its ends."""
    grid = Grid([-2.0], [2.0], [32])

    def bump(centre: float, width: float, mass: float) -> GridDensity:
        def density(x: Array) -> Array:
            return np.exp(-((x[:, 0] - centre) ** 2) / (2 * width**2)) + 1e-9

        return GridDensity.from_function(density, grid, mass=mass)

    return bump(-0.5, 0.3, masses[0]), bump(0.5, 0.4, masses[1])


def ends(kind: str) -> tuple[Measure, Measure, Geometry, str]:
    """Both ends of a path, its geometry and what its statements call it."""
    if kind == "lines":
        return *problems.scattered(6, 8, masses=(1.3, 1.3)), Wasserstein(), "W2 of particles"
    if kind == "bures":
        return *problems.gaussians(), Wasserstein(), "W2 of Gaussians"
    if kind == "cone":
        return *problems.scattered(6, 8, masses=(1.3, 0.7)), CONE, "WFR"
    if kind == "hellinger":
        pair = problems.shared(15, seed=6, zeros=0, masses=(1.0, 2.2))
        return *pair, Hellinger(), "Hellinger"
    equal = problems.shared(15, seed=6, zeros=0, masses=(1.4, 1.4))
    if kind == "spherical":
        return *equal, SphericalHellinger(), "Spherical Hellinger"
    return *equal, MMD(ROUGH), "MMD"


def path(kind: str) -> Path:
    """The computed geodesic between `ends`."""
    a, b, geometry, _ = ends(kind)
    return geodesic(a, b, geometry, slices=4)


def _action(kind: str) -> Identity:
    a, b, geometry, name = ends(kind)
    scale = {"alpha": ALPHA, "beta": BETA} if kind == "cone" else {}
    return paths.action_is_distance(path(kind), geometry.sqdistance(a, b), name, **scale)


def _continuity(kind: str) -> Identity:
    return paths.continuity(path(kind), ends(kind)[3])


def _speed(kind: str) -> Identity:
    _, _, geometry, name = ends(kind)
    return paths.constant_speed(path(kind), geometry, name)


def _law(kind: str) -> Identity:
    right, law = LAWS[kind]
    return paths.reaction_law(path(kind), ends(kind)[3], right, law)


LAWS: dict[str, tuple[paths.Right, str]] = {
    "hellinger": (paths.hellinger_law, "xi' = -xi^2/2 for mu' = mu xi (H6)"),
    "spherical": (paths.spherical_law, "xi' = -(xi^2 + mean of xi^2)/2"),
    "mmd": (paths.mmd_law, "xi' = -xi^2, for mu'' = 0 (M8)"),
    "cone": (paths.cone_law(ALPHA, BETA), "xi' = beta |v|^2/(2 alpha) - xi^2/2 (Y1)"),
}


def _on_line() -> Identity:
    a, b = bumps()
    found = geodesic(a, b, Wasserstein(), slices=8)
    return paths.dynamic_is_static(found, paths.static_line(a, b), "Benamou-Brenier, W2")


def _power_line(p: float = 1.5) -> Identity:
    a, b = bumps()
    found = geodesic(a, b, Wasserstein(p=p), slices=8)
    return paths.dynamic_is_static(found, paths.static_line(a, b, p), f"W_{p:g}^p", p=p)


def _power_particles(p: float = 3.0) -> Identity:
    a, b, *_ = ends("lines")
    assert isinstance(a, Particles)
    assert isinstance(b, Particles)
    space = Wasserstein(p=p)
    plan = space.plan(a, b).tocoo()
    length = np.linalg.norm(a.points[plan.row] - b.points[plan.col], axis=1)
    static = float(plan.data @ length**p)
    found = geodesic(a, b, space, slices=4)
    return paths.action_is_distance(found, static, f"W_{p:g}^p of particles", p=p)


def _unbalanced_line() -> Identity:
    a, b = bumps((1.0, 1.7))
    found = geodesic(a, b, CONE, slices=8)
    static = CONE.sqdistance(a, b)
    return paths.dynamic_is_static(found, static, "WFR", alpha=ALPHA, beta=BETA)


def path_checks() -> dict[str, Check]:
    """Y1, H6, M8: what is true along geodesics."""
    return {
        "dynamic-wasserstein": _on_line,
        "dynamic-power": _power_line,
        "dynamic-wfr": _unbalanced_line,
        "action-power": _power_particles,
        **{
            f"action-{kind}": partial(_action, kind)
            for kind in ("lines", "bures", "cone", "hellinger", "spherical")
        },
        **{
            f"continuity-{kind}": partial(_continuity, kind)
            for kind in ("lines", "cone", "hellinger", "spherical", "mmd")
        },
        **{f"geodesic-equation-{kind}": partial(_law, kind) for kind in LAWS},
        "geodesic-equation-momentum": lambda: paths.momentum(path("cone")),
        "geodesic-equation-bures": lambda: paths.free_motion(path("bures")),
        **{
            f"constant-speed-{kind}": partial(_speed, kind)
            for kind in ("bures", "cone", "hellinger", "spherical", "mmd")
        },
    }


def kernel_checks() -> dict[str, Check]:
    """M4, M8, Y3: kernels as operators."""
    target, mu = problems.shared(12, seed=4, zeros=0)
    return {
        "mmd-three-ways": partial(kernels.three_ways, target, mu, kernel=ROUGH),
        "mmd-witness": partial(kernels.witness_is_best, target, mu, kernel=ROUGH),
        "onsager-mmd": partial(kernels.onsager, mu, kernel=SMOOTH),
        "kernel-trace": partial(kernels.trace, mu, kernel=SMOOTH),
        "kernel-hilbert-schmidt": partial(kernels.hilbert_schmidt, mu, kernel=SMOOTH),
        "kernel-mercer": kernels.mercer,
        "kernel-fisher-rao-small-ridge": partial(kernels.small_ridge, target, mu, kernel=ROUGH),
        "kernel-fisher-rao-large-ridge": partial(kernels.large_ridge, target, mu, kernel=ROUGH),
    }
