"""The solver protocol: a solver says what it accepts and hands back an unjudged answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np

from jko.measures.base import Measure
from jko.prox.problem import ProxProblem
from jko.prox.result import Certificate


@dataclass(frozen=True, eq=False)
class Controls:
    """Settings of one call, the same for every solver.

    Attributes
    ----------
    tol : float
        Tolerance on the certificate; iterate a little below it.
    max_iter : int or None
        None: the solver's own limit.
    warm : object
        What an earlier result carried in `warm`; anything unusable is ignored.
    rng : numpy Generator
    """

    tol: float
    max_iter: int | None = None
    warm: Any = None
    rng: np.random.Generator = field(default_factory=np.random.default_rng)


class Stated(Protocol):
    """The problem an answer claims to solve: the step itself, or a regularised version of it."""

    def objective(self, nu: Any) -> float:
        """Objective of the stated problem."""

    def certificate(self, answer: Any) -> Certificate:
        """Gap and residual of an answer for the stated problem."""


@dataclass(frozen=True, eq=False)
class Answer:
    """What a solver hands back: a measure and the problem that judges it.

    Attributes
    ----------
    measure : Measure
    problem : Stated
        Its `certificate` decides success; usually the ProxProblem itself.
    iterations : int
    objective : float or None
        Objective of the stated problem where it needs more than the measure (a plan).
    sqdistance : float or None
        Transport cost of the plan found; None: the geometry computes it.
    energy : float or None
        F at the measure, where the solver knows it (a large step within its error bound).
    bias : float or None
    certified : Measure or None
        The measure the certificate speaks of when it is not the returned one (a recombined
        measure); `bias` then covers the difference.
    dual : object
        Potentials or multipliers the certificate may use (any value gives a valid bound).
    baseline : float or None
        Stated objective of the previous measure, where it is not simply F (a plain entropic plan
        from a measure to itself costs something); None: the driver takes F(previous).
    exhausted : bool
        Whether the iteration limit was hit.
    remark : str
        What a step that misses its tolerance should say besides its status.
    warm : object
    info : dict
    """

    measure: Measure
    problem: Stated
    iterations: int
    objective: float | None = None
    sqdistance: float | None = None
    energy: float | None = None
    bias: float | None = None
    certified: Measure | None = None
    dual: Any = None
    baseline: float | None = None
    exhausted: bool = False
    remark: str = ""
    warm: Any = None
    info: Mapping[str, Any] = field(default_factory=dict)


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
    """

    guarantee: ClassVar[str]
    default_tol: ClassVar[float]

    @property
    def name(self) -> str:
        """The name results and tables show."""
        return type(self).__name__

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
