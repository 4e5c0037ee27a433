"""Bad input gets one clear sentence: the argument, its value, the remedy."""

import re

import numpy as np
import pytest
from refusals.table_objects import ENERGIES, GEOMETRIES, KERNELS, MEASURES
from refusals.table_steps import ARGUMENTS, FAILED, SETTINGS, UNSERVED

import jko

TABLE = [*MEASURES, *KERNELS, *ENERGIES, *GEOMETRIES, *ARGUMENTS, *SETTINGS, *UNSERVED]


def check_sentence(message, fragments):
    for fragment in fragments:
        assert re.search(fragment, message), f"{fragment!r} is not in: {message}"
    assert len(message) <= 600
    assert len(message.splitlines()) <= 3
    assert "<jko" not in message, f"a bare object address in: {message}"


@pytest.mark.parametrize(
    ("call", "error", "fragments"), [c[1:] for c in TABLE], ids=[c[0] for c in TABLE]
)
def test_refusal(call, error, fragments):
    with pytest.raises(jko.JkoError) as caught:
        call()
    assert isinstance(caught.value, error)
    assert isinstance(caught.value, ValueError)
    check_sentence(str(caught.value), fragments)


@pytest.mark.parametrize(
    ("call", "status", "fragments"), [c[1:] for c in FAILED], ids=[c[0] for c in FAILED]
)
def test_a_step_that_fails_hands_back_what_it_has(call, status, fragments):
    with pytest.raises(jko.StepFailed) as caught:
        call()
    check_sentence(str(caught.value), fragments)
    found = caught.value.result
    assert not found.success
    assert status is None or found.status is status
    assert np.isfinite(found.measure.weights).all()
    assert np.isfinite(found.measure.points).all()
    assert found.message == str(caught.value)
    returned = call(throw=False)
    assert returned.status is found.status
    np.testing.assert_array_equal(returned.measure.weights, found.measure.weights)


def test_ids_are_unique():
    names = [case[0] for case in TABLE]
    for table in (MEASURES, KERNELS, ENERGIES, GEOMETRIES, ARGUMENTS, SETTINGS, UNSERVED, FAILED):
        inside = [case[0] for case in table]
        assert len(set(inside)) == len(inside)
    assert len(names) > 100


def test_infinite_energies_are_values_not_errors():
    """KL where the target has no mass: +inf by definition, and a step empties those atoms."""
    mu = jko.Histogram([[0.0], [1.0]], [0.5, 0.5])
    pi = mu.with_weights([1.0, 0.0])
    assert jko.KL(pi).value(mu) == np.inf
    assert jko.InclusiveKL(mu).value(pi) == np.inf
    for geometry in (jko.Hellinger(), jko.Hellinger(mass="fixed")):
        found = jko.step(mu, jko.KL(pi), geometry, 0.5)
        assert found.measure.weights[1] == 0
        assert np.isfinite(found.energy)


def test_the_energy_distance_is_fine_on_fixed_mass():
    mu = jko.Histogram([[0.0], [1.0]], [0.5, 0.5])
    energy = jko.MMDEnergy(mu.with_weights([0.9, 0.1]), jko.kernels.Energy())
    for geometry in (jko.MMD(jko.kernels.Energy()), jko.MMD(jko.kernels.Gaussian(1.0))):
        assert jko.step(mu, energy, geometry, 0.5).success
