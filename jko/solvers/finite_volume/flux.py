r"""Fluxes through the faces between cells of masses a and b, and their derivatives.

Every flux is M (f_i - f_j) with a mobility M >= 0, which makes the step a minimisation, and grows
with the giver's mass and falls with the taker's, which makes Newton's method reliable.

- With an entropy of coefficient c: Scharfetter and Gummel's flux c (B(-d/c) a - B(d/c) b), d the
  drop of all other slopes from i to j and B(x) = x/(e^x - 1). It vanishes exactly at equilibrium.
- Other internal energies U: let g be the mass of the giver, by the sign of f_i - f_j, t that of the
  taker, d the drop of the rest of f from giver to taker, P' = w U'', S = (P_g - P_t)/(U'_g - U'_t)
  Stolarsky's mean. The flux is
      P_g - P_t + S d                                    where d <= 0: diffusion against the drift,
      P_g - P_t + d g - (g - t) min(d/2, P'_g, P'_t)     where d > 0 and g >= t: both agree,
      min(M (f_g - f_t), d g), M = min(S, (g + t)/2),    where g < t: drift against the diffusion,
  so that without a drift it is the two-point flux of Lap P(rho), fronts included, that equilibria
  stay, that it is second-order accurate where diffusion dominates in a cell, and upwind where not.
- No internal energy, or on demand: upwind, M = g. It is only first-order accurate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jko.solvers.finite_volume.faces import Flux
from jko.solvers.finite_volume.means import bernoulli, curvature, power, secant, times
from jko.validation import Array, Mask

if TYPE_CHECKING:
    from jko.solvers.finite_volume.scheme import CellScheme


class _Internal(NamedTuple):
    """P, U', U'' = P'/w and U''' w of one side of the faces."""

    pressure: Array
    slope: Array
    curvature: Array
    third: Array


class Pair:
    """Both sides of every face: masses a and b, and the drop of the linear part from i to j."""

    def __init__(self, scheme: CellScheme, w: Array, drift: Array) -> None:
        self.drift, self.powers = drift, scheme.powers
        self.i, self.j = scheme.faces.i, scheme.faces.j
        self.a, self.b = w[self.i], w[self.j]
        # c w^{p-1} at both sides.
        self.slopes = {}
        for p, c in scheme.powers.items():
            slope = np.where(c > 0, c * power(w, p - 1), 0.0)
            self.slopes[p] = slope[self.i], slope[self.j]
        self.logs = np.log(w) if 1.0 in scheme.powers else w
        self.even = {p: scheme.uniform(p) for p in scheme.powers}

    def _pull(self, p: float) -> Array:
        """The drop of c psi_p' from i to j."""
        if p == 1:
            return self.powers[p][self.i] * (self.logs[self.i] - self.logs[self.j])
        a, b = self.slopes[p]
        return (a - b) / (p - 1)

    def _force(self, without: float | None = None) -> tuple[Array, Array, Array]:
        """f_i - f_j and the slopes of f_i and f_j in their own masses."""
        drift, fa, fb = self.drift, np.zeros_like(self.a), np.zeros_like(self.b)
        for p, (a, b) in self.slopes.items():
            if p != without:
                drift = drift + self._pull(p)
                fa, fb = fa + self._bend(p, 0, a), fb + self._bend(p, 1, b)
        return drift, fa, fb

    def _bend(self, p: float, side: int, slope: Array) -> Array:
        """c psi_p'' on side 0 (i) or 1 (j)."""
        if p == 2:
            return self.powers[p][(self.i, self.j)[side]]
        return curvature(p, (self.a, self.b)[side], slope)

    def given(self) -> Flux:
        """The upwind flux."""
        force, fa, fb = self._force()
        forward = np.asarray(force > 0)
        mean = np.where(forward, self.a, self.b)
        by_a = np.where(forward, force, 0.0) + times(mean, fa)
        by_b = np.where(forward, 0.0, force) - times(mean, fb)
        return Flux(mean * force, mean, by_a, by_b, mean)

    def drifting(self) -> Flux:
        """Scharfetter and Gummel's flux, the other powers among the drift."""
        a, b, c = self.a, self.b, self.powers[1.0][self.i]
        drift, fa, fb = self._force(without=1.0)
        ahead, slope_a = bernoulli(-drift / c)
        back, slope_b = bernoulli(drift / c)
        value = c * (ahead * a - back * b)
        by_drift = -(slope_a * a + slope_b * b)
        force = self._pull(1.0) + drift
        mean = np.where(np.abs(force) > 1e-8 * c, value / force, ahead * a)
        mean = np.where(np.isfinite(mean), mean, 0.0)
        by_a = c * ahead + times(by_drift, fa)
        return Flux(value, mean, by_a, -c * back - times(by_drift, fb), by_drift)

    def diffusive(self) -> Flux:
        """P_i - P_j alone: Stolarsky's mean need not be differentiated."""
        here, there = self._internal()
        mean, _, _ = secant(self.a, self.b, here, there)
        value = here.pressure - there.pressure
        return Flux(
            value, mean, times(self.a, here.curvature), -times(self.b, there.curvature), mean
        )

    def _internal(self) -> tuple[_Internal, _Internal]:
        """U at both sides, with the smaller of the two coefficients where they differ.

        What is left of the coefficients then goes with the drift, whose drop grows with the mass.
        """
        sides = []
        for side, w, k in ((self.i, self.a, 0), (self.j, self.b, 1)):
            sums = [np.zeros_like(w) for _ in range(4)]
            for p, pair in self.slopes.items():
                slope = pair[k]
                if not self.even[p]:
                    c = self.powers[p]
                    least = np.minimum(c[self.i], c[self.j]) / c[side]
                    slope = np.where(c[side] > 0, least, 0.0) * slope
                second = self._bend(p, k, pair[k])
                second = np.where(pair[k] > 0, slope / pair[k], 1.0) * second
                sums[0] += slope * w / p
                sums[1] += slope / (p - 1)
                sums[2] += second
                sums[3] += (p - 2) * second
            sides.append(_Internal(*sums))
        return sides[0], sides[1]

    def monotone(self) -> Flux:
        """The flux of the module's second item."""
        a, b, (here, there) = self.a, self.b, self._internal()
        force, fa, fb = self._force()
        forward = np.asarray(force > 0)
        # What the drift adds by the masses, where coefficients vary.
        drift = np.where(forward, force, -force) - np.where(forward, 1.0, -1.0) * (
            here.slope - there.slope
        )
        mean, by_a, by_b = secant(a, b, here, there)
        both = [_swap(forward, x, y) for x, y in zip(here, there, strict=True)]
        giver, taker = _Internal(*[x for x, _ in both]), _Internal(*[y for _, y in both])
        flow, by_g, by_t, by_d = _flow(
            _swap(forward, a, b),
            (giver, taker),
            drift,
            (mean, *_swap(forward, by_a, by_b)),
        )
        da, db = np.where(forward, by_g, by_t), np.where(forward, by_t, by_g)
        sign = np.where(forward, 1.0, -1.0)
        scale = np.abs(here.slope) + np.abs(there.slope) + np.abs(drift)
        known = np.abs(force) > 1e-12 * scale
        mobility = np.where(known, flow / np.abs(force), mean)
        mobility = np.where(np.isfinite(mobility), np.clip(mobility, 0.0, np.maximum(a, b)), 0.0)
        da, db = sign * da, sign * db
        if not all(self.even.values()):
            da = da + times(by_d, fa - here.curvature)
            db = db - times(by_d, fb - there.curvature)
        return Flux(sign * flow, mobility, da, db, by_d)


def _swap(forward: Mask, a: Array, b: Array) -> tuple[Array, Array]:
    """(giver, taker)."""
    return np.where(forward, a, b), np.where(forward, b, a)


def _flow(
    masses: tuple[Array, Array],
    sides: tuple[_Internal, _Internal],
    d: Array,
    means: tuple[Array, Array, Array],
) -> tuple[Array, Array, Array, Array]:
    """The flow from giver to taker and its derivatives in g, t and d."""
    (g, t), (giver, taker), (mean, mean_g, mean_t) = masses, sides, means
    rise = giver.pressure - taker.pressure
    speed_g, speed_t = times(g, giver.curvature), times(t, taker.curvature)
    with_mean = rise + mean * d
    # The drift and the diffusion agree.
    both = (d > 0) & (g >= t)
    least, of_giver = np.minimum(speed_g, speed_t), speed_g < speed_t
    smooth = 0.5 * d <= least
    agreed = rise + d * g - (g - t) * np.where(smooth, 0.5 * d, least)
    # Infinite at empty cells for powers below 2, where Newton's method moves in the mass.
    curvature_g = np.where(of_giver & (g > 0), giver.curvature + giver.third, 0.0)
    curvature_t = np.where(~of_giver & (t > 0), taker.curvature + taker.third, 0.0)
    agreed_g = speed_g + d - np.where(smooth, 0.5 * d, least + (g - t) * curvature_g)
    agreed_t = -speed_t + np.where(smooth, 0.5 * d, least - (g - t) * curvature_t)
    agreed_d = np.where(smooth, 0.5 * (g + t), g)
    # The drift against the diffusion, or alone where that is less.
    uphill = ~both & (g < t)
    half = 0.5 * (g + t)
    flat = half < mean
    force = d + giver.slope - taker.slope
    against = np.where(flat, half * force, with_mean)
    alone = d * g < against
    against_g = np.where(flat, 0.5 * force + times(half, giver.curvature), speed_g + mean_g * d)
    against_t = np.where(flat, 0.5 * force - times(half, taker.curvature), -speed_t + mean_t * d)
    against_d = np.where(flat, half, mean)

    def pick(x: Array, y: Array, z: Array, otherwise: Array) -> Array:
        return np.where(both, x, np.where(uphill, np.where(alone, y, z), otherwise))

    return (
        pick(agreed, d * g, against, with_mean),
        pick(agreed_g, d, against_g, speed_g + mean_g * d),
        pick(agreed_t, np.zeros_like(d), against_t, -speed_t + mean_t * d),
        pick(agreed_d, g, against_d, mean),
    )
