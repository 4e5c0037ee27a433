"""What a proximal step returns: a measure, its certificate and a status that is a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from jko.measures.base import Measure
from jko.status import Status


class Certificate(NamedTuple):
    """Evidence computed from the answer alone, apart from the solver.

    Attributes
    ----------
    gap : float or None
        Upper bound of objective(answer) - minimum of the stated problem.
    residual : float or None
        Size of the violation of the optimality condition.
    """

    gap: float | None
    residual: float | None

    def meets(self, tol: float, objective: float) -> bool:
        """Whether the gap, relative to max(1, |objective|), or else the residual is within tol.

        A gap far below zero means that bound and objective disagree, and where the objective is
        not finite no figure means anything: never a success.
        """
        if not np.isfinite(objective):
            return False
        if self.gap is not None:
            return bool(abs(self.gap) <= tol * max(1.0, abs(objective)))
        return bool(self.residual is not None and self.residual <= tol)


@dataclass(frozen=True, repr=False)
class StepResult:
    """The result of `jko.step`.

    Attributes
    ----------
    measure : Measure
        The new measure.
    energy : float
        F at the new measure.
    sqdistance : float
        D^2 between the new measure and the previous one (for entropic steps the transport cost
        of the plan found).
    objective : float
        Objective of the problem the solver states, which the gap refers to.
    gap : float or None
        Upper bound of the objective minus its minimum; None where none can exist.
    bias : float or None
        For a regularised solver, how far its problem is from the unregularised one, in objective.
    residual : float or None
        Size of the stationarity violation.
    status : Status
    message : str
        The status sentence with the figures.
    solver : str
    iterations : int
    seconds : float
    tol : float
        Tolerance the certificate was held against.
    baseline : float or None
        The stated objective of staying put; a step never ends above it by more than its gap.
    warm : object
        Hand it to the next step as `warm=`.
    info : dict
        Solver-specific figures.
    """

    measure: Measure
    energy: float
    sqdistance: float
    objective: float
    gap: float | None
    bias: float | None
    residual: float | None
    status: Status
    message: str
    solver: str
    iterations: int
    seconds: float
    tol: float
    baseline: float | None = None
    warm: Any = None
    info: Mapping[str, Any] = field(default_factory=dict)

    @property
    def success(self) -> bool:
        """Whether the certificate meets the tolerance."""
        return self.status is Status.CERTIFIED

    def __repr__(self) -> str:
        evidence = "gap" if self.gap is not None else "residual"
        value = self.gap if self.gap is not None else self.residual
        shown = "none" if value is None else f"{value:.1e}"
        return (
            f"StepResult({self.status.name.lower()} by {self.solver}: energy={self.energy:.6g},"
            f" sqdistance={self.sqdistance:.6g}, {evidence}={shown}, {self.iterations} iterations)"
        )
