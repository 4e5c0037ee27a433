"""Hellinger (Fisher-Rao) geometry on M+ or P, and the spherical Hellinger geometry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from jko.errors import Unsupported
from jko.forms.form import WeightForm, divergence_form
from jko.geometries.base import (
    Geometry,
    check_masses,
    check_pair,
    check_time,
    common_weights,
    leaves_cone,
    show,
)
from jko.geometries.gaussian import hellinger_angle, hellinger_square
from jko.measures.base import Discrete, Measure
from jko.measures.gaussian import Gaussian
from jko.numerics.elementary import log_or_minus_inf
from jko.validation import Array, one_of

if TYPE_CHECKING:
    from cvxpy import Constraint, Expression


def _require_shared(a: Measure, b: Measure) -> tuple[Array, Array]:
    if not (isinstance(a, Discrete) and a.same_support(b)):
        raise Unsupported(
            f"b = {b!r} has other atoms than a = {a!r}, and Hellinger potentials and geodesics"
            " compare weights atom by atom; put both on one jko.Grid, or on the union of their"
            " points with zero weights"
        )
    assert isinstance(b, Discrete)
    return a.weights, b.weights


def root_ratio(current: Array, previous: Array) -> Array:
    """s'/s per atom: 0 where `previous` is empty, whether or not `current` is.

    The first mass on an atom that neither charges costs 4 m, so the potential there is 2.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.sqrt(previous / current)
    return np.where(previous == 0, 0.0, ratio)


@dataclass(frozen=True, repr=False)
class Hellinger(Geometry):
    """He^2(mu, nu) = 4 int (sqrt mu - sqrt nu)^2; flow mu_t = -mu f on M+.

    Parameters
    ----------
    mass : {"free", "fixed"}
        "free": steps on M+ may change the mass. "fixed": they keep it (a multiplier).

    References
    ----------
    Liero et al. (2018), as the reaction part of Hellinger-Kantorovich; Mielke and Zhu (2025).
    """

    mass: str = "free"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of(self.mass, ("free", "fixed"), "mass")

    @property
    def conserves_mass(self) -> bool:
        return self.mass == "fixed"

    def _sqdistance(self, a: Measure, b: Measure) -> float:
        if isinstance(a, Gaussian) and isinstance(b, Gaussian):
            return hellinger_square(a, b)
        wa, wb = common_weights(a, b)
        return float(4 * ((np.sqrt(wa) - np.sqrt(wb)) ** 2).sum())

    def potential(self, a: Discrete, b: Discrete) -> Array:
        """2 (1 - sqrt(b/a)): -inf at empty atoms of `a` that `b` charges, 2 where `b` is empty."""
        check_pair(a, b)
        if self.conserves_mass:
            check_masses(a, b, self)
        wa, wb = _require_shared(a, b)
        return 2 * (1 - root_ratio(wa, wb)) / self.rate

    def geodesic(self, a: Measure, b: Measure, t: float) -> Measure:
        """sqrt mu_t = (1-t) sqrt a + t sqrt b (formula H6)."""
        t = check_time(t)
        if self.conserves_mass:
            raise Unsupported(
                "the Hellinger geodesic leaves fixed mass; use jko.SphericalHellinger() on P"
                " or jko.Hellinger(mass='free') on M+"
            )
        check_pair(a, b)
        wa, wb = _require_shared(a, b)
        assert isinstance(a, Discrete)
        return a.with_weights(((1 - t) * np.sqrt(wa) + t * np.sqrt(wb)) ** 2)

    def extrapolate(self, a: Measure, b: Measure) -> Measure:
        """sqrt mu = 2 sqrt b - sqrt a."""
        wa, wb = _require_shared(a, b)
        assert isinstance(a, Discrete)
        if self.conserves_mass:
            return SphericalHellinger().extrapolate(a, b)
        root = 2 * np.sqrt(wb) - np.sqrt(wa)
        if (root < 0).any():
            raise leaves_cone("Hellinger")
        return a.with_weights(root**2)

    def penalty_form(self, previous: Discrete) -> WeightForm:
        """D_{1/2}(. | previous) = He^2/2."""
        return WeightForm(divergence_form(0.5, log_or_minus_inf(previous.weights), 0.0))

    def conic(self, w: Expression, previous: Discrete) -> tuple[Expression, list[Constraint]]:
        """4 (sum w + mass' - 2 sum sqrt(w m')), with mass fixed where the geometry says so."""
        import cvxpy as cp

        charged = np.flatnonzero(previous.weights > 0)
        cross = np.sqrt(previous.weights[charged]) @ cp.sqrt(w[charged])
        constraints = [cp.sum(w) == previous.mass] if self.conserves_mass else []
        return 4 * (cp.sum(w) + previous.mass - 2 * cross), constraints

    def __repr__(self) -> str:
        return show(self, "Hellinger()" if self.mass == "free" else "Hellinger(mass='fixed')")


@dataclass(frozen=True, repr=False)
class SphericalHellinger(Geometry):
    """SHe(mu, nu) = 2 arccos int sqrt(mu nu) on P; flow mu_t = -mu (f - int f dmu).

    For measures of a common mass M the distance is sqrt(M) times that of the normalised ones,
    so that it agrees with Hellinger to first order.

    References
    ----------
    Laschos and Mielke (2019).
    """

    @property
    def conserves_mass(self) -> bool:
        return True

    @staticmethod
    def angle(wa: Array, wb: Array) -> float:
        """SHe of the normalised measures, through sin(SHe/4) = He/4: exact for close measures."""
        sa, sb = np.sqrt(wa / wa.sum()), np.sqrt(wb / wb.sum())
        chord = float(np.sqrt(((sa - sb) ** 2).sum()))  # He/2 = 2 sin(SHe/4)
        return 4 * float(np.arcsin(min(chord / 2, 1.0)))

    def _sqdistance(self, a: Measure, b: Measure) -> float:
        if isinstance(a, Gaussian) and isinstance(b, Gaussian):
            return a.mass * hellinger_angle(a, b) ** 2
        wa, wb = common_weights(a, b)
        return float(wa.sum()) * self.angle(wa, wb) ** 2

    def potential(self, a: Discrete, b: Discrete) -> Array:
        """Normalised to vanish on average: multipliers of the mass are not identified."""
        check_pair(a, b)
        check_masses(a, b, self)
        wa, wb = _require_shared(a, b)
        half = self.angle(wa, wb) / 2
        factor = 2.0 if half == 0 else 2 * half / np.sin(half)
        raw = -factor * root_ratio(wa, wb)
        charged = wa > 0
        mean = float(wa[charged] @ raw[charged]) / float(wa.sum())
        return (raw - mean) / self.rate

    def geodesic(self, a: Measure, b: Measure, t: float) -> Measure:
        """Great circle between the square roots."""
        t = check_time(t)
        check_pair(a, b)
        check_masses(a, b, self)
        wa, wb = _require_shared(a, b)
        assert isinstance(a, Discrete)
        half = self.angle(wa, wb) / 2
        if half == 0:
            return a
        sa, sb = np.sqrt(wa), np.sqrt(wb)
        root = (np.sin((1 - t) * half) * sa + np.sin(t * half) * sb) / np.sin(half)
        weights = root**2
        return a.with_weights(weights * (wa.sum() / weights.sum()))

    def extrapolate(self, a: Measure, b: Measure) -> Measure:
        """The great circle followed as far again."""
        wa, wb = _require_shared(a, b)
        assert isinstance(a, Discrete)
        half = self.angle(wa, wb) / 2
        root = 2 * np.cos(half) * np.sqrt(wb) - np.sqrt(wa)
        if (root < 0).any():
            raise leaves_cone("spherical Hellinger")
        weights = root**2
        return a.with_weights(weights * (wa.sum() / weights.sum()))

    def __repr__(self) -> str:
        return show(self, "SphericalHellinger()")
