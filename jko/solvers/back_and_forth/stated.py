r"""The step that back-and-forth solves, without regularisation, and its certificate.

Transport between cell centres pins the mass to the cells: a density that moves by a fraction of a
cell would pay for whole cells. So the cells of one of the two measures exchange their mass with
places anywhere, and what happens at a place is shared linearly between the neighbouring cells of
the other measure, axis by axis: the cell averages of the moved density. With T the least cost of
such a plan, the stated step is

    min over w >= 0 of mass M of   F(w) + T(w, m') / (2 step).

side = "previous": the cells of w take their mass from places, whose shares add up to m'.
side = "new": the cells of m' send their mass to places, whose shares add up to w.

With cells cut into parts, w and m' above are the parts' masses: m' is spread over them
(`jko.solvers.grids.levels`), and the measure that comes back is the sum over the parts of each
cell.
A cell that a front crosses then knows better how much of it is full.

T is at most W2^2 between the cells as atoms; putting the shares at the cells themselves costs
`Carried.spread` more, which bounds how far the two problems are apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np

from jko.forms.separable import Separable
from jko.measures.base import Measure
from jko.measures.grid import GridDensity
from jko.numerics.c_transform import CTransform, c_transform
from jko.prox.duality.weights import fixed_gap, median_multiplier
from jko.prox.stated import Answer, Certificate, Claim, Neighbour, of_kind
from jko.solvers.back_and_forth.ascent import transport_cost
from jko.solvers.grids.coupling import PLAN_SHARE, couple
from jko.solvers.grids.levels import (
    CONSISTENT,
    Problem,
    coarsened,
    gathered,
    grid_of,
    part_counts,
    refined,
    spread,
)
from jko.validation import Array


@dataclass(frozen=True, eq=False)
class Bound:
    """A measure judged with potentials: objective - gap <= minimum of the stated step.

    Attributes
    ----------
    gap : float
        Infinite where the potentials bound nothing.
    residual : float
        sum |p - q| / mass, p the marginal of the potentials' plan that should be q.
    transport : float
        T of a plan with the right marginals, so that the objective is F(w) + transport/(2 step).
    spread : float
        The cost, over 2 step, of putting the shares of the plan at the cells themselves.
    """

    gap: float
    residual: float
    transport: float
    spread: float


@dataclass(frozen=True, eq=False)
class CellStep(Neighbour):
    """The stated step.

    Attributes
    ----------
    problem : Problem
    side : {"previous", "new"}
        Which measure's cells share the mass of places.
    parts : int
        Every cell is cut into so many along every axis.
    """

    claim: ClassVar[Claim] = Claim.REGULARISED

    problem: Problem
    side: str = "previous"
    parts: int = 1
    _last: list[tuple[Array, Array, Bound]] = field(default_factory=list, init=False, repr=False)

    @cached_property
    def unit(self) -> float:
        """The size of the energy's terms at the previous measure, which tolerances refer to."""
        return self.problem.energy_size(self.problem.discrete).size

    @cached_property
    def level(self) -> Problem:
        """The step on the parts."""
        return self.problem if self.parts == 1 else refined(self.problem, self.parts)

    @cached_property
    def coarser(self) -> CellStep | None:
        """The step on fewer cells, None where there is none."""
        level = coarsened(self.problem)
        return None if level is None else CellStep(level, self.side)

    @property
    def previous(self) -> GridDensity:
        """The previous measure on the parts."""
        mu = self.level.discrete
        assert isinstance(mu, GridDensity)
        return mu

    @property
    def h(self) -> Separable:
        """The energy, part by part."""
        return self.level.form.separable

    @cached_property
    def scales(self) -> tuple[float, ...]:
        """h^2 / (2 step) of every axis."""
        return tuple(float(s) ** 2 / (2 * self.problem.step) for s in self.previous.grid.spacing)

    @cached_property
    def m(self) -> Array:
        """The previous weights, of the grid's shape."""
        return self.previous.weights.reshape(self.previous.grid.shape)

    def measure(self, w: Array) -> GridDensity:
        """The measure on the cells, of exact mass, that weights of the parts add up to."""
        cells = self._gathered(w)
        return GridDensity(grid_of(self.problem), cells * (self.previous.mass / float(cells.sum())))

    def _gathered(self, w: Array) -> Array:
        """Weights of the parts added up on the cells."""
        return gathered(w, self.m.shape, part_counts(grid_of(self.problem), self.parts))

    def ends(self, w: Array) -> tuple[Array, Array]:
        """The measure whose cells have places, and the one whose cells share them."""
        return (w, self.m) if self.side == "previous" else (self.m, w)

    def potentials(self, g: Array, found: CTransform) -> tuple[Array, Array]:
        """(phi, psi) on the cells of m' and w, from potentials g of the sharing cells."""
        return (g, found.values) if self.side == "previous" else (found.values, g)

    def transform(self, g: Array) -> CTransform:
        """g^c."""
        return c_transform(g, self.scales)

    def objective(self, nu: Measure) -> float:
        """F + T / (2 step), T from below by the same ascent with the new measure held fixed.

        With parts, of the measure spread over them as m' is: an upper bound of the least.
        """
        grid, whole = grid_of(self.problem), self.problem.form.separable.ceiling
        w = spread(
            of_kind(nu, GridDensity).weights, whole, grid.shape, part_counts(grid, self.parts)
        )
        return self.level.form.value(w) + transport_cost(self, w.reshape(self.m.shape))

    def certificate(self, answer: Answer) -> Certificate:
        """Gap of a measure, relative to its objective, from any potentials `answer.dual["g"]`.

        `answer.dual["w"]` are the weights of the parts; an infinite gap for a measure they do not
        add up to, and for negative ones: a bound of wrong mass or sign means nothing.
        """
        g, w = (np.asarray(answer.potentials[key]).reshape(self.m.shape) for key in ("g", "w"))
        off = np.abs(self._gathered(w) - of_kind(answer.measure, GridDensity).weights).sum()
        mismatch = float(off) / self.previous.mass
        if not (mismatch <= CONSISTENT and w.min() >= 0):
            return Certificate(np.inf, mismatch)
        bound = self.bound(w, g)
        return Certificate(bound.gap, bound.residual)

    def bound(self, w: Array, g: Array, room: float = 0.0) -> Bound:
        r"""Judge w with any potentials g (Kantorovich and Fenchel duality):

            gap = [F(w) + F*(-psi) + <psi, w>] + [cost of a plan - <phi, m'> - <psi, w>],

        F* on measures of mass M. The plan of g has one of the two marginals;
        `jko.solvers.grids.coupling` makes it one that has both, for a price of about `room`. The
        last bound is kept: the judge asks for that of the answer again.
        """
        for last_w, last_g, known in self._last:
            if np.array_equal(last_w, w) and np.array_equal(last_g, g):
                return known
        self._last[:] = [(w.copy(), g.copy(), self._bound(w, g, room))]
        return self._last[0][2]

    def _bound(self, w: Array, g: Array, room: float) -> Bound:
        found = self.transform(g)
        phi, psi = self.potentials(g, found)
        pull, flat, mass = psi.ravel(), w.ravel(), self.previous.mass
        lam = median_multiplier(self.h, self.h.gradient(flat) + pull, flat)
        energy, _ = fixed_gap(self.h, pull, flat, mass, lam, enough=PLAN_SHARE**2 * room)
        coupled = couple(found.plan, *self.ends(w), g, room)
        slack = coupled.cost - float((phi * self.m).sum()) - float(pull @ flat)
        moved = 2 * self.problem.step * coupled.cost
        gap = energy + slack
        gap = gap if np.isfinite(gap) else np.inf
        return Bound(gap, coupled.residual, moved, coupled.spread)
