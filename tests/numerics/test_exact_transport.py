"""Exact transport in any unit and place: against linear programs, permutations and shifts."""

from itertools import permutations

import numpy as np
import pytest
from scipy.optimize import linprog

import jko
from jko.numerics.exact_transport import exact_plan, quantile_plan, square_costs

W = jko.Wasserstein()


def clouds(n=12, m=17, d=2, seed=0):
    """Two measures of unequal size, with weights of many sizes."""
    rng = np.random.default_rng(seed)
    a, b = rng.dirichlet(np.full(n, 0.5)), rng.dirichlet(np.full(m, 0.5))
    return rng.normal(size=(n, d)), a, 1 + rng.normal(size=(m, d)), b


def program(x, a, y, b):
    """The value of the linear program, by HiGHS on costs from explicit loops."""
    n, m = len(a), len(b)
    cost = [float(np.sum((x[i] - y[j]) ** 2)) for i in range(n) for j in range(m)]
    rows = np.kron(np.eye(n), np.ones(m))
    columns = np.kron(np.ones(n), np.eye(m))
    found = linprog(cost, A_eq=np.vstack([rows, columns]), b_eq=np.concatenate([a, b]))
    assert found.success
    return found.fun


@pytest.mark.parametrize("d", [2, 5, 25])
def test_values_are_those_of_the_program(d):
    x, a, y, b = clouds(d=d, seed=d)
    found = W.sqdistance(jko.Particles(x, a), jko.Particles(y, b))
    assert found == pytest.approx(program(x, a, y, b), rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_small_problems_by_all_permutations(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, 6, 3))
    right = min(
        sum(float(np.sum((x[i] - y[j]) ** 2)) for i, j in enumerate(p)) / 6
        for p in permutations(range(6))
    )
    assert W.sqdistance(jko.Particles(x), jko.Particles(y)) == pytest.approx(right, rel=1e-12)


PLACES = {
    "unix time": [1.7e9, 0.0],
    "metres on a map": [5e6, 4.2e6],
    "far": [-1e12, 1e12],
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_a_common_shift_changes_nothing(place):
    """On coordinates that stay exact under the shift (multiples of 2^-10)."""
    x, a, y, b = clouds()
    x, y = np.round(x * 2**10) / 2**10, np.round(y * 2**10) / 2**10
    mu, nu = jko.Particles(x, a), jko.Particles(y, b)
    far_mu, far_nu = jko.Particles(x + place, a), jko.Particles(y + place, b)
    assert W.sqdistance(far_mu, far_nu) == pytest.approx(W.sqdistance(mu, nu), rel=1e-12)
    near, far = W.plan(mu, nu).toarray(), W.plan(far_mu, far_nu).toarray()
    np.testing.assert_allclose(far, near, rtol=0, atol=1e-13)
    moved = W.barycentric_map(far_mu, far_nu) - place
    np.testing.assert_allclose(moved, W.barycentric_map(mu, nu), atol=4 * np.spacing(1e12))
    steps = W.potential(far_mu, far_nu) - W.potential(mu, nu)
    np.testing.assert_allclose(steps, 0, atol=1e-11)


@pytest.mark.parametrize("length", [1e-9, 1e-7, 1.0, 1e9])
@pytest.mark.parametrize("mass", [1e-9, 1.0, 1e9])
def test_units_of_length_and_mass(length, mass):
    """W^2 scales by M L^2, in one dimension and in two."""
    for d in (1, 2):
        x, a, y, b = clouds(d=d, seed=3)
        right = W.sqdistance(jko.Particles(x, a), jko.Particles(y, b))
        found = W.sqdistance(
            jko.Particles(length * x, mass * a), jko.Particles(length * y, mass * b)
        )
        assert found == pytest.approx(mass * length**2 * right, rel=1e-11)


@pytest.mark.parametrize("far", [1e4, 1e7, 1e10])
def test_outliers_that_stay_do_not_drown_the_rest(far):
    """Both clouds have an atom far away that moves by 1: it adds its mass to the value."""
    x, a, y, b = clouds(20, 20, seed=1)
    inner = W.sqdistance(jko.Particles(x, a), jko.Particles(y, b))
    outlier, up = np.array([[far, 0.0]]), np.array([[0.0, 1.0]])
    mu = jko.Particles(np.vstack([x, outlier]), np.append(a, 0.3))
    nu = jko.Particles(np.vstack([y, outlier + up]), np.append(b, 0.3))
    assert W.sqdistance(mu, nu) == pytest.approx(inner + 0.3, rel=1e-9)
    plan = W.plan(mu, nu).toarray()
    assert plan[-1, -1] == pytest.approx(0.3, rel=1e-12)
    assert plan[:-1, -1].sum() <= 1e-14


def test_an_outlier_of_one_side_is_paid_for():
    x, a, y, b = clouds(9, 9, seed=2)
    mu = jko.Particles(np.vstack([x, [[1e10, 0.0]]]), np.append(a, 0.25))
    nu = jko.Particles(y, 1.25 * b)
    assert W.sqdistance(mu, nu) == pytest.approx(0.25e20, rel=1e-6)


def test_weights_that_sum_in_two_ways_send_nothing_far():
    """1/10 against three times 1/30, with 1e10 between the groups: rounding is no mass."""
    for d in (1, 2):
        x = np.zeros((10, d))
        x[5:, 0] = 1e10
        y = np.repeat(x, 3, axis=0)
        y[:, -1] += 1.0
        mu = jko.Particles(x, np.full(10, 0.1))
        nu = jko.Particles(y, np.full(30, 0.1 / 3))
        assert W.sqdistance(mu, nu) == pytest.approx(1.0, rel=1e-9)


def test_light_atoms_keep_their_way():
    """A weight of 1e-9 that travels 1e10 costs 1e11: light is not rounding."""
    for d in (1, 2):
        x, y = np.zeros((2, d)), np.zeros((2, d))
        x[1, 0], y[1, 0] = 1.0, 1e10
        weights = [1.0, 1e-9]
        found = W.sqdistance(jko.Particles(x, weights), jko.Particles(y, weights))
        assert found == pytest.approx(1e-9 * 1e20, rel=1e-6)


def test_the_certificate_is_one():
    """Potentials are feasible, gaps are those of the values, and complementary slackness holds."""
    x, a, y, b = clouds(30, 25, seed=4)
    cost = square_costs(x, y)
    found = exact_plan(a, b, cost)
    assert (found.u[:, None] + found.v <= cost + 1e-12).all()
    assert found.value - (a @ found.u + b @ found.v) == pytest.approx(found.gap, abs=1e-12)
    assert 0 <= found.gap <= 1e-12 * found.value
    np.testing.assert_allclose(np.bincount(found.left, found.share), a, rtol=1e-9)
    np.testing.assert_allclose(np.bincount(found.right, found.share), b, rtol=1e-9)


def test_a_wrong_plan_is_refused(monkeypatch):
    """Checkers are tested with wrong answers: a solver that returns the product plan."""
    import ot

    def product(a, b, cost, **options):
        return np.outer(a, b), {"warning": None, "v": np.zeros(len(b))}

    monkeypatch.setattr(ot, "emd", product)
    x, a, y, b = clouds()
    with pytest.raises(jko.Unsupported, match=r"its plan costs .* its dual proves .* outliers"):
        exact_plan(a, b, square_costs(x, y))


def test_plans_on_the_line_are_sorted():
    x, a, y, b = clouds(7, 9, d=1, seed=5)
    left, right, share = quantile_plan(x[:, 0], a, y[:, 0], b)
    assert (np.diff(x[left, 0]) >= 0).all()
    assert (np.diff(y[right, 0]) >= 0).all()
    np.testing.assert_allclose(np.bincount(left, share, 7), a, rtol=1e-12)
    np.testing.assert_allclose(np.bincount(right, share, 9), b, rtol=1e-12)
    value = float(share @ (x[left, 0] - y[right, 0]) ** 2)
    assert value == pytest.approx(exact_plan(a, b, square_costs(x, y)).value, rel=1e-11)


def test_plans_have_the_shape_and_marginals_of_the_measures():
    """Zero weights keep their rows; the map leaves weightless atoms where they are."""
    grid = jko.Grid([-1, -1], [1, 1], [3, 4])
    rng = np.random.default_rng(6)
    mu = jko.GridDensity(grid, rng.dirichlet(np.ones(12)) * (np.arange(12) % 3 > 0))
    nu = jko.Particles(rng.normal(size=(5, 2)), mu.mass * np.array([0.2, 0.0, 0.3, 0.1, 0.4]))
    plan = W.plan(mu, nu)
    assert plan.shape == (12, 5)
    assert plan.nnz <= 8 + 4 - 1
    np.testing.assert_allclose(plan.sum(axis=1), mu.weights, atol=1e-14)
    np.testing.assert_allclose(plan.sum(axis=0), nu.weights, atol=1e-14)
    moved = W.barycentric_map(mu, nu)
    empty = mu.weights == 0
    assert np.array_equal(moved[empty], mu.points[empty])
    np.testing.assert_allclose(mu.weights @ moved, nu.weights @ nu.points, atol=1e-13)
    with pytest.raises(jko.Unsupported, match="two discrete measures"):
        W.plan(jko.Gaussian([0.0], 1.0), jko.Gaussian([0.0], 1.0))


@pytest.mark.parametrize("share", [1e-15, 1e-12, 1e-9, 1e-6])
def test_measures_that_are_nearly_one(share):
    """Most atoms stay: the value is small beside the rounding of the potentials."""
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(40, 2)), rng.dirichlet(np.ones(40))
    other = w * (1 + share * rng.normal(size=40))
    for y in (x, x.astype(np.float32).astype(float)):
        found = exact_plan(w, other, square_costs(x, y))
        assert 0 <= found.gap <= 1e-12
        assert found.value <= 20 * share + 1e-13


def test_next_to_no_mass_that_moves_is_no_contradiction():
    """Moves of 1e-17 along ways of order one: potentials err by more than the plan costs."""
    a = np.array([4.0364685236284661e-14, 1.0001354669189541e-07, 2.0147455888762744e00])
    b = np.array(
        [
            2.5543222292210627e-18,
            4.0331729281895748e-14,
            4.4828693922174250e-18,
            1.0001354668223274e-07,
            2.0147455888762744e00,
        ]
    )
    cost = np.array(
        [
            [9.203364869359273, 0.0, 5.003945373424502, 1.9689785133658269, 0.23148866401933949],
            [6.534397251014286, 1.9689785133658269, 6.956125575831915, 0.0, 1.7664353080961888],
            [6.990136529546687, 0.23148866401933949, 3.202180643609261, 1.7664353080961888, 0.0],
        ]
    )
    found = exact_plan(a, b, cost)
    assert 0 <= found.value <= 1e-12
    assert found.gap <= 1e-12


@pytest.mark.parametrize("off", [0.0, 1e-16, 1e-15])
@pytest.mark.parametrize("seed", range(4))
def test_measures_alike_to_rounding_are_no_distance_apart(off, seed):
    """All moves stay where they are; the potentials of the solver were sums of long ways."""
    rng = np.random.default_rng(seed)
    x, w = rng.normal(size=(150, 2)), rng.dirichlet(np.ones(150))
    a = w * (1 + off * rng.normal(size=150))
    for shift in (0.0, 1e3):
        cost = square_costs(x + shift, x + shift)
        found = exact_plan(a, w, cost)
        assert found.value <= 1e-13
        assert found.gap <= 1e-12
        assert (found.u[:, None] + found.v <= cost + 1e-12).all()
    assert W.sqdistance(jko.Histogram(x, a / a.sum()), jko.Histogram(x, w)) <= 1e-13


def test_steps_that_stay_where_they_are_between_many_atoms():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(120, 2)), rng.normal(size=(60, 2))
    mu = jko.Histogram(x, rng.dirichlet(np.ones(120)))
    found = jko.step(mu, jko.WassersteinEnergy(jko.Particles(y)), W, 1e-4)
    assert found.gap <= found.allowed
    assert found.sqdistance <= 1e-6
