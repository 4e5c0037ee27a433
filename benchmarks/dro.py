"""Worst cases over every set, n atoms in the plane: gap and time, beside CVXPY with Clarabel.

    python benchmarks/dro.py                 # n = 500
    python benchmarks/dro.py 200 500 1000 --no-peer

Loss sin(3 x_1) + x_2 on x ~ N(0, I), radius 0.1 (0.4 for Hellinger). Gaps are relative to |value|;
the peer solves the same ball as one conic program (transport with n^2 variables up to n = 100).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import jko

#: What `python -m benchmarks` passes: sizes fit for a minute.
QUICK = ["200", "--repeats", "1"]

KERNELS = {
    "MMD Gaussian": jko.kernels.Gaussian(0.7),
    "MMD Laplace": jko.kernels.Laplace(0.5),
    "MMD energy": jko.kernels.Energy(),
}
SETS: dict[str, tuple[Any, float]] = {
    "KL": (jko.Divergence(p=1), 0.1),
    "half chi^2": (jko.Divergence(p=2), 0.1),
    "phi_3": (jko.Divergence(p=3), 0.1),
    "reverse KL": (jko.Divergence(p=0), 0.1),
    "Hellinger": (jko.Hellinger(), 0.4),
    "Wasserstein": (jko.Wasserstein(), 0.1),
    **{name: (jko.MMD(kernel), 0.1) for name, kernel in KERNELS.items()},
}
#: Largest number of atoms the peer is asked for.
MOST = {"Wasserstein": 100}


def loss(x: np.ndarray) -> np.ndarray:
    return np.sin(3 * x[:, 0]) + x[:, 1]


def peer(name: str, x: np.ndarray, radius: float) -> float:
    """The value by one conic program."""
    import cvxpy as cp

    n, values = len(x), loss(x)
    u = cp.Variable(n, nonneg=True)  # weights times n
    constraints = [cp.sum(u) == n]
    if name == "KL":
        constraints.append(cp.sum(-cp.entr(u)) <= n * radius)
    elif name == "half chi^2":
        constraints.append(cp.sum_squares(u - 1) <= 2 * n * radius)
    elif name == "phi_3":
        constraints.append(cp.sum(cp.power(u, 3)) - n <= 6 * n * radius)
    elif name == "reverse KL":
        constraints.append(cp.sum(-cp.log(u)) <= n * radius)
    elif name == "Hellinger":
        constraints.append(8 - 8 * cp.sum(cp.sqrt(u)) / n <= radius**2)
    elif name == "Wasserstein":
        plan = cp.Variable((n, n), nonneg=True)
        cost = ((x[:, None] - x) ** 2).sum(axis=2)
        constraints += [cp.sum(plan, axis=1) == 1, cp.sum(plan, axis=0) == u]
        constraints.append(cp.sum(cp.multiply(cost, plan)) <= n * radius**2)
    else:
        root = jko.numerics.elementary.gram_root(KERNELS[name].positive_gram(x))
        constraints.append(cp.norm(root @ (u - 1)) <= n * radius)
    program = cp.Problem(cp.Maximize(values @ u / n), constraints)
    program.solve(solver="CLARABEL")
    return float(program.value)


def timed(call: Callable[[], Any], repeats: int) -> tuple[Any, float]:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        out = call()
        seconds.append(time.perf_counter() - start)
    return out, statistics.median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("n", type=int, nargs="*", default=[500])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-peer", action="store_true")
    args = parser.parse_args()
    print(
        "    n  set             value      relative gap  solves     seconds   peer: seconds, change"
    )
    for n in args.n:
        x = np.random.default_rng(0).normal(size=(n, 2))
        mu = jko.Particles(x)
        for name, (geometry, radius) in SETS.items():
            call = lambda m=mu, g=geometry, r=radius: jko.dro.worst_case(loss, m, g, radius=r)
            found, seconds = timed(call, args.repeats)
            line = (
                f"{n:5d}  {name:13s} {found.value:10.7f} {found.gap / abs(found.value):12.1e}"
                f" {found.iterations:10d} {seconds:11.3f}"
            )
            if not args.no_peer and n <= MOST.get(name, 1000):
                try:
                    value, took = timed(lambda s=name, z=x, r=radius: peer(s, z, r), 1)
                    line += f" {took:12.2f} {value - found.value:+9.1e}"
                except Exception as failure:
                    line += f"   peer failed: {type(failure).__name__}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
