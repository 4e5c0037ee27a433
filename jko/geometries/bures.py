"""The Bures geometry: W2 between Gaussians, its maps and its geodesics."""

from __future__ import annotations

import numpy as np

from jko.errors import InvalidArgument
from jko.measures.gaussian import Gaussian
from jko.validation import Array, finite_array


def symmetric_sqrt(matrix: Array) -> Array:
    """Square root of a symmetric positive-semidefinite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    root: Array = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    return root


def bures(a: Gaussian, b: Gaussian) -> float:
    """W2^2 between normalised Gaussians: |m_a - m_b|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2).

    The trace is |A^1/2 - B^1/2 O|^2 with O the polar factor, which does not cancel for close A, B.
    """
    root_a, root_b = symmetric_sqrt(a.cov), symmetric_sqrt(b.cov)
    u, _, vt = np.linalg.svd(root_b @ root_a)
    gap = root_a - root_b @ (u @ vt)
    return float(((a.mean - b.mean) ** 2).sum() + (gap**2).sum())


def bures_map(a: Gaussian, b: Gaussian) -> Array:
    """The linear part (d, d) of the optimal map from `a` to `b`: symmetric positive definite.

    (A^1/2 B A^1/2)^1/2 is V s V' for the singular values s of B^1/2 A^1/2 = U s V': squaring first
    would lose every direction whose standard deviation is below 1e-4 of the largest.
    """
    root = symmetric_sqrt(a.cov)
    _, s, vt = np.linalg.svd(symmetric_sqrt(b.cov) @ root)
    inner = (vt.T * s) @ vt
    half = np.linalg.solve(root, inner)
    linear = np.linalg.solve(root, half.T)
    return np.asarray((linear + linear.T) / 2)


def bures_geodesic(a: Gaussian, b: Gaussian, t: float) -> Gaussian:
    """The point at time t of the W2 geodesic between Gaussians."""
    blend = (1 - t) * np.eye(a.dim) + t * bures_map(a, b)
    half = blend @ symmetric_sqrt(a.cov)
    return Gaussian((1 - t) * a.mean + t * b.mean, half @ half.T, a.mass)


def bures_images(a: Gaussian, b: Gaussian, x: Array | None) -> Array:
    """Where the optimal map m_b + A (x - m_a) sends points (k, d)."""
    if x is None:
        raise InvalidArgument(
            "the map between Gaussians is affine and has no atoms; pass points x (k, d) to map"
        )
    points = np.atleast_2d(finite_array(x, "x", InvalidArgument))
    if points.shape[1] != a.dim:
        raise InvalidArgument(
            f"x has points in dimension {points.shape[1]}, the Gaussians live in {a.dim};"
            f" pass x of shape (k, {a.dim})"
        )
    return np.asarray(b.mean + (points - a.mean) @ bures_map(a, b))
