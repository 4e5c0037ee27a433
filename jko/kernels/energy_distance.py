"""The kernels of the energy distance, which are not bounded. r = |x - y| throughout."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from jko.errors import InvalidArgument
from jko.validation import Array, positive

from .base import Kernel
from .hooks import Definiteness
from .pairwise import check_points, sqdistances
from .radial import RadialKernel
from .stationary import inverse_power, set_parameter


def _check_exponent(value: object) -> float:
    advice = "pass a number in (0, 2); 1 is the energy distance"
    exponent = positive(value, "exponent", advice)
    if exponent >= 2.0:
        raise InvalidArgument(f"exponent = {value:g} must be below 2; {advice}")
    return exponent


@dataclass(frozen=True)
class Energy(RadialKernel):
    """k(x, y) = -|x-y|^p, conditionally positive definite (formula M9, section 2).

    With p = 1, MMD^2 is the energy distance 2 E|X-Y| - E|X-X'| - E|Y-Y'|, without a factor.
    Legitimate between measures of equal mass only.

    Parameters
    ----------
    exponent : float, default 1.0
        p in (0, 2).

    References
    ----------
    Székely and Rizzo (2013); Sejdinovic et al. (2013).
    """

    exponent: float = 1.0

    singular = True

    def __post_init__(self) -> None:
        set_parameter(self, "exponent", _check_exponent(self.exponent))

    @property
    def definiteness(self) -> Definiteness:
        """Conditional: v'Kv >= 0 only for sum v = 0."""
        return Definiteness.CONDITIONAL

    def positive(self) -> Kernel:
        """The kernel |x|^p + |y|^p - |x-y|^p."""
        return PositiveEnergy(self.exponent)

    def positive_about(self, points: Array) -> Kernel:
        """The same with norms from the middle of `points`."""
        return PositiveEnergy(self.exponent, tuple(np.median(points, axis=0).tolist()))

    @property
    def _formula(self) -> tuple[str | None, float]:
        return ("energy", 1.0) if self.exponent == 1.0 else (None, 0.0)

    def profile(self, sq: Array) -> Array:
        return -(np.sqrt(sq) if self.exponent == 1.0 else np.power(sq, self.exponent / 2.0))

    def slope(self, sq: Array) -> Array:
        return -self.exponent * inverse_power(sq, 1.0 - self.exponent / 2.0)


@dataclass(frozen=True)
class PositiveEnergy(Kernel):
    """k(x, y) = |x-o|^p + |y-o|^p - |x-y|^p, twice the covariance of fractional Brownian motion.

    Positive definite, and equal to `Energy` on differences of measures of equal mass, for every
    origin o; far from the points it costs digits.

    Parameters
    ----------
    exponent : float, default 1.0
        p in (0, 2).
    origin : tuple of d floats, default ()
        o; () for 0.
    """

    exponent: float = 1.0
    origin: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        set_parameter(self, "exponent", _check_exponent(self.exponent))

    def _from_origin(self, x: Array) -> Array:
        return x - np.asarray(self.origin) if self.origin else x

    def _norms(self, x: Array) -> Array:
        away = self._from_origin(x)
        return np.asarray(np.power(np.einsum("ij,ij->i", away, away), self.exponent / 2.0))

    def _gram(self, x: Array, y: Array) -> Array:
        distances = np.power(sqdistances(x, y), self.exponent / 2.0)
        return self._norms(x)[:, None] + self._norms(y)[None, :] - distances

    def _gradient(self, x: Array, y: Array) -> Array:
        power = 1.0 - self.exponent / 2.0
        away = self._from_origin(x)
        square = np.einsum("ij,ij->i", away, away)
        own = self.exponent * inverse_power(square, power)[:, None] * away
        return own[:, None, :] + Energy(self.exponent)._gradient(x, y)

    def diagonal(self, x: ArrayLike) -> Array:
        """The values 2 |x_i - o|^p, shape (n,)."""
        return 2.0 * self._norms(check_points(x))
