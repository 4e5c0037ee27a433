r"""Plans with given marginals, from plans that nearly have them: upper bounds of a transport cost.

The plan that potentials give has the right marginal w but another p in place of q. First its
shares are shifted: to first order that costs nothing where a place is the best one inside its
segment. What is left arrives at wrong cells and is sent on to right ones, at a price per mass.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, reduce
from operator import add

import numpy as np

from jko.numerics.c_lines import Lines
from jko.numerics.c_transform import Carried, CellPlan, along
from jko.numerics.elementary import EPS
from jko.numerics.multigrid import Balance, solve
from jko.validation import Array, Index, Mask, frozen

#: Rounds of shifted shares.
SHIFTS = 8
#: Rounds of fluxes between neighbours. Where mass ends abruptly each leaves a thirtieth of what the
#: last resort would cost, and shifts gain little.
FLUXES = 3
#: What a plan costs more when a mismatch is sent on at once, at most, as a multiple of the mismatch
#: times the sum of h^2 / (2 step): 1.3 to 6 on Fokker-Planck steps of 32^3 to 512^2 cells.
PRICE = 6.0
#: What a plan may cost more for those who ask, as a share of the gap that is good enough.
PLAN_SHARE = 0.25
#: Mismatch, as a share of the mass, that is left to the last resort.
CLOSE = 1e-11
#: The mobility of empty cells, as a share of the mean mass.
FAINT = 1e-3
#: Residual of a potential, relative: what it leaves is looked at again, and paid for.
CLOSELY = 1e-2
#: Diagonal added to a matrix that is only regular up to constants, relative to its largest entries
#: along the axis where they are least: lines of cells that hardly exchange mass keep their balance.
REGULAR = 1e-10


@dataclass(frozen=True, eq=False)
class Coupled:
    """A plan between w and q.

    Attributes
    ----------
    cost : float
        sum |x - y|^2 / (2 step) of the plan, shares placed linearly.
    spread : float
        At most this much more when the shares are placed at the cells.
    residual : float
        sum |p - q| / mass of the plan it began with.
    """

    cost: float
    spread: float
    residual: float


def couple(
    plan: CellPlan, w: Array, q: Array, phi: Array | None = None, enough: float = 0.0
) -> Coupled:
    """Mend a plan of w (of the grid's shape) until its other marginal is q.

    Shares are shifted until what is left is sent on for at most `enough` more than the potential
    phi of q says it must cost: all rounds cost three times as much as few. How many it takes is
    foretold from the mismatch, looked at, and foretold again.
    """
    mass, carried = float(q.sum()), plan.carry(w)
    nothing = CLOSE * mass
    first = off = float(np.abs(carried.mass - q).sum())
    each = max(PRICE * sum(plan.scales), np.finfo(float).tiny)  # long steps move for nothing
    near, left = max(nothing, enough / each), SHIFTS
    best: Coupled | None = None
    while True:
        while off > near and left > 0:
            shifted = _shifted(carried, carried.mass - q).carry(w)
            now = float(np.abs(shifted.mass - q).sum())
            left = left - 1 if now <= 0.5 * off else 0
            if now < off:
                carried, off = shifted, now
        price = _sent(carried, q, enough)
        found = Coupled(carried.cost + price, carried.spread, first / mass)
        if best is None or found.cost < best.cost:
            best = found
        if left == 0 or not off > nothing:  # also where it is no number
            return best
        if phi is not None and price - float((phi * (q - carried.mass)).sum()) <= enough:
            return best
        near = max(nothing, 0.1 * min(off, near))


def _sent(carried: Carried, q: Array, enough: float) -> float:
    """The price of what arrives at wrong cells, by fluxes until the last resort can be cheap."""
    sent, nothing, cell = Sent(carried), CLOSE * float(q.sum()), min(carried.plan.scales)
    for left in reversed(range(FLUXES + 1)):
        off = sent.off(q)
        last = left == 0 or not off > nothing  # also where it is no number
        if last or off * cell <= enough:
            rest = sent.along_curve(q)
            if last or rest <= 0.5 * enough:
                break
        sent.to_neighbours(q)
    return sent.cost + rest


def _shifted(carried: Carried, excess: Array) -> CellPlan:
    """Change the shares by minus the gradient of eta, div(mass on segments grad eta) = excess.

    A segment with the mass e on it sends e d forward when its shares grow by d; mass that sits at a
    cell belongs to the segments on both sides.
    """
    plan, faint = carried.plan, FAINT * float(carried.mass.mean())
    ahead = [np.zeros_like(excess) for _ in plan.scales]
    for k, move in enumerate(carried.moves):
        axis, lines = move.axis, move.lines
        m, n = move.mass.shape
        row = n * np.arange(m)[:, None]
        half = np.where(_sits(lines), 0.5 * move.mass, 0.0)
        at = (lines.left + row).ravel()
        on: Array = np.bincount(at, (move.mass - half).ravel(), minlength=m * n).astype(float)
        on += np.bincount((_before(lines) + row).ravel(), half.ravel(), minlength=m * n)
        ahead[axis] = plan.push(move.back(on), k + 1) + faint
        if not lines.circular:
            ahead[axis][(slice(None),) * axis + (slice(-1, None),)] = 0.0
    ease = _ease(plan.scales)
    eta = _potential([e * k for e, k in zip(ease, ahead, strict=True)], excess)
    moves = []
    for k, (axis, lines) in enumerate(plan.moves):
        drop = plan.pull(ease[axis] * (eta - np.roll(eta, -1, axis)), k + 1)
        moves.append((axis, _moved(lines, along(drop, axis)[0])))
    return CellPlan(plan.scales, tuple(moves))


def _sits(lines: Lines) -> Mask:
    """Which places are cells that have a segment on the left."""
    sits: Mask = (lines.share == 0) & _preceded(lines)
    return sits


def _preceded(lines: Lines) -> Mask:
    """Which segments have one on the left."""
    return np.full(lines.segment.shape, True) if lines.circular else lines.segment > 0


def _before(lines: Lines) -> Index:
    """The segment on the left of every segment, the first one itself at a wall."""
    before: Index = lines.left - 1
    return before % before.shape[1] if lines.circular else np.maximum(before, 0)


def _moved(lines: Lines, drop: Array) -> Lines:
    """Places moved by `drop` (m, n) of their segment; what is left at its end, by the next one's.

    Only where that leads on the same way: else they stop at the cell between the two.
    """
    n = drop.shape[1]
    behind, here = (np.take_along_axis(drop, at, axis=1) for at in (_before(lines), lines.left))
    after = np.take_along_axis(drop, lines.right % n, axis=1)
    place = lines.share + here
    with np.errstate(divide="ignore", invalid="ignore"):
        unused = np.where(place < 0, place / here, np.where(place > 1, (place - 1) / here, 1.0))
    sits = _sits(lines)
    back = np.where(sits, (behind < 0) & (here < -behind), (place < 0) & (behind < 0))
    back &= _preceded(lines)
    ahead = ~back & (place > 1) & (after > 0)
    if not lines.circular:
        ahead &= lines.segment < n - 2
    share = np.where(back, 1 + np.where(sits, 1.0, unused) * behind, place)
    share = np.clip(np.where(ahead, unused * after, share), 0.0, 1.0)
    return Lines(lines.values, lines.segment - back + ahead, share, lines.circular)


def _ease(scales: tuple[float, ...]) -> list[float]:
    """How readily mass is shifted along every axis: a shift costs its square times the scale."""
    least = min((s for s in scales if s > 0), default=1.0)
    return [least / s if s > 0 else 1.0 for s in scales]


def _potential(ahead: list[Array], excess: Array) -> Array:
    """eta with div(ahead grad eta) = excess, up to a shift that makes the matrix regular."""
    most = [float(k.max()) for k in ahead if k.any()] or [1.0]
    shift = max(REGULAR * min(most), EPS * max(most))
    balance = Balance(np.full(excess.shape, shift), tuple(ahead), tuple(-k for k in ahead))
    eta, _ = solve(balance, excess.ravel(), symmetric=True, tol=CLOSELY)
    return eta.reshape(excess.shape)


class Sent:
    """Arrivals p of a plan on their way to other cells.

    Mass f that arrives at a cell and is sent on by k cells costs f (|k - b|^2 - |b|^2) more, with
    b the mean of the cells it serves, counted from where it arrived. What shared its place is then
    placed at cells too: that costs share (1 - share) h^2 of the whole, once, f e on the mean.
    """

    def __init__(self, carried: Carried) -> None:
        self.scales, self.p = carried.plan.scales, carried.mass
        self.circular = {move.axis: move.lines.circular for move in carried.moves}
        safe = np.where(self.p > 0, self.p, 1.0)
        self.b = np.where(self.p > 0, carried.origins() / safe, 0.0)
        self.e = carried.placed() / safe
        self.cost = 0.0

    def off(self, q: Array) -> float:
        """sum |p - q|."""
        return float(np.abs(self.p - q).sum())

    def _price(self, f: Array, hops: Array, b: Array, e: Array) -> float:
        """Of sending the masses f (n,) on by `hops` (d, n); means b (d, n) and e (n,)."""
        cost = f * e
        for s, k, z in zip(self.scales, hops, b, strict=True):
            cost = cost + s * f * k * (k - 2 * z)
        return float(cost.sum())

    def to_neighbours(self, q: Array) -> None:
        """One round of the flux -k grad eta with div(k grad eta) = q - p, no cell overdrawn."""
        ahead = []
        base = self.p + FAINT * float(q.mean())
        for axis, ease in enumerate(_ease(self.scales)):
            k = 0.5 * ease * (base + np.roll(base, -1, axis))
            if not self.circular.get(axis):
                k[(slice(None),) * axis + (slice(-1, None),)] = 0.0
            ahead.append(k)
        eta = _potential(ahead, self.p - q)
        flux = [k * (eta - np.roll(eta, -1, a)) for a, k in enumerate(ahead)]
        both = [(np.maximum(f, 0), np.roll(np.maximum(-f, 0), 1, a)) for a, f in enumerate(flux)]
        out = reduce(add, [f + g for f, g in both])
        share = np.where(out > 0, np.minimum(1.0, self.p / np.where(out > 0, out, 1.0)), 0.0)
        gain, lost = np.zeros_like(q), np.zeros_like(q)
        moment = np.zeros_like(self.b)
        for axis, pair in enumerate(both):
            for f, hop in zip(pair, (1, -1), strict=True):
                f *= share
                self._hop(f, axis, hop)
                lost += f
                _arrive(gain, f, axis, hop)
                for a, b in enumerate(self.b):
                    _arrive(moment[a], f * (b - hop if a == axis else b), axis, hop)
        left = np.maximum(self.p - lost, 0.0)
        total = left + gain
        safe = np.where(total > 0, total, 1.0)
        self.b = np.where(total > 0, (left * self.b + moment) / safe, 0.0)
        self.e = left * self.e / safe
        self.p = total

    def _hop(self, f: Array, axis: int, hop: int) -> None:
        """Pay for the mass f that every cell sends to its neighbour along an axis."""
        away = float(f.sum()) - 2 * hop * float(np.vdot(f, self.b[axis]))
        self.cost += float(np.vdot(f, self.e)) + self.scales[axis] * away

    def along_curve(self, q: Array) -> float:
        """The price of coupling what is left in the order of a curve through the cells."""
        cheap = sorted(range(q.ndim), key=lambda k: (self.scales[k], -k))
        curve = _curve(q.shape, tuple(cheap))
        d = (self.p - q).ravel()[curve]
        give, take = np.cumsum(np.maximum(d, 0)), np.cumsum(np.maximum(-d, 0))
        if give[-1] <= 0 or take[-1] <= 0:
            return 0.0
        # A stable sort merges two sorted runs in linear time.
        cuts = np.concatenate([give, take * (give[-1] / take[-1])])
        order = np.argsort(cuts, kind="stable")
        f = np.diff(cuts[order], prepend=0.0)
        left = order < q.size
        used = np.flatnonzero(f > 0)
        f = f[used]
        source = curve[np.minimum((np.cumsum(left) - left)[used], q.size - 1)]
        target = curve[np.minimum((np.cumsum(~left) - ~left)[used], q.size - 1)]
        hops = np.stack(np.unravel_index(target, q.shape)).astype(float)
        hops -= np.stack(np.unravel_index(source, q.shape))
        for axis, n in enumerate(q.shape):
            if self.circular.get(axis):
                hops[axis] = (hops[axis] + n // 2) % n - n // 2
        b = self.b.reshape(q.ndim, -1)[:, source]
        return self._price(f, hops, b, self.e.ravel()[source])


def _arrive(out: Array, f: Array, axis: int, hop: int) -> None:
    """Add what leaves every cell to the next one along an axis (hop 1), or the one before (-1)."""
    head = (slice(None),) * axis
    for ends in ((slice(None, -1), slice(1, None)), (slice(-1, None), slice(0, 1))):
        source, target = ends[::hop]
        out[(*head, target)] += f[(*head, source)]


@lru_cache(maxsize=8)
def _curve(shape: tuple[int, ...], axes: tuple[int, ...]) -> Index:
    """The cells in an order whose successors are neighbours: back and forth, line by line.

    The lines follow the first of the axes given, and so on.
    """
    strides = np.cumprod((1, *shape[:0:-1]))[::-1]
    order = np.zeros(1, dtype=np.intp)
    for axis in axes:
        rows = [order[:: 1 if k % 2 == 0 else -1] + k * strides[axis] for k in range(shape[axis])]
        order = np.concatenate(rows)
    return frozen(order)
