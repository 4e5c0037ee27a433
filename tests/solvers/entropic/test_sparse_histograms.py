"""Wasserstein steps where atoms are far apart: exact by default, a warning where blurred."""

from __future__ import annotations

import numpy as np
import pytest

import jko

TWO = jko.Histogram([[0.0], [1.0]], [0.9, 0.1])
EVEN = jko.KL(TWO.with_weights([0.5, 0.5]))


def test_two_atoms_stay_where_moving_costs_more() -> None:
    """(1/tau = 5) times the squared gap exceeds the slope log 9 of the energy: nothing moves."""
    result = jko.step(TWO, EVEN, jko.Wasserstein(), 0.2)
    assert result.solver == "TransportProgram"
    np.testing.assert_allclose(result.measure.weights, [0.9, 0.1], atol=1e-6)
    sol = jko.flow(TWO, EVEN, jko.Wasserstein(), tau=0.2, steps=3)
    np.testing.assert_allclose(sol.final.weights, [0.9, 0.1], atol=1e-6)


def test_an_entropic_step_says_that_it_cannot_see_the_gap() -> None:
    with pytest.warns(jko.JkoWarning, match="exceeds the variance 0.09 of the measure"):
        jko.step(TWO, EVEN, jko.Wasserstein(), 0.2, solver=jko.solvers.Entropic())


@pytest.mark.parametrize("seed", range(4))
def test_the_default_step_is_never_worse_than_staying(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mu = jko.Histogram(rng.normal(size=(6, 2)), rng.dirichlet(np.ones(6)))
    energy = jko.KL(mu.with_weights(rng.dirichlet(np.ones(6))))
    result = jko.step(mu, energy, jko.Wasserstein(), 0.5)
    moved = jko.Wasserstein().sqdistance(result.measure, mu)
    assert energy.value(result.measure) + moved / (2 * 0.5) <= energy.value(mu) + 1e-6


def test_a_box_too_small_for_the_mass_is_a_sentence() -> None:
    grid = jko.Grid([-4], [4], [50])
    bump = jko.GridDensity.from_function(lambda x: np.exp(-(x[:, 0] ** 2)), grid, mass=1)
    for mu, bound in ((bump, 0.1), (TWO, 0.4)):
        with pytest.raises(jko.Unsupported, match=r"carry 0\.8 in all, less than the mass 1"):
            jko.step(mu, jko.BoxConstraint(bound), jko.Wasserstein(), 0.1)
