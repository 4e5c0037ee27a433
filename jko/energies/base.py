"""The energy protocol and its algebra: energies add and scale."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from jko.energies.gaussian_form import GaussianForm
from jko.energies.returned import guard
from jko.errors import InvalidType, Unsupported
from jko.forms.form import WeightForm
from jko.geometries.base import Geometry
from jko.geometries.wasserstein import Wasserstein
from jko.measures.base import Discrete, Measure
from jko.measures.gaussian import Gaussian, GaussianMixture
from jko.measures.support import merged
from jko.numerics.gradients import is_single
from jko.validation import Array, instance, positive, shown

if TYPE_CHECKING:
    from cvxpy import Constraint, Expression

#: Growth of all weights in differences of the first variation: the root of rounding, in double
#: and in single precision.
LOG_STEP = 2.0**-26
SINGLE_LOG_STEP = 2.0**-11


class Energy(ABC):
    """A functional F of a measure; only `value` must be written.

    Capabilities a solver may ask for: `restrict` (the normal form on a fixed support, from which
    `first_variation`, `log_prox_kl` and `conic` follow), `first_variation` alone (fixed supports,
    by `jko.solvers.ProximalNewton`), `wasserstein_gradient` (moving atoms), `gaussian_form`
    (Gaussians and mixtures of them). `log_prox_kl` and `conic` are views of the normal form, not
    hooks: solvers read the form itself.
    A capability that is missing raises `jko.Unsupported` with a sentence that says what to use.
    """

    def __init_subclass__(cls, **settings: object) -> None:
        super().__init_subclass__(**settings)
        guard(cls)

    #: Whether functions of the user's are behind its slopes: these are compared with its values.
    of_functions: ClassVar[bool] = False

    __array_ufunc__ = None  # so that numbers and arrays of NumPy leave `*` to `__rmul__`

    @abstractmethod
    def value(self, mu: Measure) -> float:
        """F(mu); +inf is a legitimate value."""

    def restrict(self, mu: Discrete) -> WeightForm:
        """F as a function of the weights on the atoms of `mu`."""
        if type(self).first_variation is Energy.first_variation:
            raise Unsupported(
                f"{self!r} has no first_variation; write first_variation(mu) -> dF/dw_i (n,), and"
                " jko.solvers.ProximalNewton steps it"
            )
        raise Unsupported(
            f"{self!r} has no normal form on a fixed support;"
            " use solver='auto', which steps it by its first variation"
        )

    def gaussian_form(self) -> GaussianForm:
        """F as a function of mean and covariance on Gaussian measures."""
        raise Unsupported(
            f"{self!r} has no form on Gaussian measures; use jko.KL, jko.Entropy() or"
            " jko.Potential(V, gradient=...), or discretise on a jko.GridDensity"
        )

    def first_variation(self, mu: Discrete) -> Array:
        """dF/dmu at the atoms (n,)."""
        if self.listed:
            return self.restrict(mu).gradient(mu.weights)
        distinct, index = merged(mu)
        slope = self.restrict(distinct).gradient(distinct.weights)
        return slope if index is None else slope[index]

    def log_slope(self, mu: Discrete) -> Array:
        """d f_i / d log w (n,) as all weights grow alike, f the first variation.

        What `jko.solvers.ProximalNewton` models an energy by that has no normal form; by
        differences unless an energy says better. Of a local energy it is rho U''(rho).
        """
        here = self.first_variation(mu)
        step = SINGLE_LOG_STEP if is_single(here) else LOG_STEP
        there = self.first_variation(mu.with_weights(mu.weights * (1 + step)))
        with np.errstate(invalid="ignore"):
            return (np.asarray(there, dtype=float) - here) / step

    def wasserstein_gradient(self, mu: Discrete) -> Array:
        """Gradient of the first variation at the atoms (n, d): a particle moves against it."""
        raise Unsupported(
            f"{self!r} has no Wasserstein gradient on {type(mu).__name__};"
            " use a jko.GridDensity, or an energy such as MMDEnergy or Potential(V, gradient=...)"
            if type(self).__module__.split(".")[0] == "jko"
            else f"{self!r} has no wasserstein_gradient; write wasserstein_gradient(mu) -> grad of"
            " the first variation (n, d), or use a jko.GridDensity"
        )

    @final
    def log_prox_kl(self, log_q: Array, step: float, mu: Discrete) -> Array:
        """log of argmin_w step F(w) + KL(w|q) on the atoms of `mu`, from log q (n,)."""
        form = self.restrict(mu)
        if form.quadratics:
            raise Unsupported(f"{self!r} is not separable: it has no KL-prox in closed form")
        return form.separable.log_prox_kl(log_q, step)

    @final
    def conic(self, w: Expression, mu: Discrete) -> tuple[Expression, list[Constraint]]:
        """A CVXPY expression of F in the variable w (n,), and its constraints."""
        return self.restrict(mu).conic(w)

    def convexity(self, geometry: Geometry) -> float | None:
        """Modulus of geodesic convexity in a geometry, None when unknown.

        A step of length tau has one minimiser when 1/tau + modulus > 0; `jko.step` warns otherwise.
        """
        quadratic = isinstance(geometry, Wasserstein) and geometry.is_quadratic
        modulus = self._displacement_convexity() if quadratic else None
        return None if modulus is None else modulus * geometry.rate

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def _displacement_convexity(self) -> float | None:
        """Modulus along Wasserstein geodesics (generalised ones too), None when unknown."""
        return None

    @property
    def listed(self) -> bool:
        """Whether the energy knows atoms by their place in a list, not by where they are.

        Such an energy (given by an array with an entry per atom) is no function of the measure:
        atoms that are listed twice are not merged for it.
        """
        return any(term.listed for _, term in self.terms if term is not self)

    @property
    def varies(self) -> bool:
        """Whether the energy depends on time."""
        return any(term.varies for _, term in self.terms if term is not self)

    def at(self, time: float) -> Energy:
        """The energy at a time: itself, where it does not depend on time."""
        return self

    @property
    def needs_fixed_mass(self) -> bool:
        """Whether the energy only makes sense while the mass stays what it is."""
        return any(term.needs_fixed_mass for _, term in self.terms if term is not self)

    @property
    def terms(self) -> tuple[tuple[float, Energy], ...]:
        """The energy as a weighted sum of elementary ones."""
        return ((1.0, self),)

    def __add__(self, other: Energy) -> Energy:
        if isinstance(other, (int, float)) and other == 0:  # lets sum([...]) work
            return self
        instance(other, Energy, "energy", "add two energies, such as jko.Entropy() + jko.KL(pi)")
        return EnergySum((*self.terms, *other.terms))

    __radd__ = __add__

    def __sub__(self, other: object) -> Energy:
        raise Unsupported(
            "energies add and scale by positive numbers; write other signs into the function, as in"
            " jko.Potential(lambda x: -V(x))"
        )

    __rsub__ = __sub__

    def __neg__(self) -> Energy:
        return self - self

    def __mul__(self, factor: object) -> Energy:
        remedy = "write other signs into the function, as in jko.Potential(lambda x: -V(x))"
        c = positive(factor, "factor of an energy", remedy)
        return EnergySum(tuple((c * weight, term) for weight, term in self.terms))

    __rmul__ = __mul__


class EnergySum(Energy):
    """A weighted sum of energies; it keeps a capability when every term has it."""

    def __init__(self, terms: tuple[tuple[float, Energy], ...]) -> None:
        self._terms = terms

    @property
    def terms(self) -> tuple[tuple[float, Energy], ...]:
        return self._terms

    def __iter__(self) -> Iterator[tuple[float, Energy]]:
        return iter(self._terms)

    def at(self, time: float) -> Energy:
        if not self.varies:
            return self
        first, *rest = [c * term.at(time) for c, term in self._terms]
        return sum(rest, start=first)

    def value(self, mu: Measure) -> float:
        return float(sum(c * term.value(mu) for c, term in self._terms))

    def log_slope(self, mu: Discrete) -> Array:
        return np.asarray(sum(c * term.log_slope(mu) for c, term in self._terms))

    def restrict(self, mu: Discrete) -> WeightForm:
        forms = [term.restrict(mu).scaled(c) for c, term in self._terms]
        out = forms[0]
        for form in forms[1:]:
            out = out + form
        return out

    @cached_property
    def _gaussian_form(self) -> GaussianForm:
        first, *rest = [term.gaussian_form().scaled(c) for c, term in self._terms]
        for form in rest:
            first = first + form
        return first

    def gaussian_form(self) -> GaussianForm:
        return self._gaussian_form

    def first_variation(self, mu: Discrete) -> Array:
        return np.asarray(np.sum([c * term.first_variation(mu) for c, term in self._terms], axis=0))

    def wasserstein_gradient(self, mu: Discrete) -> Array:
        return np.asarray(
            np.sum([c * term.wasserstein_gradient(mu) for c, term in self._terms], axis=0)
        )

    def convexity(self, geometry: Geometry) -> float | None:
        moduli = [term.convexity(geometry) for _, term in self._terms]
        if any(m is None for m in moduli):
            return None
        pairs = zip(self._terms, moduli, strict=True)
        return float(sum(c * m for (c, _), m in pairs if m is not None))

    def __repr__(self) -> str:
        return " + ".join(repr(t) if c == 1 else f"{c:g} * {t!r}" for c, t in self._terms)


class FormEnergy(Energy):
    """An energy whose value on discrete measures is that of its normal form."""

    @abstractmethod
    def restrict(self, mu: Discrete) -> WeightForm: ...

    @property
    def on_gaussians(self) -> bool:
        """Whether the class says what it is on Gaussian measures."""
        return type(self).gaussian_form is not Energy.gaussian_form

    def value(self, mu: Measure) -> float:
        if isinstance(mu, (Gaussian, GaussianMixture)) and self.on_gaussians:
            return self.gaussian_form().value(mu)
        if not isinstance(mu, Discrete):
            raise Unsupported(
                f"{type(self).__name__} has no value on a {type(mu).__name__};"
                " discretise it on a jko.GridDensity or sample it into jko.Particles"
            )
        distinct = mu if self.listed else merged(mu)[0]
        return self.restrict(distinct).value(distinct.weights)


def check_energy(value: object, name: str) -> None:
    """An energy, or a sentence with the one that suits the value."""
    if isinstance(value, Energy):
        return
    remedy = "pass an energy such as jko.KL(target) or jko.Entropy()"
    if callable(value) and not isinstance(value, type):
        remedy = "wrap a function of points in jko.Potential(f)"
    elif isinstance(value, Measure):
        remedy = "pass an energy towards it such as jko.KL(target) or jko.WassersteinEnergy(target)"
    raise InvalidType(f"{name} got {shown(value)}; {remedy}")
