"""The loop: how far it goes, what it keeps, what callbacks see, what comes back when it ends."""

from dataclasses import replace

import numpy as np
import pytest
from flow_cases import CASES, KERNEL, Noisy, fresh, same_bits, well_energy
from generators import measures

import jko
from jko.flows.callbacks import Record, StopWhen

IFT = CASES["particles"]
W = jko.Wasserstein()


# -- how far -------------------------------------------------------------------------------------


def test_a_flow_is_its_split_steps():
    sol = IFT.run(steps=3)
    mu, warm = IFT.measure, None
    for k in range(3):
        result = jko.split_step(mu, IFT.energy, IFT.geometry, 0.1, warm=warm)
        mu, warm = result.measure, result.warm
        assert same_bits(sol.measures[k + 1], mu)
        assert sol.energies[k + 1] == result.energy
        assert sol.steps[k].substeps[1].gap == result.substeps[1].gap
    assert sol.energies[0] == IFT.energy.value(IFT.measure)
    assert sol.final is sol.measures[-1]
    assert sol.success
    assert sol.verify().holds


@pytest.mark.parametrize(
    ("tau", "t1", "steps"),
    [(0.1, 0.3, 3), (0.1, 0.35, 4), (0.1, 1.0, 10), (0.3, 0.1, 1), (1 / 3, 1.0, 3), (0.7, 2.1, 3)],
)
def test_final_time_is_hit_exactly(tau, t1, steps):
    sol = CASES["gaussian"].run(tau=tau, steps=None, t1=t1)
    assert sol.times[-1] == t1
    assert len(sol.steps) == steps
    lengths = [s.tau for s in sol.steps]
    assert sum(lengths) == pytest.approx(t1, rel=1e-14)
    assert all(length == tau for length in lengths[:-1])
    assert 0 < lengths[-1] <= tau * (1 + 1e-9)
    assert sol.verify().holds


def test_a_final_time_a_hair_past_a_step_takes_a_short_step():
    sol = CASES["gaussian"].run(tau=0.1, steps=None, t1=0.2 + 1e-9)
    assert len(sol.steps) == 3
    assert sol.steps[-1].tau == pytest.approx(1e-9, rel=1e-6)


WRONG = {
    "neither": ({"steps": None}, "steps and t1: neither given; pass one of steps=, t1="),
    "both": ({"t1": 1.0}, "steps and t1: both given"),
    "steps": ({"steps": 0}, "steps = 0 must be at least 1"),
    "fraction": ({"steps": 2.5}, "steps must be a whole number, got 2.5"),
    "t1": ({"steps": None, "t1": -1.0}, "t1 = -1 must be positive"),
    "t1 nan": ({"steps": None, "t1": float("nan")}, "t1 = nan is not finite"),
    "tau": ({"tau": -0.1}, "tau = -0.1 must be positive; a step length is a positive number"),
    "save word": ({"save": "first"}, "save got 'first'; pass None"),
    "save float": ({"save": 1.5}, "save got 1.5; pass None"),
    "save zero": ({"save": 0}, "save = 0 must be at least 1"),
    "save far": ({"save": [2, 70]}, "save holds step 70, but the flow takes 6 steps"),
    "save negative": ({"save": [-1]}, "save = -1 must be at least 1"),
    "save true": ({"save": True}, "save got True; pass None"),
    "every": ({"every": 0}, "every = 0 must be at least 1"),
    "callbacks": ({"callbacks": [3]}, "callbacks holds 3, which takes no Event"),
    "when": ({"callbacks": Record("x", len, when=3)}, "when got 3; pass Every"),
    "far": ({"steps": None, "t1": 1.0, "tau": 1e-20}, "t1 = 1 takes 1e\\+20 steps"),
    "callback": ({"callbacks": 3}, "callbacks got 3; pass a function of an Event"),
    "class": ({"callbacks": [StopWhen]}, "callbacks holds .*StopWhen.*, which takes no Event"),
    "tol": ({"tol": -1.0}, "tol = -1 must be positive"),
    "max_iter": ({"max_iter": 0.5}, "max_iter must be a whole number"),
    "rng": ({"rng": -1}, "rng = -1 is not a seed"),
    "checkpoint": ({"checkpoint": 3}, "path = 3 is not a path"),
}


@pytest.mark.parametrize("name", sorted(WRONG))
def test_bad_arguments_are_one_sentence(name):
    changed, message = WRONG[name]
    with pytest.raises(jko.InvalidArgument, match=message):
        IFT.run(**changed)


def test_the_measure_must_be_one():
    with pytest.raises(jko.InvalidType, match="measure got ndarray; wrap points"):
        jko.flow(np.ones(3), IFT.energy, W, tau=0.1, steps=2)


def test_no_solver_is_an_error_with_reasons():
    with pytest.raises(jko.Unsupported, match="no solver takes a step"):
        jko.flow(measures.gaussian(), IFT.energy, jko.MMD(KERNEL), tau=0.1, steps=2)


# -- what is kept --------------------------------------------------------------------------------

KEPT = {
    "all": (None, [0, 1, 2, 3, 4, 5, 6, 7]),
    "third": (3, [0, 3, 6, 7]),
    "beyond": (20, [0, 7]),
    "last": ("last", [0, 7]),
    "list": ([2, 5], [0, 2, 5, 7]),
    "with the ends": ((0, 2, 7), [0, 2, 7]),
    "array": (np.array([4]), [0, 4, 7]),
    "range": (range(2, 6, 2), [0, 2, 4, 7]),
    "empty": ([], [0, 7]),
}


@pytest.mark.parametrize("name", sorted(KEPT))
def test_thinning_keeps_times_measures_and_energies_aligned(name):
    save, indices = KEPT[name]
    whole = CASES["gaussian"].run(steps=7)
    sol = CASES["gaussian"].run(steps=7, save=save)
    assert np.array_equal(sol.times, whole.times[indices])
    assert np.array_equal(sol.energies, whole.energies[indices])
    assert len(sol.measures) == len(indices)
    assert all(same_bits(sol.measures[i], whole.measures[k]) for i, k in enumerate(indices))
    assert len(sol.steps) == 7
    assert sol.verify().holds


def test_interpolant_is_piecewise_constant_from_the_left():
    sol = CASES["gaussian"].run(steps=4, tau=0.1)
    for k, t in enumerate(sol.times):
        assert sol.at(t) is sol.measures[k]
    assert sol.at(0.3) is sol.measures[3]  # 3 * 0.1 is a little more than 0.3
    assert sol.at(1e-6) is sol.measures[1]
    assert sol.at(0.1 + 1e-6) is sol.measures[2]
    assert sol.at(0.4 + 1e-14) is sol.measures[4]
    thinned = CASES["gaussian"].run(steps=4, tau=0.1, save="last")
    assert thinned.at(0.15) is thinned.final
    for t in (-0.01, 0.41, np.inf, np.nan, "now", None):
        with pytest.raises(jko.InvalidArgument, match=r"^t "):
            sol.at(t)


def test_description_and_representation():
    sol = IFT.run(splitting="strang", scheme="implicit")
    said = sol.description
    assert said["energy"] == [repr(IFT.energy)] * 2
    assert said["geometry"] == ["0.7 * Wasserstein()", repr(jko.MMD(KERNEL))]
    assert said["solver"] == ["auto", "auto"]
    assert (said["splitting"], said["scheme"], said["order"]) == ("strang", "implicit", 1)
    assert said["preserves_equilibrium"] is True
    assert (said["tau"], said["steps"]) == (0.1, 6)
    split = IFT
    split = replace(split, energy=(IFT.energy, well_energy()))
    assert split.run(steps=1).description["preserves_equilibrium"] is False
    text = repr(sol)
    assert "\n" not in text
    assert text.startswith("Trajectory(6 steps to t=0.6, energy ")
    assert "all certified (stationary point, minimum), 7 measures" in text


def test_step_records_are_read_back_from_text():
    for record in IFT.run(steps=2).steps:
        assert type(record).from_json(record.as_json) == record


# -- verify --------------------------------------------------------------------------------------


def doctored(sol, index=1, sub=None, **changes):
    steps = list(sol.steps)
    if sub is None:
        steps[index] = replace(steps[index], **changes)
    else:
        inner = list(steps[index].substeps)
        inner[sub] = replace(inner[sub], **changes)
        steps[index] = replace(steps[index], substeps=tuple(inner))
    return replace(sol, steps=tuple(steps))


def test_verify_catches_wrong_records():
    sol = IFT.run(steps=4)
    assert sol.verify().holds
    second = sol.steps[1].substeps[1]
    wrong = {
        "status": (doctored(sol, sub=0, status="INACCURATE"), {"certified"}),
        "gap": (doctored(sol, sub=1, gap=1e-3), {"certified"}),
        "negative gap": (doctored(sol, sub=1, gap=-1e-3), {"certified"}),
        "residual": (doctored(sol, sub=0, residual=1.0), {"certified"}),
        "nan residual": (doctored(sol, sub=0, residual=float("nan")), {"certified"}),
        "objective": (doctored(sol, sub=1, objective=second.baseline + 1e-6), {"dissipation"}),
        "nan objective": (
            doctored(sol, sub=1, objective=float("nan")),
            {"certified", "dissipation"},
        ),
        "mass": (doctored(sol, mass=1.0001), {"mass", "kept"}),
        "energy": (doctored(sol, energy=0.0), {"kept"}),
        "infinite": (doctored(sol, energy=float("inf")), {"finite", "kept"}),
        "tau": (doctored(sol, tau=0.2), {"clock"}),
        "time": (doctored(sol, time=0.21), {"clock", "kept"}),
        "dropped": (replace(sol, steps=sol.steps[:1] + sol.steps[2:]), {"clock", "kept"}),
        "energies": (replace(sol, energies=sol.energies[::-1]), {"kept"}),
        "measure": (replace(sol, measures=sol.measures[:-1]), {"kept"}),
        "last time": (replace(sol, times=sol.times * 2), {"clock", "kept"}),
    }
    for name, (bad, failing) in wrong.items():
        assert {i.name for i in bad.verify().failed} == failing, name
        with pytest.raises(AssertionError, match=next(iter(failing))):
            bad.verify().raise_if_failed()


def test_verify_of_every_kind_of_flow():
    for name in CASES:
        report = fresh(name).run().verify()
        assert report.holds, f"{name}: {report}"


# -- ends ----------------------------------------------------------------------------------------


def test_interrupted_in_a_callback_hands_back_the_step():
    def interrupt(event):
        if event.index == 2:
            raise KeyboardInterrupt

    with pytest.warns(RuntimeWarning, match="interrupted; its steps so far are returned"):
        sol = IFT.run(callbacks=interrupt)
    assert (sol.status, len(sol.steps), len(sol.measures)) == ("interrupted", 2, 3)
    assert not sol.success
    assert sol.verify().holds
    assert repr(sol).endswith("3 measures saved, interrupted)")


def test_an_interruption_that_another_library_renamed_is_still_one():
    def interrupt(event):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise SystemError("returned a result with an exception set") from error

    with pytest.warns(RuntimeWarning, match="interrupted"):
        assert IFT.run(callbacks=interrupt).status == "interrupted"


def test_an_error_in_a_flow_that_tidies_up_after_ctrl_c_is_no_interruption():
    def fail(event):
        raise ValueError("of its own")

    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        with pytest.raises(ValueError, match="of its own"):
            IFT.run(callbacks=fail)


@pytest.mark.parametrize("count", [0, 2])
def test_interrupted_in_a_solver_hands_back_the_steps_before(count, monkeypatch):
    monkeypatch.setattr("flow_cases.TRAP", [count])
    with pytest.warns(RuntimeWarning, match="interrupted"):
        sol = fresh("random").run(save="last")
    assert (sol.status, len(sol.steps)) == ("interrupted", count)
    assert sol.times[-1] == pytest.approx(0.1 * count, abs=1e-15)
    assert len(sol.measures) == min(count, 1) + 1
    assert sol.verify().holds


def test_failed_step_carries_result_and_trajectory():
    settings = {"solver": Noisy(lasts=3), "save": "last"}
    with pytest.raises(jko.StepFailed, match=r"Noisy: .*worn out") as failure:
        fresh("random").run(**settings)
    error = failure.value
    assert error.result.substeps[-1].status is jko.Status.BROKEN
    assert len(error.trajectory.steps) == 3
    assert error.trajectory.status.startswith("step 4 failed: Noisy: ")
    assert error.trajectory.times[-1] == pytest.approx(0.3)
    sol = fresh("random").run(throw=False, **settings)
    assert sol.status == error.trajectory.status
    assert not sol.success
    assert same_bits(sol.final, error.trajectory.final)
    assert "\n" not in repr(sol)


def test_failed_tolerance_carries_the_best_measure():
    with pytest.raises(jko.StepFailed, match="raise max_iter") as failure:
        IFT.run(max_iter=1)
    assert failure.value.result.substeps[0].status is jko.Status.MAX_ITERATIONS
    assert len(failure.value.trajectory.measures) == 1


def test_an_exception_in_a_callback_keeps_the_trajectory():
    def fail(event):
        if event.index == 3:
            raise LookupError("no such thing")

    with pytest.raises(LookupError, match="no such thing") as failure:
        IFT.run(callbacks=fail)
    sol = failure.value.trajectory
    assert len(sol.steps) == 3
    assert sol.status == "ended by LookupError('no such thing')"
    assert sol.verify().holds


def test_verify_sees_a_residual_step_that_went_uphill():
    """Dissipation is checked without a gap as well; the checker with a wrong record."""
    well = jko.Potential(lambda x: 0.5 * (x**2).sum(1), gradient=lambda x: x)
    mu = jko.Particles([[1.0, 2.0], [0.5, -1.0]])
    sol = jko.flow(mu, well, jko.Wasserstein(), tau=0.1, steps=3)
    assert sol.steps[0].substeps[0].gap is None
    report = sol.verify()
    assert "dissipation" in [i.name for i in report]
    assert report.holds
    step = sol.steps[1]
    sub = replace(step.substeps[0], objective=step.substeps[0].baseline * (1 + 1e-9))
    wrong = replace(sol, steps=(sol.steps[0], replace(step, substeps=(sub,)), sol.steps[2]))
    assert [i.name for i in wrong.verify().failed] == ["dissipation"]
