"""What `.plot()` draws: measures of every kind, results of steps, whole flows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.artist import Artist

from jko.errors import InvalidArgument, Unsupported
from jko.flows.splitting import SplitResult
from jko.measures.atoms import Histogram, Particles
from jko.measures.base import Discrete, Measure
from jko.measures.gaussian import Gaussian, GaussianMixture
from jko.measures.grid import Grid, GridDensity
from jko.plot.drawing import density, particles
from jko.plot.style import COLORS, finish, styled
from jko.prox.result import StepResult
from jko.validation import Array, instance

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Standard deviations of a Gaussian that its picture reaches to; less than .3 % lie outside.
REACH = 3.0
#: Points of the curve, and of each axis of the image, of a Gaussian.
FINE = 400
COARSE = 160
#: Width over height up to which an image keeps the proportions of its axes.
SLIM = 4.0


def axes_for(ax: Axes | None, size: tuple[float, float] = (5.0, 4.0)) -> Any:
    """The axes handed in, or those of a new pyplot figure, which notebooks and `show` display."""
    if ax is None:
        from matplotlib import pyplot

        return pyplot.figure(figsize=size, layout="compressed").add_subplot()
    if not hasattr(ax, "add_artist"):
        raise InvalidArgument(
            f"ax got a {type(ax).__name__}; pass matplotlib axes, such as those of plt.subplots()"
        )
    return ax


@styled
def measure(
    mu: Measure,
    ax: Axes | None = None,
    *,
    color: str = COLORS[0],
    label: str | None = None,
    **drawing: Any,
) -> list[Artist]:
    """Draw a measure: densities as curve or image, atoms by weight, Gaussians by their density.

    Of more than two dimensions the first two are drawn: the marginal of densities and Gaussians,
    the coordinates of atoms.

    Parameters
    ----------
    mu : Measure
    ax : matplotlib axes, optional
        By default those of a new figure.
    color, label
        Of curves and markers.
    drawing
        `vmax` of an image; `area` of markers in square points.

    Returns
    -------
    list of matplotlib artists
    """
    instance(mu, Measure, "mu", "pass a measure such as jko.GridDensity")
    alone, ax, dim = ax is None, axes_for(ax), mu.dim
    if isinstance(mu, (Gaussian, GaussianMixture)):
        mu = on_grid(mu, *reach([mu]))
    if isinstance(mu, GridDensity):
        drawn = _field(ax, marginal(mu), color, label, alone, drawing)
        if dim > 2:
            name_axes(ax, dim)
        return drawn
    if isinstance(mu, Discrete):
        return _atoms(ax, mu, color, label, drawing)
    raise Unsupported(f"no picture of a {type(mu).__name__}; draw a density, atoms or a Gaussian")


def reach(measures: Sequence[Measure]) -> tuple[Array, Array]:
    """A box (d,), (d,) of the first one or two coordinates that holds what is to be seen."""
    low, high = [], []
    for mu in measures:
        if isinstance(mu, (Gaussian, GaussianMixture)):
            _, means, covs = mu.components
            wide = REACH * np.sqrt(np.diagonal(covs, axis1=1, axis2=2))
            low.append((means - wide).min(axis=0)[:2])
            high.append((means + wide).max(axis=0)[:2])
        elif isinstance(mu, GridDensity):
            low.append(mu.grid.lower[:2])
            high.append(mu.grid.upper[:2])
        elif isinstance(mu, Discrete):
            x = mu.points[mu.weights > 0, :2]
            pad = 0.05 * (x.max(axis=0) - x.min(axis=0)).max() or 1.0
            low.append(x.min(axis=0) - pad)
            high.append(x.max(axis=0) + pad)
    return np.min(low, axis=0), np.max(high, axis=0)


def on_grid(mu: Gaussian | GaussianMixture, low: Array, high: Array) -> GridDensity:
    """The marginal of the first one or two coordinates on a grid over a box."""
    weights, means, covs = mu.components
    k = min(mu.dim, 2)
    seen = GaussianMixture(means[:, :k], covs[:, :k, :k], weights)
    grid = Grid(low, high, [FINE] if k == 1 else [COARSE, COARSE])
    values = np.exp(seen.log_density_at(grid.points)).reshape(grid.shape)
    return GridDensity.from_density(values, grid)


def marginal(rho: GridDensity) -> GridDensity:
    """The density of the first two coordinates."""
    grid = rho.grid
    if grid.dim <= 2:
        return rho
    flat = Grid(grid.lower[:2], grid.upper[:2], grid.shape[:2])
    return GridDensity(flat, rho.weights.reshape(*grid.shape[:2], -1).sum(axis=2).ravel())


def _field(
    ax: Axes, rho: GridDensity, color: str, label: str | None, bar: bool, drawing: dict[str, Any]
) -> list[Artist]:
    """A curve or an image; an image on axes of its own gets a colour bar."""
    if rho.dim == 1:
        drawn = density(ax, rho, color=color, label=label, **_only(drawing, "fill", "style"))
        finish(ax, xlabel="x", ylabel="density")
        _from_zero(ax, float(rho.density.max()))
        return [drawn]
    drawn = density(ax, rho, label=label, **_only(drawing, "vmax"))
    sides = rho.grid.upper - rho.grid.lower
    ax.set(xlabel="x", ylabel="y", aspect="auto" if sides.max() > SLIM * sides.min() else "equal")
    if bar:
        ax.figure.colorbar(drawn, ax=ax, label="density", shrink=0.8)
    return [drawn]


def _atoms(
    ax: Any, mu: Discrete, color: str, label: str | None, drawing: dict[str, Any]
) -> list[Artist]:
    """Stems on the line, markers by weight in the plane."""
    charged = mu.weights > 0
    if mu.dim == 1:
        x, w = mu.points[charged, 0], mu.weights[charged]
        if many(mu):
            return _heap(ax, mu, color, label)
        width = float(np.clip(300 / len(x), 0.5, 1.8))
        lines = ax.vlines(x, 0, w, color=color, lw=width, label=label, alpha=0.8)
        finish(ax, xlabel="x", ylabel="weight")
        _from_zero(ax, float(w.max()))
        return [lines]
    flat = Histogram(mu.points[:, :2], mu.weights)
    before = len(ax.collections)
    particles(ax, flat, color=color, label=label, **_only(drawing, "area", "data"))
    name_axes(ax, mu.dim)
    return list(ax.collections[before:])


def name_axes(ax: Any, dim: int) -> None:
    """What the two axes of a picture in the plane are, of `dim` coordinates."""
    names = ("x", "y") if dim == 2 else ("$x_1$", f"$x_2$ (of {dim})")
    ax.set(xlabel=names[0], ylabel=names[1])


def many(mu: Discrete) -> bool:
    """Whether particles on the line say more in bins than one by one."""
    return isinstance(mu, Particles) and mu.dim == 1 and mu.n > 12


def binned(mu: Discrete) -> tuple[Array, Array]:
    """The density (k,) of particles on the line in bins, and the ends (k + 1,) of these."""
    x, w = mu.points[:, 0], mu.weights
    values, ends = np.histogram(x, int(np.clip(2 * np.sqrt(mu.ess), 8, 60)), weights=w)
    return values / np.diff(ends), ends


def _heap(ax: Any, mu: Discrete, color: str, label: str | None) -> list[Artist]:
    """Particles on the line: their density in bins, and a mark for each."""
    values, ends = binned(mu)
    steps = ax.stairs(values, ends, color=color, lw=1.4, label=label)
    marks = ax.plot(mu.points[:, 0], np.zeros(mu.n), "|", color=color, alpha=0.4, ms=9)[0]
    finish(ax, xlabel="x", ylabel="density in bins")
    _from_zero(ax, float(values.max()))
    return [steps, marks]


def _from_zero(ax: Any, top: float) -> None:
    """From 0 to a little above what is drawn, now and before."""
    before = ax.get_ylim()[1] if ax.get_ylim()[0] == 0 else 0.0
    ax.set_ylim(0, max(float(before), 1.05 * top) or 1.0)


def _only(drawing: dict[str, Any], *names: str) -> dict[str, Any]:
    """The options of one kind of picture; those of another are no error, unknown ones are."""
    unknown = set(drawing) - {"vmax", "fill", "style", "area", "data"}
    if unknown:
        raise InvalidArgument(f"plot got {sorted(unknown)}; it takes vmax, fill, style, area, data")
    return {name: value for name, value in drawing.items() if name in names}


@styled
def result(res: StepResult | SplitResult, ax: Axes | None = None, **drawing: Any) -> list[Artist]:
    """The new measure of a step; the title says whether it is certified, and the energy.

    Parameters
    ----------
    res : StepResult or SplitResult
    ax : matplotlib axes, optional
    drawing
        As in `jko.plot.measure`.
    """
    instance(res, (StepResult, SplitResult), "res", "pass the result of jko.step")
    drawn = measure(res.measure, ax, **drawing)
    axes: Any = drawn[0].axes
    last = res.substeps[-1] if isinstance(res, SplitResult) else res
    word = last.claim.noun if res.success else res.status.name.lower().replace("_", " ")
    axes.set_title(f"{word} by {last.solver}, F = {res.energy:.4g}")
    return drawn


def picture(mu: Measure, box: tuple[Array, Array]) -> Discrete:
    """A measure in the form that is drawn, on one box for all."""
    if isinstance(mu, (Gaussian, GaussianMixture)):
        return on_grid(mu, *box)
    if isinstance(mu, GridDensity):
        return marginal(mu)
    instance(mu, Discrete, "sol.measures", "plot draws densities, atoms and Gaussians")
    assert isinstance(mu, Discrete)
    return mu


def tallest(seen: Sequence[Discrete]) -> float:
    """The largest density, or the largest weight of an atom."""
    return max(
        float((mu.density if isinstance(mu, GridDensity) else _heights(mu)).max()) for mu in seen
    )


def _heights(mu: Discrete) -> Array:
    return binned(mu)[0] if many(mu) else mu.weights
