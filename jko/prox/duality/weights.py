r"""Dual bound of steps that minimise one convex form of the weights (MMD, divergence geometries).

For F(w) = h(w) + w'Qw/2 over w >= 0 [with 1'w = mass], any multiplier lam (0 on M+) and any u,

    F(w) - min F <= 1/2 (w-u)'Q(w-u) + sum_i [h_i(w_i) + h_i*(y_i) - y_i w_i] + lam (1'w - mass),

y = lam - Qu, with equality at u = w = argmin and the right lam. The brackets are Bregman
divergences h(w) - h(v) - h'(v)(w - v) to the response v = argmax y v - h(v), evaluated without
cancellation; lam is improved by Newton steps on the concave dual.
"""

from __future__ import annotations

import numpy as np

from jko.energies.form import WeightForm
from jko.energies.separable import Separable, psi, psi_prime
from jko.numerics.elementary import EPS
from jko.prox.result import Certificate
from jko.validation import Array, Mask

#: Newton steps for the multiplier, and steps where the dual has kinks.
ASCENTS = 6
BISECTIONS = 80
#: |w/v - 1| below which a Bregman divergence is summed as a series.
CLOSE = 1e-2


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
        guess = np.log(np.maximum(start, 1e-300))
        return np.exp(h.solve_stationary(extra_constant=-y, start=guess))


def bregman(h: Separable, w: Array, v: Array) -> Array:
    """h(w) - h(v) - h'(v)(w - v) (n,) for v > 0, without cancellation where w is near v."""
    out = np.zeros(h.n)
    with np.errstate(all="ignore"):
        e = w / v - 1
        near = np.abs(e) < CLOSE
        for p, c in h.powers.items():
            a, b = (p - 2) / 3, (p - 3) / 4
            series = 1 + a * e * (1 + b * e * (1 + (p - 4) / 5 * e * (1 + (p - 5) / 6 * e)))
            close = 0.5 * v**p * e**2 * series
            far = psi(p, w) - psi(p, v) - psi_prime(p, v) * (w - v)
            out += np.where(c > 0, c * np.where(near, close, far), 0.0)
    return out


def brackets(h: Separable, w: Array, y: Array, v: Array) -> Array:
    """h(w) + h*(y) - y w (n,), from the response v to y; +inf where the conjugate is infinite."""
    with np.errstate(all="ignore"):
        tiny = v < 1e-300
        safe = np.where(tiny | np.isinf(v), 1.0, v)
        out = bregman(h, w, safe)
        # At the ceiling the response is steeper than h': y - h'(v) >= 0 and w <= v.
        top = v >= h.ceiling
        out += np.where(top, np.maximum(y - h.gradient(safe), 0.0) * (safe - w), 0.0)
        # The response is 0 (or underflows): h*(y) = -h(0) = 0.
        out = np.where(tiny, h.per_atom(w) - np.where(w > 0, y * w, 0.0), out)
    out = np.where(np.isinf(v) | np.isnan(out) | (w > h.ceiling * (1 + 1e-12)), np.inf, out)
    # An atom the energy forbids contributes nothing once it is empty.
    out = np.where((h.ceiling == 0) & (w == 0), 0.0, out)
    return np.maximum(out, 0.0)


def multiplier_limit(h: Separable, pull: Array) -> float:
    """The multiplier beyond which some conjugate h*(lam - pull) is infinite."""
    wanting = ~charged_by(h, 1.0) & np.isinf(h.ceiling)
    if not wanting.any():
        return np.inf
    slope = h.linear + pull
    limit = float(slope[wanting].min())
    # At the limit itself an atom with a power p < 1 still explodes, one without any does not.
    if (wanting & charged_by(h) & (slope <= limit)).any():
        limit -= 4 * EPS * float(np.abs(h.linear[wanting]).max() + np.abs(pull[wanting]).max())
    return limit


def fixed_gap(h: Separable, pull: Array, w: Array, mass: float, lam: float) -> tuple[float, float]:
    """Gap at u = w and the multiplier that gives it, from a first guess of the multiplier.

    The dual is concave in lam with derivative mass - sum v: Newton steps, and where atoms without
    a power jump from 0 to their ceiling, bisection.
    """
    best, best_lam, bisect = np.inf, lam, False
    limit = multiplier_limit(h, pull)
    lo, hi = -np.inf, np.inf
    powered = charged_by(h)
    plain = ~powered & np.isinf(h.ceiling)
    jumps = bool((~powered & (h.ceiling > 0) & np.isfinite(h.ceiling)).any())
    start, reach = w, float(np.ptp(pull)) + EPS * abs(lam)
    for _ in range(BISECTIONS if jumps else ASCENTS):
        lam = min(lam, limit)
        # Rounding can leave 1e-17 above the slope of an atom without powers: lam respects it.
        y = np.where(plain, np.minimum(lam - pull, h.linear), lam - pull)
        v = response(h, y, start)
        gap = float(brackets(h, w, y, v).sum()) + lam * (float(w.sum()) - mass)
        stalled = np.isfinite(gap) and not abs(gap) < 0.5 * abs(best)
        if gap < best:
            best, best_lam = gap, lam
        if abs(best) <= 1e-14 * max(1.0, mass) or (stalled and not jumps):
            break
        missing = mass - float(v.sum())
        lo, hi = (lam, hi) if missing > 0 else (lo, lam)
        new = lam + _ascent(h, v, missing)
        bisect = bisect or stalled or not lo < new < hi
        if bisect:
            new = _middle(lo, hi, reach)
            reach *= 2
        if new == lam or (lam == limit and new > lam):
            break
        lam, start = new, np.where(np.isfinite(v), v, w)
    return best, best_lam


def _ascent(h: Separable, v: Array, missing: float) -> float:
    """Newton step for lam: the mass of the responses approaches the mass."""
    moving = (v > 0) & (v < h.ceiling) & np.isfinite(v)
    with np.errstate(all="ignore"):
        curvature = h.hessian(np.where(moving, v, 1.0))[moving]
        give = float(np.sum(1 / curvature[curvature > 0]))
    return missing / give if give > 0 and np.isfinite(missing) else float("nan")


def _middle(lo: float, hi: float, reach: float) -> float:
    """The middle of a bracket, or a step of length `reach` from its only end."""
    if np.isinf(lo):
        return hi - reach
    return lo + reach if np.isinf(hi) else 0.5 * (lo + hi)


def median_multiplier(h: Separable, gradient: Array, w: Array) -> float:
    """The weighted median of the gradient over the charged atoms below their ceiling.

    An answer that stops just below a ceiling has a gradient there that belongs to no multiplier:
    it would pull a mean away, and without curvature no Newton step could bring it back.
    """
    inner = (w > 0) & (w < h.ceiling * (1 - 1e-12)) & np.isfinite(gradient)
    if not inner.any():
        inner = (w > 0) & np.isfinite(gradient)
    if not inner.any():
        return 0.0
    order = np.argsort(gradient[inner])
    below = np.cumsum(w[inner][order])
    middle = int(np.searchsorted(below, below[-1] / 2))
    return float(gradient[inner][order[middle]])


def weight_certificate(form: WeightForm, w: Array, mass: float | None) -> Certificate:
    """Gap of min form(w) over w >= 0 with total `mass` (None: free), convex quadratic parts.

    For linear energies on a simplex this is the Frank-Wolfe gap w'g - mass min g. On M+ the point
    u of linearisation is shifted until the dual is feasible.
    """
    h = form.separable
    pull = form.quadratic_gradient(w)
    gradient = h.gradient(w) + pull
    inner = (w > 0) & (w < h.ceiling * (1 - 1e-12)) & np.isfinite(gradient)
    if mass is None:
        gap, lam = free_gap(form, w, pull), 0.0
    else:
        gap, lam = fixed_gap(h, pull, w, mass, median_multiplier(h, gradient, w))
    violation = float((w[inner] * np.abs(gradient[inner] - lam)).sum())
    size = 1.0 if mass is None else mass
    return Certificate(gap if np.isfinite(gap) else None, violation / size)


def free_gap(form: WeightForm, w: Array, pull: Array) -> float:
    """Gap on M+ at the better of the points of linearisation w, t w and w + t 1.

    Atoms without a power p >= 1 need Qu + linear >= 0, which u = w may miss by rounding: the
    others are the least multiple and the least lift that satisfy it.
    """
    h = form.separable
    wanting = ~charged_by(h, 1.0) & np.isinf(h.ceiling)
    need, have = -h.linear[wanting], pull[wanting]
    zero = np.zeros(h.n)
    moves: list[tuple[Array, Array]] = []
    if (have >= need).all():
        moves.append((zero, zero))
    else:
        rising = have > 0
        t = float(np.max(need[rising] / have[rising], initial=1.0)) * (1 + 4 * EPS) - 1
        if (need[~rising] <= (1 + t) * have[~rising]).all():
            moves.append((t * w, t * pull))
        lift = form.quadratic_gradient(np.ones(h.n))
        if lift[wanting].min() > 0:
            t = float(np.max((need - have) / lift[wanting])) * (1 + 4 * EPS)
            moves.append((np.full(h.n, t), t * lift))
    gap = np.inf
    for shift, change in moves:
        y = -(pull + change)
        # Rounding can leave -1e-17 on a plain atom: the candidate already paid for it.
        y = np.where(wanting & ~charged_by(h), np.minimum(y, h.linear), y)
        v = response(h, y, w)
        gap = min(gap, 0.5 * float(shift @ change) + float(brackets(h, w, y, v).sum()))
    return gap
