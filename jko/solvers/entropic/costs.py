r"""Entropic steps whose cost is not |x-y|^2: powers, matrices, functions, graphs (formula Y2).

With C the cost of the geometry and its penalty T_C/(p tau^{p-1}), or T_C/(2 tau) for costs that are
no power of a distance, the plain step is that of |x-y|^2 with another kernel, K = exp(-C/reg). To
share its code the penalty is written as T/(2 tau) with T the cost times `unit`, and eps = reg unit.
K need not be symmetric: rows are atoms of the previous measure, columns those of the new one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jko.geometries.wasserstein import Wasserstein
from jko.measures.base import Discrete
from jko.numerics.log_matrix import LogMatrix
from jko.prox.problem import ProxProblem
from jko.solvers.entropic.gibbs import DenseGibbs
from jko.solvers.entropic.kernel import Work
from jko.solvers.entropic.stated import EntropicPlan, EntropicStep
from jko.validation import Array, Mask

#: Default reg, as a share of the median least cost of leaving an atom: atoms mean themselves, and
#: a larger one would spread their mass over neighbours. Newton's method is needed below.
SHARE = 0.1


def cost_unit(problem: ProxProblem) -> float:
    """What the geometry's cost is multiplied by so that a step pays it over 2 step."""
    geometry = problem.geometry
    assert isinstance(geometry, Wasserstein)
    p = geometry.p if geometry.is_power else 2.0
    return float(2 * problem.step ** (2 - p) / p)


def paid_costs(problem: ProxProblem) -> Array:
    """2 step times what a step pays from atom to atom (n, n); a wall's worth where none can go."""
    geometry, mu = problem.geometry, problem.discrete
    assert isinstance(geometry, Wasserstein)
    rows = np.flatnonzero(mu.weights > 0)
    columns = np.flatnonzero(problem.form.separable.ceiling > 0)
    costs = 2 * problem.step * geometry.step_cost(mu, problem.tau, rows, columns)
    out = np.full((mu.n, mu.n), float(costs.max(initial=0.0)))
    out[np.ix_(rows, columns)] = costs
    return out


def default_reg(problem: ProxProblem) -> float:
    """A share of what leaving an atom for the nearest one costs, on the median."""
    costs = paid_costs(problem)[problem.discrete.weights > 0]
    return share_of(np.where(costs > 0, costs, np.inf).min(axis=1) / cost_unit(problem))


def share_of(least: Array) -> float:
    """The default reg, from the least costs of leaving an atom; inf where none can be left."""
    least = least[np.isfinite(least)]
    return SHARE * float(np.median(least)) if least.size else 1.0


class CostGibbs(DenseGibbs):
    """exp(-C/eps) for any costs (n, n), from rows to columns; slot "a" is the transposed kernel."""

    def __init__(self, points: Array, eps: float, work: Work, costs: Array) -> None:
        super().__init__(points, eps, work, costs)
        self._back = LogMatrix(np.ascontiguousarray(self._log.T))

    def _log_apply(self, v: Array, slot: str) -> Array:
        return self._back(v) if slot == "a" else super()._log_apply(v, slot)


@dataclass(frozen=True, eq=False)
class CostStep(EntropicStep):
    """The plain entropic step with the cost of the geometry."""

    def __post_init__(self) -> None:
        assert isinstance(self.problem, ProxProblem)
        costs = paid_costs(self.problem)
        object.__setattr__(
            self, "kernel", CostGibbs(self.previous.points, self.eps, self.work, costs)
        )

    @property
    def reg(self) -> float:
        assert isinstance(self.problem, ProxProblem)
        return self.eps / cost_unit(self.problem)

    @property
    def costs(self) -> Array:
        """What moving costs from row to column, over 2 step (n, n)."""
        assert isinstance(self.kernel, CostGibbs)
        return self.kernel.squared

    @property
    def span(self) -> float:
        return float(self.costs.max(initial=0.0))

    @property
    def smooth_previous(self) -> Array:
        """0: the soft transform of log b is the potential."""
        return np.zeros(self.previous.n)

    @property
    def stays(self) -> Array:
        """What staying costs (n,)."""
        return np.diag(self.costs)

    def at_rest(self) -> float:
        """F(m') and what the plan that leaves every atom where it is costs."""
        m = self.previous.weights
        stays = float(m @ self.stays) + self.eps * float(
            (m * (np.where(m > 0, self.log_m, 0.0) - 1)).sum()
        )
        return self.form.value(m) + stays / (2 * self.problem.step)

    def log_block(self, rows: Mask, columns: Mask) -> Array:
        return np.asarray(self.costs[np.ix_(rows, columns)] / -self.eps)

    def exact_cost(self, nu: Discrete) -> float:
        assert isinstance(self.problem, ProxProblem)
        paid = self.problem.geometry.sqdistance(self.previous, nu)
        return 2 * self.problem.step * self.problem.geometry.paid(paid, self.problem.tau)

    def sqdistance(self, plan: EntropicPlan, cost: float | None) -> float:
        """D^2 of a plan's marginal, from the cost of a sharp plan where there is one."""
        problem = self.problem
        assert isinstance(problem, ProxProblem)
        assert isinstance(problem.geometry, Wasserstein)
        carried = self.kernel.cost(plan.log_a, plan.log_b) if cost is None else cost
        return problem.geometry.of_cost(max(carried, 0.0) / cost_unit(problem))
