"""Callbacks of a flow: what to do, and when, as separate small objects.

A callback is any function of an `Event`; returning `STOP` ends the flow, and
`event.record(name, value)` keeps a value in the trajectory (and in its checkpoint).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jko.errors import InvalidArgument, InvalidType, JkoError
from jko.flows.archive import storable
from jko.flows.splitting import SplitResult
from jko.measures.base import Measure
from jko.prox.result import StepResult
from jko.validation import instance, positive, positive_int


class FlowStopped(JkoError, RuntimeError):
    """A monitor found that the flow breaks a promise."""


class _Stop:
    def __repr__(self) -> str:
        return "jko.callbacks.STOP"


#: Return this from a callback to end the flow after the current step.
STOP = _Stop()


@dataclass(frozen=True, eq=False)
class Event:
    """What a callback sees after a step.

    Attributes
    ----------
    index : int
        Number of steps taken so far, 1 after the first.
    steps : int or None
        Number of steps the flow will take; None while step-length control does not know.
    time, tau : float
    measure : Measure
    energy : float
    previous_energy : float
        F before the step; where F depends on time, at the time of this step.
    initial_mass : float
    result : SplitResult
    """

    index: int
    steps: int | None
    time: float
    tau: float
    measure: Measure
    energy: float
    previous_energy: float
    initial_mass: float
    result: SplitResult
    records: dict[str, list[object]] = field(default_factory=dict, repr=False)
    clock: object = field(default=None, repr=False)

    @property
    def ess(self) -> float | None:
        """Effective sample size of the measure, None where it has no weights."""
        return getattr(self.measure, "ess", None)

    def record(self, name: str, value: object) -> None:
        """Keep a number, string, array or measure under `name` with the current time."""
        if not isinstance(name, str):
            raise InvalidType(f"name of a record got {name!r}; pass a string")
        if not storable(value):
            raise InvalidType(
                f"record {name!r} got {value!r}, which no file can hold;"
                " record numbers, strings, arrays, measures, or lists and dicts of them"
            )
        kept = value.copy() if isinstance(value, np.ndarray) else value
        self.records.setdefault(name, []).append(kept)


class When(ABC):
    """When a callback is due."""

    @abstractmethod
    def due(self, event: Event) -> bool:
        """Whether the callback runs after this step."""


@dataclass(frozen=True)
class Every(When):
    """After every k-th step, and after the last."""

    k: int = 1

    def __post_init__(self) -> None:
        positive_int(self.k, "k")

    def due(self, event: Event) -> bool:
        return event.index % self.k == 0 or event.index == event.steps


@dataclass(frozen=True)
class AtTimes(When):
    """After the first step that reaches each of the given times."""

    times: Sequence[float]

    def __post_init__(self) -> None:
        times = np.atleast_1d(np.asarray(self.times, dtype=object))
        object.__setattr__(self, "times", tuple(positive(t, "times") for t in times))

    def due(self, event: Event) -> bool:
        before = event.time - event.tau
        slack = 1e-12 * abs(event.time)
        return any(before + slack < t <= event.time + slack for t in self.times)


@dataclass(frozen=True)
class Callback(ABC):
    """Base class: `when` decides, `__call__` acts."""

    when: When = field(default=Every(), kw_only=True)

    @abstractmethod
    def __call__(self, event: Event) -> object:
        """Act; return STOP to end the flow."""

    def finish(self) -> None:  # noqa: B027 (most callbacks have nothing to tidy up)
        """Called once when the flow ends, for whatever reason."""


@dataclass(frozen=True)
class Call(Callback):
    """A plain function of an event as a callback: `Call(f, when=Every(10))`."""

    function: Callable[[Event], object]

    def __call__(self, event: Event) -> object:
        return self.function(event)


@dataclass(frozen=True)
class Record(Callback):
    """Keep `function(measure)` under `name` in the trajectory's records."""

    name: str
    function: Callable[[Measure], object]

    def __call__(self, event: Event) -> None:
        event.record(self.name, self.function(event.measure))


@dataclass(frozen=True)
class StopWhen(Callback):
    """End the flow once `criterion(event)` is true."""

    criterion: Callable[[Event], bool]

    def __call__(self, event: Event) -> object:
        return STOP if self.criterion(event) else None


@dataclass(frozen=True)
class MonitorDissipation(Callback):
    """Raise `FlowStopped` when the energy rises by more than `slack`, relative to its size.

    The size is that of F before the step and of the objectives of its sub-steps with the terms they
    are made of: a rise is one in any unit.
    """

    slack: float = 1e-8

    def __call__(self, event: Event) -> None:
        before, now = event.previous_energy, event.energy
        sizes = [abs(before), *(_size(s) for s in event.result.substeps)]
        scale = max((v for v in sizes if np.isfinite(v)), default=0.0)
        if not (now == before or now <= before + self.slack * scale):
            raise FlowStopped(
                f"the energy rose by {now - before:.3g} to {now:.9g} in step {event.index};"
                " reduce tau or tighten tol"
            )


def _size(s: StepResult) -> float:
    """The size of the objective's terms in a sub-step, where its tolerance tells."""
    known = s.allowed / s.tol if s.allowed and s.tol > 0 else 0.0
    return max(known, abs(s.objective))


@dataclass(frozen=True)
class MonitorMass(Callback):
    """Raise `FlowStopped` when the mass drifts by more than `slack`, relatively."""

    slack: float = 1e-9

    def __call__(self, event: Event) -> None:
        drift = abs(event.measure.mass - event.initial_mass) / event.initial_mass
        if not drift <= self.slack:
            raise FlowStopped(
                f"the mass drifted by {drift:.3g} (relative) by step {event.index};"
                " use a geometry that conserves mass, or raise slack"
            )


@dataclass(frozen=True)
class Progress(Callback):
    """A progress bar (tqdm, in the extra `demo`): a widget in notebooks, text at the shell."""

    label: str = "jko"
    _bar: list[Any] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            import tqdm  # noqa: F401 (asked for now rather than after the first step)
        except ImportError:
            raise InvalidArgument(
                "a progress bar needs tqdm; install it with pip install 'jko[demo]'"
            ) from None

    def __call__(self, event: Event) -> None:
        if not self._bar:
            from tqdm.auto import tqdm

            self._bar.append(tqdm(total=event.steps, desc=self.label, initial=event.index - 1))
        bar = self._bar[0]
        bar.set_postfix(energy=f"{event.energy:.4g}", refresh=False)
        bar.update(event.index - bar.n)

    def finish(self) -> None:
        while self._bar:
            self._bar.pop().close()


#: What `callbacks=` of a flow takes.
Watching = Callable[[Event], object] | Iterable[Callable[[Event], object]]


@dataclass(frozen=True, eq=False)
class Callbacks:
    """All callbacks of a flow, called in order."""

    items: tuple[Callback, ...]

    @classmethod
    def of(cls, callbacks: Watching, progress: bool) -> Callbacks:
        """Check the argument; plain functions run after every step."""
        if callable(callbacks):
            callbacks = (callbacks,)
        several: Iterable[object] = instance(
            callbacks, Iterable, "callbacks", "pass a function of an Event, or several"
        )
        items: list[Callback] = []
        for c in several:
            if not callable(c) or isinstance(c, type):
                raise InvalidType(
                    f"callbacks holds {c!r}, which takes no Event; pass functions of an Event"
                    " or objects from jko.callbacks"
                )
            item = c if isinstance(c, Callback) else Call(c)
            instance(item.when, When, "when", "pass Every(k) or AtTimes(...) of jko.callbacks")
            items.append(item)
        return cls((*items, Progress()) if progress else tuple(items))

    def __call__(self, event: Event) -> bool:
        """Run those that are due; whether one asked to stop."""
        answers = [c(event) for c in self.items if c.when.due(event)]
        return any(a is STOP for a in answers)

    def finish(self) -> None:
        """Let every callback tidy up."""
        for c in self.items:
            c.finish()
