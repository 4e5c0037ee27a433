r"""Worst cases over free particles: each atom ascends loss(x) - gamma |x - x'|^2 (Wasserstein).

For quadratic losses the answer is a formula, exact and certified. Any other loss is ascended from
several starts, and the best is polished by one `jko.step` of the particles (formula R1):
stationary, and no more than that unless the curvature of the loss is known.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from jko.dro.ambiguity import Set, check_geometry, check_measure, loss_values
from jko.dro.ascent import LossAscent
from jko.dro.ball import CostLine, PenalisedResponse
from jko.dro.losses import Quadratic
from jko.dro.result import WorstCase, WorstCaseStatus
from jko.errors import InvalidArgument, InvalidMeasure, InvalidType, Unsupported
from jko.geometries.wasserstein import Wasserstein
from jko.measures.atoms import Particles
from jko.measures.base import Measure
from jko.numerics.elementary import EPS
from jko.prox.duality.mass import MassSearch
from jko.validation import Array, Seed, real, rng_of

#: Relative accuracy to which a ball is filled.
BALL_TOL = 1e-10
#: Prices tried where displacements are a formula; Newton takes 3 to 8 of them.
PRICES = 200


@dataclass(frozen=True, eq=False)
class Climb:
    """How a loss that is no formula is ascended: the arguments of `worst_case` for it."""

    gradient: Callable[[Array], ArrayLike] | None
    curvature: float | None
    starts: int
    rng: Seed


@dataclass(frozen=True, eq=False)
class Moved:
    """Displacements (n, d), the multiplier, an upper bound of the value (None: unknown)."""

    shift: Array
    multiplier: float
    upper: float | None
    iterations: int


def solve_particles(
    loss: Quadratic | Callable[[Array], ArrayLike] | ArrayLike,
    measure: Measure,
    geometry: Set,
    radius: float | None,
    tau: float | None,
    climb: Climb,
    *,
    tol: float,
    max_iter: int,
) -> WorstCase:
    """The worst case where every atom of `measure` may move freely."""
    started = time.perf_counter()
    mu, metric = check_measure(measure), check_geometry(geometry)
    if not isinstance(metric, Wasserstein):
        raise Unsupported(
            f"support = 'particles' moves atoms, which {metric!r} does not measure; use"
            " jko.Wasserstein(), or support='union' with points"
        )
    if not metric.is_quadratic:
        raise Unsupported(
            f"geometry = {metric!r}: free particles move at the cost |x-y|^2 alone; use"
            " jko.Wasserstein(), or support='union' with points"
        )
    if not callable(loss):
        raise InvalidType(
            "loss is an array of values, but free particles need it everywhere; pass a function"
            " (n, d) -> (n,)"
        )
    origin = Particles(mu.points, mu.weights)
    if isinstance(loss, Quadratic) and loss.dim != origin.dim:
        raise InvalidMeasure(
            f"loss lives in dimension {loss.dim}, the measure has dimension {origin.dim}"
        )
    values = loss_values(loss, origin.points)
    if radius == 0:
        moved = Moved(np.zeros(origin.points.shape), np.inf, float(origin.weights @ values), 0)
        slope: Callable[[Array], Array] | None = None
    elif isinstance(loss, Quadratic):
        moved, slope = _quadratic(loss, origin, metric.rate, radius, tau), loss.gradient
    else:
        known = climb.curvature
        known = getattr(loss, "curvature", None) if known is None else known
        curvature = None if known is None else real(known, "curvature")
        ascent = LossAscent(
            loss, climb.gradient, origin, metric.rate, climb.starts, rng_of(climb.rng), tol
        )
        moved, slope = _ascended(ascent, radius, tau, curvature, max_iter), ascent.slope
    return _result(loss, slope, origin, metric, tau, moved, tol, started)


def _result(
    loss: Quadratic | Callable[[Array], ArrayLike] | ArrayLike,
    slope: Callable[[Array], Array] | None,
    origin: Particles,
    metric: Wasserstein,
    tau: float | None,
    moved: Moved,
    tol: float,
    started: float,
) -> WorstCase:
    w, price = origin.weights, moved.multiplier / metric.rate
    measure = origin.with_points(origin.points + moved.shift)
    values, before = loss_values(loss, measure.points), loss_values(loss, origin.points)
    cost = float(w @ (moved.shift**2).sum(axis=1)) / metric.rate
    expectation = float(w @ values)
    value = expectation - (0.0 if tau is None else moved.multiplier * cost)
    residual = None
    if slope is not None:
        force = slope(measure.points)
        miss = np.sqrt(w @ ((force - 2 * price * moved.shift) ** 2).sum(axis=1) / origin.mass)
        size = float(np.sqrt(w @ (force**2).sum(axis=1) / origin.mass))
        residual = float(miss) / size if miss > 0 else 0.0
    gap = None if moved.upper is None else moved.upper - value
    scale = max(abs(value), float(np.ptp(np.concatenate([before, values]))) * origin.mass)
    if gap is not None and abs(gap) <= max(tol, 1e-9) * scale:
        status = WorstCaseStatus.CERTIFIED
    elif residual is not None and residual <= tol:
        status = WorstCaseStatus.LOCAL
    else:
        status = WorstCaseStatus.INACCURATE
    figures = [] if gap is None else [f"gap {gap:.3g}"]
    figures += [] if residual is None else [f"residual {residual:.3g}"]
    return WorstCase(
        value=value,
        measure=measure,
        multiplier=moved.multiplier,
        gap=gap,
        expectation=expectation,
        nominal=float(w @ before),
        distance=float(np.sqrt(cost)),
        residual=residual,
        status=status,
        message=f"{status.value} ({', '.join(figures)} against {tol:.3g})",
        iterations=moved.iterations,
        seconds=time.perf_counter() - started,
        tol=tol,
    )


# ------------------------------------------------------------------------------------ closed form


def _quadratic(
    loss: Quadratic, origin: Particles, rate: float, radius: float | None, tau: float | None
) -> Moved:
    """d = (2 p I - Q)^{-1} grad loss, p = gamma/rate above half the curvature."""
    w, q = origin.weights, loss.values
    force = loss.gradient(origin.points) @ loss.basis
    square = w @ force**2  # (d,)
    start = float(w @ loss(origin.points))
    if tau is not None:
        price = 1 / (2 * tau * rate)
        if not 2 * price > q[-1]:
            raise InvalidArgument(_too_curved(tau, float(q[-1]) * rate))
        upper = start + 0.5 * float((square / (2 * price - q)).sum())
        return Moved((force / (2 * price - q)) @ loss.basis.T, price * rate, upper, 1)
    assert radius is not None
    budget = radius**2 * rate
    price, top = _quadratic_price(square, q, budget)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = np.where(square > 0, 1 / (2 * price - q), 0.0)
    shift = force * inverse
    spent = float(w @ (shift**2).sum(axis=1))
    if top and spent < budget:  # the hard case: what is left goes along the steepest curvature
        shift = shift + np.eye(q.size)[-1] * np.sqrt((budget - spent) / origin.mass)
    elif spent > budget:
        shift = shift * np.sqrt(budget / spent)
    upper = start + price * budget + 0.5 * float((square * inverse).sum())
    return Moved(shift @ loss.basis.T, price * rate, upper, 1)


def _quadratic_price(square: Array, q: Array, budget: float) -> tuple[float, bool]:
    """The price where the displacements spend the budget; whether it is the hard case."""
    floor = max(float(q[-1]) / 2, 0.0)
    live = square > 1e-28 * square.max(initial=0.0)
    size = max(float(np.abs(q).max()), float(np.sqrt(square.sum() / budget)), 1e-300)

    def spent(price: float) -> float:
        with np.errstate(divide="ignore", over="ignore"):
            return float((square[live] / (2 * price - q[live]) ** 2).sum())

    if not live.any() or spent(floor * (1 + 1e-15)) <= budget:
        square[~live] = 0.0
        return floor, bool(q[-1] > 0)
    search = MassSearch(size, 0.0, reach=size)
    for _ in range(PRICES):
        gap = 2 * (floor + search.x) - q[live]
        total = float((square[live] / gap**2).sum())
        fall = 4 * float((square[live] / gap**3).sum())
        # total^{-1/2} is concave in the price, nearly linear (as in trust-region methods).
        newton = 2 * total / fall * (np.sqrt(total / budget) - 1)
        if abs(total - budget) <= 4 * EPS * budget or not search.advance(total > budget, newton):
            break
    return floor + search.x, False


def _too_curved(tau: float, curvature: float) -> str:
    return (
        f"loss curves by {curvature:.6g}, not less than 1/tau = {1 / tau:.6g}: it outgrows the"
        f" penalty and the worst case is infinite; pass tau below {1 / curvature:.6g}, or a radius"
    )


# ----------------------------------------------------------------------------------------- ascent


def _ascended(
    ascent: LossAscent,
    radius: float | None,
    tau: float | None,
    curvature: float | None,
    max_iter: int,
) -> Moved:
    rate = ascent.rate
    growth = ascent.growth()
    if growth == np.inf:
        raise InvalidArgument(
            "loss grows faster than quadratic: it outgrows every transport penalty and the worst"
            " case is infinite; bound the loss, or use support='grid' with points"
        )
    if tau is not None:
        if 2 * growth * rate >= (1 - 1e-6) / tau:
            raise InvalidArgument(_too_curved(tau, 2 * growth * rate))
        gamma = 1 / (2 * tau)
        shift = ascent.respond(gamma).weights
        return Moved(shift, gamma, _upper(ascent, shift, gamma, 0.0, curvature), ascent.count)
    assert radius is not None
    found, above = _price_of_ball(ascent, growth * rate, radius**2, max_iter)
    gamma = growth * rate + above
    upper = _upper(ascent, found.weights, gamma, radius**2, curvature)
    return Moved(found.weights, gamma, upper, ascent.count)


def _price_of_ball(
    ascent: LossAscent, floor: float, budget: float, max_iter: int
) -> tuple[PenalisedResponse, float]:
    """The response that spends the budget, and its price above the floor.

    Where the particles jump as the price varies it is the last one inside the ball.
    """
    w, rate = ascent.origin.weights, ascent.rate
    force = float(np.sqrt(w @ (ascent.slope(ascent.origin.points) ** 2).sum(axis=1) * rate))
    price = 0.5 * force / np.sqrt(budget) or 1.0
    inside: tuple[float, PenalisedResponse] | None = None
    least = 1e-14 * price
    line, prices = CostLine(budget), MassSearch(price, 0.0, reach=price)
    for _ in range(max_iter):
        price = prices.x
        found = ascent.respond(floor + price)
        over = float(np.log(max(found.cost, 1e-300) / budget))
        line.see(price, found.cost)
        if over <= 0:
            inside = (price, found)
        if (over <= 0 and -over <= BALL_TOL) or price < least:
            break
        guess = line.guess()
        if np.isnan(guess):
            guess = price * (4.0 if over > 0 else 0.25)
        prices.reach = price
        if not prices.advance(over > 0, guess - price):
            break
    if inside is None:
        inside = (price, found)
    return inside[1], inside[0]


def _upper(
    ascent: LossAscent, shift: Array, gamma: float, budget: float, curvature: float | None
) -> float | None:
    """A bound from strong concavity, where 2 gamma/rate exceeds the curvature of the loss."""
    price, w = gamma / ascent.rate, ascent.origin.weights
    if curvature is None or not 2 * price > curvature:
        return None
    x = ascent.origin.points + shift
    miss = ((ascent.slope(x) - 2 * price * shift) ** 2).sum(axis=1)
    inside = (
        ascent.values(x) - price * (shift**2).sum(axis=1) + miss / (2 * (2 * price - curvature))
    )
    return gamma * budget + float(w @ inside)
