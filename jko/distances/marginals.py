"""The constraints of a barycentre as a linear program, and the bound from its dual."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from jko.validation import Array

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def marginal_rows(sizes: list[int], n: int) -> csr_array:
    """Rows that ask for the first marginals of plans, and for second ones that are all the same."""
    from scipy.sparse import block_array, csr_array, kron

    count, eye = len(sizes), csr_array(np.eye(n))
    blocks: list[list[csr_array | None]] = [[None] * (count + 1) for _ in range(2 * count)]
    for k, size in enumerate(sizes):
        blocks[2 * k][k] = kron(csr_array(np.eye(size)), np.ones((1, n)))
        blocks[2 * k + 1][k] = kron(np.ones((1, size)), eye)
        blocks[2 * k + 1][count] = -eye
    return block_array(blocks, format="csr")


def dual_bound(duals: Array, costs: list[Array], mass: list[Array]) -> float:
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
