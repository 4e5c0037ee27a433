"""A proximal step as a problem, its certificate and its result."""

from jko.prox.problem import ProxProblem
from jko.prox.result import Breakdown, Certificate, Status, StepResult

__all__ = ["Breakdown", "Certificate", "ProxProblem", "Status", "StepResult"]
