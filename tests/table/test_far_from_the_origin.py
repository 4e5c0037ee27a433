"""Distances and steps do not see where the origin is: coordinates of 2^31, as timestamps have."""

import numpy as np
import pytest

import jko

#: Points are multiples of 2^-14, which the shift leaves exact.
FAR = 2.0**31
KERNELS = {
    "Gaussian": jko.kernels.Gaussian(1.0),
    "Laplace": jko.kernels.Laplace(),
    "Energy": jko.kernels.Energy(),
    "Energy(1.5)": jko.kernels.Energy(1.5),
    "Gaussian + Energy": jko.kernels.Gaussian(1.0) + 0.5 * jko.kernels.Energy(),
}


def draw(n, d, seed):
    rng = np.random.default_rng(seed)
    points = np.round(rng.normal(size=(n, d)) * 2**14) / 2**14
    return points, rng.dirichlet(np.ones(n))


def distances(k):
    yield "MMD", lambda a, b: jko.MMD(k).sqdistance(a, b)
    yield "interaction", lambda a, b: jko.Interaction(k).value(a)
    yield "slope", lambda a, b: jko.MMDEnergy(b, k).wasserstein_gradient(a)
    yield "W2", lambda a, b: jko.Wasserstein().sqdistance(a, b)
    yield "W1.5", lambda a, b: jko.Wasserstein(p=1.5).sqdistance(a, b)
    yield "WFR", lambda a, b: jko.WassersteinFisherRao().sqdistance(a, b)
    yield "entropic", lambda a, b: jko.transport(a, b, reg=0.1).value
    yield "Sinkhorn", lambda a, b: jko.SinkhornDivergence(b, 0.1).value(a)
    yield "bandwidth", lambda a, b: jko.kernels.median_bandwidth(a.points)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("d", [1, 2, 25])
def test_distances(d, kernel):
    (x, u), (y, v) = draw(9, d, 0), draw(7, d, 1)
    near = jko.Histogram(x, u), jko.Histogram(y, v)
    far = jko.Histogram(x + FAR, u), jko.Histogram(y + FAR, v)
    for name, f in distances(KERNELS[kernel]):
        assert f(*far) == pytest.approx(f(*near), rel=1e-9), name


def energies(k, y, v, w, points, far):
    other = jko.Histogram(y + far, v)
    yield "MMD, same atoms", jko.MMDEnergy(jko.Histogram(points + far, w), k)
    yield "MMD, other atoms", jko.MMDEnergy(other, k)
    yield "KL", jko.KL(jko.Histogram(points + far, w)) + 0.1 * jko.MMDEnergy(other, k)
    yield "W2", jko.WassersteinEnergy(other)


@pytest.mark.parametrize("kernel", KERNELS)
def test_steps(kernel):
    (x, u), (y, v), (_, w) = draw(8, 1, 2), draw(6, 1, 3), draw(8, 1, 4)
    k = KERNELS[kernel]
    geometries = (jko.Wasserstein(), jko.Hellinger(mass="fixed"), jko.MMD(k), jko.Divergence(1.0))
    here, there = (dict(energies(k, y, v, w, x, far)) for far in (0.0, FAR))
    for name, energy in here.items():
        for geometry in geometries:
            near = jko.step(jko.Histogram(x, u), energy, geometry, 0.3, throw=False)
            far = jko.step(jko.Histogram(x + FAR, u), there[name], geometry, 0.3, throw=False)
            label = f"{name} in {geometry}: {near.message} but {far.message}"
            assert far.status == near.status, label
            room = abs(near.gap or 0) + abs(far.gap or 0) + 1e-9 * abs(near.objective)
            assert far.objective == pytest.approx(near.objective, abs=room), label
            assert np.abs(far.measure.weights - near.measure.weights).max() < 1e-4, label
