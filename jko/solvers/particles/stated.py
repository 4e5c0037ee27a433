"""Explicit steps: what they promise, and the search for a step length that keeps the promise.

An explicit step is no proximal step: it has no minimisation problem of its own to be certified
against. What it can promise is sufficient decrease, F(mu_+) <= F(mu) - promised, with `promised`
a figure known before F(mu_+) is: that inequality is what its result is judged by.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from jko.energies.base import Energy
from jko.kernels.fast_sums import TooManyModes
from jko.measures.base import Discrete
from jko.numerics.elementary import EPS
from jko.prox.problem import ProxProblem
from jko.prox.result import Certificate
from jko.solvers.base import Answer

#: Halvings of a step length before the search gives up.
HALVINGS = 60
#: A promise below this many roundings of F cannot be checked: the step then stays put.
ROUNDINGS = 64.0


@dataclass(frozen=True, eq=False)
class Trial:
    """A candidate measure with its energy and the decrease that its step length promises."""

    measure: Discrete
    value: float
    promised: float
    length: float


@dataclass(frozen=True, eq=False)
class Decrease:
    """The stated problem of an explicit step: find nu with F(nu) <= before - promised.

    Attributes
    ----------
    energy : Energy
    before : float
        F at the measure the step starts from.
    promised : float
        The decrease promised, >= 0.
    """

    energy: Energy
    before: float
    promised: float

    def objective(self, nu: Any) -> float:
        """F(nu)."""
        return self.energy.value(nu)

    def certificate(self, answer: Any) -> Certificate:
        """No gap; the residual is the part of the promised decrease that is missing."""
        value = self.objective(answer.measure) if answer.energy is None else answer.energy
        missing = value - self.before + self.promised
        if missing <= 0:
            return Certificate(None, 0.0)
        return Certificate(None, float(missing / self.promised) if self.promised > 0 else np.inf)


@dataclass(frozen=True, eq=False)
class Search:
    """Backtracking: halve the step length until F has fallen by what was promised.

    Attributes
    ----------
    energy : Energy
    start : Discrete
        The measure the step leaves.
    before : float
        F there.
    propose : callable length -> (measure, promised decrease)
    """

    energy: Energy
    start: Discrete
    before: float
    propose: Callable[[float], tuple[Discrete, float]]

    def run(self, length: float, limit: int = HALVINGS) -> tuple[Trial, int, bool]:
        """The accepted trial, the trials made, and whether none was found (it then stays put).

        A promise too small to be checked in floating point is given up and counts as kept; a
        larger one that no length keeps stays in the trial, so that the certificate fails.
        """
        first, tried = 0.0, 0
        for count in range(1, limit + 1):
            measure, promised = self.propose(length)
            first = promised if count == 1 else first
            if count > 1 and self.before - promised == self.before:
                break  # lost in the last digit of F: shorter lengths tell nothing
            value = self._value(measure)
            if value <= self.before - promised:
                return Trial(measure, value, promised, length), count, False
            length *= 0.5
            tried = count
        kept = first if first > self.rounding else 0.0
        return Trial(self.start, self.before, kept, 0.0), tried, True

    def _value(self, nu: Discrete) -> float:
        """F at a trial, infinite where the step went too far to compute it."""
        try:
            return self.energy.value(nu)
        except TooManyModes:
            return np.inf

    @property
    def rounding(self) -> float:
        """The decrease of F that rounding can hide."""
        return ROUNDINGS * EPS * max(abs(self.before), self.start.mass**2)


def answer(
    problem: ProxProblem, search: Search, found: tuple[Trial, int, bool], **more: Any
) -> Answer:
    """The answer of an explicit step, with its figures."""
    trial, count, stalled = found
    info = {
        "step": trial.length,
        "promised": trial.promised,
        "decrease": search.before - trial.value,
        "evaluations": count,
        "stalled": stalled,
    }
    return Answer(
        trial.measure,
        Decrease(problem.energy, search.before, trial.promised),
        iterations=1,
        objective=trial.value,
        energy=trial.value,
        baseline=search.before,
        remark=(
            "no step length lowers the energy as its gradient promises: the gradient is wrong, or"
            " the energy has a kink there (Laplace, Energy and Matern(nu=0.5) kernels)"
            if stalled
            else ""
        ),
        info={**info, **more.pop("info", {})},
        **more,
    )
