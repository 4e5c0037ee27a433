"""What a split step repeats: energies, geometries and solvers lined up, and how they compose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypedDict, TypeVar

import numpy as np

from jko.energies.base import Energy
from jko.energies.moment import Moment, within
from jko.energies.recorded import recorded
from jko.energies.time_dependent import TimeDependent
from jko.errors import InvalidArgument, Unsupported
from jko.geometries.base import Geometry, GeometrySum
from jko.measures.base import Measure
from jko.solvers.auto import rules_of
from jko.solvers.rules import Solver
from jko.validation import instance, one_of

#: Splittings: which geometry moves, and for which fraction of tau.
SPLITTINGS = ("lie", "strang")
#: Sub-steps: "implicit" is the proximal step, "midpoint" half of one, then the extrapolated map;
#: "richardson" extrapolates the whole split step from one of tau and two of tau/2.
SCHEMES = ("implicit", "midpoint", "richardson")


#: An energy, or a function of time that returns one.
Energies = Energy | Callable[[float], Energy]
#: What `energy=` of a flow takes: one, or one per geometry.
Functional = Energies | tuple[Energies, ...]
#: What each sub-step of a split step carried to the next, where there was one.
Warm = Sequence[object] | None
Part = TypeVar("Part")


class StepOptions(TypedDict, total=False):
    """Settings handed to every sub-step, keyword arguments of `jko.step`."""

    solver: Solver
    tol: float | None
    accuracy: float | None
    max_iter: int | None
    rng: np.random.Generator


@dataclass(frozen=True)
class Scheme:
    """How one step of a sum of geometries is composed.

    Attributes
    ----------
    splitting : {"lie", "strang"}
        "lie": G_1, G_2, ... for tau each. "strang": halves around a whole step of the last one.
    substep : {"implicit", "midpoint", "richardson"}
        "implicit": the proximal step J_tau. "midpoint": 2 T - id along the geodesic, T the half
        step J_{tau/2}; second order, but the energy is no longer guaranteed to decrease.
        "richardson": 2 S_{tau/2} S_{tau/2} - S_tau of the split step S, linear in the weights on a
        fixed support (also on grids, where no map is at hand) and in the positions of particles;
        second order for any splitting, at three times the cost, without that guarantee either.
    """

    splitting: str = "lie"
    substep: str = "implicit"

    def __post_init__(self) -> None:
        one_of(self.splitting, SPLITTINGS, "splitting")
        one_of(self.substep, SCHEMES, "scheme")

    @property
    def moment(self) -> float:
        """Where in a step, as a share of tau, an energy that depends on time is taken."""
        return 0.5 if self.substep == "midpoint" else 1.0

    def schedule(self, parts: int) -> list[tuple[int, float]]:
        """Pairs (index of the geometry, fraction of tau), in the order they are taken."""
        if self.splitting == "lie" or parts == 1:
            return [(i, 1.0) for i in range(parts)]
        halves = [(i, 0.5) for i in range(parts - 1)]
        return [*halves, (parts - 1, 1.0), *reversed(halves)]

    def order(self, parts: int = 2) -> int:
        """Declared order in tau; Strang is second order only with second-order sub-steps."""
        if self.substep == "richardson":
            return 2
        symmetric = parts == 1 or self.splitting == "strang"
        return 2 if symmetric and self.substep == "midpoint" else 1

    def preserves_equilibrium(self, shared_energy: bool = True) -> bool:
        """Whether argmin F is a fixed point: every prox of one F fixes it, of several F none does.

        Holds for solvers without bias; the plain entropic step moves the equilibrium.
        """
        return shared_energy


@dataclass(frozen=True, eq=False)
class Plan:
    """Energies, geometries and solvers lined up: what a split step repeats at every tau."""

    energies: tuple[Energy, ...]
    geometries: tuple[Geometry, ...]
    solvers: tuple[Solver, ...]
    scheme: Scheme

    @classmethod
    def of(
        cls,
        energy: Functional | None,
        geometry: Geometry | GeometrySum | None,
        solver: Solver | tuple[Solver, ...] = "auto",
        scheme: Scheme | None = None,
        constraints: Sequence[Moment] = (),
    ) -> Plan:
        """Check the arguments of a split step and give every geometry its energy and solver.

        Every energy is held in the sets of `constraints`.
        """
        remedy = "pass a geometry or a sum such as jko.Wasserstein() + jko.Hellinger()"
        whole: Geometry | GeometrySum = instance(
            geometry, (Geometry, GeometrySum), "geometry", remedy
        )
        parts = whole.parts
        energies = _held(
            [
                instance(f, Energy, "energy", "pass an energy, or a tuple with one per geometry")
                for f in _timed(_per_part(energy, parts, "energy"))
            ],
            constraints,
        )
        solvers: tuple[Solver, ...] = _per_part(solver, parts, "solver")
        chosen = scheme or Scheme()
        for rule in (r for s in solvers if not _is_auto(s) for r in rules_of(s)):
            why = rule.solver.against(chosen.substep)
            if why is not None and chosen.substep != "implicit":
                raise Unsupported(
                    f"scheme = {chosen.substep!r} extrapolates steps of tau/2, but {why};"
                    " use scheme='implicit', or a proximal step"
                )
        return cls(energies, parts, solvers, chosen)

    @property
    def varies(self) -> bool:
        """Whether an energy depends on time."""
        return any(f.varies for f in self.energies)

    def at(self, time: float) -> Plan:
        """The plan with the energies at a time."""
        if not self.varies:
            return self
        now = {id(f): f.at(time) for f in self.energies}
        return replace(self, energies=tuple(now[id(f)] for f in self.energies))

    @property
    def shared_energy(self) -> bool:
        """Whether every geometry moves by the same energy."""
        return all(f is self.energies[0] for f in self.energies)

    def energy_of(self, mu: Measure) -> float:
        """F(mu) as records keep it; the sum of the distinct energies when they were given apart."""
        distinct: list[Energy] = []
        for f in self.energies:
            if not any(f is g for g in distinct):
                distinct.append(f)
        return float(sum(recorded(f, mu) for f in distinct))


def _timed(energies: tuple[object, ...]) -> tuple[object, ...]:
    """Functions of time as energies that depend on time; the same function as the same energy."""
    made: dict[int, object] = {}
    for f in energies:
        if callable(f) and not isinstance(f, (Energy, type)):
            made.setdefault(id(f), TimeDependent(f))
    return tuple(made.get(id(f), f) for f in energies)


def _held(energies: list[Energy], constraints: Sequence[Moment]) -> tuple[Energy, ...]:
    """The energies within the sets; one that several geometries share stays one."""
    made = {id(f): within(f, constraints) for f in energies}
    return tuple(made[id(f)] for f in energies)


def _is_auto(solver: object) -> bool:
    return isinstance(solver, str) and solver == "auto"


def _per_part(
    value: Part | tuple[Part, ...], parts: Sequence[Geometry], name: str
) -> tuple[Part, ...]:
    if not isinstance(value, tuple):
        return (value,) * len(parts)
    if len(value) != len(parts):
        raise InvalidArgument(
            f"{name} has {len(value)} entries for {len(parts)} geometries; give one per geometry"
        )
    return value
