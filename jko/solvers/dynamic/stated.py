r"""Steps as dynamic transport: what `jko.solvers.Dynamic` minimises, and its certificate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from jko.forms.separable import Separable
from jko.geometries.unbalanced import WassersteinFisherRao
from jko.measures.base import Measure
from jko.measures.grid import Grid, GridDensity
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Certificate, Claim, Neighbour, of_kind
from jko.solvers.dynamic.cells import Cells
from jko.solvers.dynamic.lower import lower_bound
from jko.solvers.dynamic.problem import DynamicProblem, Metric, in_units
from jko.solvers.dynamic.run import Solution
from jko.solvers.dynamic.upper import action_of, best_fluxes
from jko.validation import Array, Mask


def stated_problem(
    grid: Grid,
    opened: Mask,
    metric: Metric,
    start: Array,
    end: Array | None,
    *,
    slices: int,
    duration: float,
    running: Separable | None = None,
    terminal: Separable | None = None,
) -> DynamicProblem:
    """The discrete problem of cell masses (n,), in densities of mean about 1."""
    cells = Cells(grid, opened.reshape(grid.shape))
    mass = float(start.sum()) if end is None else max(float(start.sum()), float(end.sum()))
    unit = mass / float(opened.sum())

    def density(w: Array) -> Array:
        return (w / unit).reshape(grid.shape)

    first = density(start)
    last = None if end is None else density(end)
    if last is not None and metric.beta == 0:
        last = last * (first.sum() / last.sum())  # equal to the last digit
    costs = [None if h is None else in_units(h, unit) for h in (running, terminal)]
    return DynamicProblem(cells, metric, slices, duration, unit, first, last, *costs)


@dataclass(frozen=True, eq=False)
class DynamicStep(Neighbour):
    r"""F(w) + D_N^2(w, m')/(2 step), D_N^2 the least action over `slices` intervals.

    With one interval D_1 is a weighted dual Sobolev norm, mobility between the two measures.
    """

    claim: ClassVar[Claim] = Claim.REGULARISED

    problem: ProxProblem
    slices: int

    @cached_property
    def discrete(self) -> DynamicProblem:
        """The problem in the splitting's units."""
        problem, mu = self.problem, self.problem.discrete
        assert isinstance(mu, GridDensity)
        geometry, h = problem.geometry, problem.form.separable
        metric = Metric()
        if isinstance(geometry, WassersteinFisherRao):
            metric = Metric(geometry.alpha, geometry.beta)
        opened = h.ceiling > 0
        return stated_problem(
            mu.grid, opened | (mu.weights > 0), metric, mu.weights, None,
            slices=self.slices, duration=problem.step, terminal=h,
        )  # fmt: skip

    def objective(self, nu: Measure) -> float:
        """The objective of a measure; with several slices of the straight mixture towards it."""
        discrete = self.discrete
        end = (of_kind(nu, GridDensity).weights / discrete.unit).reshape(discrete.cells.shape)
        t = (np.arange(self.slices + 1) / self.slices).reshape(-1, *(1,) * discrete.cells.dim)
        return self._value((1 - t) * discrete.start + t * end)

    def _value(self, rho: Array) -> float:
        discrete = self.discrete
        r, change = 0.5 * (rho[1:] + rho[:-1]), np.diff(rho, axis=0) / discrete.tau
        flux, source = best_fluxes(discrete, r, change)
        action = action_of(discrete, r, flux, source)
        return float(discrete.unit * (action + discrete.potential_cost(rho[1:])))

    def lower(self, phi: Array, share: Sequence[Array]) -> float:
        """The lower bound of potentials."""
        return self.discrete.unit * lower_bound(self.discrete, phi, share)

    def certificate(self, answer: Answer) -> Certificate:
        """objective - lower bound; the residual is that of the mass."""
        nu = answer.judged
        objective = self.objective(nu) if answer.objective is None else answer.objective
        assert isinstance(answer.dual, dict)
        lower = self.lower(answer.dual["phi"], answer.dual["share"])
        return Certificate(float(objective - lower), None)


def physical(solution: Solution) -> Array:
    """Cell masses (n,) at the end of the best path."""
    assert solution.best is not None
    return np.asarray(solution.problem.unit * solution.best.rho[-1].ravel())
