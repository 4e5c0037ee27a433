"""Flows of every kind, a solver that draws random numbers, and bit-wise comparison."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
from generators import measures
from generators.granted import Granted

import jko
from jko.measures.base import Discrete
from jko.solvers import Answer, Controls, ProxSolver
from jko.solvers.auto import AUTO
from jko.status import Breakdown

KERNEL = jko.kernels.Gaussian(0.8)
AVAILABLE = {type(s).__name__ for s in AUTO}


#: Set to the step in which `Noisy` is to be interrupted after it drew its numbers.
TRAP: list[int] = []


@dataclass(frozen=True)
class Noisy(ProxSolver):
    """Random walk whose step depends on its warm start; may break down after a few steps."""

    lasts: int = 10**6

    guarantee: ClassVar[str] = "none"
    default_tol: ClassVar[float] = 1e-6

    def accepts(self, problem: Any) -> str | None:
        return None if isinstance(problem.previous, jko.Particles) else "it moves particles"

    def solve(self, problem: Any, controls: Controls) -> Answer:
        count = 0 if controls.warm is None else controls.warm["count"]
        if count >= self.lasts:
            raise Breakdown(jko.Status.BROKEN, "worn out")
        noise = controls.rng.normal(size=problem.previous.points.shape)
        if count in TRAP:
            raise KeyboardInterrupt
        drift = 0.0 if controls.warm is None else controls.warm["pair"][1]
        moved = problem.previous.with_points(problem.previous.points + 0.1 * noise + drift)
        warm = {
            "count": count + 1,
            "pair": (None, 0.01 * noise),
            "flags": [True, np.float64(1 / 3)],
        }
        return Answer(moved, Granted(), 1, warm=warm)


def well(x: np.ndarray) -> np.ndarray:
    return 0.5 * (x**2).sum(axis=1)


def well_energy() -> jko.Potential:
    return jko.Potential(well, gradient=lambda x: x)


def line() -> tuple[jko.GridDensity, jko.GridDensity]:
    grid = jko.Grid(-3.0, 3.0, 40)
    mu = jko.GridDensity.from_function(lambda x: np.exp(-2 * (x[:, 0] - 1) ** 2), grid, mass=1.0)
    pi = jko.GridDensity.from_function(lambda x: np.exp(-(x[:, 0] ** 2) / 2), grid, mass=1.0)
    return mu, pi


@dataclass(frozen=True)
class Case:
    """The arguments of a flow."""

    measure: Any
    energy: Any
    geometry: Any
    tau: float = 0.1
    options: Any = ()

    def run(self, **extra: Any) -> jko.Trajectory:
        settings = {"tau": self.tau, "steps": 6, **dict(self.options), **extra}
        return jko.flow(self.measure, self.energy, self.geometry, **settings)


def _cases() -> dict[str, Case]:
    mu, pi = measures.particles(17, seed=1), measures.particles(21, seed=2, shift=1.0)
    hist = measures.histogram(seed=3)
    full = measures.sibling(hist, seed=4, zeros=0)
    grid, target = line()
    transport, matching = jko.Wasserstein(), jko.MMD(KERNEL)
    union = jko.solvers.SimplexQP(support="union", budget=25)
    force = jko.MMDEnergy(pi, KERNEL)
    bell = jko.Gaussian([1.0, -1.0], [[1.0, 0.3], [0.3, 0.5]])
    cases = {
        "particles": Case(mu, force, 0.7 * transport + matching),
        "particles-strang": Case(mu, force, transport + 2 * matching, 0.1, {"splitting": "strang"}),
        "particles-union": Case(
            mu, force, transport + matching, 0.1, {"solver": (jko.solvers.Lagrangian(), union)}
        ),
        "histogram": Case(hist, jko.MMDEnergy(full, KERNEL), matching),
        "grid": Case(grid, jko.MMDEnergy(target, KERNEL), matching),
        "gaussian": Case(bell, jko.KL(jko.Gaussian([0.0, 0.0], np.eye(2))), transport),
        "random": Case(mu, well_energy(), transport, 0.1, {"solver": Noisy(), "rng": 7}),
        "random-mt": Case(
            mu,
            well_energy(),
            transport,
            0.1,
            {"solver": Noisy(), "rng": np.random.Generator(np.random.MT19937(3))},
        ),
    }
    if "ClosedForm" in AVAILABLE:
        geometry = jko.Hellinger() + jko.SphericalHellinger()
        cases["hellinger"] = Case(hist, jko.InclusiveKL(full), geometry)
    if "Entropic" in AVAILABLE:
        cases["entropic"] = Case(grid, jko.KL(target), transport + jko.SphericalHellinger(), 0.05)
    return cases


CASES = _cases()


def fresh(name: str) -> Case:
    """A case with a random state of its own."""
    return _cases()[name]


def same_bits(a: Any, b: Any) -> bool:
    """Whether two measures are equal to the last bit."""
    if type(a) is not type(b):
        return False
    if isinstance(a, Discrete):
        return bool(np.array_equal(a.points, b.points) and np.array_equal(a.weights, b.weights))
    parts = (a.mean, b.mean), (a.cov, b.cov), (a.mass, b.mass)
    return all(np.array_equal(x, y) for x, y in parts)


def assert_same(a: jko.Trajectory, b: jko.Trajectory, figures: bool = True) -> None:
    """Bit-identical trajectories, timings apart."""
    assert np.array_equal(a.times, b.times)
    assert np.array_equal(a.energies, b.energies)
    assert len(a.measures) == len(b.measures)
    assert all(same_bits(x, y) for x, y in zip(a.measures, b.measures, strict=True))
    assert (a.status, dict(a.description)) == (b.status, dict(b.description))
    assert a.records.keys() == b.records.keys()
    for name in a.records:
        for x, y in zip(a.records[name], b.records[name], strict=True):
            assert len(x) == len(y)
            assert all(np.array_equal(u, v) for u, v in zip(x, y, strict=True))
    assert [timeless(s) for s in a.steps] == [timeless(s) for s in b.steps]


def timeless(record: Any) -> tuple[Any, ...]:
    """A step record without its timings."""
    substeps = record.substeps
    skip = ("seconds", "info")
    figures = [[getattr(s, f.name) for f in fields(s) if f.name not in skip] for s in substeps]
    infos = [{k: v for k, v in s.info.items() if "seconds" not in k} for s in substeps]
    return record.index, record.time, record.tau, record.energy, record.mass, figures, infos
