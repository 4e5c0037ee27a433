"""Particles on the line whose discrete flows are known exactly, whatever their number."""

from __future__ import annotations

from functools import cache

import numpy as np

import jko
from jko.solvers import Quantile

W = jko.Wasserstein()
WELL = jko.Potential(lambda x: 0.5 * x[:, 0] ** 2, gradient=lambda x: x)


def uneven(n: int, seed: int = 0) -> np.ndarray:
    """Weights that sum to 1 and vary by a factor of three."""
    w = np.random.default_rng(seed).uniform(1.0, 3.0, n)
    return w / w.sum()


@cache
def profile(m: float, n: int = 40, seed: int | None = 0) -> jko.Particles:
    """The minimiser y of the internal energy (m = 1: entropy) plus sum w y^2/2.

    The internal energy of the spacings is homogeneous, as in the continuum: its step carries
    mean + scale y to mean' + scale' y exactly.
    """
    weights = np.full(n, 1.0 / n) if seed is None else uneven(n, seed)
    internal = jko.Entropy() if m == 1 else jko.PorousMedium(m)
    mu = jko.Particles(np.linspace(-1.0, 1.0, n)[:, None], weights)
    for tau in (10.0, 1e6, 1e12):
        mu = jko.step(mu, internal + WELL, W, tau, solver=Quantile(curvature=1.0)).measure
    return mu


def affine(y: jko.Particles, mean: float, scale: float) -> jko.Particles:
    return y.with_points(mean + scale * y.points)
