"""Checkpoints of version 0.1.0 load and resume, within the certificates of their steps."""

from pathlib import Path

import numpy as np
import pytest
from data.make_checkpoint import HERE, grid_problem, split_problem

import jko

PROBLEMS = {"grid": grid_problem, "split": split_problem}


@pytest.fixture(params=sorted(PROBLEMS))
def old(request: pytest.FixtureRequest) -> tuple[str, Path]:
    return request.param, HERE / f"checkpoint_0.1.0_{request.param}.npz"


def test_an_old_checkpoint_loads_with_two_of_six_steps(old: tuple[str, Path]) -> None:
    _, path = old
    sol = jko.Trajectory.load(path)
    assert len(sol.steps) == 2
    assert sol.times[-1] == pytest.approx(0.2)
    assert all(sub.gap is not None for record in sol.steps for sub in record.substeps)


def test_an_old_checkpoint_resumes_to_the_flow_it_would_have_been(
    old: tuple[str, Path], tmp_path: Path
) -> None:
    name, path = old
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes())
    _, energy, *_ = PROBLEMS[name]()
    sol = jko.resume(copy, energy=energy)
    assert sol.success
    assert len(sol.steps) == 6
    right = np.load(HERE / f"final_0.1.0_{name}.npy")
    assert np.abs(sol.final.weights - right).sum() < 1e-4
