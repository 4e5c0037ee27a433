"""Atoms of next to no mass, whose weights jump between neighbouring multipliers."""

from __future__ import annotations

import numpy as np
import pytest

import jko
from jko.forms.separable import Separable
from jko.solvers.hellinger.atoms import Atoms
from jko.solvers.hellinger.closed_form import closed_response
from jko.solvers.hellinger.multiplier import fixed_weights


def test_a_product_below_the_least_number_leaves_the_mass_where_it_is():
    # Inclusive divergence: w = tau' m / (v - lam), the better atom from 1e-296.
    mu = jko.Histogram([[0.0], [1.0]], [1.0, 1e-296])
    values = np.array([0.8, -1.8])
    result = jko.step(mu, jko.Potential(values), jko.Divergence(p=0), 5.0)
    w = result.measure.weights
    assert w.sum() == pytest.approx(1.0, abs=1e-15)
    # lam is v[1] to all digits, so that the first atom keeps m / (tau (v[0] - v[1])).
    assert w[0] == pytest.approx(1.0 / (1 + 5.0 * (2.6 - 1 / 5.0)), rel=1e-12)


@pytest.mark.parametrize("tiny", [1e-14, 1e-18, 1e-60, 1e-300])
def test_what_is_missing_at_a_jump_goes_to_the_atom_that_jumps(tiny):
    # Two good atoms fill up, the third takes what is left, the last keeps m / (tau (v - lam)).
    mu = jko.Histogram(np.arange(4.0)[:, None], [tiny, tiny, tiny, 3.0])
    values = np.array([-500.0, -300.0, -100.0, 0.0])
    energy = jko.Potential(values) + jko.BoxConstraint(1.25)
    result = jko.step(mu, energy, jko.Divergence(p=0), 200.0)
    w = result.measure.weights
    kept = 3.0 / (1 + 200.0 * (100.0 - 1 / 200.0))
    assert w == pytest.approx([1.25, 1.25, 0.5 - kept, kept], rel=1e-9)
    assert result.measure.mass == pytest.approx(mu.mass, rel=1e-14)


def test_an_atom_that_explodes_between_two_multipliers_takes_what_is_missing():
    # Where the entropy of an atom counts 1e-24 its weight is nothing or more than a double holds.
    before, step = np.array([0.7, 0.2, 0.0, 0.1]), 8000.0
    entropy = np.array([1e-3, 4e-4, 1e-28, 4e-4])
    h = Separable(np.array([-0.013, -0.004, 4e-27, -0.004]), {1.0: entropy})
    atoms = Atoms(h, before, step)
    respond = closed_response(atoms)
    assert respond is not None
    w = fixed_weights(atoms, respond, 1e6).weights
    assert np.isfinite(w).all()
    assert w.sum() == pytest.approx(1e6, rel=1e-12)
    # The multiplier is that atom's slope: the others are where it leaves them.
    alone = atoms.weights(respond, 1 + step / 2 * (h.linear - h.linear[2] - 2 / step))
    np.testing.assert_allclose(w[[0, 1, 3]], alone[[0, 1, 3]], rtol=1e-9)
