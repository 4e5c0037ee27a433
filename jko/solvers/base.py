"""The solver protocol: a solver says what it accepts and hands back an unjudged answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from jko.geometries.base import Geometry
from jko.measures.base import Measure
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Claim, Controls


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
