"""The dissipation inequality, recomputed from the definition (not from what a step reports)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jko.energies.base import Energy
from jko.geometries.base import Geometry
from jko.identity import Identity, max_of
from jko.measures.base import Measure
from jko.solvers.rules import Solver
from jko.solvers.step import step

Stepper = Callable[..., Any]


def dissipation(
    measure: Measure,
    energy: Energy,
    geometry: Geometry,
    tau: float,
    *,
    solver: Solver = "auto",
    steps: int = 3,
    take: Stepper = step,
    tol: float = 1e-9,
) -> Identity:
    """F(mu_+) + D^2(mu_+, mu)/(2 tau) <= F(mu), the competitor being to stay put.

    Energy and distance are computed afresh, along `steps` steps in a row; the residual is the
    largest excess relative to max(1, |F|).

    Parameters
    ----------
    measure, energy, geometry, tau, solver
        As in `jko.step`.
    take : callable
        The step function under test.
    """

    def price(after: Any, current: Measure) -> float:
        return geometry.penalty(after.measure, current, tau)

    statement = f"F(mu_+) + D^2/(2 tau) <= F(mu): {type(geometry).__name__} steps"
    call = {"energy": energy, "geometry": geometry, "tau": tau, "solver": solver}
    return _along(measure, call, price, steps, take, statement, tol)


def regularised_dissipation(
    measure: Measure,
    energy: Energy,
    geometry: Geometry,
    tau: float,
    *,
    solver: Solver = "auto",
    steps: int = 3,
    take: Stepper = step,
    tol: float = 1e-7,
) -> Identity:
    """The same for debiased entropic steps, which state a regularised problem.

    Their `bias` bounds the excess of the objective over its minimum, which is no more than what
    staying put costs: F(mu_+) + W2^2/(2 tau) <= F(mu) + bias, the distance computed afresh.
    """

    def price(after: Any, current: Measure) -> float:
        return geometry.penalty(after.measure, current, tau) - float(after.bias)

    statement = "F(mu_+) + W2^2/(2 tau) <= F(mu) + bias: entropic steps"
    call = {"energy": energy, "geometry": geometry, "tau": tau, "solver": solver}
    return _along(measure, call, price, steps, take, statement, tol)


def _along(
    current: Measure,
    call: dict[str, Any],
    price: Callable[[Any, Measure], float],
    steps: int,
    take: Stepper,
    statement: str,
    tol: float,
) -> Identity:
    """Take steps and compare both sides of the inequality in each."""
    energy = call["energy"]
    lefts, rights = [], []
    for _ in range(steps):
        after = take(current, **call)
        lefts.append(energy.value(after.measure) + price(after, current))
        rights.append(energy.value(current))
        current = after.measure
    excess = [(a - b) / max(1.0, abs(b)) for a, b in zip(lefts, rights, strict=True)]
    return Identity("dissipation", statement, lefts[0], rights[0], max_of([0.0, *excess]), tol)
