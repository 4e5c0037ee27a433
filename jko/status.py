"""How a step ended: a status that is a sentence, and the way a solver gives up."""

from __future__ import annotations

from enum import Enum


class Status(Enum):
    """How a step ended; the value is the sentence a user reads, with the remedy."""

    CERTIFIED = "The step is certified: its gap or residual is within the tolerance."
    MAX_ITERATIONS = (
        "The iteration limit was reached before the certificate met the tolerance;"
        " raise max_iter, or tol if this accuracy is enough."
    )
    INACCURATE = (
        "The solver stopped, but the certificate misses the tolerance;"
        " try another solver (jko.solvers_for lists them) or a larger tol."
    )
    UNBOUNDED = "The step has no minimiser: the objective is unbounded below; reduce tau."
    EMPTY = (
        "The minimiser is the empty measure: the step removes all mass, and a measure needs some;"
        " reduce tau, or keep the mass fixed."
    )
    BROKEN = (
        "The solver's answer is not usable (not finite, negative, or of the wrong mass);"
        " change its settings or use another solver (jko.solvers_for lists them)."
    )


class Breakdown(Exception):
    """Raised by a solver that has no usable answer; the driver turns it into a result."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status
