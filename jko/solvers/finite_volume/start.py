"""Where Newton's method starts: the step on blocks of cells, when mass moves by many cells."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from jko.forms.form import WeightForm
from jko.forms.separable import Separable
from jko.measures.grid import Grid
from jko.numerics.multigrid import joined
from jko.solvers.finite_volume.newton import Newton
from jko.solvers.finite_volume.scheme import CellScheme, displacement
from jko.status import Breakdown
from jko.validation import Array

#: The step is solved on blocks first when it moves mass by more than this many cells.
FAR = 2.0
#: No blocks of fewer cells than this along an axis; accuracy and iterations of their step.
LEAST = 4
LOOSE = 1e-3
PATIENCE = 40
#: Shares of the step that lead to it where Newton's method fails; not under fewer iterations.
RUNGS = (1e-3, 1e-2, 0.05, 0.2, 0.5, 1.0)
LADDER = 20


class CellSolution(NamedTuple):
    """Masses (n,), pressures of full cells, cost, and whether the residual is at its smallest."""

    masses: Array
    pressure: Array | None
    iterations: int
    linear: int
    solved: bool


def solution(scheme: CellScheme, previous: Array, step: float, limit: int) -> CellSolution:
    """The step by Newton's method; from the solutions of shorter steps where that fails."""
    newton = Newton(scheme, previous, step)
    try:
        x, count, solved = newton.run(newton.unknown(*start(scheme, previous, step)), limit)
        if solved or limit < LADDER:
            return CellSolution(*newton.state(x), count, newton.linear, solved)
    except Breakdown:
        if limit < LADDER:
            raise
    return _climbed(scheme, previous, step, limit)


def _climbed(scheme: CellScheme, previous: Array, step: float, limit: int) -> CellSolution:
    """Newton's method from the solutions of shorter steps from the same masses."""
    w, pressure, count, linear = previous, None, 0, 0
    for rung in RUNGS:
        newton = Newton(scheme, previous, rung * step)
        x, more, solved = newton.run(newton.unknown(w, pressure), limit)
        (w, pressure), count, linear = newton.state(x), count + more, linear + newton.linear
    return CellSolution(w, pressure, count, linear, solved)


def start(scheme: CellScheme, previous: Array, step: float) -> tuple[Array, Array | None]:
    """Masses (n,) and pressures to start from: the old ones, or those of the step on blocks."""
    nonlinear = any(p != 1 for p in scheme.powers) or scheme.bounded is not None
    if not (nonlinear and _axes(scheme.grid)) or displacement(scheme, previous, step) <= FAR:
        return previous, None
    blocks = _on_blocks(scheme, previous)
    mass = _sums(previous, scheme.grid)
    newton = Newton(blocks, mass, step)
    try:
        x, _, _ = newton.run(newton.unknown(*start(blocks, mass, step)), PATIENCE, LOOSE)
    except Breakdown:
        return previous, None
    w, pressure = newton.state(x)
    if pressure is not None:
        count = _sums(scheme.opened.astype(float), scheme.grid)
        pressure = _shared_out(pressure * count, scheme)
    return _shared_out(w, scheme), pressure


def _axes(grid: Grid) -> tuple[int, ...]:
    """Axes along which cells join in pairs; the last block of an odd axis has a single cell."""
    return tuple(k for k, s in enumerate(grid.shape) if s >= 2 * LEAST)


def _sums(values: Array, grid: Grid) -> Array:
    """Sums over blocks, flat."""
    return joined(values.reshape(grid.shape), _axes(grid)).ravel()


def _on_blocks(scheme: CellScheme, previous: Array) -> CellScheme:
    """The scheme on blocks: average potentials of open cells, kernels frozen at the old masses.

    On a block of k cells c sum psi_p(w/k) is c k^{1-p} psi_p(w), and for p = 1 that less w log k.
    """
    grid, h = scheme.grid, scheme.form.separable
    opened = scheme.opened.astype(float)
    count = _sums(opened, grid)

    def mean(v: Array) -> Array:
        return _sums(np.where(scheme.opened, v, 0.0), grid) / np.maximum(count, 1.0)

    linear = mean(h.linear + scheme.form.quadratic_gradient(previous))
    cells = np.maximum(count, 1.0)
    if 1.0 in h.powers:
        linear = linear - mean(h.powers[1.0]) * np.log(cells)
    powers = {p: mean(c) * cells ** (1 - p) for p, c in h.powers.items()}
    ceiling = _sums(h.ceiling, grid)
    return CellScheme(WeightForm(Separable(linear, powers, ceiling)), _coarse(grid), scheme.upwind)


def _coarse(grid: Grid) -> Grid:
    shape = [-(-s // 2) if k in _axes(grid) else s for k, s in enumerate(grid.shape)]
    doubled = np.where(np.isin(np.arange(grid.dim), _axes(grid)), 2.0, 1.0)
    upper = grid.lower + grid.spacing * doubled * shape
    return Grid(grid.lower, upper, shape, periodic=grid.periodic)


def _shared_out(mass: Array, scheme: CellScheme) -> Array:
    """Masses of blocks as masses of their open cells (n,), interpolated linearly."""
    grid = scheme.grid
    field = mass / np.maximum(_sums(scheme.opened.astype(float), grid), 1.0)
    field = field.reshape(_coarse(grid).shape)
    for k in _axes(grid):
        around = np.moveaxis(field, k, 0)
        mode: Literal["wrap", "edge"] = "wrap" if grid.periodic[k] else "edge"
        padded = np.pad(around, [(1, 1)] + [(0, 0)] * (grid.dim - 1), mode=mode)
        halves = [0.75 * around + 0.25 * padded[:-2], 0.75 * around + 0.25 * padded[2:]]
        fine = np.stack(halves, axis=1).reshape(-1, *around.shape[1:])
        field = np.moveaxis(fine[: grid.shape[k]], 0, k)
    return np.where(scheme.opened, field.ravel(), 0.0)
