"""`jko.step`: state the problem, choose a solver, judge its answer."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np

from jko.energies.base import Energy
from jko.energies.recorded import recorded
from jko.errors import JkoWarning, StepFailed
from jko.geometries.base import Geometry
from jko.measures.base import Discrete, Measure
from jko.prox.problem import ProxProblem
from jko.prox.result import Certificate, StepResult
from jko.solvers.auto import next_after, select
from jko.solvers.base import Answer, Controls, HandedBack, ProxSolver
from jko.status import Breakdown, Status
from jko.threads import limited
from jko.validation import positive, positive_int, rng_of


def step(
    measure: Measure,
    energy: Energy,
    geometry: Geometry,
    tau: float,
    *,
    solver: str | ProxSolver = "auto",
    tol: float | None = None,
    max_iter: int | None = None,
    warm: Any = None,
    rng: Any = None,
    throw: bool = True,
) -> StepResult:
    """Take one certified proximal step, argmin F(mu) + D(mu, measure)^2 / (2 tau).

    Parameters
    ----------
    measure : GridDensity, Histogram, Particles or Gaussian
        The previous measure.
    energy : Energy
    geometry : Geometry
        One geometry; sums are for `jko.split_step`.
    tau : float
        Step length, > 0.

    Other Parameters
    ----------------
    solver : "auto" or a solver object
        "auto" walks the list that `jko.solvers_for` shows.
    tol : float, optional
        On the gap, relative to max(1, |objective|), or on the residual where no gap exists;
        None takes the solver's declared default.
    max_iter : int, optional
    warm : object, optional
        `warm` of an earlier result.
    rng : seed or numpy Generator, optional
    throw : bool
        Raise `jko.StepFailed` (carrying the result) when the certificate misses the tolerance.

    Returns
    -------
    StepResult

    Raises
    ------
    Unsupported
        No solver takes this problem; the message lists each reason.
    StepFailed
        The step missed its tolerance and `throw` is true.
    """
    problem = ProxProblem(energy, geometry, measure, tau)
    _warn_if_not_unique(problem)
    tolerance = None if tol is None else positive(tol, "tol")
    limit = None if max_iter is None else positive_int(max_iter, "max_iter")
    generator, started = rng_of(rng), time.perf_counter()
    chosen, result = select(problem, solver), None
    while result is None:
        goal = chosen.default_tol if tolerance is None else tolerance
        controls = Controls(goal, limit, warm, generator)
        chosen, result = _tried(problem, chosen, controls, started, onwards=solver == "auto")
    if throw and not result.success:
        raise StepFailed(result.message, result)
    return result


def _tried(
    problem: ProxProblem, chosen: ProxSolver, controls: Controls, started: float, onwards: bool
) -> tuple[ProxSolver, StepResult | None]:
    """A solver and its result; the next solver and none where the step was handed back."""
    try:
        with limited():
            try:
                answer = chosen.solve(problem, controls)
            except HandedBack as back:
                following = next_after(problem, chosen) if onwards else None
                if following is not None:
                    return following, None
                answer = back.answer
            return chosen, judge(problem, chosen, answer, controls, started)
    except Breakdown as broken:
        return chosen, _broken(problem, chosen, broken, controls, started)


def _warn_if_not_unique(problem: ProxProblem) -> None:
    """A step in a modulus-convex energy has one minimiser when 1/tau + modulus > 0."""
    modulus = problem.energy.convexity(problem.geometry)
    if modulus is not None and 1 / problem.tau + modulus <= 0:
        warnings.warn(
            f"tau = {problem.tau:g} is too long for a unique step: the energy is {modulus:g}-convex"
            f" in {problem.geometry!r}; use tau < {-1 / modulus:g}",
            JkoWarning,
            stacklevel=3,
        )


def judge(
    problem: ProxProblem, solver: ProxSolver, answer: Answer, controls: Controls, started: float
) -> StepResult:
    """Turn an answer into a result: success is decided by the certificate, not by the solver."""
    usable = _defect(problem, answer.measure)
    if usable is not None:
        raise Breakdown(Status.BROKEN, usable)
    stated = answer.problem
    certificate = stated.certificate(answer)
    nu = answer.measure
    objective = stated.objective(nu) if answer.objective is None else answer.objective
    sqdistance = answer.sqdistance
    if sqdistance is None:
        sqdistance = problem.geometry.sqdistance(nu, problem.previous)
    status = _status(certificate, objective, controls.tol, answer.exhausted)
    return StepResult(
        measure=nu,
        energy=problem.value(nu) if answer.energy is None else answer.energy,
        sqdistance=sqdistance,
        objective=objective,
        gap=certificate.gap,
        bias=answer.bias,
        residual=certificate.residual,
        status=status,
        message=_message(solver, status, certificate, objective, controls.tol)
        + (f"; {answer.info['kind']}" if "kind" in answer.info else "")
        + (f"; {answer.remark}" if answer.remark and status is not Status.CERTIFIED else ""),
        solver=solver.name,
        iterations=answer.iterations,
        seconds=time.perf_counter() - started,
        tol=controls.tol,
        baseline=_baseline(problem, answer),
        warm=answer.warm,
        info=answer.info,
    )


def _baseline(problem: ProxProblem, answer: Answer) -> float | None:
    """The stated objective of staying put, where it is known."""
    if answer.baseline is None and isinstance(answer.problem, ProxProblem):
        return problem.value(problem.previous)
    return answer.baseline


def _status(certificate: Certificate, objective: float, tol: float, exhausted: bool) -> Status:
    if certificate.meets(tol, objective):
        return Status.CERTIFIED
    return Status.MAX_ITERATIONS if exhausted else Status.INACCURATE


def _message(
    solver: ProxSolver, status: Status, certificate: Certificate, objective: float, tol: float
) -> str:
    if certificate.gap is not None:
        figure = f"gap {certificate.gap:.3g} against {tol * max(1.0, abs(objective)):.3g}"
    elif certificate.residual is not None:
        figure = f"residual {certificate.residual:.3g} against {tol:.3g}"
    else:
        figure = "no certificate"
    return f"{solver.name}: {status.value} ({figure})"


def _defect(problem: ProxProblem, nu: Measure) -> str | None:
    """Why the returned measure cannot be right, whatever its objective."""
    if isinstance(nu, Discrete) and not (
        np.isfinite(nu.points).all() and np.isfinite(nu.weights).all()
    ):
        return "the returned measure is not finite"
    before, after = problem.previous.mass, nu.mass
    if problem.geometry.conserves_mass and abs(after - before) > 1e-9 * before:
        return f"mass {before:.12g} became {after:.12g} under a geometry that conserves it"
    return None


def _broken(
    problem: ProxProblem, solver: ProxSolver, broken: Breakdown, controls: Controls, started: float
) -> StepResult:
    """A result that stays where it was and says why."""
    energy = recorded(problem.energy, problem.previous)
    return StepResult(
        measure=problem.previous,
        energy=energy,
        sqdistance=0.0,
        objective=energy,
        gap=None,
        bias=None,
        residual=None,
        status=broken.status,
        message=f"{solver.name}: {broken.status.value} ({broken})",
        solver=solver.name,
        iterations=0,
        seconds=time.perf_counter() - started,
        tol=controls.tol,
    )
