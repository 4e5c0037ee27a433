r"""Proximal maps, cell by cell: of the action density |Y|^p / (p r^{p-1}) and of local energies."""

from __future__ import annotations

import numpy as np

from jko.forms.separable import Separable
from jko.numerics.elementary import log_or_minus_inf
from jko.validation import Array

#: Newton steps of the cubic: from its starting point they reach rounding.
CUBIC_STEPS = 6
#: Steps of the safeguarded Newton method for other powers.
POWER_STEPS = 30


def action_prox(
    r: Array, y: Array, weight_r: float | Array, weight_y: float | Array, p: float = 2.0
) -> tuple[Array, Array]:
    r"""argmin |Y|^p/(p R^{p-1}) + weight_r/2 (R - r)^2 + weight_y/2 |Y - y|^2, cell by cell.

    Parameters
    ----------
    r : array
    y : array (components, ...)
    weight_r, weight_y : float, or one a cell, > 0
    p : float, > 1

    Notes
    -----
    With u = 1 + weight_y R, p = 2 leads to u^2 (u - 1 - weight_y r) = weight_y^3 |y|^2/(2 weight_r)
    and its largest root; Newton's method falls to it from above. Other powers solve for the
    multiplier of Y, whose length b obeys b/weight_y + R b^{q-1} = |y|, R = r + b^q/(q weight_r).
    """
    square = np.einsum("i...,i...->...", y, y)
    if p == 2:
        new = _cubic(r, square, weight_r, weight_y)
        return new, y * (weight_y * new / (1 + weight_y * new))
    return _power(r, y, square, weight_r, weight_y, p)


def _cubic(r: Array, square: Array, weight_r: float | Array, weight_y: float | Array) -> Array:
    c = square * (weight_y**3 / (2 * weight_r))
    u0 = 1 + weight_y * r
    u = np.maximum(u0, 1.0)
    u += np.minimum(np.cbrt(c), c / u**2)  # two upper bounds of the root, if that is above 1
    for _ in range(CUBIC_STEPS):
        u -= (u * u * (u - u0) - c) / (u * (3 * u - 2 * u0))
    return np.maximum((u - 1) / weight_y, 0.0)


def _power(
    r: Array, y: Array, square: Array, weight_r: float | Array, weight_y: float | Array, p: float
) -> tuple[Array, Array]:
    q, size = p / (p - 1), np.sqrt(square)
    low, high = np.zeros_like(size), weight_y * size
    b = high.copy()
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(POWER_STEPS):
            mass = np.maximum(r + b**q / (q * weight_r), 0.0)
            value = b / weight_y + mass * b ** (q - 1) - size
            slope = 1 / weight_y + (q - 1) * mass * b ** (q - 2)
            slope += np.where(mass > 0, b ** (2 * q - 2) / weight_r, 0.0)
            high, low = np.where(value > 0, b, high), np.where(value > 0, low, b)
            new = b - value / slope
            b = np.where((new >= low) & (new <= high), new, 0.5 * (low + high))
    mass = np.maximum(r + b**q / (q * weight_r), 0.0)
    factor = np.where(size > 0, 1 - b / (weight_y * np.where(size > 0, size, 1.0)), 0.0)
    return mass, y * factor


def local_prox(h: Separable | None, u: Array, scale: float, weight: float | Array) -> Array:
    """argmin_{v >= 0} scale h(v) + weight/2 (v - u)^2 (n,)."""
    from scipy.special import wrightomega

    if h is None:
        return np.maximum(u, 0.0)
    if set(h.powers) == {1.0} and bool((h.powers[1.0] > 0).all()):
        # v/k solves y + log y = (weight u - scale linear)/(scale c) - log k, Wright's omega.
        curvature = scale * h.powers[1.0]
        k = curvature / weight
        v = k * wrightomega((weight * u - scale * h.linear) / curvature - np.log(k))
        return np.asarray(v if h.upper is None else np.minimum(v, h.upper))
    if not h.powers or set(h.powers) == {2.0}:
        stiffness = weight + (scale * h.powers[2.0] if h.powers else 0.0)
        free = (weight * u - scale * h.linear) / stiffness
        return np.clip(free, 0.0, h.upper)
    start = log_or_minus_inf(np.maximum(u, 1e-12))
    terms = [(np.full(h.n, weight), 1.0)]
    return np.exp(h.solve_stationary(scale, -weight * u, 0.0, terms, start=start))
