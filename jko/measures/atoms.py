"""Weighted points: histograms (weights vary) and particles (points may move too)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from jko.measures.base import Discrete
from jko.numerics.distinct import groups
from jko.validation import Array, Index, points_array, weights_array


class _Atoms(Discrete):
    @cached_property
    def groups(self) -> Index | None:
        """Number (n,) of the distinct point of every atom; None where all atoms differ."""
        return groups(self.points)

    def with_weights(self, weights: ArrayLike) -> Self:
        # The points were checked once and are read-only: weights change in every step, so the
        # new measure shares them instead of copying and checking (n, d) numbers again.
        out = object.__new__(type(self))
        object.__setattr__(out, "points", self.points)
        object.__setattr__(out, "weights", weights_array(weights, self.n))
        if "groups" in self.__dict__:
            out.__dict__["groups"] = self.groups
        return out


@dataclass(frozen=True, eq=False, repr=False)
class Histogram(_Atoms):
    """A measure on a fixed support; only its weights vary.

    Parameters
    ----------
    points : (n, d) array
    weights : (n,) array, non-negative, positive sum
    """

    points: Array
    weights: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", points_array(self.points))
        object.__setattr__(self, "weights", weights_array(self.weights, self.points.shape[0]))


@dataclass(frozen=True, eq=False, repr=False)
class Particles(_Atoms):
    """Weighted points whose positions and weights may both move.

    Parameters
    ----------
    points : (n, d) array
    weights : (n,) array, optional
        Uniform weights of total mass 1 by default.
    """

    points: Array
    weights: Array

    def __init__(self, points: ArrayLike, weights: ArrayLike | None = None) -> None:
        checked = points_array(points)
        n = checked.shape[0]
        w = np.full(n, 1.0 / n) if weights is None else weights
        object.__setattr__(self, "points", checked)
        object.__setattr__(self, "weights", weights_array(w, n))

    def with_points(self, points: ArrayLike) -> Self:
        checked = points_array(points)
        if checked.shape[0] != self.n:
            return type(self)(points, self.weights)  # which says what is wrong
        # The weights were checked once and are read-only: points change in every step.
        out = object.__new__(type(self))
        object.__setattr__(out, "points", checked)
        object.__setattr__(out, "weights", self.weights)
        return out
