"""The checks of limits and of interaction-force transport fail on wrong objects."""

from functools import partial

import pytest

import jko
from jko.verify import balance, limits, problems

CLOUDS = problems.scattered(8, 10)


def short(*args, tau, **options):
    """A flow that stops a tenth early."""
    return jko.flow(*args, tau=tau, **{**options, "t1": 0.9 * options["t1"]})


def quadratic(start, energy, geometry, **options):
    """Steps of another power."""
    return jko.flow(start, energy, jko.Wasserstein(), **options)


WRONG = {
    **{
        f"balance, {factor} times": partial(
            balance.balance, limits.interaction_force_curves().hurried(factor)
        )
        for factor in (0.95, 1.05)
    },
    "inequality, a larger constant": partial(
        limits.interaction_force_inequality, *CLOUDS, kernel=problems.SMOOTH, share=2.5
    ),
    "limit, entropic, plain": partial(limits.entropic_limit, jko.solvers.Entropic(debias=False)),
    "limit, entropic, short": partial(limits.entropic_limit, run=short),
    "limit, power, short": partial(limits.power_limit, run=short),
    "limit, power, another": partial(limits.power_limit, run=quadratic),
    "limit, WFR, short": partial(limits.wfr_limit, run=short),
    "limit, WFR, another beta": partial(limits.wfr_limit, beta=1.3),
}


@pytest.mark.parametrize("name", WRONG)
def test_caught(name):
    identity = WRONG[name]()
    assert not identity.holds, str(identity)
