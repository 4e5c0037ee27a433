"""Kernels that depend on |x - y| only, through a profile and a slope of the squared distance."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import ArrayLike

from jko.validation import Array

from .base import Kernel
from .pairwise import ApartSlopes, GramBlock, check_points, difference_sums, sqdistances


class RadialKernel(Kernel):
    """A kernel k(x, y) = profile(|x - y|^2)."""

    radial: bool = True
    stationary: bool = True
    #: the slope blows up at coincident points (Laplace, Energy)
    singular: bool = False

    @abstractmethod
    def _profile(self, sq: Array) -> Array:
        """The kernel as a function of the squared distance; must not write into `sq`."""

    @abstractmethod
    def _slope(self, sq: Array) -> Array:
        """The s(r^2) with grad_1 k(x, y) = s (x - y); 0 at r = 0 where s is unbounded."""

    def _gram(self, x: Array, y: Array) -> Array:
        return self._profile(sqdistances(x, y))

    def _gradient(self, x: Array, y: Array) -> Array:
        return self._slope(sqdistances(x, y))[:, :, None] * (x[:, None, :] - y[None, :, :])

    def diagonal(self, x: ArrayLike) -> Array:
        """The values k(x_i, x_i), shape (n,)."""
        return self._profile(np.zeros(len(check_points(x))))

    def _gradient_sums(self, x: Array, y: Array, v: Array) -> Array:
        if not self.singular:
            return difference_sums(self._slope_blocks(x, y), x, y, v)
        apart = ApartSlopes(self._slope, x, y, v)
        return difference_sums(apart, x, y, v) + apart.close

    def _slope_blocks(self, x: Array, y: Array) -> GramBlock:
        """A function of two slices: rectangles of the slopes between two whole clouds."""
        return lambda i, j: self._slope(sqdistances(x[i], y[j]))
