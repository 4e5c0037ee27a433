"""Pictures of trajectories: measures over time in one picture or in a row, and the energy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.colors import Normalize

from jko.errors import InvalidArgument
from jko.flows.trajectory import Trajectory
from jko.measures.base import Discrete, Measure
from jko.measures.grid import GridDensity
from jko.plot.animation import evenly
from jko.plot.drawing import decay
from jko.plot.objects import axes_for, measure, name_axes, picture, reach, tallest
from jko.plot.style import COLORS, FAINT, MUTED, styled
from jko.validation import instance, positive_int

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@styled
def trajectory(
    sol: Trajectory,
    ax: Axes | None = None,
    *,
    figure: Figure | None = None,
    shots: int | None = None,
    **drawing: Any,
) -> list[Artist]:
    """A flow: measures along it, and the energy of every step.

    Parameters
    ----------
    sol : Trajectory
    ax : matplotlib axes, optional
        Draw the measures alone, on these axes, over one another; later ones are brighter.
    figure : matplotlib figure, optional
        Where to draw the whole; by default a new one.
    shots : int, optional
        How many measures, evenly spread over the time: by default 6 curves or 3 images.
    drawing
        As in `jko.plot.measure`.
    """
    instance(sol, Trajectory, "sol", "pass the result of jko.flow")
    seen = [picture(mu, reach(sol.measures)) for mu in sol.measures]
    images = seen[0].dim >= 2 and isinstance(seen[0], GridDensity)
    most = positive_int(shots, "shots") if shots is not None else (3 if images else 6)
    chosen = evenly(sol.times, most) if most > 1 else [len(sol) - 1]
    if ax is not None:
        chosen = chosen[-1:] if images else chosen
        return _overlay(axes_for(ax), sol, seen, chosen, drawing)
    if figure is None:
        from matplotlib import pyplot

        size = (3.2 * len(chosen) + 3.6, 3.4) if images else (9.0, 3.6)
        figure = pyplot.figure(figsize=size, layout="constrained")
        layout: Any = figure.get_layout_engine()
        layout.set(w_pad=0.1, h_pad=0.08)  # inches: labels stay apart
    if not hasattr(figure, "subplots"):
        raise InvalidArgument(f"figure got a {type(figure).__name__}; pass a matplotlib figure")
    panels = np.atleast_1d(figure.subplots(1, len(chosen) + 1 if images else 2))
    if images:
        drawn = _series(panels[:-1], sol, seen, chosen, drawing)
    else:
        drawn = _overlay(panels[0], sol, seen, chosen, drawing)
    return drawn + _energies(panels[-1], sol)


def _overlay(
    ax: Axes,
    sol: Trajectory,
    seen: Sequence[Discrete],
    chosen: Sequence[int],
    drawing: dict[str, Any],
) -> list[Artist]:
    """Measures over one another, from dark to bright; the colours are explained by a bar."""
    norm = Normalize(float(sol.times[0]), float(sol.times[-1]) or 1.0)
    colors, drawn = colormaps["viridis"], list[Artist]()
    for k in chosen:
        shade = colors(0.9 * norm(sol.times[k]))
        drawn += measure(seen[k], ax, color=shade, label=f"t = {sol.times[k]:.3g}", **drawing)
    if isinstance(seen[0], GridDensity) and seen[0].dim == 2:
        ax.set_title(f"t = {sol.times[chosen[-1]]:.3g}")
        return drawn
    if seen[0].dim >= 2:
        (a, b), (c, d) = reach(sol.measures)
        ax.set(xlim=(a, c), ylim=(b, d))
    legend = ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), handlelength=1.0)
    for handle in legend.legend_handles:
        if handle is not None and hasattr(handle, "set_sizes"):
            handle.set_sizes([30.0])
    return drawn


def _series(
    panels: Any,
    sol: Trajectory,
    seen: Sequence[Discrete],
    chosen: Sequence[int],
    drawing: dict[str, Any],
) -> list[Artist]:
    """Images side by side, in the same colours."""
    fields = [seen[k] for k in chosen]
    top = max(float(mu.density.max()) for mu in fields if isinstance(mu, GridDensity))
    drawn = list[Artist]()
    for ax, k, mu in zip(panels, chosen, fields, strict=True):
        drawn += measure(mu, ax, **{"vmax": top, **drawing})
        name_axes(ax, sol.measures[0].dim)
        ax.set_title(f"t = {sol.times[k]:.3g}")
        if ax is not panels[0]:
            ax.set_ylabel("")
            ax.tick_params(labelleft=False)
    image = drawn[-1]
    panels[0].figure.colorbar(image, ax=list(panels), label="density", shrink=0.8)
    return drawn


@styled
def row(mus: Sequence[Measure], times: Sequence[float], figure: Figure | None = None) -> Figure:
    """Measures side by side on one box, in the same colours and heights."""
    box = reach(mus)
    seen = [picture(mu, box) for mu in mus]
    if figure is None:
        from matplotlib import pyplot

        figure = pyplot.figure(figsize=(2.4 * len(mus) + 0.8, 2.9), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(mus), sharex=True, sharey=True))
    image = isinstance(seen[0], GridDensity) and seen[0].dim >= 2
    top = tallest(seen)
    for ax, t, mu in zip(panels, times, seen, strict=True):
        options: dict[str, Any] = {"vmax": top} if image else {}
        drawn: list[Any] = measure(mu, ax, **options)
        if mu.dim >= 2:
            name_axes(ax, mus[0].dim)
            ax.set(xlim=(box[0][0], box[1][0]), ylim=(box[0][1], box[1][1]))
        else:
            ax.set(xlim=(box[0][0], box[1][0]), ylim=(0, 1.05 * top))
        ax.set_title(f"t = {t:.3g}")
        ax.label_outer()
    if image:
        figure.colorbar(drawn[0], ax=list(panels), label="density", shrink=0.8)
    return figure


def _energies(ax: Axes, sol: Trajectory) -> list[Artist]:
    """The energy of every step; on a logarithmic scale where it falls by orders towards zero."""
    values = np.array([sol.energies[0], *(s.energy for s in sol.steps)])
    decay(ax, sol, colors=(COLORS[1],))
    if values.min() <= 0 or values.max() < 20 * values.min():
        ax.set_yscale("linear")
    missed = [s for s in sol.steps if not s.success]
    drawn: list[Artist] = list(ax.lines)
    if missed:
        marks = ax.scatter(
            [s.time for s in missed], [s.energy for s in missed], color=MUTED, marker="x",
            label="not certified", zorder=3,
        )  # fmt: skip
        ax.legend(loc="best")
        drawn.append(marks)
    ax.axvline(float(sol.times[0]), color=FAINT, lw=0.6, zorder=0)
    ax.set_title("energy")
    return drawn
