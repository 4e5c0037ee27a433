"""Places: what cannot be written is said early, and no error of the disk loses a step."""

import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from flow_cases import CASES, Noisy, assert_same, fresh, well_energy

import jko
from jko.flows import archive

ENERGY = CASES["particles"].energy


def test_a_bad_place_is_said_before_the_first_step(tmp_path):
    for path, message in (
        (tmp_path / "absent" / "run.npz", "the folder .*absent is missing"),
        (tmp_path, "is a folder; pass the name of a file in it"),
        ("", "is a folder"),
        ("/proc/run.npz", "cannot write /proc/run.npz: "),
    ):
        with pytest.raises(jko.InvalidFile, match=message):
            fresh("particles").run(checkpoint=path)
        with pytest.raises(jko.InvalidFile, match=message):
            fresh("gaussian").run(steps=1).save(path)


def test_a_checkpoint_never_replaces_a_foreign_file(tmp_path):
    path = tmp_path / "thesis.tex"
    path.write_text("years of work")
    with pytest.raises(jko.InvalidFile, match=r"thesis\.tex is not a jko file.*move it away first"):
        fresh("gaussian").run(checkpoint=path)
    assert path.read_text() == "years of work"
    older = tmp_path / "run.npz"
    for _ in range(2):
        fresh("gaussian").run(checkpoint=older)  # an older checkpoint is replaced


def test_old_scratch_is_swept_and_fresh_scratch_is_left_alone(tmp_path):
    """Scratch files of killed writers go after an hour; a younger one may be somebody's at work."""
    path = tmp_path / "run.npz"
    old = [tmp_path / "run.npz.tmp", tmp_path / "run.npz.1a2b-0123abcd.tmp"]
    kept = [tmp_path / "run.npz.1a2b-0123abce.tmp", tmp_path / "other.npz.tmp"]
    for scratch in (*old, *kept):
        scratch.write_bytes(b"half a checkpoint")
    for scratch in (*old, kept[1]):
        os.utime(scratch, (1e9, 1e9))
    fresh("gaussian").run(steps=2, checkpoint=path)
    assert set(os.listdir(tmp_path)) == {path.name, *(p.name for p in kept)}


def test_of_two_runs_on_one_file_the_loser_says_so(tmp_path):
    """The run that finds another's file ends with its steps; the file is the winner's, whole."""
    path = tmp_path / "run.npz"

    def rival(event):
        if event.index == 2:
            fresh("particles").run(steps=1, checkpoint=path)

    with pytest.raises(jko.InvalidFile, match=r"replaced by another run.*file of its own") as lost:
        fresh("particles").run(checkpoint=path, callbacks=rival)
    assert len(lost.value.trajectory.steps) == 2
    assert_same(jko.resume(path), fresh("particles").run(steps=1))


def test_a_deleted_checkpoint_is_written_again(tmp_path):
    path = tmp_path / "run.npz"
    fresh("particles").run(
        checkpoint=path, callbacks=lambda event: path.unlink() if event.index == 2 else None
    )
    assert jko.resume(path).status == "finished"


def test_writers_at_once_leave_one_whole_file(tmp_path):
    """Many threads write one file: whatever stands there is one of the trees, unmixed."""
    path = tmp_path / "tree"

    def write(k):
        for _ in range(20):
            archive.write(path, "test", {"k": k, "x": np.full(2000, float(k))})

    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(write, k) for k in range(4)]
        while not all(job.done() for job in jobs):
            if path.exists():
                tree = archive.read(path, {"test": lambda t: t})
                assert (tree["x"] == tree["k"]).all()
        for job in jobs:
            job.result()
    assert os.listdir(tmp_path) == ["tree"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    link = tmp_path / "run.npz"
    link.symlink_to(tmp_path / "disk" / "run.npz")
    sol = fresh("gaussian").run(steps=2, checkpoint=link)
    assert link.is_symlink()
    assert os.listdir(tmp_path / "disk") == ["run.npz"]
    assert_same(jko.resume(link), sol)


@pytest.mark.parametrize("where", ["write", "fsync", "replace"])
def test_an_error_of_the_disk_keeps_file_and_trajectory(where, tmp_path, monkeypatch):
    path = tmp_path / "run.npz"

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    def spoil(event):
        if event.index == 3:
            if where == "write":
                monkeypatch.setattr("builtins.open", fail)
            else:
                monkeypatch.setattr(os, where, fail)

    with pytest.raises(jko.InvalidFile, match=r"cannot write .*: No space left") as failure:
        fresh("particles").run(checkpoint=path, callbacks=spoil)
    monkeypatch.undo()
    assert len(failure.value.trajectory.steps) == 3
    assert os.listdir(tmp_path) == ["run.npz"]
    assert len(jko.Trajectory.load(path).steps) == 2
    assert_same(jko.resume(path, ENERGY), fresh("particles").run())


def test_an_interruption_with_a_full_disk_still_hands_back_the_trajectory(tmp_path, monkeypatch):
    path = tmp_path / "run.npz"

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    def spoil(event):
        if event.index == 3:
            monkeypatch.setattr(os, "replace", fail)
            raise KeyboardInterrupt

    with pytest.warns(RuntimeWarning) as said:
        sol = fresh("particles").run(checkpoint=path, callbacks=spoil)
    assert [str(w.message)[:18] for w in said] == ["no last checkpoint", "the flow was inter"]
    assert len(sol.steps) == 3


def test_a_file_size_limit_leaves_the_last_whole_checkpoint(tmp_path):
    script = textwrap.dedent(
        """
        import os, resource, signal, sys
        import numpy as np, jko
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
        mu = jko.Particles(np.random.default_rng(0).normal(size=(100, 2)))
        F = jko.Potential(lambda x: (x**2).sum(axis=1), gradient=lambda x: 2 * x)
        try:
            jko.flow(mu, F, jko.Wasserstein(), tau=0.1, steps=100, checkpoint=sys.argv[1])
        except jko.InvalidFile as error:
            there = len(jko.Trajectory.load(sys.argv[1]).steps)
            print(len(error.trajectory.steps) - there, there > 1, error)
        """
    )
    path = tmp_path / "run.npz"
    run = [sys.executable, "-c", script, str(path)]
    out = subprocess.run(run, capture_output=True, text=True, timeout=500, check=True).stdout
    assert out.startswith("1 True cannot write"), out
    assert os.listdir(tmp_path) == ["run.npz"]


def test_an_unstorable_warm_start_is_said_at_its_first_write(tmp_path):
    class Odd(Noisy):
        def solve(self, problem, controls):
            answer = super().solve(problem, controls)
            object.__setattr__(answer, "warm", object())
            return answer

    path, start = tmp_path / "run.npz", CASES["random"].measure
    with pytest.raises(jko.Unsupported, match="cannot be stored in a jko file") as failure:
        jko.flow(
            start, well_energy(), jko.Wasserstein(), tau=0.1, steps=2, solver=Odd(), checkpoint=path
        )
    assert len(failure.value.trajectory.steps) == 1
