r"""How far an entropic step is above the unregularised one: a bound (formula B3).

With J(w) = F(w) + T(w, m')/(2 tau), T the cost of unregularised transport, the excess of the
returned weights, J(w) - min J, is bounded from a plan and a pair of feasible potentials. Three
potentials are tried, each as long as the ones before leave much to gain:

- the entropic one, eps log(K e / K b) with e K e = m': of second order in eps for the pair (w, m'),
  so that what is left is the Fenchel gap of F. Where m' is empty it is lowered: no plan goes there,
  and its transform gains;
- the one that answers the energy, psi = -2 tau F'(w): what is left is the gap of transport;
- a mixture: of two gaps a and b, if quadratic, it leaves a b / (a + b).

On a grid T is the cost between cells that share places (`jko.solvers.grids.cell_bound`); on
scattered atoms the exact cost between them where it is affordable, else that of the entropic plan.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from jko.measures.grid import GridDensity
from jko.solvers.entropic.gibbs import DenseGibbs
from jko.solvers.entropic.stated import EntropicPlan, EntropicStep
from jko.solvers.grids.cell_bound import CellTransport, Judged, energy_gap, fenchel_bound
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
#: Pairs of charged atoms up to which the exact transport between them is computed (.1 s).
EXACT_PAIRS = 250_000
#: An error of first order in h, seen from h to h/2, is half of what is left: a fourth in objective.
FROM_HALF = 4.0

ON_CELLS = "bound of the regularisation between cells, plus an estimate of the grid"
BETWEEN_ATOMS = "bound: exact transport between the atoms"
ROUNDED = "bound: the cost of the entropic plan"
NONE = "none: the bound is switched off"


@dataclass(frozen=True, eq=False)
class Excess:
    """A bound, and what it took.

    Attributes
    ----------
    reg : float
        Bound of the excess over the unregularised step of the same discretisation.
    grid : float
        Estimate of what the grid adds; 0 on scattered atoms.
    cost : float
        sum |x - y|^2 of a plan between the returned measure and the previous one.
    slack : float
        How far this can be above the distance of the two densities: the price of sharing places.
    kind : str
    transforms : float
        c-transforms, in units of one on the stated grid.
    seconds : float
    """

    reg: float
    grid: float
    cost: float
    slack: float
    kind: str
    transforms: float
    seconds: float

    @property
    def bias(self) -> float | None:
        """Both parts; None where nothing is bounded."""
        total = self.reg + self.grid
        return total if np.isfinite(total) else None


class _Transport(Protocol):
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


class AtomTransport:
    """The unregularised step between scattered atoms.

    Parameters
    ----------
    stated : EntropicStep
        On a support with a dense kernel, or a sparse one.
    plan : Plan
        Its coupling, whose marginals are those of the returned weights and the previous measure.
    """

    def __init__(self, stated: EntropicStep, plan: EntropicPlan) -> None:
        kernel = stated.kernel
        self.problem, self.transforms = stated.problem, 0
        nu, mu = stated.measure(plan), stated.previous
        pairs = int((nu.weights > 0).sum()) * int((mu.weights > 0).sum())
        self.exact = isinstance(kernel, DenseGibbs) and (mu.dim == 1 or pairs <= EXACT_PAIRS)
        cost = stated.exact_cost(nu) if self.exact else kernel.cost(plan.log_a, plan.log_b)
        self.unit = 2 * stated.problem.step
        self.cost = cost / self.unit
        self.ways = kernel.ways(self.unit)

    @property
    def span(self) -> float:
        """The largest cost of transport between two atoms."""
        return self.ways.span

    def transform(self, g: Array) -> Array:
        """The potential of the previous measure that answers one of the new (n,)."""
        self.transforms += 1
        return self.ways.transform(g)

    def judge(self, w: Array, phi: Array, enough: float = 0.0) -> Judged:
        """The bound of weights by a potential of the previous measure."""
        self.transforms += 1
        psi = self.ways.back(phi)
        energy = energy_gap(self.problem, w, psi)
        return fenchel_bound(self.problem, w, phi, psi, energy, (self.cost, 0.0))


def excess(stated: EntropicStep, plan: EntropicPlan, scale: float) -> Excess:
    """The bound for the marginal of a plan.

    Parameters
    ----------
    stated : EntropicStep
    plan : Plan
    scale : float
        What the bound is held against, of the size of the decrease of the objective.
    """
    started = time.perf_counter()
    w, mu = stated.measure(plan).weights, stated.previous
    transport: CellTransport | AtomTransport
    if isinstance(mu, GridDensity):
        transport = CellTransport(stated.problem)
        kind = ON_CELLS
    else:
        transport = AtomTransport(stated, plan)
        kind = BETWEEN_ATOMS if transport.exact else ROUNDED
    phi = entropic_potential(stated, plan)
    enough = ENOUGH * scale
    best = sharpest(transport, w, phi, enough)
    grid, more = 0.0, 0.0
    if isinstance(transport, CellTransport):
        grid, more = grid_error(transport, w, phi, best.gap, enough)
    unit, spent = 2 * stated.problem.step, time.perf_counter() - started
    return Excess(
        best.gap,
        grid,
        unit * best.cost,
        unit * best.slack,
        kind,
        transport.transforms + more,
        spent,
    )


def entropic_potential(stated: EntropicStep, plan: EntropicPlan) -> Array:
    """eps log(K e / K b) / (2 step), smooth also where m' is empty (n,)."""
    phi = (stated.smooth_previous - stated.kernel.remembered(plan.log_b, "b")) / stated.rate
    known = np.isfinite(phi)
    return np.where(known, phi, phi[known].min(initial=0.0))


def sharpest(transport: _Transport, w: Array, phi: Array, enough: float) -> Judged:
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


def _judgements(transport: _Transport, w: Array, phi: Array, enough: float) -> Iterator[Judged]:
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


def sharp_sqdistance(found: Excess, estimate: float) -> float:
    """The squared distance of the returned measure: the estimate, within what plans allow."""
    return float(np.clip(estimate, max(found.cost - found.slack, 0.0), found.cost))
