"""Kernels that depend on |x - y| only, through a profile and a slope of the squared distance."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import cache, wraps
from importlib.util import find_spec
from types import FunctionType, ModuleType

import numpy as np
from numpy.typing import ArrayLike

from jko.errors import InvalidArgument
from jko.numerics.elementary import EPS
from jko.validation import Array

from .base import Kernel
from .hooks import Definiteness
from .pairwise import ApartSlopes, GramBlock, check_points, difference_sums, sqdistances

#: Fewer pairs are not worth the second that numba takes to compile a formula.
COMPILED_PAIRS = 2**22
#: Beyond these dimensions the matrix products of NumPy win (benchmarks/compiled_sums.py).
COMPILED_DIMENSION = {"gaussian": 3}
OTHERS_DIMENSION = 20


def compiled(formula: str | None, x: Array, y: Array) -> ModuleType | None:
    """The compiled loops where they are the faster way, None elsewhere or without numba.

    The choice depends on sizes alone, so that a run gives the same bits again.
    """
    if formula is None or len(x) * len(y) < COMPILED_PAIRS:
        return None
    if x.shape[1] > COMPILED_DIMENSION.get(formula, OTHERS_DIMENSION) or not _has_numba():
        return None
    from jko.kernels import compiled as loops

    return loops


@cache
def _has_numba() -> bool:
    return find_spec("numba") is not None


#: Length of central differences of a profile, relative to the squared distance.
DIFFERENCE = 1e-5
#: Relative disagreement of a slope with differences of its profile that is no rounding.
DISAGREES = 1e-4


class RadialKernel(Kernel):
    """A kernel k(x, y) = profile(|x - y|^2).

    One of your own supplies `profile` and is a frozen dataclass, so that kernels compare by value.
    Its `slope`, 2 profile', is taken by differences unless it is supplied too; it is then checked
    against differences when it is first used.
    """

    radial: bool = True
    stationary: bool = True
    #: the slope blows up at coincident points (Laplace, Energy)
    singular: bool = False

    def __init_subclass__(cls, **settings: object) -> None:
        super().__init_subclass__(**settings)
        name = RadialKernel.profile.__name__
        own = cls.__dict__.get(name)
        if isinstance(own, FunctionType) and cls.__module__.split(".")[0] != "jko":
            setattr(cls, name, _guarded(own))

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    @abstractmethod
    def profile(self, sq: Array) -> Array:
        """The kernel as a function of the squared distance (any shape); must not change `sq`."""

    def slope(self, sq: Array) -> Array:
        """2 profile'(sq), so that grad_1 k(x, y) = slope(|x - y|^2) (x - y); by differences."""
        # Near 0 as far as the kernel has not changed: the square of its smallest distances.
        h = DIFFERENCE * np.maximum(sq, DIFFERENCE * float(np.max(sq, initial=0.0))) + 1e-300
        below = np.maximum(sq - h, 0.0)
        return np.asarray(2 * (self.profile(sq + h) - self.profile(below)) / (sq + h - below))

    def _slope(self, sq: Array) -> Array:
        """The s(r^2) with grad_1 k(x, y) = s (x - y); 0 at r = 0 where s is unbounded."""
        own = not type(self).slope.__module__.startswith("jko.")
        if own:
            _check_slope(self)
        return np.asarray(self.slope(sq), dtype=float)

    def _gram(self, x: Array, y: Array) -> Array:
        return self.profile(sqdistances(x, y))

    def _gradient(self, x: Array, y: Array) -> Array:
        return self._slope(sqdistances(x, y))[:, :, None] * (x[:, None, :] - y[None, :, :])

    @property
    def maximum(self) -> float | None:
        """k(x, x), the same everywhere, where k is positive definite."""
        if self.definiteness is not Definiteness.POSITIVE:
            return None
        return float(self.profile(np.zeros(1))[0])

    def diagonal(self, x: ArrayLike) -> Array:
        """The values k(x_i, x_i), shape (n,)."""
        return self.profile(np.zeros(len(check_points(x))))

    @property
    def _formula(self) -> tuple[str | None, float]:
        """The name of the profile in `jko.kernels.compiled`, if it has one, and its rate."""
        return None, 0.0

    def _sums(self, x: Array, y: Array, v: Array) -> Array:
        formula, rate = self._formula
        loops = compiled(formula, x, y)
        if loops is None:
            return super()._sums(x, y, v)
        return np.asarray(loops.sums(formula, rate, x, y, v))

    def _gradient_sums(self, x: Array, y: Array, v: Array) -> Array:
        formula, rate = self._formula
        loops = compiled(formula, x, y)
        if loops is not None:
            return np.asarray(loops.gradient_sums(formula, rate, x, y, v))
        if not self.singular:
            return difference_sums(self._slope_blocks(x, y), x, y, v)
        apart = ApartSlopes(self._slope, x, y, v)
        return difference_sums(apart, x, y, v, alone=True) + apart.close

    def _slope_blocks(self, x: Array, y: Array) -> GramBlock:
        """A function of two slices: rectangles of the slopes between two whole clouds."""
        return lambda i, j: self._slope(sqdistances(x[i], y[j]))


def _guarded(own: Callable[..., object]) -> Callable[[RadialKernel, Array], Array]:
    """A profile of the user's, which says what it returned where that is no kernel's value."""

    @wraps(own)
    def profile(self: RadialKernel, sq: Array) -> Array:
        out, name = own(self, sq), f"profile of {type(self).__name__}"
        values = np.asarray(out)
        if values.shape != np.shape(sq) or values.dtype.kind not in "fiub":
            raise InvalidArgument(
                f"{name} returned {type(out).__name__} of shape {values.shape} for squared"
                f" distances of shape {np.shape(sq)}; return one real number for each"
            )
        if not np.isfinite(values).all():
            at = float(np.asarray(sq)[~np.isfinite(values)].flat[0])
            raise InvalidArgument(
                f"{name} is not finite at squared distance {at:.6g}; a kernel has a finite value"
                " at every distance, 0 included"
            )
        return values.astype(np.float64, copy=False)

    return profile


@cache
def _check_slope(kernel: RadialKernel) -> None:
    """Refuse a slope that is not twice the derivative of the profile where the kernel lives."""
    sq = np.geomspace(1e-6, 1e6, 200)
    with np.errstate(all="ignore"):
        found = kernel.slope(sq)
        right = np.concatenate([RadialKernel.slope(kernel, one) for one in sq[:, None]])
        # Where the profile has decayed to rounding differences say nothing.
        rounding = 4 * EPS * np.abs(kernel.profile(sq)) / (DIFFERENCE * sq)
        off = np.abs(found - right) > DISAGREES * np.abs(right) + rounding
    if off.any():
        at = int(np.argmax(off))
        raise InvalidArgument(
            f"slope of {kernel!r} is {found[at]:.6g} at squared distance {sq[at]:.3g}, differences"
            f" of its profile say {right[at]:.6g}; it is twice the derivative of profile by sq"
        )
