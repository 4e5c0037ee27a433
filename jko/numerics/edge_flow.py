r"""Transport along the edges of a graph: W_1 as a least flow, without distances between all pairs.

With lengths l_e of the edges of an undirected graph and B its incidence matrix (a row per node),

    W_1(a, b) = min { sum_e l_e |q_e| : B q = a - b } = max { <f, a - b> : |f_i - f_j| <= l_ij },

a linear program of two variables per edge (Ahuja et al. (1993), chapter 9; Peyré and Cuturi (2019),
section 6.3). A vertex of it is a flow on a forest, which is found again from the masses alone, so
that it conserves them to rounding; potentials are made feasible by shortest ways. The difference of
the two values is a certificate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from jko.errors import Unsupported
from jko.numerics.elementary import EPS
from jko.numerics.exact_transport import ALLOWED, SLIVER
from jko.validation import Array, Index, Mask


@dataclass(frozen=True, eq=False)
class EdgeFlow:
    """A flow along a forest of edges, from child to parent where it is positive.

    Attributes
    ----------
    order : (n,) array of int
        The nodes, parents before children.
    parent : (n,) array of int
        -1 at a root.
    flow : (n,) array
        What every node sends to its parent; negative where it receives.
    value : float
        What the flow costs.
    potential : (n,) array
        f, with |f_i - f_j| <= l_ij along every edge.
    gap : float
        value - <f, a - b> >= 0.
    """

    order: Index
    parent: Index
    flow: Array
    value: float
    potential: Array
    gap: float


def edges_of(graph: csr_array) -> tuple[Index, Index, Array]:
    """Ends i < j and lengths of the edges of an undirected graph, each once."""
    entries = graph.tocoo()
    i, j = (np.asarray(k, dtype=np.intp) for k in entries.coords)
    i, j, length = np.minimum(i, j), np.maximum(i, j), np.asarray(entries.data, dtype=float)
    order = np.lexsort((length, j, i))
    i, j, length = i[order], j[order], length[order]
    new = np.append(True, (np.diff(i) != 0) | (np.diff(j) != 0)) if i.size else np.zeros(0, bool)
    keep = new & (i != j)
    return i[keep], j[keep], length[keep]


def least_flow(graph: csr_array, a: Array, b: Array) -> EdgeFlow:
    """The flow that turns a (n,) into b (n,), of one mass on every piece of the graph.

    Raises
    ------
    Unsupported
        The program failed, or its flow and its potentials disagree.
    """
    i, j, length = edges_of(graph)
    longest, total = float(length.max(initial=0.0)) or 1.0, float(a.sum())
    supply = (a - b) / total
    flows, f = _program(i, j, length / longest, supply)
    order, parent, carried = _on_forest(len(a), i, j, length, np.abs(flows) > SLIVER)
    flow = np.zeros(len(a))
    below = supply.copy()
    for v in order[::-1]:
        if parent[v] >= 0:
            flow[v] = below[v]
            below[parent[v]] += below[v]
    flow[np.abs(flow) <= SLIVER] = 0.0
    f = lipschitz(graph, longest * f)
    value = float(carried @ np.abs(flow))
    gap = value - float(f @ supply)
    rounding = 8 * EPS * max(8, len(a)) * float(np.abs(f - np.median(f)) @ np.abs(supply))
    if not gap <= ALLOWED * value + rounding:
        raise Unsupported(
            f"the flow along the edges is too badly scaled: it costs {total * value:.6g}, its dual"
            f" proves {total * (value - gap):.6g}; rescale the lengths, or merge very short edges"
        )
    return EdgeFlow(order, parent, total * flow, total * value, f, total * max(gap, 0.0))


def _program(i: Index, j: Index, length: Array, supply: Array) -> tuple[Array, Array]:
    """Flows from i to j and potentials, by the dual simplex method of HiGHS."""
    from scipy.optimize import linprog

    n, m = supply.size, i.size
    if m == 0:
        return np.zeros(0), np.zeros(n)
    e = np.arange(m)
    ends = np.stack([i, j, j, i], axis=1).ravel()
    columns = np.stack([e, e, m + e, m + e], axis=1).ravel()
    signs = np.tile([1.0, -1.0, 1.0, -1.0], m)
    incidence = csr_array((signs, (ends, columns)), shape=(n, 2 * m))
    found = linprog(
        np.concatenate([length, length]),
        A_eq=incidence,
        b_eq=n * supply,
        method="highs-ds",
        # As little as HiGHS allows; masses are of order 1, lengths at most 1.
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if found.x is None:
        raise Unsupported(f"HiGHS could not solve the flow along the edges: {found.message}")
    q = np.asarray(found.x) / n
    return q[:m] - q[m:], np.asarray(found.eqlin.marginals)


def _on_forest(n: int, i: Index, j: Index, length: Array, used: Mask) -> tuple[Index, Index, Array]:
    """A spanning forest that holds the edges in use: order, parents, lengths to the parents."""
    from scipy.sparse.csgraph import breadth_first_order, connected_components
    from scipy.sparse.csgraph import minimum_spanning_tree as spanning

    shape = (n, n)
    tree = spanning(csr_array((np.where(used, 1.0, 2.0), (i, j)), shape=shape))
    number = csr_array((np.arange(1, i.size + 1), (i, j)), shape=shape)
    piece = connected_components(tree, directed=False)[1]
    roots = np.unique(piece, return_index=True)[1]
    orders, parent = [], np.full(n, -1, dtype=np.intp)
    for root in roots:
        nodes, before = breadth_first_order(tree, root, directed=False)
        orders.append(nodes)
        parent[nodes[1:]] = before[nodes[1:]]
    order = np.concatenate(orders).astype(np.intp)
    child = np.flatnonzero(parent >= 0)
    first, last = np.minimum(child, parent[child]), np.maximum(child, parent[child])
    carried = np.zeros(n)
    carried[child] = length[np.asarray(number[first, last]).ravel() - 1]
    return order, parent, carried


def lipschitz(graph: csr_array, f: Array) -> Array:
    """The largest function below f (n,) that changes by no more than the lengths of the edges."""
    return nearest(graph, f)[0]


def nearest(graph: csr_array, f: Array) -> tuple[Array, Index]:
    """min_j f_j + d_ij (n,) and a node j where it is taken, d the shortest way; f = inf allowed.

    One search from a node that is tied to every j by an edge of length f_j.
    """
    from scipy.sparse.csgraph import dijkstra

    n = f.size
    known = np.flatnonzero(np.isfinite(f))
    least = float(f[known].min())
    i, j, length = edges_of(graph)
    rows = np.concatenate([i, j, np.full(known.size, n)])
    columns = np.concatenate([j, i, known])
    lengths = np.concatenate([length, length, f[known] - least])  # 0 is a length to csgraph
    joined = csr_array((lengths, (rows, columns)), shape=(n + 1, n + 1))
    way, before = dijkstra(joined, indices=n, return_predecessors=True)
    target = np.arange(n + 1)
    inner = (before != n) & (before >= 0)
    target[inner] = before[inner]
    while True:  # pointers to pointers: a way of k edges takes log2 k rounds
        further = target[target]
        if np.array_equal(further, target):
            break
        target = further
    return np.asarray(way[:n] + least), target[:n].astype(np.intp)


def moves(found: EdgeFlow, a: Array, b: Array) -> tuple[Index, Index, Array]:
    """The flow as a plan: from, to, mass. What both measures have at a node stays there."""
    stays = np.minimum(a, b)
    plan = [(int(v), int(v), float(stays[v])) for v in np.flatnonzero(stays)]
    supply, demand = a - stays, b - stays
    pools: list[list[tuple[int, float]]] = [[] for _ in a]
    for k in np.flatnonzero(supply):
        pools[k].append((int(k), float(supply[k])))
    for v, targets in _downstream(found):
        pool = pools[v]
        for source, mass in _taken(pool, float(demand[v])):
            plan.append((source, v, mass))
        for w, amount in targets[:-1]:
            pools[w].extend(_taken(pool, amount))
        if targets:
            w = targets[-1][0]
            small, large = sorted((pool, pools[w]), key=len)
            large.extend(small)
            pools[w] = large
        pools[v] = []
    left, right, share = (np.array(k) for k in zip(*plan, strict=True))
    return left.astype(np.intp), right.astype(np.intp), share.astype(float)


def _taken(pool: list[tuple[int, float]], amount: float) -> list[tuple[int, float]]:
    """What makes up `amount`, removed from the end of a pool of (source, mass)."""
    out = []
    while amount > 0 and pool:
        source, mass = pool.pop()
        used = min(mass, amount)
        out.append((source, used))
        amount -= used
        if mass > used:
            pool.append((source, mass - used))
    return out


def _downstream(found: EdgeFlow) -> list[tuple[int, list[tuple[int, float]]]]:
    """Every node, after those that send to it, with what it sends where; the most comes last."""
    n = found.flow.size
    targets: list[list[tuple[int, float]]] = [[] for _ in range(n)]
    waits = np.zeros(n, dtype=int)
    for k in np.flatnonzero(found.flow):
        child, parent, amount = int(k), int(found.parent[k]), float(found.flow[k])
        source, goal = (child, parent) if amount > 0 else (parent, child)
        targets[source].append((goal, abs(amount)))
        waits[goal] += 1
    ready, out = [int(v) for v in np.flatnonzero(waits == 0)], []
    while ready:
        v = ready.pop()
        targets[v].sort(key=lambda pair: pair[1])
        out.append((v, targets[v]))
        for w, _ in targets[v]:
            waits[w] -= 1
            if waits[w] == 0:
                ready.append(w)
    return out
