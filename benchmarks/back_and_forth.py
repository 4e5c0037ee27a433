"""Unregularised steps: the back-and-forth ascent beside the entropic and the finite-volume step.

1. One step of the Barenblatt flow of formula W5 (mass .5, peak 15, g = 1e-3, [-1/2, 1/2]^2), from
   its    start and from time .5: L1 distance to the exact Wasserstein step, in exact cell averages.
2. One Fokker-Planck step on [-4, 4]^2 from N((1.5, .5), .25 I) to N(0, I).
3. One crowd step (a box constraint and a potential) of a disc that drifts or contracts on
   [-1, 1]^2: L1 over the mass; the exact steps are discs too.

Every figure is error / seconds, with ! where the solver's own certificate misses its tolerance; the
gap of the back-and-forth step holds for the unregularised problem.

Run: python benchmarks/back_and_forth.py [--cells 128 256] [--only barenblatt fokker crowd]
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.special import erf

import jko
from jko import reference
from jko.solvers import BackAndForth, Entropic, FiniteVolume

#: What `python -m benchmarks` passes: sizes fit for a minute.
QUICK = ["--cells", "64"]

W, PARTS = jko.Wasserstein(), 8
#: Whole cells, and parts of them where there are at most 2^18 parts.
BOTH = BackAndForth(subcells=1), BackAndForth()


def averages(density, lower: float, upper: float, cells: int, mass: float) -> jko.GridDensity:
    """Cell averages of discs, by PARTS^2 points a cell."""
    fine = jko.Grid([lower] * 2, [upper] * 2, [cells * PARTS] * 2)
    mean = density(fine.points).reshape(cells, PARTS, cells, PARTS).mean(axis=(1, 3))
    grid = jko.Grid([lower] * 2, [upper] * 2, [cells] * 2)
    return jko.GridDensity.from_density(mean, grid, mass=mass)


def show(title: str, mu, energy, tau: float, exact, solvers) -> None:
    line = title
    for solver in solvers:
        try:
            r = jko.step(mu, energy, W, tau, solver=solver, throw=False)
        except jko.Unsupported:
            line += f"  {solver.name} refuses"
            continue
        error = float(np.abs(r.measure.weights - exact.weights).sum()) / mu.mass
        line += f"  {solver.name} {error:.1e} / {r.seconds:.2f} s{'' if r.success else '!'}"
        if solver.name == "BackAndForth":
            line += f" ({r.info['subcells']} a side, gap {r.gap:.0e}, bias below {r.bias:.0e})"
    print(line, flush=True)


def barenblatt(cells: int) -> None:
    """Nonlinear diffusion; errors over the mass .5."""
    for m in (2.0, 4.0, 6.0):
        solution = reference.Barenblatt(2, m, 0.5, 15.0, 1e-3)
        grid = jko.Grid([-0.5] * 2, [0.5] * 2, [cells] * 2)
        for when in (0.0, 0.5):
            scale = solution.flow(solution.start, when)
            mu = solution.on(grid, scale)
            for tau in (0.4, 0.1, 0.025):
                after = solution.jko(scale, tau)
                moved = (solution.radius(after) - solution.radius(scale)) * cells
                title = f"W5 {cells}^2 m={m:g} t={when:g} tau={tau:g} ({moved:4.1f} cells):"
                solvers = (*BOTH, Entropic(), FiniteVolume())
                show(title, mu, 1e-3 * jko.PorousMedium(m), tau, solution.on(grid, after), solvers)


def gaussian(cells: int, mean, std: float) -> jko.GridDensity:
    edges = np.linspace(-4, 4, cells + 1)
    x, y = (np.diff(erf((edges - c) / (std * np.sqrt(2)))) for c in mean)
    grid = jko.Grid([-4, -4], [4, 4], [cells] * 2)
    return jko.GridDensity.from_density(np.outer(x, y), grid, mass=1.0)


def fokker(cells: int) -> None:
    """Smooth densities of an entropy."""
    mean, std = np.array([1.5, 0.5]), 0.5
    for tau in (0.5, 0.05):
        after = (std + np.sqrt(std**2 + 4 * tau * (1 + tau))) / (2 * (1 + tau))
        mu, exact = gaussian(cells, mean, std), gaussian(cells, mean / (1 + tau), after)
        energy = jko.KL(jko.Gaussian([0.0, 0.0], np.eye(2)))
        solvers = (BackAndForth(), Entropic(), FiniteVolume())
        show(f"Fokker-Planck {cells}^2 tau={tau:g}:", mu, energy, tau, exact, solvers)


def crowd(cells: int) -> None:
    """Discs of one density under V = x_1 (drift) or |x|^2/2 (contraction, until they are full)."""
    disc = lambda radius, height, centre, mass=None: averages(
        lambda x: height * (((x - centre) ** 2).sum(axis=1) < radius**2), -1, 1, cells, mass
    )
    for kind, height, radius, tau in (
        ("drift", 1.0, 0.4, 0.2),
        ("drift", 0.6, 0.4, 0.2),
        ("contraction", 0.5, 0.6, 0.2),
        ("contraction", 0.8, 0.6, 0.3),
    ):
        if kind == "drift":
            centre, well = np.array([0.3, 0.0]), jko.Potential(lambda x: x[:, 0])
            mu = disc(radius, height, centre)
            exact = disc(radius, height, centre - [tau, 0], mu.mass)
        else:
            centre, well = np.zeros(2), jko.Potential(lambda x: 0.5 * (x**2).sum(axis=1))
            after = min(1.0, height * (1 + tau) ** 2)
            mu = disc(radius, height, centre)
            exact = disc(radius * np.sqrt(height / after), after, centre, mu.mass)
        solvers = (
            *BOTH,
            Entropic(debias=False),
            Entropic(debias="half"),
            FiniteVolume(),
        )
        title = f"crowd {cells}^2 {kind} of density {height:g} tau={tau:g}:"
        show(title, mu, well + jko.BoxConstraint(1.0), tau, exact, solvers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, nargs="*", default=[128, 256])
    parts = {"barenblatt": barenblatt, "fokker": fokker, "crowd": crowd}
    parser.add_argument("--only", nargs="*", choices=parts, default=list(parts))
    arguments = parser.parse_args()
    small = averages(lambda x: np.exp(-(x**2).sum(axis=1)), -1, 1, 8, 1.0)
    jko.step(small, jko.Entropy(), W, 0.1, solver=BackAndForth(), throw=False)  # compile
    for name in arguments.only:
        for cells in arguments.cells:
            parts[name](cells)


if __name__ == "__main__":
    main()
