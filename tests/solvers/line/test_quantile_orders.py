"""Orders in time on the line: JKO 1, the midpoint 2 T - id 2 (formulas W3, W5)."""

import numpy as np
import pytest
from line_cases import WELL, W, affine, profile

import jko
from jko import reference
from jko.flows.plan import Scheme
from jko.solvers import Quantile

TAUS = (0.1, 0.05, 0.025)


def order(mu, energy, exact, scheme, t1=1.0):
    solver = Quantile(curvature=0.0)
    errors = []
    for tau in TAUS:
        sol = jko.flow(mu, energy, W, tau=tau, t1=t1, scheme=scheme, solver=solver, save="last")
        errors.append(np.abs(sol.final.points - exact.points).max())
    assert errors == sorted(errors, reverse=True)
    return float(np.log2(errors[-2] / errors[-1]))


@pytest.mark.parametrize("scheme", ["implicit", "midpoint"])
def test_ornstein_uhlenbeck(scheme):
    y = profile(1.0)
    mean, std = reference.ou_flow(1.5, 0.5, 1.0)
    found = order(affine(y, 1.5, 0.5), jko.Entropy() + WELL, affine(y, mean, std), scheme)
    assert found == pytest.approx(Scheme("lie", scheme).order(1), abs=0.1)


@pytest.mark.parametrize("m", [2.0, 4.0])
@pytest.mark.parametrize("scheme", ["implicit", "midpoint"])
def test_barenblatt(scheme, m):
    # lam' = lam^{-m}: the discrete profile dilates exactly as the continuous one.
    y, start = profile(m), 0.7
    end = (start ** (m + 1) + (m + 1)) ** (1 / (m + 1))
    found = order(affine(y, 0.0, start), jko.PorousMedium(m), affine(y, 0.0, end), scheme)
    assert found == pytest.approx(Scheme("lie", scheme).order(1), abs=0.1)
