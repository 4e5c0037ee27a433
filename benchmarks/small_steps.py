"""What a small step costs beside its arithmetic: validation, the choice of a solver, the judge.

One step of `--atoms` scattered atoms (or of a Gaussian) in each cell that is solved in closed form
or by a scalar equation, the choice of a solver by itself, and flows of `--steps` steps on ten times
as many atoms. Seconds of the processor, medians of `--repeats` runs, one BLAS thread.

Run: python -m benchmarks.small_steps [--atoms 100] [--repeats 30] [--steps 1000]
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

import jko
from jko.energies.base import Energy
from jko.geometries.base import Geometry
from jko.measures.base import Measure

#: What `python -m benchmarks` passes: sizes fit for a minute.
QUICK = ["--repeats", "10", "--steps", "200"]

TAU = 0.1
Cell = tuple[str, Measure, Energy, Geometry]


def cells(n: int, rng: np.random.Generator) -> list[Cell]:
    """Name, measure, energy and geometry of every cell that is timed."""
    points = rng.normal(size=(n, 2))
    mu, target = (jko.Histogram(points, rng.dirichlet(np.ones(n))) for _ in range(2))
    kernel = jko.kernels.Gaussian(1.0)
    start, end = jko.Gaussian(np.zeros(2), np.eye(2)), jko.Gaussian(np.ones(2), 2 * np.eye(2))
    energies = {
        "KL": jko.KL(target),
        "inclusive KL": jko.InclusiveKL(target),
        "chi^2": jko.PhiDivergence(target, 2),
    }
    geometries = {"Hellinger": jko.Hellinger(), "spherical Hellinger": jko.SphericalHellinger()}
    table: list[Cell] = [
        (f"{e} in {g}", mu, energy, geometry)
        for e, energy in energies.items()
        for g, geometry in geometries.items()
    ]
    table.append(("MMD energy in MMD", mu, jko.MMDEnergy(target, kernel), jko.MMD(kernel)))
    table.append(("Gaussian KL in Wasserstein", start, jko.KL(end), jko.Wasserstein()))
    return table


def milliseconds(action: Callable[[], object], repeats: int) -> float:
    """Median processor time of an action, the first run left out."""
    action()
    found = []
    for _ in range(repeats):
        begin = time.process_time()
        action()
        found.append(time.process_time() - begin)
    return 1e3 * statistics.median(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--atoms", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    print(f"{'one step, ' + str(args.atoms) + ' atoms':40s} {'step':>9s} {'choice':>9s}  solver")
    for name, mu, energy, geometry in cells(args.atoms, rng):
        step = milliseconds(lambda: jko.step(mu, energy, geometry, TAU), args.repeats)  # noqa: B023
        choice = milliseconds(lambda: jko.solvers_for(mu, energy, geometry), args.repeats)  # noqa: B023
        solver = jko.step(mu, energy, geometry, TAU).solver
        print(f"{name:40s} {step:6.2f} ms {choice:6.2f} ms  {solver}")
    print(f"\n{args.steps} steps of {10 * args.atoms} atoms")
    for name, mu, energy, geometry in cells(10 * args.atoms, rng)[:4]:
        begin = time.process_time()
        sol = jko.flow(mu, energy, geometry, tau=TAU, steps=args.steps)
        print(f"{name:40s} {time.process_time() - begin:6.2f} s   {sol.status}")


if __name__ == "__main__":
    main()
