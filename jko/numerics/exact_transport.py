r"""Exact optimal transport between weighted atoms, checked by its own dual.

Primal and dual of the problem between weights a (n,) and b (m,) of one total, cost c (n, m):

    min_{P >= 0, P 1 = a, P' 1 = b} <c, P>   =   max_{u_i + v_j <= c_ij} <u, a> + <v, b>.

The plan comes from a network simplex (POT) or, on the line, from sorted quantiles. Its potentials
are made feasible, so that the difference of the two values is a certificate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from jko.errors import Unsupported
from jko.numerics.best import best_of
from jko.numerics.elementary import EPS
from jko.validation import Array, Index, Mask

#: A plan is solved again with clipped costs while its gap exceeds this share of its value.
ENOUGH = 1e-11
#: A plan whose gap exceeds this share of its value (and rounding) is refused.
ALLOWED = 1e-7
#: Attempts with clipped costs; each clips at the longest way that the last plan uses.
ATTEMPTS = 6
#: Flows below this share of the total are rounding where both ends weigh far more: weights that
#: sum to 1/3 in two ways differ by one unit in the last place, whatever the distance between them.
SLIVER = 8 * EPS


@dataclass(frozen=True, eq=False)
class ExactPlan:
    """A transport plan as a list of moves, with feasible potentials.

    Attributes
    ----------
    left, right : (k,) arrays of int
        Where every move starts and ends.
    share : (k,) array
        Its mass.
    value : float
        <c, P>.
    u, v : (n,), (m,) arrays
        Potentials with u_i + v_j <= c_ij.
    gap : float
        <c, P> - <u, P 1> - <v, P' 1> >= 0, without cancellation.
    """

    left: Index
    right: Index
    share: Array
    value: float
    u: Array
    v: Array
    gap: float


def square_costs(x: Array, y: Array) -> Array:
    """|x_i - y_j|^2 (n, m) from differences of coordinates.

    Expanded squares, |x|^2 - 2 x.y + |y|^2, lose every digit far from the origin (dates, map
    coordinates); differences keep them all.
    """
    from scipy.spatial.distance import cdist

    return np.asarray(cdist(x, y, "sqeuclidean"))


def exact_plan(a: Array, b: Array, cost: Array) -> ExactPlan:
    """Solve the problem of positive weights a (n,), b (m,) and finite costs (n, m).

    The second weights are rescaled to the mass of the first. Costs and masses are brought to
    order one before they are handed over, since the tolerances of the solver are absolute. Where
    a few costs are so large that the others are below their rounding (an outlier that stays where
    it is), the problem is solved again with the costs clipped beyond what the plan uses: the
    potentials of a smaller cost are feasible, and a plan that uses no clipped way is optimal.

    Raises
    ------
    Unsupported
        The solver failed, or its plan and its potentials disagree.
    """
    total = float(a.sum())
    first, second = a / total, b / b.sum()
    best = best_of(
        _attempts(first, second, cost), lambda p: p.gap, lambda p: p.gap <= ENOUGH * p.value
    )
    assert best is not None
    # Potentials are sums along paths of the solver's tree, of up to n + m costs: where next to no
    # mass moves they may cancel, and the longest way in use is what they were rounded by.
    spread = np.abs(best.u[best.left]) + np.abs(best.v[best.right])
    longest = float(cost[best.left, best.right].max(initial=0.0))
    rounding = 8 * EPS * max(8, a.size + b.size) * max(float(best.share @ spread), longest)
    if not best.gap <= ALLOWED * best.value + rounding:
        raise Unsupported(
            f"the exact transport problem is too badly scaled: its plan costs {best.value:.6g}, its"
            f" dual proves {best.value - best.gap:.6g}; remove outliers, or rescale the coordinates"
        )
    return ExactPlan(
        best.left,
        best.right,
        total * best.share,
        total * best.value,
        best.u,
        best.v,
        total * best.gap,
    )


def _attempts(a: Array, b: Array, cost: Array) -> Iterator[ExactPlan]:
    """Plans for the costs as they are, then clipped beyond what the last plan uses."""
    ceiling = float(cost.max(initial=0.0))
    for _ in range(ATTEMPTS):
        found = _solved(a, b, cost, ceiling)
        yield found
        longest = float(cost[found.left, found.right].max(initial=0.0))
        if 4 * longest >= ceiling:
            return
        if longest == 0:
            if cost.min() >= 0:  # potentials of zero prove that nothing is less than nothing
                u, v = np.zeros(a.size), np.zeros(b.size)
                yield ExactPlan(found.left, found.right, found.share, 0.0, u, v, 0.0)
            return
        ceiling = 4 * longest


def _solved(a: Array, b: Array, cost: Array, ceiling: float) -> ExactPlan:
    """Plan and feasible potentials of the true costs, solved with costs cut at `ceiling`."""
    import ot

    unit = 2.0 ** np.ceil(np.log2(ceiling)) if ceiling > 0 else 1.0  # a power of 2 costs no digit
    cut = np.minimum(cost, ceiling)
    plan, log = ot.emd(a, b, cut / unit, numItermax=10_000_000, log=True)
    if log["warning"] is not None:
        raise Unsupported(f"POT could not solve the exact transport problem: {log['warning']}")
    left, right = np.nonzero(plan)
    share = np.asarray(plan[left, right])
    keep = ~_slivers(share, a[left], b[right])
    left, right, share = left[keep], right[keep], share[keep]
    v = unit * np.asarray(log["v"])
    v = v - np.median(v)
    u = (cut - v).min(axis=1)
    v = (cut - u[:, None]).min(axis=0)
    moved = cost[left, right]
    slack = np.maximum(moved - u[left] - v[right], 0.0)
    return ExactPlan(left, right, share, float(share @ moved), u, v, float(share @ slack))


def _slivers(share: Array, a: Array, b: Array) -> Mask:
    """Moves that only even out the rounding of two sums of weights (mask)."""
    return np.asarray((share <= SLIVER) & (share <= 1e-3 * np.minimum(a, b)))


def quantile_plan(x: Array, a: Array, y: Array, b: Array) -> tuple[Index, Index, Array]:
    """The monotone coupling on the line: indices into x and y and the mass of each piece.

    Parameters
    ----------
    x, y : (n,), (m,) arrays
    a, b : (n,), (m,) arrays, > 0
        The second is rescaled to the mass of the first.
    """
    ix, iy = np.argsort(x, kind="stable"), np.argsort(y, kind="stable")
    ca, cb = (np.cumsum(w.astype(np.longdouble)) for w in (a[ix], b[iy]))
    ca, cb = ca / ca[-1], cb / cb[-1]
    cuts = np.union1d(ca, cb)
    share = np.diff(cuts, prepend=np.longdouble(0))
    middle = cuts - share / 2
    left = ix[np.minimum(np.searchsorted(ca, middle), len(ca) - 1)]
    right = iy[np.minimum(np.searchsorted(cb, middle), len(cb) - 1)]
    pieces = share.astype(np.float64)
    keep = ~_slivers(pieces, a[left] / a.sum(), b[right] / b.sum())
    return left[keep], right[keep], pieces[keep] * float(a.sum())
