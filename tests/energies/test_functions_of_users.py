"""Derivatives of the user's are compared with their functions wherever a step would follow them."""

import numpy as np
import pytest

import jko

CLOUD = jko.Particles(np.random.default_rng(0).normal(size=(12, 2)))
START = jko.Gaussian([1.0, 0.0], 2 * np.eye(2))
LINE = jko.GridDensity.from_function(
    lambda x: np.exp(-4 * (x[:, 0] - 0.5) ** 2), jko.Grid([-3.0], [3.0], [40]), mass=1
)
W = jko.Wasserstein()


def density(factor, fused):
    value, slope = lambda x: -0.5 * (x**2).sum(axis=1), lambda x: -factor * x
    if fused:
        return jko.LogDensity(value_and_grad=lambda x: (value(x), slope(x)), dim=2)
    return jko.LogDensity(value, slope, 2)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("factor", [1.02, -1.0])
@pytest.mark.parametrize(
    ("start", "geometry", "solver"),
    [
        (START, W, "auto"),
        (START, jko.Divergence(p=1), "auto"),
        (START, jko.Hellinger(mass="fixed"), "auto"),
        (CLOUD, W, jko.solvers.Langevin()),
        (CLOUD, W, jko.solvers.Kernelised()),
    ],
)
def test_gradients_of_log_densities(start, geometry, solver, factor, fused):
    """A step of KL to a density follows its gradient; 2 % are seen, and a sign."""
    step = lambda factor: jko.step(
        start, jko.KL(density(factor, fused)), geometry, 0.1, solver=solver, rng=0
    )
    with pytest.raises(jko.InvalidArgument, match="gradient of log_density disagrees"):
        step(factor)
    assert step(1.0).success


def test_a_gradient_is_compared_once_an_object_and_on_request_not_at_all():
    calls = []

    def value(x):
        calls.append(len(x))
        return -0.5 * (x**2).sum(axis=1)

    target = jko.LogDensity(value, lambda x: -x, 2)
    target.believe(CLOUD.points)
    assert calls
    calls.clear()
    target.believe(CLOUD.points)
    assert not calls
    wrong = density(3.0, False)
    assert (wrong.trusted().believed_score(CLOUD.points) == wrong.score(CLOUD.points)).all()


@pytest.mark.parametrize("second", [None, lambda r: 2 + 0 * r])
def test_derivatives_of_local_energies(second):
    step = lambda factor: jko.step(
        LINE, jko.LocalEnergy(lambda r: r**2, lambda r: factor * r, second), W, 0.05
    )
    with pytest.raises(jko.InvalidArgument, match="first_variation of LocalEnergy disagrees"):
        step(2.04)
    assert step(2.0).success


def test_gradients_of_moments_and_losses_are_called_by_their_names():
    moment = jko.Moment(lambda x: x[:, 0], 0.5, gradient=lambda x: 1.1 + 0 * x)
    with pytest.raises(jko.InvalidArgument, match="gradient of f disagrees"):
        jko.step(START, jko.Entropy(), W, 0.3, constraints=[moment])
    with pytest.raises(jko.InvalidArgument, match="gradient of the loss disagrees"):
        jko.dro.worst_case(
            lambda x: np.tanh(x[:, 0]),
            CLOUD,
            W,
            radius=0.1,
            support="particles",
            gradient=lambda x: np.column_stack([1.1 / np.cosh(x[:, 0]) ** 2, 0 * x[:, 0]]),
        )


class OnlyValue(jko.Energy):
    def value(self, mu):
        return float(mu.weights @ mu.weights)


class NoNumber(OnlyValue):
    def value(self, mu):
        return float("nan")

    def first_variation(self, mu):
        return 2 * mu.weights


def test_what_is_missing_is_what_the_sentence_asks_for():
    with pytest.raises(jko.Unsupported, match="write first_variation") as said:
        jko.step(LINE, OnlyValue(), W, 0.1)
    assert "object at 0x" not in str(said.value)
    with pytest.raises(jko.Unsupported, match="write wasserstein_gradient"):
        jko.step(CLOUD, OnlyValue(), W, 0.1)
    with pytest.raises(jko.InvalidArgument, match="value of NoNumber is nan"):
        jko.step(LINE, NoNumber(), W, 0.1)
