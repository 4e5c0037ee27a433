r"""The exact projection on the continuity equation, in the metric of the splitting.

Given (r0, Y0, e0) it finds the densities, fluxes and sources that obey the continuity equation and
minimise weight_r/2 |r - r0|^2 + weight_y/2 |Y - Y0|^2 + weights_e/2 |rho - e0|^2. With A the
average of neighbouring times, D their difference over tau, M = weight_r A'A + diag(weights_e) and
L = -div grad, the multiplier phi solves

    (D M^{-1} D' + s^2/(2 weight_y) L + beta/weight_y) phi = rhs,   s = sqrt(2) alpha^{1/q}:

the first matrix is dense in time and small, and its eigenvectors turn the system into one Poisson
problem per slice: by cosine or Fourier transforms, or by sparse factors where cells are closed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jko.solvers.dynamic.cells import Cells
from jko.solvers.dynamic.problem import DynamicProblem
from jko.validation import Array, Index

if TYPE_CHECKING:
    from scipy.sparse import csr_array


class Weights(NamedTuple):
    """Weights of the metric: of r and of Y, alike in all cells or one a cell, and how many times
    that of r is the weight of rho at every unknown time (unknown,).
    """

    r: float | Array
    y: float | Array
    share: Array

    @property
    def e(self) -> Array:
        """Of rho at every unknown time, (unknown, 1, ..) or (unknown, *shape)."""
        column = self.share.reshape(-1, *(1,) * np.ndim(self.r))
        return np.asarray(column * self.r)


class Projected(NamedTuple):
    """A point of the continuity equation: unknown densities, its image (r, Y), the multiplier."""

    rho: Array
    r: Array
    y: Array
    flux: list[Array]
    source: Array | None
    phi: Array


class Projection:
    """The projection for given weights; matrices and factors are made once."""

    def __init__(self, problem: DynamicProblem, weights: Weights) -> None:
        self.problem, self.weights = problem, weights
        n, k, tau = problem.slices, problem.unknown, problem.tau
        average, difference = np.zeros((n, n + 1)), np.zeros((n, n + 1))
        steps = np.arange(n)
        average[steps, steps] = average[steps, steps + 1] = 0.5
        difference[steps, steps], difference[steps, steps + 1] = -1 / tau, 1 / tau
        inner = slice(1, 1 + k)
        self.average, d = average[:, inner], difference[:, inner]
        self.difference = d
        ends = problem.full(np.zeros((k, *problem.cells.shape)))
        self.given_average = _in_time(average, ends)
        self.given_difference = _in_time(difference, ends)
        # In units of the weight of r, which may differ between cells.
        inverse = np.linalg.inv(self.average.T @ self.average + np.diag(weights.share))
        self.from_r = inverse @ self.average.T
        self.from_e = inverse * weights.share
        self.from_phi = inverse @ d.T
        values, self.modes = np.linalg.eigh(d @ self.from_phi)
        # A constant in time does not see interior densities: its eigenvalue is 0, not rounding.
        values[0] = 0.0 if problem.end is not None else values[0]
        self.values = np.maximum(values, 0.0)

    @cached_property
    def solve(self) -> Callable[[Array], Array]:
        """The inverse in space of the systems of all modes in time."""
        cells, weights, beta = self.problem.cells, self.weights, self.problem.metric.beta
        r, y = weights.r, weights.y
        if cells.plain and not isinstance(r, np.ndarray) and not isinstance(y, np.ndarray):
            stiffness = self.problem.metric.face**2 / (2 * y)
            return transforms(cells, self.values / r + beta / y, stiffness)
        local = np.ones(cells.shape) / weights.r
        added = beta * np.ones(cells.shape) / weights.y
        return factors(cells, [v * local + added for v in self.values], self.stiffness)

    @cached_property
    def stiffness(self) -> list[float | Array]:
        """s^2 over the weights of both copies of a flux, for the faces of each axis."""
        y, cells, square = self.weights.y, self.problem.cells, self.problem.metric.face**2
        if not isinstance(y, np.ndarray):
            return [square / (2 * y)] * cells.dim
        return [square / (y + cells.behind(y, axis)) for axis in range(cells.dim)]

    def joined(self, y0: Array) -> list[Array]:
        """The fluxes nearest to both their copies."""
        y, cells, face = self.weights.y, self.problem.cells, self.problem.metric.face
        if not isinstance(y, np.ndarray):
            return cells.joined(y0, face / 2)
        sums = cells.joined(y * y0[: 2 * cells.dim], face)
        return [m / (y + cells.behind(y, axis)) for axis, m in enumerate(sums)]

    def __call__(self, r0: Array, y0: Array, e0: Array) -> Projected:
        metric, cells, weights = self.problem.metric, self.problem.cells, self.weights
        rho = _in_time(self.from_r, r0 - self.given_average) + _in_time(self.from_e, e0)
        flux = self.joined(y0)
        rhs = _in_time(self.difference, rho) + self.given_difference + cells.divergence(flux)
        source = np.sqrt(metric.beta) * y0[-1] if metric.beta else None
        if source is not None:
            rhs -= source
        rhs *= cells.opened
        phi = _in_time(self.modes, self.solve(_in_time(self.modes.T, rhs)))
        rho -= _in_time(self.from_phi, phi) / weights.r
        for m, k, g in zip(flux, self.stiffness, cells.gradient(phi), strict=True):
            m += k * g
        r = _in_time(self.average, rho) + self.given_average
        copies = cells.doubled(flux, 1 / metric.face)
        if source is not None:
            source = (source + metric.beta / weights.y * phi) * cells.opened
            copies.append(source / np.sqrt(metric.beta))
        return Projected(rho, r, np.stack(copies), flux, source, phi)


def _in_time(matrix: Array, field: Array) -> Array:
    """A matrix in time applied to a field in every cell."""
    shape = field.shape[1:]
    out = matrix @ field.reshape(len(field), int(np.prod(shape)))  # one slice has no inner time
    return np.asarray(out.reshape(len(matrix), *shape))


def transforms(cells: Cells, shifts: Array, stiffness: float) -> Callable[[Array], Array]:
    """Solve shift_k x + stiffness L x = b for every slice: cosines along walls, Fourier around."""
    from scipy import fft

    round_, walls = _split_axes(cells)
    spectrum = np.zeros(cells.shape)
    for axis, (size, h) in enumerate(zip(cells.shape, cells.grid.spacing, strict=True)):
        turn = 2 * np.pi if cells.periodic[axis] else np.pi
        values = (2 - 2 * np.cos(turn * np.arange(size) / size)) / h**2
        spectrum += values.reshape([-1 if a == axis else 1 for a in range(cells.dim)])
    if round_:  # the real transform keeps half of its last axis
        keep = cells.shape[round_[-1] - 1] // 2 + 1
        spectrum = np.take(spectrum, range(keep), round_[-1] - 1)
    system = shifts.reshape(-1, *(1,) * cells.dim) + stiffness * spectrum
    # The constant of a balanced problem is not determined; its right-hand side is 0.
    system[system == 0] = np.inf
    sizes = [cells.shape[a - 1] for a in round_]

    def solve(b: Array) -> Array:
        x = fft.dctn(b, axes=walls, norm="ortho") if walls else b
        if not round_:
            return np.asarray(fft.idctn(x / system, axes=walls, norm="ortho"))
        x = fft.irfftn(fft.rfftn(x, axes=round_) / system, s=sizes, axes=round_)
        return np.asarray(fft.idctn(x, axes=walls, norm="ortho") if walls else x)

    return solve


def _split_axes(cells: Cells) -> tuple[list[int], list[int]]:
    """Axes of fields that lead round, and those with walls."""
    round_ = [a + 1 for a in range(cells.dim) if cells.periodic[a]]
    return round_, [a + 1 for a in range(cells.dim) if not cells.periodic[a]]


def factors(
    cells: Cells, shifts: Sequence[Array], stiffness: Sequence[float | Array]
) -> Callable[[Array], Array]:
    """The same on the open cells, by one sparse factor for each slice.

    shifts (*shape) belong to cells and the stiffness of an axis to its faces.
    """
    import scipy.sparse as sp

    i, j, inverse = cells.pairs
    opened = np.flatnonzero(cells.opened.ravel())
    along = [
        np.broadcast_to(k, cells.shape)[f] for k, f in zip(stiffness, cells.passable, strict=True)
    ]
    springs = np.concatenate(along) * inverse**2
    laplacian = graph_laplacian(i, j, springs, cells.grid.size)[opened][:, opened]
    ground = np.zeros(opened.size)
    ground[0] = float(springs.max(initial=1.0))
    inverses, definite = [], []
    for shift in shifts:
        diagonal = shift.ravel()[opened]
        definite.append(bool(diagonal.any()))
        diagonal = diagonal if definite[-1] else ground
        inverses.append(factored(laplacian + sp.diags_array(diagonal)))

    def solve(b: Array) -> Array:
        flat, out = b.reshape(len(b), -1)[:, opened], np.zeros((len(b), cells.grid.size))
        for k, (shifted, one) in enumerate(zip(definite, inverses, strict=True)):
            out[k, opened] = one(flat[k] if shifted else flat[k] - flat[k].mean())
        return out.reshape(b.shape)

    return solve


def graph_laplacian(i: Index, j: Index, weights: Array, size: int) -> csr_array:
    """sum of w (e_i - e_j)(e_i - e_j)' as a sparse matrix."""
    import scipy.sparse as sp

    rows, columns = np.concatenate([i, j, i, j]), np.concatenate([i, j, j, i])
    values = np.concatenate([weights, weights, -weights, -weights])
    return sp.coo_array((values, (rows, columns)), shape=(size, size)).tocsr()


def factored(matrix: csr_array) -> Callable[[Array], Array]:
    """The inverse of a symmetric positive-definite sparse matrix, as a function."""
    from scipy.sparse.linalg import splu

    options = {"SymmetricMode": True}
    found = splu(matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options)
    return lambda b: np.asarray(found.solve(b))
