r"""Unregularised Wasserstein steps on grids, by ascending the dual back and forth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np

from jko.geometries.base import Geometry
from jko.geometries.wasserstein import Wasserstein
from jko.measures.base import Measure
from jko.measures.grid import GridDensity, not_straight
from jko.numerics.best import best_of
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Claim, Controls, Scale
from jko.solvers.back_and_forth.climb import (
    ANY,
    FEW,
    CellClimb,
    Found,
    Starts,
    approach,
    ascend,
    finer,
    flat,
    starts,
    warmed,
)
from jko.solvers.back_and_forth.stated import CellStep
from jko.solvers.base import ProxSolver, not_on_cells
from jko.solvers.grids.levels import count_parts, grid_of
from jko.solvers.grids.resolution import EDGES, blocks, warn_if_coarse
from jko.validation import Array, deprecated, instance, one_of, positive_int

#: The ascent stops when the gap is this share of the tolerance; where the energy is flat, and the
#: measure says less about the gap, this one.
MARGIN = 0.1
FLAT_MARGIN = 0.003
#: Squared cells that a step should carry mass by (`jko.solvers.grids.resolution`).
LEAST = 0.02
#: Parts of all cells together that "auto" makes, and the most that can be asked for.
AFFORDED = 2**18
MOST = 2**26


@dataclass(frozen=True, eq=False)
class _Reached:
    """A stated step, what its ascent found, and potentials on the whole cells."""

    stated: CellStep
    found: Found
    whole: Array

    @property
    def gap(self) -> float:
        """Bound of the excess, infinite where there is none."""
        return self.found.bound.gap

    @cached_property
    def measure(self) -> GridDensity:
        """The measure on the cells."""
        return self.stated.measure(self.found.w)

    @cached_property
    def objective(self) -> float:
        """The stated objective, at the plan found."""
        moved = self.found.bound.transport / (2 * self.stated.problem.step)
        return self.stated.level.form.value(self.found.w.ravel()) + moved

    def allowed(self, tol: float) -> float:
        """The gap that the tolerance lets pass."""
        problem = self.stated.problem
        moved = self.found.bound.transport / (2 * problem.step)
        return (problem.energy_size(self.measure, moved) + Scale(moved, moved)).allowed(tol)

    def good(self, problem: ProxProblem, tol: float) -> bool:
        """Whether the tolerance lets the answer pass, and it does not raise the energy.

        Where the energy is flat the gap has to be what the ascent was asked for. Spreading a
        measure over parts costs O(h^2): a step so close to rest is better without.
        """
        if self.gap > self.allowed(FLAT_MARGIN * tol if flat(self.stated.h) else tol):
            return False
        return problem.value(self.measure) <= problem.value(problem.previous)

    @cached_property
    def staying(self) -> float:
        """The stated objective of staying put."""
        return self.stated.level.form.value(self.stated.m.ravel())


@dataclass(frozen=True)
class BackAndForth(ProxSolver):
    r"""The Wasserstein step on a grid without regularisation, by its dual (formula W8).

    It ascends the dual of F(w) + T(w, m')/(2 tau) in potentials on the cells: c-transforms axis by
    axis (`jko.numerics.c_transform`; compiled when numba is installed), steps in an H^1 metric that
    follows the density, lengths from a line search, no step sizes to set. T moves mass between the
    cells of one measure and places whose mass the other one's cells share linearly, as cell
    averages do (`jko.solvers.back_and_forth.stated`). Takes internal energies, potentials and
    bounds on
    the density.

    Parameters
    ----------
    side : {"auto", "previous", "new"}
        The measure whose cells share. "auto" begins with "new" where the energy is flat somewhere
        (potentials, bounds), else with "previous", and tries the other one when the gap is not
        below the tolerance.
    subcells : int or "auto"
        Parts of a cell along every axis. An energy of cell averages takes a cell that a front
        crosses for a thin one; with parts it knows better which share is full. "auto" takes 2, up
        to 2^18 parts. Where the step on parts misses the tolerance, or would raise the energy, the
        one on whole cells is returned; `info["subcells"]` says so.
    max_iter : int, default 200
        Ascent steps when `jko.step` is given none.
    patience : None
        Deprecated, without effect: `auto` says itself where fronts are worth a try and for how
        long (`jko.solvers.RULES`).

    Notes
    -----
    `gap` bounds the excess over the stated step, from a plan and potentials. With W2 between the
    cells as atoms the least objective is between objective - gap and objective + `bias`, a bound;
    `bias` also counts what a density that is constant on cells costs beyond smooth ones, an
    estimate (`info["bias_grid"]`).

    The ascent starts from the same step on fewer cells (`jko.solvers.back_and_forth.climb`).
    Linear shares
    blur or sharpen a density by a part of a cell a step, O(h^2): measured, on smooth densities of
    an entropy the debiased entropic step is 2 to 20 times closer to the exact step; on the porous
    medium this one is up to 3 times closer and 2 to 4 times faster, with whole cells about as
    close and 4 to 20 times faster; with a bound on the density it is mostly closer than entropic
    steps, and faster. Steps that move mass by much less than a cell are for
    `jko.solvers.FiniteVolume`. The dual has kinks: on few cells, on rough densities, and where some
    mass contracts while other mass spreads, the ascent can stop with a gap of 1e-5 to 1e-3.

    References
    ----------
    Jacobs et al. (2021); Jacobs and Léger (2020).
    """

    side: str = "auto"
    subcells: int | str = "auto"
    max_iter: int = 200
    patience: int | None = None

    geometries: ClassVar[tuple[type[Geometry], ...]] = (Wasserstein,)
    kinds: ClassVar[tuple[type[Measure], ...]] = (GridDensity,)
    claim: ClassVar[Claim] = Claim.REGULARISED
    guarantee: ClassVar[str] = (
        "global minimum of the unregularised step between cells, with its duality gap;"
        " bias is a bound of the shares and an estimate of the grid"
    )
    default_tol: ClassVar[float] = 3e-4

    def __post_init__(self) -> None:
        one_of(self.side, ("auto", "previous", "new"), "side")
        if not (isinstance(self.subcells, str) and self.subcells == "auto"):
            instance(self.subcells, (int, np.integer), "subcells", "pass a whole number or 'auto'")
            positive_int(self.subcells, "subcells")
        positive_int(self.max_iter, "max_iter")
        deprecated(self.patience is not None, "patience", "the rule of auto has a budget instead")

    def accepts(self, problem: ProxProblem) -> str | None:
        why = not_on_cells(problem) or not_straight(problem.previous)
        if why is not None:
            return why
        if problem.form.quadratics:
            return (
                "takes energies that act cell by cell (internal energies, potentials, bounds);"
                " use jko.solvers.Entropic for kernels"
            )
        grid, parts = grid_of(problem), self._parts(problem)
        if count_parts(grid, parts) > MOST:
            return (
                f"subcells = {parts} makes more than {MOST} parts of {grid.size} cells; pass less"
            )
        return None

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        fault = "shares of places between cells blur by much of the way"
        split = self._split(problem, controls)
        if split is not None and split.good(problem, controls.tol):
            warn_if_coarse(problem, LEAST, fault, "jko.solvers.FiniteVolume()")
            return self._answer(problem, split)
        whole = self._whole(problem, split, controls)
        if whole.gap <= whole.allowed(controls.tol):
            warn_if_coarse(problem, LEAST, fault, "jko.solvers.FiniteVolume()")
        return self._answer(problem, whole)

    def _split(self, problem: ProxProblem, controls: Controls) -> _Reached | None:
        """The step on parts of the cells, from the potentials of the step on the whole cells.

        Those are one more coarse level, whose answer nobody judges. None where there are no parts,
        or the ascent on the whole cells has spent what it was given.
        """
        cut, side = self._parts(problem), self._sides(problem)[0]
        if cut == 1:
            return None
        stated, cells = CellStep(problem, side, cut), CellStep(problem, side)
        tol, begin = _margin(stated) * controls.tol, starts(cells, controls.warm)
        near = approach(CellClimb(cells, begin, tol, self._limit(controls), ANY))
        given = controls.budget is not None or controls.max_iter is not None
        if given and not near.arrived:
            return None
        parts = finer(stated, cells, near, warmed(stated, controls.warm))
        found = ascend(CellClimb(stated, parts, tol, FEW, _eases(stated)))
        spent = near.iterations + found.iterations
        return _Reached(stated, replace(found, iterations=spent, exhausted=False), near.g)

    def _whole(self, problem: ProxProblem, split: _Reached | None, controls: Controls) -> _Reached:
        """The step on the cells as they are, with places on one side, then on the other."""
        limit, spent = self._limit(controls), 0
        sides = self._sides(problem)
        if controls.budget is not None:
            sides = sides[:1]

        def reached(side: str) -> _Reached:
            nonlocal spent
            stated = CellStep(problem, side)
            most = limit - spent if side == sides[-1] else max(1, limit // 2)
            begin = starts(stated, controls.warm)
            if split is not None and split.stated.side == side:
                begin = Starts([split.whole])
            tol, eases = _margin(stated) * controls.tol, _eases(stated)
            found = ascend(CellClimb(stated, begin, tol, most, eases))
            spent += found.iterations
            return _Reached(stated, found, found.last)

        best = best_of(
            map(reached, sides),
            lambda one: one.gap,
            lambda one: one.gap <= one.allowed(controls.tol) or spent >= limit,
        )
        assert best is not None
        return replace(best, found=replace(best.found, iterations=spent, exhausted=spent >= limit))

    def _limit(self, controls: Controls) -> int:
        """Ascent steps on the whole cells, all sides together."""
        limit = self.max_iter if controls.max_iter is None else controls.max_iter
        return limit if controls.budget is None else min(limit, controls.budget)

    def _parts(self, problem: ProxProblem) -> int:
        """Parts of a cell along every axis."""
        if self.subcells != "auto":
            return int(self.subcells)
        grid = grid_of(problem)
        curved = not flat(problem.form.separable)
        return 2 if curved and count_parts(grid, 2) <= AFFORDED else 1

    @staticmethod
    def _answer(problem: ProxProblem, reached: _Reached) -> Answer:
        stated, found = reached.stated, reached.found
        on_grid = EDGES * blocks(problem, reached.measure.weights)
        return Answer(
            reached.measure,
            stated,
            found.iterations,
            objective=reached.objective,
            sqdistance=found.bound.transport / problem.geometry.rate,
            energy=problem.value(reached.measure),
            bias=found.bound.spread + on_grid,
            dual={"g": found.g, "w": found.w},
            baseline=reached.staying,
            exhausted=found.exhausted,
            warm={"side": stated.side, "g": reached.whole, "split": found.last},
            info={
                "side": stated.side,
                "subcells": stated.parts,
                "bias_grid": on_grid,
                "bias_kind": "bound: the shares put at the cells, plus an estimate of the grid",
            },
        )

    def _sides(self, problem: ProxProblem) -> tuple[str, ...]:
        """Which cells share: an energy that spreads mass has smooth duals on the old side."""
        if self.side != "auto":
            return (self.side,)
        return ("new", "previous") if flat(problem.form.separable) else ("previous", "new")


def _margin(stated: CellStep) -> float:
    return FLAT_MARGIN if flat(stated.h) else MARGIN


def _eases(stated: CellStep) -> tuple[float, float]:
    """How much the gap may be above the margin where it is the price of a plan.

    Up to half of the tolerance, and in the end .8; where the energy is flat .03 and half.
    """
    if flat(stated.h):
        return 0.03 / FLAT_MARGIN, 0.5 / FLAT_MARGIN
    return 0.5 / MARGIN, 0.8 / MARGIN
