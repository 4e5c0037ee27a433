r"""Worst cases of linear predictors when features move in Wasserstein distance, targets do not.

A loss of z = x.theta + b only sees moves along theta, so that each sample is a scalar problem,

    sup_x l(x.theta + b, y) - p |x - x_i|^2 = sup_s l(z_i + s |theta|, y) - p s^2,

solved for all samples at once, over every local maximum: exact for convex l with a bounded slope or
second derivative below 2 p / |theta|^2. Over a ball the squared loss has the closed form
(sqrt(E (z - y)^2) + radius |theta|)^2; otherwise the price is a root, and at a jump of the cost the
worst case splits samples between two places.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from jko.dro.ball import PenalisedResponse, solve_ball
from jko.dro.linear import linear_scenario
from jko.dro.predictions import SQUARED, PredictionLoss, evaluate
from jko.dro.training import INNER_TOL, Attack
from jko.errors import Unsupported
from jko.later import draw
from jko.measures.atoms import Particles
from jko.measures.base import Discrete
from jko.validation import Array, Index

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

#: Places where a sample's problem is tried before the best is bracketed, and halvings after.
PLACES = 33
HALVINGS = 50


class Split:
    """Shares of samples at displacements: t * a + (1 - t) * b mixes two of them."""

    def __init__(self, parts: list[tuple[float, Array]]) -> None:
        self.parts = parts

    def __rmul__(self, factor: float) -> Split:
        return Split([(factor * share, s) for share, s in self.parts])

    def __add__(self, other: Split) -> Split:
        return Split([part for part in (*self.parts, *other.parts) if part[0] > 0])


@dataclass(frozen=True, eq=False)
class MovedSamples:
    """The worst case of a fit with moving features.

    Attributes
    ----------
    value, multiplier, gap, distance : float
    points : (m, d) array
        Where the samples went; a split sample appears twice.
    weights : (m,) array
    index : (m,) array
        The sample each came from.
    given : Discrete or None
        The samples.
    """

    value: float
    multiplier: float
    gap: float
    distance: float
    points: Array
    weights: Array
    index: Index
    given: Discrete | None = None

    def plot(self, ax: Axes | None = None) -> list[Artist]:
        """Draw where the samples went; see `jko.plot.worst_case`."""
        drawn: list[Artist] = draw("worst_case", self, ax)
        return drawn


@dataclass(eq=False)
class FeatureAdversary:
    """The worst case of every theta = (coefficients, intercept)."""

    x: Array
    y: Array
    weights: Array
    loss: PredictionLoss
    rate: float
    radius: float | None
    tau: float | None
    intercept: bool
    guess: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if self.loss.curvature is None and self.loss.lipschitz is None:
            raise Unsupported(
                "loss has neither a curvature nor a lipschitz constant, and may outgrow the"
                " transport cost: give PredictionLoss one of them, or use jko.Divergence(p=1)"
            )

    def __call__(self, theta: Array) -> Attack:
        coef = theta[: self.x.shape[1]]
        z = self.x @ coef + (theta[-1] if self.intercept else 0.0)
        size = float(np.linalg.norm(coef))
        split, gamma, upper = self._moved(z, size)
        along = coef / size if size > 0 else coef
        count = len(split.parts)
        index = np.tile(np.arange(self.y.size), count)
        shift = np.concatenate([s for _, s in split.parts])
        weights = np.concatenate([share * self.weights for share, _ in split.parts])
        points = self.x[index] + shift[:, None] * along
        spent = float(weights @ shift**2) / self.rate
        paid = 0.0 if self.tau is None else gamma * spent
        scenario = linear_scenario(self.loss, points, self.y[index], weights, self.intercept, paid)
        value = scenario.value(theta)
        gap = max(upper - value, 0.0)
        report = MovedSamples(value, gamma, gap, spent**0.5, points, weights, index, self._samples)
        return Attack(value, scenario.gradient(theta), scenario, gap, report)

    @cached_property
    def _samples(self) -> Particles:
        """The samples, for pictures."""
        return Particles(self.x, self.weights)

    def _moved(self, z: Array, size: float) -> tuple[Split, float, float]:
        """Displacements along theta, the multiplier and an upper bound of the supremum."""
        w, rest = self.weights, Split([(1.0, np.zeros_like(z))])
        still = float(w @ evaluate(self.loss, z, self.y)[0])
        if self.radius == 0 or (size == 0 and self.radius is not None):
            return rest, np.inf if self.radius == 0 else 0.0, still
        floor = self._floor(size)
        if self.radius is None:
            assert self.tau is not None
            gamma = 0.5 / self.tau
            if not gamma > floor:
                raise FloatingPointError("the loss outgrows the penalty at a trial point")
            found = self._respond(z, size, gamma)
            return found.weights, gamma, found.expectation - gamma * found.cost  # type: ignore[return-value]
        budget = self.radius**2
        if self.loss is SQUARED:
            return self._squared(z, size, budget)
        losses, slope = evaluate(self.loss, z, self.y)
        unit = float(w @ np.abs(losses)) or float(w @ np.abs(slope)) or 1.0
        start = self.guess or size * float(np.sqrt(w @ slope**2 * self.rate / budget)) / 2 or 1.0
        answer = solve_ball(
            lambda above: self._respond(z, size, floor + above),
            budget, INNER_TOL * unit, 100, start=start, kinked=False,
        )  # fmt: skip
        self.guess = answer.multiplier
        upper = answer.upper + floor * budget
        return answer.weights, floor + answer.multiplier, upper  # type: ignore[return-value]

    def _floor(self, size: float) -> float:
        """The price below which the loss outgrows the cost."""
        if self.loss.lipschitz is not None:
            return 0.0
        assert self.loss.curvature is not None
        return 0.5 * self.loss.curvature * size**2 * self.rate

    def _squared(self, z: Array, size: float, budget: float) -> tuple[Split, float, float]:
        """s proportional to the residual, of mean square budget rate."""
        mass, r = float(self.weights.sum()), z - self.y
        rms = float(np.sqrt(self.weights @ r**2 / mass))
        length = float(np.sqrt(budget * self.rate / mass))
        s = length * (r / rms if rms > 0 else np.ones_like(r))
        gamma = self.rate * size * (size + rms / length)
        return Split([(1.0, s)]), gamma, mass * (rms + length * size) ** 2

    def _respond(self, z: Array, size: float, gamma: float) -> PenalisedResponse:
        price = gamma / self.rate
        if self.loss is SQUARED:
            s = size * (z - self.y) / (price - size**2)
        else:
            s = self._climb(z, size, price)
        value = np.asarray(self.loss.value(z + s * size, self.y), dtype=float)
        # `solve_ball` adds the price above the floor only: the floor's part goes into the loss.
        spent = float(self.weights @ s**2) / self.rate
        expectation = float(self.weights @ value) - self._offset(size) * spent
        return PenalisedResponse(Split([(1.0, s)]), expectation, spent, 0.0)  # type: ignore[arg-type]

    def _offset(self, size: float) -> float:
        return self._floor(size) if self.radius is not None else 0.0

    def _climb(self, z: Array, size: float, price: float) -> Array:
        """argmax over s of l(z + s size) - price s^2, from a lattice and bisection of the slope."""
        reach = self._reach(z, size, price)
        lattice = np.linspace(-1, 1, PLACES)[:, None] * reach
        value = self.loss.value(z + size * lattice, self.y) - price * lattice**2
        best = np.argmax(value, axis=0)
        rows = np.arange(z.size)
        s = lattice[best, rows]
        slope: Callable[[Array], Array] = lambda t: (
            size * np.asarray(self.loss.slope(z + size * t, self.y)) - 2 * price * t
        )
        width = 2 * reach / (PLACES - 1)
        rising = slope(s) > 0
        low, high = np.where(rising, s, s - width), np.where(rising, s + width, s)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            up = slope(middle) > 0
            low, high = np.where(up, middle, low), np.where(up, high, middle)
        return np.asarray((low + high) / 2)

    def _reach(self, z: Array, size: float, price: float) -> Array:
        """A bound of |s|."""
        bounds = []
        if self.loss.lipschitz is not None:
            bounds.append(np.full(z.size, size * self.loss.lipschitz / (2 * price)))
        if self.loss.curvature is not None and 2 * price > self.loss.curvature * size**2:
            slope = np.abs(self.loss.slope(z, self.y))
            bounds.append(size * slope / (2 * price - self.loss.curvature * size**2))
        return np.asarray(np.minimum.reduce(bounds) * (1 + 1e-9) + 1e-300)


#: Share of one sample that the worst case of order 1 sends away, and with it the value it misses.
SENT = 1e-9


@dataclass(eq=False)
class OrderOneAdversary:
    """The worst case when features move in W_1: E loss + radius lipschitz |coefficients|.

    The supremum of a convex loss is approached by ever smaller shares of mass sent ever farther
    along the coefficients (Mohajerin Esfahani and Kuhn (2018)): the measure found sends 1e-9.
    """

    x: Array
    y: Array
    weights: Array
    loss: PredictionLoss
    rate: float
    radius: float
    intercept: bool

    def __post_init__(self) -> None:
        if self.loss.lipschitz is None:
            raise Unsupported(
                "loss has no lipschitz constant, and may outgrow the cost |x - y| of"
                " jko.Wasserstein(p=1): give PredictionLoss one, or use jko.Wasserstein()"
            )

    def __call__(self, theta: Array) -> Attack:
        coef = theta[: self.x.shape[1]]
        z = self.x @ coef + (theta[-1] if self.intercept else 0.0)
        size = float(np.linalg.norm(coef))
        still = float(self.weights @ evaluate(self.loss, z, self.y)[0])
        assert self.loss.lipschitz is not None
        upper = still + self.radius * self.loss.lipschitz * size
        count = self.y.size
        index, points, weights = np.arange(count), self.x, self.weights
        if size > 0 and self.radius > 0:
            index = np.append(index, self._sent(z, size))
            share = SENT * self.weights[index[-1]]
            sign = self._sign(z, size, int(index[-1]), self.radius / share)
            away = self.x[index[-1]] + sign * (self.radius / share) * coef / size
            points = np.vstack([self.x, away])
            weights = np.append(self.weights, share)
            weights[index[-1]] -= share
        scenario = linear_scenario(self.loss, points, self.y[index], weights, self.intercept, 0.0)
        value = scenario.value(theta)
        price = self.loss.lipschitz * size
        report = MovedSamples(
            value, price, max(upper - value, 0.0), self.radius, points, weights, index
        )
        return Attack(upper, scenario.gradient(theta), scenario, 0.0, report)

    def _sent(self, z: Array, size: float) -> int:
        """The sample whose loss grows the most when it is sent away."""
        far = self.radius / (SENT * float(self.weights.mean())) * size
        rise = [np.asarray(self.loss.value(z + s * far, self.y)) for s in (1, -1)]
        return int(np.argmax(np.maximum(*rise)))

    def _sign(self, z: Array, size: float, at: int, length: float) -> int:
        one, y = z[at : at + 1], self.y[at : at + 1]
        up, down = (float(self.loss.value(one + s * length * size, y)[0]) for s in (1, -1))
        return 1 if up >= down else -1
