"""The conic expressions of energies and geometries take the values they claim."""

import cvxpy as cp
import numpy as np
import pytest

import jko
from jko import Histogram
from jko.energies import (
    KL,
    BoxConstraint,
    Entropy,
    MMDEnergy,
    PhiDivergence,
    PorousMedium,
    Potential,
)
from jko.errors import Unsupported
from jko.geometries import MMD, Hellinger, SphericalHellinger, Wasserstein

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 2))
MU = Histogram(X, np.array([0.3, 0.05, 0.1, 0.9, 0.4, 0.2]))
PI = Histogram(X, np.array([0.2, 0.3, 0.1, 0.25, 0.5, 0.25]))
K = jko.kernels.Gaussian(0.8)
ENERGIES = [PhiDivergence(PI, p) for p in (-1, 0, 0.5, 1, 2, 3)] + [
    Entropy(),
    PorousMedium(2.5),
    Potential(RNG.normal(size=6)),
    MMDEnergy(PI, K),
    2 * KL(PI) + 0.5 * MMDEnergy(PI, K) + Potential(RNG.normal(size=6)),
]


@pytest.mark.parametrize("energy", ENERGIES, ids=lambda e: type(e).__name__)
def test_energy(energy):
    w = cp.Variable(6)
    expression, constraints = energy.conic(w, MU)
    w.value = MU.weights
    assert float(expression.value) == pytest.approx(energy.value(MU), rel=1e-8)
    assert expression.is_convex()
    assert all(c.value() for c in constraints)
    w.value = -MU.weights
    assert not all(c.value() for c in constraints)


def test_bounds_become_constraints():
    w = cp.Variable(6)
    walls = Potential(np.array([0, np.inf, 0, 0, 0, 0])) + BoxConstraint(0.8)
    constraints = walls.conic(w, MU)[1]
    for value, admissible in (
        ([0.1, 0, 0.8, 0.8, 0, 0], True),
        ([0.1, 0.1, 0, 0, 0, 0], False),
        ([0.9, 0, 0, 0, 0, 0], False),
    ):
        w.value = np.array(value)
        assert all(c.value() for c in constraints) == admissible


@pytest.mark.parametrize(
    "geometry", [Hellinger(), Hellinger(mass="fixed"), MMD(K), MMD(K, mass="free")], ids=repr
)
def test_geometry(geometry):
    w = cp.Variable(6)
    expression, constraints = geometry.conic(w, PI)
    other = PI.with_weights(PI.weights[::-1])
    w.value = other.weights
    exact = geometry.sqdistance(other, PI)
    assert float(np.sum(expression.value)) == pytest.approx(exact, rel=1e-8)
    assert expression.is_convex()
    w.value = 2 * PI.weights
    assert all(c.value() for c in constraints) != geometry.conserves_mass


@pytest.mark.parametrize("geometry", [SphericalHellinger(), Wasserstein()], ids=repr)
def test_geometries_without_a_conic_form_say_so(geometry):
    with pytest.raises(Unsupported, match="no conic form"):
        geometry.conic(cp.Variable(6), PI)
