"""Entropic Wasserstein steps: accuracy and cost of one Fokker-Planck step, beside POT.

One step of length .05 of KL(. | N(0, I)) from N((1.5, .5), .25 I) on [-4, 4]^2. The exact step is
the Gaussian of formula W3; the error is the L1 distance to it, sampled on the same cells.

Run: python benchmarks/entropic_step.py [--cells 512] [--pot-cells 64]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

import jko
from jko import ProxProblem
from jko.solvers import Controls, Entropic

#: What `python -m benchmarks` passes: sizes fit for a minute.
QUICK = ["--cells", "128", "--pot-cells", "32"]

TAU, MEAN, STD = 0.05, np.array([1.5, 0.5]), 0.5


def gaussian(grid: jko.Grid, mean: np.ndarray, std: float) -> jko.GridDensity:
    return jko.GridDensity.from_function(
        lambda x: np.exp(-((x - mean) ** 2).sum(axis=1) / (2 * std**2)), grid, mass=1.0
    )


def setting(cells: int) -> tuple[ProxProblem, jko.GridDensity]:
    """The step and its exact answer."""
    grid = jko.Grid([-4, -4], [4, 4], [cells, cells])
    std = (STD + np.sqrt(STD**2 + 4 * TAU * (1 + TAU))) / (2 * (1 + TAU))
    target = jko.Gaussian([0.0, 0.0], np.eye(2))
    problem = ProxProblem(jko.KL(target), jko.Wasserstein(), gaussian(grid, MEAN, STD), TAU)
    return problem, gaussian(grid, MEAN / (1 + TAU), std)


@cache
def product_time(cells: int) -> float:
    """CPU seconds of a pair of dense products of this size, the median of nine."""
    rng, seconds = np.random.default_rng(0), []
    kernel, values = rng.random((2, cells, cells))
    for _ in range(9):
        started = time.process_time()
        (kernel @ values) @ kernel
        seconds.append(time.process_time() - started)
    return float(np.median(seconds))


def measure(cells: int, solver: Entropic, tol: float) -> None:
    problem, exact = setting(cells)
    started = time.process_time()
    answer = solver.solve(problem, Controls(tol=tol))
    gap = answer.problem.certificate(answer).gap
    seconds = time.process_time() - started
    error = np.abs(answer.measure.weights - exact.weights).sum()
    products = answer.info["products"].get(f"{cells}x{cells}", 0)
    bias = "    none" if answer.bias is None else f"{answer.bias:.1e}"
    print(
        f"{cells:4d}^2  {'debiased' if solver.debias else 'plain   '}  eps {answer.info['reg']:.4f}"
        f"  tol {tol:.0e}  {products:3d} products of the grid  {answer.iterations:3d} iterations"
        f"  {seconds:7.3f} CPU s = {seconds / product_time(cells):5.1f} product times"
        f"  L1 error {error:.2e}  gap {gap:.1e}  bias {bias}"
    )


def fastest(run: Callable[[], Any], times: int = 3) -> tuple[float, Any]:
    """Least seconds of some runs, with the last result."""
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        result = run()
        seconds.append(time.perf_counter() - started)
    return min(seconds), result


def beside_pot(cells: int, eps: float = 0.05) -> None:
    """Our plain scaling and POT's dense semi-relaxed solver on the same cells."""
    import ot

    problem, _ = setting(cells)
    mu = problem.discrete
    target = np.exp(-(mu.points**2).sum(axis=1) / 2) / (2 * np.pi) * mu.grid.cell_volume

    def pot() -> np.ndarray:
        cost = ot.dist(mu.points, mu.points)
        return ot.unbalanced.sinkhorn_unbalanced(
            mu.weights,
            target,
            cost,
            eps,
            (np.inf, 2 * TAU),
            reg_type="kl",
            c=np.ones_like(cost),
            numItermax=1000,
            stopThr=1e-7,
        )

    seconds = []
    for bound in (True, False):
        solver = Entropic(reg=eps, debias=False, bound=bound)
        fresh = iter([setting(cells)[0] for _ in range(4)])  # problems remember their energy's form
        solver.solve(next(fresh), Controls(tol=1e-8))  # compiled code is loaded here
        ours, answer = fastest(lambda s=solver, f=fresh: s.solve(next(f), Controls(tol=1e-8)))
        seconds.append(ours)
    theirs, plan = fastest(pot)
    apart = np.abs(plan.sum(axis=0) - answer.measure.weights).sum()
    print(
        f"{cells:4d}^2  plain, eps {eps}: ours {ours:.4f} s (with the bound of the bias"
        f" {seconds[0]:.4f} s), POT dense {theirs:.2f} s, ratio {theirs / ours:.0f},"
        f" L1 apart {apart:.1e}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=512)
    parser.add_argument("--pot-cells", type=int, default=64)
    arguments = parser.parse_args()
    for eps in (0.05, 0.02, None):
        for tol in (1e-5, 1e-8):
            measure(arguments.cells, Entropic(reg=eps), tol)
    measure(arguments.cells, Entropic(bound=False), 1e-8)
    measure(arguments.cells, Entropic(reg=0.05, debias=False), 1e-8)
    measure(arguments.cells, Entropic(debias=False), 1e-8)
    beside_pot(arguments.pot_cells)


if __name__ == "__main__":
    main()
