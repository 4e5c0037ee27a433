"""Quantile steps on the line: exactness, orders, cost, and other solvers beside them.

1. One step of Entropy + x^2/2 from N(1.5, .5^2): particles, the debiased entropic step and the
   linear program on grids, against the exact Gaussian (formula W3).
2. Orders in tau of the proximal and the midpoint flow on Ornstein-Uhlenbeck and Barenblatt.
3. Seconds per step against the number of particles.
4. A grid density by quantiles of its cells and a conservative remap, against the entropic step.

Run: python benchmarks/quantile.py
"""

from __future__ import annotations

import time

import numpy as np
from scipy.special import ndtri

import jko
from jko import reference
from jko.solvers import Entropic, FiniteVolume, Quantile, TransportProgram

#: What `python -m benchmarks` passes: sizes fit for a minute.
QUICK: list[str] = []

W = jko.Wasserstein()
WELL = jko.Potential(lambda x: 0.5 * x[:, 0] ** 2, gradient=lambda x: x)
ENERGY = jko.Entropy() + WELL
CONVEX = Quantile(curvature=1.0)


def bell(cells: int, mean: float, std: float) -> jko.GridDensity:
    grid = jko.Grid(-4.0, 4.0, cells)
    return jko.GridDensity.from_function(
        lambda x: np.exp(-((x[:, 0] - mean) ** 2) / (2 * std**2)), grid, mass=1.0
    )


def particles(n: int, mean: float, std: float) -> jko.Particles:
    return jko.Particles((mean + std * ndtri((np.arange(n) + 0.5) / n))[:, None])


def moments(mu: jko.Particles | jko.GridDensity) -> tuple[float, float]:
    return float(mu.mean[0]), float(np.sqrt(mu.cov[0, 0]))


def one_step(tau: float = 0.1) -> None:
    exact = reference.ou_step(1.5, 0.5, tau)
    starts = [(f"Quantile {n} particles", particles(n, 1.5, 0.5), CONVEX) for n in (60, 240, 960)]
    starts += [(f"Entropic {n} cells", bell(n, 1.5, 0.5), Entropic()) for n in (60, 240, 960)]
    starts += [("TransportProgram 60 cells", bell(60, 1.5, 0.5), TransportProgram())]
    for name, mu, solver in starts:
        result = jko.step(mu, ENERGY, W, tau, solver=solver)
        began = moments(mu)
        # Against the exact step from the moments the discrete measure really has.
        exact = reference.ou_step(*began, tau)
        errors = [abs(a - b) for a, b in zip(moments(result.measure), exact, strict=True)]
        print(
            f"one step, {name:26s} mean off by {errors[0]:.1e}, std by {errors[1]:.1e},"
            f" {result.iterations} iterations, {result.seconds:.3f} s"
        )


def discrete_profile(m: float, n: int = 60) -> jko.Particles:
    """The minimiser of the internal energy + x^2/2: its flows are affine maps."""
    internal = jko.Entropy() if m == 1 else jko.PorousMedium(m)
    mu = jko.Particles(np.linspace(-1.0, 1.0, n)[:, None])
    for tau in (10.0, 1e6, 1e12):
        mu = jko.step(mu, internal + WELL, W, tau, solver=CONVEX).measure
    return mu


def orders() -> None:
    y, z = discrete_profile(1.0), discrete_profile(2.0)
    mean, std = reference.ou_flow(1.5, 0.5, 1.0)
    cases = [
        ("OU", ENERGY, 1.5 + 0.5 * y.points, mean + std * y.points),
        ("Barenblatt m=2", jko.PorousMedium(2.0), 0.7 * z.points, 3.343 ** (1 / 3) * z.points),
    ]
    for name, energy, start, end in cases:
        for scheme in ("implicit", "midpoint", "richardson"):
            errors = []
            for tau in (0.05, 0.025, 0.0125):
                settings = {"tau": tau, "t1": 1.0, "scheme": scheme, "save": "last"}
                mu, solver = jko.Particles(start), Quantile(curvature=0.0)
                final = jko.flow(mu, energy, W, solver=solver, **settings).final
                errors.append(float(np.abs(final.points - end).max()))
            shown = " ".join(f"{e:.2e}" for e in errors)
            print(f"order, {name}, {scheme}: {shown}  order {np.log2(errors[1] / errors[2]):.2f}")


def cost() -> None:
    target = jko.Particles(np.linspace(-1.0, 1.0, 500)[:, None])
    cases = {"Entropy + V": ENERGY, "energy distance": jko.MMDEnergy(target, jko.kernels.Energy())}
    for name, energy in cases.items():
        line = f"cost, {name}:"
        for n in (1000, 10_000):
            began = time.perf_counter()
            jko.step(particles(n, 1.5, 0.5), energy, W, 0.1, solver=CONVEX)
            line += f"  n={n} {time.perf_counter() - began:.3f} s"
        print(line)


def remapped(rho: jko.GridDensity, tau: float, per_cell: int = 8) -> jko.GridDensity:
    """A step of a grid density by particles inside its cells, brought back by mass per cell."""
    grid, w = rho.grid, rho.weights / per_cell
    h = float(grid.spacing[0])
    inside = (np.arange(per_cell) + 0.5) / per_cell - 0.5
    x = (grid.points[:, 0, None] + h * inside).ravel()
    keep = np.repeat(w, per_cell) > 1e-14
    mu = jko.Particles(x[keep, None], np.repeat(w, per_cell)[keep])
    moved = jko.step(mu, ENERGY, W, tau, solver=CONVEX).measure
    # Cumulative mass at the particles, interpolated at the edges of the cells.
    edges = np.append(grid.lower[0] + h * np.arange(rho.n), grid.upper[0])
    middle = np.cumsum(moved.weights) - moved.weights / 2
    mass = np.interp(edges, moved.points[:, 0], middle, left=0.0, right=moved.mass)
    return rho.with_weights(np.diff(mass) * (rho.mass / np.diff(mass).sum()))


def on_grids() -> None:
    for tau in (0.1, 0.01, 0.001):
        mu = bell(240, 1.0, 0.7)
        exact = bell(240, *reference.ou_step(1.0, 0.7, tau)).weights
        found = {
            "quantiles and remap": remapped(mu, tau).weights,
            "Entropic": jko.step(mu, ENERGY, W, tau, solver=Entropic()).measure.weights,
            "FiniteVolume": jko.step(mu, ENERGY, W, tau, solver=FiniteVolume()).measure.weights,
        }
        shown = "  ".join(f"{k} {np.abs(v - exact).sum():.1e}" for k, v in found.items())
        print(f"grid of 240 cells, tau={tau:g}, L1 to the exact step: {shown}")


if __name__ == "__main__":
    one_step()
    orders()
    cost()
    on_grids()
