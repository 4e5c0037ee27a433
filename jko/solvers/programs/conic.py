r"""Proximal steps as conic programs, through CVXPY: an independent reference at small sizes."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from jko.forms.separable import Separable
from jko.geometries.base import Geometry
from jko.geometries.hellinger import Hellinger, SphericalHellinger
from jko.geometries.mmd import MMD
from jko.measures.base import Discrete, Measure
from jko.numerics.elementary import gram_root
from jko.prox.duality.mass import rescale
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Controls
from jko.solvers.base import NearMiss, ProxSolver, infeasible
from jko.solvers.hellinger.spherical import half_angle_root
from jko.status import Breakdown, Status
from jko.validation import Array, one_of, positive_int

if TYPE_CHECKING:
    from cvxpy import Expression

CLARABEL_TOLERANCES = ("tol_gap_abs", "tol_gap_rel", "tol_feas")
#: What is promised, on the gap.
TOLERANCES = {"CLARABEL": 1e-8, "SCS": 1e-5}
#: What the back-end is asked for; the next settings when it fails altogether. Clarabel's default
#: steps (0.99 of the way to the boundary) break down on exponential cones that 0.9 solves.
ATTEMPTS: dict[str, tuple[dict[str, float], ...]] = {
    "CLARABEL": (
        {**dict.fromkeys(CLARABEL_TOLERANCES, 1e-12), "max_step_fraction": 0.9},
        {**dict.fromkeys(CLARABEL_TOLERANCES, 1e-10), "max_step_fraction": 0.7},
    ),
    "SCS": ({"eps_abs": 1e-10, "eps_rel": 1e-10},),
}
#: The name of the iteration limit, and its default.
LIMITS = {"CLARABEL": ("max_iter", 300), "SCS": ("max_iters", 50_000)}


@dataclass(frozen=True)
class Conic(ProxSolver):
    r"""Hellinger and MMD steps of any convex energy on a fixed support, by Clarabel or SCS.

    The program is scaled (weights by a reference weight, the objective to order one per atom) and
    kernels enter through a factor of their Gram matrix. The answer is clipped to the bounds,
    rescaled to the exact mass where the geometry fixes it, and not polished further: it stays a
    reference independent of the other solvers. Spherical Hellinger steps have no conic form; they
    are a scalar search around the conic Hellinger step (formula H3).

    Parameters
    ----------
    solver : {"CLARABEL", "SCS"}
    max_atoms : int
        Larger supports are refused.

    References
    ----------
    O'Donoghue et al. (2016); Goulart and Chen (2024); Diamond and Boyd (2016).
    """

    solver: str = "CLARABEL"
    max_atoms: int = 1000

    geometries: ClassVar[tuple[type[Geometry], ...]] = (
        Hellinger,
        SphericalHellinger,
        MMD,
    )
    kinds: ClassVar[tuple[type[Measure], ...]] = (Discrete,)
    guarantee: ClassVar[str] = (
        "a conic program, certified at its declared tolerance; small supports"
    )

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "solver", one_of(str(self.solver).upper(), tuple(TOLERANCES), "solver")
        )
        positive_int(self.max_atoms, "max_atoms")

    @property
    def name(self) -> str:
        return f"Conic({self.solver})"

    @property
    def default_tol(self) -> float:  # type: ignore[override]
        """1e-8 for Clarabel, 1e-5 for SCS."""
        return TOLERANCES[self.solver]

    def accepts(self, problem: ProxProblem) -> str | None:
        geometry, previous = problem.geometry, problem.previous
        if not isinstance(geometry, (Hellinger, SphericalHellinger, MMD)):
            return f"{self.name} takes Hellinger, spherical Hellinger and MMD steps"
        if not isinstance(previous, Discrete):
            return f"{self.name} varies the weights of a GridDensity, Histogram or Particles"
        if not problem.form.convex:
            return f"{self.name} needs an energy that is convex in the weights"
        if previous.n > self.max_atoms:
            return NearMiss(
                f"{self.name} takes at most {self.max_atoms} atoms, this measure has {previous.n};"
                " raise max_atoms, or use fewer atoms"
            )
        return infeasible(problem)

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        program = _Program(problem, self.solver, controls.max_iter)
        length = self._length(problem, program, controls.tol)
        weights = program.weights(length)
        if not weights.sum() > 0:
            raise Breakdown(Status.EMPTY, "the program leaves no mass anywhere")
        best = problem.discrete.with_weights(weights)
        status, iterations = program.status, program.iterations
        if status != "optimal":
            # Scaled by its own first answer the program is better conditioned.
            again = _Program(problem, self.solver, controls.max_iter, best.weights)
            second = problem.discrete.with_weights(again.weights(length))
            iterations += again.iterations
            if problem.objective(second) < problem.objective(best):
                best, status = second, again.status
        return Answer(best, problem, iterations, info={"conic_status": status})

    def _length(self, problem: ProxProblem, program: _Program, tol: float) -> float:
        """The length of the Hellinger or MMD step to take: tau sinc(SHe/2) in the arccos metric."""
        if not isinstance(problem.geometry, SphericalHellinger):
            return problem.step
        previous = problem.discrete.weights

        def moved(half: float) -> float:
            w = program.weights(problem.step * float(np.sinc(half / np.pi)))
            return SphericalHellinger.angle(w, previous) / 2

        half, _ = half_angle_root(moved, limit=20, tol=np.sqrt(tol) / 100)
        return problem.step * float(np.sinc(half / np.pi))


def falls_forever(problem: ProxProblem) -> bool:
    """Whether 1e100 times the mass at one atom still lowers the objective.

    What a solver finds within its tolerances is no evidence: it may be a long way to the minimum.
    """
    previous = problem.discrete
    start, far = problem.value(previous), 1e100 * max(previous.mass, 1.0)
    for i in np.flatnonzero(problem.form.separable.ceiling == np.inf):
        weights = previous.weights.copy()
        weights[i] += far
        with np.errstate(all="ignore"):
            if problem.objective(previous.with_weights(weights)) < start:
                return True
    return False


class _Program:
    """The conic program of a step, scaled by a uniform weight or by an answer `near` it."""

    def __init__(
        self, problem: ProxProblem, solver: str, max_iter: int | None, near: Array | None = None
    ) -> None:
        import cvxpy as cp

        self.problem, self.solver, self.max_iter = problem, solver, max_iter
        self.iterations, self.status = 0, ""
        form, previous = problem.form, problem.discrete
        self.n = previous.n
        self.open = np.flatnonzero(form.separable.ceiling > 0)
        self.part = form.separable.take(self.open)
        self.mass = previous.mass if problem.geometry.conserves_mass else None
        unit = previous.mass / max(self.open.size, 1)
        self.reference = np.full(self.open.size, unit)
        if near is not None:
            self.reference = np.maximum(near[self.open], 1e-5 * unit)
        self.u = cp.Variable(self.open.size)
        self.pull = cp.Parameter(nonneg=True)  # 1/step, relative to the scale of the objective
        # What the objective is per atom: the larger one of its two terms.
        self.scale = max(problem.unit, problem.moving) / max(self.open.size, 1)
        energy, constraints = rescaled(self.part, self.reference, 1 / self.scale).conic(self.u)
        for q in form.quadratics:
            root = gram_root(q.operator.dense())[:, self.open] * self.reference
            energy = energy + 0.5 * q.scale / self.scale * cp.sum_squares(root @ self.u)
        moved = self._distance(cp, problem, previous)
        if self.mass is not None:
            constraints.append(self.reference @ self.u / unit == self.mass / unit)
        self.program = cp.Problem(cp.Minimize(energy + self.pull * moved), constraints)

    def _distance(self, cp: ModuleType, problem: ProxProblem, previous: Discrete) -> Expression:
        """D^2/2 over the scale, for a unit step."""
        geometry = problem.geometry
        before = previous.weights[self.open]
        if isinstance(geometry, MMD):
            root = gram_root(geometry.kernel.positive_gram(previous.points)) / np.sqrt(self.scale)
            change = (root[:, self.open] * self.reference) @ self.u - root @ previous.weights
            return 0.5 * cp.sum_squares(change)
        charged = np.flatnonzero(before > 0)
        affinity = np.sqrt(self.reference[charged] * before[charged]) @ cp.sqrt(self.u[charged])
        total = self.reference @ self.u + float(before.sum())
        return (2 / self.scale) * (total - 2 * affinity)

    def weights(self, step: float) -> Array:
        """Weights (n,) of the step of this length, clipped to the bounds, mass exact."""
        import cvxpy as cp

        self.pull.value = 1 / step
        limit, default = LIMITS[self.solver]
        for settings in ATTEMPTS[self.solver]:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # "may be inaccurate": the certificate will tell
                try:
                    self.program.solve(
                        solver=self.solver, **settings, **{limit: self.max_iter or default}
                    )
                    break
                except (cp.error.SolverError, ValueError) as error:
                    # Clarabel loses its iterate when it stalls; CVXPY refuses data that overflow.
                    failure = str(error)
        else:
            raise Breakdown(Status.BROKEN, f"{self.solver} failed: {failure}")
        self.status = str(self.program.status)
        stats = self.program.solver_stats
        self.iterations += int(stats.num_iters or 0) if stats is not None else 0
        if self.status.startswith("unbounded"):
            known = self.mass is None and falls_forever(self.problem)
            status = Status.UNBOUNDED if known else Status.BROKEN
            raise Breakdown(status, f"{self.solver} found no lower bound")
        if self.u.value is None or not np.isfinite(self.u.value).all():
            raise Breakdown(Status.BROKEN, f"{self.solver} gave no weights: {self.status}")
        return self._repaired(self.reference * self.u.value)

    def _repaired(self, w: Array) -> Array:
        # Where a power p <= 0 makes the energy infinite at 0 the least weight stays above it.
        floor = np.zeros_like(w)
        for p, c in self.part.powers.items():
            if p <= 0:
                floor = np.where(c > 0, 1e-12 * self.reference, floor)
        w = np.clip(w, floor, self.part.ceiling)
        if self.mass is not None:
            w = rescale(w, self.part.ceiling, self.mass)
        out = np.zeros(self.n)
        out[self.open] = w
        return out


def rescaled(h: Separable, reference: Array, factor: float) -> Separable:
    """factor * h(reference * u) as a separable function of u."""
    linear = h.linear * reference
    powers = {}
    for p, c in h.powers.items():
        if p == 1:
            linear = linear + c * reference * np.log(reference)
            powers[p] = c * reference
        elif p == 0:
            powers[p] = c
        else:
            powers[p] = c * reference**p
    upper = None if h.upper is None else h.upper / reference
    return Separable(linear, powers, upper, 0.0).scaled(factor)
