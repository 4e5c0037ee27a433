"""Step doubling: errors follow the tolerance, t1 is hit, a resumed run is the same to the bit."""

from types import SimpleNamespace

import numpy as np
import pytest
from flow_cases import CASES, assert_same, fresh, line
from generators import measures

import jko
from jko import AdaptiveStep, reference
from jko.flows.clock import MAX_STEPS, AdaptiveClock, Clock, from_tree
from jko.flows.control import apart

W = jko.Wasserstein()
START, TARGET = jko.Gaussian([3.0], [[0.05]]), jko.Gaussian([0.0], [[1.0]])


def run(control=None, t1=2.0, **settings):
    return jko.flow(START, jko.KL(TARGET), W, tau=control or AdaptiveStep(), t1=t1, **settings)


def error(sol, t1=2.0):
    mean, std = reference.ou_flow(3.0, 0.05**0.5, t1)
    g = sol.final
    return float(np.hypot(g.mean[0] - mean, g.cov[0, 0] ** 0.5 - std))


@pytest.mark.parametrize("scheme", ["implicit", "midpoint", "richardson"])
def test_the_error_follows_the_tolerance(scheme):
    tols = (1e-2, 1e-3, 1e-4) if scheme != "implicit" else (0.1, 0.03, 0.01)
    sols = [run(AdaptiveStep(tol), scheme=scheme) for tol in tols]
    errors = [error(sol) for sol in sols]
    assert errors == sorted(errors, reverse=True)
    # The flow contracts: the errors of the steps add up to less than tol (way + spread).
    assert all(e <= tol * 4.0 for e, tol in zip(errors, tols, strict=True))
    slope = np.log(errors[0] / errors[-1]) / np.log(tols[0] / tols[-1])
    assert slope == pytest.approx(1.0, abs=0.3)
    for sol in sols:
        assert sol.verify().holds
        assert sol.times[-1] == 2.0
        assert len(sol.steps) == len(sol.times) - 1
        np.testing.assert_allclose(np.diff(sol.times), [s.tau for s in sol.steps], rtol=1e-12)


def test_steps_grow_as_the_flow_calms_down():
    sol = run(AdaptiveStep(0.02), t1=20.0)
    taus = np.array([s.tau for s in sol.steps])
    assert taus[-3] > 10 * taus.min()
    way, before = 0.0, START
    for t, g in zip(sol.times[1:], sol.measures[1:], strict=True):
        way, before = way + W.distance(before, g), g
        mean, std = reference.ou_flow(3.0, 0.05**0.5, t)
        allowed = 0.02 * (way + t / 20 * g.cov[0, 0] ** 0.5)
        # Errors of first order are estimates: .94 to 1.08 of this at tol .1 to .005.
        assert np.hypot(g.mean[0] - mean, g.cov[0, 0] ** 0.5 - std) <= 1.2 * allowed


def test_too_long_a_first_attempt_is_rejected_and_longest_is_kept():
    sol = run(AdaptiveStep(1e-2, tau0=5.0))
    assert sol.steps[0].tau < 0.2
    sol = run(AdaptiveStep(1.0, longest=0.3))
    assert max(s.tau for s in sol.steps) <= 0.3
    assert sol.times[-1] == 2.0


def test_a_number_of_steps():
    sol = run(AdaptiveStep(0.01, tau0=0.01), t1=None, steps=5, save=2)
    assert len(sol.steps) == 5
    assert sol.status == "finished"
    assert len(sol.measures) == 4


def test_at_rest_the_steps_double():
    sol = jko.flow(TARGET, jko.KL(TARGET), W, tau=AdaptiveStep(tau0=0.01), t1=1.0)
    assert [s.tau for s in sol.steps[:3]] == pytest.approx([0.01, 0.02, 0.04])


@pytest.mark.parametrize("error", ["state", "energy"])
def test_every_kind_of_measure(error):
    grid, target = line()
    hist = measures.histogram(seed=3, zeros=0)
    cases = [
        (hist, jko.KL(measures.sibling(hist, seed=4, zeros=0)), jko.Hellinger(mass="fixed")),
        (grid, jko.KL(target), W),
        (CASES["particles"].measure, CASES["particles"].energy, W + jko.SphericalHellinger()),
    ]
    for mu, energy, geometry in cases:
        if isinstance(geometry, jko.Wasserstein) or mu is hist:
            sol = jko.flow(mu, energy, geometry, tau=AdaptiveStep(0.3, error=error), t1=0.2)
            assert sol.success
            assert sol.times[-1] == 0.2


@pytest.mark.parametrize("after", [0, 2, 4])
@pytest.mark.parametrize("name", ["gaussian", "particles", "entropic", "random"])
def test_a_resumed_run_is_the_same_to_the_bit(name, after, tmp_path):
    path = tmp_path / "run.npz"
    tol = {"random": 1e3, "particles": 1.0}.get(name, 0.1)
    settings = {"tau": AdaptiveStep(tol, tau0=0.03), "steps": None, "t1": 0.4}
    if name == "random":
        settings["tau"] = AdaptiveStep(tol, tau0=0.05, longest=0.07)
    whole = fresh(name).run(**settings)
    assert len(whole.steps) > after

    def interrupt(event):
        if event.index == after + 1:
            raise KeyboardInterrupt

    with pytest.warns(RuntimeWarning, match="interrupted"):
        fresh(name).run(checkpoint=path, callbacks=interrupt, **settings)
    from flow_cases import Noisy

    solver = Noisy() if name == "random" else None
    done = jko.resume(path, fresh(name).energy, solver=solver)
    assert_same(done, whole)
    assert done.times[-1] == 0.4


def test_files_of_constant_clocks_keep_their_form():
    assert from_tree({"tau": 0.1, "steps": 3, "t1": None}) == Clock(0.1, 3)
    clock = AdaptiveClock.of(AdaptiveStep(0.1), None, 2.0)
    from jko.flows.clock import as_tree

    assert from_tree(as_tree(clock)) == clock


def test_callbacks_know_the_last_step():
    seen = []
    sol = run(AdaptiveStep(0.1), callbacks=lambda e: seen.append((e.index, e.steps)))
    assert all(steps is None for _, steps in seen[:-1])
    assert seen[-1] == (len(sol.steps), len(sol.steps))


def test_an_error_that_does_not_fall_with_tau_ends_the_flow():
    with pytest.raises(jko.StepFailed, match=r"raise tol of jko\.AdaptiveStep") as failure:
        fresh("random").run(tau=AdaptiveStep(1e-3), steps=None, t1=1.0)
    assert failure.value.trajectory.status.startswith("step 1 failed: AdaptiveStep")


def test_a_step_that_fails_is_taken_again_with_a_shorter_one():
    # The debiased entropic step of a long tau may fail; the mirror step of a wall never does.
    mu = measures.histogram(seed=3, zeros=0)
    energy = jko.Potential(np.linspace(-3.0, 1.0, mu.n))
    sol = jko.flow(mu, energy, jko.Hellinger(), tau=AdaptiveStep(0.5, tau0=5.0), t1=0.3)
    assert sol.success  # 1 + tau V/2 > 0 only below tau = 2/3


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"tau": "fast", "t1": 1.0}, "'adaptive'"),
        ({"tau": "adaptive"}, "neither given"),
        ({"tau": 1e-15, "t1": 10 * MAX_STEPS * 1e-15}, "takes 1e"),
    ],
)
def test_bad_arguments(settings, words):
    with pytest.raises(jko.JkoError, match=words):
        jko.flow(START, jko.KL(TARGET), W, **settings)
    with pytest.raises(jko.JkoError, match="tol"):
        AdaptiveStep(-1.0)
    with pytest.raises(jko.JkoError, match="error"):
        AdaptiveStep(error="norm")


def test_distances():
    a = jko.Particles([[0.0], [1.0]])
    b = a.with_points([[0.3], [1.4]])
    assert apart(a, b, b) == pytest.approx(np.sqrt(0.125) / 0.55)
    assert apart(a, b, a) == pytest.approx(np.sqrt(0.125) / np.hypot(0.55, np.sqrt(0.125)))
    wide = jko.Gaussian([3.0], [[0.25]])
    assert apart(START, wide, wide) == pytest.approx(1 - 0.2**0.5)
    one = jko.Particles([[0.0]])
    with pytest.raises(jko.Unsupported, match="error='energy'"):
        apart(a, one, a)


def test_an_unknown_distance_is_no_small_one():
    # Neither a division by zero nor a NaN that every comparison lets pass.
    one, other = jko.Particles([[0.0]]), jko.Particles([[1e-3]])
    assert apart(other, one, one) == np.inf
    assert apart(one, one, one) == 0.0
    control = AdaptiveStep(error="energy")
    energies = SimpleNamespace(energy=np.inf), SimpleNamespace(energy=np.inf)
    begun = SimpleNamespace(energy_size=lambda after, share: 1.0)
    assert control.distance(*energies, begun, 0.1) == np.inf


def in_units(kind, length, mass, factor):
    """A measure, an energy, a geometry, and a time, in other units of length, mass and energy."""
    rng = np.random.default_rng(5)
    W_time = length**2 / factor
    if kind == "gaussian":
        g = jko.Gaussian([3.0 * length], [[0.05 * length**2]], mass)
        return g, factor * jko.KL(jko.Gaussian([0.0], [[length**2]], mass)), W, W_time
    if kind == "particles":
        well = jko.Potential(
            lambda x: ((x / length) ** 2).sum(axis=1), gradient=lambda x: 2 * x / length**2
        )
        points = length * (1.0 + rng.normal(size=(6, 2)))
        return jko.Particles(points, np.full(6, mass / 6)), factor * well, W, W_time
    if kind == "one particle":
        well = jko.Potential(
            lambda x: ((x / length) ** 2).sum(axis=1), gradient=lambda x: 2 * x / length**2
        )
        return jko.Particles([[2.0 * length]], [mass]), factor * well, W, W_time
    grid = jko.Grid(-4 * length, 4 * length, 24)
    bell = lambda at: jko.GridDensity.from_function(
        lambda x: np.exp(-((x[:, 0] / length - at) ** 2)), grid, mass=mass
    )
    if kind == "grid":
        return bell(0.6), factor * jko.KL(bell(-0.5)), W, W_time
    return bell(0.6), factor * jko.KL(bell(-0.5)), jko.Hellinger(mass="fixed"), 1 / factor


@pytest.mark.parametrize("error", ["state", "energy"])
@pytest.mark.parametrize("kind", ["gaussian", "particles", "one particle", "grid", "reaction"])
def test_lengths_are_the_same_in_any_unit(kind, error):
    lengths = []
    for unit in ((1.0, 1.0, 1.0), (1e-6, 1.0, 1.0), (1e5, 1e-7, 1.0), (1.0, 1e6, 1e8)):
        mu, energy, geometry, time = in_units(kind, *unit)
        control = AdaptiveStep(0.1, error=error)
        sol = jko.flow(mu, energy, geometry, tau=control, t1=0.3 * time)
        lengths.append(np.array([step.tau for step in sol.steps]) / time)
    assert len(lengths[0]) > 3
    for found in lengths[1:]:
        np.testing.assert_allclose(found, lengths[0], rtol=1e-3)


# -- Richardson ------------------------------------------------------------------------------------


def order(mu, energy, geometry, exact, taus=(0.1, 0.05, 0.025), **settings):
    errors = []
    for tau in taus:
        found = jko.flow(mu, energy, geometry, tau=tau, t1=0.5, scheme="richardson", **settings)
        errors.append(np.abs(found.final.weights - exact).sum())
        assert found.final.mass == pytest.approx(mu.mass, rel=1e-12)
    assert errors == sorted(errors, reverse=True)
    return np.log2(errors[1] / errors[2])


def test_richardson_is_second_order_on_grids_in_transport():
    grid = jko.Grid(-5.0, 5.0, 200)
    bell = lambda m, s: jko.GridDensity.from_function(
        lambda x: np.exp(-((x[:, 0] - m) ** 2) / (2 * s**2)), grid, mass=1.0
    )
    mean, std = reference.ou_flow(1.0, 0.7, 0.5)
    energy = jko.KL(jko.Gaussian([0.0], [[1.0]]))
    found = order(bell(1.0, 0.7), energy, W, bell(mean, std).weights, (0.0625, 0.03125, 1 / 64))
    assert found == pytest.approx(2.0, abs=0.15)


def test_richardson_of_a_lie_splitting_is_second_order():
    mu = measures.histogram(seed=3, zeros=0)
    pi = measures.sibling(mu, seed=4, zeros=0)
    exact = reference.hellinger_flow(mu.weights, pi.weights, 1.0, 1.0, "fixed")
    geometry = jko.Hellinger(mass="fixed") + jko.SphericalHellinger()
    assert order(mu, jko.KL(pi), geometry, exact) == pytest.approx(2.0, abs=0.15)


def test_richardson_keeps_weights_non_negative():
    grid, _ = line()
    sol = jko.flow(grid, jko.PorousMedium(2.0), W, tau=0.05, steps=3, scheme="richardson")
    assert min(float(mu.weights.min()) for mu in sol.measures) >= 0
    assert sol.success
    assert len(sol.steps[0].substeps) == 3
