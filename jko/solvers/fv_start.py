"""Where Newton's method starts: the step on blocks of cells, when mass moves by many cells."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jko.energies.form import WeightForm
from jko.energies.separable import Separable
from jko.measures.grid import Grid
from jko.prox.result import Breakdown
from jko.solvers.fv_length import displacement
from jko.solvers.fv_newton import Newton
from jko.solvers.fv_scheme import Scheme
from jko.solvers.multigrid import joined, spread
from jko.validation import Array

#: The step is solved on blocks first when it moves mass by more than this many cells.
FAR = 2.0
#: No blocks of fewer cells than this along an axis; accuracy and iterations of their step.
LEAST, LOOSE, PATIENCE = 4, 1e-3, 40
#: Shares of the step that lead to it where Newton's method fails; not under fewer iterations.
RUNGS, LADDER = (1e-3, 1e-2, 0.05, 0.2, 0.5, 1.0), 20


class Found(NamedTuple):
    """Masses (n,), what they cost, and whether their residual is as small as it gets."""

    masses: Array
    iterations: int
    linear: int
    solved: bool


def solution(scheme: Scheme, previous: Array, step: float, limit: int) -> Found:
    """The step by Newton's method; from the solutions of shorter steps where that fails."""
    newton = Newton(scheme, previous, step)
    try:
        w, count, solved = newton.run(start(scheme, previous, step), limit)
        if solved or limit < LADDER:
            return Found(w, count, newton.linear, solved)
    except Breakdown:
        if limit < LADDER:
            raise
    return _climbed(scheme, previous, step, limit)


def _climbed(scheme: Scheme, previous: Array, step: float, limit: int) -> Found:
    """Newton's method from the solutions of shorter steps from the same masses."""
    w, count, linear = previous, 0, 0
    for rung in RUNGS:
        newton = Newton(scheme, previous, rung * step)
        w, more, solved = newton.run(w, limit)
        count, linear = count + more, linear + newton.linear
    return Found(w, count, linear, solved)


def start(scheme: Scheme, previous: Array, step: float) -> Array:
    """Masses (n,) to start from: the previous ones, or those of the step on blocks of 2^d cells."""
    grid = scheme.grid
    even = all(s == 1 or (s % 2 == 0 and s >= 2 * LEAST) for s in grid.shape)
    nonlinear = any(p != 1 for p in scheme.powers)
    if not (even and nonlinear) or displacement(scheme, previous, step) <= FAR:
        return previous
    blocks = _on_blocks(scheme, previous)
    mass = _sums(previous, grid)
    try:
        first = start(blocks, mass, step)
        found, _, _ = Newton(blocks, mass, step).run(first, PATIENCE, LOOSE)
    except Breakdown:
        return previous
    return _shared_out(found, scheme)


def _axes(grid: Grid) -> tuple[int, ...]:
    return tuple(k for k, s in enumerate(grid.shape) if s > 1)


def _sums(values: Array, grid: Grid) -> Array:
    """Sums over blocks, flat."""
    return joined(values.reshape(grid.shape), _axes(grid)).ravel()


def _on_blocks(scheme: Scheme, previous: Array) -> Scheme:
    """The scheme on blocks: average potentials of open cells, kernels frozen at the old masses.

    On a block of k cells c sum psi_p(w/k) is c k^{1-p} psi_p(w), and for p = 1 that less w log k.
    """
    grid, h = scheme.grid, scheme.form.separable
    shape = tuple(max(1, s // 2) for s in grid.shape)
    opened = scheme.opened.astype(float)
    count = _sums(opened, grid)
    mean = lambda v: _sums(np.where(scheme.opened, v, 0.0), grid) / np.maximum(count, 1.0)
    linear = mean(h.linear + scheme.form.quadratic_gradient(previous))
    cells = np.maximum(count, 1.0)
    if 1.0 in h.powers:
        linear = linear - mean(h.powers[1.0]) * np.log(cells)
    powers = {p: mean(c) * cells ** (1 - p) for p, c in h.powers.items()}
    ceiling = np.where(count > 0, np.inf, 0.0)
    coarse = Grid(grid.lower, grid.upper, shape, periodic=grid.periodic)
    return Scheme(WeightForm(Separable(linear, powers, ceiling)), coarse, scheme.upwind)


def _shared_out(mass: Array, scheme: Scheme) -> Array:
    """Masses of blocks shared among their open cells (n,)."""
    grid, axes = scheme.grid, _axes(scheme.grid)
    cells = np.zeros(grid.shape)
    spread(cells, mass / np.maximum(_sums(scheme.opened.astype(float), grid), 1.0), axes)
    return np.where(scheme.opened, cells.ravel(), 0.0)
