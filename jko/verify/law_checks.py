"""The checks of balances, decays, limits, units and robust values: a name and its problem."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from jko.energies import KL, MMDEnergy
from jko.energies.base import Energy
from jko.geometries import MMD, Divergence, Hellinger, SphericalHellinger
from jko.identity import Identity
from jko.measures.base import Discrete
from jko.verify import balance, decay, problems, scaling
from jko.verify.problems import ROUGH, SMOOTH

Check = Callable[[], Identity]
FREE = problems.shared(15, seed=6, zeros=0, masses=(1.0, 2.2))
EQUAL = problems.shared(15, seed=6, zeros=0)
SMALL = problems.shared(12, seed=4, zeros=0)
LOSS = np.sin(3 * np.arange(15.0))


def curves() -> dict[str, balance.Curves]:
    """The exact flow of every geometry."""
    return {
        "hellinger": balance.hellinger_curves(*FREE),
        "spherical": balance.hellinger_curves(*EQUAL, mass="fixed"),
        "mmd": balance.mmd_curves(*SMALL, ROUGH),
        "gaussians": balance.gaussian_curves(),
        "wfr": balance.reaction_transport_curves(),
    }


def kl_to(target: Discrete) -> Callable[[float], Energy]:
    """M -> KL to M times the target."""
    return lambda m: KL(target.with_weights(m * target.weights))


def mmd_to(target: Discrete) -> Callable[[float], Energy]:
    """M -> 1/2 MMD^2 to M times the target."""
    return lambda m: MMDEnergy(target.with_weights(m * target.weights), ROUGH)


def flow_checks() -> dict[str, Check]:
    """De Giorgi's balance, EVI, decays and limits tau -> 0, with the cases where they fail."""
    return {
        **{f"balance-{k}": partial(balance.balance, c) for k, c in curves().items()},
        "evi-gaussians": balance.evi_gaussians,
        "evi-mmd": partial(balance.evi_mmd, *SMALL, ROUGH),
        "evi-hellinger": partial(balance.evi_hellinger, *FREE),
        "evi-fails-hellinger-kl": balance.evi_kl_hellinger,
        "evi-fails-transport-mmd": balance.evi_mmd_transport,
        "decay-wasserstein": partial(balance.strong_decay, *problems.gaussians()),
        "decay-kernel-transport": partial(decay.kernel_transport_decay, *decay.gaussian_pair()),
        "decay-fails-two-wells": partial(decay.kernel_transport_decay_fails, *decay.two_wells()),
        "decay-fails-hellinger-kl": partial(scaling.no_constant, FREE[0]),
        "decay-fails-hellinger-chi2": partial(scaling.no_constant, FREE[0], p=2.0),
        "inequality-transport": partial(
            scaling.transport_inequality, *problems.scattered(8, 10), kernel=SMOOTH
        ),
        "limit-mirror": partial(scaling.mirror_limit, *EQUAL),
        "limit-mmd": partial(scaling.mmd_limit, *SMALL, kernel=ROUGH),
        "limit-inclusive": partial(scaling.inclusive_limit, *FREE),
    }


def unit_checks() -> dict[str, Check]:
    """B1, B2 and R1."""
    of_mass, of_units = scaling.masses, scaling.units
    kl, equal, small = kl_to(FREE[0]), kl_to(EQUAL[0]), mmd_to(SMALL[0])
    fixed = Hellinger(mass="fixed")
    return {
        "mass-hellinger": partial(of_mass, FREE[1], kl, Hellinger(), 0.7, "KL in He"),
        "mass-spherical": partial(of_mass, EQUAL[1], equal, SphericalHellinger(), 0.7, "KL in SHe"),
        "mass-mirror": partial(of_mass, EQUAL[1], equal, Divergence(p=1), 0.7, "KL, mirror"),
        "mass-mmd": partial(of_mass, SMALL[1], small, MMD(ROUGH), 0.7, "MMD^2/2 in MMD"),
        "mass-hellinger-mmd": partial(
            of_mass, SMALL[1], small, fixed, 0.7, "MMD^2/2 in He", power=-1.0
        ),
        "mass-mmd-kl": partial(
            of_mass, SMALL[1], kl_to(SMALL[0]), MMD(ROUGH), 0.7, "KL in MMD", power=1.0
        ),
        "units-hellinger": partial(of_units, FREE[1], kl(1.0), Hellinger(), 0.7, "He"),
        "units-mmd": partial(of_units, SMALL[1], small(1.0), MMD(ROUGH), 0.7, "MMD"),
        "units-spherical": partial(
            of_units, EQUAL[1], equal(1.0), SphericalHellinger(), 0.7, "SHe"
        ),
        "lengths-wasserstein": scaling.lengths,
        "conjugate-bound": scaling.conjugate_bound,
        "robust-mirror": partial(
            scaling.robust_is_a_step, EQUAL[1], LOSS, Divergence(p=1), 0.4, "KL"
        ),
        "robust-hellinger": partial(scaling.robust_is_a_step, EQUAL[1], LOSS, fixed, 0.4, "He"),
        "robust-mmd": partial(scaling.robust_is_a_step, EQUAL[1], LOSS, MMD(ROUGH), 0.4, "MMD"),
        "robust-closed-form": partial(scaling.robust_closed_form, EQUAL[1], LOSS, 0.4),
    }
