"""The search for the multiplier of the mass: one monotone equation, wherever the mass is kept.

Every problem with fixed mass asks for the number x at which the mass of its responses is right:
steps in closed form, certificates, transport potentials. They differ in how x enters and in what
Newton's method proposes; the bracket, and what is done where Newton fails, is here. So is what
makes the mass of given weights exact. Many equations at a time, one an atom, are solved by
`jko.numerics.roots.exponential_sum_root`; oracles use `increasing_root` there and share nothing
with this search.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jko.numerics.elementary import EPS
from jko.validation import Array

#: Newton steps that leave a finite bracket wider than half before it is halved: at an atom just
#: below its ceiling they go nowhere. Steps that shrink fast, as near a root, are three times as
#: many: they come from one side, and the bracket closes with the last.
CRAWL = 4
#: A Newton step longer than this many reaches is not believed.
LEAP = 1e3


@dataclass(eq=False)
class MassSearch:
    """Newton's proposals inside a bracket that only signs may narrow.

    Attributes
    ----------
    x : float
        Where the mass is to be evaluated next.
    lo, hi : float
        The root lies in [lo, hi].
    reach : float
        The first step from x where Newton has nothing to say and one end is open.
    crawled : int
        Newton steps since the bracket was last halved.
    last : float
        The change that Newton proposed last.
    """

    x: float
    lo: float = -np.inf
    hi: float = np.inf
    reach: float = 1.0
    crawled: int = 0
    last: float = np.inf

    def advance(self, above: bool, newton: float) -> bool:
        """Narrow the bracket and move; False when no number is left to try.

        Parameters
        ----------
        above : bool
            Whether the root lies above x.
        newton : float
            The change of x that Newton proposes; NaN for none.
        """
        x, width = self.x, self.hi - self.lo
        self.lo, self.hi = (x, self.hi) if above else (self.lo, x)
        self.crawled = 0 if self.hi - self.lo <= 0.5 * width else self.crawled + 1
        converging = abs(newton) <= 0.25 * abs(self.last)
        new, self.last = x + newton, newton
        if self.crawled > (3 * CRAWL if converging else CRAWL) and np.isfinite(self.hi - self.lo):
            new, self.crawled = inside(self.lo, self.lo, self.hi), 0
        elif not (self.lo < new < self.hi and abs(new - x) <= LEAP * self.reach):
            new = inside(x + (self.reach if above else -self.reach), self.lo, self.hi)
            self.reach *= 4
        self.x = new
        return abs(new - x) > EPS * abs(x) and self.hi - self.lo > 2 * EPS * abs(x)


def inside(x: float, lo: float, hi: float) -> float:
    """x when it lies in (lo, hi), otherwise a middle of what is bracketed, by magnitude."""
    if lo < x < hi:
        return x
    if np.isinf(lo) and np.isinf(hi):
        return 0.0
    if np.isinf(hi):
        return 1.0 if lo == 0 else lo + abs(lo)
    if np.isinf(lo):
        return -1.0 if hi == 0 else hi - abs(hi)
    if lo < 0 < hi:
        return 0.0
    if lo == 0 or hi == 0:
        return 1e-3 * (hi + lo)
    near, far = sorted((abs(lo), abs(hi)))
    middle = float(np.sqrt(near) * np.sqrt(far)) if far > 4 * near else 0.5 * (near + far)
    return middle if hi > 0 else -middle


def rescale(w: Array, ceiling: Array | float, mass: float) -> Array:
    """Mass exact to rounding: the atoms below their ceiling take the last few units.

    Those that reach their ceiling leave what is over to the others.
    """
    for _ in range(w.size + 1):
        moving = w < ceiling
        inner = float(w[moving].sum())
        if inner <= 0:
            break
        factor = max(mass - float(w[~moving].sum()), 0.0) / inner
        full = moving & (w * factor > ceiling)
        w = np.where(moving, np.minimum(w * factor, ceiling), w)
        if not full.any():
            break
    return w


def filled(w: Array, ceiling: Array | float, mass: float) -> Array:
    """min(c w, ceiling) with the factor c that gives the mass, for w at most the ceiling.

    Weights beyond it are cut first. Without weights that can grow the mass is not reached.
    """
    w = np.minimum(w, ceiling)
    total = float(w.sum())
    return w * (mass / total) if total >= mass else rescale(w, ceiling, mass)
