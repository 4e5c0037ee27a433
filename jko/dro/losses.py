"""Losses whose worst case over free particles is a formula."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from jko.errors import InvalidArgument
from jko.validation import Array, finite_array, real


@dataclass(frozen=True, eq=False)
class Quadratic:
    r"""x'Qx/2 + b'x + c.

    Parameters
    ----------
    matrix : (d, d) array
        Symmetric; of any signature.
    coef : (d,) array
    intercept : float
    """

    matrix: Array
    coef: Array
    intercept: float = 0.0
    values: Array = field(init=False, repr=False)
    basis: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        coef = np.atleast_1d(finite_array(self.coef, "coef", InvalidArgument))
        matrix = np.atleast_2d(finite_array(self.matrix, "matrix", InvalidArgument))
        if coef.ndim != 1 or matrix.shape != (coef.size, coef.size):
            raise InvalidArgument(
                f"matrix has shape {matrix.shape} and coef {coef.shape}; expected (d, d) and (d,)"
            )
        if not np.allclose(matrix, matrix.T, rtol=1e-12, atol=0):
            raise InvalidArgument("matrix is not symmetric; pass (matrix + matrix.T) / 2")
        values, basis = np.linalg.eigh(matrix)
        for name, value in (
            ("coef", coef),
            ("matrix", matrix),
            ("intercept", real(self.intercept, "intercept")),
            ("values", values),
            ("basis", basis),
        ):
            object.__setattr__(self, name, value)

    @property
    def dim(self) -> int:
        """d."""
        return int(self.basis.shape[0])

    @property
    def curvature(self) -> float:
        """The largest eigenvalue of Q."""
        return float(self.values[-1])

    def __call__(self, x: Array) -> Array:
        return np.asarray(
            0.5 * np.einsum("ij,jk,ik->i", x, self.matrix, x) + x @ self.coef + self.intercept
        )

    def gradient(self, x: Array) -> Array:
        """(n, d)."""
        return np.asarray(x @ self.matrix + self.coef)


def Linear(coef: ArrayLike, intercept: float = 0.0) -> Quadratic:
    """b'x + c: over a Wasserstein ball of radius r its worst case is E loss + r |b|, at mass 1."""
    b = np.atleast_1d(finite_array(coef, "coef", InvalidArgument))
    return Quadratic(np.zeros((b.size, b.size)), b, intercept)
