"""Roots of exponential sums, from starts where their terms or derivatives overflow."""

import numpy as np
import pytest

from jko.numerics.roots import exponential_sum_root


@pytest.mark.parametrize("log_c", [-5, 0, 20, 60, 120])
@pytest.mark.parametrize("power", [5.0, -0.5])
def test_root_from_far_starts(log_c, power):
    # From z = -constant the term is near the largest double for some atoms: its derivative
    # overflows there first, and a Newton step of length 0 must not pass for the root.
    constant = np.linspace(-200.0, 200.0, 100_001)
    c = np.full_like(constant, np.sign(power) * np.exp(log_c))
    z = exponential_sum_root(constant, 1.0, [(c, power)], -constant)
    with np.errstate(over="ignore"):
        residual = constant + z + c * np.exp(power * z)
    assert np.abs(residual / np.maximum(1.0, np.abs(constant))).max() < 1e-9
