"""Models of local energies: the power by which they grow is found, and then they are exact."""

import numpy as np
import pytest

import jko
from jko.energies.model import LogModel
from jko.prox.duality.weights import fixed_gap

W = jko.Wasserstein()


def density(shape: str, cells: int = 64) -> jko.GridDensity:
    grid = jko.Grid([-3.0], [3.0], [cells])
    x = grid.points[:, 0]
    values = {"smooth": np.exp(-2 * (x - 0.3) ** 2), "box": 1.0 * (np.abs(x - 0.4) < 1)}[shape]
    return jko.GridDensity.from_density(values, grid, mass=1.5)


def power_energy(p: float, scale: float = 1.0) -> jko.LocalEnergy:
    """Scale rho^p / (p (p - 1)), as functions of the density."""
    return jko.LocalEnergy(
        lambda r: scale * r**p / (p * (p - 1)),
        lambda r: scale * r ** (p - 1) / (p - 1),
        lambda r: scale * r ** (p - 2),
    )


@pytest.mark.parametrize("shape", ["smooth", "box"])
@pytest.mark.parametrize("p", [1.5, 2.0, 3.0])
def test_one_model_takes_the_step_of_a_power(p, shape):
    mu = density(shape)
    own = jko.step(mu, power_energy(p, 0.7), W, 0.02)
    known = jko.step(mu, 0.7 / p * jko.PorousMedium(p), W, 0.02)
    assert own.info["models"] == 1
    assert own.info["inner_solver"] == known.solver
    assert np.abs(own.measure.weights - known.measure.weights).sum() < 1e-6 * mu.mass


def test_the_model_of_a_power_is_the_energy():
    mu, energy = density("smooth"), power_energy(3.0) + jko.Potential(lambda x: x[:, 0] ** 2)
    model = LogModel.of(energy, mu)
    assert model.power == 3
    other = mu.with_weights(np.roll(mu.weights, 5))
    expected = energy.first_variation(other)
    assert np.allclose(model.slope(other.weights), expected, rtol=1e-7)


def test_energies_that_are_no_power_keep_the_logarithm():
    mixed = jko.LocalEnergy(
        lambda r: np.where(r > 0, r * np.log(np.maximum(r, 1e-300)), 0.0) + 5 * r**3,
        lambda r: np.log(np.maximum(r, 1e-300)) + 1 + 15 * r**2,
        lambda r: 1 / r + 30 * r,
    )
    assert LogModel.of(mixed, density("smooth")).power == 1
    kernel = jko.MMDEnergy(density("box"), jko.kernels.Gaussian(0.5))
    assert LogModel.of(kernel + power_energy(2.0), density("smooth")).power == 1


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_gap_that_is_compared_is_on_the_right_side(factor):
    """The search for the multiplier ends early, never with another verdict."""
    rng = np.random.default_rng(3)
    h = (0.3 * jko.PorousMedium(3.0)).restrict(density("smooth")).separable
    w = density("smooth").weights
    pull = -h.gradient(w) + 0.05 * rng.normal(size=w.size)
    sharp = fixed_gap(h, pull, w, w.sum(), 0.3)[0]
    told = fixed_gap(h, pull, w, w.sum(), 0.3, enough=factor * sharp)[0]
    assert told >= sharp * (1 - 1e-9)
    assert (told <= factor * sharp) == (factor > 1)
