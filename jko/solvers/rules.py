"""Rules: a solver with where to try it and for how long, and the walk along a list of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypedDict

import numpy as np

from jko.errors import SingularCovariance, Unsupported
from jko.prox.judge import broken, judge
from jko.prox.problem import ProxProblem
from jko.prox.result import StepResult
from jko.prox.stated import Claim, Controls
from jko.solvers.base import HandedBack, ProxSolver, other_cost
from jko.solvers.grids.accuracy import advised
from jko.solvers.nearest import refuse
from jko.status import Breakdown, Status
from jko.threads import limited

#: What a solver found out about the problem, not about itself: no other solver is asked.
CONCLUSIVE = (Status.UNBOUNDED, Status.EMPTY)


#: How often a solver is asked for more where the judge allows less than it aimed at; each time the
#: size of what is left is better known.
ENCORES = 3


@dataclass(frozen=True)
class Rule:
    """One line of the table that `auto` walks: a solver, and where to try it.

    Attributes
    ----------
    solver : ProxSolver
    when : callable ProxProblem -> str or None, optional
        None where the solver is worth trying, else the reason, as a sentence. What it *can* do its
        own `accepts` says.
    budget : int, optional
        Iterations it may spend before the next rule has its turn.
    resolves : float, optional
        Largest share of the decrease of the objective that its gap may be; a certified step that
        resolves less is kept only when no later rule does better.
    last : bool
        Tried only where every rule before it refused: for flows that minimise nothing.
    """

    solver: ProxSolver
    when: Callable[[ProxProblem], str | None] | None = None
    budget: int | None = None
    resolves: float | None = None
    last: bool = False

    def applies(self, problem: ProxProblem) -> bool:
        """Whether there is no reason against it; the cheapest are asked first."""
        try:
            if other_cost(problem, self.solver) is not None:
                return False
            worth = self.when is None or self.when(problem) is None
            return worth and self.solver.accepts(problem) is None
        except Unsupported:
            return False

    def refusal(self, problem: ProxProblem) -> str | None:
        """Why the solver does not take the step, None where it does."""
        try:
            return other_cost(problem, self.solver) or self.solver.accepts(problem)
        except Unsupported as refusal:
            return str(refusal)

    def reason(self, problem: ProxProblem) -> str | None:
        """Why the rule does not apply, None where it does; a missing capability is a reason too."""
        why = self.refusal(problem)
        if why is not None or self.when is None:
            return why
        try:
            return self.when(problem)
        except Unsupported as refusal:
            return str(refusal)


class Try(TypedDict):
    """What a rule came to, an entry of `info["tried"]`."""

    solver: str
    status: str
    gap: float | None
    residual: float | None
    seconds: float
    message: str


#: What `solver=` takes: "auto", a solver, a rule, or a list of them to be tried in turn.
Solver = str | ProxSolver | Rule | Sequence[str | ProxSolver | Rule]


def applying(problem: ProxProblem, rules: Sequence[Rule]) -> Iterator[Rule]:
    """The rules that apply, in their order; later ones are asked only when they are needed."""
    several, tried = len(rules) > 1, False
    for rule in rules:
        if several and ((rule.last and tried) or not rule.solver.fits(problem)):
            continue
        if not rule.applies(problem):
            continue
        tried = True
        yield rule


@dataclass(frozen=True, eq=False)
class Asked:
    """What the caller asked for, the same for every rule."""

    tol: float | None
    max_iter: int | None
    accuracy: float | None
    warm: object
    rng: np.random.Generator

    def controls(self, rule: Rule, alone: bool) -> Controls:
        """The settings of one try; a rule that stands alone has no budget to keep."""
        goal = rule.solver.default_tol if self.tol is None else self.tol
        budget = None if alone else rule.budget
        return Controls(goal, self.max_iter, self.warm, self.rng, self.accuracy, budget)


def walk(problem: ProxProblem, rules: tuple[Rule, ...], asked: Asked) -> StepResult:
    """The first answer that is certified and resolves the step, else the best there was.

    Raises
    ------
    Unsupported
        No rule applies.
    """
    results: list[StepResult] = []
    for rule in applying(problem, rules):
        results.append(_try(problem, rule, asked.controls(rule, alone=len(rules) == 1)))
        if _settles(rule, results[-1], asked):
            break
    if not results:
        raise refuse(problem, rules)
    best = min(results, key=lambda result: _rank(result, asked.accuracy))
    others = tuple(_line(r) for r in results if r is not best)
    return replace(best, info={**best.info, "tried": others}) if others else best


def _try(problem: ProxProblem, rule: Rule, controls: Controls) -> StepResult:
    """One rule: an answer and its judgement, or the reason why there is none."""
    started, solver = time.perf_counter(), rule.solver
    try:
        with limited():
            goal, result = controls, _judged(problem, solver, controls, controls, started)
            for _ in range(ENCORES):
                finer = _finer(problem, goal, result)
                if finer is None:
                    break
                goal, last = finer, result
                result = _judged(problem, solver, goal, controls, started)
                result = replace(result, iterations=last.iterations + result.iterations)
            return result
    except Breakdown as failure:
        return broken(problem, solver.name, failure, controls, started)
    except (np.linalg.LinAlgError, MemoryError, SingularCovariance) as trouble:
        # A singular matrix, or one that does not fit: the next solver may need none.
        reason = Breakdown(Status.BROKEN, str(trouble)[:200] or "out of memory")
        return broken(problem, solver.name, reason, controls, started)


def _judged(
    problem: ProxProblem, solver: ProxSolver, goal: Controls, controls: Controls, started: float
) -> StepResult:
    """The answer to `goal`, held against the controls that were asked for."""
    try:
        answer = solver.solve(problem, goal)
    except HandedBack as back:
        answer = back.answer
    if controls.accuracy is not None:
        answer = advised(problem, answer, controls.accuracy)
    return judge(problem, solver.name, answer, controls, started)


def _finer(problem: ProxProblem, goal: Controls, result: StepResult) -> Controls | None:
    """Settings that ask for more where a solver met its goal and the judge allows less.

    Before a step its size is known from the previous measure alone (`ProxProblem.unit`), where
    terms may be huge that are nothing at the answer.
    """
    gap, allowed = result.gap, result.allowed
    if result.success or not gap or not allowed or result.status is not Status.INACCURATE:
        return None
    met = goal.tol * problem.unit
    if not allowed < abs(gap) <= met:
        return None
    tol = 0.5 * goal.tol * (allowed / met)
    return replace(goal, tol=tol, warm=result.warm) if tol > 0 else None


def _settles(rule: Rule, result: StepResult, asked: Asked) -> bool:
    """Whether no later rule is asked: a certified step, or the end of the caller's iterations.

    Where the rule asks for it, a certified gap must also be small beside what the step gained.
    """
    if result.status in CONCLUSIVE:
        return True
    if not result.success:
        return asked.max_iter is not None and result.status is Status.MAX_ITERATIONS
    resolution = result.resolution
    return rule.resolves is None or resolution is None or resolution <= rule.resolves


def _rank(result: StepResult, accuracy: float | None = None) -> tuple[bool, float, float]:
    """Certified answers first, then what is known of the problem, then the gap over the allowed.

    Where an accuracy is asked for, the whole error comes before the gap.
    """
    if result.status in CONCLUSIVE:
        return True, -1.0, -1.0
    error = 0.0 if accuracy is None else _whole_error(result)
    figure = result.residual if result.gap is None else result.gap
    allowed = result.tol if result.gap is None else result.allowed
    if figure is None or not allowed or not np.isfinite(figure):
        return not result.success, error, np.inf
    return not result.success, error, abs(figure) / allowed


def _whole_error(result: StepResult) -> float:
    """Gap and bias over the decrease of the objective, inf where one of them is not known."""
    unknown = result.bias is None and result.claim is Claim.REGULARISED
    if result.gap is None or result.baseline is None or unknown:
        return np.inf
    gained = result.baseline - result.objective
    error = abs(result.gap) + abs(result.bias or 0.0)
    return error / gained if gained > 0 and np.isfinite(error) else np.inf


def _line(result: StepResult) -> Try:
    """What a try came to, for `info["tried"]`."""
    return {
        "solver": result.solver,
        "status": result.status.name,
        "gap": result.gap,
        "residual": result.residual,
        "seconds": result.seconds,
        "message": result.message,
    }
