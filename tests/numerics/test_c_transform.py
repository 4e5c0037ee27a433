"""c-transforms on grids: against brute force, compiled against not, and the plans they give."""

import numpy as np
import pytest

from jko.numerics import c_lines
from jko.numerics.c_lines import Lines, transform_lines
from jko.numerics.c_transform import CellPlan, c_transform
from jko.solvers.grids.coupling import Sent, couple

BACKENDS = [False, pytest.param(True, marks=pytest.mark.skipif(
    not c_lines.has_compiled(), reason="numba is not installed"
))]  # fmt: skip


def rough(seed: int, size: float, n: int):
    return size * np.random.default_rng(seed).normal(size=(3, n))


@pytest.mark.parametrize("compiled", BACKENDS)
@pytest.mark.parametrize("n", [2, 3, 17, 40])
@pytest.mark.parametrize("size", [0.0, 0.01, 1.0, 100.0])
def test_lines_against_brute_force(compiled, n, size):
    v, scale, fine = rough(n, size, n), 0.3, 1000
    found = transform_lines(v, scale, compiled)
    y = np.linspace(0, n - 1, (n - 1) * fine + 1)
    at = np.stack([np.interp(y, np.arange(n), row) for row in v])
    least = (scale * (np.arange(n)[:, None] - y) ** 2 - at[:, None]).min(axis=2)
    # The sampled minimum is above the true one, by scale/4 sampling^2 at most.
    assert (found.values <= least + 1e-12 * (1 + size)).all()
    assert (found.values >= least - scale / fine**2 - 1e-12 * (1 + size)).all()
    assert found.segment.min() >= 0
    assert found.segment.max() <= n - 2
    assert found.share.min() >= 0
    assert found.share.max() <= 1
    # The minimum is attained where the transform says.
    left, right = (np.take_along_axis(v, found.segment + k, axis=1) for k in (0, 1))
    there = scale * (np.arange(n) - found.segment - found.share) ** 2
    there = there - (1 - found.share) * left - found.share * right
    np.testing.assert_allclose(there, found.values, rtol=1e-12, atol=1e-12 * (1 + size))


@pytest.mark.skipif(not c_lines.has_compiled(), reason="numba is not installed")
def test_compiled_loops_and_their_twin_agree():
    for seed in range(50):
        v = rough(seed, 10.0 ** (seed % 5 - 2), 5 + seed)
        fast, slow = (transform_lines(v, 0.2, compiled) for compiled in (True, False))
        np.testing.assert_allclose(fast.values, slow.values, rtol=1e-13, atol=1e-13)


def test_without_numba_the_twin_serves(monkeypatch):
    v = rough(0, 1.0, 12)
    expected = transform_lines(v, 0.5, False)
    monkeypatch.setattr(c_lines, "_compiled", lambda: None)
    np.testing.assert_array_equal(transform_lines(v, 0.5).values, expected.values)


def field(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


SHAPES = [(9,), (5, 7), (1, 6), (4, 1, 5), (3, 4, 2)]


@pytest.mark.parametrize("shape", SHAPES)
def test_plan_and_potentials_belong_together(shape):
    """cost = <psi, w> + <phi, p>, pull is the transpose of push, and mass is kept."""
    scales = (0.7, 0.2, 0.4)[: len(shape)]
    phi, w = 0.5 * field(shape), np.abs(field(shape, 1))
    found = c_transform(phi, scales)
    carried = found.plan.carry(w)
    dual = (found.values * w).sum() + (phi * carried.mass).sum()
    assert carried.cost == pytest.approx(dual, abs=1e-12)
    assert carried.mass.sum() == pytest.approx(w.sum(), rel=1e-14)
    np.testing.assert_allclose(found.plan.push(w), carried.mass, atol=1e-14)
    other = field(shape, 2)
    pulled = (found.plan.pull(other) * w).sum()
    assert pulled == pytest.approx((other * carried.mass).sum(), abs=1e-12)
    # What arrives pays for all of the spread, most of it more than once.
    assert carried.placed().sum() >= carried.spread - 1e-14


def test_no_plan_is_cheaper_than_the_potentials_say():
    """phi + psi <= cost between cells: psi is the least over the cells at most."""
    phi, scales = field((6, 5)), (0.3, 0.6)
    psi = c_transform(phi, scales).values
    i, j = np.indices(phi.shape)
    for y in np.ndindex(phi.shape):
        cost = scales[0] * (i - y[0]) ** 2 + scales[1] * (j - y[1]) ** 2
        assert psi[y] <= (cost - phi).min() + 1e-13


@pytest.mark.parametrize("shape", SHAPES)
def test_mended_plans_bound_the_transport_cost(shape):
    """A coupling costs no less than any potentials say, whatever the marginals."""
    scales = (0.7, 0.2, 0.4)[: len(shape)]
    w, q = np.abs(field(shape, 1)), np.abs(field(shape, 2))
    q *= w.sum() / q.sum()
    for size in (0.0, 0.1, 1.0):
        phi = size * field(shape)
        found = c_transform(phi, scales)
        coupled = couple(found.plan, w, q)
        assert coupled.cost >= (phi * q).sum() + (found.values * w).sum() - 1e-12
        for enough in (1e-6, 0.1, 10.0):  # as well as it is asked for, and a bound all the same
            coupled = couple(found.plan, w, q, phi, enough)
            assert coupled.cost >= (phi * q).sum() + (found.values * w).sum() - 1e-12
        exact = couple(found.plan, w, found.plan.push(w))
        assert exact.cost == pytest.approx(found.plan.carry(w).cost, abs=1e-12)
        assert exact.residual < 1e-14


def test_a_plan_of_nan_ends():
    plan = c_transform(field((6, 5)), (0.3, 0.6)).plan
    nothing = np.full((6, 5), np.nan)
    assert np.isnan(couple(plan, nothing, nothing, nothing, 0.1).cost)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.9])
def test_mass_sent_on_pays_for_the_place_it_leaves(share):
    """Mass of the middle cell, placed between the first two, is sent to the last: one cell away."""
    at = np.full((1, 3), 0)
    plan = CellPlan((1.0,), ((0, Lines(np.zeros((1, 3)), at, np.full((1, 3), share))),))
    w, q = np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0])
    for fluxes in (0, 1):
        sent = Sent(plan.carry(w))
        for _ in range(fluxes):
            sent.to_neighbours(q)
        assert plan.carry(w).cost + sent.cost + sent.along_curve(q) >= 1.0
