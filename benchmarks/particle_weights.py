"""What keeps the weights of particles from collapsing: the table of docs/particles.md.

    python benchmarks/particle_weights.py

The mixture of the literature's benchmark (benchmarks/ift_literature.py, seed 0): 100 particles, 100
target atoms, Gaussian kernel with h^2 = 10, Armijo transport; what moves the weights differs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from ift_literature import problem

import jko
from jko.geometries import Geometry
from jko.solvers import Euler, Multiplicative, ProjectedWeights, ProxSolver, SimplexQP
from jko.thinning import copied_mass, resample

#: What `python -m benchmarks` passes: sizes fit for a minute.
QUICK = ["--steps", "50"]

KERNEL = jko.kernels.Gaussian(10**0.5)
SHE, MMD = jko.SphericalHellinger(), 0.1 * jko.MMD(KERNEL)
Remedy = Callable[[jko.Particles], jko.Particles]


def run(
    solver: ProxSolver, geometry: Geometry, remedy: Remedy | None, steps: int, every: int = 25
) -> str:
    """MMD^2, effective sample size at the end and at its lowest, mass on the target's atoms."""
    mu, target = problem("mixture", 0)
    energy, warm, lowest = jko.MMDEnergy(target, KERNEL), None, np.inf
    for k in range(1, steps + 1):
        both = 10.0 * jko.Wasserstein() + geometry
        result = jko.split_step(mu, energy, both, 1.0, solver=(Euler(), solver), warm=warm)
        mu, warm, lowest = result.measure, result.warm, min(lowest, result.measure.ess)
        if remedy is not None and k % every == 0 and k < steps:
            mu, warm = remedy(mu), None
    final, copied = 2 * energy.value(mu), copied_mass(mu, target)
    return f"{final:10.1e}{mu.ess:7.0f}{lowest:8.0f}{copied:8.0%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=200)
    chosen = parser.parse_args()
    rng = np.random.default_rng(0)
    again: Remedy = lambda mu: resample(mu, rng=rng)
    union = SimplexQP(support="union", budget=100)
    rows = {
        "projected": (ProjectedWeights(), SHE, None),
        "multiplicative": (Multiplicative(), SHE, None),
        "multiplicative, resampled": (Multiplicative(), SHE, again),
        "prox, fixed support": (SimplexQP(), MMD, None),
        "prox, resampled": (SimplexQP(), MMD, again),
        "prox, union, recombined": (union, MMD, None),
    }
    print(f"{'weights':28}{'MMD^2':>10}{'ESS':>7}{'lowest':>8}{'copied':>8}")
    for name, (solver, geometry, remedy) in rows.items():
        print(f"{name:28}{run(solver, geometry, remedy, chosen.steps)}", flush=True)


if __name__ == "__main__":
    main()
