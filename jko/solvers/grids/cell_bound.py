r"""Bounds of an unregularised transport step on a grid, from any potentials.

Transport between cell centres pins mass to the cells. So the cells of the new measure w take their
mass from places anywhere, and what a place gives is shared linearly between the neighbouring cells
of the previous measure m' (`jko.numerics.c_transform`). With T the least cost of such a plan over
2 step, and any potential phi on the cells of m' with its transform psi = phi^c,

    F(w) + T(w, m') - min (F + T)  <=  [F(w) + F*(-psi) + <psi, w>]
                                     + [cost of a plan - <phi, m'> - <psi, w>],

formula B3: F* on measures of one mass, quadratic parts of F replaced by their tangent at w. The
plan is that of the potential, mended (`jko.solvers.grids.coupling`).

Potentials are tried in turn, each as long as the ones before leave much to gain: a given one, the
one that answers the energy, psi = -2 tau F'(w), and a mixture of the two, which of two gaps a and
b, if quadratic, leaves a b / (a + b).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from jko.numerics.c_transform import c_transform
from jko.numerics.elementary import EPS
from jko.prox.duality.fenchel import fenchel_gap
from jko.solvers.grids.coupling import PLAN_SHARE, couple
from jko.solvers.grids.levels import (
    Level,
    Problem,
    coarsened,
    gathered,
    grid_of,
    part_counts,
    prolonged,
    refined,
    spread,
)
from jko.solvers.grids.resolution import LIGHT, blocks
from jko.validation import Array

#: A bound below this share of the decrease is good enough: no other potential is tried.
ENOUGH = 2e-3
#: An error of first order in h, seen from h to h/2, is half of what is left: a fourth in objective.
FROM_HALF = 4.0


@dataclass(frozen=True, eq=False)
class Judged:
    """What potentials say about weights.

    Attributes
    ----------
    gap : float
        Bound of the excess of F + T; infinite where the potentials bound nothing.
    cost : float
        Cost of a plan between the two measures, over 2 step.
    slack : float
        How much of the cost is the price of sharing places: it costs so much more between the
        cells as atoms.
    phi, psi : (n,) arrays
        Potentials of the previous measure and of the weights, over 2 step.
    """

    gap: float
    cost: float
    slack: float
    phi: Array
    psi: Array


def energy_gap(problem: Problem, w: Array, psi: Array) -> float:
    """F(w) + F*(-psi) + <psi, w>, the part of formula B3 that no plan enters."""
    form = problem.form
    rest, _ = form.linearised(w) if form.quadratics else (form.separable, 0.0)
    with np.errstate(all="ignore"):
        return max(fenchel_gap(rest, w, -psi)[0], 0.0)


def fenchel_bound(
    problem: Problem, w: Array, phi: Array, psi: Array, energy: float, plan: tuple[float, float]
) -> Judged:
    """The bound of formula B3 from feasible potentials, their gap of the energy, and any plan.

    `plan` is its cost, and its price of sharing places.
    """
    cost, slack = plan
    m = problem.discrete.weights
    charged = m > 0
    given, taken = phi[charged] * m[charged], psi * w
    gap = energy + max(cost - float(given.sum()) - float(taken.sum()), 0.0)
    gap += 8 * EPS * (cost + float(np.abs(given).sum()) + float(np.abs(taken).sum()))
    return Judged(gap if np.isfinite(gap) else np.inf, cost, slack, phi, psi)


class CellTransport:
    """The unregularised step on the cells of a grid, periodic or not.

    Parameters
    ----------
    problem : Problem
        On a GridDensity without obstacles.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem, self.grid = problem, grid_of(problem)
        self.transforms = 0

    @cached_property
    def scales(self) -> tuple[float, ...]:
        """h^2 / (2 step) of every axis."""
        return tuple(float(s) ** 2 / (2 * self.problem.step) for s in self.grid.spacing)

    @property
    def span(self) -> float:
        """The largest cost of transport between two cells."""
        lengths = np.asarray(self.grid.shape)
        return float((np.asarray(self.scales) * lengths**2).sum())

    def transform(self, g: Array) -> Array:
        """g^c (n,)."""
        self.transforms += 1
        shaped = g.reshape(self.grid.shape)
        return c_transform(shaped, self.scales, periodic=self.grid.periodic).values.ravel()

    def judge(self, w: Array, phi: Array, enough: float = 0.0) -> Judged:
        """The bound of weights (n,) by a potential (n,) of the previous measure, over 2 step.

        The plan is mended as well as it takes for a gap of `enough`.
        """
        self.transforms += 1
        shape, m = self.grid.shape, self.problem.discrete.weights
        found = c_transform(phi.reshape(shape), self.scales, periodic=self.grid.periodic)
        psi = found.values.ravel()
        energy = energy_gap(self.problem, w, psi)
        room = PLAN_SHARE * max(enough, energy if np.isfinite(energy) else 0.0)
        ends = w.reshape(shape), m.reshape(shape)
        plan = couple(found.plan, *ends, phi.reshape(shape), room if enough > 0 else 0.0)
        return fenchel_bound(self.problem, w, phi, psi, energy, (plan.cost, plan.spread))


class UnregularisedTransport(Protocol):
    """Unregularised transport of a problem."""

    problem: Problem
    transforms: int

    @property
    def span(self) -> float:
        """The largest cost of transport."""

    def transform(self, g: Array) -> Array:
        """g^c (n,)."""

    def judge(self, w: Array, phi: Array, enough: float = 0.0) -> Judged:
        """The bound of weights by a potential of the previous measure; no better than `enough`."""


def sharpest(transport: UnregularisedTransport, w: Array, phi: Array, enough: float) -> Judged:
    """The least bound of potentials, which are tried until one is small enough."""
    best: Judged | None = None
    for judged in _judgements(transport, w, phi, enough):
        cost = judged.cost if best is None else min(best.cost, judged.cost)
        if best is None or judged.gap < best.gap:
            best = judged
        best = Judged(best.gap - (best.cost - cost), cost, best.slack, best.phi, best.psi)
        if best.gap <= enough:
            break
    assert best is not None
    return best


def _judgements(
    transport: UnregularisedTransport, w: Array, phi: Array, enough: float
) -> Iterator[Judged]:
    problem = transport.problem
    m = problem.discrete.weights
    first = transport.judge(w, lowered(phi, m, transport.span), enough)
    yield first
    with np.errstate(all="ignore"):
        answer = -problem.form.gradient(w)
    known = np.isfinite(answer) & (w > LIGHT * w.max())
    shift = float(w[known] @ (answer - first.psi)[known]) / float(w[known].sum())
    other = transport.transform(np.where(known, answer - shift, first.psi))
    second = transport.judge(w, lowered(other, m, transport.span), enough)
    yield second
    if np.isfinite(first.gap + second.gap) and first.gap + second.gap > 0:
        share = first.gap / (first.gap + second.gap)
        mixed = first.phi + share * (_centred(other, m) - _centred(phi, m))
        yield transport.judge(w, lowered(mixed, m, transport.span), enough)


def lowered(phi: Array, m: Array, span: float) -> Array:
    """A potential with mean 0 under m, and too low for any plan where m is empty."""
    charged = m > 0
    phi = _centred(phi, m)
    low, high = float(phi[charged].min()), float(phi[charged].max())
    return np.where(charged, phi, low - 2 * (high - low + span))


def _centred(phi: Array, m: Array) -> Array:
    charged = m > 0
    return np.asarray(phi - float(phi[charged] @ m[charged]) / float(m.sum()))


def grid_error(
    transport: CellTransport, w: Array, phi: Array, gap: float, enough: float
) -> tuple[float, float]:
    """What the grid adds to the excess, an estimate; and its c-transforms, in those of the grid.

    What a density that is constant on cells loses to smooth ones, and how the bound changes with
    the cells; that is looked at no closer than the former deserves. On a line they are halved, both
    measures spread over the halves, and the bound looked at again; in several dimensions, where
    halves cost too much, cells are joined instead.
    """
    problem, grid = transport.problem, transport.grid
    coarse = coarsened(problem) if sum(n > 1 for n in grid.shape) > 1 else None
    other: Level
    if coarse is None:
        other, factor = refined(problem, 2), FROM_HALF
        moved = spread(w, problem.form.separable.ceiling, grid.shape, part_counts(grid, 2))
        phi = prolonged(phi, grid, grid_of(other), order=3)
    else:
        other, factor = coarse, 1.0
        parts = [a // b for a, b in zip(grid.shape, coarse.discrete.grid.shape, strict=True)]
        moved = gathered(w, grid.shape, parts)
        phi = gathered(phi, grid.shape, parts) / float(np.prod(parts))
    seen = CellTransport(other)
    steps = blocks(problem, w)
    found = sharpest(seen, moved, phi, max(enough, gap + steps))
    share = other.discrete.n / problem.discrete.n
    return steps + factor * max(found.gap - gap, 0.0), seen.transforms * share
