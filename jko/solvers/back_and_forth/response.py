"""How the new measure answers to potentials, cell by cell."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import expm1, isfinite, log

import numpy as np

from jko.forms.separable import Separable, power
from jko.prox.duality.mass import MassSearch
from jko.validation import Array


@dataclass(frozen=True, eq=False)
class Response:
    """w(y) = argmax over 0 <= w <= upper of y w - h(w) - sum kappa/2 (w - centre)^2 (n,).

    kappa > 0 where h alone is not strictly convex, or next to flat at small weights: a proximal
    term whose centre follows w.
    """

    h: Separable
    kappa: float | Array = 0.0
    centre: Array | None = None

    @cached_property
    def whole(self) -> Separable:
        """h with the proximal term (up to a constant)."""
        if self.centre is None:
            return self.h
        kappa = np.broadcast_to(self.kappa, self.centre.shape)
        return self.h + Separable(-kappa * self.centre, {2.0: kappa})

    @cached_property
    def ceiling(self) -> Array:
        """The upper bounds (n,)."""
        return self.whole.ceiling

    @cached_property
    def one_power(self) -> tuple[float, Array] | None:
        """p and its coefficients where h has no other power."""
        charged = [(p, c) for p, c in self.whole.powers.items() if (c > 0).any()]
        return charged[0] if len(charged) == 1 else None

    @cached_property
    def steep_power(self) -> float | None:
        """p > 2 where h has this one power, everywhere, beside a proximal term."""
        charged = [p for p, c in self.h.powers.items() if (c > 0).any()]
        if self.centre is None or len(charged) != 1 or not charged[0] > 2:
            return None
        return charged[0] if (self.h.powers[charged[0]] > 0).all() else None

    def weights(self, y: Array) -> Array:
        """w(y) (n,)."""
        h, ceiling = self.whole, self.ceiling
        if self.steep_power is not None:
            return np.minimum(self._softened(y, self.steep_power), ceiling)
        if self.one_power is None:
            return np.minimum(h.best_response(y), ceiling)
        p, c = self.one_power
        with np.errstate(all="ignore"):
            z = (y - h.linear) / c
            if p == 1:
                w = np.exp(z)
            else:
                s = (p - 1) * z
                w = np.where(s > 0, power(s, 1 / (p - 1)), 0.0 if p > 1 else np.inf)
        if h.upper is None:
            return w
        return np.where(ceiling > 0, np.minimum(w, ceiling), 0.0)

    def _softened(self, y: Array, p: float) -> Array:
        """The root of c w^(p-1)/(p-1) + kappa (w - centre) = y - linear, where that is not below 0.

        Newton's method from above the root, at most twice as large: what grows is convex. Five
        steps are within 1e-12 of it, p up to 8.
        """
        c, kappa = self.h.powers[p], self.kappa
        s = np.maximum(y - self.whole.linear, 0.0)
        if p == 3:
            return np.asarray(2 * s / (kappa + np.sqrt(kappa**2 + 2 * c * s)))
        w = np.minimum(power((p - 1) * s / c, 1 / (p - 1)), s / kappa)
        for _ in range(5):
            steep = c * power(w, p - 2)
            w = (s + (1 - 1 / (p - 1)) * steep * w) / (kappa + steep)
        return np.asarray(w)

    def slope(self, y: Array, w: Array, width: float | Array) -> Array:
        """dw/dy (n,), as a difference over 2 width: derivatives explode at fronts."""
        if np.all(width > 0):
            change = self.weights(y + width) - self.weights(y - width)
            return np.where(np.isfinite(change), change, np.inf) / (2 * width)
        with np.errstate(all="ignore"):
            out = 1 / self.whole.hessian(w)
        return np.where((w > 0) & (w < self.ceiling), out, 0.0)

    def steepness(self, y: Array, w: Array) -> float:
        """The derivative of the mass in a common change of y, from w = w(y)."""
        if self.one_power is None or self.one_power[0] < 1:
            return float(self.slope(y, w, 0.0).sum())
        p, c = self.one_power
        with np.errstate(all="ignore"):  # h'' w = c for p = 1, else (p - 1) (y - linear)
            out = w / (c if p == 1 else (p - 1) * (y - self.whole.linear))
        return float(out.sum(where=(w > 0) & (w < self.ceiling)))

    def newton(self, y: Array, w: Array, total: float, mass: float) -> float:
        """The change of all y that brings the total of w to the mass; NaN where Newton's fails.

        It is sought for the power p - 1 of the total, the logarithm for p = 1: those of one atom
        are straight.
        """
        rate = self.steepness(y, w)
        if not (0 < total < np.inf and 0 < rate < np.inf):
            return np.nan
        if self.one_power is None:
            # From far away exponentials need the logarithm.
            q = 1.0 if 0.5 < total / mass < 2.0 else 0.0
        else:
            q = self.one_power[0] - 1
        log_ratio = log(mass / total)
        return (log_ratio if q == 0 else expm1(q * log_ratio) / q) * total / rate


@dataclass(frozen=True, eq=False)
class Fixed:
    """A measure that does not respond: the ascent then computes its transport cost."""

    w: Array


def level(response: Response, psi: Array, mass: float, start: float) -> tuple[Array, float]:
    """w(c - psi) of the right mass, and the level c: Newton's method inside a bracket."""
    search = MassSearch(start, reach=1e-3 * (float(np.ptp(psi)) + abs(start)) or 1e-12)
    for _ in range(200):
        c = search.x
        y = c - psi
        w = response.weights(y)
        total = float(w.sum())
        if abs(total - mass) <= 1e-13 * mass:
            break
        newton = response.newton(y, w, total, mass)
        if isfinite(newton):
            search.reach = max(search.reach, 1e-3 * abs(newton))
        if not search.advance(total < mass, newton):
            break
    return w, c
