"""Sweeps: the table, the file that survives a crash, the workers that do not."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
from jobs import dies_once, square

import jko

BELL, GOAL = jko.Gaussian([2.0], [[1.0]]), jko.KL(jko.Gaussian([0.0], [[1.0]]))


def test_every_combination_has_a_row_in_the_order_of_the_grid():
    table = jko.sweep(square, {"a": [4, 9], "b": (1, 2, 3)})
    assert list(table.columns) == ["a", "b", "product", "root", "seconds"]
    assert list(table["a"]) == [4, 4, 4, 9, 9, 9]
    assert list(table["product"]) == [4, 8, 12, 9, 18, 27]
    assert list(table["root"]) == [2, 2, 2, 3, 3, 3]
    points = jko.sweep(square, [{"a": 4}, {"a": 9, "b": 2}])
    assert list(points["product"]) == [4, 18]


def test_flows_and_steps_bring_their_figures():
    f = lambda tau: jko.flow(BELL, GOAL, jko.Wasserstein(), tau=tau, t1=1.0)
    table = jko.sweep(f, {"tau": [0.5, 0.25]})
    for tau, row in zip([0.5, 0.25], table.itertuples(), strict=True):
        assert row.energy == f(tau).energies[-1]
        assert (row.steps, row.success, row.status) == (1 / tau, True, "finished")
    one = jko.sweep(lambda tau: jko.step(BELL, GOAL, jko.Wasserstein(), tau), {"tau": [1.0]})
    assert one["solver"][0] == jko.step(BELL, GOAL, jko.Wasserstein(), 1.0).solver
    split = lambda tau: jko.split_step(BELL, GOAL, jko.Wasserstein(), tau)
    assert jko.sweep(split, {"tau": [1.0]})["success"].all()


def test_parameters_of_any_kind(tmp_path):
    kernels = [jko.kernels.Gaussian(1.0), jko.kernels.Laplace(1.0)]
    calls = []

    def f(kernel, at):
        calls.append(at)
        return float(kernel.apply(np.zeros((1, 1)), np.ones((1, 1)), np.ones(1))[0])

    grid = {"kernel": kernels, "at": [np.array([0.0, 1.0])]}
    table = jko.sweep(f, grid, path=tmp_path / "rows")
    np.testing.assert_allclose(table["value"], [np.exp(-0.5), np.exp(-1)])
    assert table["kernel"][0] is kernels[0]
    again = jko.sweep(f, grid, path=tmp_path / "rows")
    assert list(again["value"]) == list(table["value"])
    assert len(calls) == 2


def test_an_error_of_jko_is_a_row_and_is_tried_again(tmp_path):
    broken = [True]

    def f(a):
        if a == 1 and broken[0]:
            raise jko.InvalidArgument("a = 1 is\nunlucky")
        return a

    table = jko.sweep(f, {"a": [0, 1, 2]}, path=tmp_path / "rows")
    assert table["error"][1] == "InvalidArgument: a = 1 is unlucky"
    assert list(table["value"].isna()) == [False, True, False]
    broken[0] = False
    mended = jko.sweep(f, {"a": [0, 1, 2]}, path=tmp_path / "rows")
    assert list(mended["value"]) == [0, 1, 2]
    assert "error" not in mended


def test_a_sweep_that_broke_calls_only_for_the_rest(tmp_path):
    calls = []

    def f(a):
        calls.append(a)
        if a == 2 and calls.count(2) == 1:
            raise KeyboardInterrupt
        return a / 3

    path = tmp_path / "rows.jsonl"
    with pytest.raises(KeyboardInterrupt):
        jko.sweep(f, {"a": range(4)}, path=path)
    with path.open("a") as file:
        file.write('{"key": "cut sho')  # as a crash may leave it
    table = jko.sweep(f, {"a": range(5)}, path=path, progress=True)
    assert list(table["value"]) == [a / 3 for a in range(5)]  # to the last bit
    assert calls == [0, 1, 2, 2, 3, 4]
    jko.sweep(f, {"a": [4, 0]}, path=path)
    assert len(calls) == 6


def test_a_killed_process_loses_no_finished_row(tmp_path):
    path = tmp_path / "rows"
    program = Path(__file__).with_name("jobs.py")
    root = str(Path(jko.__file__).parents[1])
    run = subprocess.run(
        [sys.executable, str(program), str(tmp_path), str(path)],
        check=False,
        timeout=300,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert run.returncode == -9
    rows = [json.loads(line)["row"] for line in path.read_text().splitlines()[1:]]
    assert [row["value"] for row in rows] == [0, 1]
    table = jko.sweep(dies_once, {"a": range(4), "marks": [str(tmp_path)]}, path=path)
    assert list(table["value"]) == [0, 1, 4, 9]
    assert [(tmp_path / str(a)).read_text() for a in range(4)] == ["x", "x", "xx", "x"]


def test_a_dask_cluster_loses_a_worker_and_no_row(tmp_path):
    """The cluster starts the worker again and repeats what it was at."""
    distributed = pytest.importorskip("distributed")
    path = tmp_path / "rows"
    settings = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with (
        distributed.LocalCluster(**settings, silence_logs=50) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        grid = {"a": range(5), "marks": [str(tmp_path)]}
        table = jko.sweep(dies_once, grid, n_jobs=-1, path=path)
    assert list(table["value"]) == [0, 1, 4, 9, 16]
    assert (tmp_path / "2").read_text() == "xx"
    assert len(path.read_text().splitlines()) == 6


def test_processes_of_joblib():
    table = jko.sweep(square, {"a": [1, 4, 9]}, n_jobs=2)
    assert list(table["root"]) == [1, 2, 3]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda path: jko.sweep(3, {"a": [1]}), "f got 3; pass a function"),
        (lambda path: jko.sweep(square, {"a": 1}), r"grid\['a'\] got 1; pass a list"),
        (lambda path: jko.sweep(square, {"a": "12"}), r"grid\['a'\] got '12'; pass a list"),
        (lambda path: jko.sweep(square, 5), "grid got 5; pass name -> values"),
        (lambda path: jko.sweep(square, {"a": []}), "grid is empty"),
        (lambda path: jko.sweep(square, {}), "grid is empty"),
        (lambda path: jko.sweep(square, {"error": [1]}), "columns of the table"),
        (
            lambda path: jko.sweep(lambda a: [a], {"a": [1]}),
            "f returned list as 'value'",
        ),
        (lambda path: jko.sweep(lambda a: {"a": 1}, {"a": [1]}), "f returned 'a', which is"),
        (lambda path: jko.sweep(square, {"a": [1]}, path=path), "holds no sweep; move it away"),
        (lambda path: jko.sweep(square, {"a": [1]}, path=path.parent), "pass another path"),
    ],
)
def test_bad_input(call, says, tmp_path):
    path = tmp_path / "foreign.txt"
    path.write_text("precious\n")
    with pytest.raises(jko.JkoError) as caught:
        call(path)
    assert re.search(says, str(caught.value)), str(caught.value)
    assert path.read_text() == "precious\n"


def explodes(a):
    raise RuntimeError("boom")


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_an_error_says_at_which_point_it_came_up(n_jobs):
    with pytest.raises(RuntimeError, match="boom") as caught:
        jko.sweep(explodes, {"a": [0.5]}, n_jobs=n_jobs)
    assert caught.value.__notes__ == ['in jko.sweep at {"a": 0.5}']


def test_a_file_of_another_function(tmp_path):
    jko.sweep(square, {"a": [1]}, path=tmp_path / "rows")
    with pytest.raises(jko.InvalidFile, match="holds a sweep of square, not of dies_once"):
        jko.sweep(dies_once, {"a": [1], "marks": [""]}, path=tmp_path / "rows")
