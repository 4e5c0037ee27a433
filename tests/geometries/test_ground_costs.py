"""Wasserstein with other costs than |x-y|^2: distances, plans, steps, refusals."""

import numpy as np
import ot
import pytest
from generators.costs import geometries
from scipy.optimize import linprog
from scipy.sparse import csr_array
from scipy.sparse.csgraph import floyd_warshall

import jko
from jko import Gaussian, GridDensity, Histogram, Particles, Wasserstein
from jko.errors import InvalidArgument, InvalidMeasure, Unsupported
from jko.solvers.auto import RULES
from jko.solvers.programs.linear import LinearTransport
from jko.solvers.programs.transport import TransportProgram

RNG = np.random.default_rng(5)
X, Y = RNG.normal(size=(7, 2)), RNG.normal(size=(9, 2))
A = Histogram(X, RNG.dirichlet(np.ones(7)) * np.array([1, 1, 0, 1, 1, 1, 1.0]))
B = Particles(Y, RNG.dirichlet(np.ones(9)) * np.array([1, 0, 1, 1, 1, 1, 1, 1, 1.0]))
B = B.with_weights(B.weights * (A.mass / B.mass))
SKEW = RNG.uniform(size=(7, 7))  # neither symmetric nor zero on the diagonal


def program(a, b, cost):
    """min <cost, P> over couplings, as a linear program with nothing of jko in it."""
    n, m = cost.shape
    rows, columns = np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))
    found = linprog(
        cost.ravel(),
        A_eq=np.vstack([rows, columns])[:-1],
        b_eq=np.concatenate([a, b])[:-1],
        method="highs-ds",
    )
    return found.fun


def cycle(n, lengths):
    """A ring of n nodes, one triangle filled."""
    nodes = np.arange(n)
    ends = np.sort(np.stack([nodes, (nodes + 1) % n]), axis=0)
    return csr_array((lengths, (ends[0], ends[1])), shape=(n, n))


@pytest.mark.parametrize("p", [1, 1.5, 2, 3])
@pytest.mark.parametrize("dim", [1, 2])
def test_powers_agree_with_pot(p, dim):
    a, b = Histogram(X[:, :dim], A.weights), Particles(Y[:, :dim], B.weights)
    cost = np.abs(((a.points[:, None] - b.points) ** 2).sum(-1)) ** (p / 2)
    expected = ot.emd2(a.weights / a.mass, b.weights / b.mass, cost) * a.mass
    assert Wasserstein(p=p).distance(a, b) ** p == pytest.approx(expected, rel=1e-9)
    plan = Wasserstein(p=p).plan(a, b)
    assert float((plan * cost).sum()) == pytest.approx(expected, rel=1e-9)
    np.testing.assert_allclose(plan.sum(axis=1), a.weights, atol=1e-12)
    np.testing.assert_allclose(plan.sum(axis=0), b.weights, atol=1e-12)


def test_three_ways_to_name_a_cost_agree_with_a_linear_program():
    cost = np.abs(X[:, None] - Y).sum(-1)
    expected = program(A.weights, B.weights, cost)
    for given in (cost, lambda x, y: np.abs(x[:, None] - y).sum(-1)):
        assert Wasserstein(cost=given).sqdistance(A, B) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("p", [1, 2, 3])
def test_a_graph_means_its_shortest_ways(p):
    lengths = RNG.uniform(0.5, 2, 7)
    graph = cycle(7, lengths)
    b = A.with_weights(np.roll(A.weights, 3))
    expected = program(A.weights, b.weights, floyd_warshall(graph, directed=False) ** p)
    for given in (graph, graph + graph.T):
        found = Wasserstein(p=p, cost=given).distance(A, b)
        assert found**p == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("p", [1.0, 1.5, 3.0])
def test_the_rate_is_a_longer_step(p):
    w, b = Wasserstein(p=p), Histogram(X, np.roll(A.weights, 2))
    tau, transport = 0.3, Wasserstein(p=p).distance(A, b) ** p
    assert w.penalty(A, b, tau) == pytest.approx(transport / (p * tau ** (p - 1)), rel=1e-12)
    assert (2.5 * w).penalty(A, b, tau) == pytest.approx(w.penalty(A, b, 2.5 * tau), rel=1e-12)


def test_a_cost_is_never_raised_to_a_power():
    b = A.with_weights(np.roll(A.weights, 2))
    w = Wasserstein(cost=SKEW)
    forth, back = (
        program(*pair, SKEW) for pair in ((A.weights, b.weights), (b.weights, A.weights))
    )
    assert w.sqdistance(A, b) == pytest.approx(forth, rel=1e-9)
    assert w.sqdistance(b, A) == pytest.approx(back, rel=1e-9)
    # A step goes from the previous measure to the new one.
    assert (2.0 * w).penalty(b, A, 0.3) == pytest.approx(forth / 1.2, rel=1e-9)


GRAPH = cycle(7, RNG.uniform(0.5, 2, 7))
GEOMETRIES = geometries(SKEW, GRAPH)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=repr)
@pytest.mark.parametrize("linear", [False, True])
def test_no_competitor_does_better_than_a_step(geometry, linear):
    target = Histogram(X, RNG.dirichlet(np.ones(7)) * A.mass)
    energy = jko.Potential(lambda x: 3 * x[:, 0]) if linear else jko.KL(target)
    tau = 0.4
    found = jko.step(A, energy, geometry, tau)
    best = energy.value(found.measure) + geometry.penalty(found.measure, A, tau)
    assert found.objective == pytest.approx(best, rel=1e-9)
    for k in range(20):
        rival = A.with_weights(RNG.dirichlet(np.ones(7)) * A.mass)
        near = A.with_weights(
            found.measure.weights + 0.1**k * (rival.weights - found.measure.weights)
        )
        assert energy.value(near) + geometry.penalty(near, A, tau) >= best - 1e-9


def test_a_linear_step_is_a_linear_program():
    v, tau = RNG.normal(size=7), 0.4
    geometry = Wasserstein(cost=SKEW)
    found = jko.step(A, jko.Potential(v), geometry, tau)
    by_hand = float(A.weights @ (v + SKEW / (2 * tau)).min(axis=1))
    assert found.objective == pytest.approx(by_hand, rel=1e-12)
    np.testing.assert_allclose(found.plan.sum(axis=1), A.weights, atol=1e-15)
    np.testing.assert_allclose(found.plan.sum(axis=0), found.measure.weights, atol=1e-15)
    both = jko.step(A, jko.Potential(v), geometry, tau, solver=TransportProgram())
    assert both.objective == pytest.approx(by_hand, rel=1e-5)


def test_atoms_that_a_matrix_knows_by_place_are_not_merged():
    twice = Histogram(np.concatenate([X, X[:1]]), np.append(A.weights, 0.1))
    cost = RNG.uniform(size=(8, 8))
    v = RNG.normal(size=8)
    found = jko.step(twice, jko.Potential(lambda x: x[:, 0]), Wasserstein(cost=cost), 0.4)
    by_hand = float(twice.weights @ (twice.points[:, 0] + cost / 0.8).min(axis=1))
    assert found.objective == pytest.approx(by_hand, rel=1e-12)
    assert v.shape == (8,)


def test_a_step_on_a_graph_stays_in_its_piece():
    graph = csr_array(([1.0, 1.0], ([0, 2], [1, 3])), shape=(4, 4))
    mu = Histogram(np.arange(4.0)[:, None], [0.5, 0.5, 0, 0])
    geometry = Wasserstein(cost=graph)
    found = jko.step(mu, jko.Potential(np.array([1.0, 0.9, -5.0, -9.0])), geometry, 100.0)
    np.testing.assert_allclose(found.measure.weights, [0, 1, 0, 0], atol=1e-15)
    split = mu.with_weights([0.5, 0, 0.5, 0])
    with pytest.raises(InvalidMeasure, match="2 pieces"):
        jko.step(split, jko.Potential(np.zeros(4)), geometry, 1.0)
    with pytest.raises(InvalidMeasure, match="disconnected"):
        geometry.distance(mu, split)


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.solver.name)
@pytest.mark.parametrize("geometry", GEOMETRIES[2:4], ids=repr)
def test_solvers_of_the_quadratic_cost_refuse_every_other(rule, geometry):
    grid = jko.Grid([-2, -2], [2, 2], [4, 4])
    measures = [
        (A, jko.KL(Histogram(X, np.ones(7) / 7 * A.mass))),
        (Particles(X[:, :1]), jko.Potential(lambda x: x[:, 0], gradient=np.ones_like)),
        (GridDensity.from_function(lambda x: np.exp(-(x**2).sum(-1)), grid), jko.Entropy()),
        (Gaussian([0.0], [[1.0]]), jko.KL(Gaussian([1.0], [[2.0]]))),
    ]
    for mu, energy in measures:
        problem = jko.ProxProblem(energy, geometry, mu, 0.3)
        takes = rule.reason(problem) is None
        allowed = isinstance(rule.solver, (TransportProgram, LinearTransport))
        allowed = allowed or rule.solver.name == "Entropic(plain)"
        assert not takes or (allowed and mu is A)


def test_an_unknown_solver_is_not_asked_for_other_costs():
    class Mine(jko.solvers.Bures):
        def accepts(self, problem):
            return None

    energy = jko.KL(Gaussian([1.0], [[2.0]]))
    with pytest.raises(Unsupported, match=r"takes the cost \|x-y\|\^2 alone"):
        jko.step(Gaussian([0.0], [[1.0]]), energy, Wasserstein(p=3), 0.3, solver=Mine())


def test_a_distance_needs_a_metric():
    length = floyd_warshall(GRAPH, directed=False)
    b = A.with_weights(np.roll(A.weights, 3))
    metric = Wasserstein(cost=length**2)
    assert metric.distance(A, b) == pytest.approx(Wasserstein(cost=GRAPH).distance(A, b), rel=1e-9)
    for cost, why in ((SKEW, "not free"), (length**3, "triangle"), (length + 0.1, "not free")):
        with pytest.raises(Unsupported, match=why):
            Wasserstein(cost=cost).distance(A, b)
    with pytest.raises(Unsupported, match="straight ways"):
        metric.geodesic(A, b, 0.5)
    with pytest.raises(Unsupported, match="quadratic"):
        metric.potential(A, b)
    with pytest.raises(Unsupported, match="discrete measures"):
        Wasserstein(p=3).distance(Gaussian([0.0], [[1.0]]), Gaussian([0.0], [[2.0]]))
    assert jko.dro.worst_case(lambda x: x[:, 0], A, Wasserstein(p=1), radius=0.1).success


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"p": 0.5}, "p = 0.5 is below 1"),
        ({"p": 3, "cost": SKEW}, "never raised to a power"),
        ({"cost": -SKEW}, "is negative"),
        ({"cost": np.full((7, 7), np.nan)}, "is not finite"),
        ({"cost": np.ones(7)}, r"shape \(7,\)"),
        ({"cost": csr_array(([1.0, 2.0], ([0, 1], [1, 0])), shape=(2, 2))}, "two directions"),
        ({"cost": csr_array(([-1.0], ([0], [1])), shape=(2, 2))}, "edge of length -1"),
        ({"cost": csr_array(np.ones((2, 3)))}, r"shape \(2, 3\)"),
        ({"cost": "euclidean"}, "cost"),
    ],
)
def test_bad_costs_get_a_sentence(arguments, sentence):
    with pytest.raises(InvalidArgument, match=sentence):
        Wasserstein(**arguments)


def test_costs_of_the_wrong_shape_get_a_sentence():
    for cost in (SKEW, csr_array(SKEW + SKEW.T), lambda x, y: np.ones(3)):
        with pytest.raises(InvalidMeasure, match=r"shape|nodes"):
            Wasserstein(cost=cost).plan(A, B)


def test_equal_costs_are_equal_geometries(tmp_path):
    assert Wasserstein(p=2) == Wasserstein()
    assert Wasserstein(cost=SKEW) == Wasserstein(cost=SKEW.copy()) != Wasserstein(cost=2 * SKEW)
    assert hash(Wasserstein(cost=GRAPH)) == hash(Wasserstein(cost=GRAPH.copy()))
    for geometry in (Wasserstein(cost=SKEW), Wasserstein(p=3)):
        energy = jko.KL(Histogram(X, np.ones(7) / 7 * A.mass))
        run = jko.flow(A, energy, geometry, tau=0.2, steps=2)
        run.save(tmp_path / "run.npz")
        assert jko.Trajectory.load(tmp_path / "run.npz").energies == pytest.approx(run.energies)
