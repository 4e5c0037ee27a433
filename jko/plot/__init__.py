"""Figures in one style: particles over data, densities, decay curves, animations.

Needs matplotlib (`pip install 'jko[demo]'`). `figure` makes figures without pyplot: no display, no
global state; they are written with `save`, flows also with `animate`. What `.plot()` of a measure,
a result or a flow draws without axes of yours is a pyplot figure, which notebooks display.
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
from jko.plot.flows import trajectory
from jko.plot.moving import FlowAnimation, animation
from jko.plot.objects import measure, result
from jko.plot.robust import robust_fit as robust_fit
from jko.plot.robust import worst_case
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
    "animation",
    "FlowAnimation",
    "measure",
    "result",
    "trajectory",
    "worst_case",
]
