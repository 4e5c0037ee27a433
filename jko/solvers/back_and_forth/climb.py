"""Where the ascent of a step between cells begins, and where it ends.

It begins at rest, from slopes, from fewer cells; it ends where a bound is small enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from jko.energies.local import LEAST
from jko.forms.separable import Separable
from jko.solvers.back_and_forth.ascent import STALLED, Ascent, DualState
from jko.solvers.back_and_forth.response import Response
from jko.solvers.back_and_forth.stated import Bound, CellStep
from jko.solvers.grids.coupling import FAINT, PLAN_SHARE
from jko.solvers.grids.levels import prolonged, spread
from jko.validation import Array

#: A proximal term lets a full cell empty over this many times the cost of moving by a cell.
SOFT = 4.0
#: Promised rise and steps of an ascent on fewer cells.
ROUGH = 3e-6
FEW = 20
#: Bounds of what is left that nobody judges.
ANY = (np.inf, np.inf)
#: Rises below this share of the tolerance are not seen.
UNSEEN = 1e-4
#: The gap is at most this share of the step's gain, where double precision shows it.
SHARE = 0.03
VISIBLE = 1e-12
#: What the potentials promise is next to nothing below this share of the gap.
PROMISED = 0.1


def flat(h: Separable) -> bool:
    """Whether some cell that may be charged has no strictly convex energy."""
    curved = h.ceiling == 0
    for c in h.powers.values():
        curved = curved | (c > 0)
    return not bool(curved.all())


def tails(stated: CellStep) -> bool:
    """Whether cells of next to no weight decide on many times what they have: at powers above 2.

    A twentieth of the charged cells, so that the edges of compact densities are none.
    """
    m = stated.m[stated.m > 0]
    few = 20 * int((m < 0.03 * m.mean()).sum()) < m.size
    return not few and any(p > 2 and bool(c.any()) for p, c in stated.h.powers.items())


def response(stated: CellStep, about: Array | None = None, share: float = 0.3) -> Response:
    """The energy's response, with a proximal term where it is not strictly convex.

    Where powers are steep, potentials of cells of next to no weight decide on many times what they
    have, and no common length of step suits them: a proximal term about weights near the answer
    then lets every weight change by itself for a share of what the cheapest move by a cell costs.
    Smooth starts of 128 and 64^2 cells need a fifth to a half of the steps, least for .3 of .03
    to 1.
    """
    h, m = stated.h, stated.m.ravel()
    if flat(h):
        return Response(h, SOFT * 2 * max(stated.scales) / float(m.max()), m)
    if about is None:
        return Response(h)
    w = about.ravel()
    size = np.maximum(m, w) + FAINT * float(m.mean())
    return Response(h, share * 2 * min(stated.scales) / size, w)


@dataclass(frozen=True, eq=False)
class Approached:
    """Potentials that an ascent came to, and its steps.

    Where it ended because nothing more could be seen rounding has a say in how near it came: what
    begins there is judged by its own bound.

    Attributes
    ----------
    g : array
    iterations : int
    about : array, optional
        The weights found, if the response to the potentials had a proximal term.
    arrived : bool
        Whether it ended before its limit.
    """

    g: Array
    iterations: int
    about: Array | None
    arrived: bool


@dataclass(frozen=True, eq=False)
class Starts:
    """Potentials to begin with, and weights that the response stays near, if it has to."""

    potentials: list[Array]
    about: Array | None = None


def starts(stated: CellStep, warm: object = None) -> Starts:
    """Potentials to begin with: at rest, of the energy's slope, of an earlier step, of fewer cells.

    The metric of the ascent sees a few cells far, so long moves are found where cells are few.
    """
    m, h = stated.m, stated.h
    floor = np.maximum(m.ravel(), LEAST * float(m.max()))
    slope = np.where(h.ceiling > 0, h.gradient(floor), np.nan)
    psi = -np.where(np.isfinite(slope), slope, np.nanmax(slope)).reshape(m.shape)
    out = [np.zeros(m.shape), psi if stated.side == "new" else stated.transform(psi).values]
    out += warmed(stated, warm)
    coarser = stated.coarser
    if coarser is None:
        return Starts(out)
    rough = approach(CellClimb(coarser, starts(coarser), ROUGH, FEW, ANY))
    return finer(stated, coarser, rough, out)


def warmed(stated: CellStep, warm: object) -> list[Array]:
    """Those potentials of an earlier step that belong to these cells or parts."""
    if not isinstance(warm, dict) or warm.get("side") != stated.side:
        return []
    g = warm.get("g" if stated.parts == 1 else "split")
    if not isinstance(g, np.ndarray) or g.shape != stated.m.shape or not np.isfinite(g).all():
        return []
    return [g]


def finer(stated: CellStep, coarser: CellStep, near: Approached, others: list[Array]) -> Starts:
    """Those potentials, and others, that an ascent on fewer cells came to."""
    few, many = coarser.previous.grid, stated.previous.grid
    g = prolonged(near.g, few, many).reshape(many.shape)
    if near.about is None:
        return Starts([*others, g])
    factors = [m // n for m, n in zip(many.shape, few.shape, strict=True)]
    about = spread(near.about.ravel(), coarser.h.ceiling, few.shape, factors)
    return Starts([*others, g], about)


@dataclass(frozen=True, eq=False)
class Found:
    """Where the ascent ended: the measure, potentials, their bound, iterations, limit hit.

    `last` are the latest potentials, the better ones to go on from: those of `bound` may be a step
    older.
    """

    w: Array
    g: Array
    last: Array
    bound: Bound
    iterations: int
    exhausted: bool


class CellClimb:
    """The steps of an ascent from the best of several potentials, and where it may end.

    When what they still promise is below tol max(unit, |I|), and below a share of what the step
    gains, so that small energies are not called done at rest.

    Parameters
    ----------
    stated : CellStep
    starts : Starts
    tol : float
    limit : int
        Steps at most.
    eases : (float, float)
        A gap may be so many times as large where it is the price of a plan, and where it is that
        for long.
    """

    def __init__(
        self,
        stated: CellStep,
        starts: Starts,
        tol: float,
        limit: int,
        eases: tuple[float, float] = (1.0, 1.0),
    ) -> None:
        self.eases, begin = eases, response(stated, starts.about)
        self.ascent = Ascent(stated, begin, UNSEEN * tol)
        self.rest = stated.level.form.value(stated.m.ravel())
        self.now = max((self.ascent.state(g) for g in starts.potentials), key=lambda s: s.value)
        self.tol, self.limit, self.count, self.slow = tol, limit, 0, 0
        self.long = (4 if flat(stated.h) else 2) * STALLED
        self.centred = begin.centre is not None
        self.gate = self.target = self.bearable = self.most = np.inf

    def done(self, gap: float) -> bool:
        """Whether a gap is what was asked for; or the price of a plan or a kink, and bearable."""
        if self.ascent.crawled >= self.long and gap <= self.most:
            return True
        if gap <= self.bearable and self.ascent.crawled >= STALLED:
            return True
        return (
            gap <= self.target or self.ascent.expected <= PROMISED * gap <= PROMISED * self.bearable
        )

    def arrivals(self) -> Iterator[int]:
        """The numbers of steps after which the answer may be there; each time it must be nearer."""
        ascent, stated = self.ascent, self.ascent.stated
        while self.count < self.limit and ascent.stalled < STALLED:
            now, self.count = ascent.step(self.now), self.count + 1
            self.slow += ascent.slowed
            size = max(stated.unit, abs(now.value))
            gained = max(SHARE * (self.rest - now.value), VISIBLE * size)
            self.target = min(self.tol * size, gained)
            self.bearable, self.most = (min(k * self.tol * size, gained) for k in self.eases)
            ready = ascent.expected <= min(self.gate, self.target)
            if self.centred:
                now, ready = self._followed(now, ready)
            elif ascent.crawled == 2 and tails(stated):
                now = ascent.answered_by(response(stated, self.now.w), self.now.g)
                self.centred, ready = True, False
                ascent.crawled, ascent.length = 0, 1.0
            self.now = now
            again = ascent.slowed and ascent.crawled % STALLED == 0
            crawling = again and ascent.expected <= self.bearable
            if ready or crawling:
                self.gate = 0.3 * ascent.expected
                yield self.count

    def _followed(self, now: DualState, ready: bool) -> tuple[DualState, bool]:
        """The centre of the proximal term moved where that is due; whether the answer is there."""
        ascent = self.ascent
        settled = ascent.settled(now)
        if settled and ready:
            ready = ascent.slack(now) <= self.target
        # Where steps were held up a weaker term would hold them up more.
        held_up = ascent.slowed and self.slow % 2 == 0
        if settled or held_up:
            now = ascent.recentred(now, 1.0 if self.slow else 0.5)
            self.slow = 0 if settled else self.slow
        return now, ready


def ascend(climb: CellClimb) -> Found:
    """Ascend until a bound is small enough."""
    found: list[Found] = []
    for count in climb.arrivals():
        for one in judged(climb, count):
            if climb.done(one.bound.gap):
                return one
            found.append(one)
    best = min([*found, *judged(climb, climb.count)], key=lambda f: f.bound.gap)
    return replace(best, iterations=climb.count, exhausted=climb.count >= climb.limit)


def approach(climb: CellClimb) -> Approached:
    """Potentials to begin with elsewhere: the same ascent without bounds of what it found."""
    arrived = next(climb.arrivals(), None) is not None
    about = climb.now.w if climb.centred else None
    return Approached(climb.now.g, climb.count, about, arrived or climb.count < climb.limit)


def judged(climb: CellClimb, count: int) -> Iterator[Found]:
    """The measure of the last linear system, and the one of the potentials, with their bounds.

    One after the other, because a bound costs as much as several steps.
    """
    ascent, now = climb.ascent, climb.now
    # Nor need a plan be better than its potentials, which promise less after the step.
    owed = ascent.expected / PROMISED if ascent.linear[1] is now.g else ascent.expected
    room = min(PLAN_SHARE * climb.target, owed)
    for w, g in (ascent.linear, (now.w, now.g)):
        yield Found(w, g, now.g, ascent.stated.bound(w, g, room), count, False)
