"""What densities that are constant on cells cost beyond smooth ones: an estimate."""

from __future__ import annotations

import numpy as np

from jko.solvers.grids.levels import Problem, grid_of
from jko.validation import Array

#: Cells lighter than this share of the heaviest have no reliable first variation.
LIGHT = 1e-13
#: What the first order misses where a cell is as wide as a standard deviation: it then gave .88 to
#: .97 of the excess over quantile steps (`benchmarks/fuzz_steps.py --only density`).
MARGIN = 1.25


def blocks(problem: Problem, w: Array) -> float:
    """Internal energy between cells and a density that is linear across them: dh'(w) dw / 24.

    To first order h''(w) dw^2 / 24; the change of h' from cell to cell instead of h'' counts tails
    that the grid hardly resolves in full.
    """
    grid, h = grid_of(problem), problem.form.separable
    if not h.powers:
        return 0.0
    with np.errstate(all="ignore"):
        force = (h.gradient(w) - h.linear).reshape(grid.shape)
    shaped, total = w.reshape(grid.shape), 0.0
    for axis, n in enumerate(grid.shape):
        if n == 1:
            continue
        ahead = np.roll(shaped, -1, axis)
        mean, rise = 0.5 * (shaped + ahead), ahead - shaped
        if not grid.periodic[axis]:
            rise[(slice(None),) * axis + (slice(-1, None),)] = 0.0
        charged = mean > LIGHT * float(mean.max())
        bend = h.hessian(np.where(charged, mean, 1.0).ravel()).reshape(grid.shape)
        with np.errstate(invalid="ignore"):
            step = (np.roll(force, -1, axis) - force) * rise
        # Beside an empty cell h' may be infinite.
        part = np.where(np.isfinite(step), step, bend * rise**2)
        total += float(np.where(charged & (rise != 0), part, 0.0).sum()) / 24
    return MARGIN * total if np.isfinite(total) else np.inf
