"""Weights of a short MMD step to the last digit: the atoms that stay empty, and the rest solved.

Over a short step the penalty is steep: rounding of the weights alone leaves a gradient of eps/step,
and an interior point that looks at gaps cannot tell which atoms are empty. In the moves u = w - z
from the previous weights nothing is lost.
"""

from __future__ import annotations

import numpy as np

from jko.prox.stated import Answer
from jko.solvers.weights.stated import QuadraticStep
from jko.solvers.weights.systems import SMALL
from jko.validation import Array, Mask


def sharpened(stated: QuadraticStep, w: Array) -> Array:
    """The weights (n,), or better ones where rounding had stopped the way to them.

    A primal-dual active-set iteration (Hintermüller et al., 2002); what it finds counts only where
    its certificate is the smaller one.
    """
    inside = np.flatnonzero(stated.open)
    if stated.excess is not None or inside.size > SMALL:
        return w
    quadratics = stated.curvature.quadratics
    hessian = sum(q.scale * q.operator.dense()[np.ix_(inside, inside)] for q in quadratics)
    hessian = np.asarray(hessian)
    slope, centre = (stated.slope + stated.penalty_slope)[inside], stated.centre[inside]
    u, best, least = (w - stated.centre)[inside], w, _gap(stated, w)
    for _ in range(20):  # changes of the set of empty atoms
        empty = _empty(hessian, slope, centre, u, stated.mass is not None)
        moved = _solved(hessian, slope, centre, empty, stated.mass is not None)
        if moved is None or np.array_equal(moved, u):
            break
        u = moved
        found = stated.centre.copy()
        found[inside] = np.where(empty, 0.0, np.maximum(centre + u, 0.0))
        if stated.mass is not None:  # a mass off by rounding would lower the objective
            found *= stated.mass / float(found.sum())
        gap = _gap(stated, found)
        if gap < least:
            best, least = found, gap
    return best


def _empty(hessian: Array, slope: Array, centre: Array, u: Array, fixed: bool) -> Mask:
    """Atoms whose slope, in the unit of a weight, is above their weight."""
    w, r = centre + u, slope + hessian @ u
    if fixed:
        kept = w > 0
        r = r - (float(w[kept] @ r[kept]) / float(w[kept].sum()) if kept.any() else r.min())
    out: Mask = r > np.diagonal(hessian) * w
    return out


def _solved(hessian: Array, slope: Array, centre: Array, empty: Mask, fixed: bool) -> Array | None:
    """Moves that balance all atoms but the empty ones; None where there are none."""
    u, rest = np.where(empty, -centre, 0.0), np.flatnonzero(~empty)
    if not rest.size:
        return None
    right = -(slope + hessian @ u)[rest]
    block = hessian[np.ix_(rest, rest)]
    try:
        if not fixed:
            u[rest] = np.linalg.solve(block, right)
        else:
            both = np.linalg.solve(block, np.column_stack([right, np.ones(rest.size)]))
            missing = -float(u.sum()) - float(both[:, 0].sum())
            u[rest] = both[:, 0] + missing / float(both[:, 1].sum()) * both[:, 1]
    except np.linalg.LinAlgError:
        return None
    return u if np.isfinite(u).all() else None


def _gap(stated: QuadraticStep, w: Array) -> float:
    if not w.sum() > 0:
        return np.inf
    answer = Answer(stated.problem.discrete.with_weights(w), stated, 0)
    gap = stated.certificate(answer).gap
    return np.inf if gap is None or np.isnan(gap) else gap
