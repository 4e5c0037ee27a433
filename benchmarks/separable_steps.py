"""Separable Hellinger steps at a million atoms: seconds, iterations and certified gaps.

    OPENBLAS_NUM_THREADS=1 python benchmarks/separable_steps.py --size 1000000

A standard Gaussian density on a square grid moves towards a mixture; the energies mix powers so
that no closed form exists for DualRoot. Seconds are those of the solver; the certificate is timed
apart.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from jko.energies import KL, Entropy, PhiDivergence, Potential
from jko.geometries import Hellinger, SphericalHellinger
from jko.measures import Grid, GridDensity
from jko.prox.problem import ProxProblem
from jko.prox.stated import Controls
from jko.solvers.hellinger.closed_form import ClosedForm
from jko.solvers.hellinger.dual_root import DualRoot
from jko.solvers.hellinger.spherical import SphericalFixedPoint

#: What `python -m benchmarks` passes: sizes fit for a minute.
QUICK = ["--size", "100000"]


def setting(size: int):
    side = round(size**0.5)
    grid = Grid([-4, -4], [4, 4], (side, side))

    def bump(x, centre, width):
        return np.exp(-((x - centre) ** 2).sum(1) / (2 * width**2))

    start = GridDensity.from_function(lambda x: bump(x, 0.0, 1.0), grid, mass=1.0)
    both = lambda x: bump(x, 1.5, 0.5) + 0.5 * bump(x, -1.0, 0.8)
    target = GridDensity.from_function(both, grid, mass=1.0)
    return start, target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=1_000_000)
    parser.add_argument("--taus", type=float, nargs="+", default=[0.01, 1.0, 100.0])
    args = parser.parse_args()
    start, target = setting(args.size)
    potential = Potential(lambda x: np.cos(2 * x[:, 0]) + 1.5)
    energies = {
        "KL": KL(target),
        "KL + he": KL(target) + PhiDivergence(target, p=0.5),
        "chi + ent": PhiDivergence(target, p=2) + 0.1 * Entropy() + potential,
        "V": potential,
    }
    rows = [
        (ClosedForm(), Hellinger(), ("KL",)),
        (ClosedForm(), Hellinger(mass="fixed"), ("KL", "V")),
        (DualRoot(), Hellinger(), ("KL", "KL + he", "chi + ent")),
        (DualRoot(), Hellinger(mass="fixed"), ("KL", "KL + he", "chi + ent", "V")),
        (SphericalFixedPoint(), SphericalHellinger(), tuple(energies)),
    ]
    print(f"{start.n} atoms")
    for solver, geometry, names in rows:
        for name in names:
            for tau in args.taus:
                report(solver, geometry, name, energies[name], start, tau)


def report(solver, geometry, name, energy, start, tau) -> None:
    problem = ProxProblem(energy, geometry, start, tau)
    _ = problem.form
    began = time.perf_counter()
    answer = solver.solve(problem, Controls(tol=1e-9))
    solved = time.perf_counter() - began
    certificate = problem.certificate(answer)
    judged = time.perf_counter() - began - solved
    print(
        f"{solver.name:20s} {geometry!r:26s} {name:10s} tau {tau:<8g} {solved:6.2f} s"
        f"  certificate {judged:5.2f} s  evaluations {answer.iterations:3d}"
        f"  gap {certificate.gap:9.1e}",
        flush=True,
    )


if __name__ == "__main__":
    main()
