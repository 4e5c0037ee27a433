"""What it costs to carry a unit of mass from one atom to another: powers, matrices, graphs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from jko.errors import InvalidArgument, InvalidMeasure, Unsupported
from jko.measures.base import Discrete
from jko.measures.grid import periods
from jko.numerics.exact_transport import exact_plan, square_costs
from jko.numerics.partners import best_partners
from jko.validation import Array, Index, Mask, float_array

if TYPE_CHECKING:
    from scipy.sparse import csr_array

#: A cost between more atoms than this is not searched for broken triangles (n^3 operations).
MOST_TRIANGLES = 1500
#: Above this many pairs of charged atoms the exact linear program is refused; and so many costs are
#: held at a time where every atom looks for its best partner.
MAX_PAIRS = 16_000_000
#: Rounding of a cost that was computed as a power of a distance, relative to the largest.
ROUNDED = 1e-9


class Ground(ABC):
    """The cost of moving a unit of mass between the atoms of two measures.

    Attributes
    ----------
    listed : bool
        Whether atoms are known by their place in a list, not by where they are.
    power : bool
        Whether it is a distance to the power p.
    """

    listed: ClassVar[bool] = False
    power: ClassVar[bool] = False

    @abstractmethod
    def between(self, a: Discrete, b: Discrete, rows: Index, columns: Index) -> Array:
        """Costs from the atoms `rows` of `a` to the atoms `columns` of `b`; finite, >= 0."""

    @property
    @abstractmethod
    def key(self) -> Hashable:
        """What makes two costs equal."""

    def moves(
        self, a: Discrete, b: Discrete, wa: Array, wb: Array
    ) -> tuple[Index, Index, Array, float]:
        """The optimal plan between weights on the atoms of two measures (n,), (m,), of one total.

        Returns from, to and mass of every move, and what they cost.
        """
        rows, columns = np.flatnonzero(wa), np.flatnonzero(wb)
        if rows.size * columns.size > MAX_PAIRS:
            raise Unsupported(
                f"the exact transport problem between {rows.size} and {columns.size} atoms is too"
                f" large (more than {MAX_PAIRS} pairs); {self.smaller}"
            )
        plan = exact_plan(wa[rows], wb[columns], self.between(a, b, rows, columns))
        return rows[plan.left], columns[plan.right], plan.share, plan.value

    @property
    def smaller(self) -> str:
        """What to do where there are too many atoms."""
        return "compare coarser grids, or fewer particles: jko.thinning.resample(measure, 4000)"

    def near(self, mu: Discrete) -> tuple[csr_array, float, float] | None:
        """Costs of all ways up to a cost R as a sparse array (n, n), staying included, and R.

        Third, a cost that no way exceeds. R is such that about a fourth of `MAX_PAIRS` ways are
        kept; None where nothing tells which ways are short.
        """
        return None

    def partners(
        self, mu: Discrete, rows: Index, columns: Index, gain: Array, price: float
    ) -> tuple[Index, Array, Array]:
        """For every one of `rows` the best of `columns`: argmax of gain_j - price C_ij.

        Returns the position among `columns`, the maximum, and C there, each (rows,).
        """
        partner, best = np.zeros(rows.size, dtype=np.intp), np.zeros(rows.size)
        paid = np.zeros(rows.size)
        count = max(1, MAX_PAIRS // max(1, columns.size))
        for start in range(0, rows.size, count):
            part = slice(start, start + count)
            costs = self.between(mu, mu, rows[part], columns)
            partner[part], best[part] = best_partners(gain, costs, price)
            paid[part] = costs[np.arange(len(costs)), partner[part]]
        return partner, best, paid

    def longest(self, mu: Discrete) -> float:
        """The largest cost from the mass of `mu` to where it can go; its order between many."""
        free = self.reachable(mu)
        ends = np.arange(mu.n) if free is None else np.flatnonzero(free)
        charged = np.flatnonzero(mu.weights)
        if charged.size * ends.size > MAX_PAIRS:
            return self._far(mu, charged, ends)
        return float(self.between(mu, mu, charged, ends).max(initial=0.0))

    def _far(self, mu: Discrete, charged: Index, ends: Index) -> float:
        """The larger of the costs from an atom and from the one that is farthest from it."""
        first = self.between(mu, mu, charged[:1], ends)[0]
        back = self.between(mu, mu, charged, ends[[first.argmax()]])[:, 0]
        return float(max(first.max(), back.max()))

    def component(self, mu: Discrete) -> Index | None:
        """Number (n,) of the piece every atom lies in, where mass cannot leave a piece."""
        return None

    def reachable(self, mu: Discrete) -> Mask | None:
        """Atoms (n,) that the mass of `mu` can reach; None for all."""
        piece = self.component(mu)
        if piece is None:
            return mu.free
        charged = np.unique(piece[mu.weights > 0])
        if charged.size > 1:
            raise InvalidMeasure(
                f"the graph cuts the measure into {charged.size} pieces that carry mass, and"
                " transport cannot pass from one to another; add an edge, or step each piece alone"
            )
        return np.asarray(piece == charged[0])

    def not_metric(self, a: Discrete, b: Discrete) -> str | None:
        """Why the cost is no power of a metric between these atoms, None where it is."""
        return None


@dataclass(frozen=True)
class PowerCost(Ground):
    """|x - y|^p with the Euclidean length, the shorter way round between periodic grids."""

    p: float
    power: ClassVar[bool] = True

    def between(self, a: Discrete, b: Discrete, rows: Index, columns: Index) -> Array:
        period = periods(a, b)
        if period is None:
            square = square_costs(a.points[rows], b.points[columns])
        else:
            square = _around(a.points[rows], b.points[columns], period)
        return square if self.p == 2 else np.asarray(square ** (self.p / 2))

    def near(self, mu: Discrete) -> tuple[csr_array, float, float] | None:
        from scipy.sparse import csr_array
        from scipy.spatial import cKDTree

        x, tree = mu.points, cKDTree(mu.points)
        some = x[np.linspace(0, mu.n - 1, 64).astype(np.intp)]
        reach = reach_of(np.sqrt(square_costs(some, x)), mu.n)
        found = tree.sparse_distance_matrix(tree, reach, output_type="coo_matrix")
        ways = csr_array((found.data**self.p, (found.row, found.col)), shape=(mu.n, mu.n))
        longest = float(np.linalg.norm(np.ptp(x, axis=0)))
        return ways, reach**self.p, longest**self.p

    @property
    def key(self) -> Hashable:
        return ("power", self.p)


def reach_of(lengths: Array, n: int) -> float:
    """A length of which about `MAX_PAIRS` / 4 of all ways are no longer; from some (k, n)."""
    ordered = np.sort(lengths.ravel())
    return float(ordered[min(MAX_PAIRS * len(lengths) // (4 * n), ordered.size - 1)])


def _around(x: Array, y: Array, period: Array) -> Array:
    """Squared lengths (n, m) of the shortest ways on a box whose axes repeat."""
    out = np.zeros((len(x), len(y)))
    for u, v, length in zip(x.T, y.T, period, strict=True):
        apart = np.abs(u[:, None] - v)
        out += np.minimum(apart, np.abs(length - apart)) ** 2
    return out


@dataclass(frozen=True, eq=False)
class MatrixCost(Ground):
    """Entry (i, j) for the way from atom i of the first to atom j of the second measure."""

    matrix: Array
    listed: ClassVar[bool] = True

    def between(self, a: Discrete, b: Discrete, rows: Index, columns: Index) -> Array:
        n, m = self.matrix.shape
        if (n, m) != (a.n, b.n):
            raise InvalidMeasure(
                f"cost has shape ({n}, {m}), but the measures have {a.n} and {b.n} atoms; pass a"
                " row for every atom of the first and a column for every atom of the second"
            )
        return np.asarray(self.matrix[np.ix_(rows, columns)])

    @property
    def key(self) -> Hashable:
        return ("matrix", self.matrix.shape, self.matrix.tobytes())

    def not_metric(self, a: Discrete, b: Discrete) -> str | None:
        if not a.same_support(b) or self.matrix.shape != (a.n, b.n):
            return "the two measures live on different lists of atoms"
        return broken_axiom(self.matrix)


@dataclass(frozen=True, eq=False)
class CallableCost(Ground):
    """A function of points (n, d) and (m, d) with values (n, m)."""

    function: Callable[[Array, Array], ArrayLike]

    def between(self, a: Discrete, b: Discrete, rows: Index, columns: Index) -> Array:
        return self._at(a.points[rows], b.points[columns])

    def _at(self, x: Array, y: Array) -> Array:
        costs = float_array(self.function(x, y), "cost")
        if costs.shape != (len(x), len(y)):
            raise InvalidMeasure(
                f"cost returned shape {costs.shape} for {len(x)} and {len(y)} points; return an"
                f" array ({len(x)}, {len(y)}) of costs"
            )
        return checked(costs)

    @property
    def key(self) -> Hashable:
        return ("callable", self.function)

    def not_metric(self, a: Discrete, b: Discrete) -> str | None:
        points = np.unique(np.concatenate([a.points, b.points]), axis=0)
        return broken_axiom(self._at(points, points))


def checked(costs: Array) -> Array:
    """Costs that are finite and not negative, or a sentence."""
    for fault, what in ((~np.isfinite(costs), "not finite"), (costs < 0, "negative")):
        if fault.any():
            i, j = (int(k) for k in np.argwhere(fault)[0])
            raise InvalidArgument(
                f"cost[{i}, {j}] = {costs[i, j]:.6g} is {what}; costs are finite numbers >= 0"
                " (close a way with a large cost, or leave the edge out of a graph)"
            )
    return costs


def broken_axiom(costs: Array) -> str | None:
    """Why the root of square costs (n, n) is no metric, None where it is one."""
    n = len(costs)
    if n > MOST_TRIANGLES:
        return f"{n} atoms are too many to look for broken triangles"
    scale = ROUNDED * float(np.sqrt(costs.max(initial=0.0)))
    length = np.sqrt(costs)
    if np.diag(length).max(initial=0.0) > np.sqrt(ROUNDED) * float(length.max(initial=0.0)):
        return "staying in place is not free"
    if np.abs(length - length.T).max(initial=0.0) > scale:
        return "it is not symmetric"
    for k in range(n):
        shorter = length[:, k, None] + length[k] < length - scale
        if shorter.any():
            i, j = (int(v) for v in np.argwhere(shorter)[0])
            return f"its root breaks the triangle inequality: from {i} to {j} by way of {k}"
    return None


def needs_metric(what: str, why: str) -> Unsupported:
    """The error of a request that makes sense for metrics alone."""
    return Unsupported(
        f"{what} needs a cost whose root is a metric, and {why}; read the cost itself with"
        " jko.Wasserstein(cost=...).sqdistance(a, b)"
    )
