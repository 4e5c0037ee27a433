"""The checks of duals, and of flows without a closed form, fail on wrong objects."""

from dataclasses import replace
from functools import cache, partial

import numpy as np
import pytest

import jko
from jko.verify import balance, duals, evolutions, problems
from jko.verify.problems import ROUGH, SMOOTH

EQUAL = problems.shared(15, seed=6, zeros=0)
SMALL = problems.shared(8, seed=4, zeros=0)
CLOUDS = problems.scattered(6, 8, seed=3)
PAIR = problems.scattered(6, 8, masses=(1.3, 1.3))
UNEQUAL = problems.scattered(6, 8, masses=(1.3, 0.7))
F, H = jko.transport(*PAIR).potentials
path = cache(duals.grid_path)


def slow(*args, tau, **options):
    """A flow that stops a tenth early."""
    return jko.flow(*args, tau=tau, **{**options, "t1": 0.9})


def uneven(found):
    """The same measures, with fluxes that grow by a tenth on the way."""
    curve = found.curve
    growth = np.linspace(1.0, 1.1, curve.fluxes.shape[1])[:, None]
    return replace(found, curve=replace(curve, fluxes=curve.fluxes * growth))


def wrong_pair(geometry):
    return jko.transport(*UNEQUAL, cost=geometry, relax=1.0).potentials


WRONG = {
    **{
        f"balance, {factor} times {name}": partial(balance.balance, curves.hurried(factor))
        for name, curves in evolutions.curves().items()
        for factor in (0.98, 1.02)
    },
    "dual, raised": partial(duals.kantorovich, *PAIR, found=(F + 1e-3, H)),
    "dual, lowered": partial(duals.kantorovich, *PAIR, found=(F, H - 1e-3)),
    "dual, another power": partial(duals.kantorovich, *PAIR, 1.5, found=(F, H)),
    "dual, another cut": partial(
        duals.unbalanced_dual, *UNEQUAL, found=wrong_pair(jko.WassersteinFisherRao(0.8, 2.1))
    ),
    "dual, hard": partial(duals.unbalanced_dual, *PAIR, found=(F, H)),
    "speed, hurried at the end": lambda: duals.kinetic(uneven(path("plain")), "W2"),
    "mass, another beta": lambda: duals.mass_law(path("wfr"), beta=2.1),
    "mass, balanced": lambda: duals.mass_law(path("plain")),
    "evi, sphere, too convex": partial(evolutions.evi_spherical, *EQUAL, 1.5),
    "evi, WFR, another constant": partial(evolutions.evi_wfr, factor=1.01),
    "evi fails on the sphere, where it holds": partial(evolutions.evi_spherical_kl, 0.08),
    "evi fails in WFR, where it holds": partial(evolutions.evi_wfr_tilt, 2.0),
    "limit, sphere": partial(evolutions.spherical_limit, *EQUAL, run=slow),
    "limit, particles": partial(evolutions.particle_limit, *CLOUDS, kernel=SMOOTH, run=slow),
    "limit, kernel Fisher-Rao": partial(
        evolutions.regression_limit, *SMALL, kernel=ROUGH, run=slow
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_caught(name):
    identity = WRONG[name]()
    assert not identity.holds, str(identity)
