r"""Steps of energies made of transport to a target as one conic program: plans are variables.

    min over w, Q_k, P  of  rest(w) + sum_k c_k transport(Q_k) + penalty(w, P),
    Q_k 1 = w,  Q_k' 1 = target_k,

in the transport geometry with P' 1 = w, P 1 = m' besides. The Sinkhorn divergence is convex in the
plan and a further measure mu (Feydy et al. 2019, appendix): with E = e^{-C/reg} among the atoms,

    <C, Q> + reg sum Q log(Q / (mu t')) + reg mu'E mu / 2    minimised over Q and mu.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jko.energies.base import Energy
from jko.energies.sinkhorn import SinkhornDivergence
from jko.energies.transported import TransportedEnergy
from jko.energies.wasserstein import WassersteinEnergy
from jko.forms.form import WeightForm
from jko.geometries.hellinger import Hellinger, SphericalHellinger
from jko.geometries.wasserstein import Wasserstein
from jko.measures.base import Discrete
from jko.measures.masses import balanced
from jko.numerics.elementary import gram_root
from jko.numerics.exact_transport import square_costs
from jko.prox.duality.mass import rescale
from jko.prox.problem import ProxProblem
from jko.solvers.hellinger.spherical import half_angle_root
from jko.solvers.programs.conic import rescaled
from jko.status import Breakdown, Status
from jko.validation import Array

if TYPE_CHECKING:
    from cvxpy import Constraint, Expression, Variable

#: Pairs of atoms that a program takes: .5 s at 6400, 2 s at 40 000.
PAIRS = 40_000
#: Pairs in plans with entropy: 3 to 15 s at 10 000.
ENTROPIC_PAIRS = 10_000
#: Least weight of an atom that the objective is infinite without, in units of the mean one.
FLOOR = 1e-12


class JointAnswer(NamedTuple):
    """Weights (n,) of the exact mass, and potentials (m,) on the targets of transport terms."""

    weights: Array
    potentials: list[Array]
    iterations: int


def fits(mu: Discrete, moved: list[tuple[float, TransportedEnergy]]) -> bool:
    """Whether the program is small enough."""
    for _, term in moved:
        limit = PAIRS if isinstance(term, WassersteinEnergy) else ENTROPIC_PAIRS
        if mu.n * term.softened(1.0).target.n > limit:
            return False
    return True


class JointProgram:
    """The program in scaled variables: weights of order one, the objective one per atom."""

    def __init__(
        self,
        problem: ProxProblem,
        rest: Energy | None,
        moved: list[tuple[float, TransportedEnergy]],
    ) -> None:
        import cvxpy as cp

        self.cp, self.problem = cp, problem
        mu = problem.discrete
        self.unit = mu.mass / mu.n
        # Where nothing costs anything, one atom at one target, any scale will do.
        self.scale = max(problem.unit, problem.moving) / mu.n or self.unit
        self.u = cp.Variable(mu.n, nonneg=True)
        self.pull = cp.Parameter(nonneg=True)
        self.constraints: list[Constraint] = [cp.sum(self.u) == mu.n]
        self.marginals: list[Constraint] = []
        self.ceiling, self.floor = np.full(mu.n, np.inf), np.zeros(mu.n)
        objective: Expression = cp.Constant(0.0)
        if rest is not None:
            objective = self._of_weights(rest.restrict(mu), self.scale)
        for c, term in moved:
            objective = objective + (c * self.unit / self.scale) * self._transport(term)
        self.factors = [c for c, _ in moved]
        penalty = (1 / self.scale) * self._penalty()
        self.program = cp.Problem(cp.Minimize(objective + self.pull * penalty), self.constraints)

    def _plan(self, rows: Expression, columns: Array) -> Variable:
        """A plan (n, m) with these sums of rows and columns, in units of weight."""
        plan = self.cp.Variable((self.problem.discrete.n, columns.size), nonneg=True)
        marginal = self.cp.sum(plan, axis=0) == columns
        self.marginals.append(marginal)
        self.constraints += [self.cp.sum(plan, axis=1) == rows, marginal]
        return plan

    def _transport(self, term: TransportedEnergy) -> Expression:
        cp, mu = self.cp, self.problem.discrete
        target = balanced(term.softened(1.0).target, mu)
        y, t = target.points[target.weights > 0], target.weights[target.weights > 0] / self.unit
        plan, cost = self._plan(self.u, t), square_costs(mu.points, y)
        paid = cp.sum(cp.multiply(cost, plan))
        if not isinstance(term, SinkhornDivergence):
            return 0.5 * paid
        reg = term.regularisation
        other = cp.Variable(mu.n, nonneg=True)
        near = np.exp(-square_costs(mu.points, mu.points) / reg)
        product = cp.reshape(other, (mu.n, 1), order="C") @ t[None, :]
        entropy = cp.sum(cp.rel_entr(plan, product))
        return paid + reg * entropy + 0.5 * reg * cp.sum_squares(gram_root(near) @ other) / mu.n

    def _penalty(self) -> Expression:
        """D^2/2 for a unit step."""
        cp, mu, geometry = self.cp, self.problem.discrete, self.problem.geometry
        if isinstance(geometry, Wasserstein):
            plan = self._plan(self.u, mu.weights / self.unit)
            self.marginals.pop()
            every = np.arange(mu.n)
            cost = geometry.step_cost(mu, self.problem.tau, every, every).T * self.problem.step
            return self.unit * cp.sum(cp.multiply(cost, plan))
        source = Hellinger() if isinstance(geometry, SphericalHellinger) else geometry
        form = source.penalty_form(mu)
        assert form is not None
        return self.scale * self._of_weights(form, self.scale)

    def _of_weights(self, form: WeightForm, scale: float) -> Expression:
        """A form of the weights over `scale`, and what it asks of them."""
        separable = form.separable
        part = rescaled(separable, np.full(self.u.size, self.unit), 1 / scale)
        objective, bounds = part.conic(self.u)
        self.constraints += bounds
        self.ceiling = np.minimum(self.ceiling, separable.ceiling)
        for p, c in separable.powers.items():
            if p <= 0:
                self.floor = np.where(c > 0, FLOOR * self.unit, self.floor)
        for q in form.quadratics:
            root = gram_root(q.operator.dense()) * (self.unit * np.sqrt(q.scale / scale))
            objective = objective + 0.5 * self.cp.sum_squares(root @ self.u)
        return objective

    def solve(self, tol: float, settings: dict[str, float], max_iter: int | None) -> JointAnswer:
        """The step; in the arccos metric by a scalar search (formula H3)."""
        problem = self.problem
        if not isinstance(problem.geometry, SphericalHellinger):
            return self._at(problem.step, settings, max_iter)
        previous, count = problem.discrete.weights, 0
        found = JointAnswer(previous, [], 0)

        def half(h: float) -> float:
            nonlocal found, count
            found = self._at(problem.step * float(np.sinc(h / np.pi)), settings, max_iter)
            count += found.iterations
            return SphericalHellinger.angle(found.weights, previous) / 2

        half_angle_root(half, limit=20, tol=np.sqrt(tol) / 100)
        return found._replace(iterations=count)

    def _at(self, step: float, settings: dict[str, float], max_iter: int | None) -> JointAnswer:
        self.pull.value = 1 / step
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "may be inaccurate": the certificate will tell
            try:
                self.program.solve(solver="CLARABEL", max_iter=max_iter or 300, **settings)
            except (self.cp.error.SolverError, ValueError) as error:
                raise Breakdown(Status.BROKEN, f"CLARABEL failed: {error}") from None
        duals = [marginal.dual_value for marginal in self.marginals]
        if self.u.value is None or any(dual is None for dual in duals):
            raise Breakdown(Status.BROKEN, f"CLARABEL gave no weights: {self.program.status}")
        stats, mu = self.program.solver_stats, self.problem.discrete
        weights = np.clip(self.unit * self.u.value, self.floor, self.ceiling)
        factor = self.scale / self.unit
        potentials = [
            -np.asarray(dual) * factor / c for dual, c in zip(duals, self.factors, strict=True)
        ]
        iterations = int(stats.num_iters or 0) if stats is not None else 0
        return JointAnswer(rescale(weights, self.ceiling, mu.mass), potentials, iterations)
