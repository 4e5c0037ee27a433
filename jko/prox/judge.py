"""The judge: an answer becomes a result, and only its own certificate makes it a success."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from jko.energies.recorded import recorded
from jko.measures.base import Discrete, Measure
from jko.prox.problem import ProxProblem
from jko.prox.result import StepResult
from jko.prox.stated import Answer, Certificate, Claim, Controls, Scale
from jko.status import Breakdown, Status
from jko.validation import cut

#: Relative change of the mass that rounding may cause where the geometry conserves it.
MASS_ROUNDING = 1e-9


def judge(
    problem: ProxProblem, solver: str, answer: Answer, controls: Controls, started: float
) -> StepResult:
    """Turn an answer into a result: the certificate decides, whatever the solver reported.

    Raises
    ------
    Breakdown
        The measure cannot be right, whatever its objective.
    """
    usable = _defect(problem, answer.measure)
    if usable is not None:
        raise Breakdown(Status.BROKEN, usable)
    if answer.sqdistance is None:
        moved = problem.geometry.sqdistance(answer.measure, problem.previous)
        answer = replace(answer, sqdistance=moved)
    verdict = _Verdict.of(problem, answer, controls)
    kind = f"; {answer.info['kind']}" if "kind" in answer.info else ""
    remark = f"; {answer.remark}" if answer.remark and not verdict.success else ""
    return StepResult(
        measure=answer.measure,
        energy=problem.value(answer.measure) if answer.energy is None else answer.energy,
        sqdistance=answer.sqdistance if answer.sqdistance is not None else np.nan,
        objective=verdict.objective,
        gap=verdict.certificate.gap,
        bias=answer.bias,
        residual=verdict.certificate.residual,
        status=verdict.status,
        message=cut(f"{solver}: {verdict.sentence}{kind}{remark}"),
        solver=solver,
        iterations=answer.iterations,
        seconds=time.perf_counter() - started,
        tol=controls.tol,
        claim=verdict.claim,
        allowed=verdict.allowed,
        baseline=verdict.baseline,
        plan=answer.plan,
        warm=answer.warm,
        info=answer.info,
    )


class _Verdict:
    """The figures that decide, and the status they lead to."""

    def __init__(
        self, claim: Claim, certificate: Certificate, objective: float, baseline: float | None
    ) -> None:
        self.claim, self.certificate = claim, certificate
        self.objective, self.baseline = objective, baseline
        self.allowed = 0.0
        self.status, self.sentence = Status.BROKEN, ""

    @classmethod
    def of(cls, problem: ProxProblem, answer: Answer, controls: Controls) -> _Verdict:
        """Judge an answer whose distance is known."""
        stated, nu = answer.problem, answer.measure
        objective = stated.objective(nu) if answer.objective is None else answer.objective
        certificate = stated.certificate(answer)
        claim = stated.claim
        if claim is Claim.MINIMISES and certificate.gap is None:
            claim = Claim.STATIONARY
        out = cls(claim, certificate, objective, _baseline(problem, answer))
        counts = certificate.gap is not None or claim in (Claim.STATIONARY, Claim.DECREASES)
        scale = stated.size(replace(answer, objective=objective)) if counts else Scale(0.0, 0.0)
        out.allowed = scale.allowed(controls.tol)
        out._decide(scale, answer, controls)
        return out

    @property
    def success(self) -> bool:
        return self.status is Status.CERTIFIED

    def _decide(self, scale: Scale, answer: Answer, controls: Controls) -> None:
        met = bool(np.isfinite(self.objective)) and self.certificate.meets(
            controls.tol, self.allowed
        )
        figure = self._figure(controls.tol)
        if not np.isfinite(self.objective):
            figure = f"the objective of the measure found is {self.objective}"
        if met and self._above(scale):
            met, figure = False, f"the step ends above where it started, {self._rise():.3g} higher"
        elif met and controls.accuracy is not None:
            met, figure = self._accurate(answer.bias, controls.accuracy)
        if met:
            self.status = Status.CERTIFIED
        else:
            self.status = Status.MAX_ITERATIONS if answer.exhausted else Status.INACCURATE
        said = self.claim.value if met else self.status.value
        if met and self.claim in (Claim.MINIMISES, Claim.REGULARISED, Claim.STATIONARY):
            said = self.status.value
        self.sentence = f"{said} ({figure})"

    def _rise(self) -> float:
        return self.objective - (self.objective if self.baseline is None else self.baseline)

    def _above(self, scale: Scale) -> bool:
        """Whether a step without a gap ends above its start by more than rounding."""
        if self.certificate.gap is not None or self.claim not in (
            Claim.STATIONARY,
            Claim.DECREASES,
        ):
            return False
        return bool(self._rise() > scale.allowed(0.0))

    def _accurate(self, bias: float | None, accuracy: float) -> tuple[bool, str]:
        """Whether gap and bias are within the accuracy asked for, relative to the decrease."""
        exact = self.claim in (Claim.MINIMISES, Claim.STATIONARY) and bias is None
        if self.certificate.gap is None or (bias is None and not exact) or self.baseline is None:
            return False, f"the whole error is not known, and accuracy = {accuracy:g} was asked for"
        error = abs(self.certificate.gap) + abs(bias or 0.0)
        gained = self.baseline - self.objective
        figure = f"gap + bias {error:.3g} against {accuracy:g} of the decrease {gained:.3g}"
        return error <= max(accuracy * gained, self.allowed), figure

    def _figure(self, tol: float) -> str:
        gap, residual = self.certificate
        if gap is not None:
            return f"gap {gap:.3g} against {self.allowed:.3g}"
        if residual is not None:
            return f"residual {residual:.3g} against {tol:.3g}"
        return "no certificate"


def _baseline(problem: ProxProblem, answer: Answer) -> float | None:
    """The stated objective of staying put, where it is known."""
    if answer.baseline is None and isinstance(answer.problem, ProxProblem):
        return problem.value(problem.previous)
    return answer.baseline


def _defect(problem: ProxProblem, nu: Measure) -> str | None:
    """Why the returned measure cannot be right, whatever its objective."""
    if isinstance(nu, Discrete) and not (
        np.isfinite(nu.points).all() and np.isfinite(nu.weights).all()
    ):
        return "the returned measure is not finite"
    before, after = problem.previous.mass, nu.mass
    if problem.geometry.conserves_mass and abs(after - before) > MASS_ROUNDING * before:
        return f"mass {before:.12g} became {after:.12g} under a geometry that conserves it"
    return None


def broken(
    problem: ProxProblem, solver: str, failure: Breakdown, controls: Controls, started: float
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
        status=failure.status,
        message=cut(f"{solver}: {failure.status.value} ({failure})"),
        solver=solver,
        iterations=0,
        seconds=time.perf_counter() - started,
        tol=controls.tol,
    )
