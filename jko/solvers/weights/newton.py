r"""Steps that minimise one convex form of the weights: MMD, Hellinger and divergence geometries."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np

from jko.energies.conjugate import charged_by
from jko.energies.divergence import InclusiveKL
from jko.energies.mmd import MMDEnergy
from jko.energies.recorded import recorded
from jko.forms.form import WeightForm
from jko.geometries.base import Geometry
from jko.geometries.divergence import Divergence
from jko.geometries.hellinger import Hellinger, SphericalHellinger
from jko.geometries.mmd import MMD, KernelFisherRao
from jko.measures.base import Discrete, Measure
from jko.measures.grid import GridDensity
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Controls
from jko.solvers.base import Elsewhere, NearMiss, ProxSolver, infeasible
from jko.solvers.hellinger.spherical import half_angle_root
from jko.solvers.weights.barrier import BarrierStatus
from jko.solvers.weights.program import WeightProgram
from jko.solvers.weights.systems import GRID_LIMIT, SCATTERED_LIMIT, System
from jko.validation import Array, instance

#: Remedy for targets known by their density alone.
SAMPLES = "pass samples of the target, such as jko.Particles(points)"


#: Geometries whose steps of separable energies other solvers take, atom by atom.
SEPARABLE = (Hellinger, SphericalHellinger, Divergence)


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
        if not geometry.has_penalty_form and not isinstance(geometry, SphericalHellinger):
            if type(geometry).__module__.split(".")[0] != "jko":
                return NearMiss(
                    f"{type(geometry).__name__} has no penalty_form; write penalty_form(previous)"
                    " -> D^2(., previous)/2 as a jko.energies.WeightForm"
                )
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
        elif isinstance(geometry, SEPARABLE) and not form.quadratics:
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
    penalty = Hellinger().penalty_form(previous)
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


@dataclass(frozen=True, repr=False)
class _RidgedMMD(KernelFisherRao):
    """The metric MMD^2 + ridge He^2 as an energy of the weights."""

    def penalty_form(self, previous: Discrete) -> WeightForm:
        own = MMDEnergy(previous, self.kernel).restrict(previous)
        return own + Hellinger().penalty_form(previous).scaled(self.ridge)


@dataclass(frozen=True)
class KernelReaction(ProxSolver):
    r"""Steps of KL(pi|.) in `KernelFisherRao`: weights by a kernel ridge regression (formula Y3).

    Minimises 1/2 MMD^2(., pi) + (MMD^2 + ridge He^2)(., previous)/(2 tau), whose flow is that of
    KL(pi|.) with its force regressed in the kernel's space: on particles no density is estimated,
    and pi need not charge the same atoms. By `WeightNewton`, with its gap.

    Notes
    -----
    `sqdistance` and `objective` are those of this step. Between clouds of particles KL(pi|.) is
    infinite, and `energy` is 1/2 MMD^2.
    Two modes of unequal width, their weights to be moved from 1/2 to .3 / .7 in one flow of time
    10, 800 particles and as many samples of pi: .29 at d = 5 and .30 at d = 10, where the density
    estimate of `Reweighting` gives .08 and .001. The price is samples of the target in place of
    its density.

    References
    ----------
    Zhu and Mielke (2024).
    """

    geometries: ClassVar[tuple[type[Geometry], ...]] = (KernelFisherRao,)
    kinds: ClassVar[tuple[type[Measure], ...]] = (Discrete,)
    guarantee: ClassVar[str] = "to tolerance, of the kernel's form of the energy"
    default_tol: ClassVar[float] = 1e-9

    def accepts(self, problem: ProxProblem) -> str | None:
        if not isinstance(problem.geometry, KernelFisherRao):
            return f"it steps in jko.geometries.KernelFisherRao, not in {problem.geometry!r}"
        if not isinstance(problem.previous, Discrete):
            return f"a {type(problem.previous).__name__} has no weights on a fixed support"
        for _, term in problem.energy.terms:
            if not isinstance(term, InclusiveKL):
                return (
                    f"the regression of the force of {term!r} needs a density; jko.InclusiveKL to"
                    " samples of the target needs none"
                )
        return WeightNewton().accepts(_regressed(problem))

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        stated = _regressed(problem)
        answer = WeightNewton().solve(stated, controls)
        value = recorded(problem.energy, answer.measure)
        return replace(
            answer,
            energy=value if np.isfinite(value) else stated.value(answer.measure),
            sqdistance=problem.geometry.sqdistance(answer.measure, problem.previous),
            baseline=stated.value(stated.previous),
        )


def _regressed(problem: ProxProblem) -> ProxProblem:
    """The same step with 1/2 MMD^2 in place of KL(pi|.)."""
    geometry, terms = problem.geometry, []
    assert isinstance(geometry, KernelFisherRao)
    for c, term in problem.energy.terms:
        assert isinstance(term, InclusiveKL)
        terms.append(
            c * MMDEnergy(instance(term.target, Measure, "target", SAMPLES), geometry.kernel)
        )
    metric = _RidgedMMD(geometry.kernel, geometry.ridge, geometry.mass, rate=geometry.rate)
    return replace(problem, energy=sum(terms[1:], start=terms[0]), geometry=metric)
