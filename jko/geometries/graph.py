"""Ways along the edges of a graph as the cost of transport."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from jko.errors import InvalidArgument, InvalidMeasure, InvalidType
from jko.geometries.ground import MAX_PAIRS, ROUNDED, Ground, reach_of
from jko.measures.base import Discrete
from jko.numerics.partners import best_partners
from jko.validation import Array, Index, brief

if TYPE_CHECKING:
    from scipy.sparse import csr_array, sparray

#: From this many pairs on W_1 along a graph is a flow on its edges (.1 s there, the pairs 2 s).
EDGES_FROM = 250_000
DISCONNECTED = (
    "the graph has no way between atoms that carry mass: it is disconnected; add an edge, or"
    " compare the measures piece by piece"
)


@dataclass(frozen=True, eq=False)
class GraphCost(Ground):
    """d^p, d the length of the shortest way along the edges of an undirected graph."""

    graph: csr_array
    p: float
    listed: ClassVar[bool] = True
    power: ClassVar[bool] = True

    def between(self, a: Discrete, b: Discrete, rows: Index, columns: Index) -> Array:
        self._check(a)
        self._check(b)
        lengths = self._lengths(rows)[:, columns]
        if not np.isfinite(lengths).all():
            raise InvalidMeasure(DISCONNECTED)
        return np.asarray(lengths**self.p)

    def _lengths(self, rows: Index, limit: float = np.inf) -> Array:
        """Lengths of the shortest ways from `rows` to every node; inf beyond the limit."""
        from scipy.sparse.csgraph import dijkstra

        found = dijkstra(self.graph, directed=False, indices=rows, limit=limit)
        return np.asarray(found)

    def moves(
        self, a: Discrete, b: Discrete, wa: Array, wb: Array
    ) -> tuple[Index, Index, Array, float]:
        pairs = np.count_nonzero(wa) * np.count_nonzero(wb)
        if self.p != 1 or pairs < EDGES_FROM:
            return super().moves(a, b, wa, wb)
        from jko.numerics.edge_flow import least_flow, moves

        self._check(a)
        self._check(b)
        excess = np.bincount(self._components, wa - wb)
        if np.abs(excess).max(initial=0.0) > ROUNDED * float(wa.sum()):
            raise InvalidMeasure(DISCONNECTED)
        flow = least_flow(self.graph, wa, wb)
        return *moves(flow, wa, wb), flow.value

    @property
    def smaller(self) -> str:
        if self.p == 1:
            return super().smaller
        return (
            "pass p=1, whose transport is a flow along the edges, or measures with fewer atoms of"
            " weight > 0"
        )

    def partners(
        self, mu: Discrete, rows: Index, columns: Index, gain: Array, price: float
    ) -> tuple[Index, Array, Array]:
        self._check(mu)
        if rows.size * columns.size < EDGES_FROM:
            return super().partners(mu, rows, columns, gain, price)
        if self.p != 1:
            return self._by_pieces(rows, columns, gain, price)
        from jko.numerics.edge_flow import nearest

        asked, place = np.full(mu.n, np.inf), np.zeros(mu.n, dtype=np.intp)
        asked[columns], place[columns] = -gain / price, np.arange(columns.size)
        way, partner = nearest(self.graph, asked)
        found = place[partner[rows]]
        return found, -price * way[rows], way[rows] - asked[partner[rows]]

    def _by_pieces(
        self, rows: Index, columns: Index, gain: Array, price: float
    ) -> tuple[Index, Array, Array]:
        """No way is worth more than the best gain exceeds that of staying: search no further."""
        stays = np.full(self.graph.shape[0], -np.inf)
        stays[columns] = gain
        worth = np.maximum(float(gain.max()) - stays[rows], 0.0) / price
        limit = worth ** (1 / self.p) * (1 + ROUNDED)
        partner, best, paid = np.zeros(rows.size, dtype=np.intp), np.zeros(rows.size), limit.copy()
        count = max(1, MAX_PAIRS // self.graph.shape[0])
        order = np.argsort(limit)
        for start in range(0, rows.size, count):
            part = order[start : start + count]
            lengths = self._lengths(rows[part], float(limit[part[-1]]))[:, columns]
            costs = lengths**self.p
            partner[part], best[part] = best_partners(gain, costs, price)
            paid[part] = costs[np.arange(part.size), partner[part]]
        return partner, best, paid

    def near(self, mu: Discrete) -> tuple[csr_array, float, float]:
        self._check(mu)
        there = self._lengths(np.flatnonzero(mu.weights)[:1])
        longest = 2 * float(there[np.isfinite(there)].max())  # to one node and on from there
        return *self._near, longest**self.p

    @cached_property
    def _near(self) -> tuple[csr_array, float]:
        from scipy.sparse import csr_array

        n = self.graph.shape[0]
        some = np.unique(np.linspace(0, n - 1, 64).astype(np.intp))
        reach = reach_of(self._lengths(some), n)
        blocks = []
        for start in range(0, n, max(1, MAX_PAIRS // n)):
            rows = np.arange(start, min(n, start + max(1, MAX_PAIRS // n)))
            found = self._lengths(rows, reach)
            i, j = np.nonzero(np.isfinite(found))
            blocks.append((np.bincount(i, minlength=rows.size), j, found[i, j]))
        counts, indices, data = (np.concatenate(part) for part in zip(*blocks, strict=True))
        ends = np.concatenate([[0], np.cumsum(counts)])
        return csr_array((data**self.p, indices, ends), shape=(n, n)), reach**self.p

    def _far(self, mu: Discrete, charged: Index, ends: Index) -> float:
        first = self.between(mu, mu, charged[:1], ends)[0]
        back = self.between(mu, mu, ends[[first.argmax()]], charged)[0]
        return float(max(first.max(), back.max()))

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


def checked_graph(cost: sparray) -> csr_array:
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
