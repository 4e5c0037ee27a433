r"""The c-transform on a grid, axis by axis, and the transport plan that comes with it.

For potentials phi on the cells, psi = phi^c is the least of |x - y|^2 / (2 step) - phi(x) over the
places x that the mass of the cell y may come from. It goes axis by axis: along the last axis phi is
interpolated between two cells and the best place taken, then along the axis before, and so on. So
psi is concave in phi, and the derivative of sum w psi is minus the plan's other marginal: the mass
of every cell, moved to its places and shared linearly between neighbours along one axis after the
other (`Plan.carry`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jko.numerics.c_lines import Lines, transform_lines
from jko.validation import Array


@dataclass(frozen=True, eq=False)
class Carried:
    """What a plan does to the mass w of the cells y.

    Attributes
    ----------
    mass : array of the grid's shape
        The other marginal.
    cost : float
        sum of |x - y|^2 / (2 step) over the plan.
    spread : float
        What it costs more when the shares go to the cells themselves: sum of
        share (1 - share) h^2 / (2 step).
    """

    mass: Array
    cost: float
    spread: float


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
        cost = spread = 0.0
        for axis, lines in self.moves:
            mass, shape = along(w, axis)
            moved = np.arange(mass.shape[1]) - lines.segment - lines.share
            cost += self.scales[axis] * float((mass * moved**2).sum())
            right = mass * lines.share
            spread += self.scales[axis] * float((right * (1 - lines.share)).sum())
            w = back(shared(mass - right, right, lines), axis, shape)
        return Carried(w, cost, spread)

    def push(self, w: Array, first: int = 0) -> Array:
        """The other marginal alone, from the move `first` on; w may have any sign."""
        for axis, lines in self.moves[first:]:
            mass, shape = along(w, axis)
            right = mass * lines.share
            w = back(shared(mass - right, right, lines), axis, shape)
        return w

    def placed(self, w: Array) -> Array:
        """What arrives at every cell would cost more if all that shares places with it were placed
        at cells: mass share (1 - share) h^2 / (2 step), at both ends of a segment.
        """
        out = np.zeros_like(w)
        for axis, lines in self.moves:
            mass, shape = along(w, axis)
            right = mass * lines.share
            price = self.scales[axis] * right * (1 - lines.share)
            earlier, _ = along(out, axis)
            part = earlier * lines.share
            out = back(shared(earlier - part + price, part + price, lines), axis, shape)
            w = back(shared(mass - right, right, lines), axis, shape)
        return out

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
    moved = np.moveaxis(values, axis, -1)
    return np.ascontiguousarray(moved).reshape(-1, values.shape[axis]), moved.shape


def back(rows: Array, axis: int, shape: tuple[int, ...]) -> Array:
    """Lines along an axis put back."""
    return np.moveaxis(rows.reshape(shape), -1, axis)


def shared(left: Array, right: Array, lines: Lines) -> Array:
    """The masses left and right added up at the two ends of their segments."""
    m, n = left.shape
    row = n * np.arange(m)[:, None]
    at = (lines.left + row).ravel()
    out: Array = np.bincount(at, left.ravel(), minlength=m * n).astype(float)
    out += np.bincount((lines.right + row).ravel(), right.ravel(), minlength=m * n)
    return out.reshape(m, n)
