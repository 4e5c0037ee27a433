"""The whole error of a step on cells, and which cells would bring it down to an accuracy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from jko.measures.base import Discrete
from jko.measures.grid import GridDensity
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, figure
from jko.solvers.base import other_ground
from jko.solvers.grids.cell_bound import ENOUGH, CellTransport, grid_error, sharpest
from jko.solvers.grids.resolution import diffusivity, squared_drift, squared_widths
from jko.validation import Array


def whole_error(problem: ProxProblem, answer: Answer, part: str | None = None) -> float:
    """Gap plus bias, or a part of the bias, relative to the decrease of the objective."""
    decrease = gained(problem, answer)
    return _size(answer, part) / decrease if decrease > 0 else np.inf


def _size(answer: Answer, part: str | None = None) -> float:
    """Gap plus bias, or a part of the bias."""
    if part is not None:
        return figure(answer.info, part, np.inf)
    if answer.bias is None:
        return np.inf
    gap = answer.problem.certificate(answer).gap
    return answer.bias + abs(gap if gap is not None else np.inf)


def gained(problem: ProxProblem, answer: Answer) -> float:
    """The decrease of the objective, of the stated one or without regularisation: the less."""
    assert answer.sqdistance is not None
    paid = answer.sqdistance / (2 * problem.tau)
    gain = problem.value(problem.previous) - problem.value(answer.measure) - paid
    if answer.baseline is None or answer.objective is None:
        return gain
    return min(gain, answer.baseline - answer.objective)


def expected_gain(problem: ProxProblem) -> float:
    """What a short step gains to first order: step/2 of the squared slope of the energy."""
    mu = problem.previous
    assert isinstance(mu, GridDensity)
    with np.errstate(over="ignore", invalid="ignore"):
        inner = float((diffusivity(problem) ** 2 / squared_widths(mu)).sum())
    return 0.5 * problem.step * mu.mass * (inner + float(squared_drift(problem).sum()))


def finer_cells(problem: ProxProblem, answer: Answer, asked: float, room: float = 0.5) -> str:
    """The sides of cells that would do, from an error of second order; "" where none is known.

    A share `room` of it is used. Where the step found gains nothing, what it should gain counts.
    """
    mu, error = problem.previous, _size(answer)
    gain = gained(problem, answer)
    gain = gain if gain > 0 else expected_gain(problem)
    if not isinstance(mu, GridDensity) or not 0 < error < np.inf or not 0 < gain < np.inf:
        return ""
    share = min(1.0, float(np.sqrt(room * asked * gain / error)))
    several = np.asarray(mu.grid.shape) > 1
    sides = [f"{share * side:.2g}" for side in mu.grid.spacing[several]]
    cells = sides[0] if len(set(sides)) == 1 else "(" + ", ".join(sides) + ")"
    return f"use cells of at most {cells}"


def advised(problem: ProxProblem, answer: Answer, asked: float | None, room: float = 0.5) -> Answer:
    """An answer that says, where it misses the accuracy, which cells would do."""
    if asked is None or answer.remark or not isinstance(problem.previous, GridDensity):
        return answer
    reached = whole_error(problem, answer)
    cells = finer_cells(problem, answer, asked, room)
    if reached <= asked or not cells:
        return answer
    why = f"accuracy = {asked:.3g} asked, {reached:.3g} reached: {cells}"
    return replace(answer, remark=why)


def between_centres(problem: ProxProblem, answer: Answer, slope: Array) -> Answer:
    """An exact step between the centres of cells with its bias as one of densities.

    Parameters
    ----------
    problem : ProxProblem
        Of the Wasserstein geometry.
    answer : Answer
        On the support of the previous measure, and its distance known.
    slope : (n,) array
        Of the transport term at the answer; anything where the support is closed.
    """
    mu = problem.previous
    if not isinstance(mu, GridDensity) or mu.grid.mask is not None or other_ground(problem):
        return answer
    assert isinstance(answer.measure, Discrete)
    w, transport = answer.measure.weights, CellTransport(problem)
    opened = problem.form.separable.ceiling > 0
    least = float(slope[opened].min()) - 2 * transport.span
    phi = transport.transform(np.where(opened, slope, least))
    enough = ENOUGH * abs(gained(problem, answer))
    best = sharpest(transport, w, phi, enough)
    grid, _ = grid_error(transport, w, phi, best.gap, enough)
    total = best.gap + grid
    figures = {"bias_reg": best.gap, "bias_grid": grid, "bias_kind": "bound between cells"}
    bias = total if np.isfinite(total) else None
    return replace(answer, bias=bias, info={**answer.info, **figures})
