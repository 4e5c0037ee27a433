"""The checks of paths and kernel operators fail on wrong paths, operators and constants."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest

import jko
from jko.paths.curves import AffineCurve, LineCurve, MixtureCurve, RootCurve
from jko.verify import kernels, path_checks, paths, problems
from jko.verify.problems import ROUGH, SMOOTH

TARGET, MU = problems.shared(12, seed=4, zeros=0)
PATHS = {
    k: path_checks.path(k) for k in ("lines", "bures", "cone", "hellinger", "spherical", "mmd")
}


@dataclass(frozen=True, eq=False)
class Fast(LineCurve):
    def velocity(self, t, points=None):
        return 1.01 * super().velocity(t, points)


@dataclass(frozen=True, eq=False)
class Rooted(MixtureCurve):
    """A mixture that reports the rates of the Hellinger geodesic."""

    def rate(self, t):
        return RootCurve(self.support, self.before, self.after, 0.0).rate(t)


@dataclass(frozen=True, eq=False)
class Late(AffineCurve):
    """Measures as they should be, velocities of another time."""

    def velocity(self, t, points=None):
        return super().velocity(t**2, points)


def bent(kind, curve, *fields):
    old = PATHS[kind].curve
    values = {f: getattr(old, f) for f in old.__dataclass_fields__}
    return replace(PATHS[kind], curve=curve(**{k: values[k] for k in fields or values}))


def crossed():
    """Particles sent to the ends of others of equal weight: another plan, same marginals."""
    line = LineCurve(np.array([[0.0], [1.0]]), np.array([[3.0], [2.0]]), np.array([0.5, 0.5]))
    return replace(PATHS["lines"], curve=line, action=5.0)


def straight(kind):
    return bent(kind, MixtureCurve, "support", "before", "after")


def law(kind, right):
    return partial(paths.reaction_law, PATHS[kind], kind, right, "law")


def dynamic(path, static, **options):
    return partial(paths.dynamic_is_static, path, static, "W2", **options)


A, B = path_checks.bumps()
GRID_PATH = jko.geodesic(A, B, jko.Wasserstein(), slices=8)
STATIC = paths.static_line(A, B)
SHEARED = kernels.IntegralOperator(SMOOTH.operator(MU), MU.weights * (1 + 0.01 * np.arange(12)))

WRONG = {
    "dynamic, other end": dynamic(GRID_PATH, paths.static_line(A, A) + 1.0),
    "dynamic, half the cost": dynamic(GRID_PATH, STATIC / 2),
    "dynamic, dual above": dynamic(replace(GRID_PATH, dual=1.1 * GRID_PATH.value), STATIC),
    "dynamic, dual far below": dynamic(replace(GRID_PATH, dual=0.9 * GRID_PATH.value), STATIC),
    "dynamic, another alpha": dynamic(GRID_PATH, STATIC, alpha=1.2),
    "action, crossed plan": partial(paths.action_is_distance, crossed(), 4.0 + 1e-3, "W2"),
    "action, fast": partial(
        paths.action_is_distance, bent("lines", Fast), PATHS["lines"].action, "W2"
    ),
    "action, reported": partial(
        paths.action_is_distance,
        replace(PATHS["bures"], action=1.01 * PATHS["bures"].action),
        PATHS["bures"].action,
        "W2",
    ),
    "action, late": partial(
        paths.action_is_distance, bent("bures", Late), PATHS["bures"].action, "W2"
    ),
    "action, other beta": partial(
        paths.action_is_distance, PATHS["cone"], PATHS["cone"].action, "WFR", alpha=0.8, beta=2.1
    ),
    "action, straight for Hellinger": partial(
        paths.action_is_distance, straight("hellinger"), PATHS["hellinger"].action, "He"
    ),
    "action, straight for the sphere": partial(
        paths.action_is_distance, straight("spherical"), PATHS["spherical"].action, "SHe"
    ),
    "continuity, fast": partial(paths.continuity, bent("lines", Fast), "W2"),
    "continuity, growth": partial(paths.continuity, PATHS["cone"], "WFR", mass_factor=1.01),
    "continuity, Hellinger": partial(paths.continuity, PATHS["hellinger"], "He", mass_factor=0.99),
    "continuity, sphere": partial(paths.continuity, PATHS["spherical"], "SHe", mass_factor=-1.0),
    "continuity, other rates": partial(paths.continuity, bent("mmd", Rooted), "MMD"),
    "law, Hellinger against the sphere": law("spherical", paths.hellinger_law),
    "law, straight against Hellinger": law("hellinger", paths.mmd_law),
    "law, sphere against Hellinger": law("hellinger", paths.spherical_law),
    "law, Hellinger against MMD": law("mmd", paths.hellinger_law),
    "law, cone of other rates": law("cone", paths.cone_law(0.8, 2.1)),
    "momentum": partial(paths.momentum, PATHS["cone"], power=0.99),
    "free motion, drag": partial(paths.free_motion, PATHS["bures"], drag=0.01),
    "free motion, late": partial(paths.free_motion, bent("bures", Late)),
    "speed, straight in Hellinger": partial(
        paths.constant_speed, straight("hellinger"), jko.Hellinger(), "He"
    ),
    "speed, arc in Hellinger": partial(
        paths.constant_speed, PATHS["spherical"], jko.Hellinger(), "He"
    ),
    "speed, roots in MMD": partial(
        paths.constant_speed, PATHS["hellinger"], jko.MMD(ROUGH, mass="free"), "MMD"
    ),
    "speed, other rate": partial(
        paths.constant_speed, PATHS["bures"], 1.01 * jko.Wasserstein(), "W2"
    ),
    "speed, other cone": partial(
        paths.constant_speed, PATHS["cone"], jko.WassersteinFisherRao(0.8, 2.1), "WFR"
    ),
    "three ways": partial(
        kernels.three_ways, TARGET, MU, kernel=ROUGH, geometry=1.01 * jko.MMD(ROUGH)
    ),
    "three ways, other kernel": partial(
        kernels.three_ways, TARGET, MU, kernel=ROUGH, geometry=jko.MMD(SMOOTH)
    ),
    "witness, of another kernel": partial(
        kernels.witness_is_best,
        TARGET,
        MU,
        kernel=ROUGH,
        witness=jko.MMD(SMOOTH).witness(TARGET, MU),
    ),
    "witness, reversed": partial(
        kernels.witness_is_best,
        TARGET,
        MU,
        kernel=ROUGH,
        witness=jko.MMD(ROUGH).witness(MU, TARGET),
    ),
    "onsager, other kernel": partial(kernels.onsager, MU, kernel=SMOOTH, operator=ROUGH),
    "onsager, scaled": partial(kernels.onsager, MU, kernel=SMOOTH, chord=1.01 * jko.Hellinger()),
    "trace": partial(kernels.trace, MU, kernel=SMOOTH, found=SHEARED),
    "hilbert-schmidt": partial(kernels.hilbert_schmidt, MU, kernel=SMOOTH, found=SHEARED),
    "mercer": partial(kernels.mercer, kernel=jko.kernels.Gaussian(0.81)),
    "small ridge": partial(kernels.small_ridge, TARGET, MU, kernel=ROUGH, ridges=(1e2, 1e1)),
    "large ridge": partial(kernels.large_ridge, TARGET, MU, kernel=ROUGH, ridge=1.0),
    "large ridge, other kernel": partial(
        kernels.large_ridge, TARGET, MU, kernel=ROUGH, other=SMOOTH
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_caught(name):
    identity = WRONG[name]()
    assert not identity.holds, str(identity)


def test_the_static_value_on_a_line_is_that_of_shifted_densities():
    grid = jko.Grid([0.0], [8.0], [16])
    w = np.zeros(16)
    w[2:5] = 0.2, 0.5, 0.3
    a, b = jko.GridDensity(grid, w), jko.GridDensity(grid, np.roll(w, 7))
    assert paths.static_line(a, b) == pytest.approx(3.5**2)
    assert paths.static_line(a, b, 3.0) == pytest.approx(3.5**3)


def test_integral_operator_is_the_integral():
    operator = ROUGH.integral_operator(MU)
    g = np.cos(np.arange(12.0))
    assert operator @ g == pytest.approx(ROUGH(MU.points) @ (MU.weights * g))
    vectors = np.linalg.eigvals(ROUGH(MU.points) * MU.weights)
    assert operator.spectrum == pytest.approx(np.sort(vectors.real)[::-1])
    energy = jko.kernels.Energy().integral_operator(MU)
    assert energy.trace == 0
    assert energy.nuclear_norm == pytest.approx(np.abs(energy.spectrum).sum())
    assert energy.nuclear_norm > 0.1


def test_integral_operator_refuses_what_has_no_weights():
    with pytest.raises(jko.InvalidArgument, match=r"rho got ndarray; pass a Histogram.*operator"):
        ROUGH.integral_operator(MU.points)
    with pytest.raises(jko.InvalidArgument, match=r"g has shape \(3,\), expected \(12,\)"):
        ROUGH.integral_operator(MU).apply(np.ones(3))


def test_witness_between_equal_measures_is_zero():
    assert not jko.MMD(ROUGH).witness(MU, MU)(TARGET.points).any()
    f = jko.MMD(ROUGH).witness(TARGET, MU)
    assert TARGET.weights @ f(TARGET.points) - MU.weights @ f(MU.points) == pytest.approx(
        jko.MMD(ROUGH).distance(TARGET, MU)
    )
