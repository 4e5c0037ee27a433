"""Interior point on the simplex and the cone: the definition first, then dense optimality."""

import numpy as np
import pytest
from scipy.optimize import nnls

from jko.solvers.weights.interior_point import QPStatus, cone_gap, simplex_gap, solve_qp


def gaussian_gram(x, y, h):
    return np.exp(-((x[:, None] - y[None]) ** 2).sum(-1) / (2 * h * h))


def pivoted(gram, tol):
    """Plain pivoted Cholesky: L (n, r) with max diag(gram - L L') <= tol."""
    rest, columns = np.diag(gram).copy(), []
    while rest.max() > tol:
        i = int(rest.argmax())
        column = gram[:, i] - sum((c[i] * c for c in columns), np.zeros(len(gram)))
        columns.append(column / np.sqrt(rest[i]))
        rest = rest - columns[-1] ** 2
        rest[i] = 0.0
    return np.array(columns).T, float(rest.max())


def mmd_step(n=240, m=170, h=0.7, eta=0.5, seed=0):
    """K, c, scale of the step from random weights (a third of them zero) to m uniform atoms."""
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((n, 2)), 0.8 * rng.standard_normal((m, 2)) + [0.7, -0.3]
    previous = rng.random(n) * (np.arange(n) % 3 > 0)
    previous /= previous.sum()
    gram = gaussian_gram(x, x, h)
    return gram, gaussian_gram(x, y, h).mean(1) + gram @ previous / eta, 1 + 1 / eta


def value(hessian, c, w):
    return 0.5 * w @ hessian @ w - c @ w


def dense_check(result, hessian, c, mass=1.0, tol=1e-9):
    """Feasible, and the independently recomputed gap is the reported one and small."""
    w = result.weights
    assert (w >= 0).all()
    assert w.sum() == pytest.approx(mass, rel=4e-16 * max(4, np.sqrt(w.size)), abs=0)
    g = hessian @ w - c
    scale = 0.5 * w @ hessian @ w + np.abs(c) @ w
    assert w @ g - mass * g.min() <= tol * scale
    assert result.value == pytest.approx(value(hessian, c, w), abs=1e-13 * scale)
    assert result.multiplier == pytest.approx(g.min(), abs=1e-11 * max(1, np.abs(c).max()))


@pytest.mark.parametrize("mass", [1.0, None])
@pytest.mark.parametrize("unit", [1e-12, 1e12])
def test_the_same_weights_in_any_unit(mass, unit):
    """Masses by `unit` and energies by its square: no constant of the method has a unit."""
    gram, c, a = mmd_step()
    factor = pivoted(gram, 1e-13)[0]
    home = solve_qp(factor, c, scale=a, mass=mass, tol=1e-10)
    m = None if mass is None else unit
    away = solve_qp(factor, unit * c, scale=a, mass=m, tol=1e-10)
    assert home.status is away.status is QPStatus.OPTIMAL
    assert away.iterations == pytest.approx(home.iterations, abs=2)
    assert away.value / unit**2 == pytest.approx(home.value, abs=2e-10 * abs(home.value) + home.gap)


def test_no_random_competitor_does_better():
    gram, c, a = mmd_step()
    result = solve_qp(pivoted(gram, 1e-13)[0], c, scale=a)
    assert result.status is QPStatus.OPTIMAL
    rng = np.random.default_rng(1)
    for concentration in (0.02, 1.0, 50.0):
        for t in (1.0, 1e-2, 1e-4):
            for v in rng.dirichlet(np.full(len(c), concentration), size=20):
                w = (1 - t) * result.weights + t * v
                assert value(a * gram, c, w) >= result.value - result.gap


@pytest.mark.parametrize("eta", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("mass", [1.0, 1e-3, 250.0])
def test_reaches_the_gap_at_any_mass_and_step(eta, mass):
    gram, c, a = mmd_step(eta=eta)
    result = solve_qp(pivoted(gram, 1e-13)[0], c, scale=a, mass=mass, tol=1e-10)
    assert result.success
    assert result.iterations <= 25
    dense_check(result, a * gram, c, mass, tol=3e-10)


def test_agrees_with_clarabel_in_objective():
    cp = pytest.importorskip("cvxpy")
    gram, c, a = mmd_step(n=60)
    factor, _ = pivoted(gram, 1e-13)
    w = cp.Variable(60)
    objective = 0.5 * a * cp.sum_squares(factor.T @ w) - c @ w
    problem = cp.Problem(cp.Minimize(objective), [w >= 0, cp.sum(w) == 1])
    problem.solve(solver="CLARABEL")
    assert solve_qp(factor, c, scale=a).value == pytest.approx(problem.value, abs=1e-7)


def test_exact_solution_with_a_diagonal_hessian():
    """H = I: the answer is the Euclidean projection of c on the simplex, here by sorting."""
    c = np.random.default_rng(3).standard_normal(37)
    s = np.sort(c)[::-1]
    level = (np.cumsum(s) - 2.0) / np.arange(1, 38)
    exact = np.maximum(c - level[np.flatnonzero(s > level)[-1]], 0)
    result = solve_qp(np.zeros((37, 0)), c, diagonal=np.ones(37), mass=2.0, tol=1e-12)
    assert result.success
    np.testing.assert_allclose(result.weights, exact, atol=3e-6)


@pytest.mark.parametrize("columns", [1, 7, 40, 90])
def test_random_factors_with_and_without_diagonal(columns):
    rng = np.random.default_rng(columns)
    factor, c, d = rng.standard_normal((40, columns)), rng.standard_normal(40), rng.random(40)
    for diagonal in (None, d, 1e4 * d, d * (d > 0.5)):
        result = solve_qp(factor, c, scale=3.0, diagonal=diagonal)
        hessian = 3.0 * factor @ factor.T + (0 if diagonal is None else np.diag(diagonal))
        assert result.success
        dense_check(result, hessian, c)


def test_exact_product_certifies_a_coarse_factor():
    gram, c, a = mmd_step()
    factor, delta = pivoted(gram, 1e-8)
    plain = solve_qp(factor, c, scale=a, tol=1e-9)
    result = solve_qp(factor, c, scale=a, tol=1e-9, product=lambda w: gram @ w)
    assert result.success
    dense_check(result, a * gram, c, tol=1e-9)
    g = a * gram @ plain.weights - c
    eta = 1 / (a - 1)
    assert simplex_gap(plain.weights, g) <= plain.gap + delta * (0.5 + 2 / eta)


def test_correction_repairs_a_factor_a_hundred_times_too_coarse():
    gram, c, a = mmd_step(eta=1.0)
    factor, _ = pivoted(gram, 1e-7)
    result = solve_qp(factor, c, scale=a, tol=1e-9, product=lambda w: gram @ w)
    assert result.success
    dense_check(result, a * gram, c, tol=1e-9)


def test_hopeless_factor_says_so():
    gram, c, a = mmd_step()
    result = solve_qp(pivoted(gram, 1e-2)[0], c, scale=a, product=lambda w: gram @ w)
    assert result.status is QPStatus.COARSE_FACTOR
    g = a * gram @ result.weights - c
    assert result.gap == pytest.approx(simplex_gap(result.weights, g), rel=1e-9)


def test_leading_columns_suffice_early():
    gram, c, a = mmd_step()
    factor, _ = pivoted(gram, 1e-13)
    ranks = solve_qp(factor, c, scale=a).ranks
    assert ranks[0] < 0.5 * factor.shape[1]


@pytest.mark.parametrize("offset", [1e6, -1e3])
def test_offset_of_the_linear_term_changes_nothing_but_the_value(offset):
    gram, c, a = mmd_step()
    factor, _ = pivoted(gram, 1e-13)
    result = solve_qp(factor, c + offset, scale=a)
    assert result.success
    g = a * gram @ result.weights - c
    assert simplex_gap(result.weights, g) <= 3e-10 * abs(offset)


def test_few_active_atoms_and_duplicates():
    gram, _, _ = mmd_step(n=50)
    gram = np.repeat(np.repeat(gram, 4, 0), 4, 1)
    factor, _ = pivoted(gram, 1e-13)
    result = solve_qp(factor, gram[:, 13].copy())  # optimum: a Dirac shared by four equal atoms
    assert result.success
    assert result.value == pytest.approx(-0.5, abs=1e-10)
    dense_check(result, gram, gram[:, 13], tol=2e-10)


@pytest.mark.parametrize("mass", [None, 1.0, 3.0])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_tiny_problems(n, mass):
    factor = np.abs(np.random.default_rng(n).standard_normal((n, 3))) + 0.1
    c = np.arange(1.0, n + 1)
    result = solve_qp(factor, c, mass=mass)
    assert result.success
    if mass is not None:
        dense_check(result, factor @ factor.T, c, mass)


def test_zero_columns_zero_rows_and_linear_programs():
    c = np.array([0.0, 2.0, 1.0, 2.0])
    for factor in (np.zeros((4, 3)), np.zeros((4, 0))):
        result = solve_qp(factor, c)
        assert result.success
        assert result.value == pytest.approx(-2.0, abs=1e-9)
    factor = np.array([[1.0, 0], [0, 0], [2.0, 0], [0, 0]])
    dense_check(solve_qp(factor, c), factor @ factor.T, c)


def test_zero_mass_and_no_atoms():
    assert solve_qp(np.ones((3, 1)), np.ones(3), mass=0.0).weights.tolist() == [0, 0, 0]
    assert solve_qp(np.zeros((0, 2)), np.zeros(0), mass=None).weights.shape == (0,)


def test_free_mass_agrees_with_nnls():
    gram, c, a = mmd_step(n=80)
    factor, _ = pivoted(gram, 1e-13)
    target = np.linalg.lstsq(factor, c, rcond=None)[0]
    w, _ = nnls(np.sqrt(a) * factor.T, target / np.sqrt(a), maxiter=4000)
    result = solve_qp(factor, c, scale=a, mass=None)
    assert result.success
    assert result.value <= value(a * gram, c, w) + 2e-9
    assert result.value >= value(a * gram, c, w) - 2e-9


def test_free_mass_gap_is_a_dual_bound():
    gram, c, a = mmd_step(n=80)
    hessian = a * gram
    best = solve_qp(pivoted(gram, 1e-13)[0], 3 * c - 0.3, scale=a, mass=None)
    assert best.success
    rng = np.random.default_rng(0)
    for _ in range(20):
        w = best.weights * rng.uniform(0.8, 1.2, 80)
        gap = cone_gap(w, hessian @ w, 3 * c - 0.3)
        assert gap >= value(hessian, 3 * c - 0.3, w) - best.value - 1e-12


def test_free_mass_scales_and_vanishes():
    gram, c, a = mmd_step(n=80)
    factor, _ = pivoted(gram, 1e-13)
    one, many = (solve_qp(factor, t * c, scale=a, mass=None) for t in (1.0, 1e4))
    assert many.success
    assert many.value == pytest.approx(1e8 * one.value, rel=1e-8)
    assert solve_qp(factor, -c, mass=None).weights.sum() == 0


def test_unbounded_cone_problem_has_a_status_and_finite_numbers():
    result = solve_qp(np.zeros((5, 2)), np.arange(5.0), mass=None)
    assert result.status is QPStatus.UNBOUNDED
    assert np.isfinite(result.weights).all()


def test_unreachable_tolerance_returns_the_best_iterate():
    gram, c, a = mmd_step()
    result = solve_qp(pivoted(gram, 1e-13)[0], c, scale=a, tol=0.0)
    assert result.status in (QPStatus.STALLED, QPStatus.MAX_ITER)
    assert result.gap <= 1e-11
    short = solve_qp(pivoted(gram, 1e-13)[0], c, scale=a, max_iter=3)
    assert short.status is QPStatus.MAX_ITER
    assert short.iterations == 3
    assert short.gap > 1e-10
    assert short.weights.sum() == pytest.approx(1, rel=1e-14)


def test_warm_start_keeps_the_answer():
    gram, c, a = mmd_step()
    factor, _ = pivoted(gram, 1e-13)
    cold = solve_qp(factor, c, scale=a)
    warm = solve_qp(factor, c, scale=a, warm=cold.weights)
    assert warm.success
    assert warm.value == pytest.approx(cold.value, abs=2e-10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"linear": np.ones(4)}, "factor must have shape"),
        ({"linear": np.array([1.0, np.nan, 0.0])}, "linear must be finite"),
        ({"factor": np.full((3, 1), np.inf)}, "not finite"),
        ({"scale": 0.0}, "scale"),
        ({"mass": -1.0}, "mass"),
        ({"diagonal": -np.ones(3)}, "diagonal"),
        ({"warm": np.ones(2)}, "warm"),
    ],
)
def test_wrong_inputs_are_refused(change, message):
    arguments = {"factor": np.ones((3, 1)), "linear": np.ones(3)} | change
    with pytest.raises(ValueError, match=message):
        solve_qp(arguments.pop("factor"), arguments.pop("linear"), **arguments)
