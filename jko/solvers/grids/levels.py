r"""The same step on coarser and on finer grids.

A coarse cell holds the cells it covers at equal weights, h(W) = sum_i h_i(W/q). A cell cut into
parts holds a density that is linear along every axis as far as its neighbours allow, and its parts
the energy that belongs to their own places.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Protocol

import numpy as np

from jko.forms.form import Quadratic, WeightForm
from jko.forms.separable import Separable, joint
from jko.measures.base import Discrete, Measure
from jko.measures.grid import Grid, GridDensity
from jko.prox.stated import Answer, Scale
from jko.validation import Array, Mask

#: Cells of the coarsest grid: at least this many, and more than this along an axis that is halved.
FEWEST = 600
SHORTEST = 16
#: Relative L1 distance allowed between a returned measure and the marginal of its own potential.
CONSISTENT = 1e-9


class Problem(Protocol):
    """What a step on a fixed support reads off a ProxProblem, or off one on another grid."""

    @property
    def discrete(self) -> Discrete:
        """The previous measure."""

    @property
    def form(self) -> WeightForm:
        """The energy in the weights."""

    @property
    def step(self) -> float:
        """Step length."""

    def value(self, nu: Measure) -> float:
        """The energy of a measure."""

    def energy_size(self, nu: Measure, moved: float = 0.0) -> Scale:
        """The size of the energy's terms over a step to `nu` whose penalty is `moved`."""

    @property
    def unit(self) -> float:
        """The size of the energy's terms at the previous measure."""

    def size(self, answer: Answer) -> Scale:
        """The size of the energy's terms and of the penalty."""


@dataclass(frozen=True, eq=False)
class Level:
    """The step on another grid: what a solver reads off a problem."""

    discrete: GridDensity
    form: WeightForm
    step: float

    def value(self, nu: Measure) -> float:
        """The energy of a measure on this grid."""
        assert isinstance(nu, GridDensity)
        return self.form.value(nu.weights)

    def energy_size(self, nu: Measure, moved: float = 0.0) -> Scale:
        """The size of the energy's terms on this grid; transport keeps the mass."""
        assert isinstance(nu, GridDensity)
        before = self.form.sizes(self.discrete.weights, True)
        return Scale(*joint(self.form.sizes(nu.weights, True), before, moved))

    @property
    def unit(self) -> float:
        """The size of the energy's terms at the previous measure."""
        return self.energy_size(self.discrete).size

    def size(self, answer: Answer) -> Scale:
        """The size of the energy's terms and of the penalty."""
        moved = abs(answer.sqdistance or 0.0) / (2 * self.step)
        return self.energy_size(answer.measure, moved) + Scale(moved, moved)


def grid_of(level: Problem) -> Grid:
    """The grid that a step is stated on."""
    assert isinstance(level.discrete, GridDensity)
    return level.discrete.grid


def coarsened(level: Problem, fewest: int = FEWEST, shortest: int = SHORTEST) -> Level | None:
    """The step with every even, long axis cut into half as many cells; None if there is none.

    At least `fewest` cells are left, of axes with more than `shortest`.
    """
    mu, grid = level.discrete, grid_of(level)
    factors = [2 if m % 2 == 0 and m > shortest else 1 for m in grid.shape]
    q = int(np.prod(factors))
    if q == 1 or grid.size // q < fewest or grid.mask is not None:
        return None
    shape = [m // f for m, f in zip(grid.shape, factors, strict=True)]
    coarse = Grid(grid.lower, grid.upper, shape, periodic=grid.periodic)
    density = GridDensity(coarse, gathered(mu.weights, grid.shape, factors))
    form = WeightForm(_averaged(level, factors), _kernels(level, density))
    return Level(density, form, level.step)


def refined(level: Problem, parts: int) -> Level:
    """The step with every cell cut into `parts` along every axis."""
    mu, grid, h = level.discrete, grid_of(level), level.form.separable
    factors = part_counts(grid, parts)
    shape = [m * f for m, f in zip(grid.shape, factors, strict=True)]
    fine = Grid(grid.lower, grid.upper, shape, periodic=grid.periodic)
    weights = spread(mu.weights, h.ceiling, grid.shape, factors)
    density = GridDensity(fine, weights)
    return Level(
        density, WeightForm(_divided(h, grid.shape, factors), _kernels(level, density)), level.step
    )


def _kernels(level: Problem, density: GridDensity) -> tuple[Quadratic, ...]:
    """The quadratic terms of a step on another grid."""
    terms = level.form.quadratics
    return tuple(Quadratic(t.kernel, t.kernel.operator(density), t.scale) for t in terms)


def part_counts(grid: Grid, parts: int) -> list[int]:
    """Parts of a cell along every axis: one where the grid has a single cell."""
    return [parts if m > 1 else 1 for m in grid.shape]


def count_parts(grid: Grid, parts: int) -> int:
    """Parts of all cells together."""
    return grid.size * prod(part_counts(grid, parts))


def spread(weights: Array, ceiling: Array, shape: tuple[int, ...], factors: list[int]) -> Array:
    """Weights (n,) shared between the parts of every cell, along each axis by a limited slope.

    The slope is half the difference of the two neighbours, at most twice the smaller difference,
    none at extrema and walls, so that the parts stay between the neighbouring cells' densities.
    """
    w, top = weights.reshape(shape), ceiling.reshape(shape)
    for axis, q in enumerate(factors):
        step = np.diff(w, axis=axis)
        none = np.zeros_like(np.take(w, [0], axis))
        left, right = np.append(none, step, axis), np.append(step, none, axis)
        size = np.minimum(2 * np.minimum(abs(left), abs(right)), 0.5 * abs(left + right))
        size = np.minimum(size, 2 * np.maximum(top - w, 0.0))
        slope = np.where(left * right > 0, np.copysign(size, right), 0.0)
        pieces = [(w + o * slope) / q for o in _offsets(q)]
        w, top = _interleaved(pieces, axis), np.repeat(top / q, q, axis)
    return np.asarray(w.ravel())


def prolonged(values: Array, before: Grid, grid: Grid, order: int = 1) -> Array:
    """A number per cell, not a mass, on a finer grid: linear or cubic (order 3) between centres."""
    if grid.shape == before.shape:
        return values
    out = values.reshape(before.shape)
    for axis, (m, n) in enumerate(zip(grid.shape, before.shape, strict=True)):
        for _ in range(int(np.log2(m // n))):
            out = _doubled(out, axis, before.periodic[axis], order)
    if out.shape != grid.shape:  # other ratios than powers of 2
        from scipy.ndimage import zoom

        zooms = [m / n for m, n in zip(grid.shape, out.shape, strict=True)]
        mode = "grid-wrap" if all(before.periodic) else "nearest"
        out = zoom(out, zooms, order=order, mode=mode, grid_mode=True)
    return np.asarray(out.ravel())


#: Weights of the cells -1, 0, 1, 2 at a quarter of the way from centre 0 to centre 1.
QUARTER = {1: (0.0, 0.75, 0.25, 0.0), 3: (-7 / 128, 105 / 128, 35 / 128, -5 / 128)}


def _doubled(values: Array, axis: int, periodic: bool, order: int) -> Array:
    """Two cells for one along an axis; beyond walls by the parabola of the last three, if cubic."""
    v = np.moveaxis(values, axis, 0)
    n = len(v)
    if periodic:
        wide = v[np.arange(-2, n + 2) % n]
    else:
        wide = v[np.clip(np.arange(-2, n + 2), 0, n - 1)]
        if order == 3 and n > 2:
            for k, end in ((1, 1), (0, 1), (-2, -1), (-1, -1)):
                at = k if end == 1 else n + 4 + k
                wide[at] = 3 * wide[at + end] - 3 * wide[at + 2 * end] + wide[at + 3 * end]
    out = np.empty((2 * n, *v.shape[1:]))
    back, here, ahead, far = QUARTER[order]
    left, middle, right = wide[1 : n + 1], v, wide[3 : n + 3]
    out[0::2] = here * middle + ahead * left
    out[1::2] = here * middle + ahead * right
    if order == 3:
        out[0::2] += back * right + far * wide[:n]
        out[1::2] += back * left + far * wide[4 : n + 4]
    return np.moveaxis(out, 0, axis)


def gathered(values: Array, shape: tuple[int, ...], factors: list[int]) -> Array:
    """Sums (n,) over the cells of a grid of `shape` that a coarser cell covers."""
    out = values.reshape(shape)
    for axis, f in enumerate(factors):
        before = (slice(None),) * axis
        first, *others = (out[(*before, slice(k, None, f))] for k in range(f))
        out = sum(others, start=first)
    return np.asarray(out.ravel())


def _averaged(level: Problem, factors: list[int]) -> Separable:
    h, shape, q = level.form.separable, grid_of(level).shape, int(np.prod(factors))
    linear, powers = gathered(h.linear, shape, factors) / q, {}
    for p, c in h.powers.items():
        mean = gathered(c, shape, factors) / q
        powers[p] = mean * float(q) ** (1 - p)
        if p == 1:
            linear = linear - mean * np.log(q)
    upper = None if h.upper is None else gathered(h.upper, shape, factors)
    return Separable(linear, powers, upper)


def _divided(h: Separable, shape: tuple[int, ...], factors: list[int]) -> Separable:
    """The energy of the parts: h(w) = sum of them at equal weights where h does not vary."""
    q, open_ = int(np.prod(factors)), h.ceiling > 0
    linear, powers, constant = _interpolated(h.linear, open_, shape, factors), {}, h.constant
    for p, c in h.powers.items():
        curved = c > 0
        with np.errstate(divide="ignore"):
            log_c = _interpolated(np.where(curved, np.log(c), 0.0), curved, shape, factors)
        part = np.exp(log_c) * _repeated(curved.astype(float), shape, factors)
        powers[p] = part * float(q) ** (p - 1)
        if p == 1:
            linear = linear + part * np.log(q)
        if p == 0:
            constant -= float(c.sum()) * np.log(q)
    upper = None if h.upper is None else _repeated(h.upper, shape, factors) / q
    return Separable(linear, powers, upper, constant)


def _interpolated(values: Array, known: Mask, shape: tuple[int, ...], factors: list[int]) -> Array:
    """Linear interpolation between the centres of known cells, onwards where there is no next."""
    v, known = values.reshape(shape), known.reshape(shape)
    for axis, q in enumerate(factors):
        pair = np.take(known, range(1, v.shape[axis]), axis) & np.take(
            known, range(v.shape[axis] - 1), axis
        )
        step, none = np.where(pair, np.diff(v, axis=axis), np.nan), np.nan
        edge = np.full_like(np.take(v, [0], axis), none)
        left, right = np.append(edge, step, axis), np.append(step, edge, axis)
        ahead = np.nan_to_num(np.where(np.isnan(right), left, right))
        back = np.nan_to_num(np.where(np.isnan(left), right, left))
        v = _interleaved([v + o * (ahead if o > 0 else back) for o in _offsets(q)], axis)
        known = np.repeat(known, q, axis)
    return np.asarray(v.ravel())


def _offsets(parts: int) -> Array:
    """Centres of the parts of a cell, in units of its side."""
    return (np.arange(parts) + 0.5) / parts - 0.5


def _interleaved(pieces: list[Array], axis: int) -> Array:
    """Pieces of every cell, one after the other along an axis."""
    stacked = np.stack(pieces, axis + 1)
    shape = list(pieces[0].shape)
    shape[axis] *= len(pieces)
    return stacked.reshape(shape)


def _repeated(values: Array, shape: tuple[int, ...], factors: list[int]) -> Array:
    v = values.reshape(shape)
    for axis, q in enumerate(factors):
        v = np.repeat(v, q, axis)
    return np.asarray(v.ravel())
