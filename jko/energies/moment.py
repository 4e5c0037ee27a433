"""Sets of measures as energies: indicators of moment constraints, and what multipliers make them.

A step that minimises over a set A of measures is the step of F + I_A, I_A the indicator of A (0 on
it, +inf off it); an indicator is an energy, and energies add.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from jko.energies.base import Energy, FormEnergy
from jko.energies.gaussian_form import GaussianForm
from jko.energies.gaussian_moments import Field
from jko.energies.potential import Potential
from jko.errors import InvalidArgument, InvalidMeasure, InvalidType, Unsupported
from jko.forms.form import WeightForm
from jko.forms.separable import Separable
from jko.measures.base import Discrete, Measure
from jko.measures.gaussian import Gaussian, GaussianMixture
from jko.numerics.checked_gradient import CheckedGradient
from jko.validation import Array, entries, instance, positive, real, shown

E = TypeVar("E")
LISTED = "a moment of an array has values on atoms only; pass a function f"
#: What takes a step in a set.
STEPPED = "a set of measures, which enters by its multiplier: use solver='auto'"


class Moment(Energy):
    r"""The set of measures with lower <= int f dmu <= upper, as its indicator: 0 on it, +inf off.

    Pass it to `jko.step` or `jko.flow` as `constraints=[...]`, or add it to the energy, which is
    the same; `jko.solvers.Constrained` takes the step.

    Parameters
    ----------
    f : callable (n, d) -> (n,), or (n,) array of values at the atoms
        In the unit of the bounds over that of mass. Not a mean: with mass M, int 1 dmu = M.
    value : float, optional
        Both bounds at once.
    lower, upper : float, optional
        Either or both, where `value` is not given.
    gradient : callable (n, d) -> (n, d), optional
        Of f: on Gaussians, in place of central differences.
    curvature : pair of floats, optional
        Least and largest eigenvalue of the second derivative of f, (0, 0) of a linear f, (0, 2) of
        x_1^2: on Gaussians, steps then have a gap while 1/tau exceeds what the multipliers bend.
    tol : float, default 1e-8
        What counts as satisfied, relative to int |f| dmu and to the bound.

    Raises
    ------
    InvalidArgument
        No bound is given, or no number lies between them.

    Notes
    -----
    A multiplier y of the set enters the optimality condition of a step as y f, a potential;
    y > 0 where the upper bound holds the measure back, y < 0 where the lower one does.

    References
    ----------
    Csiszár (1975); Rockafellar (1970).

    Examples
    --------
    >>> import jko, numpy as np
    >>> mu = jko.Histogram([[0.0], [1.0]], [0.5, 0.5])
    >>> F = jko.KL(mu)
    >>> mean = jko.Moment(lambda x: x[:, 0], 0.7)
    >>> out = jko.step(mu, F, jko.Hellinger(mass="fixed"), 1.0, constraints=[mean])
    >>> out.measure.weights.round(6).tolist()
    [0.3, 0.7]
    """

    def __init__(
        self,
        f: Callable[[Array], ArrayLike] | ArrayLike,
        value: float | None = None,
        *,
        lower: float | None = None,
        upper: float | None = None,
        gradient: Callable[[Array], ArrayLike] | None = None,
        curvature: Sequence[float] | None = None,
        tol: float = 1e-8,
    ) -> None:
        if callable(f) and callable(gradient):
            remedy = "correct Moment(f, gradient=...), or leave it out"
            gradient = CheckedGradient(f, gradient, "gradient of f", remedy)
        self.potential = Potential(f, gradient)
        self._gradient = gradient
        self.tol = positive(tol, "tol")
        self.lower, self.upper = _bounds(value, lower, upper)
        self.curvature = _curvature(curvature)
        self._memo: tuple[Array, Array] | None = None

    @property
    def listed(self) -> bool:
        return self.potential.listed

    def values(self, mu: Discrete) -> Array:
        """f at the atoms (n,)."""
        if self._memo is not None and self._memo[0] is mu.points:
            return self._memo[1]
        found = self.potential.values(mu)
        if not np.isfinite(found).all():
            i = int(np.argmax(~np.isfinite(found)))
            raise InvalidMeasure(
                f"f of a moment is {found[i]} at atom {i}, {mu.points[i].tolist()}; a moment needs"
                " finite values (close atoms with jko.Potential)"
            )
        self._memo = mu.points, found
        return found

    def integral(self, mu: Measure) -> float:
        """int f dmu."""
        if isinstance(mu, Discrete):
            return float(mu.weights @ self.values(mu))
        return self.potential.value(mu)

    def size(self, mu: Measure) -> float:
        """What `tol` is relative to: int |f| dmu, |int f dmu| without atoms, and the bounds."""
        inside = abs(self.integral(mu))
        if isinstance(mu, Discrete):
            inside = float(mu.weights @ np.abs(self.values(mu)))
        return max(inside, *(abs(b) for b in (self.lower, self.upper) if np.isfinite(b)))

    def spread(self, mu: Measure) -> float:
        """A standard deviation of f: over the atoms, or over points one deviation from the mean."""
        if isinstance(mu, Discrete):
            return float(np.std(self.values(mu)))
        root = np.linalg.cholesky(mu.cov) * np.sqrt(mu.dim)
        x = np.concatenate([mu.mean + root.T, mu.mean - root.T, mu.mean[None]])
        return float(np.std(np.asarray(self.potential._function(x)))) if not self.listed else 0.0  # type: ignore[misc]

    def excess(self, mu: Measure) -> float:
        """How far int f dmu is above `upper` (positive) or below `lower` (negative); 0 between."""
        found = self.integral(mu)
        return found - min(max(found, self.lower), self.upper)

    def value(self, mu: Measure) -> float:
        return 0.0 if abs(self.excess(mu)) <= self.tol * self.size(mu) else np.inf

    def restrict(self, mu: Discrete) -> WeightForm:
        raise Unsupported(f"{self!r} is {STEPPED}")

    def gaussian_form(self) -> GaussianForm:
        raise Unsupported(LISTED if self.listed else f"{self!r} is {STEPPED}")

    def wasserstein_gradient(self, mu: Discrete) -> Array:
        raise Unsupported(
            f"{self!r} is a set of measures, which pushes no particles; jko.solvers.Constrained"
            " steps in it where the support stays: use a jko.Histogram, a jko.GridDensity, or a"
            " jko.Gaussian"
        )

    def gradient_at(self, x: Array) -> Array:
        """Gradient of f at points (n, d), where one was given."""
        assert self._gradient is not None
        return np.asarray(self._gradient(x), dtype=float)

    def least_curvature(self, y: float) -> float:
        """A lower bound of the curvature of y f; -inf where none was given."""
        if y == 0:
            return 0.0
        return -np.inf if self.curvature is None else min(y * c for c in self.curvature)

    @property
    def has_gradient(self) -> bool:
        """Whether a gradient of f was given."""
        return self._gradient is not None

    def __repr__(self) -> str:
        if self.lower == self.upper:
            said = f"{self.lower:.6g}"
        else:
            sides = (("lower", self.lower), ("upper", self.upper))
            said = ", ".join(f"{name}={b:.6g}" for name, b in sides if np.isfinite(b))
        shown = "values" if self.listed else getattr(self.potential._function, "__name__", "f")
        return f"Moment({shown}, {said})"


def _bounds(value: float | None, lower: float | None, upper: float | None) -> tuple[float, float]:
    """The interval of a moment, or a sentence that says what is wrong with it."""
    if value is not None:
        if lower is not None or upper is not None:
            raise InvalidArgument("value sets both bounds; leave lower and upper out, or value")
        both = real(value, "value")
        return both, both
    if lower is None and upper is None:
        raise InvalidArgument("a moment needs a bound: pass value=, lower= or upper=")
    low = -np.inf if lower is None else real(lower, "lower")
    high = np.inf if upper is None else real(upper, "upper")
    if low > high:
        raise InvalidArgument(
            f"lower = {low:.6g} is above upper = {high:.6g}: the set is empty; swap the bounds"
        )
    return low, high


def _curvature(pair: Sequence[float] | None) -> tuple[float, float] | None:
    """Bounds of the second derivative, checked."""
    if pair is None:
        return None
    listed = entries(pair)
    if listed is None or len(listed) != 2:
        raise InvalidArgument(
            f"curvature got {shown(pair)}; pass the least and the largest, such as (0.0, 2.0)"
        )
    low, high = (real(c, "curvature") for c in listed)
    if low > high:
        raise InvalidArgument(
            f"curvature = ({low:.6g}, {high:.6g}) falls; pass the least one first"
        )
    return low, high


def constraints_of(energy: Energy) -> tuple[Moment, ...]:
    """The sets an energy keeps the measure in; a factor does not change an indicator."""
    return tuple(term for _, term in energy.terms if isinstance(term, Moment))


def without_constraints(energy: Energy) -> Energy | None:
    """The energy without its sets; None where nothing is left."""
    kept = [c * term for c, term in energy.terms if not isinstance(term, Moment)]
    return sum(kept[1:], start=kept[0]) if kept else None


def within(energy: E, constraints: Iterable[Moment]) -> E | Energy:
    """The energy plus the indicators of the sets to minimise over."""
    listed = (constraints,) if isinstance(constraints, Moment) else entries(constraints)
    if listed is None:
        raise InvalidType(
            f"constraints got {shown(constraints)}; pass a list such as"
            " [jko.Moment(lambda x: x[:, 0], 0.0)]"
        )
    remedy = "list moments, such as jko.Moment(f, lower=0.0)"
    moments = [instance(each, Moment, "constraints", remedy) for each in listed]
    return sum(moments, start=energy) if moments and isinstance(energy, Energy) else energy


@dataclass(frozen=True, eq=False)
class Tilt(FormEnergy):
    """int sum_j y_j f_j dmu: what the multipliers y of moments add to an energy."""

    moments: Sequence[Moment]
    multipliers: Array

    @property
    def listed(self) -> bool:
        return any(m.listed for m in self.moments)

    def restrict(self, mu: Discrete) -> WeightForm:
        linear = np.zeros(mu.n)
        for y, m in zip(self.multipliers, self.moments, strict=True):
            linear = linear + y * m.values(mu)
        return WeightForm(Separable(linear))

    def gaussian_form(self) -> GaussianForm:
        if self.listed:
            raise Unsupported(LISTED)
        known = all(m.has_gradient for m in self.moments)
        slope = self._gradient_at if known else None
        pairs = zip(self.multipliers, self.moments, strict=True)
        least = sum((m.least_curvature(float(y)) for y, m in pairs), 0.0)
        return GaussianForm(fields=(Field(self._value_at, slope),), convex=False, curvature=least)

    def _value_at(self, x: Array) -> Array:
        pairs = zip(self.multipliers, self.moments, strict=True)
        values = [y * np.asarray(m.potential._function(x)) for y, m in pairs]  # type: ignore[misc]
        return np.asarray(np.sum(values, axis=0))

    def _gradient_at(self, x: Array) -> Array:
        pairs = zip(self.multipliers, self.moments, strict=True)
        return np.asarray(np.sum([y * m.gradient_at(x) for y, m in pairs], axis=0))

    def value(self, mu: Measure) -> float:
        if isinstance(mu, (Gaussian, GaussianMixture)):
            return self.gaussian_form().value(mu)
        return super().value(mu)

    def __repr__(self) -> str:
        return f"Tilt({', '.join(f'{y:.3g}' for y in self.multipliers)})"


def tilted(energy: Energy, multipliers: Array) -> Energy:
    """The energy with its sets replaced by what multipliers make of them."""
    plain, tilt = without_constraints(energy), Tilt(constraints_of(energy), multipliers)
    return tilt if plain is None else plain + tilt
