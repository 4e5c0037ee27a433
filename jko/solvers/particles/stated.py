"""Explicit steps: what they promise, and the search for a step length that keeps the promise.

An explicit step is no proximal step: it has no minimisation problem of its own to be certified
against. What it can promise is sufficient decrease, F(mu_+) <= F(mu) - promised, with `promised`
a figure known before F(mu_+) is: that inequality is what its result is judged by.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from jko.energies.base import Energy
from jko.energies.rounding import mean_size, value_rounding
from jko.errors import InvalidMeasure
from jko.kernels.fast_sums import TooManyModes
from jko.measures.atoms import Particles
from jko.measures.base import Discrete, Measure
from jko.numerics.elementary import EPS
from jko.prox.duality.certify import particle_residual
from jko.prox.problem import ProxProblem
from jko.prox.stated import (
    ROUNDING,
    Answer,
    Certificate,
    Claim,
    Neighbour,
    Scale,
    Stated,
    figure,
    of_kind,
)
from jko.status import Breakdown, Status

#: Halvings of a step length before the search gives up: from any double to any other. What ends a
#: search is the rounding of F, after some 60.
HALVINGS = 1100
#: A rise of F that falls by less than this factor with the length is no slope and no curvature.
MORE = 1.5
#: What a step says that stays where it is for good reason.
AT_REST = "at rest: what a step could lower the energy by is below its rounding"


@dataclass(frozen=True, eq=False)
class Trial:
    """A candidate measure with its energy and the decrease that its step length promises."""

    measure: Discrete
    value: float
    promised: float
    length: float


@dataclass(frozen=True, eq=False)
class Decrease(Stated):
    """The stated problem of an explicit step: find nu with F(nu) <= before - promised.

    Attributes
    ----------
    energy : Energy
    before : float
        F at the measure the step starts from.
    promised : float
        The decrease promised, >= 0.
    """

    claim: ClassVar[Claim] = Claim.DECREASES

    energy: Energy
    before: float
    promised: float

    def objective(self, nu: Measure) -> float:
        """F(nu)."""
        return self.energy.value(nu)

    def certificate(self, answer: Answer) -> Certificate:
        """No gap; the residual is the part of the promised decrease that is missing."""
        value = self.objective(answer.measure) if answer.energy is None else answer.energy
        if value <= self.before - self.promised:  # as the search compares, rounding included
            return Certificate(None, 0.0)
        missing = value - self.before + self.promised
        return Certificate(None, float(missing / self.promised) if self.promised > 0 else np.inf)


@dataclass(frozen=True, eq=False)
class Stationary(Neighbour):
    """The step itself, of particles: stationary, within the rounding of forces or of values.

    Attributes
    ----------
    problem : ProxProblem
    tol : float
        What the residual is held against; a smaller one is taken as it is.
    stuck : bool
        Whether the solver found no point of smaller slope, rather than no time to look for one.
    """

    claim: ClassVar[Claim] = Claim.STATIONARY

    problem: ProxProblem
    tol: float
    stuck: bool = False

    def objective(self, nu: Measure) -> float:
        """F(nu) + sum w |x - x'|^2 / (2 tau), by the matching of particles to themselves."""
        nu = of_kind(nu, Particles)
        moved = nu.points - self.problem.discrete.points
        cost = float(nu.weights @ (moved**2).sum(axis=1))
        return self.problem.energy.value(nu) + cost / (2 * self.problem.step)

    def certificate(self, answer: Answer) -> Certificate:
        """No gap; the residual, 0 at rest."""
        nu, problem = of_kind(answer.measure, Particles), self.problem
        residual = particle_residual(problem, nu, self.tol)
        if (
            self.stuck
            and residual > self.tol
            and self._promise(nu) <= value_rounding(problem.energy, nu)
        ):
            residual = 0.0
        return Certificate(None, residual)

    def size(self, answer: Answer) -> Scale:
        """That of the step, and the rounding of values where the answer ends above its start."""
        base = self.problem.size(answer)
        lost = figure(answer.info, "rounding", 0.0)
        return Scale(base.size, base.raw + lost / (ROUNDING * EPS))

    def _promise(self, nu: Particles) -> float:
        """The decrease of the objective that a quadratic model of curvature 1/step promises."""
        moved = nu.points - self.problem.discrete.points
        force = self.problem.energy.wasserstein_gradient(nu) + moved / self.problem.step
        size = mean_size(nu.weights, force)
        return 0.5 * self.problem.step * size * size


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

    def run(self, length: float, limit: int = HALVINGS) -> FoundStep:
        """The accepted trial, or staying put, and why.

        A promise below the rounding of F cannot be checked. Where every larger one was broken, but
        as the curvature of F breaks it, F is as low as can be seen: the step stays, at rest. Where
        shorter lengths would break it too, the promise stays in the trial, and the certificate
        fails.
        """
        broken: list[tuple[float, float]] = []
        for count in range(1, limit + 1):
            measure, promised = self.propose(length)
            if count > 1 and promised <= self.rounding:
                kept = broken[-1][1] if _never_kept(broken) else 0.0
                return FoundStep(Trial(self.start, self.before, kept, 0.0), count - 1, True, length)
            value = self._value(measure)
            if value <= self.before - promised:
                return FoundStep(Trial(measure, value, promised, length), count)
            broken.append((value - self.before, promised))
            length *= 0.5
        kept = broken[-1][1] if broken[-1][1] > self.rounding else 0.0
        return FoundStep(Trial(self.start, self.before, kept, 0.0), limit, True, length)

    def _value(self, nu: Discrete) -> float:
        """F at a trial, infinite where the step went too far to compute it."""
        try:
            return self.energy.value(nu)
        except (TooManyModes, InvalidMeasure):
            return np.inf

    @cached_property
    def rounding(self) -> float:
        """The decrease of F that rounding can hide."""
        return value_rounding(self.energy, self.start)


@dataclass(frozen=True, eq=False)
class FoundStep:
    """What a search found: the trial, how many were made, whether it stayed put, and the length
    that was next."""

    trial: Trial
    evaluations: int
    stalled: bool = False
    shortest: float = 0.0

    @property
    def at_rest(self) -> bool:
        """Whether it stayed put because no decrease is left that could be seen."""
        return self.stalled and self.trial.promised == 0


def lost(trouble: InvalidMeasure) -> Breakdown:
    """How a step of a fixed length ends that leads where the energy has no value."""
    return Breakdown(
        Status.BROKEN, f"the step ends where the energy is not defined, reduce tau: {trouble}"
    )


def _never_kept(broken: list[tuple[float, float]]) -> bool:
    """Whether (rise, promise) of ever shorter lengths break the promise down to length 0.

    rise/promise is linear in the length where F is smooth: at most -1 at length 0 for the gradient
    of F. Where the rise does not fall with the length, F is flat out there, and nothing is known.
    """
    if len(broken) < 2:
        return False
    (rise, promise), (last, least) = broken[-2:]
    if not np.isfinite(rise) or 0 < rise < MORE * last:
        return False
    return 2 * last / least - rise / promise > -1


def answer(problem: ProxProblem, search: Search, found: FoundStep) -> Answer:
    """The answer of an explicit step, with its figures."""
    trial = found.trial
    info: dict[str, object] = {
        "step": trial.length,
        "promised": trial.promised,
        "decrease": search.before - trial.value,
        "evaluations": found.evaluations,
        "stalled": found.stalled,
        "at_rest": found.at_rest,
    }
    if found.at_rest:
        info["kind"] = AT_REST
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
            if found.stalled
            else ""
        ),
        info=info,
    )
