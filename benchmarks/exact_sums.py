"""Exact kernel sums in high dimension: jko beside PyTorch, float64, two threads.

    python benchmarks/exact_sums.py                    # n = 1e4, d = 100
    python benchmarks/exact_sums.py --n 3000 --dim 20

The rivals need PyTorch: pip install torch (the build for processors is enough); without it their
rows are left out. Every row computes the same: sums of a Gaussian kernel over the pairs XX and XY,
and their gradients at X. "torch, cdist" is what most people write, exp(-cdist^2) and autograd;
"torch, blocked" is what an expert writes by hand: rows in blocks, one product for the distances,
gradient by formula, each exponential used twice. Seconds are the least of five, each row in a
process of its own, since two thread pools in one process fight.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np

#: What `python -m benchmarks` passes: sizes fit for a minute.
QUICK = ["--n", "2000", "--dim", "20"]

Array = np.ndarray
#: value of 1/2 mean XX - mean XY, and its gradient times n.
Figures = tuple[float, Array]


def clouds(n: int, dim: int) -> tuple[Array, Array, float]:
    """Particles, target and bandwidth."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, dim)), rng.standard_normal((n, dim)) + 0.1, dim**0.5


def ours(x: Array, y: Array, h: float) -> Callable[[], Figures]:
    """jko's blocked sums."""
    import jko

    kernel, w = jko.kernels.Gaussian(h), np.full(len(x), 1 / len(x))

    def run() -> Figures:
        value = 0.5 * w @ kernel.apply(x, x, w) - w @ kernel.apply(x, y, w)
        return float(value), kernel.gradient_apply(x, x, w) - kernel.gradient_apply(x, y, w)

    return run


def energy(x: Array, y: Array, h: float) -> Callable[[], Figures]:
    """What a step asks for: the MMD energy, with YY and all common digits, and its gradient."""
    import jko

    target = jko.Particles(y)

    def run() -> Figures:
        # New objects, so that nothing is remembered.
        mu, half = jko.Particles(x), jko.MMDEnergy(target, jko.kernels.Gaussian(h))
        return half.value(mu), half.wasserstein_gradient(mu)

    return run


def torch_cdist(x: Array, y: Array, h: float) -> Callable[[], Figures]:
    """Whole matrices and automatic differentiation."""
    import torch

    a, b = torch.from_numpy(x), torch.from_numpy(y)

    def run() -> Figures:
        p = a.clone().requires_grad_(True)
        within = torch.exp(-(torch.cdist(p, p) ** 2) / (2 * h * h)).mean()
        across = torch.exp(-(torch.cdist(p, b) ** 2) / (2 * h * h)).mean()
        value = 0.5 * within - across
        value.backward()
        return float(value.detach()), (p.grad * len(x)).numpy()

    return run


def torch_blocked(x: Array, y: Array, h: float) -> Callable[[], Figures]:
    """Blocks of 1000 rows by hand: no slower than 500 or 2000 where it was tried."""
    import torch

    a, b = torch.from_numpy(x), torch.from_numpy(y)
    n, rate = len(x), -1 / (2 * h * h)
    aa, bb = (a * a).sum(1), (b * b).sum(1)

    def part(rows: slice, cloud: torch.Tensor, squares: torch.Tensor) -> tuple:
        square = torch.addmm(squares[None] + aa[rows, None], a[rows], cloud.T, alpha=-2.0)
        k = square.clamp_(min=0).mul_(rate).exp_()
        total = k.sum(1)
        return total.sum(), (k @ cloud - a[rows] * total[:, None]) / (h * h * n)

    def run() -> Figures:
        value, slope = 0.0, torch.empty_like(a)
        with torch.no_grad():
            for i in range(0, n, 1000):
                rows = slice(i, i + 1000)
                within, pull = part(rows, a, aa)
                across, push = part(rows, b, bb)
                value += float(0.5 * within - across)
                slope[rows] = pull - push
        return value / n**2, slope.numpy()

    return run


ROWS: dict[str, tuple[str, Callable[..., Callable[[], Figures]]]] = {
    "jko": ("jko", ours),
    "energy": ("jko, energy with YY too", energy),
    "blocked": ("torch, blocked by hand", torch_blocked),
    "cdist": ("torch, cdist + autograd", torch_cdist),
}


def measure(row: str, n: int, dim: int) -> None:
    """Print seconds, processor seconds, GB, value and a checksum of the gradient."""
    x, y, h = clouds(n, dim)
    job, best, cpu = ROWS[row][1](x, y, h), np.inf, np.inf
    for _ in range(5):
        began, used = time.perf_counter(), time.process_time()
        value, slope = job()
        best = min(best, time.perf_counter() - began)
        cpu = min(cpu, time.process_time() - used)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    check = float(np.abs(slope).sum())
    print(best, cpu, peak, value, check)


def alone(row: str, n: int, dim: int, threads: int) -> list[float]:
    """One row in a process of its own."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "JKO_BLAS_THREADS")
    command = [sys.executable, __file__, "--one", row, "--n", str(n), "--dim", str(dim)]
    surroundings = os.environ | dict.fromkeys(names, str(threads))
    text = subprocess.run(command, check=True, capture_output=True, text=True, env=surroundings)
    return [float(v) for v in text.stdout.split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--dim", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        measure(chosen.one, chosen.n, chosen.dim)
        return
    rows = list(ROWS) if find_spec("torch") else ["jko", "energy"]
    if len(rows) == 2:
        print("PyTorch is not installed: pip install torch adds the rows of the rivals")
    print(f"n = {chosen.n}, d = {chosen.dim}, {chosen.threads} threads, float64")
    print(f"{'':26}{'seconds':>9}{'cpu':>7}{'GB':>7}{'times jko':>11}")
    figures = {row: alone(row, chosen.n, chosen.dim, chosen.threads) for row in rows}
    for row, (seconds, cpu, peak, value, check) in figures.items():
        ratio = seconds / figures["jko"][0]
        print(f"{ROWS[row][0]:26}{seconds:9.2f}{cpu:7.2f}{peak:7.2f}{ratio:11.2f}")
        assert abs(check / figures["jko"][4] - 1) < 1e-9, "a row computes another gradient"
        assert row == "energy" or abs(value / figures["jko"][3] - 1) < 1e-9


if __name__ == "__main__":
    main()
