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

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jko.solvers.dynamic.cells import Cells
from jko.solvers.dynamic.problem import DynamicProblem
from jko.validation import Array, Index

if TYPE_CHECKING:
    from scipy.sparse import csr_array


class Weights(NamedTuple):
    """Weights of the metric: of r, of Y, and of rho at every unknown time."""

    r: float
    y: float
    e: Array


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
        inverse = np.linalg.inv(weights.r * self.average.T @ self.average + np.diag(weights.e))
        self.from_r = weights.r * inverse @ self.average.T
        self.from_e = inverse * weights.e
        self.from_phi = inverse @ d.T
        values, self.modes = np.linalg.eigh(d @ self.from_phi)
        # A constant in time does not see interior densities: its eigenvalue is 0, not rounding.
        values[0] = 0.0 if problem.end is not None else values[0]
        self.values = np.maximum(values, 0.0)

    @cached_property
    def solve(self) -> Callable[[Array], Array]:
        """The inverse in space of the systems of all modes in time."""
        metric, cells = self.problem.metric, self.problem.cells
        stiffness = metric.face**2 / (2 * self.weights.y)
        shifts = self.values + metric.beta / self.weights.y
        make = transforms if cells.plain else factors
        return make(cells, shifts, stiffness)

    def __call__(self, r0: Array, y0: Array, e0: Array) -> Projected:
        metric, cells, weights = self.problem.metric, self.problem.cells, self.weights
        rho = _in_time(self.from_r, r0 - self.given_average) + _in_time(self.from_e, e0)
        flux = cells.joined(y0, metric.face / 2)
        rhs = _in_time(self.difference, rho) + self.given_difference + cells.divergence(flux)
        source = np.sqrt(metric.beta) * y0[-1] if metric.beta else None
        if source is not None:
            rhs -= source
        rhs *= cells.opened
        phi = _in_time(self.modes, self.solve(_in_time(self.modes.T, rhs)))
        rho -= _in_time(self.from_phi, phi)
        for m, g in zip(flux, cells.gradient(phi), strict=True):
            m += metric.face**2 / (2 * weights.y) * g
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


def factors(cells: Cells, shifts: Array, stiffness: float) -> Callable[[Array], Array]:
    """The same on the open cells, by one sparse factor for each slice."""
    import scipy.sparse as sp

    i, j, inverse = cells.pairs
    opened = np.flatnonzero(cells.opened.ravel())
    laplacian = stiffness * graph_laplacian(i, j, inverse**2, cells.grid.size)[opened][:, opened]
    unit, ground = sp.eye_array(opened.size), np.zeros(opened.size)
    ground[0] = stiffness * float(inverse.max(initial=1.0)) ** 2
    inverses = []
    for shift in shifts:
        matrix = laplacian + shift * unit
        inverses.append(factored(matrix if shift > 0 else matrix + sp.diags_array(ground)))

    def solve(b: Array) -> Array:
        flat, out = b.reshape(len(b), -1)[:, opened], np.zeros((len(b), cells.grid.size))
        for k, (shift, one) in enumerate(zip(shifts, inverses, strict=True)):
            out[k, opened] = one(flat[k] if shift > 0 else flat[k] - flat[k].mean())
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
