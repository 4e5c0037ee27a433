"""The step of an energy that is known by its value and first variation alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from jko.energies.model import LogModel
from jko.measures.base import Discrete, Measure
from jko.prox.problem import ProxProblem
from jko.prox.result import StepResult
from jko.prox.stated import Answer, Certificate, Claim, Neighbour, on_atoms


@dataclass(frozen=True, eq=False)
class ModelledStep(Neighbour):
    """A stationary point of the step: the minimum of the step of a model that agrees with F there.

    A measure w that minimises M + D^2 / (2 tau) satisfies the optimality condition of F + D^2 /
    (2 tau) as far as the first variations of M and F at w agree. The step of the model has a
    certificate of its own; the disagreement is the residual.

    Attributes
    ----------
    problem : ProxProblem
        The step of F.
    model : LogModel
    inner : StepResult
        The step of the model, with its own verdict.
    """

    claim: ClassVar[Claim] = Claim.STATIONARY

    problem: ProxProblem
    model: LogModel
    inner: StepResult

    def objective(self, nu: Measure) -> float:
        """F(nu) + D^2 / (2 tau), the distance that of the model's step where nu is its end."""
        if nu is self.inner.measure:  # the solver knows the distance it paid
            return self.problem.energy.value(nu) + self.inner.sqdistance / (2 * self.problem.tau)
        if nu is self.problem.previous:
            return self.problem.energy.value(nu)
        return self.problem.objective(nu)

    def certificate(self, answer: Answer) -> Certificate:
        """No gap; the residual of `disagreement`, infinite where the model's step is not good."""
        nu = on_atoms(answer.measure)
        return Certificate(None, self.disagreement(nu) if self.reaches(nu) else np.inf)

    def reaches(self, nu: Discrete) -> bool:
        """Whether a measure minimises the model's step within that step's own tolerance.

        Its end does; where the step stays within its tolerance, so does the previous measure.
        """
        inner, previous = self.inner, self.problem.discrete
        end = inner.measure
        assert isinstance(end, Discrete)
        if not inner.success:
            return False
        if np.array_equal(nu.weights, end.weights):
            return True
        if inner.gap is None or inner.baseline is None or inner.allowed is None:
            return False
        if not np.array_equal(nu.weights, previous.weights):
            return False
        return inner.baseline - inner.objective + abs(inner.gap) <= inner.allowed

    def disagreement(self, nu: Discrete) -> float:
        """Mean of |f - f_M| over nu, relative to the mean of |f - mean f| and of f_M's alike.

        Where the mass is fixed a common constant does not count.
        """
        w = nu.weights
        charged = w > 0
        f = self.problem.energy.first_variation(nu)[charged]
        m = self.model.slope(w)[charged]
        off, size = f - m, np.concatenate([f, self.model.variation[charged]])
        share = w[charged] / w.sum()
        if self.problem.geometry.conserves_mass:
            off = off - float(share @ off)
            size = size - float(share @ f)
        both = np.concatenate([share, share])
        total = float(both @ np.abs(size))
        with np.errstate(invalid="ignore"):
            missed = float(share @ np.abs(off))
        if not np.isfinite(missed):
            return np.inf
        return missed / total if total > 0 else (0.0 if missed == 0 else np.inf)
