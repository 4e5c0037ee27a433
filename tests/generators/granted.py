"""A problem whose certificate grants everything, for solvers that are there to be interrupted."""

from typing import Any

from jko.prox import Certificate
from jko.prox.stated import Stated


class Granted(Stated):
    """A stated problem that certifies any answer."""

    def objective(self, nu: Any) -> float:
        return 0.0

    def certificate(self, answer: Any) -> Certificate:
        return Certificate(None, 0.0)
