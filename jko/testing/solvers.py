"""Does a solver minimise the problem it states, and does the certificate tell the truth?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property

import numpy as np

from jko.errors import Unsupported
from jko.measures import Discrete, Gaussian, Measure, Particles
from jko.prox import Breakdown, ProxProblem, StepResult
from jko.prox.judge import judge
from jko.prox.stated import Answer, Controls
from jko.solvers.base import ProxSolver
from jko.testing.report import close, ran, require
from jko.validation import Array, Seed, rng_of


def check_solver(
    solver: ProxSolver,
    problem: ProxProblem,
    *,
    tol: float | None = None,
    rivals: int = 40,
    rng: Seed = 0,
) -> list[str]:
    """Check a solver on a problem it is meant to accept.

    Parameters
    ----------
    solver : ProxSolver
    problem : ProxProblem
    tol : float, optional
        On the certificate; the solver's own default when None.
    rivals : int
        Number of random competitors.
    rng : seed or numpy Generator

    Returns
    -------
    list of str
        "certified" always; "result" (its figures belong together), "rivals" (no competitor of
        the stated problem does better than the gap allows; where no gap exists, none near the
        answer does) and "gap" (the certificate of each competitor covers what it is worse by)
        where the stated problem can judge other measures.

    Raises
    ------
    AssertionError
        With a sentence that says which promise is broken.
    """
    refusal = solver.accepts(problem)
    require(refusal is None, f"{solver.name} refuses the problem it should take: {refusal}")
    controls = Controls(tol=solver.default_tol if tol is None else tol, rng=rng_of(rng))
    try:
        answer = solver.solve(problem, controls)
        result = judge(problem, solver.name, answer, controls, time.perf_counter())
    except Breakdown as broken:
        raise AssertionError(f"{solver.name} broke down: {broken}") from None
    require(result.success, f"not certified: {result.message}")
    job = _SolverCheck(
        problem, answer, result, [*_competitors(problem, answer, rivals, controls.rng)]
    )
    return ["certified", *ran({"result": job.result, "rivals": job.rivals, "gap": job.gap})]


class _SolverCheck:
    def __init__(
        self, problem: ProxProblem, answer: Answer, result: StepResult, rivals: list[Measure]
    ) -> None:
        self.problem, self.answer, self.found, self.others = problem, answer, result, rivals
        self.best = result.objective
        #: Sums of n terms and conic references carry rounding of this size.
        self.slack = 1e-10 * max(1.0, abs(self.best))

    def result(self) -> None:
        problem, found = self.problem, self.found
        energy = problem.energy.value(found.measure)
        close(found.energy, energy, 1 + abs(energy), 1e-8, "energy is not that of the measure")
        require(found.sqdistance >= 0, f"sqdistance is {found.sqdistance}")
        if self.answer.sqdistance is None:
            moved = problem.geometry.sqdistance(found.measure, problem.previous)
            close(found.sqdistance, moved, 1 + moved, 1e-8, "sqdistance is not that of the measure")
        if self.answer.problem is problem and self.answer.certified is None:
            total = energy + problem.geometry.paid(found.sqdistance, problem.tau)
            sentence = "objective is not energy + sqdistance / (2 tau)"
            close(found.objective, total, 1 + abs(total), 1e-8, sentence)
        if found.gap is not None:
            allowed = found.allowed or 0.0
            sentence = f"a gap of {found.gap:.3g} passed as success where {allowed:.3g} is allowed"
            require(found.gap <= allowed, sentence)
            require(found.gap >= -allowed, f"the gap is negative, {found.gap:.3g}")

    @cached_property
    def objectives(self) -> list[float]:
        """The stated objective of every competitor; it may cost as much as a step."""
        return [self.answer.problem.objective(nu) for nu in self.others]

    def rivals(self) -> None:
        gap = self.found.gap
        allowed = self.slack + (self.found.tol if gap is None else max(gap, 0.0))
        for objective in self.objectives:
            gain = self.best - objective
            require(
                gain <= allowed,
                f"{self.found.solver} is beaten by {gain:.3g} in its own problem,"
                f" its certificate allows {allowed:.3g}",
            )

    def gap(self) -> None:
        if self.found.gap is None:
            raise Unsupported("the stated problem has no gap")
        stated = self.answer.problem
        # An answer that meets its constraints to a tolerance may be below the minimum by its gap.
        slack = self.slack + max(self.found.gap, 0.0)
        for nu, objective in zip(self.others, self.objectives, strict=True):
            other = replace(self.answer, measure=nu, objective=None, certified=None)
            bound, excess = stated.certificate(other).gap, objective - self.best
            if bound is None:
                continue
            require(
                bound >= excess - slack,
                f"the gap {bound:.3g} of a competitor is less than what it is worse by,"
                f" {excess:.3g}",
            )


def _competitors(
    problem: ProxProblem, answer: Answer, count: int, rng: np.random.Generator
) -> Iterator[Measure]:
    """Random measures near the answer (and, for convex problems, far from it)."""
    nu = answer.measure if answer.certified is None else answer.certified
    sizes = 10.0 ** rng.uniform(-4, 0, count)
    if isinstance(nu, Gaussian):
        yield from (_near_gaussian(nu, s, rng) for s in sizes)
    elif isinstance(nu, Particles) and not np.array_equal(nu.points, _points(problem.previous, nu)):
        # Moving atoms: the objective need not be convex, so only neighbours compete.
        spread = float(np.sqrt(np.trace(np.atleast_2d(nu.cov)))) + 1e-3
        for s in 1e-2 * spread * sizes:
            yield nu.with_points(nu.points + s * rng.normal(size=nu.points.shape))
    elif isinstance(nu, Discrete):
        mass = nu.mass if problem.geometry.conserves_mass else None
        for s in sizes:
            yield nu.with_weights(_near_weights(nu.weights, s, mass, rng))
        if nu.same_support(problem.previous):
            yield problem.previous


def _points(previous: Measure, nu: Discrete) -> Array:
    """Where the atoms were; those of a step that changes weights have not moved."""
    if isinstance(previous, Discrete) and previous.n <= nu.n:
        return np.concatenate([previous.points, nu.points[previous.n :]])
    return nu.points


def _near_gaussian(nu: Gaussian, size: float, rng: np.random.Generator) -> Gaussian:
    root = np.linalg.cholesky(nu.cov) @ (
        np.eye(nu.dim) + 0.3 * size * rng.normal(size=nu.cov.shape)
    )
    cov = root @ root.T + 1e-9 * np.eye(nu.dim)
    return Gaussian(nu.mean + size * rng.normal(size=nu.dim), cov, nu.mass)


def _near_weights(w: Array, size: float, mass: float | None, rng: np.random.Generator) -> Array:
    """Weights scaled atom by atom, mixed with a random measure on a few of the atoms."""
    out = w * np.exp(size * rng.normal(size=w.shape))
    few = rng.exponential(size=w.shape) * (rng.random(w.shape) < rng.choice([0.1, 0.5, 1.0]))
    if few.sum() > 0:
        share = size * rng.choice([0.0, 0.5, 0.9])
        out = (1 - share) * out + share * w.sum() * few / few.sum()
    return out if mass is None else out * (mass / out.sum())
