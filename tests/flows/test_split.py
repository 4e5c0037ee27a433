"""Split steps are products of single steps, in the declared order and with the declared lengths."""

import numpy as np
import pytest
from flow_cases import KERNEL, Noisy, same_bits, well_energy
from generators import measures

import jko
from jko.flows.plan import Scheme

MU = measures.particles(17, seed=1)
PI = measures.particles(21, seed=2, shift=1.0)
FORCE = jko.MMDEnergy(PI, KERNEL)
W, MMD = jko.Wasserstein(), jko.MMD(KERNEL)


def chain(mu, *steps):
    """Single steps one after the other."""
    results = []
    for energy, geometry, tau in steps:
        results.append(jko.step(mu, energy, geometry, tau))
        mu = results[-1].measure
    return results


def assert_chain(result, expected):
    assert len(result.substeps) == len(expected)
    for taken, single in zip(result.substeps, expected, strict=True):
        assert same_bits(taken.measure, single.measure)
        assert taken.solver == single.solver
    assert same_bits(result.measure, expected[-1].measure)
    assert result.energy == expected[-1].energy
    assert result.success


def test_lie_takes_one_step_per_geometry_and_folds_the_rates():
    # alpha W + beta MMD: a W step of length alpha tau, then an MMD step of length beta tau.
    result = jko.split_step(MU, FORCE, 0.5 * W + 3 * MMD, 0.25)
    assert_chain(result, chain(MU, (FORCE, W, 0.125), (FORCE, MMD, 0.75)))
    expected = jko.step(MU, FORCE, W, 0.125).sqdistance
    assert result.substeps[0].sqdistance == pytest.approx(expected / 0.5, rel=1e-13)


def test_scaling_a_sum_scales_every_part():
    a = jko.split_step(MU, FORCE, 0.5 * (W + 6 * MMD), 0.2)
    b = jko.split_step(MU, FORCE, W + 6 * MMD, 0.1)
    assert np.allclose(a.measure.points, b.measure.points, atol=1e-9)
    assert [g.rate for g in (0.5 * (W + 6 * MMD))] == [0.5, 3.0]
    assert [repr(g) for g in 2 * (W + (MMD + W)) * 1.5] == [
        "3 * Wasserstein()",
        f"3 * {MMD!r}",
        "3 * Wasserstein()",
    ]


def test_strang_takes_halves_around_the_last():
    result = jko.split_step(MU, FORCE, W + MMD, 0.2, splitting="strang")
    assert_chain(result, chain(MU, (FORCE, W, 0.1), (FORCE, MMD, 0.2), (FORCE, W, 0.1)))
    result = jko.split_step(MU, FORCE, W + 2 * W + MMD, 0.2, splitting="strang")
    steps = [(W, 0.1), (2 * W, 0.1), (MMD, 0.2), (2 * W, 0.1), (W, 0.1)]
    assert_chain(result, chain(MU, *((FORCE, g, tau) for g, tau in steps)))


@pytest.mark.parametrize("splitting", ["lie", "strang"])
def test_one_geometry_is_one_step(splitting):
    result = jko.split_step(MU, FORCE, 0.7 * W, 0.2, splitting=splitting)
    assert_chain(result, chain(MU, (FORCE, 0.7 * W, 0.2)))


def test_energies_and_solvers_per_geometry():
    well, lagrangian = well_energy(), jko.solvers.Lagrangian(memory=3)
    union = jko.solvers.SimplexQP(support="union")
    result = jko.split_step(
        MU, (well, FORCE), W + MMD, 0.2, solver=(lagrangian, union), splitting="strang"
    )
    assert [r.solver for r in result.substeps] == ["Lagrangian", "SimplexQP(union)", "Lagrangian"]
    assert result.energy == well.value(result.measure) + FORCE.value(result.measure)
    shared = jko.split_step(MU, (well, well), W + 2 * W, 0.2)
    assert shared.energy == pytest.approx(well.value(shared.measure), rel=1e-12)


WRONG = {
    "energies": (
        {"energy": (FORCE,)},
        jko.InvalidArgument,
        "energy has 1 entries for 2 geometries; give one per geometry",
    ),
    "solvers": (
        {"solver": ("auto",) * 3},
        jko.InvalidArgument,
        "solver has 3 entries for 2 geometries",
    ),
    "list": ({"energy": [FORCE, FORCE]}, jko.InvalidType, "energy got list; pass an energy, or a"),
    "solver name": ({"solver": "Mixture"}, jko.InvalidType, "solver got 'Mixture'; pass 'auto' or"),
    "solver class": ({"solver": jko.solvers.Mixture}, jko.InvalidType, "pass 'auto' or a solver"),
    "geometry": ({"geometry": "W"}, jko.InvalidType, "geometry got 'W'; pass a geometry or a sum"),
    "geometries": ({"geometry": (W, MMD)}, jko.InvalidType, "geometry got tuple"),
    "splitting": ({"splitting": "Lie"}, jko.InvalidArgument, "splitting = 'Lie' is unknown"),
    "scheme": ({"scheme": "euler"}, jko.InvalidArgument, "choose one of 'implicit', 'midpoint'"),
    "tau": ({"tau": 0.0}, jko.InvalidArgument, "tau = 0 must be positive"),
    "measure": ({"measure": np.ones(3)}, jko.InvalidType, "measure got ndarray"),
    "rng": ({"rng": "seed"}, jko.InvalidType, "rng = 'seed' is not a seed"),
}


@pytest.mark.parametrize("name", sorted(WRONG))
def test_bad_arguments_are_one_sentence(name):
    arguments = {"measure": MU, "energy": FORCE, "geometry": W + MMD, "tau": 0.1}
    changed, kind, message = WRONG[name]
    with pytest.raises(kind, match=message):
        jko.split_step(**{**arguments, **changed})


def test_warm_starts_go_to_the_substep_they_came_from():
    settings = {"splitting": "strang", "solver": Noisy(), "rng": 0}
    first = jko.split_step(MU, well_energy(), W + 2 * W, 0.1, **settings)
    assert [w["count"] for w in first.warm] == [1, 1, 1]
    warm = ({"count": 5, "pair": (None, 0.0)}, None, {"count": 7, "pair": (None, 0.0)})
    second = jko.split_step(MU, well_energy(), W + 2 * W, 0.1, warm=warm, **settings)
    assert [w["count"] for w in second.warm] == [6, 1, 8]
    # Of another scheme, or of a step that failed half-way: ignored.
    third = jko.split_step(MU, well_energy(), W + 2 * W, 0.1, warm=warm[:2], **settings)
    assert [w["count"] for w in third.warm] == [1, 1, 1]


def test_a_failed_substep_ends_the_step():
    settings = {"solver": (jko.solvers.Lagrangian(), Noisy(lasts=0))}
    geometry = W + 2 * W
    with pytest.raises(jko.StepFailed, match="worn out") as failure:
        jko.split_step(MU, well_energy(), geometry, 0.1, **settings)
    result = failure.value.result
    assert [r.success for r in result.substeps] == [True, False]
    assert not result.success
    assert result.status is jko.Status.BROKEN
    assert same_bits(result.measure, result.substeps[0].measure)  # where the broken one stayed
    partial = jko.split_step(MU, well_energy(), geometry, 0.1, throw=False, **settings)
    assert partial.message == result.message
    settings = {"solver": (Noisy(lasts=0), jko.solvers.Lagrangian())}
    first = jko.split_step(MU, well_energy(), geometry, 0.1, throw=False, **settings)
    assert len(first.substeps) == 1
    assert same_bits(first.measure, MU)
    assert first.energy == pytest.approx(well_energy().value(MU), rel=1e-14)


def test_an_uncertified_substep_is_reported_not_used():
    result = jko.split_step(MU, FORCE, W + MMD, 0.2, max_iter=1, throw=False)
    assert not result.success
    assert len(result.substeps) == 1
    assert "raise max_iter" in result.message


def test_representation_is_one_line():
    assert "\n" not in repr(jko.split_step(MU, FORCE, W + MMD, 0.2))


def test_declared_orders_and_schedules():
    assert [Scheme(s, c).order(2) for s in ("lie", "strang") for c in ("implicit", "midpoint")] == [
        1,
        1,
        1,
        2,
    ]
    assert [Scheme("lie", c).order(1) for c in ("implicit", "midpoint")] == [1, 2]
    for parts in (1, 2, 3, 4):
        for splitting in ("lie", "strang"):
            total = np.zeros(parts)
            for i, fraction in Scheme(splitting).schedule(parts):
                total[i] += fraction
            assert (total == 1).all()


# -- midpoint ------------------------------------------------------------------------------------


def test_midpoint_on_particles_is_two_half_steps_minus_one():
    half = jko.step(MU, well_energy(), W, 0.1)
    whole = jko.split_step(MU, well_energy(), W, 0.2, scheme="midpoint")
    assert np.array_equal(whole.measure.points, 2 * half.measure.points - MU.points)
    # x_+ = (1 - tau/2)/(1 + tau/2) x for the quadratic well.
    assert np.allclose(whole.measure.points, MU.points * (0.9 / 1.1), atol=1e-7)
    assert whole.energy == well_energy().value(whole.measure)
    assert whole.substeps[0].info["scheme"] == "midpoint"
    assert whole.substeps[0].sqdistance == 4 * half.sqdistance


def test_midpoint_on_gaussians_doubles_the_bures_map():
    bell = jko.Gaussian([1.0], [[4.0]])
    target = jko.KL(jko.Gaussian([0.0], [[1.0]]))
    half = jko.step(bell, target, W, 0.05).measure
    whole = jko.split_step(bell, target, W, 0.1, scheme="midpoint").measure
    assert whole.mean[0] == pytest.approx(2 * half.mean[0] - 1.0, rel=1e-14)
    spread = 2 * np.sqrt(half.cov[0, 0]) - 2.0
    assert np.sqrt(whole.cov[0, 0]) == pytest.approx(spread, rel=1e-14)


REACTIONS = {
    "Hellinger": (jko.Hellinger(), lambda a, b: 2 * np.sqrt(b) - np.sqrt(a)),
    "MMD": (MMD, None),
    "SphericalHellinger": (jko.SphericalHellinger(), None),
    "Hellinger fixed": (jko.Hellinger(mass="fixed"), None),
}


@pytest.mark.parametrize("name", sorted(REACTIONS))
def test_midpoint_of_reactions_doubles_the_geodesic(name):
    geometry, roots = REACTIONS[name]
    mu = measures.histogram(seed=3, zeros=0)
    pi = measures.sibling(mu, seed=4, zeros=0)
    energy = jko.MMDEnergy(pi, KERNEL) if name == "MMD" else jko.InclusiveKL(pi)
    half = jko.step(mu, energy, geometry, 0.05)
    whole = jko.split_step(mu, energy, geometry, 0.1, scheme="midpoint").measure
    if roots is not None:
        assert np.allclose(np.sqrt(whole.weights), roots(mu.weights, half.measure.weights))
    # The half step lies in the middle of the geodesic to the whole one.
    if name != "Hellinger fixed":
        middle = geometry.geodesic(mu, whole, 0.5)
        assert np.allclose(middle.weights, half.measure.weights, rtol=1e-10)
    if name != "Hellinger":
        assert whole.mass == pytest.approx(mu.mass, rel=1e-13)


@pytest.mark.parametrize("name", ["Hellinger", "MMD", "SphericalHellinger"])
def test_midpoint_says_when_the_geodesic_leaves_the_cone(name):
    geometry, _ = REACTIONS[name]
    mu = measures.histogram(seed=3, zeros=0)
    pi = measures.sibling(mu, seed=4)  # empty atoms: mass must leave them
    energy = jko.MMDEnergy(pi, KERNEL) if name == "MMD" else jko.PhiDivergence(pi, p=0.5)
    said = "leaves the positive measures .* reduce tau, or use scheme='implicit'"
    with pytest.raises(jko.Unsupported, match=said):
        jko.split_step(mu, energy, geometry, 100.0, scheme="midpoint")
    with pytest.raises(jko.Unsupported, match=said) as failure:
        jko.flow(mu, energy, geometry, tau=100.0, steps=3, scheme="midpoint")
    assert len(failure.value.trajectory.steps) == 0


def test_midpoint_on_a_grid_in_transport_is_refused():
    grid = jko.Grid(-3.0, 3.0, 20)
    mu = jko.GridDensity.from_function(lambda x: np.exp(-(x[:, 0] ** 2)), grid, mass=1.0)
    with pytest.raises(jko.Unsupported, match="use scheme='implicit'"):
        jko.split_step(mu, jko.Entropy(), W, 0.1, scheme="midpoint")
