r"""Where the scaling of a step on a grid starts: coarser grids, larger regularisations.

Far from the solution scaling converges slowly: a sweep carries information over a distance of
sqrt(eps), and acceleration has nothing to extrapolate while potentials change by many eps. So the
half step (one potential, no drift) is solved roughly on a coarse grid at a large eps, eps is halved
(eps log b is nearly the same function), the potential is interpolated to the next finer grid as
soon as eps is a few squared cells, and so on down to the step that was asked for.
"""

from __future__ import annotations

import numpy as np

from jko.solvers.entropic.maps import ScalingMap
from jko.solvers.entropic.scaling import FLOOR, anderson, floored
from jko.solvers.entropic.stated import EntropicStep
from jko.solvers.grids.levels import Problem, coarsened, grid_of, prolonged
from jko.validation import Array

#: A level is left when eps is this many squared cells; the first eps is the squared diameter of
#: the box divided by SPAN.
CELLS, SPAN = 4.0, 50.0
#: Sweeps and residual of a stage.
SWEEPS, ROUGH = 40, 1e-3


class LevelStart:
    """Potentials for a stated step on a grid, from a ladder of levels.

    Attributes
    ----------
    work : float
        Kernel applications so far, in units of one on the finest grid.
    sweeps : int
    """

    def __init__(self, stated: EntropicStep) -> None:
        self.stated = stated
        self.work, self.sweeps = 0.0, 0

    def potentials(self) -> Array:
        """The start of the scaling: log b, or (log b, log d)."""
        levels: list[Problem] = [self.stated.problem]
        while (coarser := coarsened(levels[-1])) is not None:
            levels.append(coarser)
        eps, log_b = self._first(levels[-1])
        grid = grid_of(levels[-1])
        for level in reversed(levels):
            log_b = prolonged(log_b, grid, grid_of(level))
            grid = grid_of(level)
            last = max(self.stated.eps, CELLS * float((grid.spacing**2).max()))
            if level is levels[0]:
                last = self.stated.eps
            eps, log_b = self._anneal(level, eps, last, log_b)
        return self._stated(log_b)

    def _first(self, level: Problem) -> tuple[float, Array]:
        grid = grid_of(level)
        span = float(((grid.upper - grid.lower) ** 2).sum())
        closed = level.form.separable.ceiling == 0
        return max(self.stated.eps, span / SPAN), np.where(closed, FLOOR, 0.0)

    def _anneal(self, level: Problem, eps: float, last: float, log_b: Array) -> tuple[float, Array]:
        """Half steps from eps down to `last` on one level; the stated step itself is not taken."""
        while True:
            if not (level is self.stated.problem and eps == self.stated.eps):
                log_b = self._stage(EntropicStep(level, eps, "half"), log_b)
            if eps <= last:
                return eps, log_b
            smaller = max(last, 0.5 * eps)
            log_b, eps = log_b * (eps / smaller), smaller

    def _stage(self, half: EntropicStep, log_b: Array) -> Array:
        run = anderson(ScalingMap(half), log_b, done=lambda _, r: r <= ROUGH, max_iter=SWEEPS)
        self.sweeps += run.iterations
        self.work += half.kernel.count * half.previous.n / self.stated.previous.n
        return np.where(np.isnan(run.x), 0.0, run.x)

    def _stated(self, log_b: Array) -> Array:
        """From a half step to the stated one: d^2 = w/K1, the self-potential of a smooth w."""
        if not self.stated.divergence:
            return log_b
        log_w = self.stated.plan(log_b).log_w
        return np.stack([log_b, floored(0.5 * (log_w - self.stated.log_one))])
