"""How many steps of the ascent a step takes: counts, which no machine changes."""

import numpy as np
import pytest

import jko
from jko.solvers import BackAndForth

GRID = jko.Grid(-0.5, 0.5, 128)


def bumps() -> jko.GridDensity:
    """Smooth to the walls: a third of the cells have next to no weight."""
    places = [(-0.2, 0.07, 0.6), (0.1, 0.1, 1.0), (0.2, 0.06, 0.4)]
    return jko.GridDensity.from_function(
        lambda x: sum(a * np.exp(-((x[:, 0] - c) ** 2) / (2 * s**2)) for c, s, a in places), GRID
    )


def block() -> jko.GridDensity:
    return jko.GridDensity.from_function(lambda x: 0.9 * (np.abs(x[:, 0] + 0.05) < 0.21), GRID)


SLOPE = jko.Potential(lambda x: 0.3 * x[:, 0])
BOWL = jko.Potential(lambda x: 0.6 * (x[:, 0] - 0.1) ** 2)
FULL = jko.BoxConstraint(1.0)


@pytest.mark.parametrize(
    ("mu", "energy", "tau", "most"),
    [
        (bumps(), 1e-3 * jko.PorousMedium(6), 0.03, 85),
        (block(), SLOPE + FULL, 0.01, 40),
        (block(), BOWL + FULL, 0.01, 40),
        (block(), SLOPE + FULL, 0.1, 40),
    ],
)
def test_steps_at_fronts_take_few_steps_of_the_ascent(mu, energy, tau, most):
    """Without proximal terms that fade, and are there where tails need them, 60 to 130."""
    result = jko.step(mu, energy, jko.Wasserstein(), tau, solver=BackAndForth())
    assert result.iterations <= most


def test_crowds_move_on_whole_cells():
    """On parts their bounds seldom got small enough, and the step began anew on the cells."""
    result = jko.step(block(), SLOPE + FULL, jko.Wasserstein(), 0.1, solver=BackAndForth())
    assert result.info["subcells"] == 1
