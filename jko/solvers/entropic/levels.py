r"""Where the scaling of a step on a grid starts: coarser grids, larger regularisations.

Far from the solution scaling converges slowly: a sweep carries information over a distance of
sqrt(eps), and acceleration has nothing to extrapolate while potentials change by many eps. So the
half step (one potential, no drift) is solved roughly on a coarse grid at a large eps, eps is halved
(eps log b is nearly the same function), the potential is interpolated to the next finer grid as
soon as eps is a few squared cells, and so on down to the step that was asked for. Where a coarser
grid already resolves its eps, the debiased step is solved there too, and only its last digits are
left to the grid itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jko.measures.grid import Grid
from jko.solvers.entropic.maps import ScalingMap
from jko.solvers.entropic.scaling import FINE, FLOOR, anderson, floored
from jko.solvers.entropic.stated import EntropicStep
from jko.solvers.grids.levels import Problem, coarsened, grid_of, prolonged
from jko.validation import Array

#: A level is left when eps is this many squared cells, where an entropy keeps densities smooth and
#: elsewhere. Steps in entropies took 5 to 25 % fewer products of 160^2 and 36^3 cells from .7 than
#: from 4 on, steps of boxes under w^2 up to ten times as many.
CELLS = (0.7, 4.0)
#: The first eps is the squared diameter of the box divided by SPAN.
SPAN = 50.0
#: Sweeps of a stage, and the residual of half steps.
SWEEPS = 40
ROUGH = 1e-3


@dataclass(frozen=True, eq=False)
class _Start:
    """Potentials on a grid: log b, and log d and log e where the debiased step was solved."""

    grid: Grid
    log_b: Array
    log_d: Array | None = None
    log_e: Array | None = None

    def on(self, grid: Grid) -> _Start:
        """The same on a finer grid, whose cells hold a share of the mass."""
        share = np.log(grid.size / self.grid.size)
        moved = [
            None if x is None else _smooth(x, self.grid, grid)
            for x in (self.log_b, self.log_d, self.log_e)
        ]
        assert moved[0] is not None
        own = [None if x is None else x - share for x in moved[1:]]
        return _Start(grid, moved[0], *own)


class LevelStart:
    """Potentials for a stated step on a grid, from a ladder of levels.

    Attributes
    ----------
    sweeps : int
    """

    def __init__(self, stated: EntropicStep) -> None:
        self.stated, self.sweeps = stated, 0

    def potentials(self) -> Array:
        """The start of the scaling: log b, or (log b, log d)."""
        levels: list[Problem] = [self.stated.problem]
        while (coarser := coarsened(levels[-1])) is not None:
            levels.append(coarser)
        eps, at = self._first(levels[-1])
        for level in reversed(levels):
            grid = grid_of(level)
            at = at.on(grid)
            last = max(self.stated.eps, self._cells * float((grid.spacing**2).max()))
            if level is levels[0]:
                last = self.stated.eps
            if at.log_d is None:
                eps, log_b = self._anneal(level, eps, last, at.log_b)
                at = _Start(grid, log_b)
            if level is not levels[0] and eps == self.stated.eps and self._curved:
                at = self._debiased(level, at)
        return self._stated(at)

    @property
    def _curved(self) -> bool:
        """Whether the stated step is debiased and its self-potential settles by plain sweeps."""
        return self.stated.divergence and self.stated.curved

    @property
    def _cells(self) -> float:
        """Squared cells of eps at which a level is left."""
        smooth = any(p <= 1 for p in self.stated.form.separable.powers)
        return CELLS[0] if smooth else CELLS[1]

    def _first(self, level: Problem) -> tuple[float, _Start]:
        grid = grid_of(level)
        span = float(((grid.upper - grid.lower) ** 2).sum())
        closed = level.form.separable.ceiling == 0
        start = _Start(grid, np.where(closed, FLOOR, 0.0))
        return max(self.stated.eps, span / SPAN), start

    def _anneal(self, level: Problem, eps: float, last: float, log_b: Array) -> tuple[float, Array]:
        """Half steps from eps down to `last` on one level; the stated step itself is not taken."""
        while True:
            if not (level is self.stated.problem and eps == self.stated.eps):
                half = EntropicStep(level, eps, "half", self.stated.work)
                log_b = self._stage(half, log_b, ROUGH)
            if eps <= last:
                return eps, log_b
            smaller = max(last, 0.5 * eps)
            log_b, eps = log_b * (eps / smaller), smaller

    def _debiased(self, level: Problem, at: _Start) -> _Start:
        """The stated step on a coarser grid."""
        coarse = EntropicStep(level, self.stated.eps, True, self.stated.work)
        if at.log_e is not None:
            coarse.prime(at.log_e)
        found = self._stage(coarse, _pair(coarse, at), FINE)
        return _Start(at.grid, found[0], found[1], coarse.previous_scaling)

    def _stage(self, stated: EntropicStep, start: Array, rough: float) -> Array:
        run = anderson(ScalingMap(stated), start, done=lambda _, r: r <= rough, max_iter=SWEEPS)
        self.sweeps += run.iterations
        return np.where(np.isnan(run.x), 0.0, run.x)

    def _stated(self, at: _Start) -> Array:
        if not self.stated.divergence:
            return at.log_b
        if at.log_e is not None:
            self.stated.prime(at.log_e)
        return _pair(self.stated, at)


def _pair(stated: EntropicStep, at: _Start) -> Array:
    """(log b, log d); from a half step, d^2 = w/K1: the self-potential of a smooth w."""
    log_d = at.log_d
    if log_d is None:
        log_d = 0.5 * (stated.plan(at.log_b).log_w - stated.log_one)
    return np.stack([at.log_b, floored(log_d)])


def _smooth(values: Array, before: Grid, grid: Grid) -> Array:
    """Cubic splines, linear ones where a floor stands for log 0."""
    return prolonged(values, before, grid, order=3 if values.min() > 0.5 * FLOOR else 1)
