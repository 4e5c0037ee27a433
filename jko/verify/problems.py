"""Small problems with fixed seeds that the checks run on: unequal sizes, some weights zero."""

from __future__ import annotations

import numpy as np

from jko.energies import Potential
from jko.kernels import Gaussian as GaussianKernel
from jko.kernels import Laplace
from jko.measures import Grid, GridDensity, Histogram, Particles
from jko.measures.gaussian import Gaussian
from jko.validation import Array

#: A smooth kernel (its Gram matrix is singular to rounding) and one whose Gram matrix inverts well.
SMOOTH = GaussianKernel(bandwidth=0.8)
ROUGH = Laplace(bandwidth=1.0)


def weights(n: int, rng: np.random.Generator, mass: float = 1.0, zeros: int = 0) -> Array:
    """Random weights (n,) of the given sum; `zeros` of them vanish."""
    out = rng.uniform(0.2, 1.0, n)
    out[rng.permutation(n)[:zeros]] = 0.0
    return np.asarray(mass * out / out.sum())


def shared(
    n: int = 40,
    seed: int = 0,
    *,
    dim: int = 2,
    zeros: int = 3,
    masses: tuple[float, float] = (1, 1),
) -> tuple[Histogram, Histogram]:
    """A target and a previous measure on the same atoms; `masses` are theirs, in this order."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, dim))
    target = Histogram(points, weights(n, rng, masses[0], zeros))
    return target, Histogram(points, weights(n, rng, masses[1], zeros))


def scattered(
    n: int = 25,
    m: int = 40,
    seed: int = 0,
    *,
    apart: float = 1.0,
    masses: tuple[float, float] = (1, 1),
) -> tuple[Particles, Particles]:
    """A target of m atoms and a previous measure of n others, `apart` away from it."""
    rng = np.random.default_rng(seed)
    target = Particles(rng.normal(size=(m, 2)), weights(m, rng, masses[0], 2))
    shift = np.array([apart, 0.0])
    return target, Particles(rng.normal(size=(n, 2)) + shift, weights(n, rng, masses[1], 2))


def partly_covered(n: int = 25, m: int = 40, seed: int = 0) -> tuple[Histogram, Histogram]:
    """A target of m atoms and a previous measure on the first n of them."""
    target, other = shared(m, seed, zeros=0)
    inside = weights(n, np.random.default_rng(seed + 1))
    return target, Histogram(other.points[:n], inside)


def on_line(n: int = 60) -> tuple[GridDensity, GridDensity]:
    """A target and a previous density on one grid of the line, both of mass 1.3."""
    grid = Grid([-4.0], [4.0], [n])

    def bump(centre: float, width: float) -> GridDensity:
        return GridDensity.from_function(
            lambda x: np.exp(-(((x[:, 0] - centre) / width) ** 2) / 2), grid, mass=1.3
        )

    return bump(0.4, 1.0), bump(-0.8, 0.7)


def gaussians() -> tuple[Gaussian, Gaussian]:
    """A target and a start in the plane, neither centred nor aligned."""
    target = Gaussian(np.array([0.5, -0.3]), np.array([[1.5, 0.4], [0.4, 0.8]]))
    return target, Gaussian(np.array([-1.0, 1.2]), np.array([[0.4, -0.1], [-0.1, 2.0]]))


def well() -> Potential:
    """V = |x|^2/2 with its gradient."""
    return Potential(lambda x: 0.5 * (x**2).sum(axis=1), gradient=lambda x: x)
