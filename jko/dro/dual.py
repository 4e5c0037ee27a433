r"""The dual function of an MMD ball, and bounds of it between the points (formula R2).

    sup {E_w l : MMD(w, w_hat) <= eps}  =  min {f0 + E_w_hat f + eps |f|_H : f0 + f >= l}.

The optimal f is 2 gamma K(w - w_hat), of norm 2 gamma MMD(w, w_hat), for the worst case w; any
weights and any gamma give a feasible pair once f0 = max (l - f), hence a bound.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from jko.dro.ambiguity import Ambiguity
from jko.geometries.mmd import MMD
from jko.measures.atoms import Histogram
from jko.validation import Array, points_array


@dataclass(frozen=True, eq=False)
class DualFunction:
    """f0 + f, a majorant of the loss on the support.

    Attributes
    ----------
    geometry : MMD
    support : Histogram
        The nominal measure on the support.
    coefficients : (n,) array
        f = sum_j coefficients_j k(x_j, .); they sum to zero.
    intercept : float
        f0, the least one that majorises the loss on the support.
    norm : float
        |f|_H.
    """

    geometry: MMD
    support: Histogram
    coefficients: Array
    intercept: float
    norm: float

    def __call__(self, x: ArrayLike) -> Array:
        """f0 + f at points (m, d)."""
        points = points_array(x, "x")
        return self.intercept + self.geometry.kernel.apply(
            points, self.support.points, self.coefficients
        )

    def bound(self, radius: float) -> float:
        """f0 + E f + radius |f|_H: no measure on the support within the radius exceeds it."""
        f = self.geometry.kernel.operator(self.support).matvec(self.coefficients)
        reach = radius * float(np.sqrt(self.geometry.rate))
        return (
            self.support.mass * self.intercept + float(self.support.weights @ f) + reach * self.norm
        )

    def variation(self, length: ArrayLike) -> Array:
        """sup of |f(x) - f(y)| over |x - y| <= length, for each length (m,).

        By |f|_H sqrt(2 k(0) - 2 k(length)), for kernels that decrease with |x - y|.
        """
        lengths = np.asarray(length, dtype=float)
        ends = np.zeros((lengths.size, self.support.dim))
        ends[:, 0] = lengths
        origin = np.zeros((1, self.support.dim))
        drop = self.geometry.kernel(origin, origin)[0, 0] - self.geometry.kernel(origin, ends)[0]
        return np.asarray(self.norm * np.sqrt(np.maximum(2 * drop, 0.0)))


def dual_function(stated: Ambiguity, weights: Array, multiplier: float) -> DualFunction:
    """The dual function that belongs to weights (n,) and a multiplier.

    The constant is projected out: the coefficients sum to zero, f0 takes what is left.
    """
    geometry, nominal = stated.geometry, stated.nominal
    assert isinstance(geometry, MMD)
    change = weights - nominal.weights
    change = change - change.sum() / change.size
    price = 2 * multiplier / geometry.rate
    image = geometry.kernel.operator(nominal).matvec(change)
    norm = price * float(np.sqrt(max(float(change @ image), 0.0)))
    excess = (stated.loss - price * image)[stated.opened]
    return DualFunction(geometry, nominal, price * change, float(excess.max()), norm)
