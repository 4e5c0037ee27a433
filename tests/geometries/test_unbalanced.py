"""Wasserstein-Fisher-Rao distances: U1, the certificate, an independent conic program, limits."""

import cvxpy as cp
import numpy as np
import pytest
from generators import measures

import jko
from jko.geometries.unbalanced_transport import relative_entropy, unbalanced_plan


def two_diracs(geometry, d, m0, m1):
    """U1."""
    angle = min(np.sqrt(geometry.beta / (4 * geometry.alpha)) * d, np.pi / 2)
    roots = (np.sqrt(m0) - np.sqrt(m1)) ** 2 + 4 * np.sqrt(m0 * m1) * np.sin(angle / 2) ** 2
    return 4 / geometry.beta * roots


@pytest.mark.parametrize("share", [0, 1e-6, 1e-3, 0.3, 0.9, 0.9999, 1, 1.5, 40])
@pytest.mark.parametrize(("alpha", "beta"), [(1, 4), (0.7, 1.3), (50, 0.02), (0.03, 20)])
def test_two_diracs(share, alpha, beta):
    g = jko.WassersteinFisherRao(alpha, beta)
    for m0, m1 in ((1.7, 0.6), (1, 1), (3e-4, 80.0)):
        a = jko.Particles([[0.0, 0.0]], [m0])
        b = jko.Particles([[0.6 * share * g.cut, 0.8 * share * g.cut]], [m1])
        expected = two_diracs(g, share * g.cut, m0, m1)
        assert g.sqdistance(a, b) == pytest.approx(expected, rel=1e-11, abs=1e-15)
        assert (0.25 * g).sqdistance(a, b) == pytest.approx(4 * expected, rel=1e-11, abs=1e-15)


def test_beyond_the_cut_nothing_moves():
    g = jko.WassersteinFisherRao(2.0, 0.5)
    a = measures.particles(9, 2, seed=1, mass=1.3)
    b = measures.particles(7, 2, seed=2, mass=0.4, shift=3 * g.cut)
    assert g.sqdistance(a, b) == pytest.approx(4 / 0.5 * 1.7, rel=1e-14)
    np.testing.assert_allclose(g.potential(a, b), 2 / 0.5)


def test_points_far_apart_leave_hellinger():
    """Distinct atoms beyond the cut of each other: He^2/beta."""
    g = jko.WassersteinFisherRao(1e-4, 2.0)
    a = measures.histogram(seed=1, mass=1.7)
    b = measures.sibling(a, 2, mass=0.9)
    assert g.sqdistance(a, b) == pytest.approx(jko.Hellinger().sqdistance(a, b) / 2, rel=1e-11)
    np.testing.assert_allclose(
        g.potential(a, b)[a.weights > 0],
        jko.Hellinger().potential(a, b)[a.weights > 0] / 2,
        rtol=1e-9,
    )


def test_slow_reaction_leaves_wasserstein():
    """beta -> 0: WFR^2 -> W^2/alpha between equal masses, from below and at rate beta."""
    a, b = (measures.particles(n, 2, seed=n, mass=1.7) for n in (9, 13))
    expected = jko.Wasserstein().sqdistance(a, b) / 3
    found = [jko.WassersteinFisherRao(3.0, beta).sqdistance(a, b) for beta in (1e-3, 1e-4)]
    assert found[0] < found[1] < expected
    assert found[1] == pytest.approx(expected, rel=1e-4)
    assert (expected - found[0]) / (expected - found[1]) == pytest.approx(10, rel=0.05)


@pytest.mark.parametrize("seed", range(12))
def test_certificate_closes_on_hard_problems(seed):
    """Weights over six decades, extents from far below to far above the cut."""
    rng = np.random.default_rng(seed)
    n, m = rng.integers(2, 40, 2)
    size = 10 ** rng.uniform(-3, 1.3)
    a = jko.Particles(size * rng.normal(size=(n, 2)), 10 ** rng.uniform(-4, 2, n))
    b = jko.Particles(size * rng.normal(size=(m, 2)), 10 ** rng.uniform(-4, 2, m))
    g = jko.WassersteinFisherRao(1.0, 1.0)
    lower, upper = g.bounds(a, b)
    assert lower <= upper * (1 + 1e-14)
    assert upper - lower <= 1e-11 * upper
    assert g.sqdistance(a, b) == pytest.approx(g.sqdistance(b, a), rel=1e-11)


def test_bounds_are_those_of_the_plan_and_the_potentials():
    """Both values recomputed by hand, and the potentials are feasible."""
    rng = np.random.default_rng(3)
    mu, nu, cost = rng.random(8), rng.random(11), rng.random((8, 11)) * 3
    cost[2], cost[4, 5:] = np.inf, np.inf
    r = unbalanced_plan(mu, nu, cost)
    assert (r.f[:, None] + r.h <= cost + 1e-12).all()
    assert (r.plan >= 0).all()
    assert (r.plan[np.isinf(cost)] == 0).all()
    first, second = r.plan.sum(axis=1), r.plan.sum(axis=0)
    upper = (np.where(np.isinf(cost), 0, cost) * r.plan).sum()
    upper += relative_entropy(first, mu) + relative_entropy(second, nu)
    assert r.upper == pytest.approx(upper, rel=1e-14)
    lower = mu @ (1 - np.exp(-r.f)) + nu @ (1 - np.exp(-r.h))
    assert r.lower == pytest.approx(lower, rel=1e-14)
    assert abs(r.upper - r.lower) <= 1e-12
    assert r.f[2] == np.inf


def test_atoms_of_next_to_no_mass_beside_huge_ones_pay_it():
    """Shares of the mass below the least double divided by nought: no plan was left."""
    mu, nu = np.array([6e5, 3e-52, 8e40, 3e46]), np.array([0.17, 0.28, 1.7e-301])
    cost = np.array([[0, 0.03, 0.1], [0.03, 0, np.inf], [0.1, 0.03, 0], [0.2, 0.1, np.inf]])
    r = unbalanced_plan(mu, nu, cost)
    assert (r.f[:, None] + r.h <= cost).all()
    exact = mu.sum()  # but for what 1e-46 of it may save
    assert r.lower <= exact * (1 + 1e-12)
    assert r.upper == pytest.approx(exact)


def test_against_an_exponential_cone_program():
    """U2 written out with relative entropies: another formulation, another solver."""
    g = jko.WassersteinFisherRao(0.4, 1.5)
    a, b = measures.particles(8, 2, seed=1, mass=1.3), measures.particles(6, 2, seed=2, mass=2.0)
    a, b = (jko.Particles(p.points[p.weights > 0], p.weights[p.weights > 0]) for p in (a, b))
    cost = g.cost(a.points, b.points)
    plan = cp.Variable(cost.shape, nonneg=True)
    value = cp.sum(cp.multiply(np.where(np.isinf(cost), 0, cost), plan))
    value += cp.sum(cp.kl_div(cp.sum(plan, axis=1), a.weights))
    value += cp.sum(cp.kl_div(cp.sum(plan, axis=0), b.weights))
    blocked = [plan[np.isinf(cost)] == 0] if np.isinf(cost).any() else []
    program = cp.Problem(cp.Minimize(4 / 1.5 * value), blocked)
    program.solve(solver="CLARABEL", tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9)
    assert g.sqdistance(a, b) == pytest.approx(program.value, rel=1e-8)


def test_conic_form_is_the_squared_distance():
    g = jko.WassersteinFisherRao(0.7, 1.3)
    mu = measures.histogram(seed=1, mass=1.7)
    pi = measures.sibling(mu, 2, mass=0.9)
    w = cp.Variable(mu.n)
    value, constraints = g.conic(w, mu)
    program = cp.Problem(cp.Minimize(value), [*constraints, w == pi.weights])
    program.solve(solver="CLARABEL")
    assert program.value == pytest.approx(g.sqdistance(pi, mu), rel=1e-7)


def test_geodesic_between_two_diracs():
    """In the textbook case the square root of the mass moves on a chord."""
    g = jko.WassersteinFisherRao(1.0, 4.0)
    a, b = jko.Particles([[0.0]], [1.0]), jko.Particles([[1.0]], [4.0])
    middle = g.geodesic(a, b, 0.5)
    z = 0.5 * (1 + 2 * np.exp(1j))
    np.testing.assert_allclose(middle.points, [[np.angle(z)]], rtol=1e-12)
    np.testing.assert_allclose(middle.weights, [abs(z) ** 2], rtol=1e-12)
    lost = jko.Particles([[9.0]], [4.0])
    np.testing.assert_allclose(g.geodesic(a, lost, 0.5).weights, [0.25, 1.0])


@pytest.mark.parametrize("name", ["alpha", "beta"])
@pytest.mark.parametrize("value", [0, -1, np.inf, "1"])
def test_rates_are_positive_numbers(name, value):
    with pytest.raises(jko.JkoError, match=name):
        jko.WassersteinFisherRao(**{name: value})


def test_refusals_say_what_to_do():
    g = jko.WassersteinFisherRao()
    with pytest.raises(jko.Unsupported, match="discretise"):
        g.sqdistance(measures.gaussian(seed=1), measures.gaussian(seed=2))
    x = np.linspace(0, 1, 2100)[:, None]
    big = jko.Histogram(x, np.full(2100, 1.0))
    with pytest.raises(jko.Unsupported, match="coarser grid"):
        g.sqdistance(big, big.with_weights(np.full(2100, 2.0)))
    assert repr(2 * g) == "2 * WassersteinFisherRao(alpha=1, beta=1)"
