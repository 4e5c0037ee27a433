r"""Steps that minimise one convex form of the weights: MMD, Hellinger and divergence geometries."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, reduce
from operator import add
from typing import Any, ClassVar

import numpy as np

from jko.energies.divergence import PhiDivergence
from jko.energies.form import WeightForm
from jko.energies.separable import Separable
from jko.errors import InvalidArgument
from jko.geometries.divergence import Divergence
from jko.geometries.hellinger import Hellinger, SphericalHellinger
from jko.geometries.mmd import MMD
from jko.kernels.operators import STORED_LIMIT, DenseOperator
from jko.measures.base import Discrete
from jko.measures.grid import GridDensity
from jko.prox.problem import ProxProblem
from jko.prox.result import Breakdown, Status
from jko.prox.weight_dual import brackets, charged_by, fixed_gap, response
from jko.solvers.base import Answer, Controls, ProxSolver
from jko.solvers.hellinger_atoms import scatter
from jko.solvers.mirror import open_atoms
from jko.solvers.multiplier import rescale
from jko.solvers.spherical import half_angle_root
from jko.solvers.weight_barrier import Barrier, BarrierStatus
from jko.solvers.weight_systems import (
    GRID_LIMIT,
    SCATTERED_LIMIT,
    SMALL,
    DenseSystem,
    FactorSystem,
    System,
)
from jko.validation import Array


@dataclass(frozen=True)
class WeightNewton(ProxSolver):
    r"""Steps of energies with a kernel part and a separable part on a fixed support.

    MMD geometry with divergences, entropies, porous media or upper bounds; Hellinger, spherical
    Hellinger and divergence geometries with MMD energies. All minimise sum_i h_i(w_i) + w'Qw/2 over
    w >= 0 [with 1'w = mass], by a primal-dual barrier method with exact Hessians: dense for few
    atoms, a pivoted-Cholesky factor with Woodbury for many, the gap by exact kernel products.

    Notes
    -----
    He^2/2 = D_{1/2} (MATH 0) makes the Hellinger penalty a form of the weights; the spherical step
    is a scalar search around it (MATH H3).
    """

    guarantee: ClassVar[str] = "to tolerance"
    default_tol: ClassVar[float] = 1e-9

    def accepts(self, problem: ProxProblem) -> str | None:
        geometry, previous = problem.geometry, problem.previous
        if not isinstance(geometry, (MMD, Hellinger, SphericalHellinger, Divergence)):
            return "WeightNewton takes MMD, Hellinger, spherical Hellinger and divergence steps"
        if not isinstance(previous, Discrete):
            return f"a {type(previous).__name__} has no weights on a fixed support"
        form = problem.form
        if not form.convex:
            return "the energy is not convex in the weights: a kernel is not positive definite"
        if isinstance(geometry, MMD):
            bounded = (form.separable.ceiling > 0) & np.isfinite(form.separable.ceiling)
            if not bounded.any() and not charged_by(form.separable).any():
                return "the step is a quadratic program; SimplexQP takes it"
        elif not form.quadratics:
            return "the energy is separable; the step has no kernel part"
        limit = GRID_LIMIT if isinstance(previous, GridDensity) else SCATTERED_LIMIT
        if previous.n > limit:
            return (
                f"{previous.n} atoms exceed its limit of {limit}: the Newton systems would not fit;"
                " use a coarser grid or fewer atoms"
            )
        return None

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        if isinstance(problem.geometry, SphericalHellinger):
            return _spherical(problem, controls)
        mass = problem.discrete.mass if problem.geometry.conserves_mass else None
        program = WeightProgram(problem.total_form, problem.discrete, mass)
        weights, lam, run, status = program.solve(controls)
        return _answer(problem, weights, lam, run.iterations, status)


def _answer(
    problem: ProxProblem, weights: Array, lam: float, iterations: int, status: BarrierStatus
) -> Answer:
    return Answer(
        problem.discrete.with_weights(weights),
        problem,
        iterations,
        exhausted=status is BarrierStatus.MAX_ITER,
        dual=lam,
        warm={"weights": weights},
        info={"multiplier": lam, "barrier": status.value},
    )


def _spherical(problem: ProxProblem, controls: Controls) -> Answer:
    """The fixed-mass Hellinger step of length tau sinc(SHe/2), a scalar search around it."""
    previous = problem.discrete
    penalty = PhiDivergence(previous, 0.5).restrict(previous)
    state: dict[str, Any] = {"system": None, "warm": controls.warm, "iterations": 0}

    def moved(half: float) -> float:
        step = problem.step * float(np.sinc(half / np.pi))
        form = problem.form + penalty.scaled(1 / step)
        program = WeightProgram(form, previous, previous.mass, state["system"])
        inner = Controls(1e-2 * controls.tol, controls.max_iter, state["warm"], controls.rng)
        weights, lam, run, status = program.solve(inner)
        state.update(system=program.system, warm={"weights": weights}, last=(weights, lam, status))
        state["iterations"] += run.iterations
        return SphericalHellinger.angle(weights, previous.weights) / 2

    # The objective is stationary: an error e in the half angle costs O(e^2).
    half_angle_root(moved, 60, 0.1 * controls.tol**0.5 * min(1.0, problem.step))
    weights, lam, status = state["last"]
    return _answer(problem, weights, lam, state["iterations"], status)


@dataclass(eq=False)
class WeightProgram:
    """min form(w) over w >= 0 with total `mass` (None: free), on the atoms that may carry weight.

    Attributes
    ----------
    form : WeightForm
        Convex.
    previous : Discrete
    mass : float or None
    system : System or None
        Of an earlier program with the same quadratic part.
    """

    form: WeightForm
    previous: Discrete
    mass: float | None
    system: System | None = None

    def __post_init__(self) -> None:
        self.index = open_atoms(self.form.separable)
        self.all_open = self.index.size == self.form.separable.n
        self.h: Separable = (
            self.form.separable if self.all_open else self.form.separable.take(self.index)
        )
        self.typical = self.previous.mass if self.mass is None else self.mass
        capacity = float(self.h.ceiling.sum())
        if self.mass is not None and capacity < self.mass * (1 - 1e-12):
            raise InvalidArgument(
                f"the energy lets the atoms carry {capacity:.6g} in all, less than the mass"
                f" {self.mass:.6g} the step must keep; relax its upper bounds or walls, or free"
                " the mass"
            )
        self.full = self.mass is not None and capacity <= self.mass * (1 + 1e-9)

    def product(self, w: Array) -> Array:
        """Qw on the open atoms, exactly."""
        if self.all_open:
            return self.form.quadratic_gradient(w)
        return self.form.quadratic_gradient(self.scatter(w))[self.index]

    def scatter(self, w: Array) -> Array:
        """Weights on all atoms."""
        return scatter(w, None if self.all_open else self.index, self.previous.n)

    def value(self, w: Array, qw: Array) -> float:
        """The form at open weights."""
        return self.h.value(w) + 0.5 * float(w @ qw)

    @cached_property
    def diagonal(self) -> float:
        """Largest diagonal entry of Q."""
        total = sum(q.scale * q.operator.diagonal() for q in self.form.quadratics)
        return float(np.max(total, initial=0.0))

    def build(self, tol: float, start: Array) -> System:
        """The Newton systems: dense for few atoms, otherwise a factor as fine as they need."""

        def dense() -> Array:
            total = reduce(np.add, [q.scale * q.operator.dense() for q in self.form.quadratics])
            return total if self.all_open else total[np.ix_(self.index, self.index)]

        fixed, n = self.mass is not None, self.h.n
        if n <= SMALL:
            return DenseSystem(dense(), fixed)
        kernel = reduce(add, [q.scale * q.kernel for q in self.form.quadratics])
        finest = max(1e-3 * tol / self.typical**2, 1e-15 * self.diagonal)
        cheap = all(
            n <= STORED_LIMIT or not isinstance(q.operator, DenseOperator)
            for q in self.form.quadratics
        )
        accuracy = finest
        if cheap:
            # Without curvature an atom has D = mu/w^2 in the end.
            curvature = self.h.hessian(start) + tol / n / start**2
            accuracy = max(finest, 1e-3 / float((1 / curvature).sum()))
        points = self.previous.points[self.index]
        product = self.product if cheap else None
        return FactorSystem(kernel, points, accuracy, finest, product, dense, fixed)

    def solve(self, controls: Controls) -> tuple[Array, float, Barrier, BarrierStatus]:
        """Weights on all atoms, multiplier, the run and why it ended."""
        aim, start = 0.1 * controls.tol, self.start(controls.warm)
        if self.system is None:
            self.system = self.build(aim, start)
        run = Barrier(
            self.h,
            self.system,
            self.product,
            self.gap,
            lambda w, qw: aim * max(1.0, abs(self.value(w, qw))),
            self.mass,
            start,
        )
        if self.full:
            return self.scatter(self.h.ceiling.copy()), run.lam, run, BarrierStatus.OPTIMAL
        status = run.run(controls.max_iter or 200)
        if status is BarrierStatus.UNBOUNDED:
            raise Breakdown(
                Status.UNBOUNDED,
                "the mass grows without bound: the energy falls faster than moving costs;"
                " reduce tau, or fix the mass",
            )
        gap, w, lam = run.best
        if not np.isfinite(gap):
            w, lam = run.w, run.lam
        w, lam = self.polish(w, lam, gap)
        if not w.sum() > 0:
            raise Breakdown(Status.BROKEN, "the step removes all mass, and a measure needs some")
        return self.scatter(w), lam, run, status

    def gap(self, w: Array, qw: Array, lam: float) -> tuple[float, float]:
        """The dual gap at w, and the multiplier that shows it."""
        if self.mass is not None:
            return fixed_gap(self.h, qw, w, self.mass, lam)
        return _cone_gap(self.h, qw, w), 0.0

    def start(self, warm: Any) -> Array:
        """Interior weights between a guess and the uniform ones, below their ceilings."""
        guess = self.previous.weights
        kept = warm.get("weights") if isinstance(warm, dict) else None
        if isinstance(kept, np.ndarray) and kept.shape == guess.shape:
            guess = kept.astype(float)
        guess = guess[self.index]
        total = float(guess.sum())
        uniform = np.full(self.h.n, self.typical / self.h.n)
        if total > 0 and np.isfinite(guess).all():
            w = 0.9 * guess * (self.typical / total) + 0.1 * uniform
        else:
            w = uniform
        if self.mass is None:
            # Weights shrink fast where they must, but grow by a small factor per iteration.
            w = max(self.best_multiple(w), 1.0) * w
        return _below(w, self.h.ceiling, self.mass)

    def best_multiple(self, w: Array) -> float:
        """The multiple of w that minimises the form, to a factor 2: the scale of the answer."""
        qw = self.product(w)

        def rising(log_t: float) -> bool:
            with np.errstate(all="ignore"):
                t = float(np.exp(log_t))
                return float(np.nansum(w * (self.h.gradient(t * w) + t * qw))) > 0

        lo, hi = -100.0, 100.0
        while hi - lo > 0.7:
            middle = 0.5 * (lo + hi)
            lo, hi = (lo, middle) if rising(middle) else (middle, hi)
        return float(np.exp(0.5 * (lo + hi)))

    def polish(self, w: Array, lam: float, gap: float) -> tuple[Array, float]:
        """Give atoms that do not matter to Qw their own exact minimiser; exact zeros appear."""
        qw = self.product(w)
        before, _ = self.gap(w, qw, lam)
        v = response(self.h, lam - qw, w)
        settled = np.isfinite(v) & (np.abs(v - w) <= 1e-9 * self.typical / self.h.n)
        better = np.where(settled, v, w)
        if self.mass is not None:
            better = rescale(better, self.h.ceiling, self.mass)
            w = rescale(w, self.h.ceiling, self.mass)
        after, after_lam = self.gap(better, self.product(better), lam)
        if after <= max(before, 1e-14):
            return better, after_lam
        return w, lam


def _cone_gap(h: Separable, qw: Array, w: Array) -> float:
    """Gap on M+ at u = w, without the lifts of the certificate."""
    y = -qw
    return float(brackets(h, w, y, response(h, y, w)).sum())


def _below(w: Array, ceiling: Array, mass: float | None) -> Array:
    """The weights pushed into the interior of their bounds, with the right mass."""
    bounded = np.isfinite(ceiling)
    if not bounded.any():
        return w
    if mass is None:
        return np.minimum(w, 0.5 * ceiling)
    spare = 1 - mass / float(ceiling.sum()) if bounded.all() else 1.0
    top = (1 - 0.5 * min(spare, 0.5)) * ceiling
    lo, hi = 0.0, 1.0
    while np.minimum(hi * w, top).sum() < mass and hi < 1e300:
        hi *= 2
    for _ in range(200):
        middle = 0.5 * (lo + hi)
        lo, hi = (middle, hi) if np.minimum(middle * w, top).sum() < mass else (lo, middle)
    return np.minimum(hi * w, top)
