"""Where the ascent of a step between cells begins: at rest, from slopes, from fewer cells."""

from __future__ import annotations

import numpy as np

from jko.forms.separable import Separable
from jko.solvers.back_and_forth.ascent import approach
from jko.solvers.back_and_forth.response import Response
from jko.solvers.back_and_forth.stated import CellStep
from jko.solvers.grids.levels import prolonged
from jko.validation import Array

#: A proximal term lets a full cell empty over this many times the cost of moving by a cell.
SOFT = 4.0
#: Empty cells count as this share of the fullest one in the slope that the ascent begins with.
FLOOR = 1e-12
#: Promised rise and steps of an ascent on fewer cells.
ROUGH = 3e-6
FEW = 20


def flat(h: Separable) -> bool:
    """Whether some cell that may be charged has no strictly convex energy."""
    curved = h.ceiling == 0
    for c in h.powers.values():
        curved = curved | (c > 0)
    return not bool(curved.all())


def response(stated: CellStep) -> Response:
    """The energy's response, with a proximal term where it is not strictly convex."""
    if not flat(stated.h):
        return Response(stated.h)
    kappa = SOFT * 2 * max(stated.scales) / float(stated.m.max())
    return Response(stated.h, kappa, stated.m.ravel())


def starts(stated: CellStep, warm: object = None) -> list[Array]:
    """Potentials to begin with: at rest, of the energy's slope, of an earlier step, of fewer cells.

    The metric of the ascent sees a few cells far, so long moves are found where cells are few.
    """
    m, h = stated.m, stated.h
    floor = np.maximum(m.ravel(), FLOOR * float(m.max()))
    slope = np.where(h.ceiling > 0, h.gradient(floor), np.nan)
    psi = -np.where(np.isfinite(slope), slope, np.nanmax(slope)).reshape(m.shape)
    out = [np.zeros(m.shape), psi if stated.side == "new" else stated.transform(psi).values]
    out += warmed(stated, warm)
    coarser = stated.coarser
    if coarser is not None:
        rough = approach(coarser, response(coarser), starts(coarser), ROUGH, FEW)
        out.append(onto(stated, coarser, rough.g))
    return out


def warmed(stated: CellStep, warm: object) -> list[Array]:
    """Those potentials of an earlier step that belong to these cells or parts."""
    if not isinstance(warm, dict) or warm.get("side") != stated.side:
        return []
    g = warm.get("g" if stated.parts == 1 else "split")
    if not isinstance(g, np.ndarray) or g.shape != stated.m.shape or not np.isfinite(g).all():
        return []
    return [g]


def onto(stated: CellStep, coarser: CellStep, g: Array) -> Array:
    """Potentials found on fewer cells, interpolated."""
    fine = prolonged(g, coarser.previous.grid, stated.previous.grid)
    return fine.reshape(stated.m.shape)
