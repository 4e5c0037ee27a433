"""The result of `jko.geodesic` and `jko.planning`: measures at times, tangents, certificates."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path as FilePath
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from jko.errors import InvalidArgument
from jko.flows import archive
from jko.flows.container import Tree
from jko.flows.trajectory import Trajectory
from jko.measures.base import Measure
from jko.paths.curves import CURVES, Curve
from jko.validation import Array, real

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False, repr=False)
class Path:
    """A path of measures with d_t mu + div(mu v) = mu xi.

    Attributes
    ----------
    times : (N + 1,) array
        From 0 to the duration (1 for a geodesic).
    action : float
        int_0^1 int |v|^2 + ... dmu dt of the path: the squared distance D^2 of a geodesic (D^p for
        W_p). For planning int_0^T int |v|^2 dmu dt.
    value : float
        The minimised objective: `action` for a geodesic; action/p plus running and terminal costs
        for planning.
    dual : float
        A lower bound of `value` over all paths of the same discretisation.
    bias : float or None
        Estimate of `value` minus that of the continuous problem, from the same problem on half the
        cells and slices (second order); `value - bias` extrapolates. None where it cannot be had,
        0 where nothing is discretised.
    description : dict
        Geometry, method, iterations.
    """

    times: Array
    action: float
    value: float
    dual: float
    bias: float | None
    curve: Curve
    description: Mapping[str, object]

    @property
    def gap(self) -> float:
        """(value - dual) relative to max(|value|, the half action)."""
        size = max(abs(self.value), 0.5 * abs(self.action))
        if self.value <= self.dual or size == 0:
            return 0.0
        return float((self.value - self.dual) / size)

    @property
    def primal(self) -> float:
        """The same as `value`."""
        return self.value

    @property
    def extrapolated(self) -> float:
        """`value` less its estimated bias."""
        return self.value - (self.bias or 0.0)

    @property
    def duration(self) -> float:
        """The last time."""
        return float(self.times[-1])

    @cached_property
    def measures(self) -> tuple[Measure, ...]:
        """The measures at `times`."""
        return tuple(self.curve.at(float(t)) for t in self.times)

    def at(self, t: float) -> Measure:
        """The measure at time t."""
        return self.curve.at(self._time(t))

    def velocity(self, t: float, points: ArrayLike | None = None) -> Array:
        """v (n, d) at the atoms (cell centres) of `at(t)`; at `points` between Gaussians.

        On grids it belongs to the interval around t and is 0 in empty cells.
        """
        at = None if points is None else np.asarray(points, dtype=float)
        return self.curve.velocity(self._time(t), at)

    def rate(self, t: float) -> Array:
        """xi (n,) at the atoms of `at(t)`: growth of the mass that moves along."""
        return self.curve.rate(self._time(t))

    def _time(self, t: object) -> float:
        value = real(t, "t")
        if not 0 <= value <= self.duration:
            raise InvalidArgument(f"t = {value:g} lies outside [0, {self.duration:g}]")
        return value

    def plot(self, shots: int = 5, *, figure: Figure | None = None) -> Figure:
        """A figure with the measures at equally spaced times (needs matplotlib).

        Without a figure of yours it is a new one of pyplot, which notebooks display.
        """
        times = np.linspace(0.0, self.duration, shots)
        mus = [self.at(float(t)) for t in times]
        found: Figure = import_module("jko.plot.flows").row(mus, times, figure)
        return found

    def animate(self, path: str | os.PathLike[str], **settings: object) -> FilePath:
        """Write the path as an animated GIF (`jko.plot.animation` has the settings)."""
        zeros = np.zeros(len(self.times))
        sol = Trajectory(self.times, self.measures, zeros, (), {}, "finished", {})
        import_module("jko.plot").animation(sol, path, **settings)
        return FilePath(path)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to one .npz file, atomically; nothing is pickled."""
        tree = {
            "times": self.times,
            "action": self.action,
            "value": self.value,
            "dual": self.dual,
            "bias": self.bias,
            "curve": self.curve.as_tree(),
            "description": dict(self.description),
        }
        archive.write(path, "path", tree)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Path:
        """Read a file written by `save`."""
        out: Path = archive.read(path, {"path": cls._from_tree})
        return out

    @classmethod
    def _from_tree(cls, tree: Tree) -> Path:
        curve = CURVES[tree["curve"]["kind"]].from_tree(tree["curve"])
        return cls(**{**tree, "curve": curve})

    def __repr__(self) -> str:
        bias = "" if self.bias is None else f", bias {self.bias:.1e}"
        return (
            f"Path({self.description.get('geometry')}, {len(self.times) - 1} slices:"
            f" action={self.action:.6g}, gap={self.gap:.1e}{bias})"
        )
