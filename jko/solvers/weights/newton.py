r"""Steps that minimise one convex form of the weights: MMD, Hellinger and divergence geometries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from jko.energies.conjugate import charged_by
from jko.energies.divergence import PhiDivergence
from jko.geometries.divergence import Divergence
from jko.geometries.hellinger import Hellinger, SphericalHellinger
from jko.geometries.mmd import MMD
from jko.measures.base import Discrete, Measure
from jko.measures.grid import GridDensity
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Controls
from jko.solvers.base import ProxSolver
from jko.solvers.hellinger.spherical import half_angle_root
from jko.solvers.refusals import Elsewhere, NearMiss, infeasible
from jko.solvers.weights.barrier import BarrierStatus
from jko.solvers.weights.program import WeightProgram
from jko.solvers.weights.systems import GRID_LIMIT, SCATTERED_LIMIT, System
from jko.validation import Array


@dataclass(frozen=True)
class WeightNewton(ProxSolver):
    r"""Steps of energies with a kernel part and a separable part on a fixed support.

    MMD geometry with divergences, entropies, porous media or upper bounds; Hellinger, spherical
    Hellinger and divergence geometries with MMD energies. All minimise sum_i h_i(w_i) + w'Qw/2 over
    w >= 0 [with 1'w = mass], by a primal-dual barrier method with exact Hessians: dense for few
    atoms, for many a pivoted-Cholesky factor with Woodbury that preconditions exact kernel
    products. Takes 40 000 scattered atoms, or a grid of 512 x 512.

    Notes
    -----
    He^2/2 = D_{1/2} (conventions) makes the Hellinger penalty a form of the weights; the spherical
    step is a scalar search around it (formula H3).

    References
    ----------
    Gladin et al. (2024) for the step; Mehrotra (1992) for quadratic energies.
    """

    kinds: ClassVar[tuple[type[Measure], ...]] = (Discrete,)
    guarantee: ClassVar[str] = "to tolerance"
    default_tol: ClassVar[float] = 1e-9

    def accepts(self, problem: ProxProblem) -> str | None:
        geometry, previous = problem.geometry, problem.previous
        if not isinstance(previous, Discrete):
            return f"a {type(previous).__name__} has no weights on a fixed support"
        own = geometry.penalty_form(previous) is not None
        if not own and not isinstance(geometry, (MMD, Hellinger, SphericalHellinger, Divergence)):
            return Elsewhere(
                "WeightNewton takes MMD, Hellinger, divergence or geometries with a penalty form"
            )
        form = problem.form
        if not form.convex:
            return "the energy is not convex in the weights: a kernel is not positive definite"
        if isinstance(geometry, MMD):
            bounded = (form.separable.ceiling > 0) & np.isfinite(form.separable.ceiling)
            if not bounded.any() and not charged_by(form.separable).any():
                return "the step is a quadratic program; SimplexQP takes it"
        elif not own and not form.quadratics:
            return "the energy is separable; the step has no kernel part"
        limit = GRID_LIMIT if isinstance(previous, GridDensity) else SCATTERED_LIMIT
        if previous.n > limit:
            return NearMiss(
                f"{previous.n} atoms exceed its limit of {limit}: the Newton systems would not fit;"
                " use a coarser grid or fewer atoms"
            )
        return infeasible(problem)

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        if isinstance(problem.geometry, SphericalHellinger):
            return _spherical(problem, controls)
        mass = problem.discrete.mass if problem.geometry.conserves_mass else None
        program = WeightProgram(problem.total_form, problem.discrete, mass, unit=problem.unit)
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


class _LastSolve(NamedTuple):
    """The last program solved, and what the next one starts from."""

    system: System | None = None
    warm: object = None
    iterations: int = 0
    weights: Array | None = None
    lam: float = 0.0
    status: BarrierStatus = BarrierStatus.MAX_ITER


def _spherical(problem: ProxProblem, controls: Controls) -> Answer:
    """The fixed-mass Hellinger step of length tau sinc(SHe/2), a scalar search around it."""
    previous = problem.discrete
    penalty = PhiDivergence(previous, 0.5).restrict(previous)
    last = _LastSolve(warm=controls.warm)

    def moved(half: float) -> float:
        nonlocal last
        step = problem.step * float(np.sinc(half / np.pi))
        form = problem.form + penalty.scaled(1 / step)
        program = WeightProgram(form, previous, previous.mass, last.system, problem.unit)
        inner = Controls(1e-2 * controls.tol, controls.max_iter, last.warm, controls.rng)
        weights, lam, run, status = program.solve(inner)
        count = last.iterations + run.iterations
        last = _LastSolve(program.system, {"weights": weights}, count, weights, lam, status)
        return SphericalHellinger.angle(weights, previous.weights) / 2

    # The objective is stationary: an error e in the half angle costs O(e^2).
    half_angle_root(moved, 60, 0.1 * controls.tol**0.5 * min(1.0, problem.step))
    assert last.weights is not None
    return _answer(problem, last.weights, last.lam, last.iterations, last.status)
