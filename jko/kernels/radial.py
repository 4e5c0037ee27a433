"""Kernels that depend on |x - y| only, through a profile and a slope of the squared distance."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import ArrayLike

from jko.validation import Array

from .base import Kernel
from .pairwise import NEAR, check_points, sqdistances, weighted_differences


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

    def _gradient_block(self, x: Array, y: Array, v: Array) -> Array:
        sq = sqdistances(x, y)
        near = sq < NEAR**2 * sq.max(initial=0.0) if self.singular else None
        weights = self._slope(sq)
        weights *= v
        return weighted_differences(weights, x, y, near)
