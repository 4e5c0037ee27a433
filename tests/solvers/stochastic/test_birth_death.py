"""Reweighting, birth-death and tempering as steps of the engine."""

import warnings

import numpy as np
import pytest
from generators.targets import gaussian, two_modes

import jko
from jko.markov.density_estimate import estimate_density
from jko.markov.resampling import systematic
from jko.solvers import BirthDeath, Langevin, Reweighting, Tempering

SHE, MIRROR = jko.SphericalHellinger(), jko.Divergence(p=1)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_density_estimate_of_a_gaussian(rng, dim):
    """Within kernel smoothing of the truth on the bulk; the modes of a mixture do not blur it."""
    for target in (jko.Gaussian(np.zeros(dim), np.eye(dim)), _far_mixture(dim)):
        mu = jko.Particles(target.sample(2000, rng))
        found, exact = estimate_density(mu), target.log_density_at(mu.points)
        bulk = exact > np.quantile(exact, 0.3)
        assert np.abs(found.log_density - exact)[bulk].mean() < 0.3
        assert found.untrusted < 0.2


def _far_mixture(dim):
    means = np.zeros((2, dim))
    means[1, 0] = 20
    return jko.GaussianMixture(means, np.stack([np.eye(dim)] * 2), [0.3, 0.7])


def test_reweighting_is_the_certified_step_on_its_atoms(rng):
    """The weights minimise c KL to the importance masses plus the distance, against rivals."""
    mu = jko.Particles(2 * rng.standard_normal((200, 1)))
    result = jko.step(mu, jko.KL(gaussian(1)), SHE, 0.5, solver=Reweighting())
    assert result.success
    assert result.gap < 1e-8
    log_ratio = gaussian(1).log_density_at(mu.points) - estimate_density(mu).log_density
    masses = mu.weights * np.exp(log_ratio)
    stated = jko.KL(mu.with_weights(masses / masses.sum()))
    best = stated.value(result.measure) + SHE.sqdistance(result.measure, mu)
    for _ in range(50):
        w = result.measure.weights * np.exp(0.1 * rng.standard_normal(mu.n))
        rival = mu.with_weights(w / w.sum())
        assert best <= stated.value(rival) + SHE.sqdistance(rival, mu) + 1e-12


def test_birth_death_follows_the_weights(rng):
    mu = jko.Particles(1 + 2 * rng.standard_normal((3000, 2)))
    weighted = jko.step(mu, jko.KL(gaussian(2)), SHE, 0.5, solver=Reweighting()).measure
    result = jko.step(mu, jko.KL(gaussian(2)), SHE, 0.5, solver=BirthDeath(), rng=rng)
    assert np.ptp(result.measure.weights) == 0
    np.testing.assert_allclose(result.measure.mean, weighted.mean, atol=0.05)
    np.testing.assert_allclose(result.measure.cov, weighted.cov, atol=0.2)
    assert 0 < result.info["survivors"] < 1


def test_systematic_resampling_counts(rng):
    weights = np.array([0.0, 0.5, 1.25, 3.25, 5.0])
    counts = np.array([np.bincount(systematic(weights, 10, rng), minlength=5) for _ in range(2000)])
    assert set(np.unique(counts[:, 1])) <= {0, 1}
    assert set(np.unique(counts[:, 3])) <= {3, 4}
    np.testing.assert_allclose(counts.mean(axis=0), weights, atol=0.05)


def test_wfr_finds_the_weights_of_two_modes(rng):
    """Langevin alone keeps the wrong shares; births and deaths mend them (d = 2)."""
    target = two_modes(2)
    x = rng.standard_normal((600, 2))
    x[:300, 0] += 8
    options = {"tau": 0.3, "steps": 40, "save": "last", "rng": 1}
    energy = jko.KL(target)
    alone = jko.flow(
        jko.Particles(x), energy, jko.Wasserstein(), solver=Langevin(moves=2), **options
    )
    both = jko.flow(
        jko.Particles(x), energy, jko.Wasserstein() + SHE,
        solver=(Langevin(moves=2), BirthDeath()), **options,
    )  # fmt: skip
    assert alone.success
    assert both.success
    assert both.verify().holds
    assert _right(alone.final) == pytest.approx(0.5, abs=0.02)
    assert _right(both.final) == pytest.approx(0.7, abs=0.08)


def _right(mu):
    return float(mu.weights @ (mu.points[:, 0] > 4))


def test_few_particles_are_not_trusted(rng):
    mu = jko.Particles(rng.standard_normal((12, 3)))
    with pytest.warns(UserWarning, match="fewer than 10 particles"):
        jko.step(mu, jko.KL(gaussian(3)), SHE, 0.1, solver=Reweighting())


REFUSED = {
    "dimension": (4, SHE, Reweighting(), "at most 3 dimensions"),
    "free mass": (2, jko.Hellinger(), BirthDeath(), "mass of an unnormalised target"),
    "geometry": (2, jko.Wasserstein(), BirthDeath(), "SphericalHellinger"),
    "not a mirror step": (2, SHE, Tempering(jko.Gaussian(np.zeros(2), np.eye(2))), "p=1"),
    "reference": (3, MIRROR, Tempering(jko.Gaussian(np.zeros(2), np.eye(2))), "reference"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(rng, case):
    dim, geometry, solver, message = REFUSED[case]
    mu = jko.Particles(rng.standard_normal((30, dim)))
    with pytest.raises(jko.Unsupported, match=message):
        jko.step(mu, jko.KL(gaussian(dim)), geometry, 0.1, solver=solver)


def test_degenerate_clouds_have_defined_steps(rng):
    """One particle, duplicated particles, zero weights."""
    energy = jko.KL(gaussian(2))
    weights = np.r_[0.0, np.full(49, 1 / 49)]
    clouds = {
        "one": jko.Particles([[1.0, 2.0]]),
        "duplicated": jko.Particles(np.ones((50, 2))),
        "zero weight": jko.Particles(rng.standard_normal((50, 2)), weights),
    }
    for mu in clouds.values():
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "the density estimate rests", UserWarning)
            result = jko.step(mu, energy, SHE, 0.1, solver=Reweighting(), rng=rng)
        assert result.success
        assert result.measure.mass == pytest.approx(1.0)
    assert result.measure.weights[0] == 0
    with pytest.raises(jko.InvalidMeasure, match="sum to zero"):
        jko.Particles(np.ones((3, 2)), np.zeros(3))


@pytest.mark.parametrize("dim", [2, 10])
def test_tempering_follows_the_path(rng, dim):
    """At each exponent s the law is mu_0^{1-s} pi^s, a Gaussian here; weights need no estimate."""
    reference = jko.Gaussian(np.zeros(dim), 16 * np.eye(dim))
    target = gaussian(dim, 1.0, 2.0)
    mu = jko.Particles(reference.sample(4000, rng))
    sol = jko.flow(
        mu, jko.KL(target), MIRROR, tau=0.15, steps=12, solver=Tempering(reference), rng=rng
    )
    assert sol.success
    for step, measure in zip(sol.steps, sol.measures[1:], strict=True):
        s = step.substeps[0].info["exponent"]
        assert s == pytest.approx(1 - 1.15**-step.index)
        precision = (1 - s) / 16 + s
        np.testing.assert_allclose(measure.mean, 2 * s / precision, atol=0.25 * precision**-0.5)
    np.testing.assert_allclose(np.diag(sol.final.cov), 1 / precision, rtol=0.15)


def test_flows_of_random_steps_resume(tmp_path, rng):
    """A flow stopped halfway goes on to the same particles, bit for bit."""
    reference = jko.Gaussian(np.zeros(2), 9 * np.eye(2))
    mu, energy = jko.Particles(reference.sample(400, rng)), jko.KL(two_modes(2))
    runs = {
        "langevin": (jko.Wasserstein(), Langevin()),
        "wfr": (jko.Wasserstein() + SHE, (Langevin(), BirthDeath())),
        "tempering": (MIRROR, Tempering(reference)),
    }
    for name, (geometry, solver) in runs.items():
        options = {"tau": 0.2, "steps": 6, "solver": solver}
        whole = jko.flow(mu, energy, geometry, rng=5, **options)
        path = tmp_path / f"{name}.npz"

        def interrupt(event):
            if event.index == 3:
                raise KeyboardInterrupt

        with pytest.warns(RuntimeWarning, match="interrupted"):
            part = jko.flow(
                mu, energy, geometry, rng=5, checkpoint=path, callbacks=interrupt, **options
            )
        assert len(part.steps) == 3
        again = jko.resume(path, energy=energy)
        np.testing.assert_array_equal(again.final.points, whole.final.points)
        np.testing.assert_array_equal(again.final.weights, whole.final.weights)
