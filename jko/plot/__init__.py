"""Figures in one style: particles over data, densities, decay curves, animations.

Needs matplotlib (`pip install 'jko[demo]'`). Figures are made without pyplot: no display, no
global state; they are written with `save`, flows also with `animate`.
"""

try:
    import matplotlib  # noqa: F401
    import PIL  # noqa: F401  matplotlib brings it
except ImportError as error:
    raise ModuleNotFoundError(
        "jko.plot needs matplotlib; pip install 'jko[demo]' brings it", name="matplotlib"
    ) from error

from jko.plot.animation import animate
from jko.plot.drawing import decay, density, particles, points
from jko.plot.files import folder, save
from jko.plot.style import COLORS, DASHES, FAINT, INK, MUTED, STYLE, figure, finish, styled

__all__ = [
    "COLORS",
    "INK",
    "MUTED",
    "FAINT",
    "DASHES",
    "STYLE",
    "styled",
    "figure",
    "points",
    "particles",
    "density",
    "decay",
    "finish",
    "folder",
    "save",
    "animate",
]
