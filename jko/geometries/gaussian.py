"""Gaussians in closed form: relative entropy, Hellinger affinity, the natural-gradient update."""

from __future__ import annotations

import numpy as np

from jko.errors import InvalidMeasure
from jko.measures.gaussian import Gaussian
from jko.status import Breakdown, Status
from jko.validation import Array


def gaussian_kl(a: Gaussian, b: Gaussian) -> float:
    """KL(a|b) between Gaussian measures, mass terms included."""
    root = np.linalg.inv(np.linalg.cholesky(b.cov))
    ratio = root @ a.cov @ root.T
    shift = root @ (a.mean - b.mean)
    logdet = np.linalg.slogdet(ratio)[1]
    shape = 0.5 * (np.trace(ratio) - a.dim - logdet + shift @ shift)
    return float(a.mass * (shape + np.log(a.mass / b.mass)) - a.mass + b.mass)


def log_affinity(a: Gaussian, b: Gaussian) -> float:
    """log int sqrt(ab) of the normalised Gaussians (minus the Bhattacharyya distance)."""
    middle = np.linalg.cholesky((a.cov + b.cov) / 2)
    white = np.linalg.inv(middle)
    shift = white @ (a.mean - b.mean)
    logdets = [np.linalg.slogdet(white @ g.cov @ white.T)[1] for g in (a, b)]
    return min(float(0.25 * sum(logdets) - 0.125 * shift @ shift), 0.0)


def hellinger_square(a: Gaussian, b: Gaussian) -> float:
    """He^2(a, b) = 4 int (sqrt a - sqrt b)^2."""
    overlap = 2 * np.sqrt(a.mass * b.mass)
    roots = (np.sqrt(a.mass) - np.sqrt(b.mass)) ** 2
    return float(4 * (roots - overlap * np.expm1(log_affinity(a, b))))


def hellinger_angle(a: Gaussian, b: Gaussian) -> float:
    """SHe of the normalised Gaussians, 2 arccos of the affinity, exact for close ones."""
    lack = -np.expm1(log_affinity(a, b))  # 1 - cos(SHe/2) = 2 sin(SHe/4)^2
    return float(4 * np.arcsin(np.sqrt(lack / 2)))


def natural_update(g: Gaussian, slope: Array, precision: Array) -> Gaussian:
    """The Gaussian of precision L^{-T} M L^{-1} and mean m - L M^{-1} slope, L the root of g.

    Whitened coordinates: no covariance is inverted, and the result is positive definite.
    """
    root = np.linalg.cholesky(g.cov)
    try:
        inner = np.linalg.cholesky(precision)
    except np.linalg.LinAlgError:
        least = float(np.linalg.eigvalsh(precision)[0])
        raise Breakdown(
            Status.UNBOUNDED,
            f"the new precision is not positive (smallest eigenvalue {least:.3g}, relative to the"
            " old): the target is not log-concave here; reduce tau",
        ) from None
    half = np.linalg.solve(inner, root.T)
    cov = half.T @ half
    try:
        return Gaussian(g.mean - half.T @ np.linalg.solve(inner, slope), (cov + cov.T) / 2, g.mass)
    except InvalidMeasure as trouble:
        raise Breakdown(Status.BROKEN, f"the new Gaussian is degenerate: {trouble}") from None
