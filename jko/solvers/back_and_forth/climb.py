"""Where the ascent of a step between cells begins, and where it ends.

It begins at rest, from slopes, from fewer cells; it ends where a bound is small enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from jko.energies.local import LEAST
from jko.forms.separable import Separable
from jko.solvers.back_and_forth.ascent import STALLED, Ascent
from jko.solvers.back_and_forth.response import Response
from jko.solvers.back_and_forth.stated import Bound, CellStep
from jko.solvers.grids.coupling import PLAN_SHARE
from jko.solvers.grids.levels import prolonged
from jko.validation import Array

#: A proximal term lets a full cell empty over this many times the cost of moving by a cell.
SOFT = 4.0
#: Promised rise and steps of an ascent on fewer cells.
ROUGH = 3e-6
FEW = 20
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


def response(stated: CellStep) -> Response:
    """The energy's response, with a proximal term where it is not strictly convex."""
    if not flat(stated.h):
        return Response(stated.h)
    kappa = SOFT * 2 * max(stated.scales) / float(stated.m.max())
    return Response(stated.h, kappa, stated.m.ravel())


def starts(stated: CellStep, warm: object = None) -> list[Array]:
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
    if coarser is not None:
        rough = approach(CellClimb(coarser, response(coarser), starts(coarser), ROUGH, FEW))
        out.append(onto(stated, coarser, rough.g))
    return out


def warmed(stated: CellStep, warm: object) -> list[Array]:
    """Those potentials of an earlier step that belong to these cells or parts."""
    if not isinstance(warm, dict) or warm.get("side") != stated.side:
        return []
    g = warm.get("g" if stated.parts == 1 else "split")
    if not isinstance(g, np.ndarray) or g.shape != stated.m.shape or not np.isfinite(g).all():
        return []
    return [g]


def onto(stated: CellStep, coarser: CellStep, g: Array) -> Array:
    """Potentials found on fewer cells, interpolated."""
    fine = prolonged(g, coarser.previous.grid, stated.previous.grid)
    return fine.reshape(stated.m.shape)


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
    response : Response
    starts : list of arrays
    tol : float
    limit : int
        Steps at most.
    ease : float
        A gap may be so many times as large where it is the price of a plan.
    """

    def __init__(
        self,
        stated: CellStep,
        response: Response,
        starts: list[Array],
        tol: float,
        limit: int,
        ease: float = 1.0,
    ) -> None:
        self.ease = ease
        self.ascent = Ascent(stated, response, UNSEEN * tol)
        self.rest = stated.level.form.value(stated.m.ravel())
        self.now = max((self.ascent.state(g) for g in starts), key=lambda s: s.value)
        self.tol, self.limit, self.count = tol, limit, 0
        self.centred = response.kappa > 0
        self.gate = self.target = self.bearable = np.inf

    def done(self, gap: float) -> bool:
        """Whether a gap is what was asked for; or the price of a plan or a kink, and bearable."""
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
            size = max(stated.unit, abs(now.value))
            gained = max(SHARE * (self.rest - now.value), VISIBLE * size)
            self.target = min(self.tol * size, gained)
            self.bearable = min(self.ease * self.tol * size, gained)
            ready = ascent.expected <= min(self.gate, self.target)
            if self.centred and ascent.settled(now):
                ready = ascent.slack(now) <= self.target and ready
                now = ascent.recentred(now)
            self.now = now
            crawling = ascent.crawled == STALLED and ascent.expected <= self.bearable
            if ready or crawling:
                self.gate = 0.3 * ascent.expected
                yield self.count


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


@dataclass(frozen=True, eq=False)
class Approached:
    """Potentials that an ascent came to, its steps, and whether it ended before its limit.

    Where it ended because nothing more could be seen rounding has a say in how near it came: what
    begins there is judged by its own bound.
    """

    g: Array
    iterations: int
    arrived: bool


def approach(climb: CellClimb) -> Approached:
    """Potentials to begin with elsewhere: the same ascent without bounds of what it found."""
    arrived = next(climb.arrivals(), None) is not None
    return Approached(climb.now.g, climb.count, arrived or climb.count < climb.limit)


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
