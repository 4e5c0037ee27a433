"""Random measures with unequal sizes, zero weights and masses other than 1."""

from __future__ import annotations

import numpy as np

import jko


def weights(n: int, seed: int = 0, mass: float = 1.0, zeros: int | None = None) -> np.ndarray:
    """Unequal weights (n,), a fifth of them zero by default; at least one stays positive."""
    rng = np.random.default_rng(seed)
    w = rng.uniform(0.1, 1.0, n)
    count = min(n // 5 if zeros is None else zeros, n - 1)
    w[rng.permutation(n)[:count]] = 0.0
    return w * (mass / w.sum())


def points(n: int, dim: int = 2, seed: int = 0, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed + 1000).normal(size=(n, dim)) + shift


def histogram(
    n: int = 17, dim: int = 2, seed: int = 0, mass: float = 1.0, zeros: int | None = None
) -> jko.Histogram:
    return jko.Histogram(points(n, dim, seed), weights(n, seed, mass, zeros))


def particles(
    n: int = 17,
    dim: int = 2,
    seed: int = 0,
    mass: float = 1.0,
    zeros: int | None = None,
    shift: float = 0.0,
) -> jko.Particles:
    return jko.Particles(points(n, dim, seed, shift), weights(n, seed, mass, zeros))


def grid_density(
    shape: tuple[int, ...] = (6, 5), seed: int = 0, mass: float = 1.0, zeros: int | None = None
) -> jko.GridDensity:
    grid = jko.Grid([-2.0] * len(shape), [2.5] * len(shape), shape)
    return jko.GridDensity(grid, weights(grid.size, seed, mass, zeros))


def gaussian(dim: int = 2, seed: int = 0, mass: float = 1.0) -> jko.Gaussian:
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(dim, dim)) / np.sqrt(dim)
    return jko.Gaussian(rng.normal(size=dim), factor @ factor.T + 0.3 * np.eye(dim), mass)


def mixture(count: int = 3, dim: int = 2, seed: int = 0) -> jko.GaussianMixture:
    parts = [gaussian(dim, seed + i) for i in range(count)]
    share = weights(count, seed, zeros=0)
    return jko.GaussianMixture([g.mean for g in parts], [g.cov for g in parts], share)


def sibling(
    mu: jko.Histogram, seed: int = 1, mass: float | None = None, zeros: int | None = None
) -> jko.Histogram:
    """Another measure on the same atoms, of the same mass unless told otherwise."""
    return mu.with_weights(weights(mu.n, seed, mu.mass if mass is None else mass, zeros))
