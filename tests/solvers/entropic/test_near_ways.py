"""Entropic steps on graphs by a sparse kernel: against the dense one, and where ways are cut."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

import jko
from jko.geometries import ground
from jko.numerics.log_matrix import LogMatrix
from jko.numerics.log_sparse import LogSparse
from jko.solvers.entropic import run
from jko.solvers.entropic import solver as module

RNG = np.random.default_rng(8)
SIDE = 9
N = SIDE * SIDE


def lattice():
    i = np.arange(N).reshape(SIDE, SIDE)
    first = np.concatenate([i[:-1].ravel(), i[:, :-1].ravel()])
    second = np.concatenate([i[1:].ravel(), i[:, 1:].ravel()])
    return csr_array((RNG.uniform(0.5, 1.5, first.size), (first, second)), shape=(N, N))


GRAPH = lattice()
MU = jko.Histogram(RNG.normal(size=(N, 2)), RNG.dirichlet(np.ones(N)) * (RNG.uniform(size=N) < 0.7))
PI = MU.with_weights(RNG.dirichlet(np.ones(N)) * MU.mass)
CLOSED = np.where(np.arange(N) % 7 == 3, np.inf, 0.0)
ENERGIES = {
    "kl": jko.KL(PI),
    "entropy": jko.Entropy() + jko.Potential(RNG.normal(size=N)),
    "closed": jko.PhiDivergence(PI, p=2) + jko.Potential(np.where(MU.weights > 0, 0.0, CLOSED)),
}


def by_near_ways(monkeypatch):
    """As on more nodes: no dense kernel, and no Newton's method."""
    monkeypatch.setattr(module, "DENSE_LIMIT", 10)
    monkeypatch.setattr(run, "NEWTON_LIMIT", 10)


def test_the_bias_covers_the_exact_step(monkeypatch):
    by_near_ways(monkeypatch)
    geometry, energy = jko.Wasserstein(cost=GRAPH), ENERGIES["kl"]
    best = jko.step(MU, energy, geometry, 0.5, solver=jko.solvers.TransportProgram(max_atoms=N))
    found = jko.step(MU, energy, geometry, 0.5, solver=jko.solvers.Entropic(debias=False))
    excess = energy.value(found.measure) + geometry.penalty(found.measure, MU, 0.5) - best.objective
    assert 0 < excess <= found.bias


@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize("energy", ENERGIES.values(), ids=ENERGIES.keys())
def test_a_sparse_kernel_steps_like_the_dense_one(energy, p, monkeypatch):
    geometry = 0.6 * jko.Wasserstein(p=p, cost=GRAPH)
    solver = jko.solvers.Entropic(debias=False)
    dense = jko.step(MU, energy, geometry, 0.5, solver=solver)
    by_near_ways(monkeypatch)
    sparse = jko.step(MU, energy, geometry, 0.5, solver=solver)
    assert sparse.objective == pytest.approx(dense.objective, rel=1e-7)
    np.testing.assert_allclose(sparse.measure.weights, dense.measure.weights, atol=1e-6)
    assert sparse.info["reg"] == pytest.approx(dense.info["reg"], rel=1e-12)
    # The cost of the entropic plan stands where the dense step has that of a sharp one.
    assert sparse.sqdistance >= dense.sqdistance - 1e-9


def test_ways_that_are_cut_are_paid_for_in_the_bias(monkeypatch):
    """With ways of one edge the step to a far target is another; the bias says how far."""
    geometry, solver = jko.Wasserstein(cost=GRAPH), jko.solvers.Entropic(debias=False)
    one = 0.01 + np.exp(-dijkstra(GRAPH, directed=False, indices=0) / 2)
    mu = MU.with_weights(one / one.sum())
    energy = jko.KL(MU.with_weights(one[::-1] / one.sum()))
    by_near_ways(monkeypatch)
    free = jko.step(mu, energy, geometry, 5.0, solver=solver)
    monkeypatch.setattr(ground, "MAX_PAIRS", 4 * 5 * N)
    tight = jko.step(mu, energy, jko.Wasserstein(cost=GRAPH), 5.0, solver=solver)
    ways, reach, _ = jko.Wasserstein(cost=GRAPH).ground.near(MU)
    assert ways.nnz < 8 * N
    assert ways.data.max() <= reach
    excess = (tight.energy + tight.sqdistance / 10) - (free.energy + free.sqdistance / 10)
    assert excess > 0.01
    assert tight.bias >= excess - free.bias


def test_near_ways_are_all_short_ways():
    ways, reach, longest = jko.Wasserstein(cost=GRAPH).ground.near(MU)
    full = dijkstra(GRAPH, directed=False)
    short = full**2 <= reach
    np.testing.assert_allclose(ways.toarray()[short], full[short] ** 2, rtol=1e-12)
    assert ways.nnz == int(short.sum())
    assert longest >= full.max() ** 2


def test_scattered_atoms_in_the_plane_step_alike(monkeypatch):
    geometry, solver = 2.0 * jko.Wasserstein(), jko.solvers.Entropic(reg=0.3, debias=False)
    dense = jko.step(MU, jko.KL(PI), geometry, 0.1, solver=solver)
    by_near_ways(monkeypatch)
    sparse = jko.step(MU, jko.KL(PI), geometry, 0.1, solver=solver)
    assert sparse.objective == pytest.approx(dense.objective, rel=1e-7)
    np.testing.assert_allclose(sparse.measure.weights, dense.measure.weights, atol=1e-6)
    assert sparse.bias >= 0


def test_mass_spreads_from_one_node_beyond_the_short_ways(monkeypatch):
    by_near_ways(monkeypatch)
    monkeypatch.setattr(ground, "MAX_PAIRS", 4 * 5 * N)
    one = MU.with_weights(np.eye(N)[0])
    run = jko.flow(one, jko.Entropy(), jko.Wasserstein(cost=GRAPH), tau=5.0, steps=3)
    assert run.success
    assert (np.diff(run.energies) < 0).all()
    assert run.final.mass == pytest.approx(1.0, rel=1e-9)


def test_sparse_products_are_those_of_the_dense_twin():
    entries = np.where(RNG.uniform(size=(30, 30)) < 0.2, RNG.normal(size=(30, 30)), -np.inf)
    np.fill_diagonal(entries, 0.0)
    rows, columns = np.nonzero(np.isfinite(entries))
    kept = csr_array((entries[rows, columns] + 9, (rows, columns)), shape=(30, 30))
    sparse, dense = LogSparse(kept.data - 9, kept.indices, kept.indptr), LogMatrix(entries)
    v = 300 * RNG.normal(size=30)
    v[4] = -np.inf
    for size in (0.0, 1.0, 500.0):  # absorbed, drifted, absorbed anew
        shifted = v + size * RNG.uniform(size=30)
        np.testing.assert_allclose(sparse(shifted), dense(shifted), rtol=1e-12)
