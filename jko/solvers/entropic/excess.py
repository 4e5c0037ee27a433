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
from dataclasses import dataclass

import numpy as np

from jko.measures.grid import GridDensity
from jko.solvers.entropic.gibbs import DenseGibbs
from jko.solvers.entropic.stated import EntropicPlan, EntropicStep
from jko.solvers.grids.cell_bound import (
    ENOUGH,
    CellTransport,
    Judged,
    energy_gap,
    fenchel_bound,
    grid_error,
    sharpest,
)
from jko.validation import Array

#: Pairs of charged atoms up to which the exact transport between them is computed (.1 s).
EXACT_PAIRS = 250_000

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
    w, mu = stated.weights(plan), stated.previous
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


def sharp_sqdistance(found: Excess, estimate: float) -> float:
    """The squared distance of the returned measure: the estimate, within what plans allow."""
    return float(np.clip(estimate, max(found.cost - found.slack, 0.0), found.cost))
