"""Callbacks: when they are due, what they see, what they keep, and how they end a flow."""

import contextlib
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
from flow_cases import CASES, KERNEL, fresh
from generators import measures

import jko
from jko.flows.callbacks import (
    STOP,
    AtTimes,
    Call,
    Every,
    FlowStopped,
    MonitorDissipation,
    MonitorMass,
    Progress,
    Record,
    StopWhen,
)

IFT = CASES["particles"]


def test_when_callbacks_are_due():
    seen = {"all": [], "fourth": [], "times": [], "plain": []}

    def into(name):
        return lambda event: seen[name].append(event.index)

    callbacks = [
        Call(into("all")),
        Call(into("fourth"), when=Every(4)),
        Call(into("times"), when=AtTimes([0.05, 0.3, 0.31, 0.6, 9.0])),
        into("plain"),
    ]
    CASES["gaussian"].run(steps=6, callbacks=callbacks)
    assert seen == {
        "all": [1, 2, 3, 4, 5, 6],
        "fourth": [4, 6],
        "times": [1, 3, 4, 6],
        "plain": [1, 2, 3, 4, 5, 6],
    }
    for times in ([0.1, -1.0], ["x"], [None]):
        with pytest.raises(jko.InvalidArgument, match="times"):
            AtTimes(times)
    assert AtTimes(0.5).times == (0.5,)
    with pytest.raises(jko.InvalidArgument, match="k = 0 must be at least 1"):
        Every(0)


def test_an_event_shows_the_step():
    events = []
    sol = IFT.run(callbacks=events.append)
    assert [e.index for e in events] == [1, 2, 3, 4, 5, 6]
    assert [e.time for e in events] == sol.times[1:].tolist()
    assert [e.energy for e in events] == sol.energies[1:].tolist()
    assert [e.previous_energy for e in events] == sol.energies[:-1].tolist()
    assert all(e.measure is m for e, m in zip(events, sol.measures[1:], strict=True))
    assert all(e.steps == 6 and e.initial_mass == IFT.measure.mass for e in events)
    assert all(len(e.result.substeps) == 2 for e in events)


def test_records_are_kept_with_their_times():
    buffer = np.zeros(2)

    def reuse(event):
        buffer[:] = event.index
        event.record("buffer", buffer)
        event.record("twice", event.index)
        event.record("twice", -event.index)

    mean = Record("mean", lambda mu: mu.mean, when=Every(2))
    sol = CASES["gaussian"].run(steps=5, callbacks=[mean, reuse])
    assert sol.records["mean"][0] == tuple(sol.times[[2, 4, 5]])
    assert np.array_equal(sol.records["mean"][1][-1], sol.final.mean)
    assert [b.tolist() for b in sol.records["buffer"][1]] == [[k, k] for k in range(1, 6)]
    assert sol.records["twice"][1][:4] == (1, -1, 2, -2)
    assert sol.records["twice"][0][:4] == (sol.times[1], sol.times[1], sol.times[2], sol.times[2])


def test_what_no_file_can_hold_is_refused_when_recorded():
    with pytest.raises(jko.InvalidType, match=r"record 'set' got .* which no file can hold"):
        IFT.run(callbacks=Record("set", lambda mu: {1, 2}))
    with pytest.raises(jko.InvalidType, match="name of a record got 3"):
        IFT.run(callbacks=lambda event: event.record(3, 1.0))


def test_stopping():
    for stop in (
        StopWhen(lambda event: event.index == 3),
        lambda event: STOP if event.index == 3 else None,
        [lambda event: None, lambda event: STOP if event.index == 3 else True],
    ):
        sol = IFT.run(callbacks=stop, save="last")
        assert (len(sol.steps), sol.status) == (3, "stopped by a callback")
        assert sol.times.tolist() == [0.0, IFT.run(steps=3).times[-1]]
        assert sol.success
        assert "stopped by a callback" in repr(sol)
        assert sol.verify().holds
    assert IFT.run(callbacks=StopWhen(lambda event: event.index == 6)).status == "finished"


def test_monitors_pass_on_good_flows_and_raise_on_bad_ones():
    IFT.run(callbacks=[MonitorDissipation(), MonitorMass()])
    with pytest.raises(FlowStopped, match=r"the energy rose by .* in step \d; reduce tau") as rise:
        fresh("random").run(callbacks=MonitorDissipation())
    assert len(rise.value.trajectory.steps) >= 1
    mu = measures.histogram(seed=3)
    energy = jko.MMDEnergy(measures.sibling(mu, seed=4, mass=2.0), KERNEL)
    free = jko.MMD(KERNEL, mass="free")
    with pytest.raises(FlowStopped, match=r"the mass drifted by .* use a geometry that conserves"):
        jko.flow(mu, energy, free, tau=1, steps=2, callbacks=MonitorMass())


def event(now, before):
    sol = []
    IFT.run(steps=1, callbacks=sol.append)
    return replace(sol[0], energy=now, previous_energy=before)


def test_dissipation_monitor_on_infinite_and_undefined_energies():
    monitor, inf, nan = MonitorDissipation(), float("inf"), float("nan")
    for now, before in ((1.0, inf), (inf, inf), (1.0, 1.0 + 1e-12)):
        monitor(event(now, before))
    for now, before in ((inf, 1.0), (nan, 1.0), (1.0, nan), (1.0 + 1e-6, 1.0)):
        with pytest.raises(FlowStopped):
            monitor(event(now, before))


def test_progress_bar(capfd):
    CASES["gaussian"].run(steps=5, progress=True)
    shown = capfd.readouterr()
    assert "5/5" in shown.err
    assert shown.out == ""
    bar = Progress("mine")
    for _ in range(2):  # an object can serve several flows
        CASES["gaussian"].run(steps=3, callbacks=bar)
        assert "mine: 100%" in capfd.readouterr().err


def test_progress_without_tqdm_is_said_before_the_first_step(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with pytest.raises(jko.InvalidArgument, match=r"needs tqdm; install it with pip install"):
        IFT.run(progress=True)


def test_callbacks_tidy_up_however_the_flow_ends():
    finished = []

    class Tidy(jko.callbacks.Callback):
        def __call__(self, event):
            if event.index == 2:
                raise ending

        def finish(self):
            finished.append(ending)

    for ending in (KeyboardInterrupt(), ValueError("x"), SystemExit(3)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with contextlib.suppress(ValueError, SystemExit):
                IFT.run(callbacks=Tidy())
        assert finished[-1] is ending
