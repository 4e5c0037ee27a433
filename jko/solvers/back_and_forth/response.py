"""How the new measure answers to potentials, cell by cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jko.forms.separable import Separable, power
from jko.prox.duality.mass import MassSearch
from jko.validation import Array


@dataclass(frozen=True, eq=False)
class Response:
    """w(y) = argmax over 0 <= w <= upper of y w - h(w) - kappa/2 |w - centre|^2 (n,).

    kappa > 0 where h alone is not strictly convex: a proximal term whose centre follows w.
    """

    h: Separable
    kappa: float = 0.0
    centre: Array | None = None

    @property
    def whole(self) -> Separable:
        """h with the proximal term (up to a constant)."""
        if self.centre is None:
            return self.h
        curved = {2.0: np.full(self.h.n, self.kappa)}
        return self.h + Separable(-self.kappa * self.centre, curved)

    def weights(self, y: Array) -> Array:
        """w(y) (n,)."""
        h = self.whole
        ceiling = h.ceiling
        powers = {p: c for p, c in h.powers.items() if (c > 0).any()}
        if len(powers) != 1:
            return np.minimum(h.best_response(y), ceiling)
        p, c = next(iter(powers.items()))
        with np.errstate(all="ignore"):
            z = (y - h.linear) / c
            if p == 1:
                w = np.exp(z)
            else:
                s = (p - 1) * z
                w = np.where(s > 0, power(s, 1 / (p - 1)), 0.0 if p > 1 else np.inf)
        return np.where(ceiling > 0, np.minimum(w, ceiling), 0.0)

    def slope(self, y: Array, w: Array, width: float | Array) -> Array:
        """dw/dy (n,), as a difference over 2 width: derivatives explode at fronts."""
        if np.all(width > 0):
            change = self.weights(y + width) - self.weights(y - width)
            return np.where(np.isfinite(change), change, np.inf) / (2 * width)
        with np.errstate(all="ignore"):
            out = 1 / self.whole.hessian(w)
        return np.where((w > 0) & (w < self.h.ceiling), out, 0.0)


@dataclass(frozen=True, eq=False)
class Fixed:
    """A measure that does not respond: the ascent then computes its transport cost."""

    w: Array


def level(response: Response, psi: Array, mass: float, start: float) -> tuple[Array, float]:
    """w(c - psi) of the right mass, and the level c: Newton's method inside a bracket."""
    search = MassSearch(start, reach=1e-3 * (float(np.ptp(psi)) + abs(start)) or 1e-12)
    for _ in range(200):
        c = search.x
        w = response.weights(c - psi)
        total = float(w.sum())
        if abs(total - mass) <= 1e-13 * mass:
            break
        rate, newton = float(response.slope(c - psi, w, 0.0).sum()), np.nan
        if 0 < total < np.inf and 0 < rate < np.inf:
            far = not 0.5 < total / mass < 2.0  # from far away exponentials need the log
            newton = (float(np.log(mass / total)) * total if far else mass - total) / rate
            search.reach = max(search.reach, 1e-3 * abs(newton))
        if not search.advance(total < mass, newton):
            break
    return w, c
