"""Free MMD steps so long that the mass grows by many powers of ten: they have a minimum."""

from __future__ import annotations

import numpy as np
import pytest

import jko


@pytest.mark.parametrize("tau", [1.0, 1e3, 1e6, 1e9])
def test_far_atoms_gain_tau_times_the_fall_of_the_potential(tau):
    # Kernels of atoms this far apart do not see each other: w = (m - tau v)_+ atom by atom.
    m, v = np.array([0.2, 0.0, 0.02, 0.5]), np.array([-0.3, 0.2, -1e-3, 0.4])
    mu = jko.Histogram(np.arange(4.0)[:, None], m)
    geometry = jko.MMD(jko.kernels.Gaussian(0.05), mass="free")
    result = jko.step(mu, jko.Potential(v), geometry, tau)
    assert result.measure.weights == pytest.approx(np.maximum(m - tau * v, 0), rel=1e-4, abs=1e-4)
