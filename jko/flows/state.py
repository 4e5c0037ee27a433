"""The state of a running flow: everything the next step depends on, and what was kept so far."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from jko.errors import InvalidArgument, InvalidType
from jko.flows.callbacks import Event
from jko.flows.clock import Pace
from jko.flows.container import Tree
from jko.flows.plan import Plan, StepOptions
from jko.flows.records import Records, StepRecord
from jko.flows.splitting import SplitResult
from jko.flows.trajectory import STOPPED, Trajectory
from jko.measures.base import Measure
from jko.validation import entries, positive, positive_int, shown


@dataclass(frozen=True)
class Saving:
    """Which steps keep their measure, besides the first and the last."""

    every: int | None = 1
    indices: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for count in (*(() if self.every is None else (self.every,)), *self.indices):
            positive_int(count, "save")

    @classmethod
    def of(cls, save: object, steps: int | None) -> Saving:
        """From the argument `save` of `jko.flow`."""
        if save is None:
            return cls(1)
        if isinstance(save, str) and save == "last":
            return cls(None)
        if isinstance(save, (int, np.integer)) and not isinstance(save, bool):
            return cls(positive_int(save, "save"))
        flat = isinstance(save, np.ndarray) and save.ndim == 1
        listed = entries(save) if flat or isinstance(save, Sequence) else None
        if listed is not None:
            # Step 0 is the start, which is kept anyhow.
            indices = tuple(positive_int(i, "save") for i in listed if not _is_zero(i))
            if indices and steps is not None and max(indices) > steps:
                raise InvalidArgument(
                    f"save holds step {max(indices)}, but the flow takes {steps} steps"
                )
            return cls(None, indices)
        raise InvalidType(
            f"save got {shown(save)}; pass None (every step), an int k (every k-th),"
            " 'last', or a list of step numbers"
        )

    def keeps(self, index: int) -> bool:
        """Whether step number `index` keeps its measure."""
        return (self.every is not None and index % self.every == 0) or index in self.indices


def _is_zero(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value == 0


@dataclass(frozen=True)
class Options:
    """Settings handed to every sub-step."""

    tol: float | None = None
    max_iter: int | None = None

    def __post_init__(self) -> None:
        if self.tol is not None:
            object.__setattr__(self, "tol", positive(self.tol, "tol"))
        if self.max_iter is not None:
            object.__setattr__(self, "max_iter", positive_int(self.max_iter, "max_iter"))


@dataclass(frozen=True, eq=False)
class Run:
    """A flow between two steps: all that the next step depends on, and what was kept so far.

    A step is proposed as an `Event`, shown to the callbacks, then accepted into a new `Run`:
    an interruption at any instant leaves a run whose checkpoint repeats the step and its callbacks.
    """

    clock: Pace
    saving: Saving
    options: Options
    description: Tree
    rng: np.random.Generator
    rng_state: Mapping[str, object]
    measure: Measure
    energy: float
    index: int = 0
    warm: tuple[object, ...] | None = None
    status: str = "running"
    times: tuple[float, ...] = ()
    measures: tuple[Measure, ...] = ()
    energies: tuple[float, ...] = ()
    steps: tuple[StepRecord, ...] = ()
    records: Records = field(default_factory=dict)

    @classmethod
    def begin(
        cls,
        measure: Measure,
        plan: Plan,
        clock: Pace,
        saving: Saving,
        options: Options,
        rng: np.random.Generator,
        before: Trajectory | None = None,
    ) -> Run:
        """A run before its first step, or before the first after those of a trajectory."""
        said, state = describe(plan, clock), rng.bit_generator.state
        index = before.taken if before else 0
        energy = plan.at(clock.time(index)).energy_of(measure)
        run = cls(clock, saving, options, said, rng, state, measure, energy, index)
        return (run if before is None else run._after(before)).kept()

    def _after(self, sol: Trajectory) -> Run:
        """The run with what a trajectory holds in front."""
        kept = {**self.description}
        kept["conserves_mass"] &= bool(sol.description["conserves_mass"])
        return replace(
            self,
            description=kept,
            times=tuple(sol.times.tolist()),
            measures=sol.measures,
            energies=tuple(sol.energies.tolist()),
            steps=sol.steps,
            records=sol.records,
        )

    def extended(self, steps: int) -> Run:
        """The run as one that goes on for so many further steps."""
        clock = self.clock.extended(self.index, positive_int(steps, "steps"))
        said = {**self.description, "steps": clock.steps}
        return replace(self, clock=clock, description=said, status="running")

    @property
    def done(self) -> bool:
        """Whether no step is left to take."""
        return self.status != "running"

    @property
    def step_options(self) -> StepOptions:
        """Keyword arguments of every sub-step."""
        return {"tol": self.options.tol, "max_iter": self.options.max_iter, "rng": self.rng}

    def next(self, plan: Plan) -> tuple[SplitResult, float, Pace]:
        """The next step, its length, and the clock after it."""
        return self.clock.take(self.index, self.measure, plan, self.warm, self.step_options)

    def propose(self, result: SplitResult, tau: float, clock: Pace, plan: Plan) -> Event:
        """The step as the callbacks see it."""
        index, before = self.index + 1, self.energy
        if plan.varies:  # compared at one time, a step does not raise the energy
            before = plan.at(clock.time(index)).energy_of(self.measure)
        return Event(
            index=index,
            steps=index if clock.ends(index) else clock.steps,
            time=clock.time(index),
            tau=tau,
            measure=result.measure,
            energy=result.energy,
            previous_energy=before,
            initial_mass=self.measures[0].mass,
            result=result,
            clock=clock,
        )

    def accept(self, event: Event, stop: bool = False) -> Run:
        """The run after the step, with its record."""
        records = dict(self.records)
        for name, values in event.records.items():
            times, kept = records.get(name, ((), ()))
            records[name] = (*times, *[event.time] * len(values)), (*kept, *values)
        result, clock = event.result, event.clock
        assert isinstance(clock, Pace)
        record = StepRecord.of(event.index, event.time, event.tau, result)
        status = STOPPED if stop else self.status
        moved = replace(
            self,
            clock=clock,
            index=event.index,
            measure=result.measure,
            energy=result.energy,
            warm=result.warm,
            rng_state=self.rng.bit_generator.state,
            steps=(*self.steps, record),
            records=records,
            status="finished" if clock.ends(event.index) else status,
        )
        return moved.kept() if moved.done or self.saving.keeps(event.index) else moved

    def kept(self) -> Run:
        """The run with its current measure among those of the trajectory."""
        now = self.clock.time(self.index)
        if self.times and self.times[-1] == now:
            return self
        return replace(
            self,
            times=(*self.times, now),
            measures=(*self.measures, self.measure),
            energies=(*self.energies, self.energy),
        )

    def trajectory(self, status: str | None = None, plan: Plan | None = None) -> Trajectory:
        """What there is so far; the current measure is always its last."""
        whole = self.kept()
        return Trajectory(
            np.array(whole.times),
            whole.measures,
            np.array(whole.energies),
            self.steps,
            self.records,
            self.status if status is None or self.done else status,
            self.description,
            plan,
        )


def describe(plan: Plan, clock: Pace) -> Tree:
    """The flow in words, kept in the trajectory and compared when a run is resumed."""
    return {
        "energy": [_text(f) for f in plan.energies],
        "geometry": [_text(g) for g in plan.geometries],
        "solver": [_text(s) for s in plan.solvers],
        "splitting": plan.scheme.splitting,
        "scheme": plan.scheme.substep,
        "order": plan.scheme.order(len(plan.geometries)),
        "preserves_equilibrium": plan.scheme.preserves_equilibrium(
            plan.shared_energy and not plan.varies
        ),
        "conserves_mass": all(g.conserves_mass for g in plan.geometries),
        "tau": clock.shown,
        "steps": clock.steps,
    }


def _text(value: object) -> str:
    """repr without memory addresses, which differ from process to process."""
    return value if isinstance(value, str) else re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))
