r"""Gibbs kernels K = exp(-|x-y|^2 / eps) of a fixed support, applied in the log domain.

Entropic steps only ever need log(K e^v). On grids K is a product over the axes: it is applied in
the exponential domain after one shift, and line by line (`jko.numerics.log_lines`) where that
underflows. On scattered points the potentials are absorbed into a dense matrix, so that most
products are plain matrix-vector products.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property

import numpy as np

from jko.errors import Unsupported
from jko.measures.base import Discrete
from jko.measures.grid import Grid, GridDensity
from jko.numerics.log_lines import LineKernel
from jko.numerics.normal import (
    LIFT,
    SAFE,
    exp_scaled,
    lifted,
    log_scaled,
    lowered,
    product,
    without_faint,
    without_tiny,
)
from jko.validation import Array

#: Potentials may drift this far (in log) from those absorbed into a dense kernel.
DRIFT = 60.0
#: Relative error that leaving out far entries of a kernel may cause, and room (in log) for the
#: next product to be steeper than this one before its band is too narrow.
LEFT_OUT, ROOM = 1e-15, 2.0
#: Entries of a dense kernel below this cannot matter beside rows whose sum is 1, drift included.
LEAST_ENTRY = 1e-250
#: A dense kernel keeps up to six (n, n) matrices: 134 MB each at this size.
DENSE_LIMIT = 4096


class Gibbs(ABC):
    """The symmetric matrix exp(-|x_i - x_j|^2 / eps) over a fixed support of n atoms.

    Attributes
    ----------
    eps : float
    count : int
        Number of kernel applications so far: the cost of everything built on it.
    """

    def __init__(self, eps: float) -> None:
        self.eps = eps
        self.count = 0

    @abstractmethod
    def log_apply(self, v: Array, slot: str = "") -> Array:
        """log(K e^v) for v (n,), entries -inf allowed; `slot` names the role of v (a cache)."""

    @abstractmethod
    def apply(self, v: Array) -> Array:
        """K v for v (n,) of any sign."""

    @abstractmethod
    def cost(self, log_a: Array, log_b: Array) -> float:
        """<C, P> of the plan P = diag(a) K diag(b), C the squared distances."""

    @abstractmethod
    def displacement(self, log_a: Array, log_sum: Array | None = None) -> Array:
        """Barycentric map minus identity (n, d): sum_j K_ij a_j (x_j - x_i) / (K a)_i.

        `log_sum` is log(K a), where it is known.
        """


def gibbs(support: Discrete, eps: float) -> Gibbs:
    """The kernel of a support: separable on a grid, dense elsewhere."""
    if isinstance(support, GridDensity):
        return GridGibbs(support.grid, eps)
    return DenseGibbs(support.points, eps)


class GridGibbs(Gibbs):
    """Axis by axis on a grid: O(n sum n_k) operations, nothing of size n x n."""

    def __init__(self, grid: Grid, eps: float) -> None:
        super().__init__(eps)
        if grid.mask is not None:
            raise Unsupported(
                "a separable kernel goes through obstacles; use jko.solvers.FiniteVolume"
            )
        self.grid = grid
        self._reach: dict[str, float] = {}  # what the last product of a slot needed, in log
        self._lines = [
            LineKernel(n, float(h), eps, periodic)
            for n, h, periodic in zip(grid.shape, grid.spacing, grid.periodic, strict=True)
        ]

    def log_apply(self, v: Array, slot: str = "") -> Array:
        self.count += 1
        return self._product(v, -1, slot)

    def apply(self, v: Array) -> Array:
        self.count += 1
        scaled, top = lifted(v)
        out = self._contracted(scaled.reshape(self.grid.shape), -1)
        return lowered(out.ravel(), top)

    def cost(self, log_a: Array, log_b: Array) -> float:
        total = 0.0
        for k, cells in enumerate(self.grid.shape):
            if cells > 1:
                self.count += 1
                total += self.eps * float(np.exp(self._product(log_a, k) + log_b).sum())
        return total

    def displacement(self, log_a: Array, log_sum: Array | None = None) -> Array:
        base = self.log_apply(log_a) if log_sum is None else log_sum
        if any(self.grid.periodic):  # there are no coordinates to average: (eps/2) grad log(K a)
            return 0.5 * self.eps * self.gradient(base)
        out = np.zeros((log_a.size, self.grid.dim))
        for k, x in enumerate(self.grid.axes):
            if x.size == 1:
                continue
            # Measured from one cell outside the box the coordinates are positive.
            place = self.grid.points[:, k] - (2 * x[0] - x[1])
            moment = self.log_apply(log_a + np.log(place))
            out[:, k] = np.exp(moment - base) - place
        return out

    def gradient(self, field: Array) -> Array:
        """Central differences (n, d) of a function (n,) on the cells; one-sided at walls."""
        values = field.reshape(self.grid.shape)
        out = np.zeros((field.size, self.grid.dim))
        for k, h in enumerate(self.grid.spacing):
            if self.grid.periodic[k]:
                rise = (np.roll(values, -1, k) - np.roll(values, 1, k)) / (2 * h)
            elif self.grid.shape[k] > 1:
                rise = np.gradient(values, h, axis=k)
            else:
                continue
            out[:, k] = rise.ravel()
        return out

    def _product(self, v: Array, squared: int, slot: str = "") -> Array:
        """log of the tensor product applied to e^v; axis `squared` carries |x-y|^2/eps."""
        top = float(v.max())
        if top == -np.inf:
            return np.full(v.shape, -np.inf)
        scaled = exp_scaled(v - top).reshape(self.grid.shape)
        out = self._narrow(scaled, slot) if squared < 0 else self._contracted(scaled, squared)
        if out.min() > SAFE * LIFT:
            return log_scaled(out).ravel() + top
        with np.errstate(under="ignore", divide="ignore"):
            return self._by_lines(v, squared)

    def _narrow(self, scaled: Array, slot: str) -> Array:
        """The tensor product with as narrow a kernel as the result allows.

        Leaving out entries below e^-reach changes results by at most e^-reach times the sum of the
        values, along every axis: how far the least result is below that sum says what is needed.
        """
        total, wide = float(scaled.sum()), self._reach.get(slot, np.inf)
        while True:
            out = self._contracted(scaled, -1, wide)
            least = float(out.min())
            needed = np.log(total / least) + np.log(out.ndim / LEFT_OUT) if least > 0 else np.inf
            self._reach[slot] = float(needed) + ROOM
            if needed <= wide:
                return out
            wide = self._reach[slot]

    def _contracted(self, out: Array, squared: int, reach: float = np.inf) -> Array:
        """The tensor product applied to scaled values on the grid."""
        for k, line in enumerate(self._lines):
            # Contracting the first axis puts the result last: after d rounds all is in place.
            rest = out.shape[1:]
            rows = out.reshape(line.n, -1)
            out = line.contract(rows, k == squared, reach).reshape(*rest, line.n)
            if k + 1 < len(self._lines):
                without_faint(out)
        return out

    def _by_lines(self, v: Array, squared: int) -> Array:
        out = v.reshape(self.grid.shape)
        for k, line in enumerate(self._lines):
            rows = np.moveaxis(out, 0, -1)
            done = line.log_apply(rows.reshape(-1, line.n), k == squared)
            out = done.reshape(rows.shape)
        return out.ravel()


class DenseGibbs(Gibbs):
    """Scattered points: a dense matrix into which potentials are absorbed.

    For each role (`slot`) the rows of exp(-C/eps + alpha) are normalised, beta being the log of
    their sums; then log(K e^v) = beta + log(A e^{v - alpha}) is a matrix-vector product as long as
    v stays within DRIFT of alpha. It is absorbed anew when it does not.
    """

    def __init__(self, points: Array, eps: float) -> None:
        super().__init__(eps)
        n = points.shape[0]
        if n > DENSE_LIMIT:
            raise Unsupported(
                f"a dense Gibbs kernel between {n} scattered points is too large (limit"
                f" {DENSE_LIMIT}); use a jko.GridDensity, or fewer points"
            )
        self.points = points
        gap = np.zeros((n, n))
        for x in points.T:
            gap += (x[:, None] - x[None]) ** 2
        self._log = gap / -eps
        self._slots: dict[str, tuple[Array, Array, Array]] = {}

    def log_apply(self, v: Array, slot: str = "") -> Array:
        self.count += 1
        if slot in self._slots:
            alpha, beta, matrix = self._slots[slot]
            drift = _drift(v, alpha)
            if drift is not None:
                return np.asarray(beta + np.log(product(matrix, np.exp(drift))))
        with np.errstate(under="ignore"):
            work = self._log + v
            top = work.max(axis=1, keepdims=True)
            if not np.isfinite(top).all():
                return np.full(v.shape, -np.inf)
            np.exp(np.subtract(work, top, out=work), out=work)
            total = work.sum(axis=1, keepdims=True)
            beta = np.asarray((top + np.log(total))[:, 0])
            work /= total
            work[work < LEAST_ENTRY] = 0.0
        self._slots[slot] = (v.copy(), beta, work)
        return beta

    def apply(self, v: Array) -> Array:
        self.count += 1
        scaled, top = lifted(v)
        return lowered(product(self._gram, scaled), top)

    @property
    def squared(self) -> Array:
        """|x_i - x_j|^2 (n, n)."""
        return -self.eps * self._log

    @cached_property
    def _gram(self) -> Array:
        with np.errstate(under="ignore"):
            return without_tiny(np.asarray(np.exp(self._log)))

    def _plan(self, log_a: Array, log_b: Array) -> Array:
        self.count += 1
        with np.errstate(under="ignore"):
            return np.exp(log_a[:, None] + self._log + log_b)

    def cost(self, log_a: Array, log_b: Array) -> float:
        return -self.eps * float((self._plan(log_a, log_b) * self._log).sum())

    def displacement(self, log_a: Array, log_sum: Array | None = None) -> Array:
        base = self.log_apply(log_a) if log_sum is None else log_sum
        share = self._plan(-base, log_a)
        return np.asarray(share @ self.points - self.points)


def _drift(v: Array, alpha: Array) -> Array | None:
    """v - alpha when every charged entry is within DRIFT and no new one appears, else None."""
    charged = np.isfinite(v)
    if (charged & ~np.isfinite(alpha)).any():
        return None
    out = np.full(v.shape, -np.inf)
    out[charged] = v[charged] - alpha[charged]
    if charged.all() or (np.isfinite(alpha) == charged).all():
        return out if np.abs(out[charged]).max() <= DRIFT else None
    return None
