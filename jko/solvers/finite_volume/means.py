"""Means of two cells' masses with their derivatives, and the powers they need."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from jko.validation import Array

#: Relative differences below this use the series of a mean.
CLOSE = 1e-3
#: Powers below this lose digits.
UNDERFLOW = 1e-280


def power(w: Array, q: float) -> Array:
    """w^q for w >= 0; small whole exponents by multiplication, which is ten times faster."""
    if q != int(q) or not 0 <= q <= 8:
        with np.errstate(divide="ignore", over="ignore"):
            return np.asarray(w**q)
    out, square, k = np.ones_like(w), w, int(q)
    while k:
        out = out * square if k % 2 else out
        k //= 2
        square = square * square if k else square
    return out


def times(mean: Array, slope: Array) -> Array:
    """mean * slope with 0 * inf = 0."""
    return np.where(mean > 0, mean * np.where(np.isfinite(slope), slope, 0.0), 0.0)


def bernoulli(x: Array) -> tuple[Array, Array]:
    """B(x) = x/(e^x - 1) and its derivative."""
    small = np.abs(x) < 1e-5
    safe = np.where(small, 1.0, np.clip(x, -700.0, 700.0))
    grown = np.expm1(safe)
    value = np.where(small, 1 - x / 2, safe / grown)
    slope = np.where(small, -0.5 + x / 6, (1 - value * (grown + 1)) / grown)
    return value, slope


def curvature(p: float, w: Array, slope: Array) -> Array:
    """psi_p''(w) = w^{p-2} from w^{p-1}."""
    if p == 2:
        return np.ones_like(w)
    return np.where(w > 0, slope / w, 0.0 if p > 2 else np.inf)


class Side(Protocol):
    """P, U', U'' and w U''' of an internal energy at the masses of one side of the faces."""

    @property
    def pressure(self) -> Array: ...
    @property
    def slope(self) -> Array: ...
    @property
    def curvature(self) -> Array: ...
    @property
    def third(self) -> Array: ...


def secant(a: Array, b: Array, here: Side, there: Side) -> tuple[Array, Array, Array]:
    """Stolarsky's mean (P_a - P_b)/(U'_a - U'_b) of the masses a, b, and its derivatives.

    Near a = b the series m + k d^2/(12 m), m = (a + b)/2, d = a - b, k = m U'''/U'' (p - 2 for a
    power p).
    """
    middle, d = 0.5 * (a + b), a - b
    drop = here.pressure - there.pressure
    close = (np.abs(d) <= CLOSE * middle) | (np.abs(drop) < UNDERFLOW)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        k = (here.third + there.third) / (here.curvature + there.curvature)
        k = np.where(np.isfinite(k), k, 0.0) / np.where(middle > 0, middle, 1.0)
        rise = np.where(close, 1.0, here.slope - there.slope)
        mean = np.where(close, middle + k * d**2 / 12, drop / rise)
        mean = np.where(np.isfinite(mean), mean, 0.0)
        by_a = np.where(close, 0.5 + k * d / 6, (a - mean) * here.curvature / rise)
        by_b = np.where(close, 0.5 - k * d / 6, (mean - b) * there.curvature / rise)
    return mean, _bounded(by_a), _bounded(by_b)


def _bounded(v: Array) -> Array:
    return np.clip(np.where(np.isfinite(v), v, 0.0), 0.0, 1e3)
