"""The pieces of the splitting, each from its definition."""

from dataclasses import replace

import numpy as np
import pytest

import jko
from jko.forms.separable import Separable
from jko.solvers.dynamic.cells import Cells
from jko.solvers.dynamic.lower import conjugate, lower_bound, shares
from jko.solvers.dynamic.problem import DynamicProblem, Metric, in_units
from jko.solvers.dynamic.projection import Projection, Weights
from jko.solvers.dynamic.prox import action_prox, local_prox
from jko.solvers.dynamic.run import solve
from jko.solvers.dynamic.upper import feasible

WALL = np.ones((6, 5), dtype=bool)
WALL[2:4, 1:3] = False


def small(
    periodic: tuple[bool, bool] = (False, False),
    opened: np.ndarray | None = None,
    metric: Metric | None = None,
    end: bool = True,
) -> DynamicProblem:
    grid = jko.Grid([0, 0], [1, 2], [6, 5], periodic=periodic)
    opened = np.ones((6, 5), dtype=bool) if opened is None else opened
    rng = np.random.default_rng(3)
    a, b = rng.random((2, 6, 5)) * opened
    b *= a.sum() / b.sum()
    metric = Metric(1.3) if metric is None else metric
    return DynamicProblem(Cells(grid, opened), metric, 4, 0.7, 0.1, a, b if end else None)


CASES = {
    "walls": {},
    "periodic": {"periodic": (True, False)},
    "round": {"periodic": (True, True)},
    "obstacle": {"opened": WALL},
    "source": {"metric": Metric(0.8, 2.0)},
    "free end": {"end": False},
    "obstacle and source": {"opened": WALL, "metric": Metric(0.8, 2.0), "end": False},
}


@pytest.mark.parametrize("p", [1.5, 2.0, 3.0])
def test_action_prox_is_beaten_by_no_neighbour(p: float) -> None:
    rng = np.random.default_rng(0)
    r0, y0 = rng.normal(size=50), rng.normal(size=(3, 50))
    wr, wy = 0.3, 0.7

    def value(r: np.ndarray, y: np.ndarray) -> np.ndarray:
        size = np.linalg.norm(y, axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            cost = np.where(size == 0, 0.0, size**p / (p * r ** (p - 1)))
        cost = np.where(r < 0, np.inf, cost)
        return cost + wr / 2 * (r - r0) ** 2 + wy / 2 * ((y - y0) ** 2).sum(0)

    r, y = action_prox(r0, y0, wr, wy, p)
    best = value(r, y)
    assert np.isfinite(best).all()
    for size in (1e-3, 1e-2, 1e-1, 1.0):
        other = value(
            np.maximum(r + size * rng.normal(size=50), 1e-9), y + size * rng.normal(size=(3, 50))
        )
        assert (other >= best - 1e-9).all()


def test_general_power_agrees_with_the_cubic() -> None:
    rng = np.random.default_rng(1)
    r0, y0 = rng.normal(size=40), 2 * rng.normal(size=(4, 40))
    one, two = action_prox(r0, y0, 0.2, 0.9, 2.0), action_prox(r0, y0, 0.2, 0.9, 2.0 + 1e-9)
    np.testing.assert_allclose(one[0], two[0], atol=1e-6)
    np.testing.assert_allclose(one[1], two[1], atol=1e-6)


@pytest.mark.parametrize(
    "h",
    [
        None,
        Separable(np.linspace(-1, 1, 30)),
        Separable(np.linspace(-1, 1, 30), {2.0: np.full(30, 0.5)}, np.full(30, 0.8)),
        Separable(np.linspace(-1, 1, 30), {1.0: np.full(30, 0.5)}),
        Separable(np.linspace(-1, 1, 30), {1.0: np.full(30, 0.5), 3.0: np.full(30, 0.2)}),
    ],
)
def test_local_prox_is_beaten_by_no_neighbour(h: Separable | None) -> None:
    rng = np.random.default_rng(2)
    u = rng.normal(size=30)
    v = local_prox(h, u, 0.7, 1.9)

    def value(x: np.ndarray) -> np.ndarray:
        return (0.0 if h is None else 0.7 * h.per_atom(x)) + 0.95 * (x - u) ** 2

    assert (v >= 0).all()
    for size in (1e-3, 1e-1):
        assert (value(np.abs(v + size * rng.normal(size=30))) >= value(v) - 1e-12).all()


@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_projection_obeys_continuity_and_is_orthogonal(name: str, local: bool) -> None:
    problem = small(**CASES[name])  # type: ignore[arg-type]
    rng = np.random.default_rng(4)
    k, opened = problem.unknown, problem.cells.opened
    parts = 4 + (problem.metric.beta > 0)
    weights = Weights(0.3, 0.8, np.linspace(0.1, 0.4, k))
    if local:  # as around obstacles
        cells = problem.cells.shape
        weights = Weights(rng.uniform(0.1, 2.0, cells), rng.uniform(0.1, 5.0, cells), weights.share)
    project = Projection(problem, weights)
    r0, y0 = rng.normal(size=(4, 6, 5)) * opened, rng.normal(size=(parts, 4, 6, 5)) * opened
    e0 = rng.normal(size=(k, 6, 5)) * opened
    one = project(r0, y0, e0)
    full = problem.full(one.rho)
    source = 0.0 if one.source is None else one.source
    left = np.diff(full, axis=0) / problem.tau + problem.cells.divergence(one.flux) - source
    assert np.abs(left * opened).max() < 1e-11
    two = project(rng.normal(size=r0.shape) * opened, y0[::-1] * 1.0, e0 + opened)

    def inner(a: tuple, b: tuple) -> float:
        total = (weights.r * a[0] * b[0]).sum() + (weights.y * a[1] * b[1]).sum()
        e = weights.e if local else weights.e.reshape(-1, 1, 1)
        return float(total + (e * a[2] * b[2]).sum())

    off = (one.r - r0, one.y - y0, one.rho - e0)
    along = (two.r - one.r, two.y - one.y, two.rho - one.rho)
    assert abs(inner(off, along)) < 1e-9 * (inner(off, off) + inner(along, along))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("with_energy", [False, True])
def test_any_potential_bounds_any_path(name: str, with_energy: bool) -> None:
    problem = small(**CASES[name])  # type: ignore[arg-type]
    if with_energy:
        linear = np.linspace(-0.5, 0.5, 30)
        running = Separable(linear, {2.0: np.full(30, 0.4)}, np.full(30, 3.0))
        terminal = Separable(linear, {1.0: np.ones(30)})
        problem = replace(problem, running=running, terminal=terminal)
    rng = np.random.default_rng(5)
    inner = np.abs(rng.normal(size=(problem.unknown, 6, 5))) + 0.1
    if problem.end is None and problem.metric.beta and not with_energy:
        return  # nothing keeps the mass: the value is 0 and its bound needs phi >= 0
    upper = feasible(problem, inner).value
    assert np.isfinite(upper)
    for size in (0.0, 0.1, 1.0):
        phi = size * rng.normal(size=(4, 6, 5)).cumsum(axis=0)
        duals = rng.normal(size=(4, 4, 6, 5))
        assert lower_bound(problem, phi, shares(problem, duals)) <= upper + 1e-12


def test_conjugate_with_a_ceiling_is_that_of_the_linear_program() -> None:
    rng = np.random.default_rng(6)
    y, top = rng.normal(size=20), rng.random(20)
    h = Separable(rng.normal(size=20), {}, top)
    mass, best = 0.4 * top.sum(), 0.0
    left = mass
    for i in np.argsort(-(y - h.linear)):  # the greedy plan fills the best cells first
        part = min(left, top[i])
        best, left = best + part * (y - h.linear)[i], left - part
    assert conjugate(h, y, 1.0, float(mass)) == pytest.approx(best, abs=1e-12)


def test_units_change_nothing() -> None:
    h = Separable(
        np.linspace(0, 1, 5), {1.0: np.ones(5), 0.0: np.ones(5), 2.5: np.ones(5)}, None, 2.0
    )
    u = np.linspace(0.5, 2, 5)
    assert 0.3 * in_units(h, 0.3).value(u) == pytest.approx(h.value(0.3 * u), rel=1e-13)


@pytest.mark.parametrize("p", [1.5, 3.0])
def test_other_powers_reach_the_quantile_cost(p: float) -> None:
    """W_p^p on the line from sorted quantiles; the action less its bias comes close."""
    n = 64
    grid = jko.Grid([0], [1], [n])
    x = grid.points[:, 0]
    a, b = (np.exp(-((x - c) ** 2) / (2 * s**2)) for c, s in ((0.3, 0.06), (0.65, 0.09)))
    a, b = a / a.mean(), b / b.mean()
    t = (np.arange(20000) + 0.5) / 20000
    edges = np.linspace(0, 1, n + 1)
    first, second = (np.interp(t, np.append(0, np.cumsum(w)) / n, edges) for w in (a, b))
    exact = float((np.abs(first - second) ** p).mean())
    cells = Cells(grid, np.ones(n, dtype=bool))
    found = solve(DynamicProblem(cells, Metric(p=p), 16, 1.0, 1 / n, a, b), 5e-3, 1500)
    assert found.gap <= 5e-3
    assert found.bias is not None
    value = p * (found.problem.unit * found.upper - found.bias)
    assert value == pytest.approx(exact, rel=1e-2)
