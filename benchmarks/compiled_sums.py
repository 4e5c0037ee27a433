"""Exact kernel sums: loops compiled by numba beside the blocks of NumPy, on one thread.

    OPENBLAS_NUM_THREADS=1 python benchmarks/compiled_sums.py     # needs the extra `fast`
    OPENBLAS_NUM_THREADS=1 python benchmarks/compiled_sums.py --n 3000 --dims 2 10

Nanoseconds a pair of points, processor time, least of three: NumPy / numba and their ratio, for the
sum over pairs of one cloud (XX), of two (XY), and the gradients. `jko.kernels.radial` takes its
thresholds from this table.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from jko.kernels import Energy, Gaussian, InverseMultiquadric, Laplace, Matern, radial

#: What `python -m benchmarks` passes: sizes fit for a minute.
QUICK = ["--n", "2000", "--dims", "2", "10"]


def nanoseconds(job: Callable[[], object], pairs: int) -> float:
    """Least processor time of three runs, after one to compile."""
    job()
    best = np.inf
    for _ in range(3):
        began = time.process_time()
        job()
        best = min(best, time.process_time() - began)
    return 1e9 * best / pairs


def both(job: Callable[[], object], pairs: int) -> str:
    """NumPy, numba, and how many times faster numba is."""
    usual = radial.COMPILED_DIMENSION, radial.OTHERS_DIMENSION, radial.COMPILED_PAIRS
    found = []
    for least in (10**18, 0):
        radial.COMPILED_DIMENSION, radial.OTHERS_DIMENSION, radial.COMPILED_PAIRS = {}, 1000, least
        found.append(nanoseconds(job, pairs))
    radial.COMPILED_DIMENSION, radial.OTHERS_DIMENSION, radial.COMPILED_PAIRS = usual
    return f"{found[0]:7.2f}/{found[1]:5.2f} ={found[0] / found[1]:5.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n", type=int, default=6000)
    parser.add_argument("--dims", type=int, nargs="+", default=[1, 2, 3, 5, 10, 20, 30])
    chosen = parser.parse_args()
    print(f"{'d':>3} {'kernel':22}{'XX':>20}{'XY':>20}{'gradient XX':>20}{'gradient XY':>20}")
    for d in chosen.dims:
        rng, h, n = np.random.default_rng(0), d**0.5, chosen.n
        x, y, v = rng.normal(size=(n, d)), rng.normal(size=(n, d)) + 0.1, np.full(n, 1 / n)
        kernels = (Gaussian(h), Laplace(h), Matern(h), InverseMultiquadric(h), Energy())
        for k in kernels:
            jobs = [partial(f, x, b, v) for f in (k.apply, k.gradient_apply) for b in (x, y)]
            row = "".join(both(job, n * n) for job in jobs)
            print(f"{d:3d} {type(k).__name__:22}{row}", flush=True)


if __name__ == "__main__":
    main()
