"""An interior point over plans that share their weights, against linear programs and conditions."""

import numpy as np
import pytest
from scipy.optimize import linprog, minimize

from jko.numerics.joint_plans import JointInterior, PlanBlock
from jko.numerics.self_transport import self_scaling
from jko.numerics.semi_dual import potentials, soft_transform
from jko.numerics.sinkhorn import entropic_plan


class Square:
    """w'H w / 2 - b.w."""

    def __init__(self, h, b):
        self.h, self.b = h, b

    def gradient(self, w):
        return self.h @ w - self.b

    def hessian(self, w):
        return self.h


def solved(plans, smooth, n, tol=1e-11):
    interior = JointInterior(plans, smooth, np.full(n, 1 / n))
    for _ in range(100):
        if interior.left <= tol or not interior.advance():
            break
    assert interior.left <= tol
    return interior


def drawn(seed, n, m):
    rng = np.random.default_rng(seed)
    return rng.random((n, m)), rng.dirichlet(np.ones(m))


@pytest.mark.parametrize("sizes", [(5, 3, 4), (4, 6, 2), (3, 1, 5)])
def test_two_plans_are_a_linear_program(sizes):
    n, *columns = sizes
    pairs = [drawn(k, n, m) for k, m in enumerate(columns)]
    found = solved([PlanBlock(c, t) for c, t in pairs], [], n)
    rows, right = [], []
    for k, (_, t) in enumerate(pairs):  # unknowns: the plans one after another
        for j in range(t.size):
            parts = [np.zeros_like(c) for c, _ in pairs]
            parts[k][:, j] = 1
            rows.append(np.concatenate([p.ravel() for p in parts]))
            right.append(t[j])
    for i in range(n):
        parts = [np.zeros_like(c) for c, _ in pairs]
        parts[0][i], parts[1][i] = 1, -1
        rows.append(np.concatenate([p.ravel() for p in parts]))
        right.append(0.0)
    costs = np.concatenate([c.ravel() for c, _ in pairs])
    exact = linprog(costs, A_eq=np.array(rows), b_eq=right).fun
    paid = sum(float((p.cost * p.plan).sum()) for p in found.plans)
    assert abs(paid - exact) <= 1e-9
    for plan in found.plans:
        np.testing.assert_allclose(plan.plan.sum(axis=1), found.w, atol=1e-12)
        np.testing.assert_allclose(plan.plan.sum(axis=0), plan.columns, atol=1e-12)


@pytest.mark.parametrize("reg", [0.01, 0.3])
def test_entropy_and_a_square_are_stationary(reg):
    n, (cost, t) = 5, drawn(7, 5, 4)
    rng = np.random.default_rng(3)
    root = rng.normal(size=(n, n))
    square = Square(root @ root.T, rng.normal(size=n))
    found = solved([PlanBlock(cost, t, reg)], [square], n)

    def objective(x):  # rows of shares of the columns: any softmax is a plan
        z = x.reshape(n, -1)
        plan = np.exp(z - z.max(axis=0))
        plan = plan / plan.sum(axis=0) * t
        w = plan.sum(axis=1)
        entropy = float((plan * np.log(np.maximum(plan, 1e-300))).sum())
        return float((cost * plan).sum()) + reg * entropy + 0.5 * w @ square.h @ w - square.b @ w

    rivals = [minimize(objective, rng.normal(size=n * t.size), tol=1e-12).fun for _ in range(3)]
    plan = found.plans[0].plan
    reached = float((cost * plan).sum()) + reg * float((plan * np.log(plan)).sum())
    reached += 0.5 * found.w @ square.h @ found.w - square.b @ found.w
    assert reached <= min(rivals) + 1e-9
    assert reached >= min(rivals) - 1e-5


def test_one_column_without_costs_keeps_weights_on_the_simplex():
    h, b = np.eye(4), np.array([3.0, 1.0, 0.2, -5.0])
    found = solved([PlanBlock(np.zeros((4, 1)), np.ones(1))], [Square(h, b)], 4)
    np.testing.assert_allclose(found.w, [1, 0, 0, 0], atol=1e-9)


@pytest.mark.parametrize("width", [1e-3, 0.3, 30.0])
def test_scalings_of_a_measure_with_itself(width):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, 2))
    w = np.concatenate([rng.dirichlet(np.ones(10)), [1e-12, 1e-300]])
    near = np.exp(-((x[:, None] - x) ** 2).sum(-1) / width)
    z = self_scaling(w, near)
    np.testing.assert_allclose(z * (near @ z), w, rtol=1e-11)


@pytest.mark.parametrize("reg", [1e-3, 0.1, 10.0])
def test_potentials_meet_the_marginal_from_any_start(reg):
    cost, t = drawn(1, 9, 7)
    w = np.random.default_rng(2).dirichlet(np.ones(9))
    for start in (None, np.zeros(7), np.random.default_rng(4).normal(size=7)):
        found = potentials(w, t, cost, reg, start)
        np.testing.assert_allclose(w @ found.shares, t, atol=1e-11)
        other = soft_transform(w, t, cost, reg, found.h + 0.1 * np.arange(7))
        assert other.value < found.value


@pytest.mark.parametrize("reg", [1e-3, 1e-2, 0.1, 2.0])
@pytest.mark.parametrize("seed", [5, 6, 7, 8])
def test_entropic_plans_of_next_to_no_weight_are_optimal(reg, seed):
    """The Newton system was unscaled: with weights of 1e-30 values were 2 % off, unnoticed."""
    rng = np.random.default_rng(seed)
    y, t = rng.normal(size=(40, 2)), rng.dirichlet(np.full(40, 0.05))
    w, x = rng.dirichlet(np.full(15, 0.1)), rng.normal(size=(15, 2))
    y, t = y[t > 0], t[t > 0]
    cost = ((x[:, None] - y) ** 2).sum(-1)
    found = entropic_plan(w, t, cost, reg, log_reference=np.log(w)[:, None] + np.log(t))
    assert abs(found.upper - found.lower) <= 1e-12 * found.upper
    np.testing.assert_allclose(found.plan.sum(axis=1), w, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(found.plan.sum(axis=0), t, rtol=1e-9, atol=1e-15)
