"""The checks of balances, decays, limits, units and robust values fail on wrong objects."""

from functools import partial

import pytest

import jko
from jko.verify import balance, decay, law_checks, problems, scaling
from jko.verify.law_checks import EQUAL, FREE, LOSS, SMALL
from jko.verify.problems import ROUGH, SMOOTH

GAUSSIANS = problems.gaussians()
KL, FIXED = law_checks.kl_to(FREE[0]), jko.Hellinger(mass="fixed")


def heavy(mu, energy, geometry, tau, **options):
    """A step whose length depends on the mass, as no metric's does."""
    return jko.step(mu, energy, geometry, tau * (1 + 0.01 * getattr(mu, "mass", 1.0)), **options)


def absolute(mu, energy, geometry, tau, **options):
    """A step with an energy of its own scale added."""
    options["tol"] = 1e-6
    return jko.step(
        mu, energy + jko.Potential(lambda x: 0.1 * x[:, 0] ** 2), geometry, tau, **options
    )


def slow(*args, tau, **options):
    """A flow that stops a tenth early."""
    return jko.flow(*args, tau=tau, **{**options, "t1": 0.9})


units = partial(scaling.units, take=absolute)
WRONG = {
    **{
        f"balance, hurried {name}": partial(balance.balance, curves.hurried(1.02))
        for name, curves in law_checks.curves().items()
    },
    **{
        f"balance, slowed {name}": partial(balance.balance, curves.hurried(0.98))
        for name, curves in law_checks.curves().items()
    },
    "evi, Gaussians, too convex": partial(balance.evi_gaussians, 1.6),
    "evi, MMD, other constant": partial(balance.evi_mmd, *SMALL, ROUGH, 1.1),
    "evi, Hellinger, other constant": partial(balance.evi_hellinger, *FREE, 0.5, 1.1),
    "evi, Hellinger, not convex": partial(
        balance.evi_hellinger, FREE[0], FREE[1].with_weights(1e-3 * FREE[1].weights), 1.0, 0.0
    ),
    "evi fails, where it is convex": partial(balance.evi_kl_hellinger, 0.5),
    "evi fails, inside the bandwidth": partial(balance.evi_mmd_transport, 0.5),
    "decay, larger constant": partial(balance.strong_decay, *GAUSSIANS, factor=3.0),
    "decay in W2 + MMD, larger constant": partial(
        decay.kernel_transport_decay, *decay.gaussian_pair(), constant=2.2
    ),
    "decay in W2 + MMD, two wells": partial(
        decay.kernel_transport_decay, *decay.two_wells(), constant=16.0
    ),
    "decay in W2 + MMD fails, where it holds": partial(
        decay.kernel_transport_decay_fails, *decay.gaussian_pair(), constant=2.0
    ),
    "decay fails, where it holds": partial(scaling.no_constant, FREE[0], p=0.5),
    "decay fails, reversed": partial(scaling.no_constant, FREE[0], p=0.0),
    "transport inequality": partial(
        scaling.transport_inequality, *problems.scattered(8, 10), kernel=SMOOTH, share=2.2
    ),
    "limit, mirror": partial(scaling.mirror_limit, *EQUAL, run=slow),
    "limit, MMD": partial(scaling.mmd_limit, *SMALL, kernel=ROUGH, run=slow),
    "limit, inclusive": partial(scaling.inclusive_limit, *FREE, run=slow),
    "mass, another power": partial(
        scaling.masses, FREE[1], KL, jko.Hellinger(), 0.7, "He", power=0.01
    ),
    "mass, heavy": partial(scaling.masses, FREE[1], KL, jko.Hellinger(), 0.7, "He", take=heavy),
    "mass, MMD": partial(
        scaling.masses, SMALL[1], law_checks.mmd_to(SMALL[0]), jko.MMD(ROUGH), 0.7, "MMD", power=1.0
    ),
    "mass, MMD in Hellinger": partial(
        scaling.masses, SMALL[1], law_checks.mmd_to(SMALL[0]), FIXED, 0.7, "He", power=0.0
    ),
    "mass, KL in MMD": partial(
        scaling.masses, SMALL[1], law_checks.kl_to(SMALL[0]), jko.MMD(ROUGH), 0.7, "MMD"
    ),
    "units, Hellinger": partial(units, FREE[1], KL(1.0), jko.Hellinger(), 0.7, "He"),
    "units, sphere": partial(
        units, EQUAL[1], law_checks.kl_to(EQUAL[0])(1.0), jko.SphericalHellinger(), 0.7, "SHe"
    ),
    "units, MMD": partial(
        units, SMALL[1], law_checks.mmd_to(SMALL[0])(1.0), jko.MMD(ROUGH), 0.7, "MMD"
    ),
    "lengths": partial(scaling.lengths, power=1.9),
    "conjugate, no bracket": partial(scaling.conjugate_bound, bracketed=False),
    "robust, mirror": partial(
        scaling.robust_is_a_step, EQUAL[1], LOSS, jko.Divergence(p=1), 0.4, "KL", factor=1.01
    ),
    "robust, Hellinger": partial(
        scaling.robust_is_a_step, EQUAL[1], LOSS, FIXED, 0.4, "He", factor=1.01
    ),
    "robust, MMD": partial(
        scaling.robust_is_a_step, EQUAL[1], LOSS, jko.MMD(ROUGH), 0.4, "MMD", factor=1.01
    ),
    "robust, temperature": partial(
        scaling.robust_closed_form, EQUAL[1], LOSS, 0.4, temperature=1.001
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_caught(name):
    identity = WRONG[name]()
    assert not identity.holds, str(identity)


def test_the_theory_has_at_least_85_executed_identities():
    assert len(jko.verify.names()) >= 85
