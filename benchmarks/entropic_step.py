"""Entropic Wasserstein steps: accuracy and cost of one Fokker-Planck step, beside POT.

One step of length .05 of KL(. | N(0, I)) from N((1.5, .5), .25 I) on [-4, 4]^2, or the like on a
cube. The exact step is the Gaussian of formula W3; the error is the L1 distance to it, sampled on
the same cells. A product time is what dense products along every axis of the grid take in the same
run; "its products" are those of all grids, each at its own product time. Seconds are the
processor's.

Run: python benchmarks/entropic_step.py [--cells 512] [--cube 64] [--pot-cells 64]
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
from jko.solvers import Answer, Controls, Entropic

#: What `python -m benchmarks` passes: sizes fit for a minute.
QUICK = ["--cells", "128", "--cube", "32", "--pot-cells", "32"]

TAU, MEAN, STD = 0.05, np.array([1.5, 0.5, -0.5]), 0.5


def gaussian(grid: jko.Grid, mean: np.ndarray, std: float) -> jko.GridDensity:
    return jko.GridDensity.from_function(
        lambda x: np.exp(-((x - mean) ** 2).sum(axis=1) / (2 * std**2)), grid, mass=1.0
    )


def setting(cells: int, dim: int = 2) -> tuple[ProxProblem, jko.GridDensity]:
    """The step and its exact answer."""
    grid, mean = jko.Grid([-4] * dim, [4] * dim, [cells] * dim), MEAN[:dim]
    std = (STD + np.sqrt(STD**2 + 4 * TAU * (1 + TAU))) / (2 * (1 + TAU))
    target = jko.Gaussian(np.zeros(dim), np.eye(dim))
    problem = ProxProblem(jko.KL(target), jko.Wasserstein(), gaussian(grid, mean, STD), TAU)
    return problem, gaussian(grid, mean / (1 + TAU), std)


@cache
def product_time(cells: int, dim: int = 2) -> float:
    """CPU seconds of dense products along every axis, the median of nine."""
    rng, seconds = np.random.default_rng(0), []
    kernel, values = rng.random((cells, cells)), rng.random((cells, cells ** (dim - 1)))
    often = max(1, 10**6 // values.size)
    for _ in range(9):
        started = time.process_time()
        for _ in range(often):
            for _ in range(dim):
                values = np.matmul(values.reshape(cells, -1).T, kernel)
            values *= 1 / values.max()
        seconds.append((time.process_time() - started) / often)
    return float(np.median(seconds))


def measure(cells: int, solver: Entropic, tol: float, dim: int = 2) -> None:
    _, exact = setting(cells, dim)
    fresh = iter([setting(cells, dim)[0] for _ in range(3)])

    def solved() -> tuple[Answer, float | None]:
        answer = solver.solve(next(fresh), Controls(tol=tol))
        return answer, answer.problem.certificate(answer).gap

    seconds, (answer, gap) = fastest(solved, 3)
    error = np.abs(answer.measure.weights - exact.weights).sum()
    counts = {int(name.split("x")[0]): k for name, k in answer.info["products"].items()}
    dense = sum(k * product_time(n, dim) for n, k in counts.items())
    bias = "    none" if answer.bias is None else f"{answer.bias:.1e}"
    print(
        f"{cells:4d}^{dim}  {'debiased' if solver.debias else 'plain   '}"
        f"  eps {answer.info['reg']:.4f}"
        f"  tol {tol:.0e}  {counts[cells]:3d} products of the grid"
        f"  {answer.iterations:3d} iterations"
        f"  {seconds:7.3f} CPU s = {seconds / product_time(cells, dim):5.1f} product times"
        f" = {seconds / dense:4.2f} times its products"
        f"  L1 error {error:.2e}  gap {gap:.1e}  bias {bias}"
    )


def fastest(run: Callable[[], Any], times: int) -> tuple[float, Any]:
    """Least CPU seconds of some runs, with the last result."""
    seconds = []
    for _ in range(times):
        started = time.process_time()
        result = run()
        seconds.append(time.process_time() - started)
    return min(seconds), result


def beside_pot(cells: int, eps: float = 0.05) -> None:
    """Our plain scaling and POT's dense semi-relaxed solver on the same cells.

    With these tolerances both are 1e-8 to 2e-8 from the limit on 64^2 cells, in L1.
    """
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
            stopThr=1e-8,
        )

    seconds = []
    for bound in (True, False):
        solver = Entropic(reg=eps, debias=False, bound=bound)
        # Problems remember their energy's form: every run gets its own.
        fresh = iter([setting(cells)[0] for _ in range(11)])
        solver.solve(next(fresh), Controls(tol=1e-10))  # compiled code is loaded here
        ours, answer = fastest(lambda s=solver, f=fresh: s.solve(next(f), Controls(tol=1e-10)), 10)
        seconds.append(ours)
    theirs, plan = fastest(pot, 3)
    sharp = Entropic(reg=eps, debias=False, bound=False).solve(problem, Controls(tol=1e-14))
    limit = sharp.measure.weights
    apart = [np.abs(w - limit).sum() for w in (answer.measure.weights, plan.sum(axis=0))]
    print(
        f"{cells:4d}^2  plain, eps {eps}: ours {1e3 * ours:.2f} ms, {apart[0]:.1e} from the limit"
        f" (with the bound of the bias {1e3 * seconds[0]:.1f} ms); POT dense {theirs:.2f} s,"
        f" {apart[1]:.1e} from the limit; ratio {theirs / ours:.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=512)
    parser.add_argument("--cube", type=int, default=64)
    parser.add_argument("--pot-cells", type=int, default=64)
    arguments = parser.parse_args()
    for eps in (0.05, 0.02, None):
        for tol in (1e-5, 1e-8):
            measure(arguments.cells, Entropic(reg=eps), tol)
    measure(arguments.cells, Entropic(bound=False), 1e-8)
    measure(arguments.cells, Entropic(reg=0.05, debias=False), 1e-8)
    measure(arguments.cells, Entropic(debias=False), 1e-8)
    for bound in (True, False):
        measure(arguments.cube, Entropic(bound=bound), 1e-8, dim=3)
    beside_pot(arguments.pot_cells)


if __name__ == "__main__":
    main()
