"""Short MMD steps to the last digit, against every set of empty atoms in fifty digits."""

import itertools

import mpmath
import numpy as np
import pytest

import jko
from jko.prox.stated import Answer
from jko.solvers.weights.stated import QuadraticStep

POINTS = np.array([[-0.6, 0.4], [0.3, 0.4], [-0.6, 1.1], [0.3, 1.2]])
BEFORE = np.array([1e-300, 2.576, 0.518, 0.738])
SLOPES = np.array([3.0, -1.0, 0.2, -0.4])
K = jko.kernels.Gaussian(1.0)


def least(before, slopes, tau, fixed):
    """(objective - that of staying, moves) at the best weights, over all sets of empty atoms."""
    mpmath.mp.dps = 50
    n, best = len(before), None
    z = mpmath.matrix([mpmath.mpf(float(v)) for v in before])
    c = mpmath.matrix([mpmath.mpf(float(v)) for v in slopes])
    sq = ((POINTS[:, None] - POINTS[None]) ** 2).sum(axis=2)
    h = mpmath.matrix(n, n)
    for i, j in itertools.product(range(n), range(n)):
        h[i, j] = mpmath.exp(-mpmath.mpf(float(sq[i, j])) / 2) / mpmath.mpf(tau)
    for size in range(1, n + 1):
        for kept in itertools.combinations(range(n), size):
            u = mpmath.matrix([mpmath.mpf(0) if i in kept else -z[i] for i in range(n)])
            rows = size + fixed
            a, b = mpmath.matrix(rows, rows), mpmath.matrix(rows, 1)
            pull = h * u
            for p, i in enumerate(kept):
                for q, j in enumerate(kept):
                    a[p, q] = h[i, j]
                b[p] = -c[i] - pull[i]
                if fixed:
                    a[p, size] = a[size, p] = 1
            if fixed:
                b[size] = -sum(u)
            found = mpmath.lu_solve(a, b)
            for p, i in enumerate(kept):
                u[i] = found[p]
            if min(z[i] + u[i] for i in range(n)) < 0:
                continue
            value = value_of(h, c, u)
            best = (value, u) if best is None or value < best[0] else best
    return best, h, c, z


def value_of(h, c, u):
    return (c.T * u)[0] + (u.T * (h * u))[0] / 2


@pytest.mark.parametrize("tau", [1e-6, 1e-9, 1e-12])
@pytest.mark.parametrize("mass", ["fixed", "free"])
def test_they_are_certified_and_right(mass, tau):
    mu = jko.Histogram(POINTS, BEFORE)
    found = jko.step(mu, jko.Potential(SLOPES), jko.MMD(K, mass=mass), tau)
    (best, move), h, c, z = least(BEFORE, SLOPES, tau, mass == "fixed")
    u = mpmath.matrix([mpmath.mpf(float(v)) for v in found.measure.weights]) - z
    excess = float(value_of(h, c, u) - best)
    assert excess <= found.gap + 1e-14 * abs(float(best))
    exact = np.array([float(z[i] + move[i]) for i in range(4)])
    np.testing.assert_allclose(found.measure.weights, exact, rtol=1e-14, atol=1e-15)
    assert found.solver == "SimplexQP"


@pytest.mark.parametrize("mass", ["fixed", "free"])
def test_the_bound_holds_beside_the_answer(mass, rng):
    """Certificates of points near by, most of them a few roundings away."""
    tau, mu = 1e-7, jko.Histogram(POINTS, BEFORE)
    (best, move), h, c, z = least(BEFORE, SLOPES, tau, mass == "fixed")
    answer = np.array([float(z[i] + move[i]) for i in range(4)])
    problem = jko.ProxProblem(jko.Potential(SLOPES), jko.MMD(K, mass=mass), mu, tau)
    stated = QuadraticStep.of(problem)
    curved = 0
    for size in 10.0 ** rng.uniform(-16, -6, 60):
        w = np.maximum(answer + size * rng.normal(size=4) * (rng.random(4) < 0.7), 0.0)
        if mass == "fixed":
            w[1] += float(mpmath.fsum(z) - mpmath.fsum(map(mpmath.mpf, w.tolist())))
        u = mpmath.matrix([mpmath.mpf(float(v)) for v in w]) - z
        excess = float(value_of(h, c, u) - best)
        certificate = stated.certificate(Answer(mu.with_weights(w), stated, 0))
        assert certificate.gap >= excess - 1e-15 * abs(float(best))
        curved += certificate.gap < 100 * max(excess, 1e-20)
    assert curved > 5  # where the bound from the curvature is the one that counts


def test_the_mass_is_kept_to_the_last_digit():
    """A mass off by 3e-14 lowered a steep objective, and so looked like the better answer."""
    mu = jko.Histogram([[0.0], [8.0624]], [1.0, 0.0])
    energy = jko.Potential([6.8528e7, -7.3134646e7])
    for tau in 3e-6 * 10.0 ** np.linspace(-1, 1, 21):
        r = jko.step(mu, energy, jko.MMD(K), tau)
        assert abs(r.measure.weights.sum() - 1) <= 1e-15
        assert r.gap >= -1e-15 * 7e7
