"""What a proximal step returns: a measure, its certificate and a status that is a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jko.html import card
from jko.later import draw
from jko.measures.base import Measure
from jko.prox.stated import Claim
from jko.status import Status

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from scipy.sparse import sparray


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
    claim : Claim
        What the certificate speaks of: the minimum of the step itself or of a neighbouring problem,
        a stationary point, a promised decrease, or no proximal step at all.
    allowed : float or None
        The gap that `tol` let pass: tol times the size of the objective's terms.
    baseline : float or None
        The stated objective of staying put; a step never ends above it by more than its gap.
    plan : scipy sparse array or None
        A transport plan from the previous measure to the new one, where the solver has one.
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
    claim: Claim = Claim.MINIMISES
    allowed: float | None = None
    baseline: float | None = None
    plan: sparray | None = None
    warm: object = None
    info: Mapping[str, object] = field(default_factory=dict)

    @property
    def success(self) -> bool:
        """Whether the certificate meets the tolerance; `claim` says what that means."""
        return self.status is Status.CERTIFIED

    @property
    def resolution(self) -> float | None:
        """The gap over the decrease of the objective: how much of the step is known.

        None without a gap or a baseline; inf where the step gained nothing.
        """
        return resolution(self.gap, self.objective, self.baseline)

    def plot(self, ax: Axes | None = None, **options: object) -> list[Artist]:
        """Draw the new measure, with the verdict as title; see `jko.plot.result`."""
        drawn: list[Artist] = draw("result", self, ax, **options)
        return drawn

    def _repr_html_(self) -> str:
        names = ("energy", "sqdistance", "gap", "allowed", "bias", "residual", "resolution")
        rows = [(name, getattr(self, name)) for name in names]
        counts = [("iterations", self.iterations), ("seconds", self.seconds)]
        return card("StepResult", [("verdict", self.message), *rows, *counts])

    def __repr__(self) -> str:
        evidence = "gap" if self.gap is not None else "residual"
        value = self.gap if self.gap is not None else self.residual
        shown = "none" if value is None else f"{value:.1e}"
        good = f"certified {self.claim.noun}" if self.claim.certifies else self.claim.noun
        verdict = good if self.success else self.status.name.lower()
        return (
            f"StepResult({verdict} by {self.solver}: energy={self.energy:.6g},"
            f" sqdistance={self.sqdistance:.6g}, {evidence}={shown}, {self.iterations} iterations)"
        )


def resolution(gap: float | None, objective: float, baseline: float | None) -> float | None:
    """gap / (baseline - objective), inf where that is not positive, None where it is unknown."""
    if gap is None or baseline is None:
        return None
    gained = baseline - objective
    return abs(gap) / gained if gained > 0 else float("inf")
