"""The geometry protocol and its algebra: dissipation geometries add and scale."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from jko.errors import InvalidArgument, InvalidMeasure, InvalidType, Unsupported
from jko.forms.form import WeightForm
from jko.measures.base import Discrete, Measure, check_measure
from jko.measures.grid import not_straight
from jko.measures.masses import balanced, same_mass
from jko.measures.support import merged, on_one_list
from jko.validation import Array, positive, real

if TYPE_CHECKING:
    from cvxpy import Constraint, Expression

    from jko.prox.problem import ProxProblem


@dataclass(frozen=True)
class Geometry(ABC):
    """A dissipation geometry: a metric D between measures.

    `c * G` rescales the dissipation (the Onsager operator): (c*G).sqdistance = D^2/c, so that a
    step of c*G with tau is a step of G with c*tau. `G + H` exists for splitting.
    """

    rate: float = field(default=1.0, kw_only=True)

    __array_ufunc__ = None  # so that numbers and arrays of NumPy leave `*` to `__rmul__`

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", positive(self.rate, "rate"))

    @property
    @abstractmethod
    def conserves_mass(self) -> bool:
        """Whether every step keeps the total mass."""

    @abstractmethod
    def _sqdistance(self, a: Measure, b: Measure) -> float:
        """D^2(a, b) at rate 1."""

    def sqdistance(self, a: Measure, b: Measure) -> float:
        """D^2(a, b), divided by the rate."""
        check_pair(a, b)
        if self.conserves_mass:
            check_masses(a, b, self)
            b = balanced(b, a)
        return self._sqdistance(a, b) / self.rate

    def distance(self, a: Measure, b: Measure) -> float:
        """D(a, b)."""
        return float(np.sqrt(max(self.sqdistance(a, b), 0.0)))

    def penalty(self, a: Measure, previous: Measure, tau: float) -> float:
        """What a step of length tau pays for moving: D^2(a, previous) / (2 tau)."""
        return self.paid(self.sqdistance(a, previous), tau)

    def paid(self, sqdistance: float, tau: float) -> float:
        """What a step of length tau pays for a squared distance: D^2 / (2 tau)."""
        return sqdistance / (2 * tau)

    @property
    def listed(self) -> bool:
        """Whether it knows atoms by their place in a list (a matrix of costs), not by their points.

        Atoms that are listed twice are not merged for it.
        """
        return False

    def potential(self, a: Discrete, b: Discrete) -> Array:
        """First variation at `a` of D^2(., b)/2, on the atoms of `a` (n,)."""
        raise Unsupported(f"{self!r} has no potential between these measures")

    def geodesic(self, a: Measure, b: Measure, t: float) -> Measure:
        """The point at time t in [0, 1] of the geodesic from `a` to `b`."""
        raise Unsupported(f"{self!r} has no geodesic between these measures")

    def extrapolate(self, a: Measure, b: Measure) -> Measure:
        """The point at time 2 of the geodesic that leaves `a` and passes `b` at time 1."""
        raise Unsupported(
            f"{self!r} cannot extrapolate on a {type(a).__name__}; use scheme='implicit'"
        )

    def penalty_form(self, previous: Discrete) -> WeightForm | None:
        """D^2(., previous)/2 at rate 1 as an energy of the weights, or None where it is none.

        A geometry that has it, yours like those of the library, steps on fixed supports:
        `jko.solvers.WeightNewton` minimises energy and penalty as one convex form, and the dual of
        that form certifies.
        """
        return None

    @property
    def has_penalty_form(self) -> bool:
        """Whether it says so; asking computes nothing."""
        return type(self).penalty_form is not Geometry.penalty_form

    def certify(
        self, problem: ProxProblem, nu: Measure
    ) -> tuple[float | None, float | None] | None:
        """Gap and residual of `nu` for a step of this geometry; None leaves it to the library.

        Parameters
        ----------
        problem : jko.ProxProblem
        nu : Measure

        Returns
        -------
        (gap, residual) or None
            A bound of the excess of nu over the minimum (None where there is none), and the
            relative violation of the optimality condition.
        """
        return None

    def conic(self, w: Expression, previous: Discrete) -> tuple[Expression, list[Constraint]]:
        """A CVXPY expression of D^2(w, previous) at rate 1, and its constraints."""
        raise Unsupported(f"{self!r} has no conic form; see jko.solvers_for for what solves it")

    @property
    def parts(self) -> tuple[Geometry, ...]:
        """The geometry as a sum of elementary ones."""
        return (self,)

    def __add__(self, other: object) -> GeometrySum:
        if not isinstance(other, (Geometry, GeometrySum)):
            raise InvalidType(
                f"geometry got {type(other).__name__};"
                " add two geometries, such as jko.Wasserstein() + jko.Hellinger()"
            )
        return GeometrySum((*self.parts, *other.parts))

    def __mul__(self, factor: object) -> Self:
        c = positive(factor, "factor of a geometry", "leave the term out instead of scaling by 0")
        return replace(self, rate=c * self.rate)

    __rmul__ = __mul__


class GeometrySum:
    """A sum of geometries: `jko.split_step` and `jko.flow` take one step per part."""

    __array_ufunc__ = None

    def __init__(self, parts: tuple[Geometry, ...]) -> None:
        self.parts = parts

    def __iter__(self) -> Iterator[Geometry]:
        return iter(self.parts)

    def __len__(self) -> int:
        return len(self.parts)

    def __add__(self, other: object) -> GeometrySum:
        if not isinstance(other, (Geometry, GeometrySum)):
            raise InvalidType(f"geometry got {type(other).__name__}; add two geometries")
        return GeometrySum((*self.parts, *other.parts))

    def __mul__(self, factor: object) -> GeometrySum:
        return GeometrySum(tuple(factor * part for part in self.parts))

    __rmul__ = __mul__

    @property
    def conserves_mass(self) -> bool:
        """Whether every part keeps the total mass."""
        return all(part.conserves_mass for part in self.parts)

    def __repr__(self) -> str:
        return " + ".join(map(repr, self.parts))


def show(geometry: Geometry, text: str) -> str:
    """The representation with its rate in front, when that is not 1."""
    return text if geometry.rate == 1 else f"{geometry.rate:g} * {text}"


def check_pair(a: Measure, b: Measure) -> None:
    """Two measures of one dimension, or a sentence."""
    for name, value in (("a", a), ("b", b)):
        check_measure(value, name)
    if a.dim != b.dim:
        raise InvalidMeasure(f"a has dimension {a.dim}, b has dimension {b.dim}; they must agree")


def check_masses(a: Measure, b: Measure, geometry: Geometry | str) -> None:
    """Equal masses up to single precision, where the geometry conserves mass."""
    if not same_mass(a, b):
        raise InvalidMeasure(
            f"masses {a.mass:.9g} and {b.mass:.9g} differ, but {geometry!r} conserves mass;"
            " normalise the measures, or use a geometry on M+ such as jko.Hellinger()"
        )


def common_weights(a: Measure, b: Measure) -> tuple[Array, Array]:
    """Weights of two discrete measures on one support, matching atoms if they differ."""
    if not isinstance(a, Discrete) or not isinstance(b, Discrete):
        raise Unsupported(
            f"this geometry compares discrete measures, got {type(a).__name__} and"
            f" {type(b).__name__}; discretise them on one jko.Grid"
        )
    if a.same_support(b) and merged(a)[1] is None:
        return a.weights, b.weights
    return on_one_list(a, b)[1:]


def leaves_cone(what: str) -> Unsupported:
    """The error of an extrapolation that would need negative weights."""
    return Unsupported(
        f"the {what} geodesic leaves the positive measures before time 2; reduce tau,"
        " or use scheme='implicit'"
    )


def check_time(t: object) -> float:
    """A time in [0, 1]."""
    value = real(t, "t")
    if not 0 <= value <= 1:
        raise InvalidArgument(f"t = {t} must lie in [0, 1], the span of a geodesic")
    return value


def check_straight(a: Measure, b: Measure) -> None:
    """Refuse supports on which ways are not straight."""
    why = not_straight(a, b)
    if why is not None:
        raise Unsupported(why)


def check_discrete(a: Measure, b: Measure, shown: str) -> None:
    """Refuse what is not made of atoms; `shown` is a geometry of other costs than squares."""
    if isinstance(a, Discrete) and isinstance(b, Discrete):
        return
    remedy = "use two Gaussians or two discrete measures"
    if shown:
        remedy = f"{shown} compares discrete measures; use jko.Histogram or jko.Particles"
    raise Unsupported(
        f"no exact Wasserstein distance between {type(a).__name__} and {type(b).__name__}; {remedy}"
    )


def too_large(n: int, m: int, most: int) -> str:
    """Why an exact transport problem is refused."""
    return (
        f"the exact transport problem between {n} and {m} atoms is too large"
        f" (more than {most} pairs); compare coarser grids, or fewer particles:"
        " jko.thinning.resample(measure, 4000)"
    )


def charged_pair(a: Measure, b: Measure) -> tuple[Array, Array, Array, Array]:
    """Atoms with positive weight, the second mass rescaled to the first to the last digit."""
    check_straight(a, b)
    check_discrete(a, b, "")
    assert isinstance(a, Discrete)
    assert isinstance(b, Discrete)
    ka, kb = a.weights > 0, b.weights > 0
    wa, wb = a.weights[ka], b.weights[kb]
    return a.points[ka], wa, b.points[kb], wb * (wa.sum() / wb.sum())
