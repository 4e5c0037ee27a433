"""Interior point for convex quadratics on the simplex or the cone, low-rank Hessian.

Minimise over ``w >= 0`` the quadratic ``P(w) = 1/2 w'Hw - c'w``, ``H = scale * L L' + diag(d)``,
either with ``1'w = mass`` or without a mass constraint. This is the MMD step on a fixed support
(formula M1, "Fixed particle support"): ``H = (1 + 1/eta) K``, ``K = L L' + E`` numerically
singular.

Mehrotra's predictor-corrector. The Newton matrix ``diag(s/w + d) + scale L L'`` is inverted by
Woodbury, O(n r^2) an iteration. Two observations make it cheap:

* At complementarity ``w's``, columns of L whose tail ``max_i sum_{j>k} L_ij^2`` is below ``w's`` do
  not matter to the Newton matrix, only to the residual: with ``w ~ 1/n`` and ``s ~ w's`` the tail E
  has ``trace D^{-1/2} E D^{-1/2} <= tail / w's``, D = diag(s/w). Each iteration factorises with the
  leading columns only, and with more of them whenever progress falters.
* When L is a coarse factor of a kernel that can still be applied exactly (`product`), the exact
  gradient certifies the last iterate; if it misses, ``(K - L L')w`` moves into the linear term.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jko.numerics.woodbury import ScaledQuadratic, checked, prepare
from jko.solvers.weights.predictor_corrector import PredictorRun, Product
from jko.solvers.weights.qp_result import QPResult, QPStatus, cone_gap, simplex_gap

__all__ = ["Around", "QPResult", "QPStatus", "cone_gap", "simplex_gap", "solve_qp"]

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Around:
    """Where a quadratic is written, and what its caller knows of it.

    Around its previous weights a short step loses no digits: ``c`` stays of the size of the slope
    there, not of slope / step.

    Attributes
    ----------
    centre : (n,) array of the mass, or None for 0; fixed mass only.
    offset : float, what the objective has in addition to P.
    floor : float, a lower bound of P over all signed w, which shortens the gap of short steps.
    unit : float, what the tolerance is relative to; None: the size of the terms of P + offset.
    """

    centre: Array | None = None
    offset: float = 0.0
    floor: float = -np.inf
    unit: float | None = None


NOTHING = Around()


def solve_qp(
    factor: Array,
    linear: Array,
    *,
    scale: float = 1.0,
    diagonal: Array | None = None,
    mass: float | None = 1.0,
    product: Product | None = None,
    tol: float = 1e-10,
    max_iter: int = 80,
    warm: Array | None = None,
    around: Around = NOTHING,
) -> QPResult:
    """Minimise ``1/2 u'Hu - c'u``, ``u = w - centre``, over ``w >= 0`` with ``1'w = mass``.

    A `mass` of None leaves the mass free, over the whole cone.

    Parameters
    ----------
    factor : (n, r) array L of ``H = scale L L' + diag(diagonal)``, its columns best sorted by
        importance (as pivoted Cholesky does).
    linear : (n,) array c.
    scale : float > 0.
    diagonal : (n,) nonnegative array, or None for zero.
    mass : float >= 0, or None for the whole cone.
    product : callable ``u -> Ku`` with the exact K that ``L L'`` approximates from below, or None
        when ``K = L L'``. A factor with ``max diag(K - L L') <= 10 tol`` usually needs just one
        product. Then `gap`, `gradient`, `value` are those of ``H = scale K + diag(diagonal)``.
    tol : float, on the gap, relative to `around.unit`.
    warm : (n,) nonnegative array, a guess.
    around : Around, the centre, and what is known of the objective there.

    Returns
    -------
    QPResult
        The best iterate, whatever the status; entries are always finite.

    Raises
    ------
    ValueError
        If shapes disagree, an entry is not finite, or scale, mass, diagonal or warm have a wrong
        sign.

    Notes
    -----
    Fixed mass: ``gap = w'g - mass min g`` (Frank-Wolfe) with ``g = Hw - c``. Free mass: the dual
    is ``max -1/2 u'Hu`` over ``Hu >= c``; any feasible u bounds the optimum from below, see
    `cone_gap`. On the cone no finite gap is reached when ``Hu > c`` has no solution (a positive
    kernel always has one).

    Without `product`, with ``E = K - L L'``, ``delta = max diag E`` and the MMD step of size eta
    from w' to b, both of mass m: the gap for K exceeds the one for L L' by at most
    ``delta (1/2 + 2/eta) m^2`` when K_xy b is exact, ``delta (2 + 2/eta) m^2`` when it comes from
    one factor of the union of supports (E enters as ``1/2 |w - b|_E^2 + 1/(2 eta) |w - w'|_E^2``).
    """
    problem = prepare(factor, linear, scale, diagonal, mass)
    if problem.n == 0 or mass == 0:
        zero, gradient = np.zeros(problem.n), -problem.c_full
        lowest = float(gradient.min()) if problem.n and mass is not None else 0.0
        return QPResult(zero, gradient, lowest, 0.0, 0.0, 0, 0, (), QPStatus.OPTIMAL)
    warm = None if warm is None else checked(warm, (problem.n,), "warm", sign=True)
    z: Array | float = 0.0
    if around.centre is not None:
        z = checked(around.centre, (problem.n,), "centre") / problem.size
        if mass is None:
            raise ValueError("a centre needs a fixed mass")
    start = _start(problem, warm, z)
    run = PredictorRun(problem, product, tol, *start, z, around.offset, around.unit)
    run.floor = around.floor / (problem.unit * problem.size**2)
    return run.result(run.iterate(max_iter))


def _start(p: ScaledQuadratic, warm: Array | None, z: Array | float) -> tuple[Array, Array, float]:
    """Strictly positive primal and slack; the slack is dual feasible when the mass is fixed."""
    w = np.full(p.n, 1.0 / p.n)
    if warm is not None and warm.sum() > 0:
        total = float(warm.sum())
        w = 0.1 * w + 0.9 * warm / total
        w *= total if p.mass is None else 1.0
    elif p.mass is None:
        # The size a solution of the atoms that pull mass would have: a start far below it crawls.
        whw, cw = float(w @ p.hessian(w)), float(np.maximum(p.c, 0) @ w)
        w *= cw / whw if cw > 0 and whw > 0 else 1.0
    g = p.hessian(w - z) - p.c
    if p.mass is None:
        large = float(np.abs(p.c).max() + np.abs(g).max()) or 1.0
        return w, g + max(1e-3 * large, -1.5 * g.min()), 0.0
    multiplier = float(g.min()) - max(1e-3, simplex_gap(w, g))
    return w, g - multiplier, multiplier
