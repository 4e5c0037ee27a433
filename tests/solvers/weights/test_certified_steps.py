"""Steps that were certified although they were wrong: a false root, a missed ceiling."""

import numpy as np
import pytest

import jko

LINE = np.arange(3.0)[:, None]


def test_a_weight_an_ulp_from_one_steps_like_one():
    energy, geometry = jko.PorousMedium(2), jko.Divergence(1, mass="free")
    starts = [jko.Histogram(LINE, [first, 0.1, 0.2]) for first in (0.7 + 0.2 + 0.1, 1.0)]
    a, b = (jko.step(mu, energy, geometry, 10.0) for mu in starts)
    assert abs(a.objective - b.objective) <= 1e-12
    np.testing.assert_allclose(a.measure.weights, b.measure.weights, rtol=1e-12)


def test_no_step_ends_above_its_target():
    target = jko.Histogram(LINE[:2], [1e-14, 1 - 1e-14])
    mu = jko.Histogram(LINE[:2], [0.0, 1.0])
    energy, geometry = jko.KL(target) + jko.InclusiveKL(target), jko.Divergence(0.5, mass="free")
    found = jko.step(mu, energy, geometry, 1.0)
    assert found.objective <= jko.ProxProblem(energy, geometry, mu, 1.0).objective(target) + 1e-15


def test_an_unfinished_step_under_a_ceiling_shows_its_gap():
    kernel, points = jko.kernels.Gaussian(0.5), np.linspace(-1, 1, 5)[:, None]
    mu = jko.Histogram(points, np.full(5, 0.2))
    target = jko.Histogram(points, [0.96, 0.01, 0.01, 0.01, 0.01])
    energy = jko.MMDEnergy(target, kernel) + jko.BoxConstraint(0.35)
    early = jko.step(mu, energy, jko.MMD(kernel), 10.0, max_iter=1, throw=False)
    done = jko.step(mu, energy, jko.MMD(kernel), 10.0)
    assert done.gap <= 1e-9
    assert not early.success
    assert early.gap >= (early.objective - done.objective) * (1 - 1e-9)


@pytest.mark.parametrize("mass", ["free", "fixed"])
@pytest.mark.parametrize("p", [1, 2])
def test_a_divergence_and_a_target_without_a_common_atom_are_refused(p, mass):
    """Each leaves atoms open, together none: one sentence, not an error of an empty array."""
    mu, target = jko.Histogram(LINE, [0.5, 0.5, 0.0]), jko.Histogram(LINE, [0.0, 0.0, 1.0])
    geometry = jko.Divergence(p, mass=mass)
    for energy in (jko.KL(target), jko.KL(target) + jko.MMDEnergy(mu, jko.kernels.Gaussian(1.0))):
        with pytest.raises(jko.Unsupported, match="together forbid every atom"):
            jko.step(mu, energy, geometry, 1.0)
        reasons = [why or "" for _, why in jko.solvers_for(mu, energy, geometry, why=True)]
        assert any("forbid every atom" in why for why in reasons)
