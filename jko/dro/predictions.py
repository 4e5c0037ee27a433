"""Losses of a prediction: what the learners minimise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from jko.errors import InvalidArgument, InvalidType
from jko.validation import Array, one_of, shown

Pairwise = Callable[[Array, Array], Array]


@dataclass(frozen=True)
class PredictionLoss:
    """l(prediction, target) and its derivative in the prediction.

    Parameters
    ----------
    value, slope : callables (z (n,), y (n,)) -> (n,)
        Convex in z for the certificates to hold. Classifiers pass targets -1 and +1.
    curvature : float, optional
        Upper bound of the second derivative in z.
    lipschitz : float, optional
        Upper bound of |slope|. `jko.Wasserstein()` needs one of the two: without them a loss may
        outgrow the transport cost. `jko.Wasserstein(p=1)` needs this one, and pays exactly it.
    pieces : callable y (n,) -> sequence of pairs of (n,) arrays, optional
        For piecewise linear losses: l(z, y) = max over the pairs (a, b) of a z + b. They are
        trained by a conic program, since no smooth method would get through their kinks.
    """

    value: Pairwise
    slope: Pairwise
    curvature: float | None = None
    lipschitz: float | None = None
    pieces: Callable[[Array], Sequence[tuple[Array, Array]]] | None = None

    def __post_init__(self) -> None:
        for name in ("value", "slope"):
            if not callable(getattr(self, name)):
                raise InvalidType(f"{name} of a PredictionLoss must be a function (z, y) -> (n,)")


def _square(z: Array, y: Array) -> Array:
    return (z - y) ** 2


def _square_slope(z: Array, y: Array) -> Array:
    return 2 * (z - y)


def _huber(z: Array, y: Array) -> Array:
    r = np.abs(z - y)
    return np.where(r <= 1, r**2, 2 * r - 1)


def _huber_slope(z: Array, y: Array) -> Array:
    return 2 * np.clip(z - y, -1, 1)


def _logistic(z: Array, y: Array) -> Array:
    return np.logaddexp(0.0, -y * z)


def _logistic_slope(z: Array, y: Array) -> Array:
    from scipy.special import expit

    return np.asarray(-y * np.asarray(expit(-y * z)))


def _linear(z: Array, y: Array) -> Array:
    return -y * z


def _linear_slope(z: Array, y: Array) -> Array:
    return -y + 0 * z


def _from_pieces(pieces: Callable[[Array], Sequence[tuple[Array, Array]]]) -> PredictionLoss:
    """A piecewise linear loss, its slope that of the first piece that is largest."""

    def lines(z: Array, y: Array) -> tuple[Array, Array]:
        pairs = pieces(y)
        return np.array([a * z + b for a, b in pairs]), np.array([a + 0 * z for a, _ in pairs])

    def value(z: Array, y: Array) -> Array:
        return np.asarray(lines(z, y)[0].max(axis=0))

    def slope(z: Array, y: Array) -> Array:
        values, slopes = lines(z, y)
        return np.asarray(np.take_along_axis(slopes, values.argmax(axis=0)[None], 0)[0])

    return PredictionLoss(value, slope, lipschitz=1.0, pieces=pieces)


def _hinge(y: Array) -> Sequence[tuple[Array, Array]]:
    return (-y, np.ones_like(y)), (0 * y, 0 * y)


def _absolute(y: Array) -> Sequence[tuple[Array, Array]]:
    return (np.ones_like(y), -y), (-np.ones_like(y), y)


SQUARED = PredictionLoss(_square, _square_slope, curvature=2.0)
HUBER = PredictionLoss(_huber, _huber_slope, curvature=2.0, lipschitz=2.0)
LOGISTIC = PredictionLoss(_logistic, _logistic_slope, curvature=0.25, lipschitz=1.0)
LINEAR = PredictionLoss(_linear, _linear_slope, curvature=0.0, lipschitz=1.0)
HINGE = _from_pieces(_hinge)
ABSOLUTE = _from_pieces(_absolute)

#: Names the learners know.
REGRESSION = {"squared": SQUARED, "huber": HUBER, "absolute": ABSOLUTE}
CLASSIFICATION = {"logistic": LOGISTIC, "linear": LINEAR, "hinge": HINGE}


def prediction_loss(loss: object, known: dict[str, PredictionLoss]) -> PredictionLoss:
    """A loss by name, or the user's own."""
    if isinstance(loss, PredictionLoss):
        return loss
    if isinstance(loss, str):
        return known[one_of(loss, known, "loss")]
    raise InvalidType(
        f"loss got {shown(loss)}; pass one of {', '.join(map(repr, known))} or a"
        " jko.dro.PredictionLoss(value, slope)"
    )


def evaluate(loss: PredictionLoss, z: Array, y: Array) -> tuple[Array, Array]:
    """Values and slopes (n,), or a sentence when a user's loss gives something else."""
    value, slope = np.asarray(loss.value(z, y), float), np.asarray(loss.slope(z, y), float)
    if value.shape != z.shape or slope.shape != z.shape:
        raise InvalidArgument(
            f"loss gave shapes {value.shape} and {slope.shape} for {z.size} predictions; value and"
            " slope return one number per prediction"
        )
    return value, slope
