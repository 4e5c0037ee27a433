"""Proximal Newton steps: a separable model of the energy at the latest measure, repeatedly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from jko.energies.checked import check_weighted
from jko.energies.model import LogModel
from jko.measures.base import Discrete, Measure
from jko.numerics.elementary import EPS
from jko.prox.problem import ProxProblem
from jko.prox.result import StepResult
from jko.prox.stated import ROUNDING, Answer, Claim, Controls
from jko.solvers.base import ProxSolver
from jko.solvers.rules import Asked, Rule, walk
from jko.solvers.successive.stated import ModelledStep
from jko.status import Breakdown, Status
from jko.validation import positive_int

#: Factor by which the model's curvature grows when the objective rose, and falls back after.
STIFFER = 4.0
#: Curvature beyond which the model no longer moves: the energy falls nowhere.
STIFFEST = 4.0**12
#: Share of the tolerance at which the models end.
MARGIN = 0.5


@dataclass(frozen=True)
class ProximalNewton(ProxSolver):
    r"""Steps of energies that say no more than `value` and `first_variation`, on fixed supports.

    At the latest measure w0 the energy is replaced by the separable one with the first variation
    f(w0) + c (log w - log w0), c = df/d log w (`Energy.log_slope`): for a local energy this is
    Newton's method in log w, for a kernel of one sign a majorant. The step of the model, with the
    same previous measure, is taken by the solvers of such energies; where the objective rose the
    curvature c is increased. The fixed point is a stationary point of the step.

    Parameters
    ----------
    inner : tuple of Rule
        What solves the model's steps, `jko.solvers.RULES` as a rule.
    max_iter : int, default 60
        Models made when `jko.step` is given none.

    Notes
    -----
    The residual compares the first variations of energy and model at the answer; the model's step
    must be certified besides. There is no gap: nothing is known of convexity. `bias` is that of
    the model's step. Proximal Newton methods: Lee, Sun and Saunders (2014).
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
        problem.energy.first_variation(previous)  # or Unsupported, which says why
        if not any(rule.reason(_stand_in(problem)) is None for rule in self.inner):
            return f"no solver takes separable energies in {problem.geometry!r} on this measure"
        return None

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        check_weighted(problem.energy, problem.discrete, problem.geometry.conserves_mass)
        current, boost, warm = problem.discrete, 1.0, controls.warm
        before = problem.energy.value(current)
        best, best_value = None, before
        limit = self.max_iter if controls.max_iter is None else controls.max_iter
        inner_controls = Asked(None, None, controls.accuracy, None, controls.rng)
        for count in range(1, limit + 1):
            model = LogModel.of(problem.energy, current, boost)
            asked = replace(inner_controls, warm=warm)
            result = walk(replace(problem, energy=model), self.inner, asked)
            stated = ModelledStep(problem, model, result)
            assert isinstance(result.measure, Discrete)
            value = stated.objective(result.measure)
            if not result.success:
                break
            if count == 1 and value >= before and stated.reaches(current):
                return self._answer(problem, stated, count, limit, stays=True)
            off = stated.disagreement(result.measure)
            rose = value > best_value + _slack(result, value)
            if rose and off > controls.tol and boost < STIFFEST:
                boost *= STIFFER
                continue
            best, best_value = (stated, value, off, count), min(value, best_value)
            current, warm, boost = result.measure, result.warm, max(1.0, boost / STIFFER)
            if off <= MARGIN * controls.tol:
                break
        if best is None:
            said = f"no model of the energy led to a lower objective: {result.message}"
            raise Breakdown(Status.INACCURATE, said)
        return self._answer(problem, best[0], count, limit)

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


def _slack(result: StepResult, value: float) -> float:
    """How far apart two objectives are that the steps of two models tell apart no better."""
    return abs(result.gap or 0.0) + ROUNDING * EPS * abs(value)


def _stand_in(problem: ProxProblem) -> ProxProblem:
    """The step of a separable energy of the kind the models are."""
    n = problem.discrete.n
    return replace(problem, energy=LogModel(np.zeros(n), np.ones(n), np.zeros(n)))
