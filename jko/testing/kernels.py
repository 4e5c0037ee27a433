"""Is a kernel symmetric, definite, and the primitive of its gradient?"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from jko.kernels import Kernel
from jko.testing.report import close, ran, require
from jko.validation import Array, Seed, points_array, rng_of


def check_kernel(
    kernel: Kernel, points: ArrayLike, *, tol: float = 1e-6, rng: Seed = 0
) -> list[str]:
    """Check a kernel on distinct points.

    Parameters
    ----------
    kernel : Kernel
    points : (n, d) array, n >= 3, no two rows equal
    tol : float
        Relative tolerance of finite differences.
    rng : seed or numpy Generator

    Returns
    -------
    list of str
        Which of "gram", "definiteness", "gradient", "products", "algebra" ran.

    Raises
    ------
    AssertionError
        With a sentence that says which promise is broken.
    """
    job = _KernelCheck(kernel, np.asarray(points_array(points)), tol, rng_of(rng))
    return ran(
        {
            "gram": job.gram,
            "definiteness": job.definiteness,
            "gradient": job.gradient,
            "products": job.products,
            "algebra": job.algebra,
        }
    )


class _KernelCheck:
    def __init__(self, kernel: Kernel, x: Array, tol: float, rng: np.random.Generator) -> None:
        self.kernel, self.x, self.tol, self.rng = kernel, x, tol, rng
        self.k = kernel(x)
        self.size = float(np.abs(self.k).max())

    def _same(self, found: Array, expected: Array | float, tol: float, sentence: str) -> None:
        error = float(np.abs(np.asarray(found) - np.asarray(expected)).max())
        size = max(self.size, float(np.abs(expected).max()))
        close(error, 0.0, size, tol, f"{self.kernel!r}: {sentence}, error")

    def gram(self) -> None:
        n = len(self.x)
        require(self.k.shape == (n, n), f"the Gram matrix has shape {self.k.shape}")
        self._same(self.k, self.k.T, 1e-12, "the Gram matrix is not symmetric")
        diagonal = self.kernel.diagonal(self.x)
        self._same(np.diag(self.k), diagonal, 1e-12, "diagonal is not that of the Gram matrix")
        bound = self.kernel.maximum
        if bound is not None:
            require(float(diagonal.max()) <= bound * (1 + 1e-12), "maximum is no upper bound")

    def definiteness(self) -> None:
        k, kind = self.k, str(self.kernel.definiteness)
        if kind == "conditional":
            centre = np.eye(len(k)) - 1 / len(k)
            k = centre @ k @ centre
        lowest = float(np.linalg.eigvalsh((k + k.T) / 2)[0])
        sentence = f"{self.kernel!r} calls itself {kind}, but has eigenvalue {lowest:.3g}"
        require(lowest >= -1e-10 * len(k) * self.size, sentence)

    def gradient(self) -> None:
        x, h = self.x, 1e-5
        y = self.x[::-1] + 0.1 * self.rng.uniform(0.5, 1.0, x.shape)
        found = self.kernel.gradient(x, y)
        for axis in range(x.shape[1]):
            shift = np.zeros(x.shape[1])
            shift[axis] = h
            slope = (self.kernel(x + shift, y) - self.kernel(x - shift, y)) / (2 * h)
            self._same(found[:, :, axis], slope, self.tol, "gradient misses the slope of values")
        v = self.rng.normal(size=len(y))
        whole = np.einsum("ijk,j->ik", found, v)
        self._same(self.kernel.gradient_apply(x, y, v), whole, 1e-10, "gradient_apply is off")

    def products(self) -> None:
        v = self.rng.normal(size=len(self.x))
        self._same(self.kernel.apply(self.x, self.x, v), self.k @ v, 1e-10, "apply is off")
        operator = self.kernel.operator(self.x)
        self._same(operator.matvec(v), self.k @ v, 1e-10, "the operator misses the Gram matrix")

    def algebra(self) -> None:
        self._same((2.0 * self.kernel)(self.x), 2 * self.k, 1e-12, "2 * k is not twice k")
        both = (self.kernel + self.kernel)(self.x)
        self._same(both, 2 * self.k, 1e-12, "k + k is not twice k")
