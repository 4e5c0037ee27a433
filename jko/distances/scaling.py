r"""Debiased scaling on grids, in the log domain: barycentres in the Sinkhorn divergence."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jko.measures.grid import Grid
from jko.numerics.elementary import log_or_minus_inf
from jko.numerics.log_lines import LineKernel
from jko.validation import Array


class ScalingOutcome(NamedTuple):
    """Weights (n,) of mass 1, their relative change in the last sweep, and the sweeps made."""

    weights: Array
    residual: float
    iterations: int


def debiased_barycentre(
    grid: Grid, measures: list[Array], lam: Array, eps: float, tol: float, limit: int
) -> ScalingOutcome:
    """argmin of sum lambda_k S_eps(., m_k), weights (n,) of mass 1 on the cells of a plain grid.

    Per sweep and measure a = m/(K b), s = K'a; nu = d prod s^lambda, b = nu/s, and the symmetric
    scaling d <- sqrt(d nu/(K d)) (Janati, Cuturi and Gramfort 2020). From b = d = 1 the first sweep
    blurs every measure and takes the geometric mean, which for Gaussians of one covariance is in
    its place already; in the log domain it does so at any distance.
    """
    shape = tuple(grid.shape)
    logs = [log_or_minus_inf(m).reshape(shape) for m in measures]
    potentials = [np.zeros(shape) for _ in measures]  # eps log b
    centre = np.zeros(shape)  # eps log d
    kernel, residual = _Kernel(grid, eps), np.inf
    nu, count = np.full(shape, 1.0 / np.prod(shape)), 0
    while residual > tol and count < limit:
        found, potentials, centre = _sweep(kernel, logs, lam, potentials, centre)
        residual, nu, count = float(np.abs(found - nu).sum()), found, count + 1
    return ScalingOutcome((nu / nu.sum()).ravel(), residual, count)


def _sweep(
    kernel: _Kernel, logs: list[Array], lam: Array, potentials: list[Array], centre: Array
) -> tuple[Array, list[Array], Array]:
    eps = kernel.eps
    d = centre / eps
    reached = [kernel(m - kernel(f / eps)) for m, f in zip(logs, potentials, strict=True)]
    log_nu = d + sum(c * s for c, s in zip(lam, reached, strict=True))
    top = float(log_nu.max())
    log_nu = log_nu - (top + np.log(np.exp(log_nu - top).sum()))  # a factor of b alone
    potentials = [eps * (log_nu - s) for s in reached]
    centre = eps * 0.5 * (d + log_nu - kernel(d))
    return np.asarray(np.exp(log_nu)), potentials, centre


class _Kernel:
    """exp(-|x - y|^2/eps) on a grid, axis by axis, in the log domain."""

    def __init__(self, grid: Grid, eps: float) -> None:
        self.eps = eps
        self.lines = [
            LineKernel(n, float(h), eps, bool(around))
            for n, h, around in zip(grid.shape, grid.spacing, grid.periodic, strict=True)
        ]

    def __call__(self, v: Array) -> Array:
        """log(K e^v)."""
        for axis, line in enumerate(self.lines):
            moved = np.moveaxis(v, axis, -1)
            flat = np.ascontiguousarray(moved.reshape(-1, moved.shape[-1]))
            v = np.moveaxis(line.log_apply(flat).reshape(moved.shape), -1, axis)
        return v
