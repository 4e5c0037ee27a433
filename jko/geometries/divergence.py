"""Divergences in the place of D^2/2: entropic mirror steps and their phi_p relatives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jko.errors import Unsupported
from jko.forms.form import WeightForm, divergence_form
from jko.geometries.base import Geometry, common_weights, show
from jko.geometries.gaussian import gaussian_kl, hellinger_square
from jko.measures.base import Discrete, Measure
from jko.measures.gaussian import Gaussian
from jko.numerics.elementary import log_or_minus_inf, log_quotient, xlogy
from jko.validation import Array, one_of, real


@dataclass(frozen=True, repr=False)
class Divergence(Geometry):
    """A step pays D_p(mu | mu') / tau instead of D^2 / (2 tau).

    p = 1 is the entropic mirror step (formula H4), p = 1/2 the Hellinger step (He^2/2 = D_{1/2}).
    No metric in general: `sqdistance` is 2 D_p, so that the penalty reads as everywhere else.

    Parameters
    ----------
    p : float
    mass : {"fixed", "free"}

    References
    ----------
    Beck and Teboulle (2003) for mirror steps; Cressie and Read (1984) for the family.
    """

    p: float = 1.0
    mass: str = "fixed"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "p", real(self.p, "p"))
        one_of(self.mass, ("fixed", "free"), "mass")

    @property
    def conserves_mass(self) -> bool:
        return self.mass == "fixed"

    def _sqdistance(self, a: Measure, b: Measure) -> float:
        if isinstance(a, Gaussian) and isinstance(b, Gaussian):
            return self._between_gaussians(a, b)
        return 2 * phi_divergence(self.p, *common_weights(a, b))

    def _between_gaussians(self, a: Gaussian, b: Gaussian) -> float:
        if self.p == 1:
            return 2 * gaussian_kl(a, b)
        if self.p == 0:
            return 2 * gaussian_kl(b, a)
        if self.p == 0.5:
            return hellinger_square(a, b)
        raise Unsupported(
            f"{self!r} between Gaussians has no formula here; use p = 0, 1/2 or 1,"
            " or discretise on a jko.GridDensity"
        )

    def penalty_form(self, previous: Discrete) -> WeightForm:
        """D_p(. | previous)."""
        return WeightForm(divergence_form(self.p, log_or_minus_inf(previous.weights), 0.0))

    def potential(self, a: Discrete, b: Discrete) -> Array:
        """phi_p'(da/db), the first variation of D_p(. | b)."""
        wa, wb = common_weights(a, b) if not a.same_support(b) else (a.weights, b.weights)
        with np.errstate(divide="ignore", invalid="ignore"):
            r = wa / wb
            slope = np.log(r) if self.p == 1 else (r ** (self.p - 1) - 1) / (self.p - 1)
        return np.where((wa == 0) & (wb == 0), 0.0, slope) / self.rate

    def __repr__(self) -> str:
        suffix = "" if self.mass == "fixed" else ", mass='free'"
        return show(self, f"Divergence(p={self.p:g}{suffix})")


def phi_divergence(p: float, a: Array, b: Array) -> float:
    """D_p(a|b) = sum b phi_p(a/b) on weights (n,); +inf where the conventions say so."""
    empty = b == 0
    stray = float(a[empty].sum())
    if stray > 0 and p >= 1:
        return float("inf")
    a, b = a[~empty], b[~empty]
    if p <= 0 and (a == 0).any():
        return float("inf")
    apart = a - b
    close = np.abs(apart) < 0.5 * b
    value = float((_near(p, a[close], b[close], apart[close])).sum())
    a, b = a[~close], b[~close]
    if p == 1:
        value += float((xlogy(a, a / b) - a + b).sum())
    elif p == 0:
        value += float((xlogy(b, b / a) - b + a).sum())
    else:
        value += float((_power(p, a, b) - p * (a - b) - b).sum()) / (p * (p - 1))
    return value + (stray / (1 - p) if stray > 0 else 0.0)


def _near(p: float, a: Array, b: Array, apart: Array) -> Array:
    """b phi_p(a/b) (n,) of close weights, from their exact differences a - b.

    The terms are of order a - b then, and not of order b: short steps keep their digits.
    """
    log_ratio = log_quotient(a, b)
    if p == 1:
        return np.asarray(a * log_ratio - apart)
    if p == 0:
        return np.asarray(apart - b * log_ratio)
    return np.asarray((b * np.expm1(p * log_ratio) - p * apart) / (p * (p - 1)))


def _power(p: float, a: Array, b: Array) -> Array:
    """b (a/b)^p (n,), where the power alone may overflow."""
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        plain = b * (a / b) ** p
        return np.where(np.isfinite(plain), plain, np.exp(p * np.log(a) + (1 - p) * np.log(b)))
