"""Energies that depend on time, and runs that are extended."""

import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from flow_cases import assert_same

import jko

BELL = jko.Gaussian([2.0], [[1.0]])
W = jko.Wasserstein()
LINE = jko.GridDensity.from_function(
    lambda x: np.exp(-4 * (x[:, 0] - 1) ** 2), jko.Grid(-4, 4, 40), mass=1
)
ENERGY = jko.KL(LINE.with_weights(np.full(40, 1 / 40)))


def moving(t):
    """KL to a bell whose centre runs away at speed 1."""
    return jko.KL(jko.Gaussian([t], [[1.0]]))


def mean_at(t):
    """m' = -(m - t), m(0) = 2, by hand."""
    return t - 1 + 3 * np.exp(-t)


# -- energies that depend on time ----------------------------------------------------------------


def test_steps_are_taken_with_the_energy_at_their_end():
    sol = jko.flow(BELL, moving, W, tau=0.5, steps=3)
    mu = BELL
    for k, step in enumerate(sol.steps, 1):
        mu = jko.step(mu, moving(0.5 * k), W, 0.5).measure
        assert step.energy == moving(0.5 * k).value(mu)
        np.testing.assert_array_equal(sol[k].mean, mu.mean)
    assert sol.energies[0] == moving(0.0).value(BELL)
    assert sol.description["energy"] == ["TimeDependent(moving)"]
    assert not sol.description["preserves_equilibrium"]
    assert sol.verify().holds


@pytest.mark.parametrize(("scheme", "order"), [("implicit", 1), ("midpoint", 2)])
def test_measured_order(scheme, order):
    errors = [
        abs(jko.flow(BELL, moving, W, tau=tau, t1=1.0, scheme=scheme).final.mean[0] - mean_at(1.0))
        for tau in (0.1, 0.05, 0.025)
    ]
    assert np.log2(np.array(errors[:-1]) / errors[1:]) == pytest.approx(order, abs=0.15)


def test_richardson_extrapolates_in_time_too():
    def tilt(t):
        return jko.Potential(lambda x: (1 + np.sin(2 * t)) * x[:, 0] ** 2)

    kept = jko.Hellinger(mass="fixed")
    ends = [
        jko.flow(LINE, tilt, kept, tau=tau, t1=0.8, scheme="richardson", save="last").final.weights
        for tau in (0.2, 0.1, 0.05)
    ]
    coarse, fine = (np.abs(a - b).sum() for a, b in pairwise(ends))
    assert np.log2(coarse / fine) == pytest.approx(2, abs=0.3)


def test_adaptive_steps_know_the_time():
    sol = jko.flow(BELL, moving, W, tau=jko.AdaptiveStep(1e-2), t1=1.0)
    assert sol.final.mean[0] == pytest.approx(mean_at(1.0), abs=1e-2)


def test_sums_of_fixed_and_moving_terms():
    F = jko.Entropy() + 2 * jko.TimeDependent(lambda t: jko.Potential(lambda x: t * x[:, 0] ** 2))
    assert F.varies
    assert not F.at(1.0).varies
    assert F.at(3.0).value(LINE) == pytest.approx(
        jko.Entropy().value(LINE) + 6 * LINE.expect(lambda x: x[:, 0] ** 2)
    )
    assert jko.Entropy().at(2.0) == jko.Entropy() or not jko.Entropy().varies
    sol = jko.flow(LINE, F, jko.Hellinger(), tau=0.1, steps=2)
    frame = sol.to_frame()
    terms = frame["energy[Entropy]"] + frame["energy[Potential]"]
    np.testing.assert_allclose(terms, frame["energy"], rtol=1e-12)


def test_geometries_share_a_moving_energy():
    tilt = lambda t: jko.Potential(lambda x: (1 + t) * x[:, 0] ** 2)
    both = jko.Hellinger() + jko.SphericalHellinger()
    sol = jko.flow(LINE, tilt, both, tau=0.1, steps=2)
    assert sol.plan.shared_energy
    apart = jko.flow(LINE, (tilt, ENERGY), both, tau=0.1, steps=1)
    first = tilt(0.1).value(apart.final) + ENERGY.value(apart.final)
    assert apart.energies[1] == pytest.approx(first)


def test_monitors_compare_at_one_time():
    """The energy rises because time moves it, not because a step raises it."""
    away = lambda t: jko.KL(jko.Gaussian([2 + 3 * t], [[1.0]]))
    watch = jko.callbacks.MonitorDissipation()
    sol = jko.flow(BELL, away, W, tau=0.1, steps=4, callbacks=watch)
    assert (np.diff(sol.energies) > 0).any()


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: jko.flow(BELL, lambda t: moving(t) if t < 1 else jko.Entropy(), W, tau=1, steps=2),
         jko.InvalidType, r"is KL at t = 0 and Entropy at t = 1; keep the kinds of its terms"),
        (lambda: jko.flow(BELL, lambda t: t, W, tau=1, steps=2), jko.InvalidType,
         r"f\(0\) of a TimeDependent energy returned 0.0; return an energy"),
        (lambda: jko.TimeDependent(3), jko.InvalidType, "f got 3; pass a function of time"),
        (lambda: jko.step(BELL, jko.TimeDependent(moving), W, 1), jko.InvalidArgument,
         r"depends on time, and a single step has none; pass energy\.at\(t\)"),
        (lambda: jko.TimeDependent(moving).value(BELL), jko.Unsupported, r"use \.at\(t\)"),
        (lambda: jko.flow(BELL, jko.Entropy, W, tau=1, steps=1), jko.InvalidType,
         "energy got the class Entropy"),
    ],
)  # fmt: skip
def test_one_sentence_each(call, error, says):
    with pytest.raises(error, match=says) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
    step = jko.step(BELL, jko.TimeDependent(moving).at(0.5), W, 1)  # what the message says
    assert step.success


# -- runs that go on -----------------------------------------------------------------------------


def test_a_finished_run_is_extended_to_the_run_it_would_have_been(tmp_path):
    path, options = tmp_path / "run.npz", {"tau": 0.1, "rng": 3}
    whole = jko.flow(LINE, ENERGY, jko.Hellinger(), steps=9, **options)
    jko.flow(LINE, ENERGY, jko.Hellinger(), steps=4, checkpoint=path, **options)
    again = jko.resume(path, ENERGY, steps=5)
    assert_same(again, whole)
    assert_same(jko.resume(path, ENERGY), whole)  # the file was written on
    assert len(jko.resume(path, ENERGY, steps=1).steps) == 10


def test_time_goes_on_in_a_resumed_run(tmp_path):
    path = tmp_path / "run.npz"
    whole = jko.flow(BELL, moving, W, tau=0.25, steps=6)
    jko.flow(BELL, moving, W, tau=0.25, steps=2, checkpoint=path)
    assert_same(jko.resume(path, moving, steps=4), whole)
    other = lambda t: jko.KL(jko.Gaussian([2 * t], [[1.0]]))
    other.__qualname__ = "moving"
    with pytest.raises(jko.InvalidArgument, match="it is not the one the run used"):
        jko.resume(path, other, steps=1)


def test_beyond_a_final_time_that_was_hit_by_a_shorter_step(tmp_path):
    path = tmp_path / "run.npz"
    jko.flow(LINE, ENERGY, jko.Hellinger(), tau=0.1, t1=0.25, checkpoint=path)
    sol = jko.resume(path, ENERGY, steps=2)
    np.testing.assert_allclose(sol.times, [0, 0.1, 0.2, 0.25, 0.35, 0.45], rtol=1e-15)
    assert sol.verify().holds
    adaptive = jko.AdaptiveStep(0.05)
    jko.flow(LINE, ENERGY, jko.Hellinger(), tau=adaptive, t1=0.2, checkpoint=path)
    more = jko.resume(path, ENERGY, steps=2)
    assert more.times[-1] > 0.2
    assert more.verify().holds


def test_a_trajectory_goes_on():
    whole = jko.flow(LINE, ENERGY, jko.Hellinger(), tau=0.1, steps=7)
    half = jko.flow(LINE, ENERGY, jko.Hellinger(), tau=0.1, steps=3)
    assert_same(jko.flow(half, steps=4), whole)
    np.testing.assert_allclose(jko.flow(half, t1=0.45).times[-2:], [0.4, 0.45], rtol=1e-12)
    other = jko.flow(half, jko.PorousMedium(2), jko.Hellinger(mass="fixed"), tau=0.2, steps=1)
    assert other.steps[-1].index == 4
    assert other.times[-1] == pytest.approx(0.5)
    assert not other.description["conserves_mass"]
    assert other.verify().holds
    moved = jko.flow(jko.flow(BELL, moving, W, tau=0.5, steps=1), steps=1)
    np.testing.assert_array_equal(
        moved.final.mean, jko.flow(BELL, moving, W, tau=0.5, steps=2).final.mean
    )


def test_after_a_failure_the_good_steps_go_on(tmp_path):
    sol = jko.flow(LINE, ENERGY, jko.Hellinger(), tau=0.1, steps=2, save="last")
    path = tmp_path / "run.npz"
    more = jko.flow(sol, tau=0.05, steps=2, checkpoint=path)
    assert_same(jko.resume(path, ENERGY), more)
    np.testing.assert_allclose(more.times, [0, 0.2, 0.25, 0.3])


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda sol: jko.flow(replace(sol, plan=None), steps=1), "holds no functions; pass its"),
        (lambda sol: jko.flow(sol, t1=0.1), r"t1 = 0\.1 is not after t = 0\.2"),
        (lambda sol: jko.flow(sol), "neither given"),
        (lambda sol: jko.flow(LINE, ENERGY, jko.Hellinger(), steps=1), "tau"),
        (lambda sol: jko.flow(LINE, tau=1, steps=1), "geometry got None"),
        (lambda sol: jko.flow(jko.flow(LINE, ENERGY, jko.Hellinger(), tau="adaptive", t1=0.02),
                              steps=1), "tau is missing; the run had AdaptiveStep"),
    ],
)  # fmt: skip
def test_bad_continuations(call, says):
    sol = jko.flow(LINE, ENERGY, jko.Hellinger(), tau=0.1, steps=2)
    with pytest.raises(jko.InvalidArgument) as caught:
        call(sol)
    assert re.search(says, str(caught.value)), str(caught.value)
    loaded = replace(sol, plan=None)
    assert len(jko.flow(loaded, ENERGY, jko.Hellinger(), steps=1).steps) == 3


def test_steps_to_resume_are_counted(tmp_path):
    path = tmp_path / "run.npz"
    jko.flow(LINE, ENERGY, jko.Hellinger(), tau=0.1, steps=1, checkpoint=path)
    for wrong in (0, -1, 1.5, True):
        with pytest.raises(jko.InvalidArgument, match="steps"):
            jko.resume(path, ENERGY, steps=wrong)
    with pytest.raises(jko.InvalidArgument, match="energy is missing"):
        jko.resume(path, steps=1)


def test_unusable_warm_starts_are_ignored():
    kernel = jko.kernels.Gaussian(1.0)
    goal = jko.MMDEnergy(LINE.with_weights(np.full(40, 1 / 40)), kernel)
    plain = jko.step(LINE, goal, jko.MMD(kernel), 0.5)
    for wrong in (np.full(40, np.nan), np.full(40, -1.0), np.ones(3), np.full(40, np.inf)):
        again = jko.step(LINE, goal, jko.MMD(kernel), 0.5, warm={"weights": wrong})
        np.testing.assert_array_equal(again.measure.weights, plain.measure.weights)
