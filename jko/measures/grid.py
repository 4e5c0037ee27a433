"""Regular grids of cells and densities on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from jko.errors import InvalidArgument, InvalidMeasure, InvalidType
from jko.measures.base import Discrete
from jko.measures.cells import free_cells, listed, per_axis, same_mask
from jko.numerics.called import called, one_each
from jko.validation import (
    Array,
    Index,
    Mask,
    ReadOnly,
    finite_array,
    float_array,
    frozen,
    instance,
    positive,
    positive_int,
    shown,
    vector,
    weights_array,
)


@dataclass(frozen=True, eq=False, repr=False)
class Grid(ReadOnly):
    """A box cut into equal cells; the grid points are the cell centres.

    Parameters
    ----------
    lower, upper : (d,) arrays
        Corners of the box, lower < upper in every coordinate.
    shape : sequence of int
        Number of cells along each axis.
    periodic : bool or sequence of bool, default False
        Axes along which transport goes round: the first cell neighbours the last. The other walls
        let nothing through. Kernels, potentials and means see the unrolled box.
    mask : array of bool of shape `shape`, optional
        True where a cell is free, False where an obstacle stands. Transport goes around obstacles,
        and no step puts mass on them.
    """

    lower: Array
    upper: Array
    shape: tuple[int, ...]
    periodic: tuple[bool, ...]
    mask: Mask | None

    def __init__(
        self,
        lower: ArrayLike,
        upper: ArrayLike,
        shape: Sequence[int] | int,
        *,
        periodic: bool | Sequence[bool] = False,
        mask: ArrayLike | None = None,
    ) -> None:
        # + 0.0 turns -0.0 into 0.0: equal grids must have equal hashes.
        low, up = frozen(vector(lower, "lower") + 0.0), frozen(vector(upper, "upper") + 0.0)
        cells = tuple(shape) if listed(shape) else (shape,)
        counts = tuple(positive_int(m, "shape") for m in cells)
        if not low.shape == up.shape == (len(counts),):
            raise InvalidArgument(
                f"lower {low.shape}, upper {up.shape} and shape ({len(counts)},) disagree;"
                " give one entry per axis"
            )
        if not (low < up).all():
            raise InvalidArgument(f"lower = {low} must be below upper = {up} in every coordinate")
        object.__setattr__(self, "lower", low)
        object.__setattr__(self, "upper", up)
        object.__setattr__(self, "shape", counts)
        object.__setattr__(self, "periodic", per_axis(periodic, len(counts)))
        object.__setattr__(self, "mask", None if mask is None else free_cells(mask, counts))

    @property
    def dim(self) -> int:
        """Number of axes d."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of cells."""
        return int(np.prod(self.shape))

    @property
    def spacing(self) -> Array:
        """Cell sides (d,)."""
        return np.asarray((self.upper - self.lower) / np.asarray(self.shape))

    @property
    def cell_volume(self) -> float:
        """Volume of one cell."""
        return float(np.prod(self.spacing))

    @cached_property
    def axes(self) -> tuple[Array, ...]:
        """Cell centres along each axis."""
        return tuple(
            frozen(low + (np.arange(m) + 0.5) * h)
            for low, m, h in zip(self.lower, self.shape, self.spacing, strict=True)
        )

    @cached_property
    def points(self) -> Array:
        """All cell centres (size, d), in C order."""
        mesh = np.meshgrid(*self.axes, indexing="ij")
        return frozen(np.stack([m.ravel() for m in mesh], axis=1))

    @property
    def straight(self) -> bool:
        """Whether mass moves along straight lines: no periodic axis and no obstacle."""
        return self.mask is None and not any(self.periodic)

    @cached_property
    def regions(self) -> Index:
        """Number (size,) of the connected region of every cell, from 1 on; 0 on obstacles."""
        if self.mask is None:
            return frozen(np.ones(self.size, dtype=np.intp))
        from scipy.ndimage import label

        labels, count = label(self.mask.reshape(self.shape))
        merged = np.arange(count + 1)
        for axis in np.flatnonzero(self.periodic):
            ends = np.take(labels, 0, axis).ravel(), np.take(labels, -1, axis).ravel()
            for a, b in set(zip(*ends, strict=True)):
                if a and b:
                    merged[merged == merged[a]] = merged[b]
        return frozen(np.asarray(merged[labels].ravel(), dtype=np.intp))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Grid)
            and self.shape == other.shape
            and np.array_equal(self.lower, other.lower)
            and np.array_equal(self.upper, other.upper)
            and self.periodic == other.periodic
            and same_mask(self.mask, other.mask)
        )

    def __hash__(self) -> int:
        free = None if self.mask is None else self.mask.tobytes()
        return hash((self.shape, self.lower.tobytes(), self.upper.tobytes(), self.periodic, free))

    def __repr__(self) -> str:
        low, up = self.lower.tolist(), self.upper.tolist()
        more = f", periodic={list(self.periodic)}" if any(self.periodic) else ""
        if self.mask is not None:
            more += f", mask=<{int(self.mask.sum())} of {self.size} cells free>"
        return f"Grid(lower={low}, upper={up}, shape={list(self.shape)}{more})"


@dataclass(frozen=True, eq=False, repr=False)
class GridDensity(Discrete):
    """A density on a grid, stored as cell masses.

    Parameters
    ----------
    grid : Grid
        The cells.
    weights : (size,) array, or an array of shape `grid.shape`
        Mass of each cell (density times cell volume).
    """

    grid: Grid
    weights: Array = field(repr=False)

    def __post_init__(self) -> None:
        instance(self.grid, Grid, "grid", "pass a jko.Grid(lower, upper, shape)")
        weights = finite_array(self.weights, "weights", InvalidMeasure)
        if weights.shape == self.grid.shape:
            weights = weights.ravel()
        weights = weights_array(weights, self.grid.size)
        object.__setattr__(self, "weights", weights)
        blocked = self.grid.mask is not None and float(weights[~self.grid.mask].sum())
        if blocked:
            raise InvalidMeasure(
                f"weights put mass {blocked:.6g} on cells that grid.mask blocks; give those cells"
                " weight 0, or free them in the mask"
            )

    @classmethod
    def from_function(
        cls, density: Callable[[Array], ArrayLike], grid: Grid, *, mass: float | None = None
    ) -> Self:
        """Sample a vectorised density `(n, d) -> (n,)` at the cell centres; 0 on obstacles.

        With `mass` the result is rescaled to that total mass; otherwise the midpoint rule decides.
        """
        instance(grid, Grid, "grid", "pass a jko.Grid(lower, upper, shape)")
        if not callable(density):
            raise InvalidType(f"density got {shown(density)}; pass a function (n, d) -> (n,)")
        values = float_array(called(density, grid.points, "density"), "density(points)")
        if values.shape not in ((grid.size,), grid.shape):
            raise InvalidMeasure(one_each("density", values.shape, grid.size))
        if grid.mask is not None and values.shape == (grid.size,):
            values = np.where(grid.mask, values, 0.0)
        values = finite_array(values, "density(points)", InvalidMeasure)
        return cls.from_density(values, grid, mass=mass)

    @classmethod
    def from_density(cls, values: ArrayLike, grid: Grid, *, mass: float | None = None) -> Self:
        """Build from density values (per unit volume), flat or of shape `grid.shape`."""
        instance(grid, Grid, "grid", "pass a jko.Grid(lower, upper, shape)")
        density = finite_array(values, "values", InvalidMeasure)
        out = cls(grid, density * grid.cell_volume)
        if mass is None:
            return out
        return cls(grid, out.weights * (positive(mass, "mass") / out.mass))

    @property
    def points(self) -> Array:  # type: ignore[override]
        """Cell centres (n, d)."""
        return self.grid.points

    @property
    def dim(self) -> int:
        return self.grid.dim

    @property
    def density(self) -> Array:
        """Density per unit volume, of shape `grid.shape`."""
        return (self.weights / self.grid.cell_volume).reshape(self.grid.shape)

    @property
    def reference(self) -> Array:
        return np.full(self.n, self.grid.cell_volume)

    @property
    def free(self) -> Mask | None:
        return self.grid.mask

    def same_support(self, other: object) -> bool:
        if isinstance(other, GridDensity):
            return self.grid == other.grid
        return super().same_support(other)  # type: ignore[arg-type]

    def with_weights(self, weights: ArrayLike) -> Self:
        return type(self)(self.grid, weights)  # type: ignore[arg-type]

    def __repr__(self) -> str:
        return f"GridDensity({self.grid!r}, mass={self.mass:.6g})"


def not_straight(*measures: object) -> str | None:
    """Why |x - y|^2 is not the cost of transport between these measures, if it is not."""
    for mu in measures:
        if isinstance(mu, GridDensity) and not mu.grid.straight:
            what = "obstacles" if mu.grid.mask is not None else "periodic axes"
            return (
                f"the grid has {what}, and this computation moves mass along straight lines;"
                " take steps with jko.solvers.Entropic or jko.solvers.FiniteVolume, or use a plain"
                " jko.Grid"
            )
    return None


def periods(a: object, b: object) -> Array | None:
    """Lengths (d,) after which the axes of two grids repeat, +inf along walls; None for no period.

    Both must be densities on boxes without obstacles that share their periodic axes.
    """
    if not (isinstance(a, GridDensity) and isinstance(b, GridDensity)):
        return None
    one, two = a.grid, b.grid
    shared = one.mask is None and two.mask is None and one.periodic == two.periodic
    same = np.array_equal(one.lower, two.lower) and np.array_equal(one.upper, two.upper)
    if not (shared and same and any(one.periodic)):
        return None
    return np.where(one.periodic, one.upper - one.lower, np.inf)
