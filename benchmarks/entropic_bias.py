"""The bias of entropic steps against their true excess, and what the bound costs.

Heat steps on the line from smooth densities, a point, three narrow lines, and a narrow piece with
an outlier, at the default regularisation and at tau/2. The true excess is independent of the
bound: J of the returned density minus the least J, both from mass constant on cells with exact
distances, the least one found by quantiles at eight times as many levels (formula W9).

Run: python benchmarks/entropic_bias.py [--seeds 3] [--cells 300]
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator

import numpy as np

import jko
from jko.solvers import Entropic

W, HALF = jko.Wasserstein(), 3.0


class Pieces:
    """The quantile function of a density constant on cells, exact between shared levels."""

    def __init__(self, w: np.ndarray, edges: np.ndarray) -> None:
        self.cells = np.flatnonzero(w)
        self.w, self.edges = w[self.cells], edges
        self.levels = np.append(0.0, np.cumsum(self.w))
        self.levels /= self.levels[-1]

    def ends(self, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values at the two ends of every interval of levels, none of which leaves a cell."""
        middle = 0.5 * (levels[1:] + levels[:-1])
        k = np.clip(np.searchsorted(self.levels, middle) - 1, 0, self.w.size - 1)
        low, width = self.levels[k], self.levels[k + 1] - self.levels[k]
        left, side = self.edges[self.cells[k]], self.edges[1] - self.edges[0]
        return tuple(left + side * (at - low) / width for at in (levels[:-1], levels[1:]))


def squared(share: np.ndarray, d: np.ndarray, e: np.ndarray) -> float:
    """int of a square that goes linearly from d to e on intervals of the length `share`."""
    return float((share * (d**2 + d * e + e**2)).sum() / 3)


def least_on_line(
    share: np.ndarray, a: np.ndarray, b: np.ndarray, tau: float, x: np.ndarray
) -> float:
    """Least of int rho log rho + W2^2/(2 tau): Newton in the knots x of the new quantiles.

    An entropy fills the box: the first knot and the last stay at its walls.
    """
    from scipy.linalg import solveh_banded

    def value(x: np.ndarray) -> float:
        width = np.diff(x)
        if not (width > 0).all():
            return np.inf
        moved = squared(share, x[:-1] - a, x[1:] - b) / (2 * tau)
        return float((share * np.log(share / width)).sum()) + moved

    x = np.maximum.accumulate(x) + 1e-10 * HALF * np.arange(x.size)
    x = -HALF + (x - x[0]) * (2 * HALF / (x[-1] - x[0]))
    best = value(x)
    assert np.isfinite(best), "the quantiles of the start cross"
    for _ in range(300):
        width, d, e = np.diff(x), x[:-1] - a, x[1:] - b
        slope = np.zeros_like(x)
        slope[:-1] += share * (2 * d + e) / (6 * tau) + share / width
        slope[1:] += share * (d + 2 * e) / (6 * tau) - share / width
        curve, mass = share / width**2, share / (3 * tau)
        bands = np.zeros((2, x.size))
        bands[1, :-1] += curve + mass
        bands[1, 1:] += curve + mass
        bands[0, 1:] = mass / 2 - curve
        slope[[0, -1]] = 0.0
        bands[1, [0, -1]] = bands[1].max()
        bands[0, [1, -1]] = 0.0
        step = solveh_banded(bands, -slope)
        t, fall = 1.0, float(slope @ step)
        while t > 1e-12 and not value(x + t * step) <= best + 1e-4 * t * fall:
            t /= 2
        if t <= 1e-12 or -fall < 1e-13:
            break
        x = x + t * step
        best = value(x)
    return best


def shapes(cells: int, seed: int) -> Iterator[tuple[str, jko.GridDensity, float]]:
    """Name, previous measure, tau."""
    rng = np.random.default_rng(seed)
    grid = jko.Grid(-HALF, HALF, cells)
    x, at = grid.axes[0], rng.uniform(-1, 1)
    bump = np.exp(-(((x - at) / rng.uniform(0.3, 0.8)) ** 2))
    point, lines = np.zeros(cells), np.zeros(cells)
    point[cells // 2 + rng.integers(-20, 20)] = 1.0
    lines[rng.choice(np.arange(cells // 5, 4 * cells // 5), 3, replace=False)] = rng.random(3) + 0.2
    tall = np.exp(-(((x - at) / 0.1) ** 2)) + 0.05 * np.exp(-(((x - 2.3) / 0.04) ** 2))
    for name, w, tau in (
        ("smooth", bump, 0.05),
        ("point", point, 0.1),
        ("lines", lines, 0.01),
        ("outlier", tall, 0.01),
    ):
        yield name, jko.GridDensity(grid, w / w.sum()), tau


def true_excess(mu: jko.GridDensity, nu: jko.GridDensity, tau: float) -> float:
    """J(nu) - min J."""
    edges = np.linspace(-HALF, HALF, mu.n + 1)
    before, after = Pieces(mu.weights, edges), Pieces(nu.weights, edges)
    levels = np.union1d(np.union1d(before.levels, after.levels), np.linspace(0, 1, 8 * mu.n + 1))
    levels = levels[np.append(True, np.diff(levels) > 1e-15)]
    share, (a, b) = np.diff(levels), before.ends(levels)
    c, d = after.ends(levels)
    mine = jko.Entropy().value(nu) + squared(share, c - a, d - b) / (2 * tau)
    return mine - least_on_line(share, a, b, tau, np.append(c, d[-1]))


def row(name: str, mu: jko.GridDensity, tau: float, solver: Entropic, label: str) -> None:
    """One line of the table."""
    started = time.process_time()
    r = jko.step(mu, jko.Entropy(), W, tau, solver=solver, throw=False)
    spent = time.process_time() - started
    gain = jko.Entropy().value(mu) - r.energy - r.sqdistance / (2 * tau)
    truth = true_excess(mu, r.measure, tau)
    reg, grid = r.info["bias_reg"], r.info["bias_grid"]
    covered = truth <= r.bias + r.gap + 1e-9 * abs(r.objective)
    tight = reg <= max(20 * truth, 1e-2 * gain)
    print(
        f"{name:9s} {label:10s} reg {r.info['reg']:8.2g}  of the gain {gain:8.3g}: excess"
        f" {truth / gain:8.1e}, bound {reg / gain:8.1e}, grid {grid / gain:8.1e}, bound/excess"
        f" {reg / truth if truth > 0 else np.inf:9.2g}  {'covered' if covered else 'NOT COVERED'}"
        f" {'tight' if tight else 'LOOSE'}; bound {r.info['bias_seconds']:.3f} s of {spent:.3f} s",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cells", type=int, default=300)
    options = parser.parse_args()
    warnings.simplefilter("ignore", jko.JkoWarning)
    for seed in range(options.seeds):
        for name, mu, tau in shapes(options.cells, seed):
            for label, debias in (("debiased", True), ("half", "half"), ("plain", False)):
                row(name, mu, tau, Entropic(debias=debias), label)
            row(name, mu, tau, Entropic(0.5 * tau), "coarse")
            row(name, mu, tau, Entropic(0.5 * tau, debias=False), "coarse-pl")


if __name__ == "__main__":
    main()
