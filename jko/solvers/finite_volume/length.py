"""How long a finite-volume step is: in its model error, and in cells."""

from __future__ import annotations

import numpy as np

from jko.solvers.finite_volume.scheme import CellScheme
from jko.validation import Array

#: Cells below this share of the largest density do not count.
CHARGED = 1e-4


def model_error(scheme: CellScheme, w: Array, step: float) -> float:
    """q = step max |D^2 f| over cells whose neighbours are charged, by central differences."""
    grid = scheme.grid
    f = scheme.first_variation(w)
    field = np.where(w > CHARGED * w.max(), f, np.nan).reshape(grid.shape)
    # One cell from the other side is enough for differences around a periodic axis.
    field = np.pad(field, [(1, 1) if p else (0, 0) for p in grid.periodic], mode="wrap")
    worst = 0.0
    for axis, h in enumerate(grid.spacing):
        if field.shape[axis] > 2:
            worst = max(worst, _largest(np.diff(field, 2, axis=axis)) / h**2)
        for other in range(axis):
            if min(field.shape[axis], field.shape[other]) > 1:
                mixed = np.diff(np.diff(field, axis=axis), axis=other)
                worst = max(worst, _largest(mixed) / (h * float(grid.spacing[other])))
    return step * worst


def displacement(scheme: CellScheme, w: Array, step: float) -> float:
    """step max |grad f|/h over the faces that mass crosses: how many cells it moves by.

    Those are faces between charged cells, and all faces of a charged cell that has no such one.
    """
    i, j, level = scheme.faces.i, scheme.faces.j, CHARGED * w.max()
    charged = w > level
    between = charged[i] & charged[j]
    alone = charged.copy()
    alone[i[between]] = alone[j[between]] = False
    crossed = between | alone[i] | alone[j]
    f = scheme.first_variation(w)
    return step * _largest(scheme.faces.scale[crossed] * (f[i[crossed]] - f[j[crossed]]))


def _largest(values: Array) -> float:
    known = np.abs(values[np.isfinite(values)])
    return float(known.max(initial=0.0))
