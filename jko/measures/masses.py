"""When two measures have the same mass, and how the rest of the library reads them as equal."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from jko.measures.base import Discrete, Measure
from jko.measures.gaussian import Gaussian, GaussianMixture
from jko.validation import MASS_TOLERANCE

M = TypeVar("M", bound=Measure)

#: Masses closer than this are left as they are: sums in double precision differ by so much.
ROUNDING = 1e-13


def same_mass(a: Measure, b: Measure) -> bool:
    """Whether the masses agree up to the rounding of single precision."""
    mine, other = a.mass, b.mass
    return abs(mine - other) <= MASS_TOLERANCE * max(mine, other)


def balanced(b: M, a: Measure) -> M:
    """`b` with the mass of `a`, where the two masses differ by rounding alone."""
    mass, own = a.mass, b.mass
    if abs(own - mass) <= ROUNDING * mass or not same_mass(a, b):
        return b
    factor = mass / own
    if isinstance(b, Discrete):
        return b.with_weights(b.weights * factor)
    if isinstance(b, Gaussian):
        return replace(b, mass=mass)
    if isinstance(b, GaussianMixture) and b.weights is not None:
        return replace(b, weights=b.weights * factor)
    return b
