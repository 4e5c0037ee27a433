r"""Dual bound of steps that minimise one convex form of the weights (MMD, divergence geometries).

For F(w) = h(w) + w'Qw/2 over w >= 0 [with 1'w = mass], any multiplier lam (0 on M+) and any u,

    F(w) - min F <= 1/2 (w-u)'Q(w-u) + sum_i [h_i(w_i) + h_i*(y_i) - y_i w_i] + lam (1'w - mass),

y = lam - Qu, with equality at u = w = argmin and the right lam. The brackets are bounded from above
around the response v = argmax y v - h(v) (`jko.energies.conjugate`), whatever found it; lam is
improved by Newton steps on the concave dual.
"""

from __future__ import annotations

import numpy as np

from jko.energies.conjugate import brackets, charged_by, response
from jko.forms.form import WeightForm
from jko.forms.separable import Separable
from jko.kernels.operators import DenseOperator
from jko.numerics.best import Best
from jko.numerics.elementary import EPS
from jko.prox.duality.mass import MassSearch
from jko.prox.stated import Certificate
from jko.validation import Array

#: Evaluations of the dual; Newton needs 2 to 6, kinks as many as halvings.
ASCENTS = 80
#: What a better multiplier may still gain, relative to the gap.
SHARP = 1e-5
#: Share of the mass whose absence Newton's method is believed to mend at once.
NEAR = 1e-2
#: Rounding of lam - Qu, in units of EPS times its terms (a product with a stored matrix of
#: positive entries errs by 1 to 2).
ROUNDING = 4 * EPS
#: Rounding of products by transforms, in units of EPS times their largest entry (measured 1 to 3).
TRANSFORMS = 8 * EPS


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


def fixed_gap(
    h: Separable,
    pull: Array,
    w: Array,
    mass: float,
    lam: float,
    noise: Array | float = 0.0,
    enough: float = 0.0,
) -> tuple[float, float]:
    """Gap at u = w and the multiplier that gives it, from a first guess of the multiplier.

    For those who ask whether it is at most `enough` the search ends where that is known: the gap
    is, or at no multiplier can be.

    The dual is concave in lam with derivative mass - sum v: Newton steps inside a bracket, which
    bisects where atoms without a power jump from 0 to their ceiling. `noise` bounds what `pull` may
    be off by.
    """
    bound = _FixedBound(h, pull, w, mass, noise)
    limit = multiplier_limit(h, pull)
    size = float(w @ (np.abs(pull) + np.abs(np.where(w > 0, h.linear, 0.0)))) + mass * abs(lam)
    search = MassSearch(min(lam, limit), reach=float(np.ptp(pull)) + EPS * abs(lam))
    best, start, last = Best(found=search.x), w, np.inf
    for _ in range(ASCENTS):
        lam = search.x
        gap, v = bound.at(lam, start)
        best.offer(gap, lam)
        missing = mass - float(v.sum())
        newton = _ascent(h, v, missing)
        going = search.advance(missing > 0, newton)
        # The dual is concave: a multiplier `far` away gains no more than missing * far. Newton says
        # how far only near the root, or once its steps have led towards it.
        near = abs(missing) <= max(0.5 * last, NEAR * mass)
        far = search.hi - lam if missing > 0 else lam - search.lo
        far, last = float(np.fmin(far, abs(newton))) if near else far, abs(missing)
        gain = abs(missing) * max(far, EPS * EPS)
        settled = gain <= max(SHARP * best.figure, EPS * size)
        known = best.figure <= enough or gap - gain > enough > 0
        if settled or known or not going or (lam == limit and missing > 0):
            break
        search.x, start = min(search.x, limit), np.where(np.isfinite(v), v, w)
    assert best.found is not None
    return best.figure, best.found


class _FixedBound:
    """The dual bound among weights of one mass, for any multiplier."""

    def __init__(
        self, h: Separable, pull: Array, w: Array, mass: float, noise: Array | float
    ) -> None:
        self.h, self.pull, self.w, self.mass = h, pull, w, mass
        self.stray = float(w.sum()) - mass
        self.noise = noise + ROUNDING * np.abs(pull)
        # No competitor has more on one atom than the whole mass: every conjugate is finite.
        most = np.full(h.n, mass * (1 + 4 * EPS))
        self.capped = Separable(h.linear, h.powers, np.minimum(h.ceiling, most), h.constant)
        self.plain = ~charged_by(h) & np.isinf(h.ceiling)

    def at(self, lam: float, start: Array) -> tuple[float, Array]:
        """The gap at a multiplier, and the responses (+inf where one is unbounded)."""
        h, slack = self.h, self.noise + ROUNDING * abs(lam)
        y = lam - self.pull
        # Where rounding leaves y above the slope of atoms without powers, the competitor with
        # all the mass on the worst of them gains the most.
        over = np.where(self.plain, y + slack - h.linear, -np.inf)
        y = np.where(self.plain, np.minimum(y, h.linear), y)
        v = response(h, y, start)
        gap = float(brackets(self.capped, self.w, y, v, slack).sum())
        gap += self.mass * max(float(over.max()), 0.0)
        # The rounding of a sum of weights that should be the mass.
        return gap + lam * self.stray + ROUNDING * abs(lam) * self.mass, v


def _ascent(h: Separable, v: Array, missing: float) -> float:
    """Newton step for lam: the mass of the responses approaches the mass."""
    moving = (v > 0) & (v < h.ceiling * (1 - 1e-12)) & np.isfinite(v)
    with np.errstate(all="ignore"):
        curvature = h.hessian(np.where(moving, v, 1.0))[moving]
        give = float(np.sum(1 / curvature[curvature > 0]))
    return missing / give if give > 0 and np.isfinite(missing) else float("nan")


def median_multiplier(h: Separable, gradient: Array, w: Array) -> float:
    """The weighted median of the gradient over the charged atoms below their ceiling.

    An answer that stops just below a ceiling has a gradient there that belongs to no multiplier:
    it would pull a mean away, and without curvature no Newton step could bring it back.
    """
    inner = h.inner(w) & np.isfinite(gradient)
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
    noise = product_noise(form, pull)
    gradient = h.gradient(w) + pull
    inner = h.inner(w) & np.isfinite(gradient)
    if mass is None:
        gap, lam = free_gap(form, w, pull), 0.0
    else:
        gap, lam = fixed_gap(h, pull, w, mass, median_multiplier(h, gradient, w), noise)
    violation = float((w[inner] * np.abs(gradient[inner] - lam)).sum())
    size = 1.0 if mass is None else mass
    return Certificate(gap if np.isfinite(gap) else None, violation / size)


def product_noise(form: WeightForm, pull: Array) -> float:
    """What rounding may leave of a product Qw beyond its own digits: transforms mix all entries."""
    if all(isinstance(q.operator, DenseOperator) for q in form.quadratics):
        return 0.0
    return TRANSFORMS * float(np.abs(pull).max(initial=0.0))


def free_gap(form: WeightForm, w: Array, pull: Array) -> float:
    """Gap on M+ at the better of the points of linearisation w, t w and w + t 1.

    Atoms without a power p >= 1 need Qu + linear >= 0, which u = w may miss by rounding: the
    others are the least multiple and the least lift that satisfy it, rounding included.
    """
    h, noise = form.separable, product_noise(form, pull)
    wanting = ~charged_by(h, 1.0) & np.isinf(h.ceiling)
    room = noise + ROUNDING * np.abs(pull)
    # Conjugates with powers are asked for a little above y, where they must be finite too.
    room = np.where(charged_by(h), 4 * room, room)
    need, have = (room - h.linear)[wanting], pull[wanting]
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
        v = response(h, y, w)
        slack = noise + ROUNDING * (np.abs(pull) + np.abs(change))
        bound = float(brackets(h, w, y, v, slack).sum())
        gap = min(gap, 0.5 * float(shift @ change) + bound)
    return gap
