r"""Plain entropic steps of many atoms: a sparse kernel of the ways up to some length.

Plans may use the ways between atoms of distance at most R, the others being closed; R is what a
fixed number of ways allows. Where potentials prove that no longer way would pay, the bound of the
bias knows nothing of R: a way that is left out costs at least that of length R.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from jko.geometries.wasserstein import Wasserstein
from jko.measures.base import Discrete
from jko.numerics.log_sparse import LogSparse
from jko.numerics.products import lifted, lowered
from jko.prox.problem import ProxProblem
from jko.solvers.entropic.costs import CostStep, cost_unit, share_of
from jko.solvers.entropic.gibbs import Gibbs
from jko.solvers.entropic.ways import Ways
from jko.solvers.entropic.work import Work
from jko.validation import Array


def paid_ways(problem: ProxProblem) -> tuple[csr_array, float]:
    """2 step times what a step pays for the ways that are kept, and for the shortest left out."""
    geometry = problem.geometry
    assert isinstance(geometry, Wasserstein)
    found = geometry.ground.near(problem.discrete)
    assert found is not None
    ways, reach = found
    price = 2 * problem.step * geometry.paid(geometry.of_cost(1.0), problem.tau)
    costs = csr_array((price * ways.data, ways.indices, ways.indptr), shape=ways.shape)
    return costs, price * reach


class NearWays(Ways):
    """Costs of the ways that are kept, as c-transforms see them; the others cost `far` at least."""

    def __init__(self, costs: csr_array, far: float) -> None:
        self.costs, self.far = costs, far

    @property
    def span(self) -> float:
        return float(self.costs.data.max(initial=0.0))

    def transform(self, g: Array) -> Array:
        near = np.minimum.reduceat(self.costs.data - g[self.costs.indices], self.costs.indptr[:-1])
        return np.asarray(np.minimum(near, self.far - float(g.max())))

    def back(self, f: Array) -> Array:
        return self.transform(f)  # ways lead in both directions


class NearGibbs(Gibbs):
    """exp(-C/eps) for the ways that are kept."""

    def __init__(self, eps: float, work: Work, costs: csr_array, far: float) -> None:
        n = costs.shape[0]
        super().__init__(eps, f"{n} atoms", n, work)
        self.costs, self.far = costs, far
        self._log = costs.data / -eps
        self._slots: dict[str, LogSparse] = {}

    def _log_apply(self, v: Array, slot: str) -> Array:
        fresh = LogSparse(self._log, self.costs.indices, self.costs.indptr)
        return self._slots.setdefault(slot, fresh)(v)

    def log_one(self) -> Array:
        return self.remembered(np.zeros(self.size), "one")

    def apply(self, v: Array) -> Array:
        self._counted()
        scaled, top = lifted(v)
        with np.errstate(under="ignore"):
            return lowered(self._with(np.exp(self._log)) @ scaled, top)

    def cost(self, log_a: Array, log_b: Array) -> float:
        self._counted()
        rows = np.repeat(np.arange(self.size), np.diff(self.costs.indptr))
        with np.errstate(under="ignore"):
            plan = np.exp(log_a[rows] + self._log + log_b[self.costs.indices])
        return float(plan @ self.costs.data)

    def ways(self, unit: float) -> NearWays:
        """The costs over `unit`."""
        return NearWays(self._with(self.costs.data / unit), self.far / unit)

    def _with(self, data: Array) -> csr_array:
        return csr_array((data, self.costs.indices, self.costs.indptr), shape=self.costs.shape)


@dataclass(frozen=True, eq=False)
class NearStep(CostStep):
    """The plain entropic step whose plans use the ways that are kept."""

    def __post_init__(self) -> None:
        assert isinstance(self.problem, ProxProblem)
        kernel = NearGibbs(self.eps, self.work, *paid_ways(self.problem))
        object.__setattr__(self, "kernel", kernel)

    @property
    def stays(self) -> Array:
        return np.zeros(self.previous.n)

    def exact_cost(self, nu: Discrete) -> float:
        raise AssertionError("between so many atoms the cost of the entropic plan is taken")


def near_reg(problem: ProxProblem) -> float:
    """A share of what leaving an atom for the nearest one costs, on the median."""
    costs = paid_ways(problem)[0]
    least = np.minimum.reduceat(np.where(costs.data > 0, costs.data, np.inf), costs.indptr[:-1])
    return share_of(least[problem.discrete.weights > 0] / cost_unit(problem))
