"""Entropic steps on grids: accuracy against exact JKO steps, kernel applications, cost, memory.

1. Fokker-Planck, 512 x 512, tau = .05: L1 error against the exact step by tolerance and debiasing.
2. MATH W5 (porous medium) at the default settings of `auto`, of the entropic and of the
   back-and-forth solver: L1 against exact JKO steps and against the PDE over the whole flow.
3. Three dimensions and large grids: seconds and peak memory.

Run: python benchmarks/grid_steps.py [--only fokker porous cost] [--cells 256] [--m 2 4 6]
     [--tau 0.4 0.1] [--solver auto BackAndForth Entropic]
"""

from __future__ import annotations

import argparse
import resource
import time
from collections import Counter
from itertools import product
from math import erf

import numpy as np
from finite_volume import barenblatt

import jko
from jko import reference
from jko.solvers import BackAndForth, Entropic

W = jko.Wasserstein()
SOLVERS = {"auto": "auto", "BackAndForth": BackAndForth(), "Entropic": Entropic()}


def averages(mean: list[float], std: list[float], grid: jko.Grid) -> jko.GridDensity:
    """Exact cell masses of a Gaussian with independent coordinates."""
    weights = np.ones(())
    for m, s, low, up, n in zip(mean, std, grid.lower, grid.upper, grid.shape, strict=True):
        edges = np.linspace(low, up, n + 1)
        cdf = np.array([0.5 * (1 + erf((e - m) / (s * 2**0.5))) for e in edges])
        weights = np.multiply.outer(weights, np.diff(cdf))
    return jko.GridDensity(grid, weights / weights.sum())


def fokker_planck(dim: int, cells: int, solver: Entropic, tol: float, tau: float = 0.05) -> None:
    """One step of N((1.5, .5, 0), .25 I) towards N(0, I)."""
    grid = jko.Grid([-4.0] * dim, [4.0] * dim, [cells] * dim)
    mean, std = [1.5, 0.5, 0.0][:dim], [0.5] * dim
    mu, pi = averages(mean, std, grid), averages([0.0] * dim, [1.0] * dim, grid)
    moved = [reference.ou_step(m, s, tau) for m, s in zip(mean, std, strict=True)]
    exact = averages([m for m, _ in moved], [s for _, s in moved], grid)
    started = time.process_time()
    out = jko.step(mu, jko.KL(pi), W, tau, solver=solver, tol=tol, throw=False)
    spent = time.process_time() - started
    error = float(np.abs(out.measure.weights - exact.weights).sum())
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"Fokker-Planck {cells}^{dim} {solver.name:14s} reg {out.info['reg']:.3g} tol {tol:g}: L1"
        f" {error:.1e}, {out.info['kernel_applications']:.0f} kernel applications,"
        f" {spent:.2f} s, peak {memory:.2f} GB, gap {out.gap:.1e} {out.status.name}"
    )


def porous(name: str, m: float, cells: int, tau: float, t1: float = 2.0) -> None:
    """The flow of MATH W5."""
    solution = reference.Barenblatt(2, m, 0.5, 15.0, 1e-3)
    scale = solution.start
    mu = barenblatt(solution, scale, cells)
    rows, started, certified, used = [], time.process_time(), True, Counter()
    for k in range(1, round(t1 / tau) + 1):
        out = jko.step(mu, 1e-3 * jko.PorousMedium(m), W, tau, solver=SOLVERS[name], throw=False)
        used[out.solver] += 1
        mu, certified = out.measure, certified and out.success
        scale = solution.jko(scale, tau)
        exact = barenblatt(solution, scale, cells)
        pde = barenblatt(solution, solution.flow(solution.start, k * tau), cells)
        pairs = ((mu, exact), (mu, pde), (exact, pde))
        rows.append([float(np.abs(a.weights - b.weights).sum()) for a, b in pairs])
    each = (time.process_time() - started) / len(rows)
    mean, worst = np.mean(rows, axis=0), np.max(rows, axis=0)
    print(
        f"W5 {name} {dict(used)} m={m:g} {cells}^2 tau={tau:g}:"
        f" to exact JKO mean {mean[0]:.1e} max {worst[0]:.1e};"
        f" to the PDE mean {mean[1]:.4e}, exact JKO {mean[2]:.4e}, ratio {mean[1] / mean[2]:.4f};"
        f" {each:.1f} s a step, {'all certified' if certified else 'NOT all certified'}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=["fokker", "porous", "cost"])
    parser.add_argument("--cells", type=int, default=256)
    parser.add_argument("--m", nargs="+", type=float, default=[2.0, 4.0, 6.0])
    parser.add_argument("--solver", nargs="+", choices=SOLVERS, default=["auto"])
    parser.add_argument("--tau", nargs="+", type=float, default=[0.4, 0.1])
    options = parser.parse_args()
    if "fokker" in options.only:
        for solver in (Entropic(0.05), Entropic(0.02, "half"), Entropic(0.05, debias=False)):
            for tol in (1e-2, 1e-3, 1e-4, 1e-8):
                fokker_planck(2, 512, solver, tol)
    if "porous" in options.only:
        for m, tau, name in product(options.m, options.tau, options.solver):
            porous(name, m, options.cells, tau)
    if "cost" in options.only:
        fokker_planck(3, 64, Entropic(), 1e-4)
        for cells in (128, 256, 512, 1024):
            fokker_planck(2, cells, Entropic(), 1e-4)


if __name__ == "__main__":
    main()
