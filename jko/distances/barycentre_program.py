"""Barycentres of histograms by a linear program, with the bound from its dual."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from jko.distances.barycentre_result import Barycentre, spread
from jko.errors import InvalidMeasure, Unsupported
from jko.geometries.wasserstein import Wasserstein
from jko.measures.atoms import Histogram
from jko.validation import Array

if TYPE_CHECKING:
    from scipy.sparse import csr_array


#: Variables of the linear program.
MOST_VARIABLES = 400_000


def program_barycentre(family: list[Histogram], lam: Array, geometry: Wasserstein) -> Barycentre:
    r"""min sum lambda_k <C_k, P_k>, all P_k with one second marginal, and its dual

    max sum_k <u_k, m_k>,   u_k + v_k <= lambda_k C_k,   sum_k v_k = 0.
    """
    from scipy.optimize import linprog

    points = family[0].points
    if not all(mu.same_support(family[0]) for mu in family):
        if geometry.listed:
            raise InvalidMeasure("a matrix or graph of costs needs measures on one list of atoms")
        points = np.unique(np.concatenate([mu.points for mu in family]), axis=0)
    n, ends = len(points), Histogram(points, np.full(len(points), family[0].mass / len(points)))
    rows = [np.flatnonzero(mu.weights) for mu in family]
    size = sum(r.size for r in rows) * n
    if size > MOST_VARIABLES:
        raise Unsupported(
            f"the linear program has {size} variables (limit {MOST_VARIABLES}); put the measures on"
            " a jko.Grid, or thin them"
        )
    everywhere = np.arange(n)
    costs = [
        c * geometry.ground.between(mu, ends, r, everywhere)
        for c, mu, r in zip(lam, family, rows, strict=True)
    ]
    mass = [mu.weights[r] / mu.weights.sum() for mu, r in zip(family, rows, strict=True)]
    system = _rows([r.size for r in rows], n)
    right = np.concatenate([np.concatenate([m, np.zeros(n)]) for m in mass])
    objective = np.concatenate([*(c.ravel() for c in costs), np.zeros(n)])
    unit = float(objective.max()) or 1.0  # HiGHS drops costs below 1e-7
    found = linprog(objective / unit, A_eq=system, b_eq=right, method="highs")
    if found.x is None:
        raise Unsupported(f"HiGHS could not solve the barycentre's program: {found.message}")
    w = np.maximum(found.x[-n:], 0.0)
    mu = ends.with_weights(w * (family[0].mass / w.sum()))
    p = geometry.p if geometry.is_power else 2.0
    value = spread(family, lam, mu, geometry, p)
    lower = _bound(unit * found.eqlin.marginals, costs, mass) * family[0].mass
    gap = value - lower / geometry.rate ** (p - 1)
    return Barycentre(mu, value, gap, 0.0, int(found.nit))


def _rows(sizes: list[int], n: int) -> csr_array:
    """Rows that ask for the first marginals of plans, and for second ones that are all the same."""
    from scipy.sparse import block_array, csr_array, kron

    count, eye = len(sizes), csr_array(np.eye(n))
    blocks: list[list[csr_array | None]] = [[None] * (count + 1) for _ in range(2 * count)]
    for k, size in enumerate(sizes):
        blocks[2 * k][k] = kron(csr_array(np.eye(size)), np.ones((1, n)))
        blocks[2 * k + 1][k] = kron(np.ones((1, size)), eye)
        blocks[2 * k + 1][count] = -eye
    return block_array(blocks, format="csr")


def _bound(duals: Array, costs: list[Array], mass: list[Array]) -> float:
    """The dual value of the slopes v_k, made to sum to zero; u_k is their c-transform."""
    n = costs[0].shape[1]
    slopes, place = [], 0
    for m in mass:
        slopes.append(duals[place + m.size : place + m.size + n])
        place += m.size + n
    excess = np.mean(slopes, axis=0)
    return float(
        sum(m @ (c - (v - excess)).min(axis=1) for m, c, v in zip(mass, costs, slopes, strict=True))
    )
