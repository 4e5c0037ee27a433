"""Steps run with one BLAS thread, unless the user says otherwise."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import jko
from jko.kernels import pairwise
from jko.prox.stated import Answer
from jko.threads import _LIMITS, VARIABLE, blas_threads, limited, shared_out


class _Spy(jko.solvers.ProxSolver):
    guarantee = "none"
    default_tol = 1e300

    def accepts(self, problem):
        return None

    def solve(self, problem, controls):
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


def test_sums_are_shared_out(monkeypatch):
    """Two threads: the same sum, the same bits again, and one BLAS thread meanwhile."""
    monkeypatch.setattr(pairwise, "SHARED_PAIRS", 0)
    rng = np.random.default_rng(0)
    x, y, v = rng.normal(size=(1000, 5)), rng.normal(size=(700, 5)), rng.normal(size=700)
    kernel = jko.kernels.Matern(1.3)
    sums = {}
    for said in ("1", "2", "2", "3"):
        monkeypatch.setenv(VARIABLE, said)
        found = (
            kernel.apply(x, y, v),
            kernel.gradient_apply(x, y, v),
            kernel.apply(x, x, x[:, 0]),
            kernel.gradient_apply(x, x, x[:, 0]),
            jko.kernels.Laplace().gradient_apply(x, x, x[:, 0]),
        )
        for a, b, c in zip(found, sums.get("1", found), sums.get(said, found), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
            assert np.array_equal(a, c)
        sums[said] = found

    def seen(share):
        pools = [p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"]
        return np.array([float(max(pools)), len(share)])

    assert shared_out(seen, range(7)).tolist() == [3.0, 7.0]


def test_an_error_in_a_share_comes_out(monkeypatch):
    monkeypatch.setenv(VARIABLE, "2")
    with pytest.raises(ZeroDivisionError):
        shared_out(lambda share: 1 / (len(share) - 3), range(7))


def pools():
    """Threads of every BLAS pool."""
    return [p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"]


@pytest.fixture
def two_threads():
    """Pools of two threads where the machine allows it."""
    with threadpool_limits(2, "blas"):
        yield pools()


def test_steps_from_several_threads_give_the_pools_back(two_threads, monkeypatch):
    """The first one in remembers what the pools had, the last one out gives it back."""
    monkeypatch.setenv(VARIABLE, "1")
    gate, seen = threading.Barrier(4), []

    def inside(_):
        for _ in range(50):
            with limited():
                gate.wait()  # all four are inside
                seen.append(max(pools()))
                gate.wait()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(inside, range(4)))
    assert set(seen) == {1}
    assert pools() == two_threads


def test_limits_may_overlap(two_threads):
    """The smallest limit holds while it lasts; what one leaves, the others keep."""
    first, second = _LIMITS.at_most(2), _LIMITS.at_most(1)
    first.__enter__()
    second.__enter__()
    assert max(pools()) == 1
    first.__exit__(None, None, None)
    assert max(pools()) == 1
    second.__exit__(None, None, None)
    assert pools() == two_threads


def test_an_error_inside_gives_the_pools_back(two_threads):
    with pytest.raises(ZeroDivisionError), limited():
        raise ZeroDivisionError
    assert pools() == two_threads


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")  # where JAX is installed
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_forked_child_is_not_held_by_threads_it_left_behind(two_threads):
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with limited():
            inside.set()
            leave.wait(60)

    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(hold)
        inside.wait(60)
        child = os.fork()
        if child == 0:  # nothing of pytest may run here
            os._exit(0 if pools() == two_threads else 1)
        status = os.waitpid(child, 0)[1]
        leave.set()
        job.result()
    assert os.waitstatus_to_exitcode(status) == 0
    assert pools() == two_threads
