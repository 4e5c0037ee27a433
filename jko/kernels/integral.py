"""The integral operator of a kernel against a measure, with its spectrum."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from jko.errors import InvalidArgument
from jko.kernels.hooks import Weighted
from jko.validation import Array

from .operators import KernelOperator, operator

if TYPE_CHECKING:
    from .base import Kernel


class IntegralOperator:
    """K_rho g = int k(., y) g(y) drho(y) on the functions of L2(rho), rho discrete.

    `kernel.operator(rho)` is the Gram matrix K of the atoms and knows no weights; this is
    K diag(w). In L2(rho) it is symmetric and compact, with the eigenvalues of
    diag(sqrt w) K diag(sqrt w).

    Attributes
    ----------
    operator : KernelOperator
        The Gram matrix K of the atoms.
    weights : array (n,)
    """

    def __init__(self, gram: KernelOperator, weights: Array) -> None:
        self.operator = gram
        self.weights = weights

    def apply(self, g: ArrayLike) -> Array:
        """K_rho g at the atoms (n,), for the values of g there (n,)."""
        values = np.asarray(g, dtype=np.float64)
        if values.shape != self.weights.shape:
            raise InvalidArgument(
                f"g has shape {values.shape}, expected {self.weights.shape}, one value per atom"
            )
        return self.operator.matvec(self.weights * values)

    __matmul__ = apply

    @cached_property
    def spectrum(self) -> Array:
        """Eigenvalues in L2(rho), the largest first (n,), from the dense matrix."""
        root = np.sqrt(self.weights)
        matrix = root[:, None] * self.operator.dense() * root
        return np.asarray(np.linalg.eigvalsh(matrix)[::-1])

    @property
    def trace(self) -> float:
        """int k(x, x) drho(x)."""
        return float(self.weights @ self.operator.diagonal())

    @property
    def nuclear_norm(self) -> float:
        """Sum of the moduli of the eigenvalues: the trace of a positive-definite kernel."""
        if self.operator.kernel.definiteness == "positive":
            return self.trace
        return float(np.abs(self.spectrum).sum())

    def __repr__(self) -> str:
        return f"IntegralOperator({self.operator.kernel!r}, {self.weights.size} atoms)"


def integral_operator(kernel: Kernel, rho: Weighted) -> IntegralOperator:
    """K_rho of a discrete measure; see `Kernel.integral_operator`."""
    weights = getattr(rho, "weights", None)
    if not isinstance(weights, np.ndarray):
        raise InvalidArgument(
            f"rho got {type(rho).__name__}; pass a Histogram, Particles or GridDensity, or use"
            " kernel.operator(points) for the Gram matrix of points without weights"
        )
    return IntegralOperator(operator(kernel, rho), weights)
