"""Figures in one style: particles over data, densities, decay curves, animations.

Needs matplotlib (`pip install 'jko[demo]'`). Figures are made without pyplot: no display, no
global state; they are written with `save`, flows also with `animate`.
"""

from __future__ import annotations

import functools
import io
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from jko.errors import InvalidArgument
from jko.measures.base import Discrete
from jko.measures.grid import GridDensity
from jko.trajectory import Trajectory
from jko.validation import Array, instance, positive, positive_int

try:
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image  # matplotlib brings it
except ImportError as error:
    raise ImportError("jko.plot needs matplotlib; pip install 'jko[demo]' brings it") from error

P = ParamSpec("P")
R = TypeVar("R")

#: Okabe and Ito's colours, told apart by every common kind of colour vision.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
INK, MUTED, FAINT = "#222222", "#6b6b6b", "#c9c9c9"
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


@styled
def points(ax: Any, x: ArrayLike, *, marker: str = "o", label: str | None = None) -> None:
    """Data (n, 2) as small open markers in the background."""
    x = np.asarray(x)
    ax.scatter(
        x[:, 0], x[:, 1], s=18, marker=marker, facecolors="none", edgecolors="#9a9a9a",
        linewidths=0.8, label=label, zorder=1,
    )  # fmt: skip


@styled
def particles(
    ax: Any,
    mu: Discrete,
    data: Discrete | ArrayLike | None = None,
    *,
    color: str = COLORS[0],
    label: str | None = None,
    area: float = 1400.0,
) -> None:
    """Weighted points in the plane, marker area proportional to weight, over the data.

    Parameters
    ----------
    ax : matplotlib axes
    mu : discrete measure, dimension 2
        Atoms of weight zero are not drawn.
    data : measure or (n, 2) array, optional
    area : float
        Total marker area in square points: an atom gets the share w_i / mass of it.
    """
    if mu.dim != 2:
        raise InvalidArgument(f"mu has dimension {mu.dim}; particles are drawn in the plane")
    if data is not None:
        points(ax, data.points if isinstance(data, Discrete) else data)
    charged = mu.weights > 0
    x, w = mu.points[charged], mu.weights[charged]
    ax.scatter(
        x[:, 0], x[:, 1], s=area * w / w.sum(), color=color, alpha=0.7,
        edgecolors="white", linewidths=0.5, label=label, zorder=3,
    )  # fmt: skip
    ax.set_aspect("equal")


@styled
def density(
    ax: Any,
    rho: GridDensity,
    *,
    color: str = COLORS[0],
    label: str | None = None,
    fill: bool = False,
    style: str = "-",
    vmax: float | None = None,
) -> Any:
    """A density on a grid: a curve in one dimension, an image in two (which is returned).

    Obstacles of the grid are grey in an image.
    """
    grid = rho.grid
    if grid.dim == 1:
        x = grid.axes[0]
        if fill:
            return ax.fill_between(x, rho.density, color=color, alpha=0.18, lw=0, label=label)
        return ax.plot(x, rho.density, style, color=color, label=label)[0]
    if grid.dim != 2:
        raise InvalidArgument(f"rho has dimension {grid.dim}; draw one or two dimensions")
    extent = (grid.lower[0], grid.upper[0], grid.lower[1], grid.upper[1])
    values = rho.density
    if grid.mask is not None:
        values = np.ma.masked_array(values, ~grid.mask.reshape(grid.shape))
        ax.set_facecolor(MUTED)
    image = ax.imshow(values.T, origin="lower", extent=extent, cmap="viridis", vmin=0.0, vmax=vmax)
    ax.set_title(label or "")
    return image


@styled
def decay(
    ax: Any,
    *sols: Trajectory,
    labels: Sequence[str] = (),
    colors: Sequence[str] = COLORS,
    of: Callable[[Any], Any] = lambda energy: energy,
    against: str = "time",
    ylabel: str = "energy F",
) -> None:
    """The energy of every step of one or more trajectories, on a logarithmic scale.

    Parameters
    ----------
    ax : matplotlib axes
    sols : Trajectory
    labels, colors : sequences, one entry per trajectory
    of : function
        What to draw of an energy, e.g. `lambda e: (2 * e) ** 0.5` for the MMD.
    against : {"time", "step"}
    """
    for i, sol in enumerate(sols):
        energies = np.array([sol.energies[0], *(s.energy for s in sol.steps)])
        x = np.array([sol.times[0], *(s.time for s in sol.steps)])
        if against == "step":
            x = np.arange(len(energies))
        label = labels[i] if i < len(labels) else None
        ax.plot(x, of(energies), color=colors[i % len(colors)], label=label)
    finish(ax, xlabel="time t" if against == "time" else "step", ylabel=ylabel, log=True)


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


def folder(path: str | os.PathLike[str]) -> Path:
    """Make a folder for figures and check that it can be written, or say why not."""
    target = Path(path)
    try:
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=target):
            pass
    except OSError as error:
        raise InvalidArgument(
            f"cannot write figures to {str(target)!r} ({error.strerror or error});"
            " pass another folder"
        ) from None
    return target


@styled
def save(fig: Any, path: str | os.PathLike[str], dpi: int = 120) -> Path:
    """Write a figure (the ending of `path` chooses the format) and hand back its path.

    A PNG gets a palette of 256 colours: a third of the size, and no difference to see.
    """
    target = Path(path)
    with _writing(target):
        if target.suffix == ".png":
            buffer = io.BytesIO()
            fig.savefig(buffer, format="png", dpi=dpi)
            Image.open(buffer).convert("RGB").quantize(256).save(target, optimize=True)
        else:
            fig.savefig(target)
    return target


@styled
def animate(
    sol: Trajectory,
    path: str | os.PathLike[str],
    *,
    frames: int = 48,
    seconds: float = 5.0,
    size: tuple[float, float] = (5.0, 4.0),
    vmax: float | None = None,
    dpi: int = 100,
    **drawing: Any,
) -> Path:
    """Write a flow as an animated GIF and hand back its path.

    Every frame is drawn by `density` or `particles` on the same axes and in the same colours; its
    title is the time.

    Parameters
    ----------
    sol : Trajectory
        Of densities on a grid of dimension one or two, or of discrete measures in the plane.
    path : path
        With the ending ".gif".
    frames : int
        At most this many (two or more), evenly spread over the time of the flow; each shows the
        saved measure nearest in time.
    seconds : float
        How long it takes; the last frame stays for one second more, then it starts again.
    size : (float, float)
        In inches.
    vmax : float, optional
        The density at the top of the scale, by default the largest one shown.
    drawing
        Handed on to `density` or `particles`.
    """
    instance(sol, Trajectory, "sol", "pass the result of jko.flow")
    target, seconds = Path(path), positive(seconds, "seconds")
    if target.suffix != ".gif":
        raise InvalidArgument(f"cannot write {str(target)!r}; pass a path that ends in .gif")
    if positive_int(frames, "frames") < 2:
        raise InvalidArgument("frames = 1 does not move; pass 2 or more")
    shots = _evenly(sol.times, frames)
    prepare = _scene([sol.measures[k] for k in shots], vmax, drawing)
    digits = max(0, 2 - int(np.floor(np.log10(sol.times[-1] - sol.times[0] or 1.0))))
    fig, axes = figure([["only"]], size)
    fig.set_dpi(dpi)
    canvas, pictures = FigureCanvasAgg(fig), list[Any]()
    for k in shots:
        axes["only"].clear()
        prepare(axes["only"], sol.measures[k], not pictures)
        axes["only"].set_title(f"t = {sol.times[k]:.{digits}f}")
        if not pictures:
            canvas.draw()
            canvas.draw()  # the second settles where everything is, to stay
            fig.set_layout_engine("none")
        canvas.draw()
        pictures.append(Image.fromarray(np.array(canvas.buffer_rgba())[..., :3]))
    with _writing(target):
        _write_gif(pictures, target, seconds)
    return target


def _evenly(times: Array, most: int) -> list[int]:
    """Numbers of the saved measures to show: every n-th one where the steps are equal."""
    last = len(times) - 1
    stride = -(-last // (most - 1)) or 1
    ticks = np.linspace(times[0], times[-1], -(-last // stride) + 1)
    return [int(np.abs(times - t).argmin()) for t in ticks]


def _scene(shown: Sequence[Any], vmax: float | None, drawing: Any) -> Callable[..., None]:
    """How to draw one of these measures on axes that suit them all."""
    for mu in shown:
        instance(mu, Discrete, "sol.measures", "animate draws grid densities and particles")
    if not isinstance(shown[0], GridDensity):
        x = np.concatenate([mu.points[mu.weights > 0] for mu in shown])
        low, up = x.min(axis=0), x.max(axis=0)
        pad = 0.05 * (up - low).max() or 1.0

        def swarm(ax: Any, mu: Discrete, _: bool) -> None:
            particles(ax, mu, **drawing)
            ax.set(xlim=(low[0] - pad, up[0] + pad), ylim=(low[1] - pad, up[1] + pad))

        return swarm
    largest = max(float(mu.density.max()) for mu in shown)
    top = largest if vmax is None else positive(vmax, "vmax")

    def field(ax: Any, mu: GridDensity, first: bool) -> None:
        drawn = density(ax, mu, vmax=top, **drawing)
        if mu.dim == 1:
            ax.set_ylim(0, 1.05 * top)
            finish(ax, xlabel="x", ylabel="density")
        elif first:
            extend = "max" if largest > (1 + 1e-6) * top else "neither"
            ax.figure.colorbar(drawn, ax=ax, label="density", extend=extend, shrink=0.8)

    return field


def _write_gif(pictures: Sequence[Any], target: Path, seconds: float) -> None:
    """One palette for all frames: colours keep their meaning, and files are half as large."""
    used = {color for p in pictures for _, color in p.getcolors(p.width * p.height)}
    sheet = Image.fromarray(np.array([sorted(used)], dtype=np.uint8))
    colors = np.array(sheet.quantize(256).getpalette() or [], dtype=int).reshape(-1, 3)
    colors[(colors > 240).all(axis=1)] = 255  # white stays white
    palette = Image.new("P", (1, 1))
    palette.putpalette(colors.ravel().tolist())
    first, *rest = (p.quantize(palette=palette, dither=Image.Dither.NONE) for p in pictures)
    pause = round(1000 * seconds / len(pictures))
    times = [pause] * len(rest) + [pause + 1000]
    first.save(target, save_all=True, append_images=rest, duration=times, loop=0)


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InvalidArgument(
            f"cannot write {str(target)!r} ({error.strerror or error}); pass another path"
        ) from None
