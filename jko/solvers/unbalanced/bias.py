r"""How far a regularised Wasserstein-Fisher-Rao step is from the unregularised one.

For any potential psi of m' and its transform phi_i = min_j c_ij - psi_j the unregularised minimum
is at least

    lam sum m' (1 - e^{-psi}) - sum_i F_i*(-lam (1 - e^{-phi_i})),      lam = 2/(beta tau),

and F(w) + lam sum KL(g1 | w) + KL(g2 | m') + <c, g> is at least the objective of w, for any plan.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jko.energies.conjugate import brackets, charged_by, response
from jko.energies.separable import Separable
from jko.geometries.unbalanced_transport import unbalanced_plan
from jko.solvers.unbalanced.stated import ConePlan, UnbalancedStep
from jko.validation import Array

#: Pairs of charged atoms up to which the exact transport problem is solved (a second at most).
MAX_PAIRS = 40_000
BOUND = "bound: exact transport and a feasible dual of the unregularised step"
ROUGH = "bound: the regularised plan and a feasible dual of the unregularised step"
NONE = "none: the bound is switched off"


@dataclass(frozen=True, eq=False)
class UnbalancedExcess:
    """A bound of the excess of the unregularised objective.

    Attributes
    ----------
    bias : float or None
    transport : float
        The cost of a plan without regularisation, WFR^2 / (2 step) or above it.
    exact : bool
        Whether it is the least.
    """

    bias: float | None
    transport: float
    exact: bool

    @property
    def kind(self) -> str:
        """What the bound rests on."""
        return BOUND if self.exact else ROUGH


def excess(stated: UnbalancedStep, plan: ConePlan) -> UnbalancedExcess:
    """Bound of the unregularised excess of the weights of a plan."""
    w = np.exp(plan.log_w)
    lower, _ = stated.problem.form.linearised(w)
    alive = np.flatnonzero(w)
    exact = alive.size * stated.m.size <= MAX_PAIRS
    potentials = [plan.psi]
    if exact:
        # The potential of the exact plan is sharp for w; the regularised one may be so for F.
        solved = unbalanced_plan(w[alive], stated.m, stated.cost[alive])
        upper = solved.upper
        potentials.append(solved.h)
    else:
        upper = stated.unregularised(plan)
    bounds = []
    for potential in potentials:
        shifted = _feasible(stated, lower, potential)
        phi = _transform(stated, shifted)[alive]
        value = -float(w[alive] @ np.expm1(-phi) + stated.m @ np.expm1(-shifted))
        transport = stated.lam * max(upper - value, 0.0)
        bounds.append(_fenchel(stated, lower, w, shifted) + transport)
    return UnbalancedExcess(_finite(min(bounds)), stated.lam * upper, exact)


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
