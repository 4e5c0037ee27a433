r"""Lagrange dual gap of Hellinger steps: a sum of brackets, one per atom and term.

For min F(w) + (2/step) sum (sqrt w - sqrt m')^2, w >= 0 [, sum w = mass], any multiplier lam and
dual variables y_i, the gap is a sum of non-negative brackets,

    h(w) + h*(y) - y w    and    g(w) + g*(lam - y) - (lam - y) w,

g the Hellinger part. The first is bounded at y = h'(v) for a weight v (`jko.energies.conjugate`);
the second is (2/step) (sqrt(t w) - sqrt(m'/t))^2 with t = 1 + step (y - lam)/2 > 0, free of
cancellation and convex in t, so that rounding of t is covered by the two ends it may lie between.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from jko.energies.conjugate import brackets, charged_by
from jko.forms.form import WeightForm
from jko.forms.separable import Separable
from jko.numerics.elementary import EPS
from jko.prox.duality.mass import MassSearch
from jko.prox.duality.weights import product_noise
from jko.prox.stated import Certificate
from jko.validation import Array, Index, Mask

#: Rounding of t, in units of EPS times its terms.
ROUNDING = 8 * EPS
#: A gap below this share of the objective's terms is sharp enough: no other v or lam is tried.
SHARP = 1e-13
#: What a better multiplier may still gain, relative to the gap.
CLOSE = 1e-6
#: Multipliers tried where the first one leaves a gap.
ASCENTS = 20


def hellinger_certificate(
    form: WeightForm, w: Array, previous: Array, step: float, fixed_mass: bool
) -> Certificate:
    r"""Gap and residual of weights w, for the step of length `step` from weights `previous`.

    Any v gives a valid bound; v = w is sharp for an answer that is exact atom by atom. Where it is
    not (answers of conic solvers, whose small weights are relatively inaccurate), v minimises the
    atom's own problem at lam: the bracket is then the excess of that atom, and an ascent of lam
    makes the sum the true excess. The Frank-Wolfe gap would be useless here: gradients explode at
    small weights.
    """
    pull = form.quadratic_gradient(w)
    lower = form.separable.shifted(-pull)
    f = lower.gradient(w)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        slope = np.where(w > 0, (2 / step) * (1 - np.sqrt(previous / w)), np.nan)
    inner = lower.inner(w) & np.isfinite(f + slope)
    lam = _average_multiplier(f + slope, w, inner) if fixed_mass else 0.0
    noise = ROUNDING * np.abs(pull) + product_noise(form, pull)
    dual = HellingerDual(lower, w, previous, step, noise, fixed_mass)
    gap = dual.best(lam) if fixed_mass else dual.gap(0.0)
    violation = np.abs(f + slope - lam)[inner] * w[inner]
    return Certificate(gap, float(violation.sum()) / float(w.sum()))


def _average_multiplier(total: Array, w: Array, inner: Mask) -> float:
    if not inner.any():  # every atom is full: any multiplier above its slope serves
        return float(np.max(np.where((w > 0) & np.isfinite(total), total, -np.inf), initial=0.0))
    return float(w[inner] @ total[inner]) / float(w[inner].sum())


@dataclass(frozen=True, eq=False)
class HellingerDual:
    """The dual bound of a separable Hellinger step, for any multiplier.

    Attributes
    ----------
    energy : Separable
    w, previous : (n,) arrays
    step : float
    noise : (n,) array or float
        What the linear part of the energy may be off by.
    fixed_mass : bool
    """

    energy: Separable
    w: Array
    previous: Array
    step: float
    noise: Array | float = 0.0
    fixed_mass: bool = True

    @cached_property
    def mass(self) -> float:
        """The mass of every competitor, where it is fixed."""
        return float(self.previous.sum())

    @cached_property
    def lower(self) -> Separable:
        """The energy; where the mass is fixed no atom can have more than all of it."""
        if not self.fixed_mass:
            return self.energy
        h = self.energy
        most = np.minimum(h.ceiling, self.mass * (1 + 4 * EPS))
        return Separable(h.linear, h.powers, most, h.constant)

    @cached_property
    def size(self) -> float:
        """The terms of the objective at w."""
        with np.errstate(all="ignore"):
            parts = np.abs(self.energy.linear * self.w)
            for p, c in self.energy.powers.items():
                power = self.w * np.abs(np.log(self.w)) if p == 1 else self.w**p
                parts = parts + np.where((c > 0) & (self.w > 0), c * power, 0.0)
        away = np.sqrt(self.w) - np.sqrt(self.previous)
        total = float(parts.sum()) + (2 / self.step) * float(away @ away)
        return total if np.isfinite(total) else 0.0

    def best(self, lam: float) -> float:
        """The least gap found by an ascent of the concave dual from a first multiplier."""
        search, best = MassSearch(lam, reach=abs(lam) + 2 / self.step), np.inf
        for _ in range(ASCENTS):
            lam = search.x
            best = float(np.fmin(best, self.gap(lam)))
            if best <= SHARP * self.size:
                break
            missing, newton = self._ascent(lam)
            going = search.advance(missing > 0, newton)
            far = float(np.fmin(search.hi - lam if missing > 0 else lam - search.lo, abs(newton)))
            if not going or abs(missing) <= CLOSE * best / max(far, EPS * EPS):
                break
        return best

    def gap(self, lam: float) -> float:
        """Sum of brackets with the better of v = w and v = the response, plus lam (excess mass)."""
        out = self._brackets(self.w, lam, np.arange(self.w.size))
        rough = np.flatnonzero(~(out <= 0.1 * SHARP * self.size / self.w.size))
        if rough.size:
            out[rough] = np.fmin(out[rough], self._excess(lam, rough))
        if not self.fixed_mass:
            return float(out.sum())
        stray = lam * (float(self.w.sum()) - self.mass)
        return float(out.sum()) + stray + 4 * EPS * abs(lam) * self.mass

    def _excess(self, lam: float, index: Index) -> Array:
        """Brackets at v = the response: the excess of each atom over its own minimum at lam."""
        return self._brackets(self._response(lam, index), lam, index)

    def _ascent(self, lam: float) -> tuple[float, float]:
        """Mass that the responses miss, and the change of lam that Newton's method proposes."""
        v = self._response(lam, np.arange(self.w.size))
        moving = (v > 0) & (v < self.lower.ceiling) & np.isfinite(v)
        part = self.lower.take(np.flatnonzero(moving))
        kept, before = v[moving], self.previous[moving]
        with np.errstate(all="ignore"):
            give = 1 / (part.hessian(kept) + np.sqrt(before / kept) / (self.step * kept))
        total, missing = float(give.sum()), self.mass - float(v.sum())
        steep = total > 0 and np.isfinite(total) and np.isfinite(missing)
        return missing, missing / total if steep else float("nan")

    def _response(self, lam: float, index: Index) -> Array:
        """argmin h(v) + g(v) - lam v for the atoms of `index`."""
        part = self.lower.take(index)
        root = np.sqrt(self.previous[index])
        half = self.step / 2
        start = np.log(np.where(root > 0, root, 1.0))
        log_v = part.solve_stationary(half, 1 - half * lam, 0.0, [(-root, -1.0)], 2.0, start)
        with np.errstate(over="ignore"):
            return np.exp(log_v)

    def _brackets(self, v: Array, lam: float, index: Index) -> Array:
        """The brackets of the atoms of `index` at y = h'(v); +inf where v gives no bound."""
        every = index.size == self.w.size
        part = self.lower if every else self.lower.take(index)
        noise = self.noise if every or np.ndim(self.noise) == 0 else np.asarray(self.noise)[index]
        w, before, top = self.w[index], self.previous[index], part.ceiling
        flat, wanting = ~charged_by(part), ~charged_by(part, 1.0) & np.isinf(top)
        v = np.maximum(v, 1e-300)  # h' may be infinite at 0
        v = np.where(part.full(v), top, v)
        with np.errstate(all="ignore"):
            y = part.gradient(v)
            # Any y will do: t stays positive, at a ceiling as large as the weight there asks.
            root = np.where(v == top, np.sqrt(before / v), 0.0)
            least = lam - (2 / self.step) * (1 - root)
            least += 4 * (ROUNDING * (abs(lam) + np.abs(y) + 2 / self.step) + noise)
            y = np.where(flat & (v < top), y, np.maximum(y, least))
            # Powers p < 1 bound y by their slope at infinity, which rounding must not touch.
            most = part.linear - 3 * (ROUNDING * np.abs(part.linear) + noise)
            y = np.where(wanting & ~flat, np.minimum(y, most), y)
            out = brackets(part, w, y, v, noise) + self._metric(y, lam, w, before, noise)
        # An atom the energy forbids (ceiling 0) contributes nothing once it is empty.
        out = np.where(top > 0, out, np.where(w > 0, np.inf, 0.0))
        return np.where(np.isnan(out), np.inf, out)

    def _metric(self, y: Array, lam: float, w: Array, before: Array, noise: Array | float) -> Array:
        """g(w) + g*(lam - y) - (lam - y) w, the larger of what the two ends of t give."""
        half = self.step / 2
        t = 1 + half * (y - lam)
        blur = half * (ROUNDING * (np.abs(y) + abs(lam)) + noise) + ROUNDING
        return np.maximum(self._at(t - blur, w, before), self._at(t + blur, w, before))

    def _at(self, t: Array, w: Array, before: Array) -> Array:
        """(2/step) sup_s t (w - s) - 2 sqrt(m') (sqrt w - sqrt s), s at most the mass if fixed."""
        kept = np.where(before > 0, np.sqrt(before) / np.sqrt(t), 0.0)
        inner = np.where((t > 0) | ((t == 0) & (before == 0)), (np.sqrt(t * w) - kept) ** 2, np.inf)
        if self.fixed_mass:
            root, most = np.sqrt(before), self.mass * (1 + 4 * EPS)
            capped = (w - most) * (t - 2 * root / (np.sqrt(w) + np.sqrt(most)))
            inner = np.where((t <= 0) | (kept > np.sqrt(t * most)), capped, inner)
        return (2 / self.step) * inner
