"""What `.plot()` of worst cases and robust fits draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.artist import Artist

from jko.dro.features import MovedSamples
from jko.dro.result import WorstCase
from jko.errors import InvalidArgument
from jko.measures.atoms import Histogram, Particles
from jko.measures.base import Discrete
from jko.plot.objects import axes_for, measure, reach
from jko.plot.style import COLORS, MUTED, styled
from jko.validation import instance

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Samples whose ways are drawn as lines; more would hide one another.
MOST_LINES = 400


@styled
def worst_case(found: WorstCase | MovedSamples, ax: Axes | None = None) -> list[Artist]:
    """The worst case over the measure it was sought around, grey; ways of samples that moved.

    Atoms of one dimension are stems, others markers by weight in the first two coordinates. The
    title has the worst and the nominal expected loss.

    Parameters
    ----------
    found : WorstCase or MovedSamples
    ax : matplotlib axes, optional
        By default those of a new figure.

    Returns
    -------
    list of matplotlib artists
    """
    instance(found, (WorstCase, MovedSamples), "found", "pass the result of jko.dro.worst_case")
    worst: Discrete
    if isinstance(found, MovedSamples):
        worst, given = Particles(found.points, found.weights), found.given
        title = f"worst loss {found.value:.4g}"
    else:
        worst, given = found.measure, found.given
        title = f"worst loss {found.value:.4g}, nominal {found.nominal:.4g}"
    axes = axes_for(ax)
    drawn = list[Artist]()
    if given is not None:
        drawn += measure(_stems(given), axes, color=MUTED, label="given")
        drawn += _ways(axes, found, given, worst)
        _ring(drawn, given, worst)
    drawn += measure(_stems(worst), axes, color=COLORS[1], label="worst case")
    if worst.dim >= 2:
        (a, b), (c, d) = reach([worst] if given is None else [worst, given])
        axes.set(xlim=(a, c), ylim=(b, d))
    legend = axes.legend(loc="best")
    for handle in legend.legend_handles:
        if hasattr(handle, "set_sizes"):
            handle.set_sizes([30.0])
    axes.set_title(title)
    return drawn


def _stems(mu: Discrete) -> Discrete:
    """Atoms on the line by weight, also many particles: two measures are compared."""
    return Histogram(mu.points, mu.weights) if mu.dim == 1 else mu


def _ring(drawn: list[Artist], given: Discrete, worst: Discrete) -> None:
    """Rings for the given weights where the worst case only reweighs: both are seen."""
    if worst.dim >= 2 and worst.same_support(given):
        marks: Any = drawn[0]
        marks.set(facecolors="none", edgecolors=MUTED, linewidths=1.0, alpha=1.0, zorder=4)


def _ways(
    axes: Axes, found: WorstCase | MovedSamples, given: Discrete, worst: Discrete
) -> list[Artist]:
    """Lines from samples to where they went, where points moved in the plane."""
    start = given.points
    if isinstance(found, MovedSamples):
        start = given.points[found.index]
    if worst.dim < 2 or start.shape != worst.points.shape or worst.n > MOST_LINES:
        return []
    if np.array_equal(start, worst.points):
        return []
    pairs = np.stack([start[:, :2], worst.points[:, :2]], axis=1)
    from matplotlib.collections import LineCollection

    lines = LineCollection(list(pairs), colors=MUTED, linewidths=0.6, zorder=1)
    axes.add_collection(lines)
    return [lines]


def robust_fit(worst: object, ax: Axes | None = None) -> list[Artist]:
    """The worst case of a fit."""
    if not isinstance(worst, (WorstCase, MovedSamples)):
        raise InvalidArgument(
            f"the worst case of this fit is a {type(worst).__name__}, which has no picture; draw"
            " its measure"
        )
    drawn: list[Artist] = worst_case(worst, ax)
    return drawn
