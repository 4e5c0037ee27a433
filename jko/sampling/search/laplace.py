"""The top of a mode, and the Gaussian with the curvature there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jko.errors import InvalidMeasure
from jko.markov.mala import Density
from jko.validation import Array

#: Values with gradients that one ascent may take.
ASCENT = 1000
#: Step of the differences of gradients, in standard deviations by the curvature found before.
STEP = 0.1
#: The first step, relative to the size of the coordinate.
FIRST = 1e-4


@dataclass(frozen=True, eq=False)
class LaplaceFit:
    """N(mean, R R') with the height and the curvature of a density at its top.

    Attributes
    ----------
    mean : (d,) array
    root : (d, d) array
    height : float
        Log density at the mean.
    """

    mean: Array
    root: Array
    height: float

    @property
    def log_width(self) -> float:
        """Log of the geometric mean of the standard deviations along the axes."""
        return float(np.log(np.abs(np.diag(self.root))).mean())

    @property
    def log_mass(self) -> float:
        """Log of the integral of the Gaussian bump (Laplace's approximation)."""
        return (
            self.height
            + 0.5 * len(self.mean) * float(np.log(2 * np.pi))
            + float(np.log(np.abs(np.diag(self.root))).sum())
        )

    def draw(self, size: int, rng: np.random.Generator) -> Array:
        """Points (size, d)."""
        return np.asarray(self.mean + rng.standard_normal((size, len(self.mean))) @ self.root.T)

    def log_ratio(self, x: Array, log_p: Array) -> Array:
        """log p - log of the bump (n,)."""
        white = np.linalg.solve(self.root, (x - self.mean).T)
        return np.asarray(log_p - self.height + 0.5 * (white**2).sum(axis=0))


def ascend(target: Density, x: Array, root: Array | None = None) -> tuple[Array, float]:
    """The top reached by L-BFGS from x (d,), in the coordinates u of x + R u; with its height."""
    from scipy.optimize import minimize

    tops, heights = [x], [-np.inf]

    def descend(u: Array) -> tuple[float, Array]:
        point = x + (u if root is None else root @ u)
        value = -np.inf
        if np.isfinite(point).all():
            value = float(target.log_density_at(point[None])[0])
        if not np.isfinite(value):
            return 1e300, np.zeros_like(u)
        if value > heights[-1]:
            tops.append(point)
            heights.append(value)
        slope = target.score(point[None])[0]
        return -value, -(slope if root is None else slope @ root)

    options = {"maxiter": ASCENT, "maxfun": ASCENT, "maxcor": 20, "gtol": 1e-6, "ftol": 1e-13}
    with np.errstate(all="ignore"):
        minimize(descend, np.zeros_like(x), jac=True, method="L-BFGS-B", options=options)
    return tops[-1], heights[-1]


def fit_at(target: Density, top: Array, height: float) -> LaplaceFit | None:
    """The Gaussian with the curvature at a top (d,); None where it is no maximum.

    Differences of gradients, twice: the second time over a tenth of a standard deviation, where
    rounding and small wiggles count little.
    """
    size, scale = FIRST * np.maximum(1.0, np.abs(top)), np.ones_like(top)
    hessian = np.zeros((len(top), len(top)))
    for _ in range(3):
        found = _hessian(target, top, size)
        if found is None or not (np.diag(found) < 0).all():
            return None
        hessian, scale = found, 1 / np.sqrt(-np.diag(found))
        settled = bool((np.abs(np.log(size / (STEP * scale))) < 1).all())
        size = STEP * scale
        if settled:
            break
    unit = -hessian * np.outer(scale, scale)
    values, vectors = np.linalg.eigh((unit + unit.T) / 2)
    if values[0] <= 1e-12:
        return None
    covariance = (vectors / values) @ vectors.T
    try:
        root = scale[:, None] * np.linalg.cholesky((covariance + covariance.T) / 2)
    except np.linalg.LinAlgError:
        return None
    return LaplaceFit(top, np.asarray(root), height)


def _hessian(target: Density, top: Array, size: Array) -> Array | None:
    shift = np.diag(size)
    points = np.concatenate([top + shift, top - shift])
    try:
        inside = np.isfinite(target.log_density_at(points))
        if not inside.all():
            return None
        scores = target.score(points)
    except InvalidMeasure:
        return None
    d = len(top)
    return np.asarray((scores[:d] - scores[d:]) / (2 * size[:, None]))
