r"""The saddle function of dynamic transport for quadratic actions, and its derivatives.

The fluxes and sources of an interval are those of a potential, m = alpha theta grad phi and zeta =
beta r phi with the harmonic mobility theta of r^k = (w^k + w^{k+1})/2, and (w, phi) is the saddle
point, convex in the unknown densities w and concave in phi, of

    sum_k R_k(w^k) + sum_k <phi^k, w^{k+1} - w^k>
           - tau sum_k (sum_f alpha theta_f (grad phi^k)_f^2 / 2 + sum beta r^k (phi^k)^2 / 2).
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from jko.forms.separable import Separable
from jko.solvers.dynamic.problem import DynamicProblem
from jko.solvers.dynamic.projection import graph_laplacian
from jko.solvers.dynamic.upper import harmonic
from jko.validation import Array

if TYPE_CHECKING:
    from scipy.sparse import csr_array

#: Shift that keeps the block of phi definite where no mass moves, relative to its largest entry.
SHIFT = 1e-14


class SaddleSystem:
    """The function of w (unknown times n,) and phi (slices times n,), open cells alone.

    Faces join cells of one interval; the cells of later intervals count on.
    """

    def __init__(self, problem: DynamicProblem) -> None:
        from scipy.sparse import diags_array, eye_array, kron

        self.problem = problem
        opened = np.flatnonzero(problem.cells.opened.ravel())
        i, j, inverse = problem.cells.pairs
        local = np.full(problem.cells.grid.size, -1)
        local[opened] = np.arange(opened.size)
        slices, n = problem.slices, opened.size
        later = n * np.arange(slices)[:, None]
        self.opened, self.n, self.total = opened, n, n * slices
        self.a, self.b = (local[i] + later).ravel(), (local[j] + later).ravel()
        self.inverse = np.tile(inverse, slices)
        shape, cells = (slices, problem.unknown), eye_array(n)
        average = diags_array([0.5, 0.5], offsets=[0, -1], shape=shape)
        change = diags_array([1.0, -1.0], offsets=[0, -1], shape=shape)
        self.average = kron(average, cells, format="csr")
        self.change = kron(change, cells, format="csr")
        given = np.zeros((2, slices, n))  # what the ends add to changes and means
        given[:, 0] = np.multiply.outer([-1.0, 0.5], problem.start.ravel()[opened])
        if problem.end is not None:
            given[:, -1] += np.multiply.outer([1.0, 0.5], problem.end.ravel()[opened])
        self.given = given.reshape(2, -1)

    @cached_property
    def energy(self) -> Separable:
        """All running and terminal costs as one function of w."""
        problem, free = self.problem, Separable(np.zeros(self.problem.cells.grid.size))
        running = free if problem.running is None else problem.running.scaled(problem.tau)
        parts = [running] * (problem.slices - 1)
        if problem.end is None:
            parts.append(problem.last or free)
        return joined([h.take(self.opened) for h in parts])

    def residuals(self, w: Array, phi: Array) -> tuple[Array, Array]:
        """Derivatives in phi and in w."""
        problem, a, b, total = self.problem, self.a, self.b, self.total
        tau, alpha, beta = problem.tau, problem.metric.alpha, problem.metric.beta
        r = self.between(w)
        theta, slope, da, db = self._faces(r, phi)
        flux = alpha * theta * slope * self.inverse
        out = np.bincount(a, flux, total) - np.bincount(b, flux, total)
        first = self.change @ w + self.given[0] + tau * (out - beta * r * phi)
        square = 0.5 * alpha * tau * slope**2
        local = 0.5 * tau * beta * phi**2
        local += np.bincount(a, square * da, total) + np.bincount(b, square * db, total)
        return first, self.energy.gradient(w) + self.change.T @ phi - self.average.T @ local

    def between(self, w: Array) -> Array:
        """The means r of both ends of every interval."""
        return np.asarray(self.average @ w + self.given[1])

    def _faces(self, r: Array, phi: Array) -> tuple[Array, Array, Array, Array]:
        """Mobility theta and slope of phi per face, and d theta / d r on its two sides."""
        ra, rb = r[self.a], r[self.b]
        theta = harmonic(ra, rb)
        slope = (phi[self.b] - phi[self.a]) * self.inverse
        return theta, slope, 0.5 * (theta / ra) ** 2, 0.5 * (theta / rb) ** 2

    def blocks(self, w: Array, phi: Array) -> tuple[csr_array, csr_array, csr_array]:
        """Second derivatives: in w, minus those in phi over tau, and the mixed ones."""
        from scipy.sparse import coo_array, diags_array

        problem, a, b, total = self.problem, self.a, self.b, self.total
        tau, alpha, beta = problem.tau, problem.metric.alpha, problem.metric.beta
        r = self.between(w)
        theta, slope, da, db = self._faces(r, phi)
        # -theta is convex: theta^3 / (2 ra rb) times the square of (dra / ra - drb / rb) per face.
        curvature = 0.5 * alpha * tau * slope**2 * theta**3 / (2 * r[a] * r[b])
        xa, xb = 1 / r[a], -1 / r[b]
        diagonal = np.bincount(a, curvature * xa * xa, total)
        diagonal += np.bincount(b, curvature * xb * xb, total)
        i, j = np.concatenate([a, b]), np.concatenate([b, a])
        mixed = np.tile(curvature * xa * xb, 2)
        local = coo_array((mixed, (i, j)), shape=(total, total)) + diags_array(diagonal)
        rows = self.average.T @ local @ self.average + diags_array(self.energy.hessian(w))
        columns = graph_laplacian(a, b, alpha * theta * self.inverse**2, total)
        columns = columns + diags_array(beta * r)
        columns = columns + diags_array(np.full(total, SHIFT * float(columns.diagonal().max())))
        steep = tau * alpha * slope * self.inverse
        i, j = np.concatenate([a, a, b, b]), np.concatenate([a, b, a, b])
        v = np.concatenate([steep * da, steep * db, -steep * da, -steep * db])
        moving = coo_array((v, (i, j)), shape=(total, total)) - diags_array(tau * beta * phi)
        return rows, columns, self.change + moving @ self.average

    def field(self, values: Array) -> Array:
        """Values of the open cells at some times as a field."""
        out = np.zeros((values.size // self.n, self.problem.cells.grid.size))
        out[:, self.opened] = values.reshape(len(out), self.n)
        return out.reshape(len(out), *self.problem.cells.shape)


def joined(parts: list[Separable]) -> Separable:
    """The sum of functions of one block of weights each."""
    powers = {
        p: np.concatenate([h.powers.get(p, np.zeros(h.n)) for h in parts])
        for p in sorted({p for h in parts for p in h.powers})
    }
    upper = None
    if any(h.upper is not None for h in parts):
        upper = np.concatenate([h.ceiling for h in parts])
    linear = np.concatenate([h.linear for h in parts])
    return Separable(linear, powers, upper, float(sum(h.constant for h in parts)))
