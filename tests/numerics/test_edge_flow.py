"""W_1 along the edges of a graph: against all pairs, by its own dual, as a plan."""

import numpy as np
import ot
import pytest
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

import jko
from jko.geometries import graph as graph_module
from jko.numerics.edge_flow import edges_of, least_flow, moves, nearest

RNG = np.random.default_rng(3)


def lattice(k, lengths):
    """A k x k lattice with the given lengths of its edges."""
    i = np.arange(k * k).reshape(k, k)
    first = np.concatenate([i[:-1].ravel(), i[:, :-1].ravel()])
    second = np.concatenate([i[1:].ravel(), i[:, 1:].ravel()])
    return csr_array((lengths(first.size), (first, second)), shape=(k * k, k * k))


LENGTHS = {
    "equal": np.ones,  # many shortest ways
    "uneven": lambda m: RNG.uniform(0.1, 2, m),
    "some are 0": lambda m: RNG.integers(0, 3, m).astype(float),
    "far apart": lambda m: 10.0 ** RNG.uniform(-6, 3, m),
}


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
@pytest.mark.parametrize("mass", [1.0, 3e-4])
def test_a_flow_costs_what_all_pairs_cost(lengths, mass):
    graph = lattice(9, lengths)
    n = graph.shape[0]
    a, b = RNG.dirichlet(np.ones(n)), RNG.dirichlet(np.ones(n)) * (RNG.uniform(size=n) < 0.3)
    a[::3] = 0.0
    a, b = mass * a / a.sum(), mass * b / b.sum()
    way = dijkstra(graph, directed=False)
    expected = mass * ot.emd2(a / mass, b / mass, way)
    found = least_flow(graph, a, b)
    assert found.value == pytest.approx(expected, rel=1e-9)
    i, j, length = edges_of(graph)
    assert (np.abs(found.potential[i] - found.potential[j]) <= length + 1e-12).all()
    assert found.potential @ (a - b) == pytest.approx(found.value, rel=1e-9)
    left, right, share = moves(found, a, b)
    assert share.min() > 0
    assert share @ way[left, right] == pytest.approx(found.value, rel=1e-9)
    np.testing.assert_allclose(np.bincount(left, share, n), a, atol=1e-14 * mass)
    np.testing.assert_allclose(np.bincount(right, share, n), b, atol=1e-14 * mass)


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
def test_the_nearest_node_is_that_of_all_pairs(lengths):
    graph = lattice(8, lengths)
    f = RNG.normal(size=64)
    f[::5] = np.inf
    way, partner = nearest(graph, f)
    pairs = dijkstra(graph, directed=False) + f
    np.testing.assert_allclose(way, pairs.min(axis=1), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(pairs[np.arange(64), partner], way, rtol=1e-12, atol=1e-12)


def test_pieces_of_a_graph_flow_apart():
    graph = csr_array(([1.0, 2.0], ([0, 2], [1, 3])), shape=(5, 5))
    found = least_flow(graph, np.array([0.5, 0, 0.2, 0.2, 0.1]), np.array([0, 0.5, 0.4, 0, 0.1]))
    assert found.value == pytest.approx(0.5 * 1 + 0.2 * 2, rel=1e-12)
    x = jko.Histogram(np.arange(5.0)[:, None], [0.5, 0, 0.2, 0.2, 0.1])
    with pytest.raises(jko.InvalidMeasure, match="disconnected"):
        jko.Wasserstein(p=1, cost=graph).distance(x, x.with_weights([0.2, 0, 0.5, 0.2, 0.1]))


@pytest.mark.parametrize("p", [1, 1.5, 2])
def test_both_ways_of_the_geometry_agree(p, monkeypatch):
    """Distances, plans and linear steps, between all pairs and along the edges."""
    graph = lattice(10, LENGTHS["uneven"])
    points = RNG.normal(size=(100, 2))
    a = jko.Histogram(points, RNG.dirichlet(np.ones(100)))
    b = a.with_weights(RNG.dirichlet(np.ones(100)))
    energy, geometry = jko.Potential(RNG.normal(size=100)), 0.7 * jko.Wasserstein(p=p, cost=graph)
    found = []
    for least in (10**9, 0):
        monkeypatch.setattr(graph_module, "EDGES_FROM", least)
        step = jko.step(a, energy, geometry, 0.4)
        assert step.solver == "LinearTransport"
        assert step.gap <= 1e-12
        assert step.sqdistance == pytest.approx(geometry.sqdistance(a, step.measure), rel=1e-9)
        found.append((geometry.distance(a, b), step.objective, step.measure.weights))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-9)
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-12)
    np.testing.assert_array_equal(found[0][2], found[1][2])
