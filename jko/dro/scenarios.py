"""Single measures of a ball as smooth losses, and the best theta against several of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from jko.validation import Array


@dataclass(frozen=True, eq=False)
class Scenario:
    """theta -> E_mu loss(theta, .) - paid, for one measure mu.

    Attributes
    ----------
    loss, slope : callables (theta, points) -> (n,), (n, p)
    points : (n, d) array
    weights : (n,) array
    paid : float
        What mu costs in the penalised form, 0 in a ball.
    """

    loss: Callable[[Array, Array], ArrayLike]
    slope: Callable[[Array, Array], ArrayLike]
    points: Array
    weights: Array
    paid: float

    def value(self, theta: Array) -> float:
        """E loss - paid."""
        with np.errstate(over="ignore", invalid="ignore"):
            return float(self.weights @ np.asarray(self.loss(theta, self.points))) - self.paid

    def gradient(self, theta: Array) -> Array:
        """(p,)."""
        out = self.weights @ np.asarray(self.slope(theta, self.points), dtype=float)
        return np.asarray(out)

    def size(self, theta: Array) -> float:
        """E |loss| + |paid|: what a tolerance is relative to, where E loss cancels."""
        values = np.abs(np.asarray(self.loss(theta, self.points), dtype=float))
        return float(self.weights @ values) + abs(self.paid)

    def framed(self, frame: Array) -> Scenario:
        """The same of theta = frame @ theta'."""
        loss, slope = self.loss, self.slope
        return replace(
            self,
            loss=lambda theta, x: loss(frame @ theta, x),
            slope=lambda theta, x: np.asarray(slope(frame @ theta, x), dtype=float) @ frame,
        )


def smooth_minimum(
    function: Callable[[Array], tuple[float, Array]], start: Array, max_iter: int, unit: float
) -> tuple[Array, float, float]:
    """L-BFGS to rounding: the point, its value, the largest component of its gradient.

    `unit` is the size of the values: the tolerances of the method are absolute.
    """
    from scipy.optimize import minimize

    def scaled(point: Array) -> tuple[float, Array]:
        value, slope = function(point)
        return value / unit, slope / unit

    options = {"maxiter": max_iter, "maxfun": 2 * max_iter, "ftol": 1e-15, "gtol": 1e-10}
    options["maxcor"] = 20
    found = minimize(scaled, start, jac=True, method="L-BFGS-B", options=options)
    residual = unit * float(np.abs(found.jac).max(initial=0.0))
    return found.x, unit * float(found.fun), residual


def scenario_bound(
    scenarios: list[Scenario], theta: Array, ridge: Array, unit: float
) -> tuple[float, float, Array]:
    """A lower bound of the robust minimum from the hull of some scenarios, and the theta of it.

    The largest of them is minimised; the multipliers of that minimum mix them into one measure,
    and the minimum of that smooth mixture is the bound.
    """
    shares = np.ones(1)
    if len(scenarios) > 1:
        theta, shares = _largest(scenarios, theta, ridge, unit)

    def mixture(point: Array) -> tuple[float, Array]:
        value, slope = 0.5 * float(ridge @ point**2), ridge * point
        for share, scenario in zip(shares, scenarios, strict=True):
            if share > 0:
                value = value + share * scenario.value(point)
                slope = slope + share * scenario.gradient(point)
        return (value, slope) if np.isfinite(value) else (np.inf, np.zeros_like(point))

    best, value, residual = smooth_minimum(mixture, theta, 2000, unit)
    return value, residual, (theta if len(scenarios) > 1 else best)


def _largest(
    scenarios: list[Scenario], theta: Array, ridge: Array, unit: float
) -> tuple[Array, Array]:
    """min over theta of the largest scenario, as a smooth program with an epigraph; its shares."""
    from scipy.optimize import lsq_linear, minimize

    def values(point: Array) -> Array:
        found = np.array([s.value(point) for s in scenarios]) + 0.5 * float(ridge @ point**2)
        return np.asarray(found / unit)

    def slopes(point: Array) -> Array:
        return np.asarray((np.array([s.gradient(point) for s in scenarios]) + ridge * point) / unit)

    start = np.append(theta, values(theta).max())
    top = np.append(np.zeros(theta.size), 1.0)
    ones = np.ones((len(scenarios), 1))
    found = minimize(
        lambda z: (z[-1], top), start, jac=True, method="SLSQP",
        constraints={
            "type": "ineq",
            "fun": lambda z: z[-1] - values(z[:-1]),
            "jac": lambda z: np.hstack([-slopes(z[:-1]), ones]),
        },
        options={"ftol": 1e-14, "maxiter": 200},
    )  # fmt: skip
    point = found.x[:-1] if np.isfinite(found.x).all() else theta
    # The shares balance the gradients of the scenarios that touch the top.
    now, gradients = values(point), slopes(point)
    lag = np.sqrt(np.maximum(now.max() - now, 0.0))
    scale = float(np.abs(gradients).max()) or 1.0
    system = np.vstack([gradients.T / scale, 1e2 * np.diag(lag), 1e3 * ones.T])
    right = np.append(np.zeros(theta.size + len(scenarios)), 1e3)
    shares = np.maximum(lsq_linear(system, right, bounds=(0, np.inf)).x, 0.0)
    return point, shares / shares.sum()
