r"""From penalised problems to balls: one multiplier, one certified duality gap.

For a convex cost c(w) (D^2, or D_p) and a budget b (radius^2, or the radius),

    sup {E_w l : c(w) <= b}  =  min over gamma >= 0 of  gamma b + sup_w E_w l - gamma c(w).

Every penalised solution w_gamma gives an upper bound, and because c is convex the mixture of one
outside the ball and one inside that spends t c_lo + (1-t) c_hi = b is feasible. The difference of
the two is the gap; it vanishes quadratically with the bracket where c(w_gamma) is continuous, and
exactly at a kink of the dual, where the mixture is the solution (transport on a finite support).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from jko.prox.duality.mass import MassSearch
from jko.validation import Array

#: Multipliers, in units of the spread of the loss per unit of cost, beyond which a ball is empty.
LARGEST = 1e18
#: Penalised problems without halving the gap before giving up.
PATIENCE = 8


class PenalisedResponse(NamedTuple):
    """The penalised solution at a multiplier.

    Attributes
    ----------
    weights : (n,) array
    expectation : float
    cost : float
    slack : float
        How far expectation - gamma cost may be below the supremum.
    """

    weights: Array
    expectation: float
    cost: float
    slack: float


Respond = Callable[[float], PenalisedResponse]


class EmptyBall(Exception):
    """No measure on the support is within the radius."""

    def __init__(self, cost: float) -> None:
        super().__init__(f"the least cost is {cost}")
        self.cost = cost


@dataclass(frozen=True, eq=False)
class BallAnswer:
    """Feasible weights, their expectation, the multiplier and an upper bound of the supremum.

    `penalised` are the weights of the penalised problem at the multiplier, which gave the bound;
    `cost` is what the weights cost at most, nan where that is not known.
    """

    weights: Array
    expectation: float
    multiplier: float
    upper: float
    iterations: int
    penalised: Array | None = None
    cost: float = np.nan


@dataclass(eq=False)
class CostLine:
    """Secants of log cost against log price, which is a line where the ball is small.

    An end that stays twice counts half (the Illinois variant of false position).
    """

    budget: float
    ends: dict[int, tuple[float, float]] = field(default_factory=dict)
    damping: dict[int, float] = field(default_factory=lambda: {1: 1.0, -1: 1.0})
    side: int = 0

    def see(self, price: float, cost: float) -> None:
        """Learn what the answer at a price costs."""
        side = 1 if cost > self.budget else -1
        self.ends[side] = (price, float(np.log(max(cost, 1e-300) / self.budget)))
        self.damping[side] = 1.0
        if self.side == side:
            self.damping[-side] *= 0.5
        self.side = side

    def guess(self) -> float:
        """The price at which the line spends the budget; NaN before both ends are known."""
        if len(self.ends) < 2:
            return float("nan")
        (a, f), (b, g) = self.ends[1], self.ends[-1]
        f, g = self.damping[1] * f, self.damping[-1] * g
        return float(np.exp((np.log(b) * f - np.log(a) * g) / (f - g)))


def solve_ball(
    respond: Respond, budget: float, tol: float, max_iter: int, *, start: float, kinked: bool
) -> BallAnswer:
    """The worst case in a ball, from penalised worst cases.

    Parameters
    ----------
    respond : callable gamma -> Response
        Loss and cost in units that make both of order 1.
    budget : float > 0
    tol : float
        On the gap, absolute.
    max_iter : int
        Penalised problems at most.
    start : float > 0
        A first multiplier.
    kinked : bool
        The cost jumps as a function of gamma (transport): cut by tangents instead of interpolating.

    Raises
    ------
    EmptyBall
    """
    search = _RadiusSearch(respond, budget, kinked)
    prices = MassSearch(start, 0.0, reach=start)
    while search.count < max_iter:
        gamma = prices.x
        search.evaluate(gamma)
        if search.upper - search.lower <= tol or search.stalled() or gamma >= LARGEST:
            break
        outside = search.lo is not None and search.lo[0] == gamma
        prices.reach = gamma
        if not prices.advance(outside, search.propose() - gamma):
            break
    if search.weights is None:
        search.evaluate(LARGEST)
    if search.weights is None:
        assert search.lo is not None
        raise EmptyBall(search.lo[1].cost)
    return BallAnswer(
        search.weights,
        search.lower,
        search.multiplier,
        search.upper,
        search.count,
        search.penalised,
        search.cost,
    )


@dataclass(eq=False)
class _RadiusSearch:
    """The bracket: `lo` spends too much, `hi` does not."""

    respond: Respond
    budget: float
    kinked: bool
    lo: tuple[float, PenalisedResponse] | None = None
    hi: tuple[float, PenalisedResponse] | None = None
    lower: float = -np.inf
    upper: float = np.inf
    multiplier: float = np.inf
    weights: Array | None = None
    penalised: Array | None = None
    cost: float = np.nan
    count: int = 0
    gaps: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.line = CostLine(self.budget)

    def evaluate(self, gamma: float) -> None:
        """Solve at gamma; improve both bounds."""
        self.count += 1
        found = self.respond(gamma)
        bound = gamma * self.budget + found.expectation - gamma * found.cost + found.slack
        if bound < self.upper:
            self.upper, self.multiplier, self.penalised = bound, gamma, found.weights
        if found.cost > self.budget:
            self.lo = (gamma, found)
        else:
            self.hi = (gamma, found)
            self.improve(found.weights, found.expectation, found.cost)
        self.line.see(gamma, found.cost)
        if self.lo is not None and self.hi is not None:
            outside, inside = self.lo[1], self.hi[1]
            t = (self.budget - inside.cost) / (outside.cost - inside.cost)
            self.improve(
                t * outside.weights + (1 - t) * inside.weights,
                t * outside.expectation + (1 - t) * inside.expectation,
                self.budget,
            )

    def stalled(self) -> bool:
        """Both ends are known, and the gap has not halved for a while: rounding has the word."""
        self.gaps.append(self.upper - self.lower if self.lo is not None else np.inf)
        return len(self.gaps) > PATIENCE and self.gaps[-1] > 0.5 * self.gaps[-1 - PATIENCE]

    def improve(self, weights: Array, expectation: float, cost: float) -> None:
        """Keep the better feasible weights."""
        if expectation > self.lower:
            self.weights, self.lower, self.cost = weights, expectation, cost

    def propose(self) -> float:
        """The next multiplier."""
        if self.lo is None or self.hi is None:
            return self.widen()
        (a, outside), (b, inside) = self.lo, self.hi
        tangents = (outside.expectation - inside.expectation) / (outside.cost - inside.cost)
        if self.kinked:
            guess = float(np.sqrt(a * b)) if self.count % 4 == 0 and b > 1.5 * a else tangents
        elif inside.cost > 0:
            guess = self.line.guess()
        else:
            guess = float(np.sqrt(a * b))
        # Rounding can turn the tangents around when the ball is tiny: the bracket sees to that.
        return guess if a < guess < b else tangents

    def widen(self) -> float:
        """One end is missing: go on by what a quadratic would say, and then some."""
        if self.hi is None:
            assert self.lo is not None
            gamma, found = self.lo
            return min(
                gamma * float(np.clip(1.5 * (found.cost / self.budget) ** 0.5, 2, 900)), LARGEST
            )
        gamma, found = self.hi
        return gamma * float(np.clip((found.cost / self.budget) ** 0.5 / 1.5, 1e-3, 0.5))
