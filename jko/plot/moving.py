"""Flows as matplotlib animations: shown in notebooks, written as GIF or MP4."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.animation import FFMpegWriter, FuncAnimation
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from jko.errors import InvalidArgument, Unsupported
from jko.flows.trajectory import Trajectory
from jko.measures.grid import GridDensity
from jko.plot.animation import evenly, write_gif
from jko.plot.files import writing
from jko.plot.objects import measure, name_axes, picture, reach, tallest
from jko.plot.style import COLORS, figure, ink, styled
from jko.validation import instance, positive, positive_int

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class FlowAnimation(FuncAnimation):
    """A matplotlib animation of a flow; a notebook shows it as the last value of a cell."""

    def __init__(self, fig: Figure, draw: Any, frames: int, seconds: float) -> None:
        self._sheet, self._frames, self._seconds, self._draw = fig, frames, seconds, draw
        super().__init__(fig, draw, frames=frames, interval=1000 * seconds / frames, blit=False)

    def __del__(self) -> None:
        """An animation that nobody looked at is no mistake: matplotlib's warning is left out."""

    def _repr_html_(self) -> str:
        return str(self.to_jshtml())

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write a GIF or, where ffmpeg is installed, an MP4; hand back the path.

        Raises
        ------
        Unsupported
            An MP4 without ffmpeg.
        """
        target = Path(path)
        if target.suffix not in (".gif", ".mp4"):
            raise InvalidArgument(
                f"cannot write {str(target)!r}; pass a path that ends in .gif or .mp4"
            )
        if target.suffix == ".mp4" and not FFMpegWriter.isAvailable():
            raise Unsupported("an MP4 needs the program ffmpeg; install it, or write a .gif")
        with writing(target):
            if target.suffix == ".mp4":
                self.save(target, FFMpegWriter(fps=max(1, round(self._frames / self._seconds))))
            else:
                write_gif([self._shot(k) for k in range(self._frames)], target, self._seconds)
        return target

    def _shot(self, k: int) -> Any:
        self._draw(k)
        canvas = FigureCanvasAgg(self._sheet)
        canvas.draw()
        return Image.fromarray(np.array(canvas.buffer_rgba())[..., :3])


@styled
def animation(
    sol: Trajectory,
    path: str | os.PathLike[str] | None = None,
    *,
    frames: int = 48,
    seconds: float = 5.0,
    size: tuple[float, float] = (5.0, 4.0),
    fig: Figure | None = None,
    **drawing: Any,
) -> FlowAnimation:
    """A flow as an animation: every frame on the same axes, in the same colours.

    Parameters
    ----------
    sol : Trajectory
    path : path, optional
        Written there as well: ".gif", or ".mp4" where ffmpeg is installed.
    frames : int
        At most this many, evenly spread over the time of the flow.
    seconds : float
        How long it takes.
    size : (float, float)
        In inches, of a new figure.
    fig : matplotlib figure, optional
        Where to draw; it is emptied.
    drawing
        As in `jko.plot.measure`.

    Returns
    -------
    FlowAnimation
        A `matplotlib.animation.FuncAnimation` that a notebook displays.
    """
    instance(sol, Trajectory, "sol", "pass the result of jko.flow")
    if positive_int(frames, "frames") < 2:
        raise InvalidArgument(f"frames = {frames} does not move; pass 2 or more")
    seconds = positive(seconds, "seconds")
    shots = evenly(sol.times, frames)
    box = reach([sol.measures[k] for k in shots])
    seen = [picture(sol.measures[k], box) for k in shots]
    if fig is None:
        fig = figure([["only"]], size)[0]
        fig.set_layout_engine("compressed")  # labels beside images of equal axes stay in
    fig.clear()
    ax: Axes = fig.add_subplot()
    options = dict(drawing)
    top = tallest(seen)
    images = isinstance(seen[0], GridDensity) and seen[0].dim == 2
    if images:
        options.setdefault("vmax", top)

    @styled
    def draw(k: int) -> list[Artist]:
        ax.clear()
        color = options.pop("color", COLORS[0])
        drawn = measure(seen[k], ax, color=color, **options)
        if seen[0].dim == 1:
            ax.set(xlim=(box[0][0], box[1][0]), ylim=(0, 1.05 * top))
        else:
            ax.set(xlim=(box[0][0], box[1][0]), ylim=(box[0][1], box[1][1]))
            name_axes(ax, sol.measures[0].dim)
        ax.set_title(f"t = {sol.times[shots[k]]:.3g}")
        ink(ax)
        return drawn

    first = draw(0)
    if images:
        image: Any = first[0]
        fig.colorbar(image, ax=ax, label="density", shrink=0.8)
    moving = FlowAnimation(fig, draw, len(shots), seconds)
    if path is not None:
        moving.write(path)
    return moving
