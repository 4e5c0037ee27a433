"""The solver protocol, and the reasons for a refusal that several solvers share.

A solver says what it accepts and hands back an unjudged answer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from math import ceil
from typing import ClassVar

import numpy as np

from jko.forms.separable import Separable
from jko.geometries.base import Geometry
from jko.geometries.divergence import Divergence
from jko.geometries.wasserstein import Wasserstein
from jko.measures.atoms import Histogram
from jko.measures.base import Discrete, Measure
from jko.measures.grid import GridDensity, not_straight
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Claim, Controls

#: What an energy does that is infinite whatever the weights are.
ALL_CLOSED = (
    "every atom of the measure (the target has no mass there, or V = inf); leave one open at least"
)


class HandedBack(Exception):
    """A solver leaves a step to the next one on the list of `auto`.

    Attributes
    ----------
    answer : Answer
        What it has, for a caller that asked for no other solver.
    """

    def __init__(self, answer: Answer) -> None:
        super().__init__("the solver leaves this step to the next one")
        self.answer = answer


class ProxSolver(ABC):
    """A method for proximal steps; instances are frozen settings.

    Attributes
    ----------
    guarantee : str
        What its answer promises, shown by `jko list`.
    default_tol : float
        Tolerance on the certificate when the user gives none.
    claim : Claim
        What its certificate speaks of; of a minimum, where no gap exists, a stationary point.
    geometries, kinds : tuples of classes
        The geometries and measures it may take at all: what `auto` looks at before it asks.
    any_cost : bool
        Whether it takes Wasserstein steps whose cost is not |x-y|^2; the others are never asked.
    """

    guarantee: ClassVar[str]
    default_tol: ClassVar[float]
    claim: ClassVar[Claim] = Claim.MINIMISES
    geometries: ClassVar[tuple[type[Geometry], ...]] = (Geometry,)
    kinds: ClassVar[tuple[type[Measure], ...]] = (Measure,)
    any_cost: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """The name results and tables show."""
        return type(self).__name__

    def fits(self, problem: ProxProblem) -> bool:
        """Whether geometry and measure are of the kinds it takes; what `accepts` says is finer."""
        return isinstance(problem.geometry, self.geometries) and isinstance(
            problem.previous, self.kinds
        )

    @abstractmethod
    def accepts(self, problem: ProxProblem) -> str | None:
        """None when the solver can take the problem, else the reason, as a sentence."""

    def against(self, scheme: str) -> str | None:
        """Why `scheme` ("midpoint", "richardson") cannot extrapolate its steps; None for proximal
        ones, which are those of a map that is smooth in tau."""
        return None

    @abstractmethod
    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        """Solve; raise `jko.prox.Breakdown` when there is no usable answer, `HandedBack` when the
        next solver of `auto` should try."""


# -- why a problem is refused --------------------------------------------------------------------


class NearMiss(str):
    """A reason that a setting of the solver or a smaller measure removes. It is said first."""

    __slots__ = ()


class Elsewhere(str):
    """A reason that no small change removes, or of a solver of special cases. It is said last."""

    __slots__ = ()


def other_ground(problem: ProxProblem) -> Wasserstein | None:
    """The geometry, where its cost is not |x-y|^2."""
    geometry = problem.geometry
    if isinstance(geometry, Wasserstein) and not geometry.is_quadratic:
        return geometry
    return None


def other_cost(problem: ProxProblem, solver: ProxSolver) -> str | None:
    """Why a Wasserstein step with another cost than |x-y|^2 is none of this solver's."""
    geometry = other_ground(problem)
    if geometry is None:
        return None
    if not solver.any_cost:
        return Elsewhere(f"takes the cost |x-y|^2 alone, not that of {geometry!r}")
    if isinstance(problem.previous, Histogram):
        return None
    if isinstance(problem.previous, Discrete):
        return NearMiss(
            f"{geometry!r} steps atoms that stay where they are: pass jko.Histogram(measure.points,"
            " measure.weights) (internal energies then read weights, not densities), or move by"
            " jko.Wasserstein()"
        )
    return f"no {type(problem.previous).__name__} moves in {geometry!r}; use jko.Wasserstein()"


def no_weights(problem: ProxProblem) -> str | None:
    """Why a measure has no weights for a solver to change."""
    if isinstance(problem.previous, Discrete):
        return None
    return f"a {type(problem.previous).__name__} has no weights on a fixed support"


def infeasible(problem: ProxProblem) -> str | None:
    """Why no weights within the bounds of the energy (and of a divergence) can be an answer."""
    closing = isinstance(problem.geometry, Divergence)
    form = problem.total_form if closing else problem.form
    ceiling = form.separable.ceiling
    if not (ceiling > 0).any():
        who = "the energy"
        if closing and (problem.form.separable.ceiling > 0).any():
            who = f"the energy and {problem.geometry!r}, which closes the empty atoms, together"
        verb = "forbids" if who == "the energy" else "forbid"
        return f"{who} {verb} {ALL_CLOSED}"
    torn = contradiction(form.separable)
    if torn is not None:
        return torn
    capacity, mass = float(ceiling.sum()), problem.previous.mass
    if problem.geometry.conserves_mass and capacity < mass * (1 - 1e-12):
        factor = ceil(1000 * mass / capacity) / 1000
        free = ", or free the mass" if hasattr(problem.geometry, "mass") else ""
        return (
            f"the energy lets the atoms carry {capacity:.6g} in all, less than the mass {mass:.6g}"
            f" the step must keep; relax its upper bounds ({factor:g} times as high){free}"
        )
    return None


def hopeless(problem: ProxProblem) -> str | None:
    """Why no weights can be an answer, by the terms of the energy that have a normal form."""
    terms = [replace(problem, energy=term) for _, term in problem.energy.terms]
    known = [alone.energy for alone in terms if alone.has_form]
    if not known:
        return None
    return infeasible(replace(problem, energy=sum(known[1:], start=known[0])))


def contradiction(separable: Separable) -> str | None:
    """Why the objective is infinite everywhere: an atom must carry weight and cannot."""
    closed = separable.ceiling == 0
    for p, c in separable.powers.items():
        stuck = closed & (c > 0)
        if p <= 0 and stuck.any():
            return (
                f"the objective is infinite: atom {int(np.argmax(stuck))} must carry weight"
                f" (power p = {p:g}) but is closed by a wall, a bound or a divergence with p >= 1;"
                " drop one of the two terms, or make the measures charge the same atoms"
            )
    return None


def not_transport(problem: ProxProblem) -> str | None:
    """Why the problem is no Wasserstein step on a fixed support."""
    if not isinstance(problem.geometry, Wasserstein):
        return f"takes Wasserstein steps, not {problem.geometry!r}"
    if not isinstance(problem.previous, (GridDensity, Histogram)):
        return (
            "needs a fixed support (GridDensity or Histogram), not"
            f" {type(problem.previous).__name__}; move particles with jko.solvers.Lagrangian"
        )
    return None


def not_on_cells(problem: ProxProblem) -> str | None:
    """Why the problem is no Wasserstein step of a density whose cells are all open."""
    if not isinstance(problem.geometry, Wasserstein):
        return f"takes Wasserstein steps, not {problem.geometry!r}"
    previous = problem.previous
    if not isinstance(previous, GridDensity):
        return f"needs the cells of a GridDensity, not a {type(previous).__name__}"
    if (previous.weights[problem.form.separable.ceiling == 0] > 0).any():
        return "the measure charges cells that the energy closes"
    return infeasible(problem)


def stated_paths(problem: ProxProblem) -> str | None:
    """Why the cost is not that of straight ways, where the geometry means them."""
    given = isinstance(problem.geometry, Wasserstein) and problem.geometry.listed
    return None if given else not_straight(problem.previous)


def keeps_mass(problem: ProxProblem, remedy: str) -> str | None:
    """Why a solver that keeps the mass refuses a geometry that does not."""
    return None if problem.geometry.conserves_mass else f"it keeps the mass; use {remedy}"
