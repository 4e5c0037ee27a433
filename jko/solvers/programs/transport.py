r"""The exact Wasserstein step of small histograms as a conic program: an oracle for the others."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jko.forms.form import Quadratic
from jko.geometries.base import Geometry
from jko.geometries.wasserstein import Wasserstein
from jko.measures.atoms import Histogram
from jko.measures.base import Measure
from jko.measures.grid import GridDensity
from jko.numerics.best import Best
from jko.numerics.elementary import gram_root
from jko.prox.duality.mass import rescale
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Controls
from jko.solvers.base import NearMiss, ProxSolver, infeasible, not_transport, stated_paths
from jko.solvers.grids.accuracy import between_centres
from jko.solvers.grids.resolution import warn_if_coarse
from jko.solvers.programs.conic import rescaled
from jko.solvers.programs.stated import TransportStep as TransportStep
from jko.status import Breakdown, Status
from jko.validation import Array, Index, deprecated, positive_int

TOLERANCES = ("tol_gap_abs", "tol_gap_rel", "tol_feas")
#: What Clarabel is asked for; where that misses, shorter steps, which cones of logarithms and
#: powers need.
BOLD: dict[str, float] = dict.fromkeys(TOLERANCES, 1e-11)
CAREFUL: dict[str, float] = {**dict.fromkeys(TOLERANCES, 1e-13), "max_step_fraction": 0.9}
STEADY: dict[str, float] = {**dict.fromkeys(TOLERANCES, 1e-10), "max_step_fraction": 0.7}
#: Terms below this cost nothing.
TINY = 1e-280
#: Reduced costs of pairs that a second program leaves out, in units of its scale.
FAR = 1e6
#: Squared cells that a step on a grid should carry mass by (`jko.solvers.grids.resolution`).
LEAST = 0.5


@dataclass(frozen=True)
class TransportProgram(ProxSolver):
    r"""The unregularised Wasserstein step on a fixed support, by Clarabel through CVXPY.

    With C the squared distances between the atoms of m' and the support,

        min over plans P >= 0, P 1 = m', of  <C, P> / (2 tau) + F(P'1),

    for any energy that is convex in the weights; `jko.Wasserstein(p=..., cost=...)` brings its own
    costs, C / (p tau^{p-1}) for C = d^p and C / (2 tau) otherwise (formula Y2). The answer is
    exact for the support: on a grid coarser than the displacements of the step (about
    tau |grad f|) it is not that of the density.

    Parameters
    ----------
    max_atoms : int
        Larger supports are refused: the program has one variable per pair of atoms.
    grids : True
        Deprecated, without effect: `auto` asks this solver first for small histograms, whose atoms
        mean themselves, and last for grids, whose cells stand for a density.

    References
    ----------
    Peyré and Cuturi (2019), chapter 3; Goulart and Chen (2024).
    """

    max_atoms: int = 80
    grids: bool = True

    geometries: ClassVar[tuple[type[Geometry], ...]] = (Wasserstein,)
    kinds: ClassVar[tuple[type[Measure], ...]] = (GridDensity, Histogram)
    guarantee: ClassVar[str] = (
        "exact on the support: a conic program with its transport duality gap; small supports"
    )
    default_tol: ClassVar[float] = 1e-6
    any_cost: ClassVar[bool] = True

    def __post_init__(self) -> None:
        positive_int(self.max_atoms, "max_atoms")
        deprecated(self.grids is not True, "grids", "auto leaves grids to other solvers by itself")

    def accepts(self, problem: ProxProblem) -> str | None:
        why = not_transport(problem) or stated_paths(problem)
        if why is not None:
            return why
        for q in problem.form.quadratics:
            if q.kernel.definiteness == "indefinite":
                return f"{q.kernel!r} is not convex in the weights: there is no conic form"
        why = infeasible(problem)
        n = problem.discrete.n
        if why is None and n > 5 * self.max_atoms:
            return f"takes at most {self.max_atoms} atoms, it has a variable for every pair of them"
        if why is None and n > self.max_atoms:
            return NearMiss(
                f"takes at most {self.max_atoms} atoms, this measure has {n}; raise max_atoms:"
                f" solver=jko.solvers.TransportProgram(max_atoms={n})"
            )
        return why

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        fault = "between their centres next to nothing moves"
        bent = bool(problem.form.separable.powers or problem.form.quadratics)
        # The debiased step of a linear energy is refused: mass clumps.
        name = "Entropic" if bent else "FiniteVolume"
        warn_if_coarse(problem, LEAST, fault, f"jko.solvers.{name}()")
        stated = TransportStep(problem)
        found = _best_answer(stated, controls)
        weights, slope = found.weights, found.slope
        nu = stated.previous.with_weights(weights)
        answer = Answer(
            nu,
            stated,
            found.iterations,
            sqdistance=stated.sqdistance(nu),
            dual={"slope": slope},
            baseline=problem.value(stated.previous),
            info={"conic_status": found.status},
        )
        return between_centres(problem, answer, slope)


class _ProgramAnswer(NamedTuple):
    """Weights (n,) of the exact mass, the slope (n,) of the transport term, and their gap."""

    weights: Array
    slope: Array
    gap: float
    iterations: int
    status: str


def _best_answer(stated: TransportStep, controls: Controls) -> _ProgramAnswer:
    """The program in the scale of its largest term; where that misses, scaled by its answer.

    Raises
    ------
    Breakdown
        Clarabel fails in every scale.
    """
    problem, mass = stated.problem, stated.previous.mass
    if np.count_nonzero(stated.open) == 1:  # nothing can move
        slope, weights = np.zeros(problem.discrete.n), mass * stated.open
        return _ProgramAnswer(weights, slope, 0.0, 0, "optimal")
    moving = mass * float(stated.cost().max(initial=0.0))
    n, aim = problem.discrete.n, 0.5 * controls.tol * problem.unit
    large = max(problem.unit, moving)
    best: Best[_ProgramAnswer] = Best()
    failure: Breakdown | None = None
    iterations = 0
    for size, settings in (
        (large, BOLD),
        (problem.unit, CAREFUL),
        (large, CAREFUL),
        (large, STEADY),
    ):
        try:
            scale = size / n if size > n * TINY else mass / n  # nothing costs anything
            found = _TransportProgram(stated, scale, best.found).solve(settings, controls.max_iter)
        except Breakdown as trouble:
            failure = trouble
            continue
        iterations += found.iterations
        best.offer(found.gap, found)
        if best.figure <= aim or controls.max_iter is not None:
            break
    if best.found is None:
        assert failure is not None
        raise failure
    return best.found._replace(iterations=iterations)


class _TransportProgram:
    """The program in scaled variables: rows of the plan sum to 1, weights are of order 1.

    Pairs that the potentials of an answer `near` put out of reach are left out.
    """

    def __init__(self, stated: TransportStep, scale: float, near: _ProgramAnswer | None) -> None:
        import cvxpy as cp

        self.stated, self.cp, self.scale = stated, cp, scale
        form, previous = stated.problem.form, stated.previous
        self.open = np.flatnonzero(stated.open)
        self.part = form.separable.take(self.open)
        self.m = previous.weights[previous.weights > 0]
        if float(self.part.ceiling.sum()) < previous.mass * (1 - 1e-12):
            raise Breakdown(Status.BROKEN, "the energy lets no weights carry the mass")
        self.unit = previous.mass / self.open.size
        cost = stated.cost()
        self.kept = np.nonzero(_in_reach(cost, self.open, self.m, scale, near))
        pairs = np.arange(self.kept[0].size)
        self.plan = cp.Variable(pairs.size, nonneg=True)
        self.u = cp.Variable(self.open.size)
        reference = np.full(self.open.size, self.unit)
        energy, constraints = rescaled(self.part, reference, 1 / scale).conic(self.u)
        for q in form.quadratics:
            energy = energy + self._quadratic(q)
        rows, columns = np.zeros((self.m.size, pairs.size)), np.zeros((self.open.size, pairs.size))
        rows[self.kept[0], pairs] = 1.0
        columns[self.kept[1], pairs] = self.m[self.kept[0]] / self.unit
        moved = (cost[self.kept] * (self.m[self.kept[0]] / scale)) @ self.plan
        self.marginal = self.u == columns @ self.plan
        constraints = [*constraints, rows @ self.plan == 1, self.marginal]
        self.program = cp.Problem(cp.Minimize(energy + moved), constraints)

    def _quadratic(self, q: Quadratic) -> Any:
        """scale/2 w'Kw; conditional kernels through K + d_i + d_j, which adds mass d.w."""
        previous = self.stated.previous
        gram, linear = q.operator.dense(), np.zeros(previous.n)
        if q.kernel.definiteness != "positive":
            lifted = q.kernel.positive_gram(previous.points)
            linear, gram = previous.mass * np.diag(lifted - gram) / 2, lifted
        # The factor in the scale of the objective: squares of small numbers would be lost.
        root = gram_root(gram)[:, self.open] * (self.unit * np.sqrt(q.scale / self.scale))
        pull = linear[self.open] * (q.scale * self.unit / self.scale)
        return 0.5 * self.cp.sum_squares(root @ self.u) - pull @ self.u

    def solve(self, settings: dict[str, float], max_iter: int | None) -> _ProgramAnswer:
        """The answer with its gap."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "may be inaccurate": the certificate will tell
            try:
                self.program.solve(solver="CLARABEL", max_iter=max_iter or 200, **settings)
            except (self.cp.error.SolverError, ValueError) as failure:
                raise Breakdown(Status.BROKEN, f"CLARABEL failed: {failure}") from None
        status, stats = str(self.program.status), self.program.solver_stats
        iterations = int(stats.num_iters or 0) if stats is not None else 0
        values, dual = self.plan.value, self.marginal.dual_value
        if (
            values is None
            or dual is None
            or not (np.isfinite(values).all() and np.isfinite(dual).all())
        ):
            raise Breakdown(Status.BROKEN, f"CLARABEL gave no plan: {status}")
        plan = np.zeros((self.m.size, self.open.size))
        plan[self.kept] = np.maximum(values, 0.0)
        n = self.stated.previous.n
        weights, slope = np.zeros(n), np.zeros(n)
        weights[self.open] = self._repaired(plan)
        slope[self.open] = dual * (self.scale / self.unit)
        found = self.stated.gap(self.stated.previous.with_weights(weights), slope).gap
        return _ProgramAnswer(
            weights, slope, np.inf if found is None else found, iterations, status
        )

    def _repaired(self, plan: Array) -> Array:
        """The second marginal of the plan with its rows normalised, clipped to the bounds."""
        w = self.m @ (plan / plan.sum(axis=1, keepdims=True))
        for p, c in self.part.powers.items():
            if p <= 0:  # the energy is infinite at 0
                w = np.where(c > 0, np.maximum(w, 1e-12 * self.unit), w)
        w = np.minimum(w, self.part.ceiling)
        return rescale(w, self.part.ceiling, float(self.m.sum()))


def _in_reach(
    cost: Array, opened: Index, m: Array, scale: float, near: _ProgramAnswer | None
) -> NDArray[np.bool_]:
    """Pairs whose reduced cost, by the potentials of `near`, an answer may be willing to pay."""
    if near is None:
        return np.ones(cost.shape, dtype=bool)
    reduced = cost - near.slope[opened]
    reduced -= reduced.min(axis=1, keepdims=True)
    reach = m[:, None] * reduced <= FAR * scale
    reach |= reduced <= reduced.min(axis=0)  # every atom keeps its best partner
    return np.asarray(reach)
