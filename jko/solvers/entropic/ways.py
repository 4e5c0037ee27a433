"""Costs between atoms as the c-transforms of a bound see them."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from jko.validation import Array


class Ways(ABC):
    """Costs of transport between atoms."""

    @property
    @abstractmethod
    def span(self) -> float:
        """The largest that is known."""

    @abstractmethod
    def transform(self, g: Array) -> Array:
        """min_j C_ij - g_j (n,), from below."""

    @abstractmethod
    def back(self, f: Array) -> Array:
        """min_i C_ij - f_i (n,), from below."""


class DenseWays(Ways):
    """All of them (n, n)."""

    def __init__(self, costs: Array) -> None:
        self.costs = costs

    @property
    def span(self) -> float:
        return float(self.costs.max())

    def transform(self, g: Array) -> Array:
        return np.asarray((self.costs - g).min(axis=1))

    def back(self, f: Array) -> Array:
        return np.asarray((self.costs.T - f).min(axis=1))
