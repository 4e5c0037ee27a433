r"""Dynamic transport on a grid, discretised: what the splitting minimises.

Densities rho^k = w^k / unit live at the times k tau, k = 0..N, fluxes m on faces and sources zeta
in the intervals between, with r^k = (rho^k + rho^{k+1})/2 and the continuity equation

    (rho^{k+1} - rho^k)/tau + div m^k = zeta^k.

With Y every face flux m/(sqrt(2) alpha^{1/q}) counted in both neighbouring cells, and
zeta/sqrt(beta), the cost is unit times

    tau sum_k sum_cells |Y^k|^p / (p (r^k)^{p-1}) + tau sum_{0<k<N} R(rho^k)
      + (tau/2) (R(rho^0) + R(rho^N)) + E(rho^N),

so that the mobility of a face is the harmonic mean of its cells (p = 2). Formulas Y1 and Y2.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from jko.forms.separable import Separable
from jko.solvers.dynamic.cells import Cells
from jko.validation import Array


@dataclass(frozen=True, eq=False)
class Metric:
    """The action |v|^p / alpha^{p-1} + xi^2/beta; beta = 0 allows no source (p = 2 otherwise)."""

    alpha: float = 1.0
    beta: float = 0.0
    p: float = 2.0

    @property
    def q(self) -> float:
        """The conjugate exponent."""
        return self.p / (self.p - 1)

    @property
    def face(self) -> float:
        """sqrt(2) alpha^{1/q}: a flux over its copies in Y."""
        return float(np.sqrt(2) * self.alpha ** (1 / self.q))


@dataclass(frozen=True, eq=False)
class DynamicProblem:
    """The discrete problem, in densities of mean about 1.

    Attributes
    ----------
    cells : Cells
    metric : Metric
    slices : int
        Number N of intervals.
    duration : float
        N tau.
    unit : float
        Cell mass that density 1 stands for.
    start : array of the grid's shape
    end : array of the grid's shape or None
        None: the end is free.
    running, terminal : Separable or None
        R and E of a density per unit (`in_units`), on the cells in C order.
    """

    cells: Cells
    metric: Metric
    slices: int
    duration: float
    unit: float
    start: Array
    end: Array | None
    running: Separable | None = None
    terminal: Separable | None = None

    @property
    def tau(self) -> float:
        """Length of an interval."""
        return self.duration / self.slices

    @property
    def unknown(self) -> int:
        """Number of times with an unknown density."""
        return self.slices - (self.end is not None)

    @property
    def balanced(self) -> bool:
        """Whether mass is conserved."""
        return self.metric.beta == 0

    @property
    def mass(self) -> float:
        """Mass of the start."""
        return float(self.start.sum())

    @cached_property
    def width(self) -> float:
        """Mean squared distance of the start from its mean."""
        x, w = self.cells.grid.points, self.start.ravel() / self.mass
        return float(w @ ((x - w @ x) ** 2).sum(axis=1))

    @cached_property
    def last(self) -> Separable | None:
        """E + (tau/2) R, what a free end pays."""
        if self.end is not None:
            return None
        parts = [] if self.running is None else [self.running.scaled(self.tau / 2)]
        parts += [] if self.terminal is None else [self.terminal]
        return None if not parts else parts[0] if len(parts) == 1 else parts[0] + parts[1]

    @cached_property
    def fixed_cost(self) -> float:
        """(tau/2) R at the given ends."""
        if self.running is None:
            return 0.0
        ends = [self.start] if self.end is None else [self.start, self.end]
        return self.tau / 2 * float(sum(self.running.value(x.ravel()) for x in ends))

    def full(self, inner: Array) -> Array:
        """All N + 1 densities from the unknown ones."""
        ends = [] if self.end is None else [self.end[None]]
        return np.concatenate([self.start[None], inner, *ends])

    def potential_cost(self, inner: Array) -> float:
        """Everything but the action: the running and terminal costs of the unknown densities."""
        total, stop = self.fixed_cost, self.slices - 1
        if self.running is not None:
            total += self.tau * sum(self.running.value(x.ravel()) for x in inner[:stop])
        if self.last is not None:
            total += self.last.value(inner[-1].ravel())
        return float(total)


def in_units(h: Separable, unit: float) -> Separable:
    """u -> h(unit u)/unit."""
    linear, constant, powers = h.linear, h.constant / unit, {}
    for p, c in h.powers.items():
        powers[p] = c * unit ** (p - 1)
        if p == 1:
            linear = linear + c * np.log(unit)
        if p == 0:
            constant -= float(c.sum()) * np.log(unit) / unit
    upper = None if h.upper is None else h.upper / unit
    return Separable(linear, powers, upper, constant)
