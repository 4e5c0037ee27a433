"""Regular grids of cells and densities on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from jko.errors import InvalidArgument, InvalidMeasure
from jko.measures.base import Discrete
from jko.validation import (
    Array,
    finite_array,
    frozen,
    instance,
    positive,
    positive_int,
    vector,
    weights_array,
)


@dataclass(frozen=True, eq=False, repr=False)
class Grid:
    """A box cut into equal cells; the grid points are the cell centres.

    Parameters
    ----------
    lower, upper : (d,) arrays
        Corners of the box, lower < upper in every coordinate.
    shape : sequence of int
        Number of cells along each axis.
    """

    lower: Array
    upper: Array
    shape: tuple[int, ...]

    def __init__(self, lower: ArrayLike, upper: ArrayLike, shape: Sequence[int] | int) -> None:
        # + 0.0 turns -0.0 into 0.0: equal grids must have equal hashes.
        low, up = frozen(vector(lower, "lower") + 0.0), frozen(vector(upper, "upper") + 0.0)
        cells = tuple(shape) if isinstance(shape, Iterable) else (shape,)
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
        return (self.upper - self.lower) / np.asarray(self.shape)

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

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Grid)
            and self.shape == other.shape
            and np.array_equal(self.lower, other.lower)
            and np.array_equal(self.upper, other.upper)
        )

    def __hash__(self) -> int:
        return hash((self.shape, self.lower.tobytes(), self.upper.tobytes()))

    def __repr__(self) -> str:
        low, up = self.lower.tolist(), self.upper.tolist()
        return f"Grid(lower={low}, upper={up}, shape={list(self.shape)})"


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
        object.__setattr__(self, "weights", weights_array(weights, self.grid.size))

    @classmethod
    def from_function(
        cls, density: Callable[[Array], ArrayLike], grid: Grid, *, mass: float | None = None
    ) -> Self:
        """Sample a vectorised density `(n, d) -> (n,)` at the cell centres.

        With `mass` the result is rescaled to that total mass; otherwise the midpoint rule decides.
        """
        instance(grid, Grid, "grid", "pass a jko.Grid(lower, upper, shape)")
        values = finite_array(density(grid.points), "density(points)", InvalidMeasure)
        return cls.from_density(values, grid, mass=mass)

    @classmethod
    def from_density(cls, values: ArrayLike, grid: Grid, *, mass: float | None = None) -> Self:
        """Build from density values (per unit volume), flat or of shape `grid.shape`."""
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

    def same_support(self, other: object) -> bool:
        if isinstance(other, GridDensity):
            return self.grid == other.grid
        return super().same_support(other)  # type: ignore[arg-type]

    def with_weights(self, weights: ArrayLike) -> Self:
        return type(self)(self.grid, weights)  # type: ignore[arg-type]

    def __repr__(self) -> str:
        return f"GridDensity({self.grid!r}, mass={self.mass:.6g})"
