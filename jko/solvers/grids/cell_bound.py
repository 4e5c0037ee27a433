r"""Bounds of an unregularised transport step on a grid, from any potentials.

Transport between cell centres pins mass to the cells. So the cells of the new measure w take their
mass from places anywhere, and what a place gives is shared linearly between the neighbouring cells
of the previous measure m' (`jko.numerics.c_transform`). With T the least cost of such a plan over
2 step, and any potential phi on the cells of m' with its transform psi = phi^c,

    F(w) + T(w, m') - min (F + T)  <=  [F(w) + F*(-psi) + <psi, w>]
                                     + [cost of a plan - <phi, m'> - <psi, w>],

formula B3: F* on measures of one mass, quadratic parts of F replaced by their tangent at w. The
plan is that of the potential, mended (`jko.solvers.grids.coupling`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from jko.numerics.c_transform import c_transform
from jko.numerics.elementary import EPS
from jko.prox.duality.fenchel import fenchel_gap
from jko.solvers.grids.coupling import PLAN_SHARE, couple
from jko.solvers.grids.levels import Problem, grid_of
from jko.validation import Array


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
