"""A run cut short goes on to the same trajectory, whatever it moves and however it ended."""

import os
import subprocess
import sys
import textwrap

import pytest
from flow_cases import CASES, Noisy, assert_same, fresh, well, well_energy

import jko
from jko.flows.callbacks import Every, Record


def cut(case, path, after, **extra):
    """Run a case and interrupt it in the callbacks of step `after + 1`."""

    def interrupt(event):
        if event.index == after + 1:
            raise KeyboardInterrupt

    watchers = (*extra.pop("callbacks", ()), interrupt)
    with pytest.warns(RuntimeWarning, match="interrupted"):
        return case.run(checkpoint=path, callbacks=watchers, **extra)


@pytest.mark.parametrize("name", sorted(CASES))
@pytest.mark.parametrize("after", [0, 3, 5])
def test_every_kind_of_flow_goes_on_bit_identically(name, after, tmp_path):
    path = tmp_path / "run.npz"
    whole = fresh(name).run()
    part = cut(fresh(name), path, after)
    assert len(part.steps) == after + 1  # the step whose callbacks were cut is handed back
    assert len(jko.Trajectory.load(path).steps) == after  # and taken again by a resumed run
    case = fresh(name)
    solver = Noisy() if "random" in name else None
    assert_same(jko.resume(path, case.energy, solver=solver), whole)
    assert_same(jko.Trajectory.load(path), whole)
    assert_same(jko.resume(path), whole)  # a finished file needs nothing


@pytest.mark.parametrize("save", [None, 2, "last", [1, 4]])
@pytest.mark.parametrize("splitting", ["lie", "strang"])
def test_thinning_records_and_final_time_survive(save, splitting, tmp_path):
    path = tmp_path / "run.npz"
    watch = [
        Record("mean", lambda mu: mu.mean),
        Record("mass", lambda mu: mu.mass, when=Every(3)),
        lambda event: event.record("note", {"at": [event.index, "x"]}),
    ]
    settings = {"steps": None, "t1": 0.57, "save": save, "splitting": splitting}
    whole = fresh("particles").run(callbacks=watch, **settings)
    part = cut(fresh("particles"), path, 3, callbacks=watch, every=2, **settings)
    # The first callbacks of step 4 had run; they run again.
    assert len(part.records["mean"][0]) == 4
    done = jko.resume(path, CASES["particles"].energy, callbacks=watch)
    assert done.times[-1] == 0.57
    assert sorted(done.records) == ["mass", "mean", "note"]
    assert_same(done, whole)


@pytest.mark.parametrize("every", [1, 3, 100])
def test_random_numbers_of_an_interrupted_solve_are_drawn_again(every, tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    whole = fresh("random").run()
    monkeypatch.setattr("flow_cases.TRAP", [4])
    with pytest.warns(RuntimeWarning, match="interrupted"):
        part = fresh("random").run(checkpoint=path, every=every)
    assert (part.status, len(part.steps)) == ("interrupted", 4)
    monkeypatch.setattr("flow_cases.TRAP", [])
    assert_same(jko.resume(path, well_energy(), solver=Noisy()), whole)


def test_a_failed_step_can_be_taken_again(tmp_path):
    path = tmp_path / "run.npz"
    with pytest.raises(jko.StepFailed, match="worn out") as failure:
        fresh("random").run(checkpoint=path, solver=Noisy(lasts=2))
    assert failure.value.trajectory.status.startswith("step 3 failed: Noisy")
    assert len(failure.value.trajectory.steps) == 2
    assert not failure.value.result.success
    with pytest.raises(jko.StepFailed):
        jko.resume(path, well_energy(), solver=Noisy(lasts=2))
    again = jko.resume(path, well_energy(), solver=Noisy(lasts=2), throw=False)
    assert (again.status[:13], len(again.steps)) == ("step 3 failed", 2)


def test_a_callback_that_raises_leaves_a_run_that_goes_on(tmp_path):
    path = tmp_path / "run.npz"

    def trip(event):
        if event.index == 3:
            raise ZeroDivisionError("in a callback")

    with pytest.raises(ZeroDivisionError) as failure:
        fresh("particles").run(checkpoint=path, callbacks=trip)
    assert len(failure.value.trajectory.steps) == 3
    assert "ZeroDivisionError" in failure.value.trajectory.status
    assert_same(jko.resume(path, CASES["particles"].energy), fresh("particles").run())


def test_interrupted_in_the_last_step_takes_no_step_too_many(tmp_path):
    path = tmp_path / "run.npz"
    part = cut(fresh("particles"), path, 5)
    assert part.status == "finished"  # all six steps were taken
    assert_same(jko.resume(path, CASES["particles"].energy), fresh("particles").run())


def test_stopped_by_a_callback_is_an_end(tmp_path):
    path = tmp_path / "run.npz"
    stop = jko.callbacks.StopWhen(lambda event: event.index == 2)
    part = fresh("particles").run(checkpoint=path, callbacks=stop)
    assert part.success
    assert_same(jko.resume(path), part)


def test_resumed_trajectory_lists_every_measure_once(tmp_path):
    path = tmp_path / "run.npz"
    cut(fresh("random"), path, 2)
    part = jko.resume(path, well_energy(), solver=Noisy(), callbacks=lambda e: jko.callbacks.STOP)
    assert part.times.tolist() == pytest.approx([0, 0.1, 0.2, 0.3], abs=1e-15)
    assert len({id(m) for m in part.measures}) == len(part.measures) == 4


REFUSED = {
    "no energy": ({}, "energy is missing; the run used MMDEnergy"),
    "another energy": ({"energy": well_energy()}, r"energy = Potential\(well\).* is not what"),
    "another geometry": ({"geometry": jko.Wasserstein()}, "geometry = .* is not what the run used"),
    "a rate off in the tenth digit": (
        {"geometry": (0.7 + 1e-10) * jko.Wasserstein() + jko.MMD(jko.kernels.Gaussian(0.8))},
        "geometry = .* is not what the run used",
    ),
    "another solver": (
        {"solver": (jko.solvers.Lagrangian(memory=3), "auto")},
        "solver = .* is not what the run used",
    ),
    "too many energies": (
        {"energy": (well_energy(),) * 3},
        "energy has 3 entries for 2 geometries",
    ),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_other_arguments_are_refused(name, tmp_path):
    path = tmp_path / "run.npz"
    cut(fresh("particles"), path, 2)
    before = path.read_bytes()
    arguments, message = REFUSED[name]
    if "energy" not in name.split()[-1] and "energies" not in name:
        arguments = {"energy": CASES["particles"].energy, **arguments}
    with pytest.raises(jko.InvalidArgument, match=message):
        jko.resume(path, **arguments)
    assert path.read_bytes() == before


def named_well(function, gradient):
    function.__name__ = "well"
    return jko.Potential(function, gradient=gradient)


@pytest.mark.parametrize(
    "other",
    [
        named_well(lambda x: well(x) + 1e-6, lambda x: x),
        named_well(lambda x: well(x), lambda x: x + 1e-6),
        named_well(lambda x: well(x), None),
    ],
    ids=["value", "slope", "no slope"],
)
def test_functions_of_the_same_name_are_told_apart_by_probes(other, tmp_path):
    path, start = tmp_path / "run.npz", CASES["particles"].measure
    interrupted(path, start, well_energy(), jko.Wasserstein(), steps=4)
    with pytest.raises(jko.InvalidArgument, match="not the one the run used"):
        jko.resume(path, other)
    assert jko.resume(path, well_energy()).success


def interrupted(path, start, energy, geometry, steps):
    """A checkpoint of a run that ended after its first step."""
    with pytest.warns(RuntimeWarning):
        jko.flow(
            start,
            energy,
            geometry,
            tau=0.1,
            steps=steps,
            checkpoint=path,
            callbacks=_interrupt,
        )


def _interrupt(event):
    raise KeyboardInterrupt


def test_swapped_energies_are_told_apart(tmp_path):
    one = jko.Potential(lambda x: well(x), gradient=lambda x: x)
    two = jko.Potential(lambda x: 2 * well(x), gradient=lambda x: 2 * x)
    geometry = jko.Wasserstein() + 2 * jko.Wasserstein()
    start, path = CASES["particles"].measure, tmp_path / "run.npz"
    whole = jko.flow(start, (one, two), geometry, tau=0.1, steps=3)
    interrupted(path, start, (one, two), geometry, steps=3)
    with pytest.raises(jko.InvalidArgument, match="not the one the run used"):
        jko.resume(path, (two, one))
    assert_same(jko.resume(path, (one, two)), whole)


class Homemade(jko.energies.Energy):
    """An energy without a representation of its own: its default one holds an address."""

    def value(self, mu):
        return float(mu.weights @ well(mu.points))

    def wasserstein_gradient(self, mu):
        return mu.points


def test_an_energy_without_a_repr_can_be_handed_in_again(tmp_path):
    path, start = tmp_path / "run.npz", CASES["particles"].measure
    whole = jko.flow(start, Homemade(), jko.Wasserstein(), tau=0.1, steps=3)
    interrupted(path, start, Homemade(), jko.Wasserstein(), steps=3)
    assert_same(jko.resume(path, Homemade()), whole)


def test_a_real_signal_hands_back_the_trajectory(tmp_path):
    script = textwrap.dedent(
        """
        import os, signal, threading, sys, warnings
        import numpy as np, jko
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
        def interrupt(event):
            if event.index == 2:
                threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
        mu = jko.Particles(np.random.default_rng(0).normal(size=(200, 2)))
        pi = jko.Particles(np.random.default_rng(1).normal(size=(210, 2)) + 1)
        F = jko.MMDEnergy(pi, jko.kernels.Gaussian(1.0))
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            sol = jko.flow(mu, F, jko.Wasserstein(), tau=0.1, steps=100_000, callbacks=interrupt,
                           checkpoint=sys.argv[1], save="last")
        behind = len(sol.steps) - len(jko.Trajectory.load(sys.argv[1]).steps)
        # Where Ctrl-C lands between open() and its `with`, CPython closes the file with a
        # ResourceWarning of its own; of ours there is one.
        ours = [w for w in said if w.category is not ResourceWarning]
        print(sol.status, len(sol.steps) > 1 and behind in (0, 1), len(ours))
        """
    )
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    out = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "run.npz")],
        capture_output=True,
        text=True,
        timeout=500,
        env=environment,
        check=True,
    )
    status, moved, warned = out.stdout.split()
    assert (status, moved, warned) == ("interrupted", "True", "1")
