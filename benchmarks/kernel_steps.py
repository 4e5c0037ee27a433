"""Entropic steps and flows of energies with kernels on grids: seconds, sweeps and gap.

1. Single steps of 1/2 MMD^2, alone and with a potential, an entropy, a porous medium or a bound, by
   cells, step length, bandwidth and debiasing; every step from a cold start.
2. Twenty steps of the W2 flow and of the IFT flow of 1/2 MMD^2 with warm starts.

Run: python benchmarks/kernel_steps.py [--only steps flows] [--cells 26 40 64 128]
     [--tau 0.01 0.05 0.2 1] [--width 0.3 0.8] [--dim 2] [--extra none well entropy porous box]
     [--debias True half False]
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import jko
from jko.solvers import Entropic

#: What `python -m benchmarks` passes: sizes fit for a minute.
QUICK = ["--cells", "40", "--tau", "0.2"]

W = jko.Wasserstein()
DEBIAS = {"True": True, "False": False, "half": "half"}
EXTRA = {
    "none": None,
    "well": jko.Potential(lambda x: 0.1 * (x**2).sum(axis=1)),
    "entropy": 0.1 * jko.Entropy(),
    "porous": 0.02 * jko.PorousMedium(2),
    "box": jko.BoxConstraint(1.0),
}


def problem(cells: int, dim: int) -> tuple[jko.GridDensity, jko.GridDensity]:
    """A bell, and a pair of bells as its target."""
    grid = jko.Grid([-3.0] * dim, [3.0] * dim, [cells] * dim)

    def bells(*parts: tuple[float, list[float], float]) -> jko.GridDensity:
        return jko.GridDensity.from_function(
            lambda x: sum(a * np.exp(-((x - c[:dim]) ** 2).sum(axis=1) / s) for a, c, s in parts),
            grid,
            mass=1.0,
        )

    pair = bells((0.6, [-0.7, 0.3, 0.0], 0.7), (0.4, [0.8, 0.6, 0.0], 0.5))
    return bells((1.0, [0.9, -0.5, 0.2], 0.5)), pair


def step(cells: int, dim: int, tau: float, width: float, extra: str, debias: str) -> None:
    """One step, printed."""
    mu, pi = problem(cells, dim)
    energy = jko.MMDEnergy(pi, jko.kernels.Gaussian(width))
    if EXTRA[extra] is not None:
        energy = energy + EXTRA[extra]
    started = time.process_time()
    out = jko.step(mu, energy, W, tau, solver=Entropic(debias=DEBIAS[debias]), throw=False)
    spent = time.process_time() - started
    print(
        f"{cells}^{dim} tau {tau:<5g} width {width:<4g} {extra:8s} debias {debias:5s}"
        f" {spent:7.2f} s {out.iterations:5d} sweeps  gap {out.gap:8.1e}  {out.status.name}",
        flush=True,
    )


def flow(cells: int, dim: int, width: float, steps: int = 20) -> None:
    """Both flows, printed."""
    mu, pi = problem(cells, dim)
    kernel = jko.kernels.Gaussian(width)
    for name, geometry in (("W2", 4 * W), ("IFT", 4 * W + 0.7 * jko.MMD(kernel))):
        started = time.process_time()
        sol = jko.flow(mu, jko.MMDEnergy(pi, kernel), geometry, tau=0.02, steps=steps, throw=False)
        spent = time.process_time() - started
        parts = [s.substeps[0] for s in sol.steps]
        print(
            f"{cells}^{dim} width {width:<4g} {name:3s} flow: {len(parts)} steps in {spent:.2f} s,"
            f" sweeps a step {np.mean([p.iterations for p in parts]):.0f}"
            f" (at most {max(p.iterations for p in parts)}),"
            f" largest gap {max(p.gap for p in parts):.1e},"
            f" energy {sol.energies[0]:.4e} to {sol.energies[-1]:.4e}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=["steps", "flows"])
    parser.add_argument("--cells", nargs="+", type=int, default=[26, 40, 64, 128])
    parser.add_argument("--tau", nargs="+", type=float, default=[0.01, 0.05, 0.2, 1.0])
    parser.add_argument("--width", nargs="+", type=float, default=[0.3, 0.8])
    parser.add_argument("--dim", type=int, default=2)
    parser.add_argument("--extra", nargs="+", choices=list(EXTRA), default=["none"])
    parser.add_argument("--debias", nargs="+", choices=list(DEBIAS), default=["True"])
    args = parser.parse_args()
    for cells in args.cells:
        if "steps" in args.only:
            for width in args.width:
                for tau in args.tau:
                    for extra in args.extra:
                        for debias in args.debias:
                            step(cells, args.dim, tau, width, extra, debias)
        if "flows" in args.only:
            for width in args.width:
                flow(cells, args.dim, width)


if __name__ == "__main__":
    main()
