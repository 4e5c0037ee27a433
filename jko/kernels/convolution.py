"""Gaussians convolved with Gaussians."""

from __future__ import annotations

import numpy as np

from jko.validation import Array


def _whiten(bandwidth: float, cov: Array, shift: Array) -> tuple[Array, Array, Array]:
    """L with LL' = I + S/h^2, the columns L^(-1) z/h, and the convolution at each z."""
    low = np.linalg.cholesky(np.eye(len(cov)) + cov / bandwidth / bandwidth).astype(np.float64)
    # NumPy's general solver, although L is triangular: SciPy's triangular one would wake a second
    # BLAS thread pool inside loops that multiply with NumPy, which costs far more.
    white: Array = np.linalg.solve(low, shift.T / bandwidth).astype(np.float64)
    exponent = np.log(np.diag(low)).sum() + 0.5 * np.einsum("ij,ij->j", white, white)
    return low, white, np.exp(-exponent)


def gaussian_convolution(bandwidth: float, cov: Array, shift: Array) -> Array:
    """The Gaussian kernel integrated against N(0, S), at `shift` (formula M7).

    det(I + S/h^2)^(-1/2) exp(-z'(h^2 I + S)^(-1) z / 2) for each row z of `shift`.

    Parameters
    ----------
    bandwidth : float
    cov : array (d, d)
        S, positive semidefinite; zero gives the kernel itself.
    shift : array (n, d)

    Returns
    -------
    array (n,)
    """
    return _whiten(bandwidth, cov, shift)[2]


def gaussian_convolution_gradient(bandwidth: float, cov: Array, shift: Array) -> Array:
    """Gradient in `shift` of `gaussian_convolution`, shape (n, d)."""
    low, white, values = _whiten(bandwidth, cov, shift)
    return -values[:, None] * (np.linalg.solve(low.T, white) / bandwidth).T
