r"""The c-transform on a grid, axis by axis, and the transport plan that comes with it.

For potentials phi on the cells, psi = phi^c is the least of |x - y|^2 / (2 step) - phi(x) over the
places x that the mass of the cell y may come from. It goes axis by axis: along the last axis phi is
interpolated between two cells and the best place taken, then along the axis before, and so on. So
psi is concave in phi, and the derivative of sum w psi is minus the plan's other marginal: the mass
of every cell, moved to its places and shared linearly between neighbours along one axis after the
other (`Plan.carry`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from jko.numerics.c_lines import Lines, transform_lines
from jko.validation import Array


@dataclass(frozen=True, eq=False)
class Passage:
    """Mass on its way along the lines of one axis.

    Attributes
    ----------
    axis : int
    lines : Lines
        Where the mass goes: `share` of it to the right end of a segment, the rest to the left.
    mass, right : (m, n) arrays
        What starts at every cell, and its part for the right ends.
    after : array of the grid's shape
        What arrives at every cell.
    """

    axis: int
    lines: Lines
    mass: Array
    right: Array
    after: Array

    def back(self, rows: Array) -> Array:
        """Values on the lines (m, n), or (m n,), of the grid's shape."""
        return back(rows, self.axis, np.moveaxis(self.after, self.axis, -1).shape)

    def laid(self, left: Array, right: Array) -> Array:
        """Values (m, n) for the two ends of segments, added up at the cells."""
        return self.back(shared(left, right, self.lines))


@dataclass(frozen=True, eq=False)
class Carried:
    """What a plan does to the mass w of the cells y.

    Attributes
    ----------
    plan : CellPlan
    mass : array of the grid's shape
        The other marginal.
    moves : tuple of Passage
    """

    plan: CellPlan
    mass: Array
    moves: tuple[Passage, ...]

    @cached_property
    def cost(self) -> float:
        """The sum of |x - y|^2 / (2 step) over the plan."""
        total = 0.0
        for move in self.moves:
            hops = np.arange(move.mass.shape[1]) - move.lines.segment - move.lines.share
            total += self.plan.scales[move.axis] * float((move.mass * hops**2).sum())
        return total

    @cached_property
    def spread(self) -> float:
        """What it costs more when the shares go to the cells themselves.

        The sum of share (1 - share) h^2 / (2 step).
        """
        return sum(float(self._price(move).sum()) for move in self.moves)

    def _price(self, move: Passage) -> Array:
        price: Array = self.plan.scales[move.axis] * move.right * (1 - move.lines.share)
        return price

    def placed(self) -> Array:
        """What arrives at every cell would cost more if all that shares places with it were placed
        at cells: mass share (1 - share) h^2 / (2 step), at both ends of a segment.
        """
        out: Array | None = None
        for move in self.moves:
            price, share = self._price(move), move.lines.share
            # What is owed for earlier axes is shared like the mass that owes it.
            owed = along(out, move.axis)[0] if out is not None else np.zeros_like(price)
            part = owed * share
            out = move.laid(owed - part + price, part + price)
        return np.zeros_like(self.mass) if out is None else out

    def origins(self) -> Array:
        """What arrives at every cell, times how many cells back its origin lies (axis, *shape)."""
        out = np.zeros((self.mass.ndim, *self.mass.shape))
        for k, move in enumerate(self.moves):
            away = np.arange(move.mass.shape[1]) - move.lines.segment
            moment = move.laid((move.mass - move.right) * away, move.right * (away - 1))
            out[move.axis] = self.plan.push(moment, k + 1)
        return out


@dataclass(frozen=True, eq=False)
class CellPlan:
    """Where every cell takes its mass from, and how it is shared there.

    Attributes
    ----------
    scales : tuple of float
        h^2 / (2 step) of every axis.
    moves : tuple of (axis, Lines)
        In the order in which mass moves: the first axis first.
    """

    scales: tuple[float, ...]
    moves: tuple[tuple[int, Lines], ...]

    def carry(self, w: Array) -> Carried:
        """Move the mass w (of the grid's shape) to its places and share it between cells."""
        moves = tuple(self._passed(w, 0))
        return Carried(self, moves[-1].after if moves else w, moves)

    def push(self, w: Array, first: int = 0) -> Array:
        """The other marginal alone, from the move `first` on; w may have any sign."""
        for move in self._passed(w, first):
            w = move.after
        return w

    def _passed(self, w: Array, first: int) -> Iterator[Passage]:
        for axis, lines in self.moves[first:]:
            mass, shape = along(w, axis)
            right = mass * lines.share
            w = back(shared(mass - right, right, lines), axis, shape)
            yield Passage(axis, lines, mass, right, w)

    def pull(self, values: Array, first: int = 0) -> Array:
        """The transpose of `push`: values at the places, interpolated between cells."""
        for axis, lines in reversed(self.moves[first:]):
            rows, shape = along(values, axis)
            left = np.take_along_axis(rows, lines.left, axis=1)
            right = np.take_along_axis(rows, lines.right, axis=1)
            values = back(left + lines.share * (right - left), axis, shape)
        return values


@dataclass(frozen=True, eq=False)
class CTransform:
    """phi^c, of the grid's shape, and the plan of the places where its minima are attained."""

    values: Array
    plan: CellPlan


def c_transform(
    phi: Array,
    scales: tuple[float, ...],
    compiled: bool | None = None,
    periodic: tuple[bool, ...] = (),
) -> CTransform:
    """phi^c for potentials of the grid's shape and the scales h^2 / (2 step) of the axes.

    Along periodic axes (none by default) the way round counts too.
    """
    circular = periodic or (False,) * phi.ndim
    moves: list[tuple[int, Lines]] = []
    values = -phi
    for axis in reversed(range(phi.ndim)):
        if phi.shape[axis] > 1:
            rows, shape = along(-values, axis)
            lines = transform_lines(rows, scales[axis], compiled, circular[axis])
            moves.append((axis, lines))
            values = back(lines.values, axis, shape)
    return CTransform(values, CellPlan(scales, tuple(reversed(moves))))


def along(values: Array, axis: int) -> tuple[Array, tuple[int, ...]]:
    """The lines along an axis (m, n), and the shape that puts them back."""
    if axis == values.ndim - 1:
        return np.ascontiguousarray(values).reshape(-1, values.shape[axis]), values.shape
    moved = np.moveaxis(values, axis, -1)
    return np.ascontiguousarray(moved).reshape(-1, values.shape[axis]), moved.shape


def back(rows: Array, axis: int, shape: tuple[int, ...]) -> Array:
    """Lines along an axis put back."""
    laid = rows.reshape(shape)
    return laid if axis == laid.ndim - 1 else np.moveaxis(laid, -1, axis)


def shared(left: Array, right: Array, lines: Lines) -> Array:
    """The masses left and right added up at the two ends of their segments."""
    m, n = left.shape
    at = (lines.left + n * np.arange(m)[:, None]).ravel()
    out = np.bincount(at, left.ravel(), minlength=m * n).astype(float).reshape(m, n)
    ahead = np.bincount(at, right.ravel(), minlength=m * n).reshape(m, n)
    out[:, 1:] += ahead[:, :-1]
    if lines.circular:
        out[:, 0] += ahead[:, -1]
    return out
