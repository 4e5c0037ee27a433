"""How long the steps of a flow are: constant, or as long as an error estimate allows."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Self

import numpy as np

from jko.errors import InvalidArgument, InvalidType, StepFailed
from jko.flows.container import Tree
from jko.flows.control import AdaptiveStep, Start
from jko.flows.plan import Plan, StepOptions, Warm
from jko.flows.splitting import SplitResult, advance, in_sequence
from jko.measures.base import Measure
from jko.validation import positive, positive_int, real

#: Beyond this many steps t1/tau is taken for a mistake in the units.
MAX_STEPS = 1e12
#: A new step length is this share of the one the error estimate asks for.
SAFETY = 0.9
#: PI control: exponents of the error of this step and of the one before, over the order.
INTEGRAL = 0.7
PROPORTIONAL = 0.4
#: Most that a step length may shrink or grow from one attempt to the next.
SHRINK = 0.2
GROW = 2.0
#: The first attempt, as a share of the way to t1; the shortest step, as a share of the first.
FIRST = 1e-2
SHORTEST = 1e-8


def span(steps: object, t1: object, start: float = 0.0) -> tuple[int | None, float | None]:
    """The arguments of `jko.flow` that say how far: exactly one of them."""
    if (steps is None) == (t1 is None):
        given = "neither" if steps is None else "both"
        raise InvalidArgument(f"steps and t1: {given} given; pass one of steps=, t1=")
    if steps is not None:
        return positive_int(steps, "steps"), None
    end = positive(t1, "t1")
    if end <= start:
        raise InvalidArgument(f"t1 = {end:g} is not after t = {start:g}, where the flow stands")
    return None, end


@dataclass(frozen=True)
class Clock:
    """Constant steps; the last one may be shorter to end at t1 exactly."""

    tau: float
    steps: int
    t1: float | None = None
    first: int = 0
    start: float = 0.0

    @classmethod
    def of(
        cls, tau: object, steps: object, t1: object, first: int = 0, start: float = 0.0
    ) -> Clock:
        """From the arguments of `jko.flow`, after `first` steps that ended at time `start`."""
        tau = positive(tau, "tau", "a step length is a positive number")
        count, end = span(steps, t1, start)
        if start == first * tau:  # the times of a flow that was never interrupted
            begun = 0, 0.0
        else:
            begun = first, start
        if end is None:
            return cls(tau, first + (count or 1), None, *begun)
        if (end - start) / tau > MAX_STEPS:
            raise InvalidArgument(f"t1 = {end:g} takes {end / tau:g} steps of tau = {tau:g}")
        left = max(1, int(np.ceil((end - start) / tau * (1 - 1e-12))))
        return cls(tau, first + left, end, *begun)

    def extended(self, index: int, steps: int) -> Self:
        """The clock of a run that goes on for so many steps after step number `index`."""
        begun, now = self.start + (index - self.first) * self.tau, self.time(index)
        if now == begun:
            return replace(self, steps=index + steps, t1=None)
        return replace(self, steps=index + steps, t1=None, first=index, start=now)

    def time(self, index: int) -> float:
        """Time after `index` steps, free of accumulated rounding."""
        if self.t1 is not None and index >= self.steps:
            return self.t1
        return self.start + (index - self.first) * self.tau

    def length(self, index: int) -> float:
        """Length of the step that follows step number `index`."""
        if self.t1 is not None and index == self.steps - 1:
            return self.t1 - self.time(index)
        return self.tau

    def ends(self, index: int) -> bool:
        """Whether step number `index` is the last."""
        return index >= self.steps

    def take(
        self,
        index: int,
        measure: Measure,
        plan: Plan,
        warm: Warm,
        options: StepOptions,
    ) -> tuple[SplitResult, float, Self]:
        """The step after step number `index`, its length, and the clock after it."""
        tau = self.length(index)
        return advance(measure, plan, tau, warm, options, self.time(index)), tau, self

    @property
    def shown(self) -> float | str:
        """The step length as a trajectory describes it."""
        return self.tau


@dataclass(frozen=True)
class AdaptiveClock:
    """The state of step doubling between two steps.

    Attributes
    ----------
    control : AdaptiveStep
    steps, t1 : int or None, float or None
        How far; one of them.
    now : float
    tau : float
        Length of the next attempt.
    last : float
        Error of the last step over what was allowed.
    way : float or None
        The time to t1 from where the run began, None where its steps are counted. Files from before
        errors were relative to a flow have a unit of time.
    count : int
        The steps asked for, where they are counted.
    """

    control: AdaptiveStep
    steps: int | None
    t1: float | None
    tau: float
    now: float = 0.0
    last: float = 1.0
    floor: float = field(default=0.0)
    way: float | None = 1.0
    count: int = 1

    @classmethod
    def of(
        cls, control: AdaptiveStep, steps: object, t1: object, first: int = 0, start: float = 0.0
    ) -> AdaptiveClock:
        """From the arguments of `jko.flow`, after `first` steps that ended at time `start`."""
        count, end = span(steps, t1, start)
        tau = control.tau0 or FIRST * (1.0 if end is None else end - start)
        last = None if count is None else first + count
        way = None if end is None else end - start
        floor = SHORTEST * tau
        return cls(control, last, end, tau, start, floor=floor, way=way, count=count or 1)

    def extended(self, index: int, steps: int) -> Self:
        """The clock of a run that goes on for so many steps after step number `index`."""
        return replace(self, steps=index + steps, t1=None)

    def time(self, index: int) -> float:
        """The time now."""
        return self.now

    def ends(self, index: int) -> bool:
        """Whether step number `index`, just taken, is the last."""
        return index == self.steps or self.now == self.t1

    def take(
        self,
        index: int,
        measure: Measure,
        plan: Plan,
        warm: Warm,
        options: StepOptions,
    ) -> tuple[SplitResult, float, Self]:
        """Attempts until one is accurate; its result, its length and the clock after it."""
        order = plan.scheme.order(len(plan.geometries))
        tau, rejected = self._aim(self.tau), False
        while True:
            whole, halves = doubled(measure, plan, tau, warm, options, self.now)
            if halves.success:
                share = 1 / self.count if self.way is None else tau / self.way
                apart = self.control.distance(
                    whole, halves, Start(measure, plan, tau, self.now), share
                )
                error = apart / (self.control.tol * share * (2**order - 1))
                if error <= 1:
                    return halves, tau, self._after(tau, error, order, rejected)
                factor = float(np.clip(SAFETY * error ** (-1 / order), SHRINK, SAFETY))
                trouble = f"a step of tau = {tau:.3g} still errs by {error:.3g} times its tolerance"
            else:
                factor, trouble = SHRINK, f"a step of tau = {tau:.3g} fails: {halves.message}"
            tau, rejected = self._aim(factor * tau), True
            if tau < self.floor:
                remedy = "raise tol of jko.AdaptiveStep, or tighten tol of the solver"
                raise StepFailed(f"AdaptiveStep: {trouble}; {remedy}", halves)

    def _aim(self, tau: float) -> float:
        """The length, such that no tiny step is left before t1."""
        tau = min(tau, self.control.longest or np.inf)
        left = np.inf if self.t1 is None else self.t1 - self.now
        if tau >= left * (1 - 1e-12):
            return left
        return min(tau, left / 2)

    def _after(self, tau: float, error: float, order: int, rejected: bool) -> Self:
        error = max(error, 1e-10)
        factor = SAFETY * error ** (-INTEGRAL / order) * self.last ** (PROPORTIONAL / order)
        factor = float(np.clip(factor, SHRINK, 1.0 if rejected else GROW))
        aimed = factor * tau
        if not rejected and tau < self.tau:  # shortened to meet t1, not by the error
            aimed = max(aimed, min(factor, 1.0) * self.tau)
        left = None if self.t1 is None else self.t1 - self.now
        now = self.t1 if self.t1 is not None and tau == left else self.now + tau
        return replace(self, now=now, tau=aimed, last=error)

    @property
    def shown(self) -> float | str:
        """The step lengths as a trajectory describes them."""
        return repr(self.control)


def doubled(
    measure: Measure,
    plan: Plan,
    tau: float,
    warm: Warm,
    options: StepOptions,
    now: float = 0.0,
) -> tuple[SplitResult, SplitResult]:
    """One step of tau and two of tau/2; the first that fails stands for both."""
    whole = advance(measure, plan, tau, warm, options, now)
    if not whole.success:
        return whole, whole
    first = advance(measure, plan, tau / 2, warm, options, now)
    if not first.success:
        return whole, first
    second = advance(first.measure, plan, tau / 2, first.warm, options, now + tau / 2)
    return whole, in_sequence(first, second)


Pace = Clock | AdaptiveClock


def pace_of(tau: object, steps: object, t1: object, first: int = 0, start: float = 0.0) -> Pace:
    """The clock that the arguments of `jko.flow` ask for, after `first` steps to time `start`."""
    if tau is None:
        raise InvalidType("tau is missing; pass the length of a step, such as tau=0.1")
    if isinstance(tau, str):
        if tau != "adaptive":
            raise InvalidType(f"tau must be a number, 'adaptive' or an AdaptiveStep, got {tau!r}")
        tau = AdaptiveStep()
    if isinstance(tau, AdaptiveStep):
        return AdaptiveClock.of(tau, steps, t1, first, start)
    return Clock.of(tau, steps, t1, first, start)


def as_tree(pace: Pace) -> Tree:
    """A clock as plain values, for files."""
    return asdict(pace)


def from_tree(tree: Tree) -> Pace:
    """The inverse of `as_tree`; a file may hold anything."""
    for name in tree.keys() - {"control"}:
        if tree[name] is not None:
            real(tree[name], name)
    if "control" not in tree:
        clock = Clock(**tree)
        positive(clock.tau, "tau")
        positive_int(clock.steps, "steps")
        if type(clock.first) is not int or clock.first < 0:
            raise InvalidArgument(f"first = {clock.first!r} is no number of a step")
        return clock
    return AdaptiveClock(**{**tree, "control": AdaptiveStep(**tree["control"])})
