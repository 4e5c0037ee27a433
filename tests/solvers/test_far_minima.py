"""A minimum far away is a minimum: no step is called unbounded for how far its objective falls."""

import numpy as np
import pytest

import jko

POINTS = np.array([[0.0], [1.0], [2.5]])
START = jko.Histogram(POINTS, [0.2, 0.3, 0.5])
K = jko.kernels.Gaussian(1.0)
DOWN = jko.Potential([-1.0, -1.0, -1.0])


def fall(power):
    """V = -|x|^power for one particle on the line."""
    return jko.Potential(
        lambda x: -(np.abs(x) ** power).sum(axis=1),
        gradient=lambda x: -power * np.sign(x) * np.abs(x) ** (power - 1),
    )


@pytest.mark.parametrize("tau", [0.1, 10.0, 1e3, 1e6])
def test_a_particle_that_goes_far(tau):
    start, q = 1.0, 1.9
    found = jko.step(jko.Particles([[start]]), fall(q), jko.Wasserstein(), tau)
    x = found.measure.points[0, 0]
    # (x - start)/tau = q x^(q - 1): the pull of the penalty is that of the potential.
    assert x - start == pytest.approx(tau * q * x ** (q - 1), rel=1e-5)


@pytest.mark.parametrize("length", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("apart", [3.0, 12.0, 15.0, 17.0])
def test_two_particles_that_hardly_feel_each_other(apart, length):
    k = jko.kernels.Gaussian(length)
    points = np.zeros((2, 50))
    points[1, 0] = apart * length
    step = 1e40 * length**2
    mu = jko.Particles(points)
    found = jko.step(mu, jko.Interaction(k), jko.Wasserstein(), step, throw=False)
    assert found.status is not jko.Status.UNBOUNDED
    if found.success:
        assert found.objective <= found.baseline


@pytest.mark.parametrize("power", [2.0, 2.5, 4.0])
def test_a_particle_that_falls_for_ever(power):
    start = jko.Particles([[1.0], [2.0]])
    found = jko.step(start, fall(power), jko.Wasserstein(), 10.0, throw=False)
    assert found.status is jko.Status.UNBOUNDED
    assert "below every number" in found.message


@pytest.mark.parametrize("tau", [1.0, 1e13, 1e20, 1e80])
def test_weights_that_grow_far(tau):
    found = jko.step(START, DOWN, jko.MMD(K, mass="free"), tau)
    gram = np.exp(-((POINTS - POINTS.T) ** 2) / 2)
    exact = START.weights + tau * np.linalg.solve(gram, np.ones(3))
    assert (exact > 0).all()
    np.testing.assert_allclose(found.measure.weights, exact, rtol=1e-5)


@pytest.mark.parametrize("share", [1e-3, 1e-10, 1e-30, 1e-60])
def test_weights_that_a_faint_kernel_holds(share):
    """The slope -1 - 2/tau of the rest is met by a kernel energy of this size alone."""
    tau, energy = 4.0, DOWN + share * jko.MMDEnergy(START, K)
    found = jko.step(START, energy, jko.Hellinger(), tau)
    w = found.measure.weights
    change = np.exp(-((POINTS - POINTS.T) ** 2) / 2) @ (w - START.weights)
    slope = -1.0 + share * change + (2 / tau) * (1 - np.sqrt(START.weights / w))
    assert np.abs(slope[w > 1e-6 * w.sum()]).max() <= 1e-6


def test_what_a_conic_solver_says_is_checked():
    energy = DOWN + 1e-30 * jko.Entropy()
    solver = jko.solvers.Conic()
    found = jko.step(START, energy, jko.MMD(K, mass="free"), 1e12, solver=solver, throw=False)
    assert found.status is not jko.Status.UNBOUNDED


@pytest.mark.parametrize("tau", [2.0, 4.0, 1e6])
def test_weights_that_grow_for_ever(tau):
    found = jko.step(START, DOWN, jko.Hellinger(), tau, throw=False)
    assert found.status is jko.Status.UNBOUNDED
