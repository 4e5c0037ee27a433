"""`jko.step`: state the problem, walk the rules, judge each answer."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

from jko.energies.base import Energy
from jko.energies.moment import Moment, within
from jko.errors import InvalidArgument, StepFailed, Unsupported
from jko.geometries import Divergence, Hellinger, SphericalHellinger
from jko.geometries.base import Geometry
from jko.measures.atoms import Histogram, Particles
from jko.measures.base import Discrete, Measure
from jko.measures.support import merged, shared_back
from jko.prox.problem import ProxProblem
from jko.prox.result import StepResult
from jko.solvers.auto import rules_of
from jko.solvers.remedies import Remedy, advice, remedies, sentence, tried
from jko.solvers.rules import Asked, Solver, walk
from jko.status import Breakdown
from jko.validation import Index, Seed, positive, positive_int, rng_of
from jko.warned import caution


def step(
    measure: Measure,
    energy: Energy,
    geometry: Geometry,
    tau: float,
    *,
    solver: Solver = "auto",
    tol: float | None = None,
    accuracy: float | None = None,
    max_iter: int | None = None,
    warm: object = None,
    rng: Seed = None,
    constraints: Sequence[Moment] = (),
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
    constraints : sequence of Moment
        Sets of measures to minimise over; the same as adding them to `energy`. Their multipliers
        are `info["multipliers"]`.
    throw : bool
        Raise `jko.StepFailed` (carrying the result) when the certificate misses the tolerance.

    Returns
    -------
    StepResult

    Raises
    ------
    Unsupported
        No solver takes this problem; the message names the nearest miss.
    StepFailed
        The step missed its tolerance and `throw` is true.

    References
    ----------
    Jordan et al. (1998); Ambrosio et al. (2008).
    """
    if not (isinstance(constraints, tuple) and not constraints):
        energy = within(energy, constraints)
    distinct, index = _each_atom_once(measure, energy, geometry, solver)
    problem = ProxProblem(energy, geometry, distinct, tau)
    _warn_if_not_unique(problem)
    asked = Asked(
        None if tol is None else positive(tol, "tol"),
        None if max_iter is None else positive_int(max_iter, "max_iter"),
        None if accuracy is None else positive(accuracy, "accuracy"),
        warm,
        rng_of(rng),
    )
    before = asked.rng.bit_generator.state
    result = walk(problem, rules_of(solver), asked)
    if throw and not result.success:
        again = copy.deepcopy(asked.rng)
        again.bit_generator.state = before
        said = _explained(result, problem, solver, replace(asked, rng=again))
        result = replace(result, message=said)
    if index is not None:
        result = _listed_again(result, measure, distinct, index)
    if throw and not result.success:
        raise StepFailed(result.message, result)
    return result


def _explained(result: StepResult, problem: ProxProblem, solver: Solver, asked: Asked) -> str:
    """What failed, what else was tried, and a change that was seen to work."""

    def works(remedy: Remedy) -> bool:
        change = remedy.settings
        changed = replace(problem, tau=change.get("tau", problem.tau))
        rules = rules_of(change.get("solver", solver))
        again = replace(
            asked,
            max_iter=change.get("max_iter", asked.max_iter),
            tol=change.get("tol", asked.tol),
            rng=copy.deepcopy(asked.rng),
            warm=None,
        )
        try:
            return walk(changed, rules, again).success
        except (Unsupported, InvalidArgument, Breakdown, ArithmeticError):
            return False

    auto = isinstance(solver, str)
    options = remedies(result, max_iter=asked.max_iter, auto=auto, tau=problem.tau)
    change = advice(list(options), result.seconds, works)
    return sentence("", result.message, tried(result), change)


def _each_atom_once(
    measure: Measure, energy: Energy, geometry: Geometry, solver: Solver
) -> tuple[Measure, Index | None]:
    """The measure with every atom listed once, where the step acts on weights of atoms.

    Steps are functions of measures. Particles are merged where weights alone change: elsewhere two
    of them that share a place may part.
    """
    by_place = isinstance(energy, Energy) and energy.listed
    by_place = by_place or (isinstance(geometry, Geometry) and geometry.listed)
    if by_place or not isinstance(energy, Energy):
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


def _warn_if_not_unique(problem: ProxProblem) -> None:
    """A step in a modulus-convex energy has one minimiser when 1/tau + modulus > 0."""
    modulus = problem.energy.convexity(problem.geometry)
    if modulus is not None and 1 / problem.tau + modulus <= 0:
        caution(
            f"tau = {problem.tau:g} is too long for a unique step: the energy is {modulus:g}-convex"
            f" in {problem.geometry!r}; use tau < {-1 / modulus:g}",
        )
