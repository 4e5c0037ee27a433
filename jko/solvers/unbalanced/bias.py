r"""How far a regularised Wasserstein-Fisher-Rao step is from the unregularised one.

Any plan bounds it from above, any potential from below (`jko.solvers.unbalanced.cone`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jko.geometries.unbalanced_transport import unbalanced_plan
from jko.solvers.unbalanced.stated import ConePlan, UnbalancedStep

#: Pairs of charged atoms up to which the exact transport problem is solved (a second at most).
MAX_PAIRS = 40_000
BOUND = "bound: exact transport and a feasible dual of the unregularised step"
ROUGH = "bound: the regularised plan and a feasible dual of the unregularised step"


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
    cone, w = stated.cone, np.exp(plan.log_w)
    alive = np.flatnonzero(w)
    exact = alive.size * stated.m.size <= MAX_PAIRS
    potentials = [plan.psi]
    if exact:
        # The potential of the exact plan is sharp for w; the regularised one may be so for F.
        solved = unbalanced_plan(w[alive], stated.m, cone.cost[alive])
        upper = solved.upper
        potentials.append(solved.h)
    else:
        upper = stated.unregularised(plan)
    bound = min(cone.gap(w, psi, upper) for psi in potentials)
    return UnbalancedExcess(bound if np.isfinite(bound) else None, stated.lam * upper, exact)
