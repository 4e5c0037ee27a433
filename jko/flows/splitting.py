"""One step of a sum of geometries: a product of proximal steps, one geometry after the other."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from jko.energies.base import Energy
from jko.energies.moment import Moment
from jko.errors import StepFailed
from jko.flows.plan import Plan, Scheme, StepOptions, Warm
from jko.geometries.base import Geometry, GeometrySum
from jko.html import table
from jko.later import draw
from jko.measures.base import Measure
from jko.measures.linear import extrapolated
from jko.prox.result import StepResult
from jko.solvers.rules import Solver
from jko.solvers.step import step
from jko.status import Status
from jko.validation import Seed, positive, rng_of

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes


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
    warm: tuple[object, ...] = field(default=())

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

    def plot(self, ax: Axes | None = None, **options: object) -> list[Artist]:
        """Draw the new measure, with the verdict as title; see `jko.plot.result`."""
        drawn: list[Artist] = draw("result", self, ax, **options)
        return drawn

    def _repr_html_(self) -> str:
        head = ("solver", "verdict", "energy", "sqdistance", "gap", "bias", "residual")
        said = [(r.solver, r.message, r.energy, r.sqdistance) for r in self.substeps]
        known = [(r.gap, r.bias, r.residual) for r in self.substeps]
        rows = [
            (*a, *("" if v is None else v for v in b)) for a, b in zip(said, known, strict=True)
        ]
        return table(head, rows, f"SplitResult: energy {self.energy:.6g}")

    def __repr__(self) -> str:
        inner = ", ".join(map(repr, self.substeps))
        return f"SplitResult(energy={self.energy:.6g}, substeps=[{inner}])"


def split_step(
    measure: Measure,
    energy: Energy | tuple[Energy, ...],
    geometry: Geometry | GeometrySum,
    tau: float,
    *,
    splitting: str = "lie",
    scheme: str = "implicit",
    solver: Solver = "auto",
    tol: float | None = None,
    accuracy: float | None = None,
    max_iter: int | None = None,
    warm: Warm = None,
    rng: Seed = None,
    constraints: Sequence[Moment] = (),
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
        See `jko.flows.plan.Scheme`.
    solver : "auto", a solver, or a tuple with one per geometry
    tol, accuracy, max_iter, rng, constraints, throw
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
    plan = Plan.of(energy, geometry, solver, Scheme(splitting, scheme), constraints)
    options: StepOptions = {
        "tol": tol,
        "accuracy": accuracy,
        "max_iter": max_iter,
        "rng": rng_of(rng),
    }
    result = advance(measure, plan, positive(tau, "tau"), warm, options)
    if throw and not result.success:
        raise StepFailed(result.message, result)
    return result


def advance(
    measure: Measure,
    plan: Plan,
    tau: float,
    warm: Warm,
    options: StepOptions,
    now: float = 0.0,
) -> SplitResult:
    """The split step itself, from time `now`; stops at the first sub-step that is not certified."""
    if plan.scheme.substep == "richardson":
        return _richardson(measure, plan, tau, warm, options, now)
    frozen = plan.at(now + plan.scheme.moment * tau)
    started = time.perf_counter()
    schedule = plan.scheme.schedule(len(plan.geometries))
    starts = (
        list(warm) if warm is not None and len(warm) == len(schedule) else [None] * len(schedule)
    )
    substeps: list[StepResult] = []
    current = measure
    for (i, fraction), start in zip(schedule, starts, strict=True):
        result = _substep(current, frozen, i, fraction * tau, start, options)
        substeps.append(result)
        current = result.measure
        if not result.success:
            break
    energy = substeps[-1].energy
    if not plan.shared_energy or (plan.varies and plan.scheme.moment < 1):
        energy = plan.at(now + tau).energy_of(current)
    seconds = time.perf_counter() - started
    return SplitResult(current, energy, tuple(substeps), seconds, tuple(r.warm for r in substeps))


def _substep(
    current: Measure, plan: Plan, i: int, tau: float, warm: object, options: StepOptions
) -> StepResult:
    energy, geometry = plan.energies[i], plan.geometries[i]
    options = {**options, "solver": plan.solvers[i]}
    if plan.scheme.substep == "implicit":
        return step(current, energy, geometry, tau, warm=warm, throw=False, **options)
    half = step(current, energy, geometry, tau / 2, warm=warm, throw=False, **options)
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
    measure: Measure,
    plan: Plan,
    tau: float,
    warm: Warm,
    options: StepOptions,
    now: float,
) -> SplitResult:
    """2 S_{tau/2} S_{tau/2} - S_tau, S the implicit split step; stops where one fails."""
    simple = replace(plan, scheme=replace(plan.scheme, substep="implicit"))
    taken = [advance(measure, simple, tau, warm, options, now)]
    current = measure
    while taken[-1].success and len(taken) < 3:
        begun = now + (len(taken) - 1) * tau / 2
        taken.append(advance(current, simple, tau / 2, warm, options, begun))
        current, warm = taken[-1].measure, taken[-1].warm
    whole = in_sequence(*taken)
    if not whole.success:
        return whole
    end = extrapolated(taken[0].measure, taken[2].measure)
    return replace(whole, measure=end, energy=plan.at(now + tau).energy_of(end))
