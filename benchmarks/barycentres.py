"""Barycentres of two near-Diracs on a grid: how wide they come out, and how long they take.

Two bumps of standard deviation 1.3 cells; their barycentre is the same bump, half way. The error is
that of its standard deviation, relative; POT's debiased convolutional barycentre beside it, at the
same regularisation. Each gets the sweeps stated.

Run: python benchmarks/barycentres.py [--cells 128] [--sweeps 13] [--reg 2e-3]
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import jko

#: What `python -m benchmarks` passes: sizes fit for a minute.
QUICK = ["--cells", "32", "--sweeps", "5"]


def bump(centre: tuple[float, float], width: float, grid: jko.Grid) -> jko.GridDensity:
    """A sampled Gaussian of mass 1."""
    mu = jko.GridDensity.from_function(
        lambda x: np.exp(-((x - np.asarray(centre)) ** 2).sum(-1) / (2 * width**2)), grid
    )
    return mu.with_weights(mu.weights / mu.mass)


def error(mu: jko.GridDensity, like: jko.GridDensity) -> float:
    """Largest relative error of a standard deviation."""
    return float(np.abs(np.sqrt(np.diag(mu.cov) / np.diag(like.cov)) - 1).max())


def pot(family: list[jko.GridDensity], reg: float, method: str, sweeps: int) -> jko.GridDensity:
    """POT's debiased convolutional barycentre."""
    import ot

    shape = family[0].grid.shape
    images = np.stack([mu.weights.reshape(shape) for mu in family])
    found = ot.bregman.convolutional_barycenter2d_debiased(
        images, reg, method=method, numItermax=sweeps, stopThr=0.0, warn=False
    )
    return family[0].with_weights(found.ravel() / found.sum())


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=128)
    parser.add_argument("--sweeps", type=int, default=13)
    parser.add_argument("--reg", type=float, default=2e-3)
    chosen = parser.parse_args(arguments)
    grid = jko.Grid([0, 0], [1, 1], [chosen.cells, chosen.cells])
    width = 1.28 / chosen.cells
    family = [bump(c, width, grid) for c in ((0.25, 0.3), (0.75, 0.6))]
    print(f"{'method':24}{'sweeps':>8}{'seconds':>10}{'error of std':>14}")
    for name, reg in (("jko", None), ("jko, same reg", chosen.reg)):
        started = time.perf_counter()
        found = jko.barycentre(family, reg=reg, max_iter=chosen.sweeps)
        seconds = time.perf_counter() - started
        assert isinstance(found.measure, jko.GridDensity)
        print(
            f"{name:24}{found.iterations:8}{seconds:10.2f}{error(found.measure, family[0]):14.1e}"
        )
    for method in ("sinkhorn", "sinkhorn_log"):
        started = time.perf_counter()
        try:
            off = f"{error(pot(family, chosen.reg, method, chosen.sweeps), family[0]):14.1e}"
        except jko.InvalidMeasure:  # its kernel underflowed: not a number anywhere
            off = f"{'nan':>14}"
        seconds = time.perf_counter() - started
        print(f"{'POT ' + method:24}{chosen.sweeps:8}{seconds:10.2f}{off}")


if __name__ == "__main__":
    main()
