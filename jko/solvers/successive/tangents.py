"""The step of energies made of transport to a target, bounded from below by tangents of theirs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from jko.energies.base import Energy
from jko.energies.transported import TangentModel, TransportedEnergy
from jko.geometries.wasserstein import Wasserstein
from jko.measures.base import Discrete, Measure
from jko.prox.duality.certify import certify
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Certificate, Claim, Neighbour, Scale, on_atoms
from jko.solvers.programs.stated import TransportStep
from jko.validation import Array

#: What empty atoms are seen as having in tangents that are tried, none first.
LIFTS = (0.0, 1e-10, 1e-8, 1e-6, 1e-5, 1e-4)
#: Rounding of an entropic cost, in units of that of a sum of its terms: marginals are met to 1e-13.
SOLVED = 64.0


@dataclass(frozen=True, eq=False)
class TangentStep(Neighbour):
    """The step itself, bounded from below by that of tangents of its transport terms.

    Attributes
    ----------
    problem : ProxProblem
    """

    claim: ClassVar[Claim] = Claim.MINIMISES

    problem: ProxProblem

    def objective(self, nu: Measure) -> float:
        """F(nu) + D^2 / (2 tau)."""
        return self.problem.objective(nu)

    def certificate(self, answer: Answer) -> Certificate:
        """Gap of the measure; `answer.dual` holds a potential (m,) on the target of every tangent.

        Any potential gives a bound.
        """
        return self.gap(on_atoms(answer.measure), list(answer.potentials.values()))

    def size(self, answer: Answer) -> Scale:
        """That of the step; rounding is that of costs and entropies, whose differences F is."""
        mu = on_atoms(answer.measure)
        _, moved = parts(self.problem.energy)
        extent = reach(mu, moved)
        raw = sum(c * mu.mass * (extent + SOLVED * term.regularisation) for c, term in moved)
        return self.problem.size(answer) + Scale(0.0, raw)

    def gap(self, nu: Discrete, near: list[Array]) -> Certificate:
        """Excess of `nu` over the minimum of the step of the tangents at `nu`, and their own."""
        _, moved = parts(self.problem.energy)
        lifts = LIFTS if any(term.regularisation > 0 for _, term in moved) else LIFTS[:1]
        return min((self._gap(nu, near, lift) for lift in lifts), key=_order)

    def _gap(self, nu: Discrete, near: list[Array], lift: float) -> Certificate:
        rest, moved = parts(self.problem.energy)
        slope, excess = np.zeros(nu.n), 0.0
        for (c, term), f in zip(moved, near, strict=True):
            g, e = term.tangent(nu, f, lift)
            slope, excess = slope + c * g, excess + c * e
        model = replace(self.problem, energy=summed(rest, TangentModel(slope, nu.weights)))
        found = _certificate(model, nu)
        if found.gap is None:
            return found
        return Certificate(found.gap + excess, found.residual)


def _order(found: Certificate) -> float:
    return np.inf if found.gap is None or np.isnan(found.gap) else found.gap


def parts(
    energy: Energy,
) -> tuple[list[tuple[float, Energy]], list[tuple[float, TransportedEnergy]]]:
    """Terms with a normal form, and those made of transport."""
    rest = [(c, term) for c, term in energy.terms if not isinstance(term, TransportedEnergy)]
    moved = [(c, term) for c, term in energy.terms if isinstance(term, TransportedEnergy)]
    return rest, moved


def summed(rest: list[tuple[float, Energy]], model: Energy) -> Energy:
    """The terms and one more."""
    return sum((c * term for c, term in rest), start=model)


def _certificate(model: ProxProblem, nu: Discrete) -> Certificate:
    """The gap of a convex model; in transport from the slope that its energy asks for."""
    if not isinstance(model.geometry, Wasserstein):
        return certify(model, nu)
    slope = -model.form.gradient(nu.weights)
    return TransportStep(model).gap(nu, np.where(np.isfinite(slope), slope, 0.0))


def reach(mu: Discrete, moved: list[tuple[float, TransportedEnergy]]) -> float:
    """The squared diameter of the box that holds the measure and all targets."""
    points = [mu.points]
    for _, term in moved:
        target = term.softened(1.0).target
        points.append(target.points)
    extent = np.ptp(np.concatenate(points), axis=0)
    return float(extent @ extent)
