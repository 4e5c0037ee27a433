"""MMD steps of divergences against conic solvers, and mirror steps at a million atoms.

    OPENBLAS_NUM_THREADS=1 python benchmarks/weight_newton.py --sizes 40 1000 4000

x ~ N(0, I) in the plane, a target with the density of 0.8 N(0, I) + (.7, -.3), Gaussian kernel
h = .5, tau = 1. Seconds are the best of three for WeightNewton, of two for the conic solvers,
which only take part up to --conic atoms; their objective is compared with ours, relatively.
Mirror steps: a Gaussian density towards a mixture on a square grid of --mirror cells (0: none).
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import jko
from jko.prox.problem import ProxProblem
from jko.prox.stated import Controls
from jko.solvers import Conic, Mirror, WeightNewton
from jko.solvers.base import ProxSolver

#: What `python -m benchmarks` passes: sizes fit for a minute.
QUICK = ["--sizes", "40", "200", "--conic", "100", "--mirror", "100000"]


def problems(n: int) -> dict[str, ProxProblem]:
    """The steps, on n atoms."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 2))
    mu = jko.Histogram(x, np.full(n, 1 / n))
    b = np.exp(-((x - [0.7, -0.3]) ** 2).sum(axis=1) / 1.28)
    pi = mu.with_weights(b / b.sum())
    k = jko.kernels.Gaussian(0.5)
    energies = {
        "KL": jko.KL(pi),
        "half chi2": jko.PhiDivergence(pi, p=2),
        "inclusive KL": jko.InclusiveKL(pi),
    }
    out = {f"MMD, {name}": ProxProblem(F, jko.MMD(k), mu, 1.0) for name, F in energies.items()}
    out["He, MMD + KL"] = ProxProblem(jko.MMDEnergy(pi, k) + jko.KL(pi), jko.Hellinger(), mu, 1.0)
    return out


def solve(solver: ProxSolver, problem: ProxProblem, repeats: int):
    """Objective, gap, iterations and seconds of the solver, certificate apart."""
    best = np.inf
    for _ in range(repeats):
        fresh = ProxProblem(problem.energy, problem.geometry, problem.previous, problem.tau)
        start = time.perf_counter()
        answer = solver.solve(fresh, Controls(tol=solver.default_tol))
        best = min(best, time.perf_counter() - start)
    gap = fresh.certificate(answer).gap
    return fresh.objective(answer.measure), gap, answer.iterations, best


def mirror(cells: int) -> None:
    """Divergence steps of one power, of several, and of a potential, on fixed mass."""
    side = round(cells**0.5)
    grid = jko.Grid([-4, -4], [4, 4], (side, side))
    bump = lambda x, at, s: np.exp(-((x - at) ** 2).sum(axis=1) / (2 * s**2))
    mu = jko.GridDensity.from_function(lambda x: bump(x, 0.0, 1.0), grid, mass=1.0)
    both = lambda x: bump(x, 1.5, 0.5) + 0.5 * bump(x, -1.0, 0.8)
    pi = jko.GridDensity.from_function(both, grid, mass=1.0)
    well = jko.Potential(lambda x: np.cos(2 * x[:, 0]) + 1.5)
    energies = {
        "KL": jko.KL(pi),
        "half chi2": jko.PhiDivergence(pi, p=2),
        "phi 1.5 + V": jko.PhiDivergence(pi, p=1.5) + well,
    }
    for name, energy in energies.items():
        for p in (1.0, 0.5, 1.7, -0.5):
            problem = ProxProblem(energy, jko.Divergence(p=p), mu, 1.0)
            _, gap, iterations, seconds = solve(Mirror(), problem, 1)
            step = f"D_{p:g}, {name}"
            print(f"{step:18s} {mu.n:8d} {'Mirror':16s} {gap:8.1e} {iterations:5d} {seconds:8.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[40, 200, 1000, 4000])
    parser.add_argument("--conic", type=int, default=200, help="largest size for conic solvers")
    parser.add_argument("--solvers", nargs="+", default=["CLARABEL", "SCS"])
    parser.add_argument("--mirror", type=int, default=1_000_000)
    args = parser.parse_args()
    print(f"{'step':18s} {'atoms':>8s} {'solver':16s} {'gap':>8s} {'iter':>5s} {'s':>8s} vs ours")
    for n in args.sizes:
        for name, problem in problems(n).items():
            ours, gap, iterations, seconds = solve(WeightNewton(), problem, 3)
            print(
                f"{name:18s} {n:8d} {'WeightNewton':16s} {gap:8.1e} {iterations:5d} {seconds:8.4f}"
            )
            if n > args.conic:
                continue
            for choice in args.solvers:
                solver = Conic(choice, max_atoms=n)
                theirs, gap, iterations, slower = solve(solver, problem, 2)
                print(
                    f"{name:18s} {n:8d} {solver.name:16s} {gap:8.1e} {iterations:5d} {slower:8.4f}"
                    f" time x{slower / seconds:.0f}, objective {(theirs - ours) / abs(ours):+.1e}"
                )
    if args.mirror:
        mirror(args.mirror)


if __name__ == "__main__":
    main()
