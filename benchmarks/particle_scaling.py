"""One explicit step of weighted particles, from a thousand to a million of them.

    python benchmarks/particle_scaling.py                 # 2-D, h = .3, tol 1e-8, n up to 1e6
    python benchmarks/particle_scaling.py --backend grid  # without finufft

A full step: transport by Armijo's rule, then projected weights, each judged by the energy;
particles and target have n atoms each. Seconds are the least of three steps, memory the peak of the
process over what it held before. benchmarks/exact_sums.py measures sums beyond three dimensions.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys

import numpy as np

import jko
from jko.kernels import FastSums, Gaussian

#: What `python -m benchmarks` passes: sizes fit for a minute.
QUICK = ["1e3", "1e4", "1e5"]


def memory() -> float:
    """Peak memory of the process, GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def step(n: int, backend: str, tol: float, bandwidth: float) -> tuple[float, float]:
    """Least seconds of three full steps in 2-D, and GB over those of the imports."""
    rng = np.random.default_rng(0)
    kernel, sums = Gaussian(bandwidth), FastSums(tol, backend=backend)
    few = jko.Particles(rng.standard_normal((50, 2)))
    jko.match(few, few, kernel, steps=1, sums=sums)  # imports
    before = memory()
    mu = jko.Particles(rng.standard_normal((n, 2)) + np.array([2.0, 1.0]))
    pi = jko.Particles(rng.standard_normal((n, 2)))
    sol = jko.match(mu, pi, kernel, steps=3, sums=sums, save="last")
    assert sol.success
    return min(sum(s.seconds for s in k.substeps) for k in sol.steps), memory() - before


def alone(*arguments: object) -> tuple[float, float]:
    """One measurement in a process of its own, for its memory."""
    command = [sys.executable, __file__, "--one", *map(str, arguments)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    seconds, gigabytes = map(float, text.split())
    return seconds, gigabytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sizes", nargs="*", type=float, default=[1e3, 1e4, 1e5, 1e6])
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--tol", type=float, default=1e-8)
    parser.add_argument("--bandwidth", type=float, default=0.3)
    chosen = parser.parse_args()
    print(f"{'n':>9}{'seconds':>10}{'GB':>8}{'slope':>8}")
    last: tuple[float, float] | None = None
    for n in map(int, chosen.sizes):
        seconds, gigabytes = alone(n, chosen.backend, chosen.tol, chosen.bandwidth)
        slope = "" if last is None else f"{np.log(seconds / last[1]) / np.log(n / last[0]):8.2f}"
        print(f"{n:9d}{seconds:10.3f}{gigabytes:8.2f}{slope}", flush=True)
        last = n, seconds


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        n, backend, tol, bandwidth = sys.argv[2:]
        print(*step(int(n), backend, float(tol), float(bandwidth)))
    else:
        main()
