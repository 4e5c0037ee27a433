"""A user's gradient is compared with its function once, whatever the unit and precision."""

import re
from dataclasses import dataclass

import numpy as np
import pytest

import jko
from jko.energies import Energy
from jko.errors import InvalidArgument
from jko.solvers import Euler, Lagrangian

W2 = jko.Wasserstein()
CLOUD = np.random.default_rng(0).normal(size=(20, 2)) + 3


def potential(factor=1.0, length=1.0, scale=1.0):
    return jko.Potential(
        lambda x: scale * 0.5 * ((x / length) ** 2).sum(1),
        gradient=lambda x: factor * scale * x / length**2,
    )


def interaction(factor=1.0, length=1.0, scale=1.0):
    return jko.Interaction(
        lambda z: scale * np.log1p(((z / length) ** 2).sum(1)),
        gradient=lambda z: (
            factor * scale * 2 * z / length**2 / (1 + ((z / length) ** 2).sum(1))[:, None]
        ),
    )


class Centre(Energy):
    """1/2 |mean|^2 + 1/2 int |x|^2, scaled; its gradient too, by a factor that should be 1."""

    def __init__(self, factor=1.0, length=1.0, scale=1.0):
        self.factor, self.length, self.scale, self.calls = factor, length, scale, 0

    def value(self, mu):
        self.calls += 1
        mean = mu.weights @ mu.points / self.length
        second = mu.weights @ ((mu.points / self.length) ** 2).sum(1)
        return 0.5 * self.scale * float(mean @ mean + second)

    def wasserstein_gradient(self, mu):
        mean = mu.weights @ mu.points
        return self.factor * self.scale * (mean + mu.points) / self.length**2


MAKERS = {"V": potential, "W": interaction, "Centre": Centre}


@pytest.mark.parametrize("solver", [Lagrangian(), Euler(), Euler(armijo=False)])
@pytest.mark.parametrize("factor", [-1.0, 0.5, 1.01])
@pytest.mark.parametrize("kind", MAKERS)
def test_a_wrong_gradient_is_named(kind, factor, solver):
    with pytest.raises(jko.InvalidArgument, match=f"gradient of {kind}.*disagrees"):
        jko.flow(jko.Particles(CLOUD), MAKERS[kind](factor), W2, tau=0.01, steps=2, solver=solver)


@pytest.mark.parametrize("scale", [1e-9, 1e-6, 1.0, 1e9])
@pytest.mark.parametrize("length", [1e-9, 1e-3, 1.0, 1e9])
@pytest.mark.parametrize("kind", MAKERS)
def test_the_unit_is_no_fault_and_hides_none(kind, length, scale):
    mu = jko.Particles(length * CLOUD)
    MAKERS[kind](1.0, length, scale).wasserstein_gradient(mu)
    tau = 0.01 * length**2 / scale
    out = jko.step(mu, MAKERS[kind](1.0, length, scale), W2, tau, solver=Lagrangian())
    assert out.success
    with pytest.raises(jko.InvalidArgument, match="disagrees"):
        jko.step(mu, MAKERS[kind](0.9, length, scale), W2, tau, solver=Lagrangian())


def test_single_precision_has_its_own_tolerance():
    def single(x):
        return (0.5 * (x.astype(np.float32) ** 2).sum(1)).astype(np.float32)

    right = jko.Potential(single, gradient=lambda x: x.astype(np.float32) * np.float32(1.0002))
    with pytest.warns(jko.JkoWarning, match="single precision"):
        right.wasserstein_gradient(jko.Particles(CLOUD))
    right.wasserstein_gradient(jko.Particles(CLOUD))  # said once
    wrong = jko.Potential(single, gradient=lambda x: 1.5 * x)
    with pytest.raises(jko.InvalidArgument, match="single precision"):
        wrong.wasserstein_gradient(jko.Particles(CLOUD))


@pytest.mark.parametrize("points", [[[0.0, 1.0]], [[0.0, 1.0], [0.0, -2.0], [0.0, 0.5]]])
def test_a_kink_is_no_fault(points):
    """max(x, 0) + y^2/2 at x = 0: any slope in [0, 1] is a subgradient, no difference says so."""
    kinked = jko.Potential(
        lambda x: np.maximum(x[:, 0], 0) + x[:, 1] ** 2 / 2,
        gradient=lambda x: np.column_stack([(x[:, 0] > 0).astype(float), x[:, 1]]),
    )
    kinked.wasserstein_gradient(jko.Particles(points))


def test_walls_are_no_fault():
    wall = jko.Potential(
        lambda x: np.where(x[:, 0] < 4, (x**2).sum(1), np.inf), gradient=lambda x: 2 * x
    )
    wall.wasserstein_gradient(jko.Particles([[3.999999999, 1.0], [3.0, 2.0]]))


def test_it_happens_once_an_object():
    seen = []

    def V(x):
        seen.append(len(x))
        return (x**2).sum(1)

    energy, mu = jko.Potential(V, gradient=lambda x: 2 * x), jko.Particles(CLOUD)
    energy.wasserstein_gradient(mu)
    assert sum(seen) <= 3 * 4
    seen.clear()
    energy.wasserstein_gradient(mu.with_points(2 * CLOUD))
    (3.0 * energy + jko.Potential(V)).terms[0][1].wasserstein_gradient(mu)
    assert seen == []
    own = Centre()
    jko.step(mu, own, W2, 0.1, solver=Lagrangian())
    first = own.calls
    jko.step(mu, own, W2, 0.1, solver=Lagrangian())
    assert own.calls - first == first - 7  # its value, and a difference in three directions


# -- where the message says that it is wrong ------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Squares(jko.Energy):
    """1/2 sum of w^2, with a first variation that is wrong everywhere or at one atom."""

    factor: float = 1.0
    lifted: int | None = None

    def value(self, mu):
        return 0.5 * float((mu.weights**2).sum())

    def first_variation(self, mu):
        out = self.factor * mu.weights
        if self.lifted is not None:
            out[self.lifted] += 1.0
        return out


@pytest.mark.parametrize("geometry", [jko.Hellinger(), jko.Hellinger(mass="fixed")])
@pytest.mark.parametrize("wrong", [Squares(factor=2.0), Squares(lifted=3)])
def test_a_wrong_first_variation_is_shown_at_an_atom(geometry, wrong):
    mu = jko.Histogram(np.arange(6.0)[:, None], np.arange(1.0, 7.0) / 21)
    with pytest.raises(InvalidArgument) as caught:
        jko.step(mu, wrong, geometry, 0.1)
    said = str(caught.value)
    atom = int(re.search(r"at atom (\d), x = \((\d)\)", said)[1])
    assert wrong.lifted is None or atom == 3
    found = float(re.search(r"differences say ([-\d.e]+)", said)[1])
    full = 0.5 * mu.weights + 0.5 / 6
    right = full - (full @ full if geometry.conserves_mass else 0.0)
    assert found == pytest.approx(right[atom], rel=1e-5)
    assert jko.step(mu, Squares(), geometry, 0.1).success


def test_a_wrong_first_variation_is_shown_at_a_cell():
    grid = jko.Grid([-1, -1], [1, 1], [8, 8])
    rho = jko.GridDensity.from_function(lambda x: np.exp(-(x**2).sum(1)), grid, mass=1)
    with pytest.raises(InvalidArgument, match=r"at cell \d+, x = \(-?[\d.]+, -?[\d.]+\): it says"):
        jko.step(rho, Squares(factor=2.0), jko.Hellinger(), 0.1)


def test_a_wrong_gradient_of_a_measure_is_shown_at_a_particle():
    class Spring(jko.Energy):
        def value(self, mu):
            return float(mu.weights @ (mu.points**2).sum(1))

        def wasserstein_gradient(self, mu):
            return mu.points

    cloud = jko.Particles([[0.5, -1.0], [2.0, 0.25]])
    with pytest.raises(InvalidArgument) as caught:
        jko.step(cloud, Spring(), jko.Wasserstein(), 0.1)
    said = str(caught.value)
    assert "in coordinate 0 of particle 1, x = (2, 0.25): it says 2, differences say 4;" in said
