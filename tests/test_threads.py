"""Steps run with one BLAS thread, unless the user says otherwise."""

from __future__ import annotations

import numpy as np
import pytest

import jko
from jko.solvers.base import Answer
from jko.threads import VARIABLE, blas_threads


class _Spy(jko.solvers.ProxSolver):
    guarantee = "none"
    default_tol = 1e300

    def accepts(self, problem):
        return None

    def solve(self, problem, controls):
        from threadpoolctl import threadpool_info

        self.seen = {p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"}
        return Answer(problem.previous, problem, 0)


@pytest.mark.parametrize(("said", "seen"), [(None, 1), ("1", 1), ("2", 2)])
def test_threads_inside_a_step(monkeypatch, said, seen):
    if said is None:
        monkeypatch.delenv(VARIABLE, raising=False)
    else:
        monkeypatch.setenv(VARIABLE, said)
    spy = _Spy()
    mu = jko.Histogram(np.arange(3.0)[:, None], np.full(3, 1 / 3))
    jko.step(mu, jko.Potential(lambda x: x[:, 0]), jko.Hellinger(), 0.1, solver=spy)
    # The environment may hold a pool to fewer threads, never to more.
    assert max(spy.seen) <= seen


def test_no_limit_and_a_bad_limit(monkeypatch):
    monkeypatch.setenv(VARIABLE, "0")
    assert blas_threads() is None
    monkeypatch.setenv(VARIABLE, "many")
    with pytest.raises(jko.InvalidArgument, match="JKO_BLAS_THREADS = 'many' must be"):
        blas_threads()
