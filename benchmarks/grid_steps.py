"""Entropic steps on grids: accuracy against exact JKO steps, kernel applications, cost, memory.

1. Fokker-Planck, 512 x 512, tau = .05: L1 error against the exact step by tolerance and debiasing.
2. Formula W5 (porous medium) at the default settings of `auto`, of the entropic and of the
   back-and-forth solver: L1 against exact JKO steps and against the PDE over the whole flow.
3. Three dimensions and large grids: seconds and peak memory.
4. Heat, Ornstein-Uhlenbeck and a double well on the line: the plain and the debiased step at the
   same regularisations up to tau, against exact steps (formula W3; two numbers of quantiles for the
   double well).

Run: python benchmarks/grid_steps.py [--only fokker porous cost smooth] [--cells 256] [--m 2 4 6]
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
from scipy.special import ndtri

import jko
from jko import reference
from jko.solvers import BackAndForth, Entropic, Quantile

#: What `python -m benchmarks` passes: sizes fit for a minute.
QUICK = ["--only", "fokker", "porous", "--cells", "64", "--m", "2"]

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
    """The flow of formula W5."""
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


def quantile_step(energy: jko.Energy, tau: float, grid: jko.Grid, n: int) -> np.ndarray:
    """Cell masses of the step of n quantiles of N(.3, .6^2), an exact problem on the line (W9)."""
    levels = (np.arange(n) + 0.5) / n
    start = jko.Particles(0.3 + 0.6 * ndtri(levels)[:, None])
    moved = jko.step(start, energy, W, tau, solver=Quantile(curvature=-1.0)).measure.points[:, 0]
    edges = np.linspace(grid.lower[0], grid.upper[0], grid.size + 1)
    return np.diff(np.interp(edges, moved, levels, left=0.0, right=1.0))


def smooth(tau: float = 0.1, cells: int = 400) -> None:
    """Errors of plain and debiased steps, and their ratio."""
    grid = jko.Grid(-5.0, 5.0, cells)
    mu = averages([0.3], [0.6], grid)
    bowl = jko.Potential(lambda x: 0.5 * x[:, 0] ** 2)
    well = jko.Potential(
        lambda x: 0.25 * (x[:, 0] ** 2 - 1) ** 2, gradient=lambda x: x * (x**2 - 1)
    )
    moved = {k: reference.ou_step(0.3, 0.6, tau, stiffness=k) for k in (0.0, 1.0)}
    # Quantiles err by O(1/n): twice as many make the error known.
    rough, fine = (quantile_step(jko.Entropy() + well, tau, grid, n) for n in (2**19, 2**20))
    cases = {
        "heat": (jko.Entropy(), averages([moved[0.0][0]], [moved[0.0][1]], grid).weights),
        "Ornstein-Uhlenbeck": (
            jko.Entropy() + bowl,
            averages([moved[1.0][0]], [moved[1.0][1]], grid).weights,
        ),
        "double well": (jko.Entropy() + well, 2 * fine - rough),
    }
    print(f"Quantiles of the double well: L1 apart {np.abs(fine - rough).sum():.1e}")
    for name, (energy, exact) in cases.items():
        for reg in (tau, tau / 2, tau / 5):
            errors = []
            for debias in (False, True):
                out = jko.step(mu, energy, W, tau, solver=Entropic(reg, debias))
                errors.append(float(np.abs(out.measure.weights - exact).sum()))
            plain, debiased = errors
            print(
                f"{name} tau={tau:g} reg={reg:g}: plain {plain:.1e}, debiased {debiased:.1e},"
                f" ratio {plain / debiased:.0f}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=["fokker", "porous", "cost", "smooth"])
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
    if "smooth" in options.only:
        smooth()
    if "cost" in options.only:
        fokker_planck(3, 64, Entropic(), 1e-4)
        for cells in (128, 256, 512, 1024):
            fokker_planck(2, cells, Entropic(), 1e-4)


if __name__ == "__main__":
    main()
