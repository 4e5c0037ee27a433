"""What a user's energy returns: what is usable is used, the rest is one sentence."""

import numpy as np
import pytest

import jko

GRID = jko.Grid(-2, 2, 30)
START = jko.GridDensity.from_function(lambda x: np.exp(-(x[:, 0] ** 2)), GRID, mass=1)
ATOMS = jko.Histogram(np.linspace(-2, 2, 9)[:, None], np.full(9, 1 / 9))


def half_square(mu):
    return float((mu.weights**2).sum() / 2)


def energy(value=half_square, slope=lambda mu: mu.weights):
    class Mine(jko.Energy):
        def value(self, mu):
            return value(mu)

        def first_variation(self, mu):
            return slope(mu)

    return Mine()


@pytest.mark.parametrize(
    ("own", "sentence"),
    [
        (energy(value=lambda mu: mu.weights), r"value of Mine returned an array of shape \(30,\)"),
        (energy(value=lambda mu: None), "value of Mine returned NoneType, no real numbers"),
        (energy(value=lambda mu: "a"), "value of Mine returned str, no real numbers"),
        (energy(slope=lambda mu: 1.0), r"first_variation of Mine returned shape \(\) for 30 atoms"),
        (energy(slope=lambda mu: mu.weights[:, None]), r"returned shape \(30, 1\) for 30 atoms"),
        (energy(slope=lambda mu: mu.weights[:-1]), r"returned shape \(29,\) for 30 atoms"),
        (energy(slope=lambda mu: None), "first_variation of Mine returned NoneType"),
        (energy(slope=lambda mu: mu.weights * np.nan), "first_variation of Mine is nan at atom 0"),
        (energy(slope=lambda mu: [[1.0], [1.0, 2.0]]), "first_variation of Mine returned no array"),
    ],
)
@pytest.mark.parametrize("geometry", [jko.Wasserstein(), jko.Hellinger()], ids=repr)
def test_what_is_no_energy_is_named(own, sentence, geometry):
    with pytest.raises(jko.InvalidArgument, match=sentence):
        jko.step(START, own, geometry, 0.2)


def test_a_force_of_the_wrong_shape_is_named():
    class Well(jko.Energy):
        def value(self, mu):
            return float(mu.weights @ (mu.points**2).sum(axis=1) / 2)

        def wasserstein_gradient(self, mu):
            return mu.points[:, 0]

    with pytest.raises(jko.InvalidArgument, match=r"wasserstein_gradient of Well returned shape"):
        jko.step(jko.Particles(np.eye(2)), Well(), jko.Wasserstein(), 1.0)


@pytest.mark.parametrize("geometry", [jko.Hellinger(), jko.Hellinger(mass="fixed")], ids=repr)
@pytest.mark.parametrize(
    ("value", "slope", "close"),
    [
        (half_square, lambda mu: mu.weights.tolist(), 1e-8),
        (lambda mu: np.array([half_square(mu)]), lambda mu: mu.weights, 1e-8),
        (
            lambda mu: np.float32(half_square(mu)),
            lambda mu: mu.weights.astype(np.float32),
            1e-6,
        ),
    ],
    ids=["list", "array of one", "single precision"],
)
def test_other_types_of_numbers_give_the_same_step(value, slope, close, geometry):
    right = jko.step(START, jko.PorousMedium(2) * (GRID.cell_volume / 2), geometry, 5.0)
    found = jko.step(START, energy(value, slope), geometry, 5.0)
    assert found.measure.weights == pytest.approx(right.measure.weights, abs=close)


def test_a_constant_in_the_first_variation_counts_where_the_mass_varies():
    own = energy(slope=lambda mu: mu.weights + 7.0)
    right = jko.step(START, energy(), jko.Hellinger(mass="fixed"), 1.0)
    found = jko.step(START, own, jko.Hellinger(mass="fixed"), 1.0)
    assert found.measure.weights == pytest.approx(right.measure.weights, abs=1e-9)
    with pytest.raises(jko.InvalidArgument, match="first_variation of Mine disagrees"):
        jko.step(START, own, jko.Hellinger(), 1.0)


def test_a_value_that_is_not_finite_is_said():
    own = energy(value=lambda mu: np.nan)
    with pytest.raises(jko.InvalidArgument, match="is nan where the step begins"):
        jko.step(START, own, jko.Hellinger(), 0.2)


@pytest.mark.parametrize("tau", [1e-3, 0.05])
def test_atoms_too_far_apart_to_move_stay(tau):
    """|x - y|^2 / (2 tau) = 1/8 tau a unit of mass is more than half_square can fall."""
    for mu in (ATOMS, ATOMS.with_weights(np.arange(1, 10) / 45)):
        found = jko.step(mu, energy(), jko.Wasserstein(), tau)
        assert found.success
        assert found.measure.weights == pytest.approx(mu.weights, abs=1e-9)
        assert found.objective <= half_square(mu) + 1e-15


def test_a_potential_of_the_wrong_shape_is_named():
    cloud = jko.Particles(np.array([[1.0, 2.0], [0.5, 0.0]]))
    for wrong in (lambda x: (x**2).sum(axis=1)[:, None] / 2, lambda x: "a"):
        with pytest.raises(jko.InvalidArgument, match="one real number per point"):
            jko.step(cloud, jko.Potential(wrong, gradient=lambda x: x), jko.Wasserstein(), 0.1)
