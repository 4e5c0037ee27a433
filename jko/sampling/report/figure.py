"""Figures of a sample; needs matplotlib, which is imported here and nowhere above."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from jko.errors import InvalidArgument, Unsupported
from jko.validation import Array, one_of

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from jko.sampling.report.result import SampleResult

#: More coordinates than this are not drawn in pairs; more chains than that not as traces.
PAIRS = 5
TRACES = 12
#: The first colour of the figures of `jko.plot`.
COLOR = "#0072B2"
#: Area of all particles together, in square points.
INK = 6e3


def plot(
    out: SampleResult,
    kind: str = "pair",
    *,
    names: list[str] | None = None,
    chosen: list[int] | None = None,
    figure: Figure | None = None,
    axes: Axes | Sequence[Axes] | None = None,
) -> list[Artist]:
    """Draw a sample: what `SampleResult.plot` says."""
    one_of(kind, ("pair", "trace", "ess"), "kind")
    rows = _coordinates(out, chosen)
    labels = np.array(names if names is not None else [f"x{j}" for j in range(out.measure.dim)])
    if len(labels) != out.measure.dim:
        raise InvalidArgument(f"names has {len(labels)} entries; give {out.measure.dim}")
    count = len(rows)
    shape = {"pair": (count, count), "trace": (count, 1), "ess": (1, 1)}[kind]
    draw = {"pair": _pairs, "trace": _traces, "ess": _ess}[kind]
    try:
        style = import_module("jko.plot.style")
    except ImportError:
        raise Unsupported("plot needs matplotlib; pip install 'jko[demo]' brings it") from None

    with style.rc_context(style.STYLE):
        grid = _axes(figure, axes, shape)
        drawn: list[Artist] = draw(out, rows, labels[rows], grid)
        for ax in grid.ravel():
            style.ink(ax)
    return drawn


def _coordinates(out: SampleResult, chosen: list[int] | None) -> list[int]:
    d = out.measure.dim
    if chosen is None:
        return list(range(min(d, PAIRS)))
    bad = [j for j in chosen if not 0 <= j < d]
    if bad or not chosen:
        raise InvalidArgument(f"chosen = {chosen}; give coordinates from 0 to {d - 1}")
    return list(chosen)


def _axes(figure: Figure | None, axes: Any, shape: tuple[int, int]) -> Any:
    """An array of axes of a shape: those given, or new ones in a figure given or new.

    A new one is of pyplot: notebooks and `show` display it.
    """
    if axes is not None:
        grid = np.asarray(axes, dtype=object).reshape(-1)
        if len(grid) != shape[0] * shape[1]:
            raise InvalidArgument(f"axes has {len(grid)} entries; give {shape[0]} x {shape[1]}")
        return grid.reshape(shape)
    if figure is None:
        side = 1.2 + 1.5 * shape[0]
        size = (max(5.0, side), side) if shape[1] > 1 else (7.0, max(3.0, side))
        figure = import_module("matplotlib.pyplot").figure(figsize=size, layout="constrained")
    return figure.subplots(*shape, squeeze=False)


def _pairs(out: SampleResult, rows: list[int], labels: Array, grid: Any) -> list[Artist]:
    """Particles in every pair of coordinates, their areas by weight; histograms on the diagonal."""
    x, w = out.measure.points, out.measure.weights / out.measure.mass
    bins = int(np.clip(np.sqrt(out.measure.n), 5, 40))
    drawn: list[Artist] = []
    for a, i in enumerate(rows):
        for b, j in enumerate(rows):
            ax = grid[a, b]
            if a == b:
                drawn.append(ax.hist(x[:, i], bins=bins, weights=w, color=COLOR)[2])
                ax.set_yticks([])
            elif a > b:
                drawn.append(
                    ax.scatter(x[:, j], x[:, i], s=INK * w, alpha=0.3, linewidths=0, color=COLOR)
                )
            else:
                ax.set_axis_off()
            if a == len(rows) - 1:
                ax.set_xlabel(labels[b])
            else:
                ax.tick_params(labelbottom=False)
            if b > 0:
                ax.tick_params(labelleft=False)
            if a >= b:
                ax.set_xlim(grid[b, b].get_xlim())
            if b == 0 and a > 0:
                ax.set_ylabel(labels[a])
    return drawn


def _draws(out: SampleResult) -> Array:
    if out.draws is None:
        raise Unsupported(f"method {out.method!r} keeps no chains; use 'tempered' or 'langevin'")
    return out.draws


def _traces(out: SampleResult, rows: list[int], labels: Array, grid: Any) -> list[Artist]:
    """A few chains over the kept times, one coordinate an axis."""
    draws = _draws(out)
    some = np.linspace(0, len(draws) - 1, min(TRACES, len(draws))).round().astype(int)
    drawn: list[Artist] = []
    for a, j in enumerate(rows):
        drawn += grid[a, 0].plot(draws[some, :, j].T, linewidth=0.8)
        grid[a, 0].set_ylabel(labels[a])
    grid[-1, 0].set_xlabel("kept time")
    return drawn


def _ess(out: SampleResult, rows: list[int], labels: Array, grid: Any) -> list[Artist]:
    """Effective number of draws behind the mean of each coordinate, as bars."""
    if "mcse" not in out.diagnostics:
        _draws(out)
    size = (out.std / np.maximum(np.asarray(out.diagnostics["mcse"]), 1e-300)) ** 2
    ax = grid[0, 0]
    bars = ax.barh(np.arange(len(rows)), size[rows], color=COLOR)
    ax.set_yticks(np.arange(len(rows)), labels)
    ax.set_xlabel("effective draws behind the mean")
    return [bars]
