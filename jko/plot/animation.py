"""Flows as animated GIFs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from jko.errors import InvalidArgument
from jko.flows.trajectory import Trajectory
from jko.measures.base import Discrete
from jko.measures.grid import GridDensity
from jko.plot.drawing import density, particles
from jko.plot.files import writing
from jko.plot.style import figure, finish, styled
from jko.validation import Array, instance, positive, positive_int

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Seconds that a GIF can show a frame for, on average (the last one stays a second more).
LONGEST = 650
#: Least dpi.
COARSEST = 10


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
    **drawing: object,
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
    if isinstance(frames, int) and frames < 2:
        raise InvalidArgument(f"frames = {frames} does not move; pass 2 or more")
    positive_int(frames, "frames")
    _check_size(size, dpi)
    shots = evenly(sol.times, frames)
    if seconds > LONGEST * len(shots):
        raise InvalidArgument(
            f"seconds = {seconds:g} is too long for {len(shots)} frames: a GIF shows none for more"
            f" than {LONGEST} s; pass at most {LONGEST * len(shots)}"
        )
    prepare = _scene([sol.measures[k] for k in shots], vmax, drawing)
    digits = max(0, 2 - int(np.floor(np.log10(sol.times[-1] - sol.times[0] or 1.0))))
    fig, axes = figure([["only"]], size)
    fig.set_dpi(dpi)
    canvas, pictures = FigureCanvasAgg(fig), list[Image.Image]()
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
    with writing(target):
        write_gif(pictures, target, seconds)
    return target


def _check_size(size: Any, dpi: Any) -> None:
    """Refuse what is no size, and letters of less than a pixel or two."""
    try:
        _, _ = (positive(side, "size") for side in size)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"size got {size!r}; pass (width, height) in inches") from error
    if positive_int(dpi, "dpi") < COARSEST:
        raise InvalidArgument(f"dpi = {dpi} is too coarse for letters; pass {COARSEST} or more")


def evenly(times: Array, most: int) -> list[int]:
    """Numbers of the saved measures to show: every n-th one where the steps are equal."""
    last = len(times) - 1
    stride = -(-last // (most - 1)) or 1
    ticks = np.linspace(times[0], times[-1], -(-last // stride) + 1)
    return [int(np.abs(times - t).argmin()) for t in ticks]


def _scene(
    shown: Sequence[Any], vmax: float | None, drawing: dict[str, Any]
) -> Callable[..., None]:
    """How to draw one of these measures on axes that suit them all."""
    for mu in shown:
        instance(mu, Discrete, "sol.measures", "animate draws grid densities and particles")
    if not isinstance(shown[0], GridDensity):
        x = np.concatenate([mu.points[mu.weights > 0] for mu in shown])
        low, up = x.min(axis=0), x.max(axis=0)
        pad = 0.05 * (up - low).max() or 1.0

        def swarm(ax: Axes, mu: Discrete, _: bool) -> None:
            particles(ax, mu, **drawing)
            ax.set(xlim=(low[0] - pad, up[0] + pad), ylim=(low[1] - pad, up[1] + pad))

        return swarm
    largest = max(float(mu.density.max()) for mu in shown)
    top = largest if vmax is None else positive(vmax, "vmax")

    def field(ax: Axes, mu: GridDensity, first: bool) -> None:
        drawn = density(ax, mu, vmax=top, **drawing)
        if mu.dim == 1:
            ax.set_ylim(0, 1.05 * top)
            finish(ax, xlabel="x", ylabel="density")
        elif first:
            extend = "max" if largest > (1 + 1e-6) * top else "neither"
            ax.figure.colorbar(drawn, ax=ax, label="density", extend=extend, shrink=0.8)

    return field


def write_gif(pictures: Sequence[Any], target: Path, seconds: float) -> None:
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
