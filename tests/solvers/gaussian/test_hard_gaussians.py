"""Gaussians of many dimensions, ill-conditioned or flat: a result with a status or a sentence."""

import numpy as np
import pytest

import jko


def covariance(d, condition, rng, rank=None):
    q, _ = np.linalg.qr(rng.normal(size=(d, d)))
    values = np.geomspace(1.0, 1 / condition, d)
    values[rank:] = 0.0 if rank is not None else values[rank:]
    return (q * values) @ q.T


ENERGIES = {
    "KL": lambda d, rng: jko.KL(jko.Gaussian(np.zeros(d), covariance(d, 10.0, rng))),
    "KL to an ill-conditioned one": lambda d, rng: jko.KL(
        jko.Gaussian(np.ones(d), covariance(d, 1e12, rng))
    ),
    "entropy and a well": lambda d, rng: (
        jko.Entropy() + jko.Potential(lambda x: (x**4).sum(axis=1) / 4, gradient=lambda x: x**3)
    ),
}
GEOMETRIES = [jko.Wasserstein(), jko.Hellinger(mass="fixed"), jko.Divergence(1.0)]


@pytest.mark.parametrize("name", ENERGIES)
@pytest.mark.parametrize(("d", "condition"), [(2, 1e12), (20, 1e12), (20, 1.0)])
def test_steps_end_with_a_status(name, d, condition):
    rng = np.random.default_rng(0)
    mu = jko.Gaussian(rng.normal(size=d), covariance(d, condition, rng))
    for geometry in GEOMETRIES:
        found = jko.step(mu, ENERGIES[name](d, rng), geometry, 0.3, throw=False, rng=0)
        assert found.status.name in {"CERTIFIED", "INACCURATE", "MAX_ITERATIONS", "BROKEN"}
        assert "\n" not in found.message


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=repr)
def test_two_hundred_dimensions(geometry):
    rng = np.random.default_rng(1)
    mu = jko.Gaussian(rng.normal(size=200), covariance(200, 1e6, rng))
    found = jko.step(mu, ENERGIES["KL"](200, rng), geometry, 0.3, throw=False, rng=0)
    assert found.success


@pytest.mark.parametrize("d", [2, 5, 50])
def test_flat_covariances_are_refused_where_they_enter(d):
    """An eigenvalue that is 0 may round to either side of it."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        flat = covariance(d, 1.0, rng, rank=d // 2)
        try:
            mu = jko.Gaussian(np.zeros(d), flat)
        except jko.InvalidMeasure:
            continue
        np.linalg.cholesky(mu.cov)
        for geometry in GEOMETRIES:
            jko.step(mu, jko.Entropy() + 0.5 * jko.KL(jko.Gaussian(np.ones(d), np.eye(d))),
                     geometry, 0.3, throw=False, rng=0)  # fmt: skip


def test_axes_in_very_different_units_are_no_flat_covariance():
    mu = jko.Gaussian([0.0, 0.0], np.diag([1e-20, 1e10]))
    target = jko.Gaussian([0.0, 0.0], np.diag([4e-20, 1e10]))
    found = jko.step(mu, jko.KL(target), jko.Divergence(1.0), 1.0)
    assert found.success


def test_what_does_not_fit_or_factor_is_no_raw_error():
    """A solver that runs out of memory leaves the step to the next one."""

    class Greedy(jko.solvers.ClosedForm):
        def solve(self, problem, controls):
            raise MemoryError

    class Singular(jko.solvers.ClosedForm):
        def solve(self, problem, controls):
            raise np.linalg.LinAlgError("Singular matrix")

    mu = jko.Histogram(np.arange(3.0)[:, None], [0.2, 0.3, 0.5])
    energy = jko.KL(mu.with_weights([0.5, 0.3, 0.2]))
    for bad in (Greedy(), Singular()):
        alone = jko.step(mu, energy, jko.Hellinger(), 0.5, solver=bad, throw=False)
        assert not alone.success
        assert "memory" in alone.message or "Singular" in alone.message
        assert jko.step(mu, energy, jko.Hellinger(), 0.5, solver=[bad, "auto"]).success
