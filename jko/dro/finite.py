"""Worst cases on a finite support: scaled to order one, solved, certified, scaled back."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from jko.dro.ambiguity import Ambiguity
from jko.dro.ball import BallAnswer, EmptyBall, solve_ball
from jko.dro.dual import dual_function
from jko.dro.responses import respond_to
from jko.dro.result import WorstCase, WorstCaseStatus
from jko.dro.sets import CVaR, Neighbourhood
from jko.errors import InvalidArgument
from jko.geometries.divergence import Divergence, phi_divergence
from jko.geometries.hellinger import Hellinger
from jko.geometries.mmd import MMD
from jko.geometries.wasserstein import Wasserstein
from jko.measures.base import Discrete
from jko.validation import Array

#: Tolerance on the gap, relative to the scale of the loss, and penalised problems, by default.
DEFAULT_TOL = 1e-9
DEFAULT_ITER = 200


def solve_finite(
    stated: Ambiguity,
    radius: float | None,
    tau: float | None,
    *,
    tol: float = DEFAULT_TOL,
    max_iter: int = DEFAULT_ITER,
    guess: float | None = None,
) -> WorstCase:
    """The worst case of a finite problem; `guess` is a multiplier to start from."""
    started = time.perf_counter()
    answer, distance = _answer(stated, radius, tau, tol, max_iter, guess)
    loss, nominal = stated.loss, stated.nominal
    expectation, average = float(answer.weights @ loss), stated.average
    paid = 0.0 if tau is None else answer.multiplier * distance**stated.power
    value, upper, dual = expectation - paid, answer.upper, None
    if isinstance(stated.geometry, MMD) and radius is not None and answer.penalised is not None:
        dual = dual_function(stated, answer.penalised, answer.multiplier)
        upper = min(upper, dual.bound(radius))
    scale = max(abs(value), _spread(stated) * nominal.mass)
    gap = upper - value
    if -1e-12 * scale <= gap < 0:
        gap = 0.0  # rounding
    good = bool(np.isfinite(value) and abs(gap) <= tol * scale)
    status = WorstCaseStatus.CERTIFIED if good else WorstCaseStatus.INACCURATE
    return WorstCase(
        value=value,
        measure=nominal.with_weights(answer.weights),
        multiplier=answer.multiplier,
        gap=gap,
        expectation=expectation,
        nominal=average,
        distance=distance,
        residual=None,
        status=status,
        message=f"{status.value} (gap {gap:.3g} against {tol * scale:.3g}){_remark(stated)}",
        iterations=answer.iterations,
        seconds=time.perf_counter() - started,
        tol=tol,
        dual=dual,
    )


def _answer(
    stated: Ambiguity,
    radius: float | None,
    tau: float | None,
    tol: float,
    max_iter: int,
    guess: float | None,
) -> tuple[BallAnswer, float]:
    """Weights, multiplier and upper bound in the units of the loss; the distance."""
    w, spread, geometry = stated.nominal.weights, _spread(stated), stated.geometry
    if isinstance(geometry, CVaR):
        weights, threshold, upper = geometry.worst(stated.loss, w)
        value = float(weights @ stated.loss)
        steepest = float((weights[w > 0] / w[w > 0]).max())
        return BallAnswer(weights, value, threshold, upper, 0), steepest
    sample = bool(stated.opened[w > 0].all())
    if sample and (radius == 0 or spread == 0):
        gamma = _price(stated, tau) if tau is not None else (np.inf if radius == 0 else 0.0)
        return BallAnswer(w, stated.average, gamma, stated.average, 0), 0.0
    if radius is None:
        return _penalised(stated, tau)
    extreme, distance = _extreme(stated)
    if distance <= radius:
        value = float(extreme @ stated.loss)
        return BallAnswer(extreme, value, 0.0, value, 0), distance
    units = Units.of(stated)
    budget = max(radius**stated.power / units.cost, 1e-300)
    start = _first_price(units.scaled, budget) if guess is None else guess / units.price
    # Relative to the range of the loss, and where the value is smaller than that to the value.
    target = 0.1 * tol * float(np.clip(abs(units.shift) / units.scale, 0.01, 1.0))
    kinked = isinstance(geometry, Wasserstein) or getattr(geometry, "kinked", False)
    respond = respond_to(units.scaled)
    try:
        found = solve_ball(respond, budget, target, max_iter, start=start, kinked=kinked)
    except EmptyBall as empty:
        least = max(empty.cost * units.cost, 0.0) ** (1 / stated.power)
        raise InvalidArgument(
            f"radius = {radius:.6g} is below {least:.6g}, the distance of the measure from the"
            " points; raise it, or let the sample in with support='union'"
        ) from None
    answer = units.restored(found)
    if isinstance(geometry, Neighbourhood):
        return answer, float(max(answer.cost, 0.0) ** (1 / stated.power))
    return answer, distance_of(stated, answer.weights)


@dataclass(frozen=True, eq=False)
class Units:
    """The problem at mass 1 with a loss of mean 0 and range 1, and the way back.

    Attributes
    ----------
    scaled : Ambiguity
    mass, shift, scale : float
        loss = shift + scale times the scaled loss; weights = mass times the scaled weights.
    cost, price : float
        Units of the cost (mass^2 for MMD, else mass) and of the multiplier.
    """

    scaled: Ambiguity
    mass: float
    shift: float
    scale: float
    cost: float
    price: float

    @classmethod
    def of(cls, stated: Ambiguity) -> Units:
        """The units of a problem."""
        mass, scale = stated.nominal.mass, _spread(stated) or 1.0
        shift = stated.average / mass
        nominal = stated.nominal
        if mass != 1:
            nominal = nominal.with_weights(nominal.weights / mass)
        scaled = replace(stated, nominal=nominal, loss=(stated.loss - shift) / scale)
        cost = mass**2 if isinstance(stated.geometry, MMD) else mass
        return cls(scaled, mass, shift, scale, cost, scale * mass / cost)

    def restored(self, found: BallAnswer) -> BallAnswer:
        """An answer in the units of the stated problem."""
        penalised = None if found.penalised is None else self.mass * found.penalised
        return BallAnswer(
            self.mass * found.weights,
            self.mass * (self.shift + self.scale * found.expectation),
            self.price * found.multiplier,
            self.mass * (self.shift + self.scale * found.upper),
            found.iterations,
            penalised,
            self.cost * found.cost,
        )


def _penalised(stated: Ambiguity, tau: float | None) -> tuple[BallAnswer, float]:
    units, gamma = Units.of(stated), _price(stated, tau)
    price = gamma / units.price
    found = respond_to(units.scaled)(price)
    upper = found.expectation - price * found.cost + found.slack
    answer = units.restored(
        BallAnswer(found.weights, found.expectation, price, upper, 1, found.weights)
    )
    spent = max(found.cost * units.cost, 0.0)
    return replace(answer, multiplier=gamma), float(spent ** (1 / stated.power))


def _price(stated: Ambiguity, tau: float | None) -> float:
    """gamma: 1/(p tau^{p-1}) for W_p, 1/tau for divergences and sets, else 1/(2 tau)."""
    assert tau is not None
    geometry = stated.geometry
    if isinstance(geometry, (Divergence, Neighbourhood)):
        return 1 / tau
    if isinstance(geometry, Wasserstein) and geometry.is_power:
        return float(1 / (geometry.p * tau ** (geometry.p - 1)))
    return 1 / (2 * tau)


def _spread(stated: Ambiguity) -> float:
    """The range of the loss over the atoms that count."""
    inside = stated.reachable | (stated.nominal.weights > 0)
    return float(np.ptp(stated.loss[inside]))


def _first_price(scaled: Ambiguity, budget: float) -> float:
    """gamma where a quadratic cost of the order of half chi^2 spends the budget."""
    m = scaled.nominal
    variance = float(m.weights @ scaled.loss**2)
    return float(np.sqrt(max(variance, 1e-4) / (2 * budget)))


def _extreme(stated: Ambiguity) -> tuple[Array, float]:
    """A nearest measure that puts all mass on the atoms of largest loss, and its distance.

    Exact for transport and divergences; for MMD and several such atoms only a candidate (the ball
    is then solved as any other).
    """
    w, reachable, geometry = stated.nominal.weights, stated.reachable, stated.geometry
    if isinstance(geometry, Neighbourhood):
        found = geometry.extreme(stated)
        return found.weights, float(max(found.cost, 0.0) ** (1 / stated.power))
    top = reachable & (stated.loss >= stated.loss[reachable].max())
    if isinstance(geometry, Wasserstein):
        at = respond_to(stated.with_loss(np.where(top, 0.0, -1e300)))(0.0).weights
        return at, distance_of(stated, at)
    share = np.where(top, w, 0.0)
    if not share.sum() > 0:
        share = top.astype(float)
    at = np.asarray(share * (stated.nominal.mass / share.sum()))
    return at, distance_of(stated, at)


def distance_of(stated: Ambiguity, weights: Array) -> float:
    """D (D_p for divergences) of weights from the nominal ones."""
    geometry, nominal = stated.geometry, stated.nominal
    if isinstance(geometry, Divergence):
        return phi_divergence(geometry.p, weights, nominal.weights) / geometry.rate
    if isinstance(geometry, Wasserstein) and not geometry.is_power:
        moved = geometry.sqdistance(nominal, nominal.with_weights(weights))
        return float(max(moved, 0.0) ** 0.5)
    if isinstance(geometry, (Hellinger, MMD, Wasserstein)):
        return geometry.distance(nominal.with_weights(weights), nominal)
    raise AssertionError(geometry)


def _remark(stated: Ambiguity) -> str:
    if _spread(stated) == 0:
        return "; the loss is constant on the support, and every measure is a worst case"
    return ""


def in_kind(measure: Discrete, found: WorstCase) -> WorstCase:
    """The worst case as a measure of the user's own type, where the support is the same."""
    assert isinstance(found.measure, Discrete)
    if measure.same_support(found.measure):
        return replace(found, measure=measure.with_weights(found.measure.weights))
    return found
