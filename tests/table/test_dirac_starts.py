"""Every cell from a measure that sits at one atom, where the size of an energy says nothing yet."""

import numpy as np
import pytest

import jko
from jko.survey import ENERGIES, GEOMETRIES, MEASURES


@pytest.mark.filterwarnings("ignore::jko.JkoWarning")
@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize(("measure", "at"), [("GridDensity", 2), ("Histogram", 0)])
def test_a_step_from_one_atom_is_certified(measure, at, geometry):
    weights = np.zeros(MEASURES[measure].n)
    weights[at] = MEASURES[measure].mass
    mu = MEASURES[measure].with_weights(weights)
    taken = 0
    for name, make in ENERGIES.items():
        for tau in (1e-3, 1e3):
            try:
                result = jko.step(mu, make(mu), GEOMETRIES[geometry], tau, throw=False, rng=0)
            except jko.JkoError:
                continue  # refused: the energy is infinite, or no solver takes the cell
            known = result.success or result.status.name in ("UNBOUNDED", "EMPTY")
            assert known, (name, tau, result.message)
            taken += 1
    assert taken >= 10
