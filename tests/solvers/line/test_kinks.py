"""Internal energies beside the kinks of an energy distance, on the line."""

import numpy as np
import pytest
from line_cases import W

import jko
from jko.solvers import Quantile
from jko.solvers.line.kinked import KinkedNewton

ENERGY = jko.kernels.Energy()


@pytest.mark.parametrize(
    "internal", [jko.Entropy(), jko.PorousMedium(m=1.5), jko.PorousMedium(m=3)]
)
@pytest.mark.parametrize("tau", [1e-4, 1.0, 1e4])
def test_the_step_is_at_rest_in_kinks(internal, tau):
    """No move of one particle or of all lowers the objective; the gap says how much it might."""
    rng = np.random.default_rng(3)
    mu = jko.Particles(rng.normal(size=(9, 1)), rng.exponential(size=9))
    targets = jko.Particles([[-0.4], [0.1], [0.7]], np.full(3, mu.mass / 3))
    energy = 0.5 * internal + jko.MMDEnergy(targets, ENERGY)
    found = jko.step(mu, energy, W, tau, solver=Quantile())
    assert found.gap is not None
    x, w = found.measure.points[:, 0], mu.weights
    moved = lambda y: (
        energy.value(mu.with_points(y[:, None])) + w @ (y - mu.points[:, 0]) ** 2 / (2 * tau)
    )
    here = moved(x)
    assert here == pytest.approx(found.objective, rel=1e-12)
    width = float(np.ptp(x))
    for size in (1e-7, 1e-4, 1e-2):
        for _ in range(20):
            way = rng.normal(size=x.size) * (rng.random(x.size) < 0.4)
            y = np.sort(x + size * width * way)
            assert moved(y) >= here - found.gap - 1e-13 * abs(here)


def test_one_particle_goes_to_the_median():
    """Without neighbours an internal energy is nothing: the step is that of the potential."""
    mu, nu = jko.Particles([[0.0]]), jko.Particles([[1.0], [2.0], [9.0]], np.full(3, 1 / 3))
    for tau in (0.3, 1.0, 50.0):
        energy = jko.MMDEnergy(nu, ENERGY)
        alone = jko.step(mu, energy, W, tau, solver=Quantile())
        beside = jko.step(mu, jko.Entropy() + energy, W, tau, solver=Quantile())
        assert beside.measure.points[0, 0] == pytest.approx(alone.measure.points[0, 0], abs=1e-12)


def test_the_shortened_way_ends_where_the_slope_is_nought():
    """By hand: weight 1, slope -4 falling over a way of 2; kinks at .5 (jump 1), 1 (jump 3)."""
    from jko.prox.problem import ProxProblem
    from jko.solvers.line.parts import Parts
    from jko.solvers.line.stated import Line

    nu = jko.Particles([[0.5], [1.0]], [0.25, 0.75])
    energy = jko.Entropy() + 2 * jko.MMDEnergy(nu, ENERGY)
    line = Line(ProxProblem(energy, W, jko.Particles([[0.0]]), 1.0), Parts.of(energy), None)
    _, left, right = line.knots
    np.testing.assert_allclose(right - left, [1.0, 3.0])
    newton = KinkedNewton(line, 0.0)
    ends = {4.0: 1.0, 1.2: 0.5, 0.4: 0.5, 9.0: 2 * (1 - 4 / 9)}
    for pull, end in ends.items():
        found = newton._shortened(np.zeros(1), np.array([-pull]), np.array([2.0]))
        assert found[0] == pytest.approx(end), pull
