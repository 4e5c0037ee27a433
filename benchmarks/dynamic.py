"""Dynamic transport on grids: seconds to a relative gap, errors after extrapolation in h.

    OPENBLAS_NUM_THREADS=1 python benchmarks/dynamic.py --sizes 32 64 --slices 16 32

First table: processor seconds until `jko.geodesic` certifies the gap, the gap and action reached.
Second: actions less their estimated bias against exact ones (Bures for Gaussians, quantiles on the
line). Third: one step as one slice beside what `auto` does.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np

import jko

QUICK = ["--sizes", "32", "--slices", "16", "--tols", "1e-3"]
W = jko.Wasserstein()


def cases(n: int) -> dict[str, tuple[jko.GridDensity, jko.GridDensity]]:
    """Pairs of densities on the unit square."""
    grid = jko.Grid([0, 0], [1, 1], [n, n])
    x, y = grid.points.T

    def bumps(grid: jko.Grid, *at: tuple[float, float, float]) -> jko.GridDensity:
        values = sum(np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * s**2)) for a, b, s in at)
        free = 1.0 if grid.mask is None else grid.mask
        return jko.GridDensity.from_density(values * free, grid, mass=1.0)

    def disc(a: float, b: float, r: float) -> jko.GridDensity:
        inside = ((x - a) ** 2 + (y - b) ** 2 < r**2).astype(float)
        return jko.GridDensity.from_density(inside, grid, mass=1.0)

    wall = (np.abs(x - 0.5) < 0.08) & (np.abs(y - 0.5) < 0.25)
    walled = jko.Grid([0, 0], [1, 1], [n, n], mask=~wall.reshape(n, n))
    return {
        "bump": (bumps(grid, (0.3, 0.3, 0.08)), bumps(grid, (0.7, 0.65, 0.1))),
        "split": (bumps(grid, (0.3, 0.5, 0.08)), bumps(grid, (0.7, 0.25, 0.07), (0.7, 0.75, 0.07))),
        "discs": (disc(0.3, 0.3, 0.15), disc(0.7, 0.7, 0.2)),
        "obstacle": (bumps(walled, (0.25, 0.5, 0.08)), bumps(walled, (0.75, 0.5, 0.08))),
    }


def line(n: int) -> tuple[jko.GridDensity, jko.GridDensity]:
    """Two densities on the unit interval."""
    grid = jko.Grid([0], [1], [n])

    def bump(c: float, s: float) -> jko.GridDensity:
        return jko.GridDensity.from_function(
            lambda x: np.exp(-((x[:, 0] - c) ** 2) / (2 * s**2)), grid, mass=1.0
        )

    return bump(0.3, 0.06), bump(0.65, 0.09)


def timed(
    a: jko.GridDensity, b: jko.GridDensity, slices: int, tol: float
) -> tuple[jko.Path, float]:
    """A geodesic and its processor seconds."""
    begin = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jko.JkoWarning)
        path = jko.geodesic(a, b, W, slices, tol=tol)
    return path, time.process_time() - begin


def gaps(sizes: list[int], slices: list[int], tols: list[float], names: list[str]) -> None:
    """Seconds to a gap."""
    print("      case    cells slices     tol   CPU s      gap  steps action")
    for n, count in zip(sizes, slices, strict=True):
        for name, (a, b) in cases(n).items():
            if name not in names:
                continue
            for tol in tols:
                path, seconds = timed(a, b, count, tol)
                print(
                    f"{name:>10} {n:>5}^2 {count:>6} {tol:>7.0e} {seconds:>7.2f} {path.gap:>8.1e}"
                    f" {path.description['iterations']:>6} {path.action:.6f}",
                    flush=True,
                )


def extrapolated(full: bool) -> None:
    """Actions less their bias against exact ones."""
    a, b = line(256)
    path, seconds = timed(a, b, 64, 1e-4)
    exact = W.sqdistance(a, b)
    print(
        f"1-D, 256 x 64: {seconds:.2f} s, gap {path.gap:.1e}, action {path.action:.6f}, less its"
        f" bias {path.extrapolated:.6f}, quantiles {exact:.6f}, Bures {0.35**2 + 0.03**2:.6f}"
    )
    grid = jko.Grid([0, 0], [1, 1], [64, 64] if full else [32, 32])
    one = jko.GridDensity.from_function(
        lambda x: np.exp(-0.5 * (((x - [0.35, 0.4]) / [0.1, 0.08]) ** 2).sum(1)), grid, mass=1.0
    )
    two = jko.GridDensity.from_function(
        lambda x: np.exp(-0.5 * (((x - [0.6, 0.6]) / [0.08, 0.1]) ** 2).sum(1)), grid, mass=1.0
    )
    path, seconds = timed(one, two, 32 if full else 16, 2e-4)
    print(
        f"2-D Gaussians, {grid.shape[0]}^2: {seconds:.2f} s, gap {path.gap:.1e}, action"
        f" {path.action:.6f}, less its bias {path.extrapolated:.6f}, Bures"
        f" {0.25**2 + 0.2**2 + 2 * 0.02**2:.6f}"
    )


def diracs(slices: int = 128, tol: float = 3e-4) -> None:
    """Wasserstein-Fisher-Rao between two cells, beside the closed form for Diracs at their centres.

    Cells smear a Dirac at first order in h: the ratio is extrapolated once, and once more.
    """
    geometry, ratios, seconds = jko.WassersteinFisherRao(), [], 0.0
    for n in (129, 257, 513):
        grid = jko.Grid(-1.0, 1.0, n)
        i, j = n // 2 - n // 8, n // 2 + n // 8
        ends = [jko.GridDensity(grid, np.eye(n)[k]) for k in (i, j)]
        points = [jko.Particles(grid.points[[k]], [1.0]) for k in (i, j)]
        begin = time.process_time()
        path = jko.geodesic(*ends, geometry, slices=slices, tol=tol)
        seconds += time.process_time() - begin
        ratios.append(path.action / jko.geodesic(*points, geometry).action)
    once = 2 * np.array(ratios[1:]) - ratios[:-1]
    twice = (4 * once[1] - once[0]) / 3
    print(
        f"WFR Diracs, {slices} slices: {seconds:.2f} s, action over the exact one"
        f" {', '.join(f'{r:.4f}' for r in ratios)}, extrapolated {once[1]:.4f}, twice {twice:.4f}"
    )


def steps() -> None:
    """One step as one slice."""
    grid = jko.Grid([-4, -4], [4, 4], [32, 32])
    rho = jko.GridDensity.from_function(
        lambda x: np.exp(-2 * ((x - [1.0, 0.5]) ** 2).sum(1)), grid, mass=1.0
    )
    V = jko.Potential(lambda x: 0.5 * (x**2).sum(1))
    energies = {
        "porous medium": jko.PorousMedium(2),
        "porous medium + V": jko.PorousMedium(2) + V,
        "V + box": V + jko.BoxConstraint(0.6),
        "V + entropy": V + jko.Entropy(),
    }
    for name, energy in energies.items():
        begin = time.process_time()
        one = jko.step(rho, energy, W, 0.05, solver=jko.solvers.Dynamic(bias=False), throw=False)
        seconds = time.process_time() - begin
        two = jko.step(rho, energy, W, 0.05, throw=False)
        bias = jko.step(rho, energy, W, 0.05, solver=jko.solvers.Dynamic(), throw=False).bias
        print(
            f"{name:>18}: {seconds:.2f} s, gap {one.gap:.1e}, objective {one.objective:.6f}, bias"
            f" {bias:.1e}; {two.solver} {two.objective:.6f} (gap {two.gap}, bias {two.bias})",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--slices", type=int, nargs="+", default=[16, 32])
    parser.add_argument("--tols", type=float, nargs="+", default=[1e-3])
    parser.add_argument("--cases", nargs="+", default=["bump", "split", "discs", "obstacle"])
    parser.add_argument("--only", choices=["gaps", "exact", "steps"])
    args = parser.parse_args()
    if args.only in (None, "gaps"):
        gaps(args.sizes, args.slices, args.tols, args.cases)
    if args.only in (None, "exact"):
        extrapolated(max(args.sizes) >= 64)
        diracs()
    if args.only in (None, "steps"):
        steps()


if __name__ == "__main__":
    main()
