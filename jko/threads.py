"""One BLAS pool at a time: NumPy's and SciPy's wheels each bring their own, and they fight.

On few cores, loops that alternate between the two pools slow down 25-100 times while both keep
their threads spinning. Steps therefore run with one BLAS thread, which also makes a resumed flow
bit-identical whatever the machine; set the environment variable JKO_BLAS_THREADS to change it.
Large kernel sums are then shared out between that many threads, outside of BLAS.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
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
    with _controller().limit(limits=1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        first, *others = pool.map(job, shares)
    for other in others:
        first += other
    return first


def limited() -> AbstractContextManager[Any]:
    """A context in which every loaded BLAS pool has `blas_threads()` threads."""
    threads = blas_threads()
    if threads is None:
        return nullcontext()
    limit: AbstractContextManager[Any] = _controller().limit(limits=threads, user_api="blas")
    return limit


@lru_cache(maxsize=1)
def _controller() -> Any:
    """The loaded pools: looking for them costs milliseconds, setting them microseconds."""
    import scipy.linalg  # noqa: F401 (its pool can only be limited once it is loaded)
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
