"""Proximal Newton steps: a separable model of the energy at the latest measure, repeatedly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from jko.energies.checked import check_weighted
from jko.energies.model import LogModel
from jko.energies.nonlocal_part import FarPart, far_part
from jko.geometries.mmd import MMD
from jko.measures.base import Discrete, Measure
from jko.numerics.elementary import EPS
from jko.prox.problem import ProxProblem
from jko.prox.result import StepResult
from jko.prox.stated import ROUNDING, Answer, Claim, Controls
from jko.solvers.base import ProxSolver, hopeless
from jko.solvers.rules import Asked, Rule, walk
from jko.solvers.successive.convex import MARGIN, TangentDescent, takes, too_many
from jko.solvers.successive.stated import ModelledStep
from jko.status import Breakdown, Status
from jko.validation import positive_int

#: Factor by which the model's curvature grows when the objective rose, and falls back after.
STIFFER = 4.0
#: Curvature beyond which the model no longer moves: the energy falls nowhere.
STIFFEST = 4.0**12
#: A model is slow where the disagreement falls by less than this; patience with nonlocal ones.
FASTER = 0.3
PATIENCE = 3
#: Weights below this share of the mean count as so much where the nonlocal part is looked at.
FULL = 1e-6


@dataclass(frozen=True)
class ProximalNewton(ProxSolver):
    r"""Steps of energies that say no more than `value` and `first_variation`, on fixed supports.

    At the latest measure w0 the energy is replaced by the separable one with the first variation
    f(w0) + c (log w - log w0), c = df/d log w (`Energy.log_slope`): for a local energy this is
    Newton's method in log w, for a kernel of one sign a majorant. Where a local energy grows like a
    power of the density that power stands for the logarithm, and one model is exact. Where that is
    slow the model gets a positive quadratic form besides, what the first variation at an atom owes
    to the weights of others, seen by differences (`jko.energies.nonlocal_part`: Newton's method
    again). The step of the model, with the same previous measure, is taken by the solvers of such
    energies; where the objective rose the curvatures are increased. The fixed point is a stationary
    point of the step. Energies made of transport to a target, which are convex in the weights, are
    taken apart (`jko.solvers.successive.convex`): there the step has a gap.

    Parameters
    ----------
    inner : tuple of Rule
        What solves the model's steps, `jko.solvers.RULES` as a rule.
    max_iter : int, default 60
        Models made when `jko.step` is given none.

    Notes
    -----
    The residual compares the first variations of energy and model at the answer; the model's step
    must be certified besides. Otherwise there is no gap: nothing is known of convexity. `bias` is
    that of the model's step. Proximal Newton methods: Lee, Sun and Saunders (2014).
    """

    inner: tuple[Rule, ...]
    max_iter: int = 60

    claim: ClassVar[Claim] = Claim.STATIONARY
    kinds: ClassVar[tuple[type[Measure], ...]] = (Discrete,)
    guarantee: ClassVar[str] = (
        "stationary point of any energy with a first variation; the model's step is certified"
    )
    default_tol: ClassVar[float] = 1e-6

    def __post_init__(self) -> None:
        positive_int(self.max_iter, "max_iter")

    def accepts(self, problem: ProxProblem) -> str | None:
        previous = problem.previous
        if not isinstance(previous, Discrete):
            return f"varies the weights of discrete measures, not of a {type(previous).__name__}"
        if problem.has_form:
            return "the energy has a normal form; solvers of its own take it"
        many = too_many(problem)
        if many is not None:
            return many
        problem.energy.first_variation(previous)  # or Unsupported, which says why
        if not any(rule.reason(_stand_in(problem)) is None for rule in self.inner):
            return f"no solver takes separable energies in {problem.geometry!r} on this measure"
        return hopeless(problem)

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        check_weighted(problem.energy, problem.discrete, problem.geometry.conserves_mass)
        limit = self.max_iter if controls.max_iter is None else controls.max_iter
        if takes(problem):
            descent = TangentDescent(problem, self.inner, controls, 5 * limit)
            found = descent.answer()
            done = descent.gap <= descent.aim / MARGIN or descent.small
            if found is not None and (done or isinstance(problem.geometry, MMD)):
                return found  # separable models lead nowhere where weights are bound to each other
        run = _Run(self, problem, controls, limit)
        while run.count < limit and not run.ended:
            run.advance()
        if run.best is None:
            raise Breakdown(
                Status.INACCURATE, f"no model of the energy led to a lower objective: {run.said}"
            )
        return self._answer(problem, run.best, run.count, limit, stays=run.stays)

    def _answer(
        self,
        problem: ProxProblem,
        stated: ModelledStep,
        count: int,
        limit: int,
        stays: bool = False,
    ) -> Answer:
        found = stated.inner
        end = problem.discrete if stays else found.measure
        assert isinstance(end, Discrete)
        return Answer(
            end,
            stated,
            count,
            objective=stated.objective(end),
            sqdistance=0.0 if stays else found.sqdistance,
            energy=problem.energy.value(end),
            bias=found.bias,
            baseline=problem.energy.value(problem.previous),
            exhausted=count >= limit,
            warm=found.warm,
            info={"models": count, "inner_solver": found.solver},
        )


@dataclass(eq=False)
class _Run:
    """The models made so far, and the best step of them."""

    solver: ProximalNewton
    problem: ProxProblem
    controls: Controls
    limit: int

    def __post_init__(self) -> None:
        self.current: Discrete = self.problem.discrete
        self.before = self.best_value = self.problem.energy.value(self.current)
        self.best: ModelledStep | None = None
        self.far: FarPart | None = None
        self.boost, self.warm, self.count = 1.0, self.controls.warm, 0
        self.ended = self.stays = self.asked = False
        self.off, self.said, self.slow = np.inf, "", 0

    def advance(self) -> None:
        """One model and its step; where the objective rose, a stiffer one comes next."""
        self.count += 1
        result, stated = self._step()
        self.said = result.message
        if not result.success:
            self._give_up()
            return
        assert isinstance(result.measure, Discrete)
        value = stated.objective(result.measure)
        if self.count == 1 and value >= self.before and stated.reaches(self.current):
            self.best, self.ended, self.stays = stated, True, True
            return
        off = stated.disagreement(result.measure)
        rose = value > self.best_value + _slack(result, value)
        if rose and off > self.controls.tol and self.boost < STIFFEST:
            self.boost *= STIFFER
            self._look_far()
            return
        self.slow = self.slow + 1 if off > FASTER * self.off else 0
        self.best, self.off, self.best_value = stated, off, min(value, self.best_value)
        self.current, self.warm = result.measure, result.warm
        self.boost = max(1.0, self.boost / STIFFER)
        self.ended = off <= MARGIN * self.controls.tol
        if not self.ended:
            self._look_far()

    def _step(self) -> tuple[StepResult, ModelledStep]:
        """The step of the model at the latest measure."""
        problem = self.problem
        model = LogModel.of(problem.energy, self.current, self.boost, self.far)
        asked = Asked(None, None, self.controls.accuracy, self.warm, self.controls.rng)
        result = walk(replace(problem, energy=model), self.solver.inner, asked)
        return result, ModelledStep(problem, model, result)

    def _give_up(self) -> None:
        """After a model whose step failed: without its nonlocal part, or not at all."""
        self.ended = self.far is None
        self.far, self.slow = None, 0

    def _look_far(self) -> None:
        """Ask for the nonlocal part, once local models prove slow, and again when it is stale."""
        stale = self.slow >= PATIENCE if self.asked else self.slow or self.boost > 1
        if not stale or (self.asked and self.far is None):
            return
        self.asked, self.slow, mu = True, 0, self.current
        full = mu.with_weights(np.maximum(mu.weights, FULL * mu.mass / mu.n))
        problem = self.problem
        part = far_part(problem.energy, full, problem.geometry.conserves_mass)
        if part is not None and self._takes(part):
            self.far, self.boost = part, 1.0

    def _takes(self, part: FarPart) -> bool:
        """Whether the inner solvers take models with a nonlocal part."""
        n = self.current.n
        model = LogModel(np.zeros(n), np.ones(n), np.zeros(n), part.kernel)
        problem = replace(self.problem, energy=model)
        return any(rule.reason(problem) is None for rule in self.solver.inner)


def _slack(result: StepResult, value: float) -> float:
    """How far apart two objectives are that the steps of two models tell apart no better."""
    return abs(result.gap or 0.0) + ROUNDING * EPS * abs(value)


def _stand_in(problem: ProxProblem) -> ProxProblem:
    """The step of a separable energy of the kind the models are."""
    n = problem.discrete.n
    return replace(problem, energy=LogModel(np.zeros(n), np.ones(n), np.zeros(n)))
