"""A proximal step as a problem, its certificate and its result."""

from jko.prox.problem import ProxProblem
from jko.prox.result import StepResult
from jko.prox.stated import Certificate
from jko.status import Breakdown, Status

__all__ = ["Breakdown", "Certificate", "ProxProblem", "Status", "StepResult"]
