"""The state of a running flow: everything the next step depends on, and what was kept so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jko.callbacks import Event
from jko.errors import InvalidArgument, InvalidType
from jko.measures.base import Measure
from jko.splitting import Plan, SplitResult
from jko.trajectory import StepRecord, Trajectory
from jko.validation import positive, positive_int


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
        return cls(tau, max(1, int(np.ceil(end / tau - 1e-9))), end)

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
    def of(cls, save: Any) -> Saving:
        """From the argument `save` of `jko.flow`."""
        if save is None:
            return cls(1)
        if save == "last":
            return cls(None)
        if isinstance(save, (int, np.integer)) and not isinstance(save, bool):
            return cls(positive_int(save, "save"))
        if isinstance(save, Sequence) and not isinstance(save, str):
            return cls(None, tuple(positive_int(i, "save") for i in save))
        raise InvalidType(
            f"save = {save!r} is not understood; pass None (every step), an int k (every k-th),"
            " 'last', or a list of step numbers"
        )

    def keeps(self, index: int) -> bool:
        """Whether step number `index` keeps its measure."""
        return (self.every is not None and index % self.every == 0) or index in self.indices


@dataclass(frozen=True)
class Options:
    """Settings handed to every sub-step."""

    tol: float | None = None
    max_iter: int | None = None


@dataclass(eq=False)
class Run:
    """A flow in progress. `as_tree` holds all that a bit-identical continuation needs."""

    clock: Clock
    saving: Saving
    options: Options
    rng: np.random.Generator
    description: Mapping[str, Any]
    measure: Measure
    energy: float
    index: int = 0
    warm: tuple[Any, ...] | None = None
    status: str = "running"
    times: list[float] = field(default_factory=list)
    measures: list[Measure] = field(default_factory=list)
    energies: list[float] = field(default_factory=list)
    steps: list[StepRecord] = field(default_factory=list)
    records: dict[str, tuple[list[float], list[Any]]] = field(default_factory=dict)

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
        energy = plan.energy_of(measure)
        run = cls(clock, saving, options, rng, describe(plan, clock), measure, energy)
        run._keep()
        return run

    @property
    def done(self) -> bool:
        """Whether no step is left to take."""
        return self.status != "running"

    @property
    def step_options(self) -> dict[str, Any]:
        """Keyword arguments of every sub-step."""
        return {"tol": self.options.tol, "max_iter": self.options.max_iter, "rng": self.rng}

    def accept(self, result: SplitResult, tau: float) -> Event:
        """Move to the new measure and record the step."""
        before = self.energy
        self.index += 1
        self.measure, self.energy, self.warm = result.measure, result.energy, result.warm
        time = self.clock.time(self.index)
        self.steps.append(StepRecord.of(self.index, time, tau, result))
        if self.index == self.clock.steps:
            self.status = "finished"
        if self.done or self.saving.keeps(self.index):
            self._keep()
        return Event(
            index=self.index,
            steps=self.clock.steps,
            time=time,
            tau=tau,
            measure=self.measure,
            energy=self.energy,
            previous_energy=before,
            initial_mass=self.measures[0].mass,
            result=result,
            records=self.records,
        )

    def _keep(self) -> None:
        self.times.append(self.clock.time(self.index))
        self.measures.append(self.measure)
        self.energies.append(self.energy)

    def trajectory(self, status: str | None = None) -> Trajectory:
        """What there is so far; the current measure is always its last."""
        times, measures, energies = list(self.times), list(self.measures), list(self.energies)
        if measures[-1] is not self.measure:
            times.append(self.clock.time(self.index))
            measures.append(self.measure)
            energies.append(self.energy)
        return Trajectory(
            np.array(times),
            tuple(measures),
            np.array(energies),
            tuple(self.steps),
            {k: (tuple(t), tuple(v)) for k, (t, v) in self.records.items()},
            status or self.status,
            self.description,
        )


def describe(plan: Plan, clock: Clock) -> dict[str, Any]:
    """The flow in words, kept in the trajectory and compared when a run is resumed."""
    return {
        "energy": [repr(f) for f in plan.energies],
        "geometry": [repr(g) for g in plan.geometries],
        "solver": [repr(s) for s in plan.solvers],
        "splitting": plan.scheme.splitting,
        "scheme": plan.scheme.substep,
        "order": plan.scheme.order(len(plan.geometries)),
        "preserves_equilibrium": plan.scheme.preserves_equilibrium(plan.shared_energy),
        "conserves_mass": all(g.conserves_mass for g in plan.geometries),
        "tau": clock.tau,
        "steps": clock.steps,
    }
