r"""Fields on cells and faces of a grid over time, and the differences between them.

A field is an array (slices, *shape). Face i of an axis lies between cell i and the next one; on an
axis with walls the last face does not exist and holds 0, on a periodic one it leads round. Every
face flux appears twice, in the cell before it and in the cell behind it: `Y[2 a + 1]` and `Y[2 a]`
for axis a.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from jko.measures.grid import Grid
from jko.validation import Array, Index, Mask


@dataclass(frozen=True, eq=False)
class Cells:
    """The open cells of a grid and the faces between them.

    Attributes
    ----------
    grid : Grid
    opened : array of bool of the grid's shape
        Cells that mass may enter.
    """

    grid: Grid
    opened: Mask

    @property
    def shape(self) -> tuple[int, ...]:
        """Cells along the axes."""
        return self.grid.shape

    @property
    def dim(self) -> int:
        """Number of axes."""
        return self.grid.dim

    @cached_property
    def plain(self) -> bool:
        """Whether every cell is open."""
        return bool(self.opened.all())

    @cached_property
    def periodic(self) -> tuple[bool, ...]:
        """Axes that lead round; a single cell does not neighbour itself."""
        pairs = zip(self.grid.periodic, self.shape, strict=True)
        return tuple(flag and size > 1 for flag, size in pairs)

    @cached_property
    def passable(self) -> tuple[Mask, ...]:
        """Which faces of each axis lie between open cells."""
        out = []
        for axis in range(self.dim):
            here = self.opened & np.roll(self.opened, -1, axis)
            if not self.periodic[axis]:
                here[_at(axis, slice(-1, None))] = False
            out.append(here)
        return tuple(out)

    @cached_property
    def pairs(self) -> tuple[Index, Index, Array]:
        """Cells before and behind every passable face (k,), axis after axis, and its 1/h (k,)."""
        index = np.arange(self.grid.size).reshape(self.shape)
        before, behind, inverse = [], [], []
        for axis, faces in enumerate(self.passable):
            before.append(index[faces])
            behind.append(np.roll(index, -1, axis)[faces])
            inverse.append(np.full(int(faces.sum()), 1 / self.grid.spacing[axis]))
        return np.concatenate(before), np.concatenate(behind), np.concatenate(inverse)

    def gradient(self, phi: Array) -> list[Array]:
        """Differences (phi_next - phi)/h on the faces of each axis."""
        out = []
        for axis in range(self.dim):
            g = self.behind(phi, axis)
            g -= phi
            g *= self.passable[axis] / self.grid.spacing[axis]
            out.append(g)
        return out

    def divergence(self, flux: list[Array]) -> Array:
        """What leaves every cell per volume and time, for face fluxes that are 0 at walls."""
        out = np.zeros_like(flux[0])
        for axis, m in enumerate(flux):
            out += (m - self.before(m, axis)) / self.grid.spacing[axis]
        return out

    def behind(self, field: Array, axis: int) -> Array:
        """The field at the next cell along an axis."""
        return _shifted(field, field.ndim - self.dim + axis, -1)

    def before(self, field: Array, axis: int) -> Array:
        """The field at the previous cell along an axis."""
        return _shifted(field, field.ndim - self.dim + axis, 1)

    def doubled(self, flux: list[Array], scale: float) -> list[Array]:
        """Both copies of every face flux, times a number: the parts of Y that belong to faces."""
        out = []
        for axis, m in enumerate(flux):
            ahead = scale * m
            out += [self.before(ahead, axis), ahead]
        return out

    def joined(self, copies: Array, scale: float) -> list[Array]:
        """The sum of both copies of every face flux, times a number; 0 where nothing passes."""
        out = []
        for axis in range(self.dim):
            m = self.behind(copies[2 * axis], axis)
            m += copies[2 * axis + 1]
            m *= scale * self.passable[axis]
            out.append(m)
        return out


def _at(axis: int, where: slice) -> tuple[slice, ...]:
    return (slice(None),) * axis + (where,)


def _shifted(field: Array, axis: int, by: int) -> Array:
    """np.roll by one cell, without its overhead."""
    out = np.empty_like(field)
    one, rest = (slice(0, 1), slice(1, None)), (slice(-1, None), slice(0, -1))
    if by > 0:
        out[_at(axis, one[1])] = field[_at(axis, rest[1])]
        out[_at(axis, one[0])] = field[_at(axis, rest[0])]
    else:
        out[_at(axis, rest[1])] = field[_at(axis, one[1])]
        out[_at(axis, rest[0])] = field[_at(axis, one[0])]
    return out
