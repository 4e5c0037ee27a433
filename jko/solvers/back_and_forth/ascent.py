r"""Ascent of the dual of a transport step on cells.

    I(g) = <phi, m'> + min over w of mass M of  F(w) + <psi, w>

is concave in the potentials g = phi (side "previous", psi = phi^c) or g = psi (side "new", where
phi = psi^c). Its derivative is q - p: q the measure whose cells share places, p what the plan of g
puts there. A step solves a Poisson problem whose mobility is the mass (an H^1 metric that follows
the density) plus the response of the energy; its length comes from a line search. Between steps g
goes forth and back, to g^{cc}, as long as that raises I.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from jko.energies.conjugate import brackets
from jko.numerics.c_transform import CTransform
from jko.numerics.multigrid import Balance, solve
from jko.solvers.back_and_forth.response import Fixed, Response, level
from jko.solvers.grids.coupling import FAINT
from jko.validation import Array

if TYPE_CHECKING:  # the stated step asks for the transport cost: the ascent knows it by type only
    from jko.solvers.back_and_forth.stated import CellStep

#: Share of the predicted rise that a step must reach; halvings before a step is given up.
ARMIJO = 0.1
HALVINGS = 24
#: Limit of the local dilation that the metric takes into account.
DILATION = 8.0
#: Largest response of the energy, in units of what moving mass by a cell costs; its inverse is the
#: least.
STIFF = 1e6
#: The ascent ends after this many steps in turn whose rise is below what can be seen.
STALLED = 5


@dataclass(frozen=True, eq=False)
class DualState:
    """Potentials with what they lead to, all of the grid's shape.

    Attributes
    ----------
    g : array
    found : CTransform
        g^c and its plan.
    psi, w, p : arrays
        Potentials on the cells of w, the measure that responds, the marginal of the plan.
    level : float
        The multiplier of the mass.
    value : float
        I(g), with the proximal term.
    """

    g: Array
    found: CTransform
    psi: Array
    w: Array
    p: Array
    level: float
    value: float


class Ascent:
    """Steps of the dual for one problem.

    Attributes
    ----------
    expected : float
        Rise that the last step's gradient promised.
    crawled, slowed : int, bool
        Steps in turn that rose by next to nothing of what they promised, without being any longer
        than the one before; whether the last one was one of them.
    length : float
        Of the last step.
    linear : (w, g)
        The measure that answers to the last step to first order, with the potentials before it;
        after a full step with those behind it, whose plan shares out its mass to second order: the
        gap is then a tenth of that with those before. Flat energies keep the ones before.
        Where the response is steep (fronts, tails) its plan fits better than that of the response
        itself; any pair gives a bound.
    """

    def __init__(self, stated: CellStep, response: Response | Fixed, visible: float) -> None:
        self.stated, self.response, self.visible = stated, response, visible
        self.mass = float(stated.m.sum())
        self.usual, self.level, self.project = 0.0, 0.0, True
        self.width: Array = np.zeros_like(stated.m)
        self.stalled, self.crawled, self.expected, self.length = 0, 0, np.inf, 1.0
        self.slowed = False
        self.slope = np.zeros_like(stated.m)
        self.linear = (stated.m, np.zeros_like(stated.m))

    def state(self, g: Array) -> DualState:
        """Evaluate potentials."""
        found = self.stated.transform(g)
        phi, psi = self.stated.potentials(g, found)
        if isinstance(self.response, Fixed):
            w, rest = self.response.w.ravel(), 0.0
        else:
            w, self.level = level(self.response, psi.ravel(), self.mass, self.level)
            rest = float(self.response.whole.per_atom(w).sum())
            rest += self.level * (self.mass - float(w.sum()))
        grid_w = w.reshape(g.shape)
        value = float((phi * self.stated.m).sum()) + float((psi * grid_w).sum()) + rest
        p = found.plan.push(self.stated.ends(grid_w)[0])
        return DualState(g, found, psi, grid_w, p, self.level, value)

    def step(self, now: DualState) -> DualState:
        """g^{cc} while that helps, then one step along the metric's gradient."""
        if self.project:
            there_and_back = self.state(self.stated.transform(now.found.values).values)
            self.project = there_and_back.value > now.value
            now = there_and_back if self.project else now
        gradient = self.stated.ends(now.w)[1] - now.p
        change, _ = solve(self.metric(now), gradient.ravel(), symmetric=True, tol=1e-2)
        change = change.reshape(now.g.shape)
        rise = float((change * gradient).sum())
        self.expected, self.linear = rise, self.linearised(now, change)
        least = 1e-15 * float(np.abs(now.g * now.p).sum())
        # A length that had to be short is likely to have to be short again.
        t = min(1.0, 2 * self.length)
        new = self.state(now.g + t * change)
        for _ in range(HALVINGS):
            if new.value >= now.value + ARMIJO * t * rise - least:
                break
            t /= 2
            self.level = 0.5 * (now.level + self.level)
            new = self.state(now.g + t * change)
        shorter, self.length = t <= self.length, t
        self._learn(t, np.abs(change), 0.5 * (self.stated.m + now.p))
        if t == 1 and self.curved:
            self.linear = (self.linear[0], new.g)
        slow = new.value - now.value < ARMIJO * rise
        self.slowed = slow and shorter
        self.crawled = self.crawled + self.slowed if slow else 0
        least = max(least, self.visible * max(self.stated.unit, abs(now.value)))
        self.stalled = 0 if new.value > now.value + least else self.stalled + 1
        return new if new.value >= now.value else now

    @property
    def curved(self) -> bool:
        """Whether the measure responds, and without a proximal term."""
        return isinstance(self.response, Response) and self.response.centre is None

    def _learn(self, t: float, change: Array, mass: Array) -> None:
        """The width over which responses are averaged: what the potentials still change by.

        Where a step was too long, of each cell by itself: cells of next to no mass change by more,
        and a steep response of theirs that the metric does not see stops all others. A proximal
        term leaves no response that steep.
        """
        usual = float((change * mass).sum()) / self.mass
        wider = min(max(2 * self.usual, 0.5 * t * usual), 10 * usual)
        self.usual = 0.5 * usual if t == 1 else wider
        steep = t < 1 and self.curved
        self.width = self.usual + (change if steep else np.zeros_like(change))

    def metric(self, now: DualState) -> Balance:
        """diag(response) - div(step p grad), p divided by the dilation 1 - step D^2 g."""
        m, ahead = self.stated.m, []
        mass = 0.5 * (now.p + self.stated.ends(now.w)[1])
        for axis, scale in enumerate(self.stated.scales):
            curvature: Array = np.zeros(m.shape)
            head = (slice(None),) * axis
            curvature[(*head, slice(1, -1))] = np.diff(now.g, 2, axis=axis) / (2 * scale)
            local = mass / np.clip(1 - curvature, 1 / DILATION, DILATION) + FAINT * float(m.mean())
            k = 0.5 * (local + np.roll(local, -1, axis)) / (2 * scale)
            k[(*head, slice(-1, None))] = 0.0
            ahead.append(k)
        unit = float(m.mean()) / (2 * min(self.stated.scales))
        diagonal = np.full(m.shape, 1 / STIFF * unit)
        if isinstance(self.response, Response):
            y = now.level - now.psi.ravel()
            slope = self.response.slope(y, now.w.ravel(), self.width.ravel())
            self.slope = np.minimum(slope, STIFF * unit).reshape(m.shape)
            shared = self.slope
            if self.stated.side == "previous":
                shared = np.minimum(now.found.plan.push(shared), STIFF * unit)
            diagonal += shared
        return Balance(diagonal, tuple(ahead), tuple(-k for k in ahead))

    def linearised(self, now: DualState, change: Array) -> tuple[Array, Array]:
        """`linear` of a change of g."""
        if isinstance(self.response, Fixed):
            return now.w, now.g
        side = self.stated.side
        lift = now.found.plan.pull(change) if side == "previous" else -change
        lift -= float((self.slope * lift).sum()) / max(float(self.slope.sum()), 1e-300)
        w = np.minimum(now.w + self.slope * lift, self.response.h.ceiling.reshape(lift.shape))
        w = np.maximum(w, 0.0)
        return w * (self.mass / float(w.sum())), now.g

    def settled(self, now: DualState) -> bool:
        """Whether the ascent has come as far as its proximal centre is from the answer."""
        assert isinstance(self.response, Response)
        assert self.response.centre is not None
        away = now.w.ravel() - self.response.centre
        return self.expected <= float((self.response.kappa * away**2).sum())

    def recentred(self, now: DualState, weaker: float) -> DualState:
        """The same potentials with the proximal centre at the measure found, and a weaker term.

        Centres then converge faster than linearly: crowds on 128 and 64^2 cells need a third of the
        steps.
        """
        assert isinstance(self.response, Response)
        kappa = weaker * self.response.kappa
        moved = replace(self.response, kappa=kappa, centre=now.w.ravel())
        return self.answered_by(moved, now.g)

    def answered_by(self, response: Response, g: Array) -> DualState:
        """The state of potentials when the measure answers otherwise."""
        self.response, self.stalled = response, 0
        return self.state(g)

    def slack(self, now: DualState) -> float:
        """F(w) + F*(y) - <y, w> at the level found, without the proximal term."""
        assert isinstance(self.response, Response)
        h, w = self.response.h, now.w.ravel()
        y = now.level - now.psi.ravel()
        return float(brackets(h, w, y, w).sum())


def transport_cost(stated: CellStep, w: Array, tol: float = 1e-12) -> float:
    """T(w, m') / (2 step), from below."""
    ascent = Ascent(stated, Fixed(w), 0.0)
    now = ascent.state(np.zeros_like(w))
    for _ in range(200):
        now = ascent.step(now)
        if ascent.stalled >= STALLED or ascent.expected <= tol * max(stated.unit, abs(now.value)):
            break
    return now.value
