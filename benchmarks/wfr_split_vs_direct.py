"""Split and unsplit Wasserstein-Fisher-Rao flows: distance between them, error, seconds.

    OPENBLAS_NUM_THREADS=1 python benchmarks/wfr_split_vs_direct.py --cells 240

KL to a Gaussian of another mass on the line. `apart` is the L1 distance of the two flows at t1,
`shape` the error of mean and variance against the exact Gaussian flow (formula G2), `order` its
base-2 logarithm over the halving of tau, `kept` the relative change of the target by one step.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import jko
from jko import reference
from jko.solvers import Entropic

#: What `python -m benchmarks` passes: sizes fit for a minute.
QUICK = ["--cells", "80", "--taus", "0.1", "0.05"]

T1 = 0.4
DIRECT = jko.WassersteinFisherRao(1.0, 1.0)
SPLIT = jko.Wasserstein() + jko.Hellinger()


def bell(grid, centre, variance, mass):
    density = lambda x: np.exp(-((x[:, 0] - centre) ** 2) / (2 * variance))
    return jko.GridDensity.from_function(density, grid, mass=mass)


def timed_flow(mu, energy, geometry, tau, solver):
    began = time.perf_counter()
    sol = jko.flow(mu, energy, geometry, tau=tau, t1=T1, save="last", solver=solver)
    return sol.final, time.perf_counter() - began


def shape_error(nu, mean, cov):
    return abs(nu.mean[0] - mean[0]) + abs(nu.cov[0, 0] - cov[0, 0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=240)
    parser.add_argument("--taus", type=float, nargs="+", default=[0.1, 0.05, 0.025, 0.0125])
    args = parser.parse_args()
    grid = jko.Grid(-4.0, 4.0, args.cells)
    pi, mu = bell(grid, 0.0, 1.0, 1.5), bell(grid, 0.8, 0.5, 0.6)
    split_solver = (Entropic(reg=4 * float(grid.spacing[0]) ** 2), "auto")
    mean, cov = reference.wfr_gaussian_flow([0.8], [[0.5]], [0.0], [[1.0]], T1)
    print(f"{args.cells} cells, t1 = {T1}")
    print("tau       apart     order  shape: direct  split     seconds: direct  split   kept")
    before = None
    for tau in args.taus:
        a, first = timed_flow(mu, jko.KL(pi), DIRECT, tau, "auto")
        b, second = timed_flow(mu, jko.KL(pi), SPLIT, tau, split_solver)
        apart = float(np.abs(a.weights - b.weights).sum())
        order = "" if before is None else f"{np.log2(before / apart):.3f}"
        kept = jko.step(pi, jko.KL(pi), DIRECT, tau).measure.weights / pi.weights - 1
        errors = [shape_error(nu, mean, cov) for nu in (a, b)]
        print(
            f"{tau:<8g}  {apart:.3e} {order:>6s}       {errors[0]:.2e}  {errors[1]:.2e}"
            f"          {first:6.2f} {second:6.2f}  {np.abs(kept).max():.1e}",
            flush=True,
        )
        before = apart


if __name__ == "__main__":
    main()
