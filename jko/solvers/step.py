"""`jko.step`: state the problem, walk the rules, judge each answer."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jko.energies.base import Energy
from jko.errors import JkoWarning, StepFailed
from jko.geometries import Divergence, Hellinger, SphericalHellinger
from jko.geometries.base import Geometry
from jko.measures.atoms import Histogram, Particles
from jko.measures.base import Discrete, Measure
from jko.measures.support import merged, shared_back
from jko.prox.judge import broken, judge
from jko.prox.problem import ProxProblem
from jko.prox.result import StepResult
from jko.prox.stated import Controls
from jko.solvers.auto import Rule, applying, refuse, rules_of
from jko.solvers.base import HandedBack, ProxSolver
from jko.status import Breakdown, Status
from jko.threads import limited
from jko.validation import Index, positive, positive_int, rng_of

#: What a solver found out about the problem, not about itself: no other solver is asked.
CONCLUSIVE = (Status.UNBOUNDED, Status.EMPTY)


def step(
    measure: Measure,
    energy: Energy,
    geometry: Geometry,
    tau: float,
    *,
    solver: str | ProxSolver | Sequence[Rule | ProxSolver] = "auto",
    tol: float | None = None,
    accuracy: float | None = None,
    max_iter: int | None = None,
    warm: Any = None,
    rng: Any = None,
    throw: bool = True,
) -> StepResult:
    """Take one certified proximal step, argmin F(mu) + D(mu, measure)^2 / (2 tau).

    Parameters
    ----------
    measure : GridDensity, Histogram, Particles or Gaussian
        The previous measure.
    energy : Energy
    geometry : Geometry
        One geometry; sums are for `jko.split_step`.
    tau : float
        Step length, > 0.

    Other Parameters
    ----------------
    solver : "auto", a solver object, or a list of solvers and rules
        "auto" walks the rules that `jko.solvers_for` shows: one that misses its certificate leaves
        the step to the next (`info["tried"]`). A list is walked likewise.
    tol : float, optional
        On the gap, relative to the size of the terms that make up the objective, with a floor of
        rounding; or on the residual, itself relative, where no gap exists. None takes the solver's
        declared default.
    accuracy : float, optional
        The whole error, gap and bias together, relative to the decrease of the objective. Solvers
        choose their regularisation by it; a step whose error is larger, or not known, fails.
    max_iter : int, optional
    warm : object, optional
        `warm` of an earlier result.
    rng : seed or numpy Generator, optional
    throw : bool
        Raise `jko.StepFailed` (carrying the result) when the certificate misses the tolerance.

    Returns
    -------
    StepResult

    Raises
    ------
    Unsupported
        No solver takes this problem; the message lists each reason.
    StepFailed
        The step missed its tolerance and `throw` is true.
    """
    distinct, index = _each_atom_once(measure, energy, geometry, solver)
    problem = ProxProblem(energy, geometry, distinct, tau)
    _warn_if_not_unique(problem)
    asked = _Asked(
        None if tol is None else positive(tol, "tol"),
        None if max_iter is None else positive_int(max_iter, "max_iter"),
        None if accuracy is None else positive(accuracy, "accuracy"),
        warm,
        rng_of(rng),
    )
    result = walk(problem, rules_of(solver), asked)
    if index is not None:
        result = _listed_again(result, measure, distinct, index)
    if throw and not result.success:
        raise StepFailed(result.message, result)
    return result


def _each_atom_once(
    measure: Measure, energy: Energy, geometry: Geometry, solver: Any
) -> tuple[Measure, Index | None]:
    """The measure with every atom listed once, where the step acts on weights of atoms.

    Steps are functions of measures. Particles are merged where weights alone change: elsewhere two
    of them that share a place may part.
    """
    if not isinstance(energy, Energy) or energy.listed:
        return measure, None
    stays = isinstance(geometry, (Hellinger, SphericalHellinger, Divergence))
    stays = stays and isinstance(solver, str)
    if isinstance(measure, Histogram) or (stays and isinstance(measure, Particles)):
        return merged(measure)
    return measure, None


def _listed_again(
    result: StepResult, measure: Measure, distinct: Measure, index: Index
) -> StepResult:
    """The result on the list that was handed in: entries of an atom share its new weight."""
    found = result.measure
    assert isinstance(measure, Discrete)
    if not isinstance(found, Discrete) or not found.same_support(distinct):
        return result
    weights = shared_back(found.weights, measure.weights, index)
    return replace(result, measure=measure.with_weights(weights))


@dataclass(frozen=True, eq=False)
class _Asked:
    """What the caller asked for, the same for every rule."""

    tol: float | None
    max_iter: int | None
    accuracy: float | None
    warm: Any
    rng: np.random.Generator

    def controls(self, rule: Rule, alone: bool) -> Controls:
        """The settings of one try; a rule that stands alone has no budget to keep."""
        goal = rule.solver.default_tol if self.tol is None else self.tol
        budget = None if alone else rule.budget
        return Controls(goal, self.max_iter, self.warm, self.rng, self.accuracy, budget)


def walk(problem: ProxProblem, rules: tuple[Rule, ...], asked: _Asked) -> StepResult:
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
    best = min(results, key=_rank)
    others = tuple(_line(r) for r in results if r is not best)
    return replace(best, info={**best.info, "tried": others}) if others else best


def _try(problem: ProxProblem, rule: Rule, controls: Controls) -> StepResult:
    """One rule: an answer and its judgement, or the reason why there is none."""
    started, solver = time.perf_counter(), rule.solver
    try:
        with limited():
            try:
                answer = solver.solve(problem, controls)
            except HandedBack as back:
                answer = back.answer
            return judge(problem, solver.name, answer, controls, started)
    except Breakdown as failure:
        return broken(problem, solver.name, failure, controls, started)


def _settles(rule: Rule, result: StepResult, asked: _Asked) -> bool:
    """Whether no later rule is asked: a certified step, or the end of the caller's iterations.

    Where the rule asks for it, a certified gap must also be small beside what the step gained.
    """
    if result.status in CONCLUSIVE:
        return True
    if not result.success:
        return asked.max_iter is not None and result.status is Status.MAX_ITERATIONS
    resolution = result.resolution
    return rule.resolves is None or resolution is None or resolution <= rule.resolves


def _rank(result: StepResult) -> tuple[bool, float]:
    """Certified answers first, then what is known of the problem, then the gap over the allowed."""
    if result.status in CONCLUSIVE:
        return True, -1.0
    figure = result.residual if result.gap is None else result.gap
    allowed = result.tol if result.gap is None else result.allowed
    if figure is None or not allowed or not np.isfinite(figure):
        return not result.success, np.inf
    return not result.success, abs(figure) / allowed


def _line(result: StepResult) -> dict[str, Any]:
    """What a try came to, for `info["tried"]`."""
    return {
        "solver": result.solver,
        "status": result.status.name,
        "gap": result.gap,
        "residual": result.residual,
        "seconds": result.seconds,
        "message": result.message,
    }


def _warn_if_not_unique(problem: ProxProblem) -> None:
    """A step in a modulus-convex energy has one minimiser when 1/tau + modulus > 0."""
    modulus = problem.energy.convexity(problem.geometry)
    if modulus is not None and 1 / problem.tau + modulus <= 0:
        warnings.warn(
            f"tau = {problem.tau:g} is too long for a unique step: the energy is {modulus:g}-convex"
            f" in {problem.geometry!r}; use tau < {-1 / modulus:g}",
            JkoWarning,
            stacklevel=3,
        )
