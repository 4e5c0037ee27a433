"""Answers of the quadratic programs in the weights, and the bounds that certify them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

Array = np.ndarray


class QPStatus(Enum):
    """Why the iteration ended; the value is the sentence a user reads."""

    OPTIMAL = "The gap is within the tolerance."
    MAX_ITER = "The iteration limit was reached before the tolerance: raise max_iter."
    STALLED = "Rounding stopped the progress above the tolerance: loosen tol."
    COARSE_FACTOR = "The exact gradient misses the tolerance: use a factor of higher rank."
    UNBOUNDED = "The mass grows without bound: no minimiser on the cone; fix the mass."


@dataclass(frozen=True)
class QPResult:
    """Answer of `solve_qp`.

    Attributes
    ----------
    weights : (n,) array, nonnegative; their sum is `mass` to rounding when the mass is fixed.
    gradient : (n,) array, ``Hw - c`` at `weights`, exact when `product` was given.
    multiplier : float, the mass multiplier ``min gradient`` (0 when the mass is free).
    value : float, ``P(weights)``, from the same products as `gradient`.
    gap : float, upper bound of ``P(weights) - min P`` for the H that gave `gradient`.
    iterations, corrections : Newton steps; exact products beyond the first.
    ranks : number of columns used by each Newton matrix.
    status : QPStatus
    """

    weights: Array
    gradient: Array
    multiplier: float
    value: float
    gap: float
    iterations: int
    corrections: int
    ranks: tuple[int, ...]
    status: QPStatus

    @property
    def success(self) -> bool:
        return self.status is QPStatus.OPTIMAL


def simplex_gap(weights: Array, gradient: Array) -> float:
    """Frank-Wolfe gap ``w'g - (1'w) min g``, bounds ``P(w) - min P`` at the mass ``1'w``.

    Evaluated as ``w'(g - min g)``: no cancellation, never negative. This and `cone_gap` stop the
    iteration, in its own scale and without the rounding of g; the judge of the step, which bounds
    it, is `jko.solvers.weights.stated`, that of general forms `jko.prox.duality.weights`.
    """
    return float(weights @ (gradient - gradient.min()))


def cone_gap(weights: Array, hessian_weights: Array, linear: Array) -> float:
    """Gap ``P(w) + 1/2 u'Hu`` on the cone with the dual point ``u = t w``.

    For any u with ``Hu >= c`` and any ``v >= 0``: ``P(v) >= 1/2 v'Hv - v'Hu >= -1/2 u'Hu``. The
    point ``u = t w`` is feasible for ``t = max c_i / (Hw)_i`` when ``Hw > 0``, as for positive
    kernels; otherwise the bound is inf.
    """
    whw = float(weights @ hessian_weights)
    positive = hessian_weights > 0
    t = max(0.0, float(np.max(linear[positive] / hessian_weights[positive], initial=0.0)))
    if np.any(linear[~positive] > t * hessian_weights[~positive]):
        return np.inf
    return max(0.0, 0.5 * whw * (1 + t * t) - float(linear @ weights))
