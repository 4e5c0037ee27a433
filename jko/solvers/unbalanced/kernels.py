r"""The kernel exp(-c/eps) of steps with sources, between a support and the atoms of m'.

c = -2 log cos is infinite from the cut on, so that the kernel is radial and of compact reach. On
grids with one or two axes it is applied as such (`jko.numerics.radial`), whatever their size; on
scattered atoms and smaller grids it is a dense matrix into which potentials are absorbed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from jko.measures.grid import GridDensity
from jko.numerics.log_matrix import LogMatrix
from jko.numerics.radial import RadialProducts
from jko.solvers.unbalanced.cone import ConeStep
from jko.validation import Array


@dataclass(frozen=True, eq=False)
class ConePlan:
    """The best plan for weights w and a potential psi of m': g = diag(a) K diag(b).

    Attributes
    ----------
    log_w, log_smooth : (n,) arrays
        log w and log A.
    phi : (n,) array
        Potential of the first marginal, g1 = w e^{-phi}; 0 at empty atoms.
    psi, log_g2 : (m,) arrays
        Potential of m' and log of the second marginal, over the atoms of m'.
    """

    log_w: Array
    log_smooth: Array
    phi: Array
    psi: Array
    log_g2: Array


class ConeKernel(ABC):
    """K = exp(-c/eps); n atoms of the support, m of m'.

    Attributes
    ----------
    count : int
        Products so far.
    """

    def __init__(self) -> None:
        self.count = 0

    @abstractmethod
    def forward(self, v: Array) -> Array:
        """log K e^v (n,) for v (m,)."""

    @abstractmethod
    def backward(self, u: Array) -> Array:
        """log K'e^u (m,) for u (n,)."""

    @abstractmethod
    def among(self, v: Array) -> Array:
        """The rows of `forward` at the atoms of m' (m,)."""

    @abstractmethod
    def ones(self) -> Array:
        """log K1 (n,), over the whole support."""

    @abstractmethod
    def paid(self, log_a: Array, log_b: Array) -> float:
        """<c, g> of the plan g = diag(a) K diag(b), log a (n,), log b (m,)."""


def cone_kernel(cone: ConeStep, eps: float) -> ConeKernel:
    """Radial on large grids, dense elsewhere."""
    return GridCone(cone, eps) if cone.radial else DenseCone(cone, eps)


class DenseCone(ConeKernel):
    """Matrices."""

    def __init__(self, cone: ConeStep, eps: float) -> None:
        super().__init__()
        self.cone, self.eps = cone, eps
        self.log_entries = cone.cost / -eps
        self._forward = LogMatrix(self.log_entries)
        self._backward = LogMatrix(np.ascontiguousarray(self.log_entries.T))
        self._among = LogMatrix(self.log_entries[cone.charged])

    def forward(self, v: Array) -> Array:
        self.count += 1
        return self._forward(v)

    def backward(self, u: Array) -> Array:
        self.count += 1
        return self._backward(u)

    def among(self, v: Array) -> Array:
        self.count += 1
        return self._among(v)

    def ones(self) -> Array:
        x = self.cone.previous.points
        every = LogMatrix(self.cone.geometry.cost(x, x) / -self.eps)
        return every(np.zeros(len(x)))

    def paid(self, log_a: Array, log_b: Array) -> float:
        cost = self.cone.cost
        near = np.isfinite(cost)
        with np.errstate(under="ignore", over="ignore", invalid="ignore"):
            shares = np.exp(log_a[:, None] + self.log_entries + log_b)
        return float((np.where(near, cost, 0.0) * shares)[near].sum())


class GridCone(ConeKernel):
    """Products of a radial kernel; both sides live on all cells, the second on those of m'."""

    def __init__(self, cone: ConeStep, eps: float) -> None:
        super().__init__()
        assert isinstance(cone.previous, GridDensity)
        grid = cone.previous.grid
        self.charged, self.size, self.eps = cone.charged, grid.size, eps
        spacing = tuple(float(h) for h in grid.spacing)
        self.kernel = RadialProducts(grid.shape, spacing, lambda x: cone.away(x) / eps)

    @property
    def _shape(self) -> tuple[int, ...]:
        return self.kernel.shape

    def _log_apply(self, v: Array) -> Array:
        self.count += 1
        return self.kernel.log_apply(v.reshape(self._shape)).ravel()

    def _spread(self, v: Array) -> Array:
        out = np.full(self.size, -np.inf)
        out[self.charged] = v
        return out

    def forward(self, v: Array) -> Array:
        return self._log_apply(self._spread(v))

    def backward(self, u: Array) -> Array:
        return self._log_apply(u)[self.charged]

    def among(self, v: Array) -> Array:
        return self.forward(v)[self.charged]

    def ones(self) -> Array:
        return self._log_apply(np.zeros(self.size))

    def paid(self, log_a: Array, log_b: Array) -> float:
        spread = self._spread(log_b)
        shaped = (log_a.reshape(self._shape), spread.reshape(self._shape))
        return self.eps * self.kernel.paid(*shaped)
