"""WassersteinEnergy and SinkhornDivergence: values, slopes, limits, steps."""

import numpy as np
import pytest

import jko
from jko import Histogram, Particles, SinkhornDivergence, WassersteinEnergy
from jko.errors import InvalidArgument, InvalidMeasure, InvalidType, Unsupported

RNG = np.random.default_rng(8)
TARGET = Particles(RNG.normal(size=(7, 2)) + 2, RNG.dirichlet(np.ones(7)) * 1.3)
MU = Particles(RNG.normal(size=(9, 2)), np.append(RNG.dirichlet(np.ones(8)), 0.0) * 1.3)
ENERGIES = [WassersteinEnergy(TARGET), SinkhornDivergence(TARGET, 0.5)]


@pytest.mark.parametrize("energy", ENERGIES, ids=lambda e: type(e).__name__)
def test_slopes_are_those_of_the_value(energy):
    h, v = 1e-5, RNG.normal(size=MU.points.shape)
    ahead, back = (energy.value(MU.with_points(MU.points + s * v)) for s in (h, -h))
    force = MU.weights[:, None] * energy.wasserstein_gradient(MU)
    assert (ahead - back) / (2 * h) == pytest.approx(float((force * v).sum()), rel=1e-6)
    w = MU.weights * RNG.normal(size=MU.n)
    w -= MU.weights * w.sum() / MU.mass
    ahead, back = (energy.value(MU.with_weights(MU.weights + s * w)) for s in (h, -h))
    assert (ahead - back) / (2 * h) == pytest.approx(
        float(energy.first_variation(MU) @ w), rel=1e-6
    )


def test_the_sinkhorn_divergence_is_its_definition():
    """Three entropic problems, each solved by jko.transport with its own gap."""
    reg, energy = 0.3, SinkhornDivergence(TARGET, 0.3)

    def cost(a, b):
        return jko.transport(a, b, reg=reg, reference="product").value

    expected = cost(MU, TARGET) - 0.5 * cost(MU, MU) - 0.5 * cost(TARGET, TARGET)
    assert energy.value(MU) == pytest.approx(expected, rel=1e-10)
    assert energy.value(TARGET) == pytest.approx(0, abs=1e-12)


def test_limits_of_the_sinkhorn_divergence():
    exact = 2 * WassersteinEnergy(TARGET).value(MU)
    off = [abs(SinkhornDivergence(TARGET, reg).value(MU) - exact) for reg in (0.3, 0.1, 0.03)]
    assert off[0] > off[1] > off[2]
    means = MU.mass * float(((MU.mean - TARGET.mean) ** 2).sum())
    assert SinkhornDivergence(TARGET, 1e5).value(MU) == pytest.approx(means, rel=1e-4)


def test_a_step_towards_the_target_goes_a_share_of_the_way():
    """argmin W2^2(., nu)/2 + W2^2(., mu)/(2 tau) lies on the geodesic, at tau/(1 + tau)."""
    mu = Particles(RNG.normal(size=(7, 2)), TARGET.weights)
    uniform = [Particles(m.points) for m in (mu, TARGET)]
    tau = 0.7
    found = jko.step(uniform[0], WassersteinEnergy(uniform[1]), jko.Wasserstein(), tau)
    expected = jko.Wasserstein().geodesic(*uniform, tau / (1 + tau))
    assert jko.Wasserstein().distance(found.measure, expected) <= 1e-6
    assert found.energy == pytest.approx(
        0.5 * jko.Wasserstein().sqdistance(*uniform) / (1 + tau) ** 2, rel=1e-6
    )


def test_particles_flow_to_the_target_of_the_sinkhorn_divergence():
    target = Particles(TARGET.points)
    energy = SinkhornDivergence(target, 0.1)
    start = Particles(RNG.normal(size=(7, 2)))
    run = jko.flow(start, energy, jko.Wasserstein(), tau=2.0, steps=8)
    assert run.energies[-1] < 1e-4 * run.energies[0]


@pytest.mark.parametrize("geometry", [jko.Hellinger(mass="fixed"), jko.MMD(jko.kernels.Gaussian())])
def test_weights_step_on_a_fixed_support(geometry):
    mu = Histogram(MU.points, MU.weights)
    energy = SinkhornDivergence(TARGET, 1.0)
    found = jko.step(mu, energy, geometry, 0.05, tol=1e-4, solver="auto")
    best = energy.value(found.measure) + geometry.penalty(found.measure, mu, 0.05)
    for k in range(12):
        rival = mu.with_weights(RNG.dirichlet(np.ones(9)) * mu.mass)
        mixed = found.measure.weights + 0.3**k * (rival.weights - found.measure.weights)
        other = mu.with_weights(np.where(mu.weights > 0, mixed, found.measure.weights))
        other = mu.with_weights(other.weights * (mu.mass / other.mass))
        assert energy.value(other) + geometry.penalty(other, mu, 0.05) >= best - 1e-6


def test_gaussians_have_values_and_bad_input_gets_a_sentence():
    one, two = jko.Gaussian([0.0], [[1.0]]), jko.Gaussian([3.0], [[4.0]])
    assert WassersteinEnergy(two).value(one) == pytest.approx((9 + 1) / 2)
    with pytest.raises(Unsupported, match="closed form"):
        WassersteinEnergy(two).first_variation(Particles(np.zeros((2, 1))))
    with pytest.raises(InvalidMeasure, match="mass"):
        WassersteinEnergy(TARGET).value(Particles(MU.points))
    with pytest.raises(InvalidMeasure, match="normalise"):
        SinkhornDivergence(TARGET, 1.0).value(Particles(MU.points))
    with pytest.raises(InvalidArgument, match="no entropy"):
        SinkhornDivergence(TARGET, 0.0)
    with pytest.raises(InvalidType, match="target"):
        SinkhornDivergence(two, 1.0)
    with pytest.raises(InvalidType, match="target"):
        WassersteinEnergy([1.0])
    with pytest.raises(Unsupported, match="no value on a Gaussian"):
        SinkhornDivergence(TARGET, 1.0).value(jko.Gaussian([0.0, 0.0], np.eye(2)))
