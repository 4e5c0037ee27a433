"""Relative entropy and Hellinger affinity between Gaussians, in closed form."""

from __future__ import annotations

import numpy as np

from jko.measures.gaussian import Gaussian


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
