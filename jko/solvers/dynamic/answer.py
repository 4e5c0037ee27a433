"""The answer of a dynamic step: the path found, with the bias of its grid and slices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer
from jko.solvers.dynamic.levels import coarser
from jko.solvers.dynamic.problem import DynamicProblem
from jko.solvers.dynamic.run import Solution, solve
from jko.solvers.dynamic.stated import DynamicStep, physical
from jko.status import Breakdown, Status

#: Accuracy to which the grids of the bias are solved, relative.
BIAS_TOL = 1e-4
#: Steps spent on each of them at most.
BIAS_STEPS = 300


def answer(problem: ProxProblem, slices: int, most: int, tol: float, bias: bool) -> Answer:
    """The step with so many slices in at most so many iterations, with its bias if asked for."""
    stated = DynamicStep(problem, slices)
    discrete = stated.discrete
    scale = problem.energy_size(problem.previous).size / discrete.unit
    found = solved(discrete, tol, most, scale)
    best = found.best
    if best is None or found.phi is None:
        raise Breakdown(Status.BROKEN, "the splitting found no feasible path")
    measure = problem.discrete.with_weights(physical(found))
    action = 2 * discrete.unit * best.action * problem.step
    return Answer(
        measure,
        stated,
        found.iterations,
        objective=discrete.unit * best.value,
        sqdistance=action / problem.geometry.rate,
        energy=problem.value(measure),
        bias=grid_bias(found) if bias else None,
        dual={"phi": found.phi, "share": found.share},
        baseline=problem.value(problem.previous),
        exhausted=found.iterations >= most,
        info={"bias_kind": "estimate: half the cells, twice the slices"},
    )


def grid_bias(found: Solution) -> float:
    """|value on half the cells - value| + 4/3 |value of twice the slices - value|, physical."""
    coarse = found.coarse
    below = coarser(found.problem) if coarse is None else None
    if below is not None:
        coarse = solved(below, BIAS_TOL, BIAS_STEPS, 0.0)
    at = found if coarse is None else coarse
    finer = replace(at.problem, slices=2 * at.problem.slices)
    other = solved(finer, BIAS_TOL, BIAS_STEPS, 0.0)
    # The few steps for it leave a bracket, whose far end counts.
    least = other.lower if np.isfinite(other.lower) else other.upper
    # Second order in time: the error is 1/(1 - 1/4) times the change.
    in_time = 4 / 3 * at.problem.unit * max(abs(other.upper - at.upper), abs(least - at.upper))
    if coarse is None:
        return float(in_time)
    return float(
        in_time + abs(coarse.problem.unit * coarse.upper - found.problem.unit * found.upper)
    )


def solved(problem: DynamicProblem, tol: float, most: int, scale: float) -> Solution:
    """By Newton's method where it applies, by the splitting where that does not or misses."""
    from jko.solvers.dynamic.newton import applies, few_intervals

    quick = few_intervals(problem, tol, scale, most) if applies(problem) else None
    if quick is not None:
        out = Solution(problem, quick.best, quick.lower, quick.phi, quick.share, quick.iterations)
        if out.upper - out.lower <= tol * (scale or out.size):
            return out
    return solve(problem, tol, most, scale=scale)
