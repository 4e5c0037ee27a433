"""The kernel contract: Gram matrices, gradients and sums against them, blocked in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from jko.errors import Unsupported
from jko.validation import Array

from .hooks import Algebra, Alone, Definiteness, Weighted, no_closed_form
from .pairwise import (
    BLOCK_ENTRIES,
    GramBlock,
    block_sums,
    blocks,
    check_coefficients,
    check_pair,
    check_points,
    tiles,
)

if TYPE_CHECKING:
    from .fast_sums import FastSums
    from .integral import IntegralOperator
    from .operators import KernelOperator


class Kernel(ABC):
    """A symmetric kernel k(x, y) on R^d.

    Concrete kernels are frozen dataclasses, equal and hashable by value. They add
    (``k1 + k2``), multiply (``k1 * k2``) and scale (``2.0 * k``).

    A kernel of your own subclasses `Kernel` and supplies ``_gram``, ``_gradient`` and
    ``diagonal``; one that depends on |x - y| only subclasses `RadialKernel` and supplies
    ``profile``. Everything else follows.
    """

    __array_ufunc__ = None  # so that np.float64(2) * k reaches __rmul__

    #: k depends on x - y only: grids may use a Fourier transform.
    stationary: bool = False
    #: k is a product of one-dimensional kernels over the axes: see `axis_grams`.
    separable: bool = False
    #: The kernels that add up to k: itself alone, or the terms of a sum.
    if TYPE_CHECKING:
        terms: tuple[Kernel, ...]
    else:
        terms = Alone()
    #: Set by `jko.kernels`.
    _algebra: ClassVar[Algebra]

    # -- what a concrete kernel supplies -------------------------------------------------

    @abstractmethod
    def _gram(self, x: Array, y: Array) -> Array:
        """k(x_i, y_j), shape (n, m), arguments already checked."""

    @abstractmethod
    def _gradient(self, x: Array, y: Array) -> Array:
        """grad_1 k(x_i, y_j), shape (n, m, d), arguments already checked."""

    @abstractmethod
    def diagonal(self, x: ArrayLike) -> Array:
        """The values k(x_i, x_i), shape (n,)."""

    @property
    def definiteness(self) -> Definiteness:
        """``"positive"``, or ``"conditional"`` when v'Kv >= 0 needs sum v = 0."""
        return Definiteness.POSITIVE

    @property
    def maximum(self) -> float | None:
        """An upper bound of k(x, x) over all x, or None when there is none."""
        return None

    def gaussian_terms(self) -> list[tuple[float, float]] | None:
        """Multiples and bandwidths when k is a sum of Gaussian kernels, None otherwise."""
        return None

    def positive(self) -> Kernel:
        """A positive-definite kernel giving the same (mu - nu)'K(mu - nu) at equal masses."""
        return self

    def axis_grams(self, axes: Sequence[Array]) -> list[Array]:
        """One-dimensional Gram matrices whose Kronecker product is the Gram matrix of a grid.

        Parameters
        ----------
        axes : sequence of arrays (n_k,)
            Cell centres along each axis.

        Returns
        -------
        list of arrays (n_k, n_k)

        Raises
        ------
        Unsupported
            When the kernel is no product over the axes.
        """
        raise Unsupported(
            f"{self!r} is no product over the axes; use kernel.operator(support), which"
            " applies it by a Fourier transform on uniform grids"
        )

    # -- values ------------------------------------------------------------------------

    def __call__(self, x: ArrayLike, y: ArrayLike | None = None) -> Array:
        """Gram matrix k(x_i, y_j).

        Parameters
        ----------
        x : array (n, d)
        y : array (m, d), default x

        Returns
        -------
        array (n, m)
        """
        return self._gram(*check_pair(x, y))

    def positive_gram(self, x: ArrayLike, y: ArrayLike | None = None) -> Array:
        """Gram matrix (n, m) of `positive_about(x)`: k, or k + |x-o|^p + |y-o|^p for Energy."""
        return self.positive_about(check_points(x))(x, y)

    def positive_about(self, points: Array) -> Kernel:
        """`positive`, with the choice it leaves made to lose no digits near `points` (n, d)."""
        del points
        return self.positive()

    def gradient(self, x: ArrayLike, y: ArrayLike) -> Array:
        """Gradient in the first argument, grad_1 k(x_i, y_j).

        At coincident points of Laplace, Matern(nu=0.5) and Energy, where k has a kink, the
        value is 0: the symmetric subgradient, which exerts no force of an atom on itself.

        Parameters
        ----------
        x, y : arrays (n, d), (m, d)

        Returns
        -------
        array (n, m, d)
        """
        return self._gradient(*check_pair(x, y))

    def apply(self, x: ArrayLike, y: ArrayLike, v: ArrayLike) -> Array:
        """Sum_j v_j k(x_i, y_j) in bounded memory.

        Parameters
        ----------
        x, y : arrays (n, d), (m, d)
        v : array (m,) or (m, q)

        Returns
        -------
        array (n,) or (n, q)
        """
        a, b = check_pair(x, y)
        return self._sums(a, b, check_coefficients(v, len(b), columns=True))

    def _sums(self, x: Array, y: Array, v: Array) -> Array:
        """`apply` of checked arguments; y is x sweeps half of the symmetric matrix."""
        return block_sums(self._gram_blocks(x, y), x, y, v)

    def _gram_blocks(self, x: Array, y: Array) -> GramBlock:
        """A function of two slices: rectangles of the Gram matrix of two whole clouds."""
        return lambda i, j: self._gram(x[i], y[j])

    def _self_gram(self, x: Array) -> Array:
        """The symmetric Gram matrix (n, n) of one cloud, each pair computed once."""
        out = np.empty((len(x), len(x)))
        block = self._gram_blocks(x, x)
        for i, j in tiles(len(x)):
            if i == j:
                out[i, j] = self._gram(x[i], x[i])
            else:
                out[i, j] = block(i, j)
                out[j, i] = out[i, j].T
        return out

    def gradient_apply(self, x: ArrayLike, y: ArrayLike, v: ArrayLike) -> Array:
        """Sum_j v_j grad_1 k(x_i, y_j) in bounded memory (never an (n, m, d) array).

        Parameters
        ----------
        x, y : arrays (n, d), (m, d)
        v : array (m,)

        Returns
        -------
        array (n, d)
        """
        a, b = check_pair(x, y)
        return self._gradient_sums(a, b, check_coefficients(v, len(b)))

    def _gradient_sums(self, x: Array, y: Array, v: Array) -> Array:
        """`gradient_apply` of checked arguments, from blocks of the (n, m, d) array."""
        out = np.zeros_like(x)
        for i, j in blocks(len(x), len(y), max(1, BLOCK_ENTRIES // x.shape[1])):
            out[i] += np.einsum("ijk,j->ik", self._gradient(x[i], y[j]), v[j])
        return out

    # -- algebra -----------------------------------------------------------------------

    def __add__(self, other: object) -> Kernel:
        return self._algebra.add(self, other) if isinstance(other, Kernel) else NotImplemented

    def __radd__(self, other: object) -> Kernel:
        # sum([k1, k2]) starts from the integer 0.
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def __mul__(self, other: object) -> Kernel:
        if isinstance(other, Kernel):
            return self._algebra.multiply(self, other)
        number = isinstance(other, (int, float, np.number))
        return self._algebra.scale(other, self) if number else NotImplemented

    __rmul__ = __mul__

    # -- measures (formula M7) --------------------------------------------------------------

    def embed(self, mu: object, x: ArrayLike, sums: FastSums | None = None) -> Array:
        """Mean embedding int k(x_i, y) dmu(y), shape (n,); see `jko.kernels.embedding`."""
        from .embedding import embed

        return embed(self, mu, x, sums)

    def embed_gradient(self, mu: object, x: ArrayLike, sums: FastSums | None = None) -> Array:
        """Gradient of the mean embedding at each x_i, shape (n, d)."""
        from .embedding import embed_gradient

        return embed_gradient(self, mu, x, sums)

    def inner(self, mu: object, nu: object) -> float:
        """Double integral of k(x, y) dmu(x) dnu(y)."""
        from .embedding import inner

        return inner(self, mu, nu)

    def mmd2(self, mu: object, nu: object, statistic: str = "V") -> float:
        """Squared maximum mean discrepancy; see `jko.kernels.embedding.mmd2`."""
        from .embedding import mmd2

        return mmd2(self, mu, nu, statistic=statistic)

    def _gaussian_embed(self, mean: Array, cov: Array, x: Array) -> Array:
        """int k(x_i, y) dN(mean, cov)(y), shape (n,)."""
        raise Unsupported(no_closed_form(self))

    def _gaussian_embed_gradient(self, mean: Array, cov: Array, x: Array) -> Array:
        """Gradient of `_gaussian_embed`, shape (n, d)."""
        raise Unsupported(no_closed_form(self))

    # -- operators -----------------------------------------------------------------------

    def operator(self, support: Weighted | ArrayLike) -> KernelOperator:
        """The Gram matrix of a fixed support as a linear operator, for hot loops.

        Parameters
        ----------
        support : a measure, or an array (n, d)
            Has ``.points (n, d)``; a grid density also has ``.grid`` with ``.axes``, ``.shape``.

        Returns
        -------
        KernelOperator
            Axis by axis for separable kernels on grids, by circulant embedding for stationary
            kernels on uniform grids, dense or blocked otherwise.
        """
        from .operators import operator

        return operator(self, support)

    def integral_operator(self, rho: Weighted) -> IntegralOperator:
        """K_rho g = int k(., y) g(y) drho(y), with spectrum, trace and nuclear norm.

        Parameters
        ----------
        rho : Histogram, Particles or GridDensity

        Returns
        -------
        IntegralOperator
        """
        from .integral import integral_operator

        return integral_operator(self, rho)
