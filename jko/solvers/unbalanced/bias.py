r"""How far a regularised Wasserstein-Fisher-Rao step is from the unregularised one.

For any potential psi of m' and its transform phi_i = min_j c_ij - psi_j the unregularised minimum
is at least

    lam sum m' (1 - e^{-psi}) - sum_i F_i*(-lam (1 - e^{-phi_i})),      lam = 2/(beta tau),

and F(w) + lam sum KL(g1 | w) + KL(g2 | m') + <c, g> is at least the objective of w, for any plan.
"""

from __future__ import annotations

import numpy as np

from jko.energies.conjugate import brackets, charged_by, response
from jko.energies.separable import Separable
from jko.geometries.unbalanced_transport import unbalanced_plan
from jko.solvers.unbalanced.stated import UnbalancedStep
from jko.validation import Array

#: Pairs of charged atoms up to which the exact transport problem is solved for a rigorous bound.
MAX_PAIRS = 10_000
BOUND = "bound: exact transport and a feasible dual of the unregularised step"
ESTIMATE = "estimate: dual of the unregularised step at the regularised potential"


def excess(stated: UnbalancedStep, w: Array, psi: Array) -> tuple[float | None, str]:
    """Bound (or estimate) of the unregularised excess at weights w, and which of the two."""
    lower, _ = stated.problem.form.linearised(w)
    alive = np.flatnonzero(w)
    if alive.size * stated.m.size > MAX_PAIRS:
        return _finite(_fenchel(stated, lower, w, _feasible(stated, lower, psi))), ESTIMATE
    solved = unbalanced_plan(w[alive], stated.m, stated.cost[alive])
    bounds = []
    # The potential of the exact plan is sharp for w; the regularised one may be sharper for F.
    for potential in (solved.h, psi):
        shifted = _feasible(stated, lower, potential)
        phi = _transform(stated, shifted)[alive]
        value = -float(w[alive] @ np.expm1(-phi) + stated.m @ np.expm1(-shifted))
        transport = stated.lam * max(solved.upper - value, 0.0)
        bounds.append(_fenchel(stated, lower, w, shifted) + transport)
    return _finite(min(bounds)), BOUND


def _feasible(stated: UnbalancedStep, lower: Separable, psi: Array) -> Array:
    """The potential lowered until F* is finite at y, where F grows no faster than linearly."""
    wanting = ~charged_by(lower, 1.0) & np.isinf(lower.ceiling)
    if not wanting.any():
        return psi
    room = np.log1p(np.maximum(lower.linear[wanting] / stated.lam, -1 + 1e-12))
    short = float((-_transform(stated, psi)[wanting] - room).max())
    return psi - max(short + 1e-12, 0.0)


def _fenchel(stated: UnbalancedStep, lower: Separable, w: Array, psi: Array) -> float:
    """sum_i F(w) + F*(y) - y w at y = -lam (1 - e^{-phi}), phi the transform of psi."""
    with np.errstate(over="ignore"):
        y = stated.lam * np.expm1(-_transform(stated, psi))
    if not np.isfinite(y).all():
        return np.inf
    return float(brackets(lower, w, y, response(lower, y, w)).sum())


def _transform(stated: UnbalancedStep, psi: Array) -> Array:
    """min_j c_ij - psi_j (n,)."""
    near = np.isfinite(stated.cost)
    out: Array = np.where(near, np.where(near, stated.cost, 0.0) - psi, np.inf).min(axis=1)
    return out


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
