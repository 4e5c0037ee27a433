r"""Plain entropic steps of many atoms: a sparse kernel of the ways up to some length.

Plans use the ways between atoms of distance at most R, and all others at the cost of the longest; R
is what a fixed number of ways allows. In the bound of the bias a way that is left out costs at
least that of length R: where potentials prove that no longer one would pay, R is not seen in it.
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
from jko.solvers.entropic.kernel import Gibbs, Work
from jko.solvers.entropic.ways import Ways
from jko.validation import Array


def paid_ways(problem: ProxProblem) -> tuple[csr_array, float, float]:
    """2 step times what a step pays: for the ways kept, the shortest left out, the longest."""
    geometry = problem.geometry
    assert isinstance(geometry, Wasserstein)
    found = geometry.ground.near(problem.discrete)
    assert found is not None
    ways, reach, longest = found
    price = 2 * problem.step * geometry.paid(geometry.of_cost(1.0), problem.tau)
    costs = csr_array((price * ways.data, ways.indices, ways.indptr), shape=ways.shape)
    return costs, price * reach, price * longest


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
    """exp(-C/eps) for the ways that are kept, plus exp(-L/eps) for every pair, L the longest way.

    By the second part every atom is reached from every other; what goes there is charged L.
    """

    def __init__(
        self, eps: float, work: Work, costs: csr_array, far: float, longest: float
    ) -> None:
        n = costs.shape[0]
        super().__init__(eps, f"{n} atoms", n, work)
        self.costs, self.far, self.longest = costs, far, longest
        self._log = costs.data / -eps
        self._slots: dict[str, LogSparse] = {}

    def _log_apply(self, v: Array, slot: str) -> Array:
        fresh = LogSparse(self._log, self.costs.indices, self.costs.indptr)
        near = self._slots.setdefault(slot, fresh)(v)
        rest = float(np.logaddexp.reduce(v)) - self.longest / self.eps
        return np.asarray(np.logaddexp(near, rest))

    def log_one(self) -> Array:
        return self.remembered(np.zeros(self.size), "one")

    def apply(self, v: Array) -> Array:
        self._counted()
        scaled, top = lifted(v)
        with np.errstate(under="ignore"):
            rest = np.exp(-self.longest / self.eps) * float(scaled.sum())
            return lowered(self._with(np.exp(self._log)) @ scaled + rest, top)

    def cost(self, log_a: Array, log_b: Array) -> float:
        self._counted()
        rows = np.repeat(np.arange(self.size), np.diff(self.costs.indptr))
        with np.errstate(under="ignore"):
            plan = np.exp(log_a[rows] + self._log + log_b[self.costs.indices])
            rest = np.logaddexp.reduce(log_a) + np.logaddexp.reduce(log_b)
            rest = self.longest * np.exp(rest - self.longest / self.eps)
        return float(plan @ self.costs.data) + float(rest)

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
