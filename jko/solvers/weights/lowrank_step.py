"""MMD steps of many atoms on one low-rank factor: linear cost, and an error that counts.

One pivoted Cholesky of the atoms x of the measure and y of the targets, K = L L' + E with E
positive semidefinite. All products go through L: K_xx w = L_x L_x' w, K_xy b = L_x L_y' b,
b'K_yy b = |L_y' b|^2. The objective P of the kernel exceeds the one P_L of the factor by

    P(w) - P_L(w) = sum_t c_t/2 |(w, -b_t)|_E^2 + |w - w'|_E^2 / (2 step) >= 0,

so that P(w) - min P <= P_L(w) - min P_L + that, and |E_ij| <= sqrt(E_ii E_jj) bounds it by
|v|_E^2 <= (sum_i |v_i| sqrt E_ii)^2. In the worst case, at equal masses m, this is
delta (2 C + 2/step) m^2, delta = max E_ii and C = sum c_t.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np

from jko.energies.base import Energy
from jko.energies.mmd import MMDEnergy
from jko.forms.form import Quadratic, WeightForm
from jko.forms.separable import Separable
from jko.geometries.mmd import MMD
from jko.kernels import pivoted_cholesky
from jko.kernels.lowrank_operator import LowRankOperator
from jko.measures.base import Discrete
from jko.measures.grid import GridDensity
from jko.numerics.elementary import EPS
from jko.prox.problem import ProxProblem
from jko.solvers.weights.stated import QuadraticStep
from jko.validation import Array

#: From this many atoms on, those of the targets included, no product with K itself is formed.
LARGE = 16_000
#: Entries of the factor: 1 GB. More columns than fit are not computed, and the gap says so.
ENTRIES = 1.25e8
#: Share of the tolerance that the factor may use up.
SHARE = 0.75


@dataclass(frozen=True, eq=False)
class Factored:
    """A step on a factor.

    Attributes
    ----------
    step : QuadraticStep
    rows : array (r, n)
        Transpose of L_x.
    error : float
        delta, the largest diagonal entry of E.
    wanted : float
        The delta that the tolerance asks for; `error` exceeds it when the columns ran out.
    """

    step: QuadraticStep
    rows: Array
    error: float
    wanted: float

    @property
    def remark(self) -> str:
        """A sentence when the columns ran out."""
        if self.error <= self.wanted:
            return ""
        return (
            f"the kernel matrix is not of low rank: {len(self.rows)} columns leave an error of"
            f" {self.error:.1e} where the tolerance needs {self.wanted:.1e}; loosen tol, use fewer"
            " points or a smoother kernel"
        )


def _leading_columns(rows: Array, n: int) -> Array:
    """The first n columns as a contiguous array, in the memory of `rows`, which is used up.

    A copy of hundreds of megabytes would cost as much as the iterations that follow.
    """
    flat = rows.reshape(-1)
    for i in range(len(rows)):
        flat[i * n : (i + 1) * n] = rows[i, :n]
    return flat[: len(rows) * n].reshape(len(rows), n)


def is_large(problem: ProxProblem) -> bool:
    """Whether the step has too many scattered atoms for products with the kernel matrix."""
    previous, geometry = problem.previous, problem.geometry
    if not isinstance(geometry, MMD) or isinstance(previous, GridDensity):
        return False
    targets = _targets(problem)
    same = all(t.kernel == geometry.kernel for _, t in targets)
    count = problem.discrete.n + sum(
        t.target.n for _, t in targets if isinstance(t.target, Discrete)
    )
    return bool(targets) and same and count > LARGE


def factored(problem: ProxProblem, tol: float) -> Factored:
    """The step on a factor whose error takes `SHARE` of the tolerance at most."""
    previous, targets = problem.discrete, _targets(problem)
    kernel = problem.metric_kernel.positive_about(previous.points)
    atoms = [t.target for _, t in targets if isinstance(t.target, Discrete)]
    points = np.concatenate([previous.points, *(a.points for a in atoms)])
    mass = max([previous.mass, *(t.target.mass for _, t in targets)])
    wanted = SHARE * tol / (2 * (sum(c for c, _ in targets) + 1 / problem.step) * mass**2)
    low = pivoted_cholesky(kernel, points, wanted, max_rank=max(1, int(ENTRIES / len(points))))
    rounding = 16 * EPS * kernel.diagonal(points)
    spread = np.sqrt(low.residual_diagonal + rounding)
    means, position = [], previous.n
    for atom in atoms:
        part = slice(position, position + atom.n)
        position += atom.n
        means.append((low.factor.T[:, part] @ atom.weights, float(spread[part] @ atom.weights)))
    rows = _leading_columns(low.factor.T, previous.n)
    operator = LowRankOperator(kernel, previous.points, rows)
    forms, bounds = [], []
    for c, term in targets:
        target = term.target
        if isinstance(target, Discrete):
            mean, bound = means.pop(0)
            pull, constant = mean @ rows, 0.5 * float(mean @ mean)
            bounds.append((c, bound))
        else:  # closed forms, exact
            pull = kernel.embed(target, previous.points)
            constant = 0.5 * kernel.inner(target, target)
            bounds.append((c, 0.0))
        separable = Separable(-pull, {}, None, constant)
        forms.append(WeightForm(separable, (Quadratic(kernel, operator),)).scaled(c))
    forms += [t.restrict(previous).scaled(c) for c, t in _others(problem)]
    excess = _Excess(spread[: previous.n].copy(), previous.weights, tuple(bounds), problem.step)
    step = QuadraticStep(problem, reduce(add, forms), operator, excess)
    return Factored(step, rows, low.error, wanted)


@dataclass(frozen=True, eq=False)
class _Excess:
    """The bound of P(w) - P_L(w): `spread` is sqrt E_ii, `bounds` hold c_t and b_t'sqrt E_ii."""

    spread: Array
    before: Array
    bounds: tuple[tuple[float, float], ...]
    step: float

    def __call__(self, w: Array) -> float:
        own = float(self.spread @ w)
        moved = float(self.spread @ np.abs(w - self.before))
        return sum(c / 2 * (own + b) ** 2 for c, b in self.bounds) + moved**2 / (2 * self.step)


def _targets(problem: ProxProblem) -> list[tuple[float, MMDEnergy]]:
    return [(c, t) for c, t in problem.energy.terms if isinstance(t, MMDEnergy)]


def _others(problem: ProxProblem) -> list[tuple[float, Energy]]:
    return [(c, t) for c, t in problem.energy.terms if not isinstance(t, MMDEnergy)]
