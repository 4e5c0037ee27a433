"""Internal energies of particles on the line."""

import numpy as np
import pytest
from line_cases import uneven

import jko
from jko.testing import check_energy


@pytest.mark.parametrize(
    "energy", [jko.Entropy(), jko.PorousMedium(2.0), jko.PorousMedium(0.5)], ids=repr
)
def test_slopes_are_those_of_the_value(energy):
    rng = np.random.default_rng(0)
    x = np.cumsum(rng.uniform(0.2, 1.0, 12))
    weights = np.append(3 * uneven(11), 0.0)
    mu = jko.Particles(rng.permutation(np.column_stack([x, weights]))[:, :1], weights)
    assert {"value", "wasserstein_gradient"} <= set(check_energy(energy, mu))


def test_the_value_by_hand():
    mu = jko.Particles([[2.0], [0.0], [5.0], [1.0]], [0.5, 0.25, 0.0, 0.25])
    masses, spacing = np.array([0.25, 0.375]), np.array([1.0, 1.0])
    density = masses / spacing
    assert jko.Entropy().value(mu) == pytest.approx((spacing * density * np.log(density)).sum())
    assert jko.PorousMedium(3.0).value(mu) == pytest.approx((spacing * density**3).sum() / 2)
    assert jko.BoxConstraint(0.375).value(mu) == 0
    assert jko.BoxConstraint(0.37).value(mu) == np.inf


def test_coincident_particles():
    mu = jko.Particles([[0.0], [0.0], [1.0]])
    assert jko.Entropy().value(mu) == np.inf
    assert jko.PorousMedium(2.0).value(mu) == np.inf
    assert jko.BoxConstraint(5.0).value(mu) == np.inf
    assert jko.PorousMedium(0.5).value(mu) == pytest.approx(-2 * np.sqrt(1 / 3))
    assert jko.Entropy().value(jko.Particles([[3.0]])) == 0


def test_a_sample_of_quantiles_has_the_entropy_of_its_density():
    from scipy.special import ndtri

    s = (np.arange(2000) + 0.5) / 2000
    found = jko.Entropy().value(jko.Particles(ndtri(s)[:, None]))
    assert found == pytest.approx(-0.5 * np.log(2 * np.pi * np.e), abs=5e-3)
