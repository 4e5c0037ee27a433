"""Every check fails on a deliberately wrong object: a checker that cannot fail checks nothing."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest

import jko
from jko.reference import hellinger_flow
from jko.solvers import Answer, ProxSolver, SimplexQP
from jko.verify import equivalence, errata, hellinger, inequality, mmd, orders, problems
from jko.verify.problems import ROUGH, SMOOTH
from jko.verify.programs import inclusive_kl_program

COMMON = problems.shared()
SMALL = problems.shared(12, seed=4, zeros=0)
UNEQUAL = problems.shared(15, seed=6, zeros=0, masses=(1.0, 2.2))
UNION = problems.scattered(10, 12)
LINE = problems.on_line()


# -- wrong objects -------------------------------------------------------------------------------


@dataclass(frozen=True)
class OffBy(ProxSolver):
    """Another solver's weights, multiplied by factors around 1 and of the right sum."""

    size: float = 0.01
    guarantee = "wrong"
    default_tol = 1e-6

    def accepts(self, problem):
        return None

    def solve(self, problem, controls):
        answer = SimplexQP().solve(problem, controls)
        w = answer.measure.weights
        bent = w * (1 + self.size * np.sin(np.arange(w.size)))
        return Answer(answer.measure.with_weights(bent * w.sum() / bent.sum()), problem, 1)


@dataclass(frozen=True)
class Unrounded(ProxSolver):
    """A spherical step that forgets the factor sinc(SHe/2)."""

    guarantee = "wrong"
    default_tol = 1e-6

    def accepts(self, problem):
        return None

    def solve(self, problem, controls):
        geometry = jko.Hellinger(mass="fixed")
        flat = jko.step(problem.previous, problem.energy, geometry, problem.tau)
        return Answer(flat.measure, problem, 1)


def longer(factor, take=jko.step):
    """A step (or flow) of another length than asked for."""

    def wrong(mu, energy, geometry, tau, **options):
        return take(mu, energy, factor * geometry, tau=tau, **options)

    return wrong


def uphill(mu, energy, geometry, tau, **options):
    """The step mirrored at its start."""
    after = jko.step(mu, energy, geometry, tau, **options)
    if isinstance(mu, jko.Gaussian):
        return replace(after, measure=jko.Gaussian(2 * mu.mean - after.measure.mean, mu.cov))
    if isinstance(geometry, jko.Wasserstein) and isinstance(mu, jko.Particles):
        return replace(after, measure=mu.with_points(2 * mu.points - after.measure.points))
    ratio = mu.weights**2 / np.where(after.measure.weights > 0, after.measure.weights, 1.0)
    return replace(after, measure=mu.with_weights(ratio * mu.mass / ratio.sum()))


def bent_kl(c, total, mass):
    w = inclusive_kl_program(c, total, mass)
    bent = w * (1 + 0.01 * np.sin(np.arange(w.size)))
    return bent * w.sum() / bent.sum()


class Twice(jko.MMDEnergy):
    """An MMD energy whose first variation has a factor too much."""

    def first_variation(self, mu):
        return 1.01 * super().first_variation(mu)


def run_as(**changed):
    """A flow that ignores some of the options it is given."""

    def wrong(*args, **options):
        return jko.flow(*args, **{**options, **changed})

    return wrong


def at_time(factor):
    """The exact Hellinger flow at another time."""
    return lambda w, target, t, p, mass: hellinger_flow(w, target, factor * t, p, mass)


def unbent(mu, energy, geometry, tau, **options):
    """The Hellinger step of the inclusive KL replaced by the MMD step: no difference at all."""
    target = energy.target
    return jko.step(mu, jko.MMDEnergy(target, ROUGH), jko.MMD(ROUGH), tau)


def late(mu, energy, geometry, tau, **options):
    """A Hellinger step of three halves the length: a difference of first order."""
    factor = 1.5 if isinstance(geometry, jko.Hellinger) else 1.0
    return jko.step(mu, energy, factor * geometry, tau)


def still(mu, *args, **options):
    return jko.flows.splitting.SplitResult(mu, 0.0, (), 0.0)


def shaken(mu, *args, **options):
    result = jko.split_step(mu, *args, **options)
    w = result.measure.weights * (1 + 1e-5 * np.sin(np.arange(mu.n)))
    return replace(result, measure=result.measure.with_weights(w))


# -- one row a check: at least one wrong object each ---------------------------------------------

pair_theorem = partial(equivalence.mmd_kl_equivalence, *COMMON, kernel=SMOOTH)
pair_gaps = partial(equivalence.cross_optimality, *SMALL, kernel=ROUGH)
dissipates = inequality.dissipation
goal, _ = LINE
BOTH = jko.Wasserstein() + jko.SphericalHellinger()
APART = (jko.Entropy(), jko.Potential(-np.log(goal.weights)))
MEASURES_ONE = [(SMALL[0], SMALL[1])]

WRONG = {
    "theorem, conic side": partial(pair_theorem, mmd_solver=OffBy()),
    "theorem, KL side": partial(pair_theorem, kl_solver=bent_kl),
    "theorem, another eta in the KL side": partial(
        pair_theorem, kl_solver=lambda c, total, mass: inclusive_kl_program(c**1.1, total, mass)
    ),
    "theorem, NaN": partial(pair_theorem, kl_solver=lambda c, total, mass: np.nan * c),
    "theorem, nothing restricted": partial(pair_theorem, support="restricted"),
    "mixture": partial(equivalence.mixture_by_qp, *COMMON, kernel=SMOOTH, solver=OffBy(1e-4)),
    "gaps, MMD side": partial(pair_gaps, mmd_solver=OffBy()),
    "gaps, KL side": partial(pair_gaps, kl_solver=bent_kl),
    "contraction, longer": partial(mmd.contraction, *COMMON, kernel=SMOOTH, take=longer(1.01)),
    "contraction, fixed support": partial(
        mmd.contraction, *UNION, kernel=SMOOTH, solver=SimplexQP()
    ),
    "decay": partial(mmd.implicit_decay, *COMMON, kernel=SMOOTH, run=run_as(tau=0.4)),
    "ift, fixed support": partial(
        mmd.interaction_force_bound, *UNION, kernel=SMOOTH, solver=("auto", SimplexQP())
    ),
    "ift, short MMD steps": partial(
        mmd.interaction_force_bound,
        *UNION,
        kernel=SMOOTH,
        solver=("auto", SimplexQP(support="union")),
        run=run_as(tau=0.05),
    ),
    "one flow, exclusive KL": partial(
        mmd.same_flow, *SMALL, kernel=ROUGH, inclusive=jko.KL(SMALL[0])
    ),
    "one flow, wrong force": partial(
        mmd.same_flow, *SMALL, kernel=ROUGH, energy=Twice(SMALL[0], ROUGH)
    ),
    "steps differ, equal": partial(mmd.implicit_steps_differ, *SMALL, kernel=ROUGH, take=unbent),
    "steps differ, first order": partial(
        mmd.implicit_steps_differ, *SMALL, kernel=ROUGH, take=late
    ),
    "force norm": partial(mmd.force_norm, *SMALL, kernel=ROUGH, energy=Twice(SMALL[0], ROUGH)),
    "kernel force": partial(
        mmd.inclusive_velocity, *SMALL, kernel=SMOOTH, energy=jko.MMDEnergy(SMALL[0], ROUGH)
    ),
    "MMD geodesic": partial(
        mmd.straight_geodesic, *SMALL, kernel=ROUGH, geometry=jko.SphericalHellinger()
    ),
    "MMD geodesic, scaled": partial(
        mmd.straight_geodesic, *SMALL, kernel=ROUGH, geometry=2 * jko.MMD(ROUGH)
    ),
    "Hellinger flow, late": partial(hellinger.exact_flow, *UNEQUAL, exact=at_time(1.001)),
    "Hellinger flow, other energy": partial(
        hellinger.exact_flow, *UNEQUAL, energy=jko.PhiDivergence(UNEQUAL[0], 1.01)
    ),
    "Hellinger steps, late": partial(hellinger.steps_follow_flow, *UNEQUAL, exact=at_time(1.2)),
    "Hellinger steps, fast": partial(
        hellinger.steps_follow_flow, *UNEQUAL, run=longer(1.2, jko.flow)
    ),
    "Hellinger geodesic, scaled": partial(
        hellinger.geodesic_action, *UNEQUAL, geometry=2 * jko.Hellinger()
    ),
    "Hellinger geodesic, arc": partial(hellinger.geodesic_action, *SMALL, geometry=jko.MMD(ROUGH)),
    "Hellinger dual": partial(hellinger.geodesic_dual, *UNEQUAL, geometry=1.01 * jko.Hellinger()),
    "half decay": partial(
        hellinger.half_decay, *UNEQUAL, energy=jko.PhiDivergence(UNEQUAL[0], 0.51)
    ),
    "lojasiewicz, larger constant": partial(hellinger.lojasiewicz, UNEQUAL[0], c=1.01),
    "lojasiewicz, p > 1/2": partial(hellinger.lojasiewicz, UNEQUAL[0], powers=(0.6,)),
    "spherical step": partial(
        hellinger.spherical_step, *problems.shared(15, seed=6), solver=Unrounded()
    ),
    "chord": partial(hellinger.chord_and_arc, MEASURES_ONE, chord=1.01 * jko.Hellinger()),
    "arc": partial(hellinger.chord_and_arc, MEASURES_ONE, arc=jko.Hellinger()),
    "dissipation, Hellinger": partial(
        dissipates, SMALL[1], jko.KL(SMALL[0]), jko.Hellinger(), 0.7, take=uphill
    ),
    "dissipation, too long": partial(
        dissipates, SMALL[1], jko.InclusiveKL(SMALL[0]), jko.Hellinger(), 0.7, take=longer(9.0)
    ),
    "dissipation, MMD": partial(
        dissipates,
        UNION[1],
        jko.MMDEnergy(UNION[0], SMOOTH),
        jko.MMD(SMOOTH),
        0.7,
        take=longer(9.0),
    ),
    "dissipation, particles": partial(
        dissipates, UNION[1], jko.MMDEnergy(UNION[0], SMOOTH), jko.Wasserstein(), 0.7, take=uphill
    ),
    "dissipation, Gaussians": partial(
        dissipates,
        problems.gaussians()[1],
        jko.KL(problems.gaussians()[0]),
        jko.Wasserstein(),
        0.7,
        take=uphill,
    ),
    "dissipation, entropic": partial(
        inequality.regularised_dissipation,
        LINE[1],
        jko.KL(goal),
        jko.Wasserstein(),
        0.1,
        take=longer(9.0),
    ),
    "order, implicit sold as midpoint": partial(
        orders.scheme_order, "strang", "midpoint", run=run_as(scheme="implicit")
    ),
    "order, Lie sold as Strang": partial(
        orders.scheme_order, "strang", "midpoint", run=run_as(splitting="lie")
    ),
    "order, midpoint sold as implicit": partial(
        orders.scheme_order, "strang", "implicit", run=run_as(scheme="midpoint")
    ),
    "order, Gaussians": partial(
        orders.scheme_order, "lie", "midpoint", 1, run=run_as(scheme="implicit")
    ),
    "order, another flow": partial(orders.scheme_order, "lie", run=longer(1.1, jko.flow)),
    "order, WFR": partial(
        orders.order, "WFR", 1.0, partial(orders.wfr_error, run=longer(1.2, jko.flow))
    ),
    "equilibrium kept": partial(orders.equilibrium, goal, jko.KL(goal), BOTH, take=shaken),
    "equilibrium lost": partial(orders.equilibrium, goal, APART, BOTH, take=still),
    "erratum 1": partial(errata.transport_sign, take=uphill),
    "erratum 2": partial(errata.geodesic_signs, sign=-1.0),
    "erratum 3": partial(errata.halves, energy=lambda t, p: 2 * jko.PhiDivergence(t, p)),
    "erratum 5": partial(errata.step_lengths, take=longer(1.3, jko.split_step)),
}


@pytest.mark.parametrize("name", WRONG)
def test_caught(name):
    identity = WRONG[name]()
    assert not identity.holds, str(identity)


def test_the_mixed_pair_of_the_talk_has_the_action_the_errata_say():
    assert errata.geodesic_signs(sign=-1.0).lhs == pytest.approx(14 / 3, abs=1e-8)


def test_a_distance_is_an_objective_gap():
    """Q(w) - min Q = (1 + 1/eta) d^2/2, which makes 1e-5 in MMD a gap of 1.5e-10."""
    both = equivalence.sides(*SMALL, ROUGH, 0.5, "fixed", "common")
    w = both.mixture() * (1 + 0.1 * np.sin(np.arange(12)))
    w *= both.mixture().sum() / w.sum()
    p = both.problem
    excess = p.objective(p.previous.with_weights(w)) - p.objective(
        p.previous.with_weights(both.mixture())
    )
    assert excess == pytest.approx((1 + 1 / 0.5) * both.distance(w, both.mixture()) ** 2 / 2)


def test_the_gaps_bound_the_excess_of_each_side():
    both = equivalence.sides(*problems.shared(12, seed=4, zeros=2), ROUGH, 0.5, "fixed", "common")
    best = both.mixture()
    rng = np.random.default_rng(1)
    for _ in range(10):
        w = rng.dirichlet(np.ones(12)) * best.sum()
        charged = both.pull > 0

        def kl(v, charged=charged):
            return both.total * v.sum() - both.pull[charged] @ np.log(v[charged])

        assert both.kl_gap(w) >= kl(w) - kl(best) - 1e-12
        p = both.problem
        assert both.mmd_gap(w) >= p.objective(p.previous.with_weights(w)) - p.objective(
            p.previous.with_weights(best)
        )
