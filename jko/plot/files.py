"""Figures on disk."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from jko.errors import InvalidArgument
from jko.plot.style import styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
def save(fig: Figure, path: str | os.PathLike[str], dpi: int = 120) -> Path:
    """Write a figure (the ending of `path` chooses the format) and hand back its path.

    A PNG gets a palette of 256 colours: a third of the size, and no difference to see.
    """
    target = Path(path)
    with writing(target):
        if target.suffix == ".png":
            pixels(fig, dpi).quantize(256).save(target, optimize=True)
        else:
            fig.savefig(target)
    return target


def pixels(fig: Figure, dpi: int) -> Image.Image:
    """The figure as an image of three channels, at `dpi` for this drawing alone."""
    shown, before = fig.canvas, fig.dpi
    try:
        canvas = FigureCanvasAgg(fig)
        fig.set_dpi(dpi)
        canvas.draw()
        return Image.fromarray(np.array(canvas.buffer_rgba())[..., :3])
    finally:
        fig.set_dpi(before)
        fig.set_canvas(shown)


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Turn a failure to write into an error with a remedy."""
    try:
        yield
    except OSError as error:
        raise InvalidArgument(
            f"cannot write {str(target)!r} ({error.strerror or error}); pass another path"
        ) from None
