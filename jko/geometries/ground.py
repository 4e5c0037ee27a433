"""What it costs to carry a unit of mass from one atom to another: powers, matrices, graphs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from jko.errors import InvalidArgument, InvalidMeasure, InvalidType, Unsupported
from jko.measures.base import Discrete
from jko.measures.grid import periods
from jko.numerics.exact_transport import square_costs
from jko.validation import Array, Index, Mask, brief, float_array, frozen

if TYPE_CHECKING:
    from scipy.sparse import sparray

    #: What `cost=` of `jko.Wasserstein` takes: values, a function, or a graph of lengths.
    Cost: TypeAlias = ArrayLike | Callable[[Array, Array], ArrayLike] | sparray
    from scipy.sparse import csr_array

#: A cost between more atoms than this is not searched for broken triangles (n^3 operations).
MOST_TRIANGLES = 1500
#: Rounding of a cost that was computed as a power of a distance, relative to the largest.
ROUNDED = 1e-9


class Ground(ABC):
    """The cost of moving a unit of mass between the atoms of two measures.

    Attributes
    ----------
    listed : bool
        Whether atoms are known by their place in a list, not by where they are.
    """

    listed: ClassVar[bool] = False

    @abstractmethod
    def between(self, a: Discrete, b: Discrete, rows: Index, columns: Index) -> Array:
        """Costs from the atoms `rows` of `a` to the atoms `columns` of `b`; finite, >= 0."""

    @property
    @abstractmethod
    def key(self) -> Hashable:
        """What makes two costs equal."""

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

    def between(self, a: Discrete, b: Discrete, rows: Index, columns: Index) -> Array:
        period = periods(a, b)
        if period is None:
            square = square_costs(a.points[rows], b.points[columns])
        else:
            square = _around(a.points[rows], b.points[columns], period)
        return square if self.p == 2 else np.asarray(square ** (self.p / 2))

    @property
    def key(self) -> Hashable:
        return ("power", self.p)


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


@dataclass(frozen=True, eq=False)
class GraphCost(Ground):
    """d^p, d the length of the shortest way along the edges of an undirected graph."""

    graph: csr_array
    p: float
    listed: ClassVar[bool] = True

    def between(self, a: Discrete, b: Discrete, rows: Index, columns: Index) -> Array:
        from scipy.sparse.csgraph import dijkstra

        self._check(a)
        self._check(b)
        lengths = np.asarray(dijkstra(self.graph, directed=False, indices=rows))[:, columns]
        if not np.isfinite(lengths).all():
            raise InvalidMeasure(
                "the graph has no way between atoms that carry mass: it is disconnected; add an"
                " edge, or compare the measures piece by piece"
            )
        return np.asarray(lengths**self.p)

    def component(self, mu: Discrete) -> Index | None:
        self._check(mu)
        return self._components

    @cached_property
    def _components(self) -> Index:
        from scipy.sparse.csgraph import connected_components

        return np.asarray(connected_components(self.graph, directed=False)[1], dtype=np.intp)

    def _check(self, mu: Discrete) -> None:
        if self.graph.shape[0] != mu.n:
            raise InvalidMeasure(
                f"the graph has {self.graph.shape[0]} nodes, a measure {mu.n} atoms; both measures"
                " need one atom per node, with weight 0 where they have no mass"
            )

    @property
    def key(self) -> Hashable:
        g = self.graph
        return ("graph", self.p, g.shape, g.data.tobytes(), g.indices.tobytes(), g.indptr.tobytes())


def ground_of(p: float, cost: Cost | None) -> Ground:
    """The cost that the arguments of `jko.Wasserstein` name; p >= 1 is checked already."""
    if cost is None:
        return PowerCost(p)
    if hasattr(cost, "toarray") and hasattr(cost, "nnz"):
        return GraphCost(_graph(cost), p)
    if p != 2:
        raise InvalidArgument(
            f"p = {p:g} has no meaning beside a cost, which is never raised to a power; leave p out"
            " and pass the costs raised to it, or pass a graph of lengths"
        )
    if callable(cost):
        return CallableCost(cost)
    matrix = float_array(cost, "cost")
    if matrix.ndim != 2:
        raise InvalidArgument(
            f"cost has shape {matrix.shape}; pass an (n, m) array, a function (x, y) -> (n, m) or a"
            " SciPy sparse graph"
        )
    return MatrixCost(frozen(np.ascontiguousarray(checked(matrix))))


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


def _graph(cost: sparray) -> csr_array:
    """A sparse graph as a symmetric array of lengths; one triangle alone is taken for both."""
    from scipy.sparse import csr_array

    if cost.ndim != 2 or cost.shape[0] != cost.shape[1]:
        raise InvalidArgument(f"the graph has shape {cost.shape}; pass an (n, n) sparse array")
    if cost.dtype.kind not in "fiub":
        raise InvalidType(f"the graph has entries {brief(cost.dtype.str)}; pass lengths of edges")
    graph = csr_array(cost, dtype=float)
    bad = ~np.isfinite(graph.data) | (graph.data < 0)
    if bad.any():
        raise InvalidArgument(
            f"the graph has an edge of length {graph.data[bad][0]:.6g}; lengths are finite"
            " numbers >= 0"
        )
    back = csr_array(graph.T)
    both = (graph != 0).multiply(back != 0)
    if np.abs((graph - back).multiply(both).data).max(initial=0.0) > ROUNDED * graph.max():
        raise InvalidArgument(
            "the graph has edges whose two directions differ in length, so that shortest ways are"
            " no metric; pass a symmetric graph, or the costs as a matrix"
        )
    return graph


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
