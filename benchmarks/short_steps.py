"""Steps that grids are too coarse for: how far off, as shares of the way gone.

Ten Ornstein-Uhlenbeck steps from N(1, .7^2) towards N(0, 1) on [-5, 5], of a given number of
squared cells each. The error is the L1 distance to the exact steps (formula W3) in exact cell
averages, over the L1 distance they have gone. The thresholds of `jko.solvers.grids.resolution`
come from
here.

Run: python benchmarks/short_steps.py [--cells 40 80] [--squares 4 2 1 0.5 0.1 0.02]
"""

from __future__ import annotations

import argparse
import warnings
from math import erf

import numpy as np

import jko
from jko import reference
from jko.solvers import BackAndForth, Entropic, FiniteVolume, TransportProgram

#: What `python -m benchmarks` passes: sizes fit for a minute.
QUICK = ["--cells", "40", "--squares", "4", "1", "0.1"]

W, STEPS = jko.Wasserstein(), 10
SOLVERS = {
    "debiased": Entropic(),
    "half": Entropic(debias="half"),
    "plain": Entropic(debias=False),
    "back-and-forth": BackAndForth(),
    "finite volumes": FiniteVolume(),
    "atoms": TransportProgram(),
}


def averages(mean: float, std: float, grid: jko.Grid) -> jko.GridDensity:
    """Exact cell masses of a Gaussian."""
    edges = np.linspace(grid.lower[0], grid.upper[0], grid.size + 1)
    cdf = np.array([0.5 * (1 + erf((x - mean) / (std * 2**0.5))) for x in edges])
    return jko.GridDensity(grid, np.diff(cdf) / np.diff(cdf).sum())


def share(solver: jko.solvers.ProxSolver, grid: jko.Grid, tau: float) -> float:
    """L1 error over L1 way."""
    mean, std = 1.0, 0.7
    mu = start = averages(mean, std, grid)
    energy = jko.KL(averages(0.0, 1.0, grid))
    for _ in range(STEPS):
        mu = jko.step(mu, energy, W, tau, solver=solver, throw=False).measure
        mean, std = reference.ou_step(mean, std, tau)
    exact = averages(mean, std, grid)
    return float(
        np.abs(mu.weights - exact.weights).sum() / np.abs(start.weights - exact.weights).sum()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, nargs="+", default=[40, 80])
    parser.add_argument("--squares", type=float, nargs="+", default=[4, 2, 1, 0.5, 0.1, 0.02])
    options = parser.parse_args()
    warnings.simplefilter("ignore", jko.JkoWarning)  # what they say is what is measured
    for cells in options.cells:
        grid = jko.Grid(-5.0, 5.0, cells)
        for squares in options.squares:
            tau = squares * float(grid.spacing[0]) ** 2
            shares = {name: share(solver, grid, tau) for name, solver in SOLVERS.items()}
            line = "  ".join(f"{name} {value:.1e}" for name, value in shares.items())
            print(f"{cells} cells, {squares:g} squared cells a step:  {line}", flush=True)


if __name__ == "__main__":
    main()
