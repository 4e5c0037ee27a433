"""One style for all figures: colours, named axes, labels."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

from matplotlib import rc_context
from matplotlib.figure import Figure

P = ParamSpec("P")
R = TypeVar("R")

#: Okabe and Ito's colours, told apart by every common kind of colour vision.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
INK = "#222222"
MUTED = "#6b6b6b"
FAINT = "#c9c9c9"
DASHES = ("-", "--", "-.", ":")

STYLE: Any = {
    "font.size": 10.0,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "lines.linewidth": 1.8,
    "image.cmap": "viridis",
}


def styled(function: Callable[P, R]) -> Callable[P, R]:
    """Run a plotting function in the style of this module, leaving matplotlib's own untouched."""

    @functools.wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        with rc_context(STYLE):
            return function(*args, **kwargs)

    return inner


@styled
def figure(
    mosaic: Sequence[Sequence[str]], size: tuple[float, float], **kwargs: Any
) -> tuple[Figure, dict[str, Any]]:
    """A figure with named axes: `fig, ax = figure([["left", "right"]], (9, 4))`.

    `size` is in inches; the rest goes to matplotlib's `subplot_mosaic`.
    """
    fig = Figure(figsize=size, layout="constrained")
    axes: Any = fig.subplot_mosaic([list(row) for row in mosaic], **kwargs)
    return fig, axes


def ink(ax: Any) -> None:
    """The style's ticks and grid, also where they are made after the call: in a later frame."""
    ax.tick_params(color=MUTED, labelcolor=MUTED, labelsize=STYLE["font.size"])
    if any(line.get_visible() for line in ax.get_xgridlines()[:1]):
        ax.grid(visible=True, color=STYLE["grid.color"], linewidth=STYLE["grid.linewidth"])


@styled
def finish(
    ax: Any,
    *,
    xlabel: str = "",
    ylabel: str = "",
    title: str = "",
    log: bool = False,
    legend: str | None = None,
) -> None:
    """Labels, a light grid, and a legend at `legend` (a matplotlib location)."""
    if log:
        ax.set_yscale("log")
    ax.grid(visible=True)
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    if title:
        ax.set_title(title)
    if legend:
        ax.legend(loc=legend)
