"""Roots of increasing functions: many at a time, or one; safeguarded, in the log domain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from jko.numerics.elementary import EPS
from jko.validation import Array, Mask

#: Roots are sought for z = log w in [-LOG_RANGE, LOG_RANGE]: beyond it exp(z) is 0 or inf.
LOG_RANGE = 745.0
#: Atoms handled at a time: the temporaries of a block stay in cache.
BLOCK = 8192
#: Newton on the logarithms squares errors once the ratio is near 1: a step this short relative to
#: max(1, |z|), from a ratio this close to 1, ends at the root to rounding.
SHORT = 1e-9
NEAR = 1e-6
#: Iterations after which every second one bisects, so that the bracket ends within 2 * 64 more
#: (Newton needs 4 to 8 of them in `benchmarks/separable_steps.py`).
FREE_RUN = 40

Term = tuple[Array, float]


def exponential_sum_root(
    constant: Array,
    slope: Array | float,
    terms: Sequence[Term],
    start: Array | float = 0.0,
    max_iter: int = 200,
) -> Array:
    r"""Root z of ``constant + slope z + sum_j c_j exp(k_j z)``, elementwise.

    Every optimality condition of a separable step has this form in z = log w. The hypotheses
    ``slope >= 0`` and ``c_j k_j >= 0`` make the left side increasing, so the root is unique.

    Parameters
    ----------
    constant : (n,) array
    slope : (n,) array or float, >= 0
    terms : sequence of ((n,) array c_j, float k_j) with c_j k_j >= 0
    start : first guess, clipped to the admissible range

    Returns
    -------
    (n,) array
        The root; -inf where the left side is positive throughout (the atom is empty) and +inf
        where it is negative throughout (the step is unbounded).
    """
    n = constant.shape[0]
    slope = np.broadcast_to(np.asarray(slope, dtype=float), (n,))
    if not terms:
        return _straight(constant, slope)
    if len(terms) == 1:
        root = _one_exponential(constant, slope, *terms[0])
        rest = np.flatnonzero(np.isnan(root))
        if not rest.size:
            return root
        # Where constants overflow the closed form has lost the root.
        some = [(c[rest], k) for c, k in terms]
        begin = np.broadcast_to(np.asarray(start, dtype=float), (n,))[rest]
        root[rest] = _in_blocks(constant[rest], slope[rest], some, begin, max_iter)
        return root
    begin = np.broadcast_to(np.asarray(start, dtype=float), (n,))
    return _in_blocks(constant, slope, terms, begin, max_iter)


def _straight(constant: Array, slope: Array) -> Array:
    """The roots of constant + slope z; where nothing depends on z the sign of the constant."""
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        z = -constant / slope
    return _in_range(np.where(slope > 0, z, np.where(constant < 0, np.inf, -np.inf)))


def _one_exponential(constant: Array, slope: Array, c: Array, k: float) -> Array:
    r"""The roots of constant + slope z + c exp(k z); nan where both coefficients vanish.

    With y = k z + log(c k / slope) the equation is y + e^y = x, x = log(c k / slope) - k constant /
    slope: Wright's omega function is e^y (Corless and Jeffrey, 2002). One Newton step in z mends
    what the logarithms of large and small constants lost.
    """
    from scipy.special import wrightomega

    with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
        opposed = np.sign(constant) * np.sign(c) < 0
        ratio = np.log(np.abs(constant)) - np.log(np.abs(c))
        without_logarithm = np.where(opposed, ratio / k, -np.inf * np.sign(c))
        if not slope.any():  # powers without an entropy
            return _in_range(np.where(c == 0, np.nan, without_logarithm))
        shift = np.log(c * k) - np.log(slope)
        x = shift - k * constant / slope
        omega = wrightomega(x)
        z = (np.where(x > 1, np.log(omega), x - omega) - shift) / k
        z = np.where(np.isposinf(x) | (slope == 0), without_logarithm, z)
        z = np.where(c == 0, -constant / slope, z)
        power = c * np.exp(k * z)
        lost = (power == 0) | ~np.isfinite(power)
        power = np.where(lost, np.sign(c) * np.exp(np.log(np.abs(c)) + k * z), power)
        step = (constant + slope * z + power) / (slope + k * power)
        sure = (np.abs(step) <= NEAR * np.maximum(1.0, np.abs(z))) | np.isinf(z)
        z = np.where(sure, np.where(np.isinf(z), z, z - step), np.nan)
    return _in_range(z)


def _in_range(z: Array) -> Array:
    """z with the infinities that exp knows nothing beyond."""
    z[z < -LOG_RANGE] = -np.inf
    z[z > LOG_RANGE] = np.inf
    return z


def _in_blocks(
    constant: Array, slope: Array, terms: Sequence[Term], start: Array, max_iter: int
) -> Array:
    """The roots by safeguarded Newton steps, a block of atoms at a time."""
    n = constant.shape[0]
    root = np.empty(n)
    z = np.clip(start, -LOG_RANGE, LOG_RANGE)
    for i in range(0, n, BLOCK):
        part = slice(i, i + BLOCK)
        some = [(c[part], k) for c, k in terms]
        root[part] = _roots(constant[part], slope[part], some, z[part], max_iter)
    return root


def _roots(constant: Array, slope: Array, terms: Sequence[Term], z: Array, max_iter: int) -> Array:
    """The roots of one block of atoms.

    Whether there is one in the range is asked where it is not found within three steps.
    """
    n = constant.shape[0]
    root, active = np.empty(n), np.arange(n)
    sums = _Sums.of(constant, slope, terms)
    state = (z, np.full(n, -LOG_RANGE), np.full(n, LOG_RANGE))
    with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
        for k in range(max_iter):
            done, state = _newton_bisect(state, sums, k > FREE_RUN and k % 2 == 1)
            ends = state[0]
            if k == 2:
                ends = np.where(done, ends, _beyond(sums))
                done |= np.isinf(ends)
            if done.all():
                root[active] = ends
                return root
            if done.any():
                root[active[done]] = ends[done]
                keep = ~done
                active, sums = active[keep], sums.take(keep)
                state = (state[0][keep], state[1][keep], state[2][keep])
        root[active] = state[0]
    return root


def _beyond(sums: _Sums) -> Array:
    """-inf or +inf where the root is not within the range, nan elsewhere."""
    at = np.full(sums.plus.shape, LOG_RANGE)
    plus, minus, *_ = sums.split(-at)
    empty = plus >= minus
    plus, minus, *_ = sums.split(at)
    return np.where(empty, -np.inf, np.where(plus < minus, np.inf, np.nan))


class _Sums(NamedTuple):
    """The left sides of one block: constants as their positive and negative parts, sizes of terms.

    `slope` is None where there is none; `bare` says whether some coefficient is 0.
    """

    plus: Array
    minus: Array
    slope: Array | None
    terms: tuple[Term, ...]
    bare: bool

    @classmethod
    def of(cls, constant: Array, slope: Array, terms: Sequence[Term]) -> _Sums:
        sizes = tuple((np.abs(c), k) for c, k in terms)
        bare = not all(c.all() for c, _ in sizes)
        plus, minus = np.maximum(constant, 0), np.maximum(-constant, 0)
        return cls(plus, minus, slope if slope.any() else None, sizes, bare)

    def take(self, keep: Mask) -> _Sums:
        """Those of some atoms."""
        slope = None if self.slope is None else self.slope[keep]
        terms = tuple((c[keep], k) for c, k in self.terms)
        return _Sums(self.plus[keep], self.minus[keep], slope, terms, self.bare)

    def split(self, z: Array) -> tuple[Array, Array, Array | float, Array | float]:
        """Increasing positive part, decreasing negative part (as a positive number), slopes."""
        plus, minus = self.plus, self.minus
        dplus: Array | float = 0.0
        dminus: Array | float = 0.0
        if self.slope is not None:
            linear = self.slope * z
            plus, minus = plus + np.maximum(linear, 0), minus + np.maximum(-linear, 0)
            dplus, dminus = np.where(z > 0, self.slope, 0.0), np.where(z > 0, 0.0, self.slope)
        for c, k in self.terms:
            value = c * np.exp(k * z)
            if self.bare:
                value = np.where(c == 0, 0.0, value)
            if k > 0:
                plus, dplus = plus + value, dplus + k * value
            else:
                minus, dminus = minus + value, dminus - k * value
        return plus, minus, dplus, dminus


def _newton_bisect(
    state: tuple[Array, Array, Array], sums: _Sums, bisect: bool
) -> tuple[Mask, tuple[Array, Array, Array]]:
    """One step of Newton on log(plus) - log(minus), nearly linear in z, inside a bracket.

    Near z = 0 the part that holds slope z alone is next to nothing and its logarithm steep: Newton
    steps are then tiny however far the root is. So no step is taken for a root unless the two parts
    balance, and where a step is tiny and they do not, the bracket is halved.
    """
    z, lo, hi = state
    plus, minus, dplus, dminus = sums.split(z)
    slope_of_logs = dplus / plus + dminus / minus
    ratio = np.log(minus) - np.log(plus)
    step = ratio / slope_of_logs
    candidate = z + step
    size = np.maximum(1.0, np.abs(z))
    near = (np.abs(ratio) <= NEAR) & np.isfinite(slope_of_logs)
    # A root to rounding: the sign of the step may be that of a rounding error, so that it must
    # not send the iteration back to bisection.
    short = np.abs(step) <= SHORT * size
    settled = near & short
    if settled.all():
        return settled, (candidate, lo, hi)
    above = plus > minus
    hi = np.where(above, z, hi)
    lo = np.where(above, lo, z)
    steady = near | ~short
    inside = (candidate > lo) & (candidate < hi) & np.isfinite(candidate)
    if bisect:
        inside &= near
    new = np.where((inside & steady) | settled, candidate, 0.5 * (lo + hi))
    total = plus + minus
    balanced = (np.abs(plus - minus) <= EPS * total) & np.isfinite(total) & (total > 0)
    done = balanced | settled | (hi - lo <= 2 * EPS * size)
    new = np.where(balanced, z, new)
    return done, (new, lo, hi)


def increasing_root(
    f: Callable[[float], float], lo: float, hi: float, *, xtol: float = 0.0, max_iter: int = 200
) -> float:
    """Root of an increasing scalar function with f(lo) <= 0 <= f(hi) (Brent's method)."""
    from scipy.optimize import brentq

    flo, fhi = f(lo), f(hi)
    if flo >= 0:
        return lo
    if fhi <= 0:
        return hi
    tiny = max(xtol, 4 * EPS * max(abs(lo), abs(hi), 1e-300))
    return float(brentq(f, lo, hi, xtol=tiny, rtol=4 * EPS, maxiter=max_iter))


def last_true(holds: Callable[[float], bool], lo: float, hi: float, halvings: int) -> float:
    """The end of a condition that holds from lo on up to some point before hi, by halving.

    Returns a number where it holds, (hi - lo) / 2^halvings from the end at most; lo is not asked.
    """
    for _ in range(halvings):
        middle = 0.5 * (lo + hi)
        lo, hi = (middle, hi) if holds(middle) else (lo, middle)
    return lo
