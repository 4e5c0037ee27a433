"""One step of a sum of geometries: a product of proximal steps, one geometry after the other."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from jko.energies.base import Energy
from jko.energies.recorded import recorded
from jko.errors import InvalidArgument, StepFailed, Unsupported
from jko.geometries.base import Geometry, GeometrySum
from jko.measures.base import Measure
from jko.measures.linear import extrapolated
from jko.prox.result import StepResult
from jko.solvers.auto import rules_of
from jko.solvers.base import ProxSolver
from jko.solvers.rules import Rule
from jko.solvers.step import step
from jko.status import Status
from jko.validation import instance, one_of, positive, rng_of

#: Splittings: which geometry moves, and for which fraction of tau.
SPLITTINGS = ("lie", "strang")
#: Sub-steps: "implicit" is the proximal step, "midpoint" half of one, then the extrapolated map;
#: "richardson" extrapolates the whole split step from one of tau and two of tau/2.
SCHEMES = ("implicit", "midpoint", "richardson")


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


@dataclass(frozen=True, repr=False)
class SplitResult:
    """The result of `jko.split_step`.

    Attributes
    ----------
    measure : Measure
    energy : float
        F at the new measure; for a tuple of energies, the sum of the distinct ones.
    substeps : tuple of StepResult
        Every sub-step taken, in order: one per geometry for "lie", 2n-1 for "strang".
    seconds : float
    warm : tuple
        Warm starts, one per sub-step; hand it to the next split step.
    """

    measure: Measure
    energy: float
    substeps: tuple[StepResult, ...]
    seconds: float
    warm: tuple[Any, ...] = field(default=())

    @property
    def success(self) -> bool:
        """Whether every sub-step is certified."""
        return all(r.success for r in self.substeps)

    @property
    def status(self) -> Status:
        """That of the first sub-step that is not certified, else certified."""
        return next((r.status for r in self.substeps if not r.success), Status.CERTIFIED)

    @property
    def message(self) -> str:
        """The messages of the sub-steps that failed, or of all."""
        failed = [r.message for r in self.substeps if not r.success]
        return "; ".join(failed or [r.message for r in self.substeps])

    def __repr__(self) -> str:
        inner = ", ".join(map(repr, self.substeps))
        return f"SplitResult(energy={self.energy:.6g}, substeps=[{inner}])"


@dataclass(frozen=True, eq=False)
class Plan:
    """Energies, geometries and solvers lined up: what a split step repeats at every tau."""

    energies: tuple[Energy, ...]
    geometries: tuple[Geometry, ...]
    solvers: tuple[str | ProxSolver | list[Rule | ProxSolver], ...]
    scheme: Scheme

    @classmethod
    def of(
        cls, energy: Any, geometry: Any, solver: Any = "auto", scheme: Scheme | None = None
    ) -> Plan:
        """Check the arguments of a split step and give every geometry its energy and solver."""
        remedy = "pass a geometry or a sum such as jko.Wasserstein() + jko.Hellinger()"
        whole: Any = instance(geometry, (Geometry, GeometrySum), "geometry", remedy)
        parts: tuple[Geometry, ...] = whole.parts
        energies = _per_part(energy, parts, "energy")
        for f in energies:
            instance(f, Energy, "energy", "pass an energy, or a tuple with one per geometry")
        solvers = _per_part(solver, parts, "solver")
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


def _is_auto(solver: Any) -> bool:
    return isinstance(solver, str) and solver == "auto"


def _per_part(value: Any, parts: Sequence[Geometry], name: str) -> tuple[Any, ...]:
    if not isinstance(value, tuple):
        return (value,) * len(parts)
    if len(value) != len(parts):
        raise InvalidArgument(
            f"{name} has {len(value)} entries for {len(parts)} geometries; give one per geometry"
        )
    return value


def split_step(
    measure: Measure,
    energy: Energy | tuple[Energy, ...],
    geometry: Geometry | GeometrySum,
    tau: float,
    *,
    splitting: str = "lie",
    scheme: str = "implicit",
    solver: Any = "auto",
    tol: float | None = None,
    accuracy: float | None = None,
    max_iter: int | None = None,
    warm: Sequence[Any] | None = None,
    rng: Any = None,
    throw: bool = True,
) -> SplitResult:
    """Take one step of alpha G_1 + beta G_2 + ...: a proximal step of length alpha tau in G_1,
    then one of length beta tau in G_2, and so on.

    Parameters
    ----------
    measure : Measure
    energy : Energy, or a tuple with one per geometry
        With one energy for all geometries the equilibrium is kept; with several it is not.
    geometry : Geometry or sum of geometries
    tau : float

    Other Parameters
    ----------------
    splitting : {"lie", "strang"}
        Both are first order with proximal sub-steps; "strang" is second order with
        `scheme="midpoint"`.
    scheme : {"implicit", "midpoint", "richardson"}
        See `jko.flows.splitting.Scheme`.
    solver : "auto", a solver, or a tuple with one per geometry
    tol, accuracy, max_iter, rng, throw
        As in `jko.step`, for every sub-step.
    warm : sequence, optional
        `warm` of the previous split step.

    Returns
    -------
    SplitResult

    References
    ----------
    Gallouët and Monsaingeon (2017); Strang (1968).
    """
    plan = Plan.of(energy, geometry, solver, Scheme(splitting, scheme))
    options = {"tol": tol, "accuracy": accuracy, "max_iter": max_iter, "rng": rng_of(rng)}
    result = advance(measure, plan, positive(tau, "tau"), warm, options)
    if throw and not result.success:
        raise StepFailed(result.message, result)
    return result


def advance(
    measure: Measure, plan: Plan, tau: float, warm: Sequence[Any] | None, options: dict[str, Any]
) -> SplitResult:
    """The split step itself; stops at the first sub-step that is not certified."""
    if plan.scheme.substep == "richardson":
        return _richardson(measure, plan, tau, warm, options)
    started = time.perf_counter()
    schedule = plan.scheme.schedule(len(plan.geometries))
    starts = (
        list(warm) if warm is not None and len(warm) == len(schedule) else [None] * len(schedule)
    )
    substeps: list[StepResult] = []
    current = measure
    for (i, fraction), start in zip(schedule, starts, strict=True):
        result = _substep(current, plan, i, fraction * tau, start, options)
        substeps.append(result)
        current = result.measure
        if not result.success:
            break
    energy = substeps[-1].energy if plan.shared_energy else plan.energy_of(current)
    seconds = time.perf_counter() - started
    return SplitResult(current, energy, tuple(substeps), seconds, tuple(r.warm for r in substeps))


def _substep(
    current: Measure, plan: Plan, i: int, tau: float, warm: Any, options: dict[str, Any]
) -> StepResult:
    energy, geometry = plan.energies[i], plan.geometries[i]
    arguments = {"solver": plan.solvers[i], "warm": warm, "throw": False, **options}
    if plan.scheme.substep == "implicit":
        return step(current, energy, geometry, tau, **arguments)
    half = step(current, energy, geometry, tau / 2, **arguments)
    if not half.success:
        return half
    # Implicit midpoint: the geodesic from `current` through the half step, followed to time 2.
    whole = geometry.extrapolate(current, half.measure)
    info = {**half.info, "scheme": "midpoint", "half_step_measure": half.measure}
    return replace(
        half,
        measure=whole,
        energy=energy.value(whole),
        sqdistance=4 * half.sqdistance,
        info=info,
    )


def in_sequence(*results: SplitResult) -> SplitResult:
    """Several results as one: the last measure, the sub-steps of all."""
    last = results[-1]
    substeps = tuple(r for result in results for r in result.substeps)
    seconds = sum(result.seconds for result in results)
    return SplitResult(last.measure, last.energy, substeps, seconds, last.warm)


def _richardson(
    measure: Measure, plan: Plan, tau: float, warm: Sequence[Any] | None, options: dict[str, Any]
) -> SplitResult:
    """2 S_{tau/2} S_{tau/2} - S_tau, S the implicit split step; stops where one fails."""
    simple = replace(plan, scheme=replace(plan.scheme, substep="implicit"))
    taken = [advance(measure, simple, tau, warm, options)]
    current = measure
    while taken[-1].success and len(taken) < 3:
        taken.append(advance(current, simple, tau / 2, warm, options))
        current, warm = taken[-1].measure, taken[-1].warm
    whole = in_sequence(*taken)
    if not whole.success:
        return whole
    end = extrapolated(taken[0].measure, taken[2].measure)
    return replace(whole, measure=end, energy=plan.energy_of(end))
