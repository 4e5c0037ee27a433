"""Free particles: closed forms of quadratic losses, ascent of others, honest statuses."""

import numpy as np
import pytest
from generators import measures

import jko
from jko.dro import Linear, Quadratic, WorstCaseStatus, worst_case

W = jko.Wasserstein()
B = np.array([1.0, -2.0, 0.5])


def cloud(mass=1.0, zeros=None):
    return measures.particles(40, 3, seed=1, mass=mass, zeros=zeros)


def bent(seed=0, shift=1.0):
    a = np.random.default_rng(seed).normal(size=(3, 3))
    return Quadratic(a @ a.T - shift * np.eye(3), B, 1.0)


def waves(x):
    return np.sin(2 * x[:, 0]) + np.cos(3 * x[:, 1]) * np.tanh(x[:, 2])


@pytest.mark.parametrize("radius", [1e-6, 0.3, 50.0])
@pytest.mark.parametrize("mass", [1.0, 2.5])
def test_linear_loss_is_dual_norm_regularisation(radius, mass):
    """sup E loss = E loss + radius sqrt(mass) |b|, by formula and by ascent."""
    mu = cloud(mass)
    expected = mu.expect(lambda x: x @ B + 0.3) + radius * np.sqrt(mass) * np.linalg.norm(B)
    exact = worst_case(Linear(B, 0.3), mu, W, radius=radius, support="particles")
    assert exact.value == pytest.approx(expected, abs=1e-12)
    assert exact.status is WorstCaseStatus.CERTIFIED
    assert exact.distance == pytest.approx(radius, rel=1e-12)
    assert W.distance(exact.measure, mu) <= radius * (1 + 1e-9) + 1e-12
    slope = lambda x: np.tile(B, (len(x), 1))
    climbed = worst_case(
        lambda x: x @ B + 0.3, mu, W, radius=radius, support="particles", gradient=slope,
        curvature=0.0,
    )  # fmt: skip
    assert climbed.value == pytest.approx(expected, abs=1e-6)
    assert climbed.status is WorstCaseStatus.CERTIFIED
    unknown = worst_case(lambda x: x @ B + 0.3, mu, W, radius=radius, support="particles")
    assert unknown.value == pytest.approx(expected, abs=1e-6)
    assert unknown.status is WorstCaseStatus.LOCAL
    assert unknown.gap is None
    assert "nothing proves" in unknown.message


def test_a_linear_predictor_has_a_dual_norm_penalty():
    """Features that move under a linear classification loss: ERM + radius |theta|, to 1e-6."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(80, 4)), np.where(rng.random(80) > 0.5, 1.0, -1.0)
    pytest.importorskip("sklearn")
    fit = jko.dro.RobustClassifier(
        loss="linear", geometry=W, radius=0.2, alpha=1.0, fit_intercept=False
    ).fit(x, y)
    theta = fit.coef_
    expected = -np.mean(y * (x @ theta)) + 0.2 * np.linalg.norm(theta) + theta @ theta / 2
    assert fit.robust_loss_ == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("radius", [1e-3, 0.1, 1.0, 10.0])
def test_quadratic_loss(radius):
    """The formula against the ascent and against random displacements inside the ball."""
    loss, mu = bent(), cloud()
    exact = worst_case(loss, mu, W, radius=radius, support="particles")
    assert abs(exact.gap) <= 1e-9 * abs(exact.value)
    assert exact.distance <= radius * (1 + 1e-12)
    function = lambda x: loss(x)
    climbed = worst_case(
        function, mu, W, radius=radius, support="particles", gradient=loss.gradient
    )
    assert climbed.status is WorstCaseStatus.LOCAL
    assert climbed.value == pytest.approx(exact.value, rel=1e-6)
    known = worst_case(
        function, mu, W, radius=radius, support="particles", gradient=loss.gradient,
        curvature=loss.curvature,
    )  # fmt: skip
    assert known.bound >= exact.value - 1e-12
    assert known.status is WorstCaseStatus.CERTIFIED
    rng = np.random.default_rng(3)
    best = exact.measure.points - mu.points
    for _ in range(200):
        move = best + 0.3 * radius * rng.normal(size=mu.points.shape)
        move *= radius / np.sqrt(mu.weights @ (move**2).sum(axis=1))
        assert mu.with_points(mu.points + move).expect(loss) <= exact.value + 1e-9


def test_the_hard_case_of_quadratic_losses():
    """No slope along the steepest curvature: what the others leave over goes there."""
    loss = Quadratic(np.diag([2.0, 1.0, 0.0]), [0, 0, 1.0])
    points = cloud().points.copy()
    points[:, 0] = 0
    mu = jko.Particles(points)
    found = worst_case(loss, mu, W, radius=2.0, support="particles")
    assert found.multiplier == pytest.approx(1.0, rel=1e-9)
    assert abs(found.gap) <= 1e-9
    assert found.distance == pytest.approx(2.0, rel=1e-12)
    assert np.abs(found.measure.points[:, 0]).min() > 1
    flat = Quadratic(-np.eye(3), [0, 0, 0], 4.0)  # the ball holds the maximum, 4
    found = worst_case(flat, cloud(), W, radius=20.0, support="particles")
    assert found.value == pytest.approx(4.0)
    assert found.multiplier == 0


@pytest.mark.parametrize("size", [{"tau": 0.1}, {"tau": 2.0}, {"radius": 0.5}])
def test_waves_beat_a_dense_cloud_of_points(size):
    """Local status, stationary, and no worse than the certified answer on 4000 points."""
    mu = cloud(zeros=5)
    free = worst_case(waves, mu, W, support="particles", rng=0, **size)
    points = np.random.default_rng(0).uniform(-4, 4, size=(4000, 3))
    union = worst_case(waves, mu, W, support="union", points=points, **size)
    assert free.status is WorstCaseStatus.LOCAL
    assert free.residual <= 1e-6
    assert free.value >= union.value
    assert worst_case(waves, mu, W, support="particles", rng=0, **size).value == free.value


def test_the_penalised_form_is_minus_a_step():
    """Formula R1 on particles: one jko.step from the same start, when the loss is nearly flat."""
    mu, tau = cloud(), 0.05
    slope = lambda x: np.column_stack([
        2 * np.cos(2 * x[:, 0]),
        -3 * np.sin(3 * x[:, 1]) * np.tanh(x[:, 2]),
        np.cos(3 * x[:, 1]) / np.cosh(x[:, 2]) ** 2,
    ])  # fmt: skip
    found = worst_case(waves, mu, W, tau=tau, support="particles", gradient=slope, curvature=12.0)
    energy = jko.Potential(lambda x: -waves(x), gradient=lambda x: -slope(x))
    step = jko.step(mu, energy, W, tau)
    assert found.status is WorstCaseStatus.CERTIFIED
    assert found.value == pytest.approx(-step.objective, abs=1e-9)
    assert 0 <= found.gap <= 1e-9


def test_one_sample_and_radius_zero():
    """A single particle may move; at radius 0 nothing does."""
    mu = jko.Particles([[1.0, 2.0]])
    found = worst_case(Linear([3.0, 4.0]), mu, W, radius=2.0, support="particles")
    np.testing.assert_allclose(found.measure.points, [[1 + 2 * 0.6, 2 + 2 * 0.8]])
    still = worst_case(waves, cloud(), W, radius=0, support="particles")
    assert still.value == still.nominal == cloud().expect(waves)
    np.testing.assert_array_equal(still.measure.points, cloud().points)
