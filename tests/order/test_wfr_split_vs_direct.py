"""Split and unsplit Wasserstein-Fisher-Rao steps: one limit, approached at first order in tau."""

import numpy as np
import pytest
from test_orders import assert_order

import jko
from jko import reference
from jko.solvers import Entropic, UnbalancedScaling

ALPHA, BETA, T1 = 1.0, 1.0, 0.4
TAUS = (0.1, 0.05, 0.025)
GRID = jko.Grid(-4.0, 4.0, 120)
PI = jko.GridDensity.from_function(lambda x: np.exp(-(x[:, 0] ** 2) / 2), GRID, mass=1.5)
MU = jko.GridDensity.from_function(lambda x: np.exp(-((x[:, 0] - 0.8) ** 2)), GRID, mass=0.6)
DIRECT = jko.WassersteinFisherRao(ALPHA, BETA)
SPLIT = ALPHA * jko.Wasserstein() + BETA * jko.Hellinger()


def weights(geometry, tau, solver="auto"):
    sol = jko.flow(MU, jko.KL(PI), geometry, tau=tau, t1=T1, save="last", solver=solver)
    return sol.final.weights


@pytest.fixture(scope="module")
def flows():
    reg = 4 * float(GRID.spacing[0]) ** 2
    split = (Entropic(reg=reg), "auto")
    return {tau: (weights(DIRECT, tau), weights(SPLIT, tau, split)) for tau in TAUS}


def test_they_approach_each_other_at_first_order(flows):
    apart = [float(np.abs(a - b).sum()) for a, b in flows.values()]
    orders = np.log2(np.divide(apart[:-1], apart[1:]))
    np.testing.assert_allclose(orders, 1.0, atol=0.15)
    assert apart[-1] < 3e-3


def test_each_is_first_order_towards_the_common_limit(flows):
    """Both extrapolate (Richardson) to one measure, far closer than they are to it."""
    (a, b), (a2, b2) = flows[TAUS[-2]], flows[TAUS[-1]]
    limits = 2 * a2 - a, 2 * b2 - b
    assert np.abs(limits[0] - limits[1]).sum() < 0.1 * np.abs(a2 - b2).sum()


def test_the_regularisation_is_not_what_is_measured():
    """Another eps changes the flow by a small part of the distance between the two schemes."""
    default, finer = (weights(DIRECT, 0.05, UnbalancedScaling(reg)) for reg in (None, 2.5e-3))
    assert np.abs(default - finer).sum() < 2e-4


def test_direct_steps_against_the_exact_gaussian_flow():
    """The shape of the flow of KL obeys G2, whatever the mass: mean and variance at order 1."""
    mean, cov = reference.wfr_gaussian_flow([0.8], [[0.5]], [0.0], [[1.0]], T1)

    def error(tau):
        sol = jko.flow(MU, jko.KL(PI), DIRECT, tau=tau, t1=T1, save="last")
        return abs(sol.final.mean[0] - mean[0]) + abs(sol.final.cov[0, 0] - cov[0, 0])

    assert_order(error, 1, (0.05, 0.025, 0.0125))
