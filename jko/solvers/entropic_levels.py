r"""Where the scaling of a step on a grid starts: coarser grids, larger regularisations.

From afar scaling creeps: it spreads errors by sqrt(eps) a sweep, and potentials that span many eps
leave nothing to extrapolate. So the half step (one potential, no drift) is solved roughly on a
coarse grid at a large eps, eps is halved (eps log b is nearly the same function), the potential is
interpolated to the next finer grid as soon as eps is a few squared cells, and so on down to the
step that was asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jko.energies.form import Quadratic, WeightForm
from jko.energies.separable import Separable
from jko.measures.base import Measure
from jko.measures.grid import Grid, GridDensity
from jko.prox.entropic import EntropicStep, Problem
from jko.prox.scaling import FLOOR, anderson, floored
from jko.solvers.entropic_maps import ScalingMap
from jko.validation import Array

#: Cells of the coarsest grid: at least this many, and more than this along an axis that is halved.
FEWEST, SHORTEST = 600, 16
#: A level is left when eps is this many squared cells; the first eps is the squared diameter of
#: the box divided by SPAN.
CELLS, SPAN = 4.0, 50.0
#: Sweeps and residual of a stage.
SWEEPS, ROUGH = 40, 1e-3


@dataclass(frozen=True, eq=False)
class Level:
    """The step on a coarser grid: what `EntropicStep` reads off a problem."""

    discrete: GridDensity
    form: WeightForm
    step: float

    def value(self, nu: Measure) -> float:
        """The energy of a measure on this grid."""
        assert isinstance(nu, GridDensity)
        return self.form.value(nu.weights)


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
        grid = _grid(levels[-1])
        for level in reversed(levels):
            log_b = _prolonged(log_b, grid, _grid(level))
            grid = _grid(level)
            last = max(self.stated.eps, CELLS * float((grid.spacing**2).max()))
            if level is levels[0]:
                last = self.stated.eps
            eps, log_b = self._anneal(level, eps, last, log_b)
        return self._stated(log_b)

    def _first(self, level: Problem) -> tuple[float, Array]:
        grid = _grid(level)
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


def _grid(level: Problem) -> Grid:
    assert isinstance(level.discrete, GridDensity)
    return level.discrete.grid


def coarsened(level: Problem) -> Level | None:
    """The step on a grid of half as many cells along every even, long axis; None if there is none.

    A coarse cell holds the cells it covers at equal weights: h(W) = sum_i h_i(W/q).
    """
    mu = level.discrete
    assert isinstance(mu, GridDensity)
    grid = mu.grid
    factors = [2 if m % 2 == 0 and m > SHORTEST else 1 for m in grid.shape]
    q = int(np.prod(factors))
    if q == 1 or grid.size // q < FEWEST or grid.mask is not None:
        return None
    shape = [m // f for m, f in zip(grid.shape, factors, strict=True)]
    coarse = Grid(grid.lower, grid.upper, shape, periodic=grid.periodic)
    density = GridDensity(coarse, _summed(mu.weights, grid.shape, factors))
    terms = tuple(
        Quadratic(t.kernel, t.kernel.operator(density), t.scale) for t in level.form.quadratics
    )
    return Level(density, WeightForm(_averaged(level, factors), terms), level.step)


def _averaged(level: Problem, factors: list[int]) -> Separable:
    h, shape, q = level.form.separable, _grid(level).shape, int(np.prod(factors))
    linear, powers = _summed(h.linear, shape, factors) / q, {}
    for p, c in h.powers.items():
        mean = _summed(c, shape, factors) / q
        powers[p] = mean * float(q) ** (1 - p)
        if p == 1:
            linear = linear - mean * np.log(q)
    upper = None if h.upper is None else _summed(h.upper, shape, factors)
    return Separable(linear, powers, upper)


def _summed(values: Array, shape: tuple[int, ...], factors: list[int]) -> Array:
    """Sums over the cells that a coarse cell covers."""
    split = [n for m, f in zip(shape, factors, strict=True) for n in (m // f, f)]
    axes = tuple(range(1, 2 * len(shape), 2))
    return np.asarray(values.reshape(split).sum(axis=axes).ravel())


def _prolonged(log_b: Array, before: Grid, grid: Grid) -> Array:
    """Linear interpolation between cell centres; b is a number per cell, not a mass."""
    if grid.shape == before.shape:
        return log_b
    from scipy.ndimage import zoom

    zooms = [m / n for m, n in zip(grid.shape, before.shape, strict=True)]
    mode = "grid-wrap" if all(before.periodic) else "nearest"
    fine = zoom(log_b.reshape(before.shape), zooms, order=1, mode=mode, grid_mode=True)
    return np.asarray(fine.ravel())
