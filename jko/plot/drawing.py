"""What is drawn on given axes: data, particles, densities, the decay of energies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from jko.errors import InvalidArgument
from jko.flows.trajectory import Trajectory
from jko.measures.base import Discrete
from jko.measures.grid import GridDensity
from jko.plot.style import COLORS, MUTED, finish, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@styled
def points(ax: Axes, x: ArrayLike, *, marker: str = "o", label: str | None = None) -> None:
    """Data (n, 2) as small open markers in the background."""
    x = np.asarray(x)
    ax.scatter(
        x[:, 0], x[:, 1], s=18, marker=marker, facecolors="none", edgecolors="#9a9a9a",
        linewidths=0.8, label=label, zorder=1,
    )  # fmt: skip


@styled
def particles(
    ax: Axes,
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
    ax: Axes,
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
    ax: Axes,
    *sols: Trajectory,
    labels: Sequence[str] = (),
    colors: Sequence[str] = COLORS,
    of: Callable[[Any], Any] = lambda energy: energy,
    against: str = "time",
    ylabel: str = "energy F",
) -> None:
    """The energy of every step of one or more trajectories, on a logarithmic scale where it can be.

    Parameters
    ----------
    ax : matplotlib axes
    sols : Trajectory
    labels, colors : sequences, one entry per trajectory
    of : function
        What to draw of an energy, e.g. `lambda e: (2 * e) ** 0.5` for the MMD.
    against : {"time", "step"}
    """
    positive = True
    for i, sol in enumerate(sols):
        energies = np.array([sol.energies[0], *(s.energy for s in sol.steps)])
        x = np.array([sol.times[0], *(s.time for s in sol.steps)])
        if against == "step":
            x = np.arange(len(energies))
        label = labels[i] if i < len(labels) else None
        drawn = np.asarray(of(energies))
        positive = positive and bool((drawn > 0).all())
        ax.plot(x, drawn, color=colors[i % len(colors)], label=label)
    finish(ax, xlabel="time t" if against == "time" else "step", ylabel=ylabel, log=positive)
