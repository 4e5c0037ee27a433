"""Finite-volume steps: accuracy against exact flows, the switch of `auto`, and cost per cell.

1. Seconds of CPU per step against the number of cells, and the exponent.
2. The benchmark of formula W5 (mass .5, peak 15, g = 1e-3) on [-1/2, 1/2]^2: iterations and seconds
   of long first steps, whose front crosses many cells.
3. One step from t = 1 against the exact Wasserstein step (a dilation), beside the debiased entropic
   one, at given model errors q: where `auto` switches (q = .05) finite volumes must be closer.
4. L1 distance to the PDE's solution, as exact cell averages, along a flow of short steps.
5. Crowds (formula W7): a full block on a slope moves by the way gone and smears at its edges; a
   crowd    behind a door.

Run: python benchmarks/finite_volume.py [--cells 256] [--tau 1e-3] [--t1 2.0] [--m 2 4 6]
     [--only cost long switch flow crowd]
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import jko
from jko import reference
from jko.solvers import Entropic, FiniteVolume

#: What `python -m benchmarks` passes: sizes fit for a minute.
QUICK = ["--cells", "64", "--t1", "1.0", "--only", "cost", "long", "switch"]

W = jko.Wasserstein()
BOX = ([-0.5, -0.5], [0.5, 0.5])


def barenblatt(solution: reference.Barenblatt, scale: float, cells: int) -> jko.GridDensity:
    """Exact cell averages on the box of the benchmark."""
    return solution.on(jko.Grid(*BOX, [cells, cells]), scale)


def flow(m: float, cells: int, tau: float, t1: float) -> None:
    """Error against the PDE at five times."""
    solution = reference.Barenblatt(2, m, 0.5, 15.0, 1e-3)
    mu = barenblatt(solution, solution.start, cells)
    energy, solver = 1e-3 * jko.PorousMedium(m), FiniteVolume()
    steps, errors = round(t1 / tau), []
    started = time.process_time()
    for k in range(1, steps + 1):
        result = jko.step(mu, energy, W, tau, solver=solver)
        mu = result.measure
        if k % max(1, steps // 5) == 0:
            exact = barenblatt(solution, solution.flow(solution.start, k * tau), cells)
            errors.append(float(np.abs(mu.weights - exact.weights).sum()))
    each = (time.process_time() - started) / steps
    shown = "  ".join(f"{e:.2e}" for e in errors)
    print(f"W5 m={m:g} {cells}^2 tau={tau:g}: L1 to the PDE {shown}   {each:.3f} s of CPU a step")


def long(m: float, cells: int) -> None:
    """First steps of the flow, over many cells at once."""
    solution = reference.Barenblatt(2, m, 0.5, 15.0, 1e-3)
    mu = barenblatt(solution, solution.start, cells)
    for tau in (0.4, 0.1, 0.025):
        started = time.process_time()
        result = jko.step(mu, 1e-3 * jko.PorousMedium(m), W, tau, solver=FiniteVolume())
        seconds = time.process_time() - started
        print(
            f"long step m={m:g} {cells}^2 tau={tau:g}: {result.iterations} Newton,"
            f" {result.info['linear_iterations']} linear iterations, {seconds:.2f} s of CPU"
        )


def switch(m: float, cells: int) -> None:
    """One step from a late time against the exact Wasserstein step, by its model error."""
    solution = reference.Barenblatt(2, m, 0.5, 15.0, 1e-3)
    scale = solution.flow(solution.start, 1.0)
    mu, energy = barenblatt(solution, scale, cells), 1e-3 * jko.PorousMedium(m)
    # The model error at the previous measure, which `auto` looks at, is proportional to tau.
    tiny = jko.step(mu, energy, W, 1e-4, solver=FiniteVolume()).info["model_error"] / 1e-4
    for q in (0.02, 0.05, 0.2):
        tau = q / tiny
        exact = barenblatt(solution, solution.jko(scale, tau), cells)
        line = f"one step m={m:g} {cells}^2 q={q:g} tau={tau:.2e}:"
        for solver in (FiniteVolume(), Entropic()):
            result = jko.step(mu, energy, W, tau, solver=solver, throw=False)
            error = float(np.abs(result.measure.weights - exact.weights).sum())
            line += f"  {solver.name} {error:.2e} in {result.seconds:.2f} s"
            line += "" if result.success else " NOT certified"
        print(line)


def cost(tau: float) -> None:
    """Seconds of one step against cells, in two and three dimensions."""
    for name, dim, sizes in (("2-D", 2, (128, 256, 512, 1024)), ("3-D", 3, (16, 32, 64))):
        for energy in (jko.Entropy(), 0.1 * jko.PorousMedium(4.0)):
            seconds, newton = [], []
            for n in sizes:
                grid = jko.Grid([-1.0] * dim, [1.0] * dim, [n] * dim)
                mu = jko.GridDensity.from_function(
                    lambda x: np.maximum(0.5 - (x**2).sum(axis=1), 0.0), grid, mass=1.0
                )
                started = time.process_time()
                found = jko.step(mu, energy, W, tau, solver=FiniteVolume())
                seconds.append(time.process_time() - started)
                newton.append(found.iterations)
            slopes = np.polyfit(np.log(np.array(sizes) ** dim), np.log(seconds), 1)
            each = "  ".join(f"{n}^{dim} {s:.2f} s" for n, s in zip(sizes, seconds, strict=True))
            print(
                f"cost {name} {energy!r} tau={tau:g}: {each}   exponent {slopes[0]:.2f}, {newton}"
            )


def crowd(cells: int) -> None:
    """A full block that slides by 1/8, and twenty steps of a crowd behind a door."""
    grid = jko.Grid([0.0, 0.0], [1.0, 1.0], [cells, cells])
    x, y = grid.points.T
    full = lambda left: ((x > left) & (x < left + 0.25) & (np.abs(y - 0.5) < 0.25)).astype(float)
    mu, tau = jko.GridDensity.from_density(full(0.5), grid), 0.5 / cells
    slope = jko.BoxConstraint(1.0) + jko.Potential(lambda z: z[:, 0])
    found = jko.flow(mu, slope, W, tau=tau, t1=0.125, solver=FiniteVolume(), save="last").final
    error = np.abs(found.weights - full(0.375) * grid.cell_volume).sum() / mu.mass
    moved = mu.mean[0] - found.mean[0]
    print(f"block {cells}^2: moved by {moved:.6f} of 0.125, L1 error {error:.3f} of its mass")
    mask = np.ones((cells, cells), dtype=bool)
    mask[cells // 2 - 1 : cells // 2 + 1] = False
    mask[:, int(0.44 * cells) : int(0.56 * cells)] = True
    grid = jko.Grid([0.0, 0.0], [1.0, 1.0], [cells, cells], mask=mask)
    mu = jko.GridDensity.from_density(0.8 * (x > 0.55), grid)

    def way(z: np.ndarray) -> np.ndarray:
        side = np.where(z[:, 0] > 0.5, z[:, 1] - 0.5, 0.0)
        return np.hypot(np.maximum(z[:, 0] - 0.5, 0.0), side) + np.minimum(z[:, 0] - 0.5, 0.0)

    started = time.process_time()
    settings = {"tau": 0.02, "steps": 20, "solver": FiniteVolume(), "save": "last"}
    found = jko.flow(mu, jko.BoxConstraint(1.0) + jko.Potential(way), W, **settings).final
    each = (time.process_time() - started) / 20
    print(
        f"door {cells}^2: {found.weights[x < 0.47].sum() / mu.mass:.3f} of the crowd passed by .4,"
        f" densities exceed the bound by {max(0.0, found.density.max() - 1):.1e},"
        f" {each:.3f} s of CPU a step"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=256)
    parser.add_argument("--tau", type=float, default=1e-3)
    parser.add_argument("--t1", type=float, default=2.0)
    parser.add_argument("--m", type=float, nargs="*", default=[2.0, 4.0, 6.0])
    parts = ("cost", "long", "switch", "flow", "crowd")
    parser.add_argument("--only", nargs="*", default=parts, choices=parts)
    arguments = parser.parse_args()
    if "cost" in arguments.only:
        jko.step(barenblatt(reference.Barenblatt(2), 1.0, 8), jko.Entropy(), W, 0.1)  # imports
        for tau in (1e-3, 0.05):
            cost(tau)
    if "crowd" in arguments.only:
        crowd(arguments.cells)
    for m in arguments.m:
        if "long" in arguments.only:
            long(m, arguments.cells)
        if "switch" in arguments.only:
            switch(m, arguments.cells)
        if "flow" in arguments.only:
            flow(m, arguments.cells, arguments.tau, arguments.t1)


if __name__ == "__main__":
    main()
