"""One BLAS pool at a time: NumPy's and SciPy's wheels each bring their own, and they fight.

On few cores, loops that alternate between the two pools slow down 25-100 times while both keep
their threads spinning. Steps therefore run with one BLAS thread, which also makes a resumed flow
bit-identical whatever the machine; set the environment variable JKO_BLAS_THREADS to change it.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any

from jko.errors import InvalidArgument

VARIABLE = "JKO_BLAS_THREADS"


def blas_threads() -> int | None:
    """Threads a step may use: 1, or what JKO_BLAS_THREADS says; None ("0") leaves them alone."""
    text = os.environ.get(VARIABLE, "1")
    if not text.isdigit():
        raise InvalidArgument(f"{VARIABLE} = {text!r} must be a whole number; 0 sets no limit")
    return int(text) or None


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
