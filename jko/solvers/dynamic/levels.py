"""The same problem on half as many cells and slices, and states carried between the two."""

from __future__ import annotations

import numpy as np

from jko.forms.separable import Separable
from jko.measures.grid import Grid
from jko.solvers.dynamic.cells import Cells
from jko.solvers.dynamic.problem import DynamicProblem
from jko.solvers.dynamic.splitting import State
from jko.validation import Array, Mask

#: Axes of fewer cells, and spans of fewer slices, are not halved.
SHORTEST = 16
FEWEST = 8


def coarser(problem: DynamicProblem) -> DynamicProblem | None:
    """Half the cells along every long axis and half the slices; None where that breaks it."""
    grid, cells = problem.cells.grid, problem.cells
    shape = tuple(-(-n // 2) if n >= SHORTEST else n for n in grid.shape)
    if shape == grid.shape:
        return None
    share = _averaged(cells.opened.astype(float), shape)
    opened = share >= 0.5
    if not opened.any():
        return None
    coarse = Grid(grid.lower, grid.upper, shape, periodic=grid.periodic, mask=opened)
    start, end = _moved(problem, problem.start, opened), None
    if problem.end is not None:
        end = _moved(problem, problem.end, opened)
    if problem.balanced:
        charged = start.ravel() > 0 if end is None else (start + end).ravel() > 0
        regions = np.unique(coarse.regions[charged])
        if regions.size != 1:
            return None
        opened = opened & (coarse.regions.reshape(shape) == regions[0])
    slices = -(-problem.slices // 2) if problem.slices >= FEWEST else problem.slices
    return DynamicProblem(
        Cells(coarse, opened),
        problem.metric,
        slices,
        problem.duration,
        problem.unit * grid.size / coarse.size,
        start,
        end,
        _joined(problem.running, grid.shape, shape),
        _joined(problem.terminal, grid.shape, shape),
    )


def carried(coarse: DynamicProblem, state: State, fine: DynamicProblem) -> State:
    """A state of the coarse problem on the fine one, by linear interpolation."""
    slices = _linear(coarse.slices, fine.slices, False)
    nodes = _between(coarse.slices + 1, fine.slices + 1)
    full = in_space(coarse, _along(nodes, coarse.full(state.e), 0), fine)
    return State(
        in_space(coarse, _along(slices, state.r, 0), fine),
        in_space(coarse, _along(slices, state.y, 1), fine),
        full[1 : 1 + fine.unknown],
    )


def in_space(coarse: DynamicProblem, field: Array, fine: DynamicProblem) -> Array:
    """A field (.., *shape) interpolated from open cells to open cells, whose neighbours may be
    closed: mass is dense along walls.
    """
    known = _interpolated(coarse, coarse.cells.opened.astype(float), fine)
    out = _interpolated(coarse, field * coarse.cells.opened, fine)
    return out * (fine.cells.opened / np.where(known > 0, known, 1.0))


def _interpolated(coarse: DynamicProblem, x: Array, fine: DynamicProblem) -> Array:
    dim, wrap = fine.cells.dim, fine.cells.periodic
    for a, (n, m) in enumerate(zip(coarse.cells.shape, fine.cells.shape, strict=True)):
        x = _along(_linear(n, m, wrap[a]), x, x.ndim - dim + a)
    return x


def _along(matrix: Array, x: Array, axis: int) -> Array:
    return np.moveaxis(np.tensordot(matrix, x, axes=(1, axis)), 0, axis)


def _linear(n: int, m: int, wrap: bool) -> Array:
    """Values (n,) at cell centres, interpolated to m centres: a matrix (m, n)."""
    x = (np.arange(m) + 0.5) / m * n - 0.5
    low = np.floor(x).astype(int)
    share, out = x - low, np.zeros((m, n))
    rows = np.arange(m)
    one, two = low % n, (low + 1) % n
    if not wrap:
        one, two = np.clip(low, 0, n - 1), np.clip(low + 1, 0, n - 1)
    np.add.at(out, (rows, one), 1 - share)
    np.add.at(out, (rows, two), share)
    return out


def _between(n: int, m: int) -> Array:
    """Values at n times from start to end, interpolated to m times: a matrix (m, n)."""
    x = np.linspace(0, n - 1, m)
    low = np.minimum(x.astype(int), max(n - 2, 0))
    out = np.zeros((m, n))
    out[np.arange(m), low] = 1 - (x - low)
    out[np.arange(m), np.minimum(low + 1, n - 1)] += x - low
    return out


def _overlap(n: int, m: int) -> Array:
    """Means over m <= n cells of values on n cells: a matrix (m, n) of shares."""
    fine, coarse = np.arange(n + 1) / n, np.arange(m + 1) / m
    common = np.minimum(coarse[1:, None], fine[1:]) - np.maximum(coarse[:-1, None], fine[:-1])
    return np.asarray(np.maximum(common, 0.0) * m)


def _averaged(field: Array, shape: tuple[int, ...]) -> Array:
    for axis, (n, m) in enumerate(zip(field.shape, shape, strict=True)):
        field = _along(_overlap(n, m), field, axis)
    return field


def _moved(problem: DynamicProblem, density: Array, opened: Mask) -> Array:
    """Means of a density, what closed cells lose given back in proportion."""
    out = _averaged(density, opened.shape) * opened
    wanted = float(density.mean()) * out.size
    total = float(out.sum())
    return out * (wanted / total) if total > 0 else opened * (wanted / opened.sum())


def _joined(
    h: Separable | None, before: tuple[int, ...], shape: tuple[int, ...]
) -> Separable | None:
    """The mean of the cells' energies; bounds that close a cell close their share of it."""
    if h is None:
        return None

    def mean(values: Array) -> Array:
        return np.asarray(_averaged(values.reshape(before), shape).ravel())

    powers = {p: mean(c) for p, c in h.powers.items()}
    ratio = float(np.prod(shape)) / float(np.prod(before))
    upper = None
    if h.upper is not None:
        finite = np.isfinite(h.upper)
        upper = mean(np.where(finite, h.upper, 0.0))
        upper = np.where(mean(finite.astype(float)) > 1 - 1e-9, upper, np.inf)
    return Separable(mean(h.linear), powers, upper, h.constant * ratio)
