"""One BLAS pool at a time: NumPy's and SciPy's wheels each bring their own.

On few cores, loops that alternate between the two pools slow down 25-100 times while both keep
their threads spinning. Steps therefore run with one BLAS thread, which also makes a resumed flow
bit-identical whatever the machine; set the environment variable JKO_BLAS_THREADS to change it.
Large kernel sums are then shared out between that many threads, outside of BLAS.

Most pools belong to the process, not to a thread. Steps that run at once from several threads
therefore count: the first one in remembers what the pools had, the last one out gives it back. A
pool under OpenMP belongs to the thread that calls it, which gives it back by itself.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from typing import Any, TypeVar

from jko.errors import InvalidArgument
from jko.validation import Array

T = TypeVar("T")

VARIABLE = "JKO_BLAS_THREADS"


def blas_threads() -> int | None:
    """Threads a step may use: 1, or what JKO_BLAS_THREADS says; None ("0") leaves them alone."""
    text = os.environ.get(VARIABLE, "1")
    if not text.isdigit():
        raise InvalidArgument(f"{VARIABLE} = {text!r} must be a whole number; 0 sets no limit")
    return int(text) or None


def shared_out(job: Callable[[Sequence[T]], Array], pieces: Sequence[T]) -> Array:
    """The sum of job(share) over shares of the pieces, one for each thread a step may use.

    Threads over large pieces lose less than BLAS does inside small products, above all on a busy
    machine; BLAS keeps to one thread meanwhile. Shares are fixed and added in order: the same
    bits for the same number of threads.
    """
    threads = blas_threads() or os.cpu_count() or 1
    if threads == 1:
        return job(pieces)
    shares = [pieces[k::threads] for k in range(threads)]

    def alone(share: Sequence[T]) -> Array:
        with _LIMITS.at_most(1):
            return job(share)

    from concurrent.futures import ThreadPoolExecutor  # brings logging and queues along

    with _LIMITS.at_most(1), ThreadPoolExecutor(threads) as pool:
        first, *others = pool.map(alone, shares)
    for other in others:
        first += other
    return first


def limited() -> AbstractContextManager[None]:
    """A context in which every loaded BLAS pool has at most `blas_threads()` threads.

    Any number of threads may be inside at once: the smallest limit asked for holds, and the pools
    get back what they had when the last one leaves.
    """
    threads = blas_threads()
    return nullcontext() if threads is None else _LIMITS.at_most(threads)


class _CountedLimits:
    """The limits in force, each held by a context that some thread is inside of."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active: list[tuple[int, int]] = []  # thread, limit
        self._before: list[tuple[Any, int]] = []

    @contextmanager
    def at_most(self, threads: int) -> Iterator[None]:
        """Hold every pool to `threads` until the context is left."""
        held = threading.get_ident(), threads
        own = [(pool, pool.get_num_threads()) for pool in _pools() if _per_thread(pool)]
        with self._lock:
            if not self._active:
                shared = (pool for pool in _pools() if not _per_thread(pool))
                self._before = [(pool, pool.get_num_threads()) for pool in shared]
            self._active.append(held)
            self._apply()
        for pool, _ in own:
            pool.set_num_threads(threads)
        try:
            yield
        finally:
            for pool, before in own:
                pool.set_num_threads(before)
            with self._lock:
                self._active.remove(held)
                self._apply()

    def _apply(self) -> None:
        """The smallest active limit, or what the pools had before the first one."""
        limit = min((threads for _, threads in self._active), default=None)
        for pool, before in self._before:
            _set(pool, before if limit is None else limit)

    def after_fork(self) -> None:
        """In a forked child only the thread that forked is left, and perhaps inside."""
        self._lock = threading.Lock()
        here = threading.get_ident()
        self._active = [held for held in self._active if held[0] == here]
        self._apply()


_LIMITS = _CountedLimits()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_LIMITS.after_fork)


def _per_thread(pool: Any) -> bool:
    """Whether every thread has a limit of its own in this pool."""
    return bool(getattr(pool, "threading_layer", None) == "openmp")


def _set(pool: Any, threads: int) -> None:
    """Set a pool of the process, whichever thread asks.

    threadpoolctl 3.8 lets one thread alone set such pools and ignores all others in silence; here
    a lock keeps order, so whoever holds it takes over and lets go again.
    """
    release = getattr(type(pool), "clear_controlling_thread", None)
    if release is None:
        pool.set_num_threads(threads)
        return
    release(force=True)
    pool.set_num_threads(threads)
    release(force=True)


@lru_cache(maxsize=1)
def _pools() -> tuple[Any, ...]:
    """The loaded BLAS pools: looking for them costs milliseconds, setting them microseconds."""
    import scipy.linalg  # noqa: F401 (its pool can only be limited once it is loaded)
    from threadpoolctl import ThreadpoolController

    return tuple(ThreadpoolController().select(user_api="blas").lib_controllers)
