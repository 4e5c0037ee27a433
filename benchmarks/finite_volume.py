"""Finite-volume steps: accuracy against exact flows, and cost per cell.

1. The benchmark of MATH W5 (mass .5, peak 15, g = 1e-3) on [-1/2, 1/2]^2: L1 distance to the PDE's
   Barenblatt solution, as exact cell averages, along a flow of short steps.
2. One step against the exact Wasserstein step, beside the debiased entropic one, as tau falls.
3. Seconds per step against the number of cells, and the exponent.

Run: python benchmarks/finite_volume.py [--cells 256] [--tau 1e-3] [--t1 2.0] [--m 2 4 6]
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import jko
from jko import reference
from jko.solvers import Entropic, FiniteVolume

W = jko.Wasserstein()
BOX = ([-0.5, -0.5], [0.5, 0.5])


def barenblatt(solution: reference.Barenblatt, scale: float, cells: int, parts: int = 8):
    """Cell averages by `parts`^2 points a cell, normalised to the exact mass."""
    fine = jko.Grid(*BOX, [cells * parts] * 2)
    density = solution.density(fine.points, scale).reshape(cells, parts, cells, parts)
    grid = jko.Grid(*BOX, [cells, cells])
    return jko.GridDensity.from_density(density.mean(axis=(1, 3)), grid, mass=solution.mass)


def flow(m: float, cells: int, tau: float, t1: float) -> None:
    """Error against the PDE at five times."""
    solution = reference.Barenblatt(2, m, 0.5, 15.0, 1e-3)
    mu = barenblatt(solution, solution.start, cells)
    energy, solver = 1e-3 * jko.PorousMedium(m), FiniteVolume()
    steps, errors = round(t1 / tau), []
    started = time.perf_counter()
    for k in range(1, steps + 1):
        result = jko.step(mu, energy, W, tau, solver=solver)
        mu = result.measure
        if k % max(1, steps // 5) == 0:
            exact = barenblatt(solution, solution.flow(solution.start, k * tau), cells)
            errors.append(float(np.abs(mu.weights - exact.weights).sum()))
    each = (time.perf_counter() - started) / steps
    shown = "  ".join(f"{e:.2e}" for e in errors)
    print(f"W5 m={m:g} {cells}^2 tau={tau:g}: L1 to the PDE {shown}   {each:.3f} s a step")


def single(m: float, cells: int) -> None:
    """One step from a late time against the exact Wasserstein step (a dilation)."""
    solution = reference.Barenblatt(2, m, 0.5, 15.0, 1e-3)
    scale = solution.flow(solution.start, 1.0)
    mu, energy = barenblatt(solution, scale, cells), 1e-3 * jko.PorousMedium(m)
    for tau in (0.1, 0.01, 1e-3):
        exact = barenblatt(solution, solution.jko(scale, tau), cells)
        line = f"one step m={m:g} {cells}^2 tau={tau:g}:"
        for solver in (FiniteVolume(), Entropic()):
            result = jko.step(mu, energy, W, tau, solver=solver, throw=False)
            error = float(np.abs(result.measure.weights - exact.weights).sum())
            line += f"  {solver.name} {error:.2e} in {result.seconds:.2f} s"
            if solver.name == "FiniteVolume":
                line += f" (q = {result.info['model_error']:.1e})"
            line += "" if result.success else " NOT certified"
        print(line)


def cost(tau: float) -> None:
    """Seconds of one step against cells, in two and three dimensions."""
    for name, dim, sizes in (("2-D", 2, (128, 256, 512, 1024)), ("3-D", 3, (16, 32, 64))):
        for energy in (jko.Entropy(), 0.1 * jko.PorousMedium(4.0)):
            seconds = []
            for n in sizes:
                grid = jko.Grid([-1.0] * dim, [1.0] * dim, [n] * dim)
                mu = jko.GridDensity.from_function(
                    lambda x: np.maximum(0.5 - (x**2).sum(axis=1), 0.0), grid, mass=1.0
                )
                seconds.append(jko.step(mu, energy, W, tau, solver=FiniteVolume()).seconds)
            slopes = np.polyfit(np.log(np.array(sizes) ** dim), np.log(seconds), 1)
            each = "  ".join(f"{n}^{dim} {s:.2f} s" for n, s in zip(sizes, seconds, strict=True))
            print(f"cost {name} {energy!r} tau={tau:g}: {each}   exponent {slopes[0]:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=256)
    parser.add_argument("--tau", type=float, default=1e-3)
    parser.add_argument("--t1", type=float, default=2.0)
    parser.add_argument("--m", type=float, nargs="*", default=[2.0, 4.0, 6.0])
    arguments = parser.parse_args()
    for tau in (1e-3, 0.05):
        cost(tau)
    for m in arguments.m:
        single(m, arguments.cells)
    for m in arguments.m:
        flow(m, arguments.cells, arguments.tau, arguments.t1)


if __name__ == "__main__":
    main()
