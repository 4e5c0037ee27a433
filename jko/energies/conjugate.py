r"""Conjugates of separable energies, bounded from above: the pieces certificates are made of.

A dual bound needs h*(y) = sup_{0 <= v <= u} y v - h(v) from above, while y v - h(v) at an
approximate maximiser bounds it from below. For any v and any interval [a, b] that holds the
maximiser (formula B1, in the form of a Bregman divergence with the residual added)

    h(w) + h*(y) - y w  <=  h(w) - h(v) - h'(v)(w - v)  +  max_{s in {a, b}} (y - h'(v)) (s - w).

The interval is proved, never believed: either by the curvature at v, which powers cannot lose in a
neighbourhood of known size, or by the signs of y - h' at its ends; rounding is added to y - h'
wherever it is used. Where nothing is proved the bound is +inf.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jko.forms.separable import Separable, power, psi, psi_prime
from jko.numerics.elementary import EPS
from jko.validation import Array, Index, Mask

#: |w/v - 1| max(1, |p|/4) below which a Bregman divergence is summed as a series.
CLOSE = 3e-3
#: What the series leaves out and the direct formula cancels, relative to the divergence (measured
#: in 60 digits: at most 2e-12 for p from -2 to 12).
SERIES = 1e-10
#: Weights below this are searched no further: the maximiser then lies in [0, TINY].
TINY = 1e-300
#: Rounding of one sum of derivatives, in units of EPS times its terms (a power costs 1 to 2).
ROUNDING = 8 * EPS
#: Halvings (in the logarithm) of a bracket that the guess did not prove: 2^-50 of 700 decades.
HALVINGS = 50


def charged_by(h: Separable, least: float = -np.inf) -> Mask:
    """Atoms (n,) with a power p >= least."""
    out = np.zeros(h.n, dtype=bool)
    for p, c in h.powers.items():
        if p >= least:
            out |= c > 0
    return out


def response(h: Separable, y: Array, start: Array) -> Array:
    """argmax_v y v - h(v) (n,), searched from the positive weights `start`; +inf if unbounded."""
    with np.errstate(over="ignore", divide="ignore"):
        guess = np.log(np.maximum(start, TINY))
        return np.exp(h.solve_stationary(extra_constant=-y, start=guess))


def bregman(h: Separable, w: Array, v: Array) -> Array:
    """h(w) - h(v) - h'(v)(w - v) (n,) for v > 0, without cancellation where w is near v."""
    out = np.zeros(h.n)
    with np.errstate(all="ignore"):
        e = (w - v) / v
        steepest = max(1.0, *(abs(p) / 4 for p in h.powers), 1.0)
        far = np.flatnonzero(~(np.abs(e) * steepest < CLOSE))
        for p, c in h.powers.items():
            a, b = (p - 2) / 3, (p - 3) / 4
            series = 1 + a * e * (1 + b * e * (1 + (p - 4) / 5 * e * (1 + (p - 5) / 6 * e)))
            value = 0.5 * power(v, p) * e**2 * series
            if far.size:
                value[far] = _far(p, w[far], v[far], e[far])
            out += np.where(c > 0, c * value, 0.0)
    return out


def _far(p: float, w: Array, v: Array, e: Array) -> Array:
    """The divergence of psi_p where w is not near v."""
    if p == 1:
        log_ratio = np.where(np.abs(e) < 0.5, np.log1p(e), np.log(w) - np.log(v))
        return np.where(w > 0, w * log_ratio, 0.0) - (w - v)
    if p == 0:
        return e - np.where(np.abs(e) < 0.5, np.log1p(e), np.log(w) - np.log(v))
    middle = power(v, p) * (np.expm1(p * np.log1p(e)) - p * e) / (p * (p - 1))
    parts = psi(p, w), psi(p, v), psi_prime(p, v) * (w - v)
    apart = parts[0] - parts[1] - parts[2] + 4 * EPS * sum(np.abs(part) for part in parts)
    return np.where(np.abs(e) < 0.5, middle, apart)


def brackets(h: Separable, w: Array, y: Array, v: Array, slack: Array | float = 0.0) -> Array:
    """Upper bounds of h(w) + h*(y') - y' w (n,), for every y' within `slack` of y.

    Parameters
    ----------
    h : Separable
        The conjugate is taken over [0, ceiling].
    w, y : (n,) arrays
        Weights and dual variables.
    v : (n,) array
        Any guess of the response to y: a good one makes the bound sharp, none makes it wrong.
    slack : (n,) array or float, optional
        Uncertainty of y. It is not applied to atoms without powers, whose conjugate jumps to +inf:
        who asks has to keep y below their slope.

    Returns
    -------
    (n,) array, >= 0
        +inf where the conjugate is infinite or no interval for its maximiser is proved.
    """
    flat = ~charged_by(h)
    slack = np.where(flat, 0.0, slack)
    with np.errstate(all="ignore"):
        found = _bracketed(h, y, v, slack, flat)
        r, lo, hi = found.residual, found.lo, found.hi
        reach = np.maximum(np.abs(lo - w), np.abs(hi - w))
        out = bregman(h, w, found.v) * (1 + SERIES)
        out += np.maximum(r * (lo - w), r * (hi - w)) + found.error * reach
        outside = (w < 0) | (w > h.ceiling * (1 + 1e-12))
        out = np.where(np.isnan(out) | np.isinf(hi) | outside, np.inf, out)
    # An atom the energy forbids contributes nothing once it is empty.
    out = np.where((h.ceiling == 0) & (w == 0), 0.0, out)
    return np.maximum(out, 0.0)


@dataclass(eq=False)
class _Bracketed:
    """A point v of every atom, y - h'(v) with its rounding, and what holds the maximiser."""

    v: Array
    residual: Array
    error: Array
    lo: Array
    hi: Array


def _bracketed(h: Separable, y: Array, v: Array, slack: Array, flat: Mask) -> _Bracketed:
    """Prove an interval around the guess v, or search for one."""
    top = h.ceiling
    v = np.where(np.isfinite(v), v, np.minimum(top, 1.0))
    v = np.minimum(np.maximum(v, TINY), top)
    v = np.where(h.full(v), top, v)
    # Without powers the maximiser is an end: 0 below the slope and the ceiling above it.
    v = np.where(flat & (y > h.linear), np.where(np.isinf(top), TINY, top), v)
    r, error, curvature = _residual(h, y, v, slack)
    falls = (r < -error) | (flat & (r <= 0))
    rises = (r > error) & ~falls
    # Within a share `limit` of v the curvature stays above 3/4 of that at v (s^{p-2} is monotone).
    limit = 0.25 / max(1.0, *(abs(p - 2) for p in h.powers), 1.0)
    share = 2 * (np.abs(r) + error) / curvature
    proved = share <= limit
    lo = np.where(rises, v, np.where(proved, v * (1 - share), np.where(v > TINY, np.nan, 0.0)))
    lo = np.where(flat & falls, 0.0, lo)
    hi = np.where(falls, v, np.where(proved, v * (1 + share), np.where(v < top, np.nan, top)))
    hi = np.minimum(np.where(flat & rises, top, hi), top)
    found = _Bracketed(v, r, error, lo, hi)
    open_ended = np.flatnonzero((np.isnan(lo) | np.isnan(hi)) & (top > 0))
    if open_ended.size:
        _search(h.take(open_ended), y[open_ended], slack[open_ended], found, open_ended)
    return found


def _residual(h: Separable, y: Array, v: Array, slack: Array) -> tuple[Array, Array, Array]:
    """y - h'(v) (n,), what rounding and `slack` leave uncertain of it, and v h''(v)."""
    pull, size, curvature = np.zeros(h.n), np.zeros(h.n), np.zeros(h.n)
    for p, c in h.powers.items():
        term = _pull(p, c, v)
        pull += term
        size += np.abs(term)
        # h'' alone may overflow where v h'' does not.
        curvature += c if p == 1 else (p - 1) * term
    r = (y - h.linear) - pull
    return r, _uncertain(h, r, size, slack), curvature


def _pull(p: float, c: Array, v: Array) -> Array:
    """c psi_p'(v), 0 where c is; v may be (k, n)."""
    slope = np.log(v) if p == 1 else power(v, p - 1) / (p - 1)
    term = np.where(c > 0, c * slope, 0.0)
    over = np.isinf(slope) & (c > 0)
    if over.any():  # a power that overflows says nothing of its product with a small coefficient
        size = np.exp(np.log(c) + (p - 1) * np.log(v) - np.log(abs(p - 1)))
        term = np.where(over, np.sign(p - 1) * size, term)
    return np.asarray(term)


def _uncertain(h: Separable, r: Array, size: Array, slack: Array) -> Array:
    """What rounding, with terms of this size besides the slopes, and `slack` leave uncertain."""
    data = np.where(size > 0, np.abs(h.linear) + size, 0.0)
    return np.asarray(ROUNDING * (np.abs(r) + data) + slack)


def _signs(h: Separable, y: Array, v: Array, slack: Array) -> tuple[Mask, Mask]:
    """Where y - h'(v) is surely negative, and surely positive; v and both are (k, n)."""
    pull, size = np.zeros(v.shape), np.zeros(v.shape)
    for p, c in h.powers.items():
        term = _pull(p, c, v)
        pull += term
        size += np.abs(term)
    r = (y - h.linear) - pull
    error = _uncertain(h, r, size, slack)
    return (r < -error) | (r == -np.inf), (r > error) | (r == np.inf)


def _search(h: Separable, y: Array, slack: Array, found: _Bracketed, index: Index) -> None:
    """Widen until the signs of y - h' at both ends are known, then halve; sets `found`."""
    v, top = found.v[index], h.ceiling
    lo, hi = np.zeros(h.n), np.minimum(top, np.inf)
    most = np.minimum(top, 1e300)
    down, up, factor = v, v, 1.25
    for _ in range(12):
        down, up = np.maximum(down / factor, TINY), np.minimum(up * factor, most)
        falls, rises = _signs(h, y, np.stack([down, up]), slack)
        lo = np.where(rises[0] & (down > lo), down, lo)
        hi = np.where(falls[1] & (up < hi), up, hi)
        factor = min(factor**2, 1e150)
    # Between the ends there may be weights where rounding hides the sign: each end on its own.
    left, right = np.maximum(lo, TINY), np.minimum(hi, 1e300)
    for _ in range(HALVINGS):
        upper = np.sqrt(left) * np.sqrt(np.minimum(hi, 1e300))
        lower = np.sqrt(np.maximum(lo, TINY)) * np.sqrt(right)
        falls, rises = _signs(h, y, np.stack([upper, lower]), slack)
        hi, left = np.where(falls[0], upper, hi), np.where(falls[0], left, upper)
        lo, right = np.where(rises[1], lower, lo), np.where(rises[1], right, lower)
    v = np.minimum(np.sqrt(np.maximum(lo, TINY)) * np.sqrt(np.minimum(hi, 1e300)), top)
    r, error, _ = _residual(h, y, v, slack)
    found.v[index], found.residual[index], found.error[index] = v, r, error
    found.lo[index], found.hi[index] = lo, hi
