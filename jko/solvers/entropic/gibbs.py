r"""Gibbs kernels K = exp(-|x-y|^2 / eps) of a fixed support, applied in the log domain.

Entropic steps only ever need log(K e^v). On grids K is a product over the axes: it is applied in
the exponential domain after one shift; where that underflows without the quadratic part of the
argument (`jko.numerics.tilted`), or line by line (`jko.numerics.log_lines`). On scattered points
the potentials are absorbed into a dense matrix, so that most products are plain matrix-vector
products (`jko.numerics.log_matrix`).
"""

from __future__ import annotations

import math
from functools import cache, cached_property

import numpy as np

from jko.errors import Unsupported
from jko.measures.base import Discrete
from jko.measures.grid import Grid, GridDensity
from jko.numerics.log_lines import LineKernel
from jko.numerics.log_matrix import LogMatrix
from jko.numerics.products import (
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
from jko.numerics.tilted import Tilted
from jko.solvers.entropic.kernel import EntropicPlan, Gibbs, Work
from jko.solvers.entropic.regularisation import DENSE_LIMIT
from jko.solvers.entropic.ways import DenseWays, Ways
from jko.validation import Array

#: Relative error that leaving out far entries of a kernel may cause, and room (in log) for the
#: next product to be steeper than this one before its band is too narrow.
LEFT_OUT = 1e-15
ROOM = 2.0


def gibbs(support: Discrete, eps: float, work: Work | None = None) -> Gibbs:
    """The kernel of a support: separable on a grid, dense elsewhere; `work` counts its products."""
    if isinstance(support, GridDensity):
        return GridGibbs(support.grid, eps, work)
    return DenseGibbs(support.points, eps, work)


class GridGibbs(Gibbs):
    """Axis by axis on a grid: O(n sum n_k) operations, nothing of size n x n."""

    def __init__(self, grid: Grid, eps: float, work: Work | None = None) -> None:
        super().__init__(eps, "x".join(str(n) for n in grid.shape), grid.size, work)
        if grid.mask is not None:
            raise Unsupported(
                "a separable kernel goes through obstacles; use jko.solvers.FiniteVolume"
            )
        self.grid = grid
        self._reach: dict[str, float] = {}  # what the last product of a slot needed, in log
        self._bent: dict[str, Tilted] = {}  # what made the last steep argument of a slot flat
        # How often in a row nothing did: it is tried again after 1, 2, 4, ... of them.
        self._steep: dict[str, int] = {}
        self._one: Array | None = None
        line = cache(LineKernel)  # equal axes share theirs
        self._lines = [
            line(n, float(h), eps, periodic)
            for n, h, periodic in zip(grid.shape, grid.spacing, grid.periodic, strict=True)
        ]
        least = np.log(grid.dim / LEFT_OUT)  # no result is above the sum of the values
        self._banded = any(line.narrows(least) for line in self._lines)

    def _log_apply(self, v: Array, slot: str) -> Array:
        return self._product(v, -1, slot)

    def plan(self, m: Array, log_m: Array, log_b: Array) -> EntropicPlan:
        """The same, a quotient instead of logarithms between two products that are safe."""
        top = float(log_b.max())
        if top == -np.inf or "b" in self._bent or "a" in self._bent:
            return super().plan(m, log_m, log_b)
        reached = self._safe(exp_scaled(log_b, top), -1, "b")
        if reached is None:
            return super().plan(m, log_m, log_b)
        self._counted()
        found = cache(lambda: log_scaled(reached, top))
        self._last["b"] = log_b, found
        a = np.multiply(reached, 1 / LIFT)
        np.divide(m, a, out=a)
        high, out = float(a.max()), None
        if 0 < high < 1 / SAFE:
            a *= LIFT / high
            out = self._safe(without_faint(a), -1, "a")
        if out is None:
            log_a = log_m - found()
            return EntropicPlan(lambda: log_a, log_b, self.log_apply(log_a, "a"))
        self._counted()
        log_s = log_scaled(out, math.log(high) - top)
        return EntropicPlan(lambda: log_m - found(), log_b, log_s)

    def apply(self, v: Array) -> Array:
        self._counted()
        scaled, top = lifted(v)
        out = self._contracted(scaled.reshape(self.grid.shape), -1)
        return lowered(out.ravel(), top)

    def cost(self, log_a: Array, log_b: Array) -> float:
        total = 0.0
        for k, cells in enumerate(self.grid.shape):
            if cells > 1:
                self._counted()
                total += self.eps * float(np.exp(self._product(log_a, k) + log_b).sum())
        return total

    def log_one(self) -> Array:
        if self._one is None:
            sums = np.zeros(self.grid.shape)
            for k, line in enumerate(self._lines):
                shape = [1] * self.grid.dim
                shape[k] = line.n
                sums = sums + np.log(line.gram.sum(axis=0)).reshape(shape)
            self._one = sums.ravel()
        return self._one

    def _product(self, v: Array, squared: int, slot: str = "") -> Array:
        """log of the tensor product applied to e^v; axis `squared` carries |x-y|^2/eps."""
        top = float(v.max())
        if top == -np.inf:
            return np.full(v.shape, -np.inf)
        if slot not in self._bent:
            out = self._safe(exp_scaled(v, top), squared, slot)
            if out is not None:
                return log_scaled(out, top)
        with np.errstate(under="ignore", divide="ignore"):
            flattened = self._flattened(v, slot) if squared < 0 else None
            return self._by_lines(v, squared) if flattened is None else flattened

    def _flattened(self, v: Array, slot: str) -> Array | None:
        """The product of a steep argument without its quadratic part, None where that is steep."""
        failed = self._steep.get(slot, 0)
        if any(self.grid.periodic) or failed & (failed - 1):
            self._steep[slot] = failed + 1
            return None
        shaped, tilted = v.reshape(self.grid.shape), self._bent.pop(slot, None)
        found = None if tilted is None else tilted.product(shaped)
        if found is None:
            tilted = Tilted.of(shaped, self._lines)
            found = None if tilted is None else tilted.product(shaped)
        if found is None or tilted is None:
            self._steep[slot] = failed + 1
            return None
        self._steep[slot] = 0
        if slot:
            self._bent[slot] = tilted
        return found.ravel()

    def _safe(self, scaled: Array, squared: int, slot: str) -> Array | None:
        """The product of scaled values (n,), None where it may have lost what matters."""
        shaped = scaled.reshape(self.grid.shape)
        if squared < 0 and self._banded:
            out, least = self._narrow(shaped, slot)
        else:
            out = self._contracted(shaped, squared)
            least = float(out.min())
        return out.ravel() if least > SAFE * LIFT else None

    def _narrow(self, scaled: Array, slot: str) -> tuple[Array, float]:
        """The tensor product with as narrow a kernel as the result allows, and its least entry.

        Leaving out entries below e^-reach changes results by at most e^-reach times the sum of the
        values, along every axis: how far the least result is below that sum says what is needed.
        """
        total, wide = float(scaled.sum()), self._reach.get(slot, np.inf)
        while True:
            out = self._contracted(scaled, -1, wide)
            least, needed = float(out.min()), np.inf
            if least > 0:
                needed = math.log(total / least) + math.log(out.ndim / LEFT_OUT)
            self._reach[slot] = needed + ROOM
            if needed <= wide:
                return out, least
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
    """Scattered points: a dense matrix into which potentials are absorbed, one for each slot."""

    def __init__(
        self, points: Array, eps: float, work: Work | None = None, costs: Array | None = None
    ) -> None:
        n = points.shape[0]
        super().__init__(eps, f"{n} atoms", n, work)
        if n > DENSE_LIMIT:
            raise Unsupported(
                f"a dense Gibbs kernel between {n} scattered points is too large (limit"
                f" {DENSE_LIMIT}); use a jko.GridDensity, or fewer points"
            )
        self.points = points
        if costs is None:
            costs = np.zeros((n, n))
            for x in points.T:
                costs += (x[:, None] - x[None]) ** 2
        self._log = costs / -eps
        self._slots: dict[str, LogMatrix] = {}

    def _log_apply(self, v: Array, slot: str) -> Array:
        return self._slots.setdefault(slot, LogMatrix(self._log))(v)

    def log_one(self) -> Array:
        return self.remembered(np.zeros(len(self.points)), "one")

    def apply(self, v: Array) -> Array:
        self._counted()
        scaled, top = lifted(v)
        return lowered(product(self._gram, scaled), top)

    @property
    def squared(self) -> Array:
        """The costs, |x_i - x_j|^2 unless others were given (n, n)."""
        return -self.eps * self._log

    def ways(self, unit: float) -> Ways:
        return DenseWays(self.squared / unit)

    @cached_property
    def _gram(self) -> Array:
        with np.errstate(under="ignore"):
            return without_tiny(np.asarray(np.exp(self._log)))

    def cost(self, log_a: Array, log_b: Array) -> float:
        self._counted()
        with np.errstate(under="ignore"):
            plan = np.exp(log_a[:, None] + self._log + log_b)
        return -self.eps * float((plan * self._log).sum())
