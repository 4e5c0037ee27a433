"""Smooth densities: what debiasing gains, against exact steps."""

import numpy as np
import pytest
from scipy.special import erf, ndtri

import jko
from jko import reference
from jko.solvers import Entropic, Quantile

W, TAU, MEAN, STD = jko.Wasserstein(), 0.1, 0.3, 0.6
GRID = jko.Grid(-5.0, 5.0, 200)
EDGES = np.linspace(-5.0, 5.0, 201)
BOWL = jko.Potential(lambda x: 0.5 * x[:, 0] ** 2)
WELL = jko.Potential(lambda x: 0.25 * (x[:, 0] ** 2 - 1) ** 2, gradient=lambda x: x * (x**2 - 1))


def gaussian(mean, std):
    return np.diff(0.5 * erf((EDGES - mean) / (std * 2**0.5)))


def quantiles(n):
    levels = (np.arange(n) + 0.5) / n
    start = jko.Particles(MEAN + STD * ndtri(levels)[:, None])
    out = jko.step(start, jko.Entropy() + WELL, W, TAU, solver=Quantile(curvature=-1.0))
    return np.diff(np.interp(EDGES, out.measure.points[:, 0], levels, left=0.0, right=1.0))


EXACT = {
    "heat": (jko.Entropy(), lambda: gaussian(*reference.ou_step(MEAN, STD, TAU, stiffness=0.0))),
    "bowl": (jko.Entropy() + BOWL, lambda: gaussian(*reference.ou_step(MEAN, STD, TAU))),
    # Quantiles err by O(1/n).
    "well": (jko.Entropy() + WELL, lambda: 2 * quantiles(2**17) - quantiles(2**16)),
}


@pytest.mark.parametrize("reg", [TAU, TAU / 2])
@pytest.mark.parametrize("case", EXACT)
def test_debiased_steps_are_fifty_times_closer_than_plain_ones(case, reg):
    energy, exact = EXACT[case]
    mu, exact = jko.GridDensity(GRID, gaussian(MEAN, STD) / gaussian(MEAN, STD).sum()), exact()
    steps = [jko.step(mu, energy, W, TAU, solver=Entropic(reg, d)) for d in (False, True)]
    plain, debiased = (float(np.abs(r.measure.weights - exact).sum()) for r in steps)
    assert 50 * debiased < plain
    assert plain < 0.05
