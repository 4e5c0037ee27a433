"""What a worst-case problem returns: the value, the measure that attains it, and the evidence."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from jko.later import draw
from jko.measures.base import Discrete

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from jko.dro.dual import DualFunction


class WorstCaseStatus(Enum):
    """How a worst-case problem ended; the value is the sentence a user reads."""

    CERTIFIED = "The worst case is certified: its duality gap is within the tolerance."
    LOCAL = (
        "Every particle is stationary and the best of its starts, but nothing proves that no point"
        " is worse; pass the curvature of the loss, or check with support='union' and points."
    )
    INACCURATE = (
        "The duality gap (or the residual) misses the tolerance;"
        " raise max_iter, or tol if this accuracy is enough."
    )


@dataclass(frozen=True, repr=False)
class WorstCase:
    r"""The result of `jko.dro.worst_case`.

    Attributes
    ----------
    value : float
        The worst-case value attained by `measure`: E loss with a radius,
        E loss - D^2/(2 tau) (D_p/tau for divergences) with a tau.
    measure : Discrete
        The worst-case measure, inside the ball.
    multiplier : float
        The price gamma of the ball: 1/(2 tau) for metrics, 1/tau for divergences. The value grows
        by about gamma per unit of radius^2 (of radius, for divergences); inf at radius 0, and 0
        where the ball does not bind. For `CVaR` the value at risk, the loss from which the tail
        begins.
    gap : float or None
        value + gap is an upper bound of the supremum; None where nothing bounds it (free particles
        of a loss of unknown curvature).
    expectation, nominal : float
        E loss under the worst case and under the given measure.
    distance : float
        D (D_p for divergences) of the worst case from the given measure; for transport the cost of
        the plan found; for `CVaR` the largest density.
    residual : float or None
        Free particles: root mean square of |grad loss - 2 gamma (x - x')|.
    status : WorstCaseStatus
    message : str
    iterations : int
        Penalised problems solved.
    seconds, tol : float
    dual : object or None
        MMD: the `jko.dro.DualFunction` that certifies the value (formula R2).
    given : Discrete or None
        The measure that it was sought around.
    """

    value: float
    measure: Discrete
    multiplier: float
    gap: float | None
    expectation: float
    nominal: float
    distance: float
    residual: float | None
    status: WorstCaseStatus
    message: str
    iterations: int
    seconds: float
    tol: float
    dual: DualFunction | None = None
    given: Discrete | None = None

    @property
    def success(self) -> bool:
        """Whether the evidence meets the tolerance (for LOCAL: the stationarity does)."""
        return self.status is not WorstCaseStatus.INACCURATE

    @property
    def bound(self) -> float | None:
        """Upper bound of the supremum, value + gap."""
        return None if self.gap is None else self.value + self.gap

    def plot(self, ax: Axes | None = None) -> list[Artist]:
        """Draw the worst case over the given measure; see `jko.plot.worst_case`."""
        drawn: list[Artist] = draw("worst_case", self, ax)
        return drawn

    def __repr__(self) -> str:
        if self.gap is not None:
            evidence = f"gap={self.gap:.1e}"
        else:
            evidence = f"residual={self.residual:.1e}"
        return (
            f"WorstCase({self.status.name.lower()}: value={self.value:.6g},"
            f" nominal={self.nominal:.6g}, multiplier={self.multiplier:.4g}, {evidence})"
        )
