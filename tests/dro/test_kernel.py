"""Kernel DRO (formula R2): the dual function, bounds between the points, independent solvers."""

import numpy as np
import pytest

import jko
from jko.dro import dual_violation, kernel_worst_case, worst_case

GAUSS = jko.kernels.Gaussian(0.5)
BOX = {"lower": [-2.0], "upper": [2.0]}


def wave(x):
    return np.sin(5 * x[:, 0]) + 0.3 * x[:, 0]


def sample(n=20, seed=0):
    return jko.Particles(np.random.default_rng(seed).uniform(-1, 1, size=(n, 1)))


def line(m):
    return np.linspace(-2, 2, m)[:, None]


@pytest.mark.parametrize("kernel", [GAUSS, jko.kernels.Laplace(0.5), jko.kernels.Energy()])
@pytest.mark.parametrize("radius", [0.01, 0.1, 0.5])
def test_strong_duality(kernel, radius):
    """f0 + f majorises the loss, and f0 + E f + eps |f| is the primal value."""
    mu = sample()
    found = worst_case(wave, mu, 2.0 * jko.MMD(kernel), radius=radius, support="union",
                       points=line(30))  # fmt: skip
    dual, x = found.dual, np.concatenate([mu.points, line(30)])
    assert (dual(x) - wave(x)).min() >= -1e-9
    assert dual.bound(radius) == pytest.approx(found.value, abs=1e-8)
    assert abs(dual.coefficients.sum()) <= 1e-9 * np.abs(dual.coefficients).max()
    gram = kernel.positive_gram(x)
    norm = np.sqrt(dual.coefficients @ gram @ dual.coefficients)
    assert dual.norm == pytest.approx(norm, rel=1e-6)
    value = mu.expect(dual) + np.sqrt(2) * radius * norm
    assert value == pytest.approx(found.value, abs=1e-7)


def test_against_a_conic_program():
    """The dual of R2 as a second-order cone program, by Clarabel."""
    cp = pytest.importorskip("cvxpy")
    mu, eps = sample(15), 0.2
    x = np.concatenate([mu.points, line(20)])
    root = jko.numerics.elementary.gram_root(GAUSS(x))
    nominal = np.concatenate([mu.weights, np.zeros(20)])
    f0, g = cp.Variable(), cp.Variable(root.shape[0])  # f = root' g on the points, |f| = |g|
    bound = f0 + (root @ nominal) @ g + eps * cp.norm(g)
    program = cp.Problem(cp.Minimize(bound), [f0 + root.T @ g >= wave(x)])
    program.solve(solver="CLARABEL")
    found = worst_case(wave, mu, jko.MMD(GAUSS), radius=eps, support="union", points=line(20))
    assert found.value == pytest.approx(program.value, abs=1e-6)


@pytest.mark.parametrize("kernel", [GAUSS, jko.kernels.Laplace(0.5), jko.kernels.Energy()])
def test_bracket_of_the_semi_infinite_problem(kernel):
    """Few points bound from below, the violation from above; refinement closes in."""
    options = {"radius": 0.1, **BOX, "lipschitz": 5.3}
    few = kernel_worst_case(wave, sample(), jko.MMD(kernel), points=line(5), **options)
    many = kernel_worst_case(wave, sample(), jko.MMD(kernel), points=line(200), **options)
    refined = kernel_worst_case(
        wave, sample(), jko.MMD(kernel), points=line(5), rounds=12, **options
    )
    assert few.lower <= many.lower <= few.upper
    assert refined.lower >= few.lower
    assert many.lower <= refined.upper <= few.upper
    assert few.upper - few.lower > 0.5
    assert refined.upper - refined.lower < 0.12
    if kernel is GAUSS:
        assert refined.upper - refined.lower < 2e-3
        assert len(refined.points) < 25


def test_the_violation_is_bounded_truly():
    """Against a fine grid of the box, in the plane."""
    loss = lambda x: np.sin(3 * x[:, 0]) * x[:, 1]
    mu = jko.Particles(np.random.default_rng(1).uniform(-1, 1, size=(25, 2)))
    found = worst_case(
        loss, mu, jko.MMD(jko.kernels.Gaussian(0.7)), radius=0.1, support="union",
        points=jko.Grid([-1.5] * 2, [1.5] * 2, [5, 5]),
    )  # fmt: skip
    corners = [-1.5, -1.5], [1.5, 1.5]
    bound = dual_violation(found.dual, loss, *corners, lipschitz=4.7, cells=8000)
    fine = jko.Grid([-1.5] * 2, [1.5] * 2, [200, 200]).points
    seen = (loss(fine) - found.dual(fine)).max()
    assert seen <= bound.upper
    assert bound.lower >= seen - 0.01
    assert bound.lower <= bound.upper < seen + 0.3
    fewer = dual_violation(found.dual, loss, *corners, lipschitz=4.7, cells=500)
    assert fewer.upper >= bound.upper


def test_without_a_lipschitz_constant_nothing_is_claimed():
    found = kernel_worst_case(wave, sample(), jko.MMD(GAUSS), radius=0.1, points=line(9), **BOX)
    assert found.upper is None
    assert found.violation.upper is None
    assert "unknown" in repr(found)
    assert found.violation.lower > 0
