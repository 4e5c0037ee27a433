"""The checks that `jko.verify.all()` runs: a name, a function and its problem, one line each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from jko.energies import KL, Entropy, MMDEnergy, Potential
from jko.geometries import MMD, Hellinger, SphericalHellinger, Wasserstein
from jko.identity import Identity
from jko.measures import Histogram
from jko.solvers.entropic.solver import Entropic
from jko.solvers.weights.simplex_qp import SimplexQP
from jko.verify import equivalence, errata, hellinger, inequality, mmd, orders, problems
from jko.verify.duals import dual_checks
from jko.verify.evolutions import evolution_checks
from jko.verify.law_checks import flow_checks, unit_checks
from jko.verify.limits import limit_checks
from jko.verify.path_checks import kernel_checks, path_checks
from jko.verify.problems import ROUGH, SMOOTH

Check = Callable[[], Identity]
PLAIN = Entropic(reg=0.02, debias=False)
DEBIASED = Entropic()


def _equivalence() -> dict[str, Check]:
    """M1 on P and M+, on every kind of support."""
    unequal = (1.0, 1.7)
    common, free = problems.shared(200), problems.shared(60, seed=1, masses=unequal)
    union, union_free = problems.scattered(), problems.scattered(seed=1, masses=unequal)
    few = problems.shared(30, seed=2, zeros=0)
    few_free = problems.shared(30, seed=2, zeros=0, masses=unequal)
    full = problems.shared(200, zeros=0)
    full_free = problems.shared(200, seed=1, zeros=0, masses=unequal)
    check = partial(equivalence.mmd_kl_equivalence, kernel=SMOOTH)
    return {
        "mmd-kl-equivalence": partial(check, *common),
        "mmd-kl-free-mass": partial(check, *free, mass="free"),
        "mmd-kl-union": partial(check, *union, support="union"),
        "mmd-kl-union-free-mass": partial(check, *union_free, support="union", mass="free"),
        "mmd-kl-rough-kernel": partial(equivalence.mmd_kl_equivalence, *few, kernel=ROUGH),
        "mmd-kl-restricted": partial(check, *problems.partly_covered(), support="restricted"),
        "mmd-kl-mixture": partial(equivalence.mixture_by_qp, *full, kernel=SMOOTH),
        "mmd-kl-mixture-free-mass": partial(
            equivalence.mixture_by_qp, *full_free, kernel=SMOOTH, mass="free"
        ),
        "mmd-kl-gaps": partial(equivalence.cross_optimality, *few, kernel=ROUGH),
        "mmd-kl-gaps-free-mass": partial(
            equivalence.cross_optimality, *few_free, kernel=ROUGH, mass="free"
        ),
    }


def _mmd() -> dict[str, Check]:
    """M2 to M6 and M8."""
    common, small = problems.shared(), problems.shared(12, seed=4, zeros=0)
    union, line = problems.scattered(10, 12), problems.on_line()
    spread = SimplexQP(support="union")
    return {
        "mmd-contraction": partial(mmd.contraction, *common, kernel=SMOOTH),
        "mmd-contraction-union": partial(mmd.contraction, *union, kernel=SMOOTH, solver=spread),
        "mmd-decay": partial(mmd.implicit_decay, *common, kernel=SMOOTH),
        "ift-bound-union": partial(
            mmd.interaction_force_bound, *union, kernel=SMOOTH, solver=("auto", spread)
        ),
        # The talk's own scheme: plain entropic transport of the MMD energy, on a common support.
        "ift-bound-grid": partial(
            mmd.interaction_force_bound, *line, kernel=SMOOTH, solver=(PLAIN, "auto")
        ),
        "same-flow": partial(mmd.same_flow, *small, kernel=ROUGH),
        "same-flow-steps-differ": partial(mmd.implicit_steps_differ, *small, kernel=ROUGH),
        "force-norm": partial(mmd.force_norm, *small, kernel=ROUGH),
        "kernel-force": partial(mmd.inclusive_velocity, *small, kernel=SMOOTH),
        "mmd-geodesic": partial(mmd.straight_geodesic, *small, kernel=ROUGH),
    }


def _hellinger() -> dict[str, Check]:
    """H3, H5, H6, H7 and He = 4 sin(SHe/4)."""
    equal = problems.shared(15, seed=5, zeros=0)
    unequal = problems.shared(15, seed=6, zeros=0, masses=(1.0, 2.2))
    ordered = problems.shared(15, seed=6, masses=(1.3, 1.3))
    checks: dict[str, Check] = {
        f"hellinger-flow-p{p:g}": partial(hellinger.exact_flow, *unequal, p=p)
        for p in (0.0, 0.5, 1.0, 2.0)
    }
    steps: dict[str, Check] = {
        f"hellinger-steps-p{p:g}": partial(hellinger.steps_follow_flow, *unequal, p=p)
        for p in (0.0, 0.5, 1.0, 2.0)
    }
    return {
        **checks,
        **steps,
        "hellinger-flow-fixed-mass": partial(hellinger.exact_flow, *equal, mass="fixed"),
        "hellinger-steps-fixed-mass": partial(hellinger.steps_follow_flow, *equal, mass="fixed"),
        "hellinger-geodesic": partial(hellinger.geodesic_action, *unequal),
        "hellinger-dual": partial(hellinger.geodesic_dual, *unequal),
        "half-decay": partial(hellinger.half_decay, *unequal),
        "lojasiewicz": partial(hellinger.lojasiewicz, unequal[0]),
        "spherical-step": partial(hellinger.spherical_step, *ordered),
        "chord-arc": partial(hellinger.chord_and_arc, _pairs()),
    }


def _pairs() -> list[tuple[Histogram, Histogram]]:
    """Measures of mass one: some distance apart, disjoint, and close."""
    a, b = problems.shared(20, seed=7)
    half = np.arange(20) < 8
    one, two = a.weights * half, a.weights * ~half
    close = a.weights * (1 + 1e-6 * np.sin(np.arange(20)))
    return [
        (a, b),
        (a.with_weights(one / one.sum()), a.with_weights(two / two.sum())),
        (a, a.with_weights(close / close.sum())),
    ]


def _dissipation() -> dict[str, Check]:
    """F(mu_+) + D^2/(2 tau) <= F(mu) for a solver of every geometry."""
    target, mu = problems.shared(30, seed=8, masses=(1.2, 1.2))
    cloud, swarm = problems.scattered(20, 25, seed=9)
    normal, other = problems.gaussians()
    goal, density = problems.on_line()
    check = inequality.dissipation
    charged = mu.with_weights(np.where(target.weights > 0, mu.weights, 0.0))
    energy = MMDEnergy(cloud, SMOOTH)
    return {
        "dissipation-hellinger": partial(check, charged, KL(target), Hellinger(), 0.7),
        "dissipation-spherical": partial(check, charged, KL(target), SphericalHellinger(), 0.7),
        "dissipation-mmd": partial(check, swarm, energy, MMD(SMOOTH), 0.7),
        "dissipation-particles": partial(check, swarm, energy, Wasserstein(), 0.7),
        "dissipation-gaussians": partial(check, other, KL(normal), Wasserstein(), 0.7),
        "dissipation-entropic": partial(
            inequality.regularised_dissipation,
            density,
            KL(goal),
            Wasserstein(),
            0.1,
            solver=DEBIASED,
        ),
    }


def _orders() -> dict[str, Check]:
    """Declared and measured orders of the schemes, and what they do to the minimiser."""
    goal, _ = problems.on_line()
    both = Wasserstein() + SphericalHellinger()
    apart = (Entropy(), Potential(-np.log(goal.weights)))
    keeps = partial(orders.equilibrium, solver=(DEBIASED, "auto"))
    return {
        "order-implicit": partial(orders.scheme_order, "lie", "implicit", 1),
        "order-midpoint": partial(orders.scheme_order, "lie", "midpoint", 1),
        "order-lie": partial(orders.scheme_order, "lie", "implicit"),
        "order-strang": partial(orders.scheme_order, "strang", "implicit"),
        "order-lie-midpoint": partial(orders.scheme_order, "lie", "midpoint"),
        "order-strang-midpoint": partial(orders.scheme_order, "strang", "midpoint"),
        "order-wfr": partial(
            orders.order,
            "WFR by Lie splitting, against the exact flow (G2),",
            1.0,
            partial(orders.wfr_error, solver=(DEBIASED, "auto")),
        ),
        "equilibrium-lie": partial(keeps, goal, KL(goal), both),
        "equilibrium-strang": partial(keeps, goal, KL(goal), both, splitting="strang"),
        "equilibrium-two-energies": partial(keeps, goal, apart, both),
    }


ERRATA: dict[str, Check] = {
    "erratum-1-transport": errata.transport_sign,
    "erratum-2-hellinger": errata.geodesic_signs,
    "erratum-3-halves": errata.halves,
    "erratum-4-dynamic-mmd": partial(
        mmd.straight_geodesic, *problems.shared(9, seed=10, zeros=0), kernel=ROUGH
    ),
    "erratum-5-lengths": errata.step_lengths,
}

CHECKS: dict[str, Check] = {
    **_equivalence(),
    **_mmd(),
    **_hellinger(),
    **_dissipation(),
    **_orders(),
    **path_checks(),
    **dual_checks(),
    **kernel_checks(),
    **flow_checks(),
    **evolution_checks(),
    **limit_checks(),
    **unit_checks(),
    **ERRATA,
}
