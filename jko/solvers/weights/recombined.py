"""Fewer atoms of the same mean embedding: recombination after a step on a united support."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from jko.energies.mmd import MMDEnergy
from jko.kernels import pivoted_cholesky
from jko.measures.base import Discrete
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer
from jko.solvers.weights.stated import QuadraticStep
from jko.validation import Array


def recombined(answer: Answer, problem: ProxProblem, budget: int | None) -> Answer:
    """Report the copied mass and, with a budget, keep that many atoms of the united support."""
    full, stated = answer.measure, answer.problem
    assert isinstance(full, Discrete)
    assert isinstance(stated, QuadraticStep)
    info = {**answer.info, "recombination_mmd": 0.0, "copied_mass": _copied_mass(full, problem)}
    if budget is None or full.n <= budget:
        return replace(answer, warm=None, info=info)
    charged = np.flatnonzero(full.weights)
    weights = full.weights[charged]
    kept, share = _recombine(problem, full.points[charged], weights, budget)
    final = type(full)(full.points[charged[kept]], share)  # type: ignore[call-arg]
    spread = np.zeros(full.n)
    spread[charged[kept]] = share
    fewer, moved = full.with_weights(spread), spread - full.weights
    info["recombination_mmd"] = float(np.sqrt(max(float(moved @ stated.metric.matvec(moved)), 0.0)))
    info["copied_mass"] = _copied_mass(final, problem)
    return replace(
        answer,
        measure=final,
        objective=stated.objective(full),
        energy=stated.energy(fewer),
        sqdistance=stated.sqdistance(fewer),
        bias=stated.objective(fewer) - stated.objective(full),
        certified=full,
        warm=None,
        info=info,
    )


def _recombine(
    problem: ProxProblem, points: Array, weights: Array, budget: int
) -> tuple[NDArray[np.intp], Array]:
    """Indices of at most `budget` atoms and their weights, all of them when they are so few."""
    from jko.numerics.recombination import kernel_features, recombine

    if weights.size <= budget:
        return np.arange(weights.size), weights
    kernel = problem.metric_kernel
    factor = pivoted_cholesky(kernel, points, 1e-14, max_rank=4 * budget).factor
    kept = recombine(weights, kernel_features(factor, weights, budget - 1), budget)
    return kept.indices, kept.weights


def _copied_mass(measure: Discrete, problem: ProxProblem) -> float:
    """Fraction of the mass that sits exactly on atoms of an MMD target."""
    targets = {
        row.tobytes()
        for _, term in problem.energy.terms
        if isinstance(term, MMDEnergy) and isinstance(term.target, Discrete)
        for row in np.ascontiguousarray(term.target.points[term.target.weights > 0] + 0.0)
    }
    rows = np.ascontiguousarray(measure.points + 0.0)
    on_target = np.array([row.tobytes() in targets for row in rows])
    return float(measure.weights[on_target].sum()) / measure.mass
