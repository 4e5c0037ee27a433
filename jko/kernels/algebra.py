"""Sums, products and multiples of kernels, kept in one normal form.

Every expression becomes a sum of multiples of products of plain kernels: ``2 * (k1 + k2)`` is
``2 * k1 + 2 * k2`` and ``(k1 + k2) * k3`` is ``k1 * k3 + k2 * k3``; two Gaussian factors merge
into one. So whatever a term can do (closed-form integrals, axis-by-axis application) survives
in the expression, term by term.

====================  ========================================  =============================
property              sum                                       product
====================  ========================================  =============================
definiteness          positive when all terms are               positive; conditional factors
                                                                are refused
radial, stationary    when all terms are                        when all factors are
separable             no (a sum of separable operators)         when all factors are
Gaussian integrals    when all terms have them                  Gaussian factors merge into one
====================  ========================================  =============================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from jko.errors import Unsupported
from jko.kernels.compound import Compound, LinearCompound
from jko.validation import Array, positive

from .base import Kernel
from .hooks import Definiteness
from .stationary import Gaussian


@dataclass(frozen=True, repr=False)
class Sum(LinearCompound):
    """k1 + k2 + ... (built by ``+``).

    Parameters
    ----------
    terms : tuple of Kernel
    """

    terms: tuple[Kernel, ...]

    @property
    def parts(self) -> tuple[Kernel, ...]:
        """The terms."""
        return self.terms

    def __repr__(self) -> str:
        return " + ".join(repr(t) for t in self.terms)

    def _combine(self, values: Sequence[Array]) -> Array:
        return reduce(np.add, values)

    def gaussian_terms(self) -> list[tuple[float, float]] | None:
        """Those of all terms, None when one has none."""
        found = [t.gaussian_terms() for t in self.terms]
        return None if None in found else [pair for t in found for pair in t or []]

    def positive(self) -> Kernel:
        """The sum of the positive versions of the terms."""
        return Sum(tuple(t.positive() for t in self.terms))

    def positive_about(self, points: Array) -> Kernel:
        """The sum of the positive versions near `points`."""
        return Sum(tuple(t.positive_about(points) for t in self.terms))

    def _gaussian_embed(self, mean: Array, cov: Array, x: Array) -> Array:
        return self._combine([t._gaussian_embed(mean, cov, x) for t in self.terms])

    def _gaussian_embed_gradient(self, mean: Array, cov: Array, x: Array) -> Array:
        return self._combine([t._gaussian_embed_gradient(mean, cov, x) for t in self.terms])


@dataclass(frozen=True, repr=False)
class Product(Compound):
    """k1 * k2 * ... of positive-definite kernels (built by ``*``).

    Parameters
    ----------
    factors : tuple of Kernel
    """

    factors: tuple[Kernel, ...]

    def __post_init__(self) -> None:
        for factor in self.factors:
            if factor.definiteness != Definiteness.POSITIVE:
                raise Unsupported(
                    f"a product with {factor!r} is not positive definite, since that kernel is"
                    f" only {factor.definiteness}; multiply by kernel.positive() instead"
                )

    @property
    def parts(self) -> tuple[Kernel, ...]:
        """The factors."""
        return self.factors

    @property
    def separable(self) -> bool:  # type: ignore[override]
        """Whether all factors are products over the axes."""
        return all(f.separable for f in self.factors)

    def __repr__(self) -> str:
        return " * ".join(repr(f) for f in self.factors)

    def _combine(self, values: Sequence[Array]) -> Array:
        return reduce(np.multiply, values)

    def _combine_derivative(self, values: Sequence[Array], slopes: Sequence[Array]) -> Array:
        terms = [
            reduce(np.multiply, [s if i == j else v for j, v in enumerate(values)])
            for i, s in enumerate(slopes)
        ]
        return reduce(np.add, terms)

    def axis_grams(self, axes: Sequence[Array]) -> list[Array]:
        """Entrywise products of the factors' one-dimensional Gram matrices."""
        grams = [f.axis_grams(axes) for f in self.factors]
        return [reduce(np.multiply, per_axis) for per_axis in zip(*grams, strict=True)]


@dataclass(frozen=True, repr=False)
class Scaled(LinearCompound):
    """A positive multiple c k (built by ``2.0 * k``).

    Parameters
    ----------
    factor : float
        c > 0.
    kernel : Kernel
    """

    factor: float
    kernel: Kernel

    @property
    def parts(self) -> tuple[Kernel, ...]:
        """The one kernel that is scaled."""
        return (self.kernel,)

    @property
    def separable(self) -> bool:  # type: ignore[override]
        """Whether the scaled kernel is a product over the axes."""
        return self.kernel.separable

    def __repr__(self) -> str:
        return f"{self.factor:g} * {self.kernel!r}"

    def _combine(self, values: Sequence[Array]) -> Array:
        return self.factor * values[0]

    def gaussian_terms(self) -> list[tuple[float, float]] | None:
        """Those of the kernel, scaled."""
        inner = self.kernel.gaussian_terms()
        return None if inner is None else [(self.factor * c, h) for c, h in inner]

    def positive(self) -> Kernel:
        """The multiple of the positive version."""
        return Scaled(self.factor, self.kernel.positive())

    def positive_about(self, points: Array) -> Kernel:
        """The multiple of the positive version near `points`."""
        return Scaled(self.factor, self.kernel.positive_about(points))

    def axis_grams(self, axes: Sequence[Array]) -> list[Array]:
        """The kernel's one-dimensional Gram matrices, the first one scaled."""
        first, *rest = self.kernel.axis_grams(axes)
        return [self.factor * first, *rest]

    def _gaussian_embed(self, mean: Array, cov: Array, x: Array) -> Array:
        return self.factor * self.kernel._gaussian_embed(mean, cov, x)

    def _gaussian_embed_gradient(self, mean: Array, cov: Array, x: Array) -> Array:
        return self.factor * self.kernel._gaussian_embed_gradient(mean, cov, x)


def add(left: Kernel, right: Kernel) -> Kernel:
    """The sum, flattened."""
    return Sum(left.terms + right.terms)


def scale(factor: object, kernel: Kernel) -> Kernel:
    """The multiple by a positive number, distributed over sums."""
    c = positive(factor, "factor", "a kernel times a number <= 0 is no kernel")
    if isinstance(kernel, Sum):
        return Sum(tuple(scale(c, t) for t in kernel.terms))
    if isinstance(kernel, Scaled):
        return scale(c * kernel.factor, kernel.kernel)
    return kernel if c == 1.0 else Scaled(c, kernel)


def multiply(left: Kernel, right: Kernel) -> Kernel:
    """The product, distributed over sums and with Gaussian factors merged."""
    return reduce(add, [_multiply_terms(a, b) for a in left.terms for b in right.terms])


def _multiply_terms(left: Kernel, right: Kernel) -> Kernel:
    c = 1.0
    factors: list[Kernel] = []
    for kernel in (left, right):
        if isinstance(kernel, Scaled):
            c, kernel = c * kernel.factor, kernel.kernel
        factors.extend(kernel.factors if isinstance(kernel, Product) else (kernel,))
    gaussians = [f for f in factors if isinstance(f, Gaussian)]
    others = [f for f in factors if not isinstance(f, Gaussian)]
    if gaussians:
        # exp(-r^2/(2 a^2)) exp(-r^2/(2 b^2)) is Gaussian with 1/h^2 = 1/a^2 + 1/b^2.
        inverse = float(np.linalg.norm([1.0 / g.bandwidth for g in gaussians]))
        merged = gaussians[0] if len(gaussians) == 1 else Gaussian(1.0 / inverse)
        others = [merged, *others]
    return scale(c, others[0] if len(others) == 1 else Product(tuple(others)))
