r"""What the cells of a grid add to a step with sources, an estimate.

Between the centres of cells as atoms mass that should go less than a cell is locked, and a bound
of the regularisation alone does not see it. So the step is taken again on cells half as wide
(on large grids, or where that step does not converge, twice as wide, which says more than there
is), at their own regularisation: by how much the objective of the measure found is above that of
the finer step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from jko.energies.base import FormEnergy
from jko.forms.form import WeightForm
from jko.geometries.unbalanced import WassersteinFisherRao
from jko.measures.base import Discrete
from jko.measures.grid import GridDensity
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Controls
from jko.solvers.entropic.excess import NONE
from jko.solvers.grids.levels import (
    Level,
    coarsened,
    count_parts,
    gathered,
    grid_of,
    part_counts,
    refined,
    spread,
)
from jko.solvers.grids.resolution import EDGES, blocks, diffusivity, squared_drift, squared_widths
from jko.solvers.unbalanced.bias import ROUGH as OF_A_PLAN
from jko.solvers.unbalanced.regularisation import choose_reg, unlocking
from jko.solvers.unbalanced.run import DIRECT, ScalingRun
from jko.solvers.unbalanced.stated import UnbalancedStep
from jko.validation import Array

#: Cells of the finer grid: a step on a line of so many, or 64^2, takes some .2 s.
FINE = 4096
#: Tolerance of the finer step, and of the plan of the measure found on its grid.
ROUGH = 1e-7


@dataclass(frozen=True, eq=False, repr=False)
class FormOnCells(FormEnergy):
    """An energy known by its form on one grid.

    Attributes
    ----------
    form : WeightForm
    """

    form: WeightForm

    def restrict(self, mu: Discrete) -> WeightForm:
        return self.form

    def __repr__(self) -> str:
        return "FormOnCells()"


def grid_error(problem: ProxProblem, w: Array, eps: float) -> float:
    """What the grid adds to the excess of weights (n,) found at the regularisation `eps`.

    Parameters
    ----------
    eps : float
        0 for a step between the cells as atoms.

    Returns
    -------
    float
        An estimate: the excess over the step on other cells, what constant densities cost beyond
        smooth ones, and what transport should gain where mass is locked in its cells. Infinite
        where there are no other cells to compare with.
    """
    others = (c * _excess(problem, level, at, eps) for level, at, c in _compared(problem, w))
    excess = next((found for found in others if np.isfinite(found)), np.inf)
    edges = EDGES if problem.form.separable.sharp else 1.0
    return excess + edges * blocks(problem, w) + _locked(problem, w, eps)


def on_densities(problem: ProxProblem, answer: Answer, eps: float) -> Answer:
    """An answer on a grid with its bias as a density; others as they are.

    The bound between the cells as atoms is added to what the grid adds. Where it rests on a
    regularised plan, whose price is no error, it counts up to the latter: the finer step sees
    nearly all of what the regularisation adds, too, and its figure alone was at least .68 of the
    true excess over a grid eight times finer (`benchmarks/accuracy.py`).
    """
    if not isinstance(problem.previous, GridDensity) or problem.previous.grid.mask is not None:
        return answer
    assert isinstance(answer.measure, Discrete)
    grid = grid_error(problem, answer.measure.weights, eps)
    reg = 0.0 if eps == 0 else answer.bias
    if reg is None:  # as much again where the bound was not asked for; else it proved nothing
        more = grid if answer.info.get("bias_kind") == NONE else np.inf
    elif np.isfinite(reg) and answer.info.get("bias_kind") == OF_A_PLAN:
        more = min(reg, grid)
    else:  # infinite where it was asked for and proved nothing
        more = reg
    total = grid + more
    info = {**answer.info, "bias_reg": reg, "bias_grid": grid}
    return replace(answer, bias=total if np.isfinite(total) else None, info=info)


def _compared(problem: ProxProblem, w: Array) -> Iterator[tuple[Level, Array, float]]:
    """The step on other cells, finer ones first, the weights there, and a factor of the excess.

    Axes that no coarser grid halves are taken to add what the others do.
    """
    grid, top = grid_of(problem), problem.form.separable.ceiling
    if count_parts(grid, 2) <= FINE:
        yield refined(problem, 2), spread(w, top, grid.shape, part_counts(grid, 2)), 1.0
    coarse = coarsened(problem) or coarsened(problem, fewest=1, shortest=2)
    if coarse is not None:
        parts = [a // b for a, b in zip(grid.shape, coarse.discrete.grid.shape, strict=True)]
        long = sum(m > 1 for m in grid.shape)
        yield coarse, gathered(w, grid.shape, parts), long / parts.count(2)


def _excess(problem: ProxProblem, level: Level, w: Array, eps: float) -> float:
    """How far weights are above the least regularised objective on other cells: a bound."""
    there = ProxProblem(FormOnCells(level.form), problem.geometry, level.discrete, problem.tau)
    own = choose_reg(there)
    if eps > 0 and level.discrete.n > problem.discrete.n:  # what the regularisation adds, too
        least = unlocking(problem.geometry, level.discrete.grid.spacing)
        own = min(own, max(0.25 * eps, float(least.max())))
    stated = UnbalancedStep(there, own)
    run = ScalingRun(stated, Controls(ROUGH, DIRECT // 4), bound=False)
    found = run.converge()
    if not found.converged:
        return np.inf
    best = run.plan(found.x)
    with np.errstate(over="ignore", invalid="ignore"):
        gap = stated.gap(np.exp(best.log_w), best.psi).gap
        mine = stated.value(stated.optimal_plan(w, best.psi, ROUGH))
        more = mine - stated.value(best) + (np.inf if gap is None else abs(gap))
    return max(float(more), 0.0) if np.isfinite(more) else np.inf


def _locked(problem: ProxProblem, w: Array, eps: float) -> float:
    """What transport gains to first order along axes whose cells the regularisation locks."""
    geometry, mu = problem.geometry, problem.previous
    assert isinstance(geometry, WassersteinFisherRao)
    assert isinstance(mu, GridDensity)
    axes = (np.asarray(mu.grid.shape) > 1) & (eps < unlocking(geometry, mu.grid.spacing))
    if not axes.any() or not w.any():
        return 0.0
    here = replace(problem, previous=mu.with_weights(w))
    nu = here.discrete
    assert isinstance(nu, GridDensity)
    with np.errstate(over="ignore", invalid="ignore"):
        squares = diffusivity(here) ** 2 / squared_widths(nu) + squared_drift(here)
        return 0.5 * problem.step * geometry.alpha * nu.mass * float(squares[axes].sum())
