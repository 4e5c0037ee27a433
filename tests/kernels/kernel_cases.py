"""The kernels and measures that every test of this folder runs over."""

from types import SimpleNamespace

import numpy as np

from jko.kernels import Energy, Gaussian, InverseMultiquadric, Kernel, Laplace, Matern

PLAIN: list[Kernel] = [
    Gaussian(0.7),
    InverseMultiquadric(0.8),
    InverseMultiquadric(1.3, exponent=1.5),
    Matern(0.9, nu=0.5),
    Matern(0.9, nu=1.5),
    Matern(0.9, nu=2.5),
    Laplace(1.1),
    Energy(),
    Energy(exponent=1.5),
    Energy(exponent=0.5),
]
COMPOUND: list[Kernel] = [
    2.5 * Gaussian(0.7),
    Gaussian(0.7) + 0.5 * Gaussian(2.0),
    Gaussian(0.7) + Energy(),
    Laplace(1.1) * InverseMultiquadric(0.8),
    3.0 * (Matern(0.9) + Gaussian(1.0)) * Laplace(2.0),
    Energy().positive(),
    Energy().positive() * Gaussian(1.0) + Laplace(1.0),
]
KERNELS = PLAIN + COMPOUND
IDS = [repr(k) for k in KERNELS]


def cloud(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


def atoms(n: int, d: int, seed: int = 0, mass: float = 1.0) -> SimpleNamespace:
    """A discrete measure with a zero weight, whenever it has more than two atoms."""
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.2, 1.0, n)
    if n > 2:
        weights[1] = 0.0
    return SimpleNamespace(points=rng.normal(size=(n, d)), weights=mass * weights / weights.sum())


def gaussians(weights: list[float], d: int, seed: int = 0) -> SimpleNamespace:
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(len(weights), d, d)) / np.sqrt(d)
    covs = factors @ factors.transpose(0, 2, 1) + 0.05 * np.eye(d)
    means = rng.normal(size=(len(weights), d))
    return SimpleNamespace(components=(np.array(weights), means, covs))


def grid(shape: tuple[int, ...]) -> SimpleNamespace:
    axes = [(np.arange(n) + 0.5) * (0.3 + 0.1 * k) - 1.0 for k, n in enumerate(shape)]
    points = np.stack([m.ravel() for m in np.meshgrid(*axes, indexing="ij")], axis=1)
    return SimpleNamespace(points=points, grid=SimpleNamespace(axes=axes, shape=shape))
