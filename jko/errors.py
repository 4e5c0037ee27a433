"""The errors a user of jko can meet; each message names the argument, its value and the remedy."""

from __future__ import annotations

from typing import Any

#: Most characters of a refusal or of the message of a step.
MESSAGE = 600


class JkoError(Exception):
    """Base class of every error raised by jko on purpose."""


class _Brief(JkoError):
    """An error whose message is at most `MESSAGE` characters long, whatever it quotes.

    Of a longer one the middle is left out: the remedy is at the end.
    """

    def __init__(self, message: str = "") -> None:
        if len(message) > MESSAGE:
            half = MESSAGE // 2
            message = f"{message[: half - 5]} ... {message[-half:]}"
        super().__init__(message)


class InvalidArgument(_Brief, ValueError):
    """An argument has the right type but a value that makes no sense."""


class InvalidType(InvalidArgument, TypeError):
    """An argument is not the kind of object that belongs there."""


class InvalidMeasure(InvalidArgument):
    """A measure, or the arrays it is built from, is not usable."""


class SingularCovariance(InvalidMeasure):
    """A covariance is singular to rounding; where a step comes to one it ends without success."""


class Unsupported(_Brief, ValueError):
    """The request is well formed, but this object or solver cannot serve it."""


class JkoWarning(UserWarning):
    """A step is valid, but its settings make it less accurate than it looks."""


class StepFailed(_Brief, RuntimeError):
    """A step missed its tolerance, or a solver broke down.

    Attributes
    ----------
    result : jko.StepResult or None
        What the step had reached: the best measure found, its gap or residual, its status.
        None when the solver had nothing to hand back.
    trajectory : jko.Trajectory or None
        In a flow, the steps before this one.
    """

    def __init__(self, message: str, result: Any = None) -> None:
        super().__init__(message)
        self.result = result
        self.trajectory: Any = None
