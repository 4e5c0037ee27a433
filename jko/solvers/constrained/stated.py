r"""The step within a set of measures, and how multipliers certify it.

For A = {lower_j <= int f_j dmu <= upper_j} and any multipliers y,

    min_A (F + D^2/(2 tau)) >= min (F + y.f + D^2/(2 tau)) - sigma(y),   sigma(y) = sup_{A} y.m,

the minimum on the right being a step like any other, whose own certificate bounds it. An answer in
A is a step at y, or, where F and D^2 are convex in the weights, a mixture of such steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from jko.energies.moment import Moment
from jko.measures.base import Measure
from jko.prox.problem import ProxProblem
from jko.prox.result import StepResult
from jko.prox.stated import Answer, Certificate, Claim, Neighbour
from jko.validation import Array


@dataclass(frozen=True, eq=False)
class Solved:
    """The step at one vector of multipliers.

    Attributes
    ----------
    multipliers : (k,) array
    answer : Answer
        Of the step of F + y.f, with the problem that judges it.
    result : StepResult
        Its verdict.
    moments : (k,) array
        int f_j of the measure found.
    support : float
        sigma(y), finite.
    """

    multipliers: Array
    answer: Answer
    result: StepResult
    moments: Array
    support: float

    @property
    def measure(self) -> Measure:
        """The measure found."""
        return self.result.measure

    @property
    def objective(self) -> float:
        """F + D^2/(2 tau) of the measure, without the multipliers."""
        return self.result.objective - float(self.multipliers @ self.moments)

    @property
    def bound(self) -> float:
        """What no measure of the set is below; -inf where the step has no gap."""
        gap = self.answer.problem.certificate(self.answer).gap
        if gap is None or not np.isfinite(gap):
            return -np.inf
        return self.result.objective - abs(gap) - self.support


@dataclass(frozen=True, eq=False)
class ConstrainedStep(Neighbour):
    """F + D^2/(2 tau) over the measures of a set: the step that multipliers answer.

    Attributes
    ----------
    problem : ProxProblem
        The step without the set.
    moments : tuple of Moment
    parts : tuple of (float, Solved)
        Shares of the answer, which add to 1.
    best : Solved
        The step whose multipliers bound the minimum from below.
    """

    problem: ProxProblem
    moments: tuple[Moment, ...]
    parts: tuple[tuple[float, Solved], ...]
    best: Solved

    @cached_property
    def exact(self) -> bool:
        """Whether the steps are judged as they stand, without regularisation or other parts."""
        solved = [self.best, *(part for _, part in self.parts)]
        return all(isinstance(s.answer.problem, ProxProblem) for s in solved)

    def objective(self, nu: Measure) -> float:
        """F + D^2/(2 tau), +inf outside of the set; of a mixture of other problems a bound."""
        if any(not np.isfinite(m.value(nu)) for m in self.moments):
            return np.inf
        if len(self.parts) == 1 and nu is self.best.measure:
            return self.best.objective
        if self.exact:
            return self.problem.objective(nu)
        if len(self.parts) > 1:
            return float(sum(share * part.objective for share, part in self.parts))
        return self.best.answer.problem.objective(nu) - self._paid(nu)

    def certificate(self, answer: Answer) -> Certificate:
        """Gap to the bound of the multipliers; infinite for a measure that is not in the set."""
        nu, best = answer.measure, self.best
        inner = best.answer.problem.certificate(best.answer)
        objective = self.objective(nu)
        if not np.isfinite(objective):
            return Certificate(np.inf, np.inf)
        if inner.gap is None:
            return Certificate(None, max(inner.residual or 0.0, self._uneven(nu)))
        if nu is best.measure:
            slack = best.support - self._paid(nu)
            return Certificate(abs(inner.gap) + abs(slack), inner.residual)
        gap = objective - best.bound
        if self.exact:
            gap = min(gap, self._own_gap(nu))
        return Certificate(gap, inner.residual)

    def _uneven(self, nu: Measure) -> float:
        """What complementarity misses, sum |y_j (m_j - bound_j)|, relative to its terms."""
        best = self.best
        sizes = np.array([m.size(nu) for m in self.moments])
        terms = float(np.abs(best.multipliers) @ sizes)
        return abs(best.support - self._paid(nu)) / terms if terms > 0 else 0.0

    def _paid(self, nu: Measure) -> float:
        """y.m of a measure."""
        pairs = zip(self.best.multipliers, self.moments, strict=True)
        return float(sum(y * m.integral(nu) for y, m in pairs))

    def _own_gap(self, nu: Measure) -> float:
        """The gap of the measure itself at the best multipliers."""
        stated = self.best.answer.problem
        found = stated.certificate(Answer(nu, stated, 0)).gap
        return np.inf if found is None else abs(found) + abs(self.best.support - self._paid(nu))


@dataclass(frozen=True, eq=False)
class RegularisedConstrainedStep(ConstrainedStep):
    """The same of a neighbouring problem, such as an entropic step."""

    claim: ClassVar[Claim] = Claim.REGULARISED


@dataclass(frozen=True, eq=False)
class StationaryConstrainedStep(ConstrainedStep):
    """The same where nothing but stationarity is known of the steps."""

    claim: ClassVar[Claim] = Claim.STATIONARY


#: The stated problem of a claim of the inner steps.
BY_CLAIM: dict[Claim, type[ConstrainedStep]] = {
    Claim.MINIMISES: ConstrainedStep,
    Claim.REGULARISED: RegularisedConstrainedStep,
    Claim.STATIONARY: StationaryConstrainedStep,
}
