"""The state of a running flow: everything the next step depends on, and what was kept so far."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from jko.callbacks import Event
from jko.errors import InvalidArgument, InvalidType
from jko.measures.base import Measure
from jko.splitting import Plan, SplitResult
from jko.trajectory import STOPPED, StepRecord, Trajectory
from jko.validation import positive, positive_int

#: Beyond this many steps t1/tau is a slip of the pen.
MAX_STEPS = 1e12


@dataclass(frozen=True)
class Clock:
    """Constant steps; the last one may be shorter to end at t1 exactly."""

    tau: float
    steps: int
    t1: float | None = None

    @classmethod
    def of(cls, tau: Any, steps: Any, t1: Any) -> Clock:
        """From the arguments of `jko.flow`: exactly one of `steps` and `t1`."""
        tau = positive(tau, "tau", "a step length is a positive number")
        if (steps is None) == (t1 is None):
            given = "neither" if steps is None else "both"
            raise InvalidArgument(f"steps and t1: {given} given; pass one of steps=, t1=")
        if steps is not None:
            return cls(tau, positive_int(steps, "steps"))
        end = positive(t1, "t1")
        if end / tau > MAX_STEPS:
            raise InvalidArgument(f"t1 = {end:g} takes {end / tau:g} steps of tau = {tau:g}")
        return cls(tau, max(1, int(np.ceil(end / tau * (1 - 1e-12)))), end)

    def time(self, index: int) -> float:
        """Time after `index` steps, free of accumulated rounding."""
        if self.t1 is not None and index >= self.steps:
            return self.t1
        return index * self.tau

    def length(self, index: int) -> float:
        """Length of the step that follows step number `index`."""
        if self.t1 is not None and index == self.steps - 1:
            return self.t1 - index * self.tau
        return self.tau


@dataclass(frozen=True)
class Saving:
    """Which steps keep their measure, besides the first and the last."""

    every: int | None = 1
    indices: tuple[int, ...] = ()

    @classmethod
    def of(cls, save: Any, steps: int) -> Saving:
        """From the argument `save` of `jko.flow`."""
        if save is None:
            return cls(1)
        if isinstance(save, str) and save == "last":
            return cls(None)
        if isinstance(save, (int, np.integer)) and not isinstance(save, bool):
            return cls(positive_int(save, "save"))
        if isinstance(save, (Sequence, np.ndarray)) and not isinstance(save, str):
            # Step 0 is the start, which is kept anyhow.
            indices = tuple(positive_int(i, "save") for i in save if not _is_zero(i))
            if indices and max(indices) > steps:
                raise InvalidArgument(
                    f"save holds step {max(indices)}, but the flow takes {steps} steps"
                )
            return cls(None, indices)
        raise InvalidType(
            f"save = {save!r} is not understood; pass None (every step), an int k (every k-th),"
            " 'last', or a list of step numbers"
        )

    def keeps(self, index: int) -> bool:
        """Whether step number `index` keeps its measure."""
        return (self.every is not None and index % self.every == 0) or index in self.indices


def _is_zero(value: Any) -> bool:
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

    clock: Clock
    saving: Saving
    options: Options
    description: Mapping[str, Any]
    rng: np.random.Generator
    rng_state: Mapping[str, Any]
    measure: Measure
    energy: float
    index: int = 0
    warm: tuple[Any, ...] | None = None
    status: str = "running"
    times: tuple[float, ...] = ()
    measures: tuple[Measure, ...] = ()
    energies: tuple[float, ...] = ()
    steps: tuple[StepRecord, ...] = ()
    records: Mapping[str, tuple[tuple[float, ...], tuple[Any, ...]]] = field(default_factory=dict)

    @classmethod
    def begin(
        cls,
        measure: Measure,
        plan: Plan,
        clock: Clock,
        saving: Saving,
        options: Options,
        rng: np.random.Generator,
    ) -> Run:
        """A run before its first step."""
        said, state = describe(plan, clock), rng.bit_generator.state
        run = cls(clock, saving, options, said, rng, state, measure, plan.energy_of(measure))
        return run.kept()

    @property
    def done(self) -> bool:
        """Whether no step is left to take."""
        return self.status != "running"

    @property
    def step_options(self) -> dict[str, Any]:
        """Keyword arguments of every sub-step."""
        return {"tol": self.options.tol, "max_iter": self.options.max_iter, "rng": self.rng}

    def propose(self, result: SplitResult, tau: float) -> Event:
        """The step as the callbacks see it."""
        index = self.index + 1
        return Event(
            index=index,
            steps=self.clock.steps,
            time=self.clock.time(index),
            tau=tau,
            measure=result.measure,
            energy=result.energy,
            previous_energy=self.energy,
            initial_mass=self.measures[0].mass,
            result=result,
        )

    def accept(self, event: Event, stop: bool = False) -> Run:
        """The run after the step, with its record."""
        records = dict(self.records)
        for name, values in event.records.items():
            times, kept = records.get(name, ((), ()))
            records[name] = (*times, *[event.time] * len(values)), (*kept, *values)
        result = event.result
        record = StepRecord.of(event.index, event.time, event.tau, result)
        status = STOPPED if stop else self.status
        moved = replace(
            self,
            index=event.index,
            measure=result.measure,
            energy=result.energy,
            warm=result.warm,
            rng_state=self.rng.bit_generator.state,
            steps=(*self.steps, record),
            records=records,
            status="finished" if event.index == self.clock.steps else status,
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

    def trajectory(self, status: str | None = None) -> Trajectory:
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
        )


def describe(plan: Plan, clock: Clock) -> dict[str, Any]:
    """The flow in words, kept in the trajectory and compared when a run is resumed."""
    return {
        "energy": [_text(f) for f in plan.energies],
        "geometry": [_text(g) for g in plan.geometries],
        "solver": [_text(s) for s in plan.solvers],
        "splitting": plan.scheme.splitting,
        "scheme": plan.scheme.substep,
        "order": plan.scheme.order(len(plan.geometries)),
        "preserves_equilibrium": plan.scheme.preserves_equilibrium(plan.shared_energy),
        "conserves_mass": all(g.conserves_mass for g in plan.geometries),
        "tau": clock.tau,
        "steps": clock.steps,
    }


def _text(value: Any) -> str:
    """repr without memory addresses, which differ from process to process."""
    return value if isinstance(value, str) else re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))
