"""MMD steps of divergences: WeightNewton against conic solvers.

    OPENBLAS_NUM_THREADS=1 python benchmarks/weight_newton.py --sizes 40 1000 4000

x ~ N(0, I) in the plane, a target with the density of 0.8 N(0, I) + (.7, -.3), Gaussian kernel
h = .5, tau = 1. Seconds are the best of three for WeightNewton, one run for the conic solvers,
which only take part up to --conic atoms; their objective is compared with ours, relatively.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import jko
from jko.prox.problem import ProxProblem
from jko.solvers import Conic, WeightNewton
from jko.solvers.base import Controls, ProxSolver


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[40, 1000, 4000])
    parser.add_argument("--conic", type=int, default=200, help="largest size for conic solvers")
    parser.add_argument("--solvers", nargs="+", default=["CLARABEL", "SCS"])
    args = parser.parse_args()
    print(f"{'step':14s} {'atoms':>6s} {'solver':16s} {'gap':>8s} {'iter':>5s} {'s':>8s} vs ours")
    for n in args.sizes:
        for name, problem in problems(n).items():
            ours, gap, iterations, seconds = solve(WeightNewton(), problem, 3)
            print(
                f"{name:14s} {n:6d} {'WeightNewton':16s} {gap:8.1e} {iterations:5d} {seconds:8.4f}"
            )
            if n > args.conic:
                continue
            for choice in args.solvers:
                solver = Conic(choice, max_atoms=n)
                theirs, gap, iterations, slower = solve(solver, problem, 1)
                print(
                    f"{name:14s} {n:6d} {solver.name:16s} {gap:8.1e} {iterations:5d} {slower:8.4f}"
                    f" time x{slower / seconds:.0f}, objective {(theirs - ours) / abs(ours):+.1e}"
                )


if __name__ == "__main__":
    main()
