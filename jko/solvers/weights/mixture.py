"""The MMD step of MMD energies where the atoms allow it: a mixture, in closed form (formula M1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from jko.energies.mmd import MMDEnergy
from jko.geometries.base import Geometry
from jko.geometries.mmd import MMD
from jko.measures.base import Discrete, Measure
from jko.measures.grid import GridDensity
from jko.measures.target import Restriction, restrict
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Controls
from jko.solvers.base import ProxSolver


@dataclass(frozen=True)
class Mixture(ProxSolver):
    """argmin c/2 MMD^2(., pi) + MMD^2(., m')/(2 eta) = (c eta pi + m')/(c eta + 1).

    Needs the target's atoms among those of the measure and, on fixed mass, equal masses. Several
    MMD energies of the geometry's kernel give the mixture of all their targets. By formula M1 this
    is also the inclusive-KL step.

    References
    ----------
    Gladin et al. (2024); Zhu and Mielke (2024).
    """

    geometries: ClassVar[tuple[type[Geometry], ...]] = (MMD,)
    kinds: ClassVar[tuple[type[Measure], ...]] = (Discrete,)
    guarantee: ClassVar[str] = "exact"
    default_tol: ClassVar[float] = 1e-9

    def accepts(self, problem: ProxProblem) -> str | None:
        geometry, previous = problem.geometry, problem.previous
        if not isinstance(geometry, MMD):
            return "it takes MMD geometries only"
        if not isinstance(previous, Discrete):
            return f"a {type(previous).__name__} has no weights on a fixed support"
        for _, term in problem.energy.terms:
            if not isinstance(term, MMDEnergy) or term.kernel != geometry.kernel:
                return f"it takes MMD energies of the geometry's kernel only, not {term!r}"
            if term.statistic != "V":
                return "it minimises the V-statistic; use MMDEnergy(..., statistic='V')"
            if not isinstance(term.target, Discrete):
                return f"the target {term.target!r} has no atoms to mix in"
            if not _within(term.target, previous):
                return (
                    "the target has atoms outside the support;"
                    " SimplexQP(support='union') adds them, SimplexQP() does without"
                )
            differ = abs(term.target.mass - previous.mass) > 1e-12 * previous.mass
            if geometry.conserves_mass and differ:
                return "the target has another mass than the measure, which is kept fixed"
        return None

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        previous, step = problem.discrete, problem.step
        blend, total = previous.weights.copy(), 1.0
        for c, target in _targets(problem):
            blend += c * step * target.weights
            total += c * step
        weights = blend / total
        if problem.geometry.conserves_mass:
            weights *= previous.mass / weights.sum()
        return Answer(previous.with_weights(weights), problem, 0)


def _within(target: Discrete, support: Discrete) -> bool:
    """Whether every charged atom of the target is an atom of the support."""
    if isinstance(target, GridDensity) and isinstance(support, GridDensity):
        return target.grid == support.grid
    return restrict(target, support).missing == 0


def _targets(problem: ProxProblem) -> list[tuple[float, Restriction]]:
    pairs = [(c, term.target) for c, term in problem.energy.terms if isinstance(term, MMDEnergy)]
    return [
        (c, restrict(target, problem.discrete))
        for c, target in pairs
        if isinstance(target, Discrete)
    ]


def union_support(problem: ProxProblem) -> Discrete:
    """The previous measure with the atoms of every discrete MMD target added, at weight zero."""
    previous = problem.discrete
    known = {row.tobytes() for row in np.ascontiguousarray(previous.points + 0.0)}
    extra = []
    for _, term in problem.energy.terms:
        if isinstance(term, MMDEnergy) and isinstance(term.target, Discrete):
            charged = term.target.points[term.target.weights > 0] + 0.0
            for row in np.ascontiguousarray(charged):
                if row.tobytes() not in known:
                    known.add(row.tobytes())
                    extra.append(row)
    if not extra:
        return previous
    points = np.concatenate([previous.points, np.array(extra)])
    weights = np.concatenate([previous.weights, np.zeros(len(extra))])
    return type(previous)(points, weights)  # type: ignore[call-arg]
