"""What a solver is asked and what it hands back: a stated problem, an unjudged answer, a claim."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol, TypeVar

import numpy as np

from jko.measures.base import Discrete, Measure
from jko.numerics.elementary import EPS
from jko.validation import Array

if TYPE_CHECKING:
    from scipy.sparse import sparray

#: Rounding of a sum of terms, in units of their size times the machine epsilon; sums of 10^6
#: terms of random sign were off by at most 6.
ROUNDING = 16.0


class Claim(Enum):
    """What the certificate of a step speaks of; the value is the sentence a user reads."""

    MINIMISES = "The measure minimises the step: the gap bounds its excess over the minimum."
    REGULARISED = (
        "The measure minimises a neighbouring, regularised problem: the gap bounds its excess"
        " there, bias says how far that problem is from the step."
    )
    STATIONARY = "The measure is a stationary point of the step; no bound from below exists."
    FOLLOWS = "The measure follows an exact or explicit flow for the time tau: no proximal step."
    DECREASES = "The measure decreases the energy by the amount an explicit step promises."
    INVARIANT = "The move is one of a Markov kernel that keeps the target's law."

    @property
    def noun(self) -> str:
        """What a step that keeps this claim is."""
        return _NOUNS[self]

    @property
    def certifies(self) -> bool:
        """Whether there is something about the new measure that a certificate bounds."""
        return self not in (Claim.FOLLOWS, Claim.INVARIANT)


_NOUNS = {
    Claim.MINIMISES: "minimum",
    Claim.REGULARISED: "regularised minimum",
    Claim.STATIONARY: "stationary point",
    Claim.FOLLOWS: "flow followed",
    Claim.DECREASES: "decrease",
    Claim.INVARIANT: "invariant move",
}


class Scale(NamedTuple):
    """The size of an objective: what a tolerance is relative to, in the objective's own unit.

    Attributes
    ----------
    size : float
        Sum of the sizes of the terms that make up the objective, constants that no step can
        change taken out. It scales with energies, masses and lengths as the objective does.
    raw : float
        The same with those constants: what rounding is relative to.
    """

    size: float
    raw: float

    def __add__(self, other: object) -> Scale:
        if not isinstance(other, Scale):
            return NotImplemented
        return Scale(self.size + other.size, self.raw + other.raw)

    def allowed(self, tol: float) -> float:
        """The largest gap that a tolerance lets pass: tol times the size, no less than rounding."""
        return max(tol * self.size, ROUNDING * EPS * self.raw)


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
    accuracy : float or None
        The whole error (gap + bias) asked for, relative to the decrease of the objective.
    budget : int or None
        Iterations after which a rule of `auto` rather has another solver try; None: no such limit.
    """

    tol: float
    max_iter: int | None = None
    warm: object = None
    rng: np.random.Generator = field(default_factory=np.random.default_rng)
    accuracy: float | None = None
    budget: int | None = None


M = TypeVar("M", bound=Measure)


def of_kind(nu: Measure, kind: type[M]) -> M:
    """The measure itself, of the kind that the problem it answers is stated for."""
    assert isinstance(nu, kind), f"{type(nu).__name__} answers a problem for {kind.__name__}"
    return nu


def on_atoms(nu: Measure) -> Discrete:
    """The measure itself, made of weighted points as the problem it answers is."""
    assert isinstance(nu, Discrete), f"{type(nu).__name__} answers a problem on weighted points"
    return nu


class Certificate(NamedTuple):
    """Evidence computed from the answer alone, apart from the solver.

    Attributes
    ----------
    gap : float or None
        Upper bound of objective(answer) - minimum of the stated problem.
    residual : float or None
        Size of the violation of the optimality condition, relative to the size of its terms.
    """

    gap: float | None
    residual: float | None

    def meets(self, tol: float, allowed: float) -> bool:
        """Whether the gap is at most `allowed`, or, where there is none, the residual at most tol.

        A gap far below zero means that bound and objective disagree: never a success.
        """
        if self.gap is not None:
            return bool(abs(self.gap) <= allowed)
        return bool(self.residual is not None and self.residual <= tol)


class Stated(ABC):
    """The problem an answer claims to solve: the step itself, or a neighbour of it."""

    #: What a certificate of this problem speaks of.
    claim: ClassVar[Claim] = Claim.MINIMISES

    @abstractmethod
    def objective(self, nu: Measure) -> float:
        """Objective of the stated problem."""

    @abstractmethod
    def certificate(self, answer: Answer) -> Certificate:
        """Gap and residual of an answer for the stated problem."""

    def size(self, answer: Answer) -> Scale:
        """What a tolerance on the gap is relative to; by default the objective itself."""
        value = answer.objective
        size = abs(self.objective(answer.measure) if value is None else value)
        return Scale(size, size)


class Sized(Protocol):
    """What knows the size of its objective: a step, or one on a coarser grid."""

    def size(self, answer: Answer) -> Scale:
        """What a tolerance on the gap is relative to."""


class Neighbour(Stated):
    """A problem that stands for a step: `problem` is the step, whose size it shares."""

    problem: Sized

    def size(self, answer: Answer) -> Scale:
        """The size of the step it stands for."""
        return self.problem.size(answer)


def figure(info: Mapping[str, object], name: str, default: float) -> float:
    """A number of `info`, or the default where it is not there."""
    value = info.get(name)
    return float(value) if isinstance(value, (int, float)) else default


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
        How far the stated problem is from the step, in objective; None where it is not known. A
        problem that is the step itself has none to report.
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
    plan : scipy sparse array or None
        A transport plan from the previous measure to the new one, where the solver has one.
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
    dual: object = None
    baseline: float | None = None
    exhausted: bool = False
    remark: str = ""
    plan: sparray | None = None
    warm: object = None
    info: Mapping[str, object] = field(default_factory=dict)

    @property
    def judged(self) -> Measure:
        """The measure the certificate speaks of."""
        return self.measure if self.certified is None else self.certified

    @property
    def potentials(self) -> dict[str, Array]:
        """The dual where it is a table of arrays."""
        assert isinstance(self.dual, dict)
        return self.dual
