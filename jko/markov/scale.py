"""Scale and step of Langevin moves, learnt from the ensemble that moves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jko.markov.mala import Move
from jko.validation import Array

#: Acceptance that is best for MALA in high dimension.
ACCEPTANCE = 0.574
#: Bounds of the whitened step.
SMALLEST, LARGEST = 1e-4, 3.0


@dataclass(frozen=True, eq=False)
class Scale:
    """Root R (d, d) of a preconditioner R R'."""

    root: Array

    @classmethod
    def of_points(cls, x: Array) -> Scale:
        """From the covariance of points (n, d), shrunk towards its diagonal by d / (n + d)."""
        n, d = x.shape
        centred = x - x.mean(axis=0)
        size = np.abs(centred).max(axis=0)  # taken out first: squares may overflow
        size[~(size > 0)] = 1.0
        unit = centred / size
        cov = unit.T @ unit / n
        diagonal = np.maximum(np.diag(cov), 1e-12)
        share = d / (n + d)
        cov = (1 - share) * cov
        cov[np.diag_indices(d)] = (1 + 1e-10) * diagonal
        return cls(size[:, None] * np.linalg.cholesky(cov))


def clip_of(dim: int) -> float:
    """Longest whitened gradient a move follows: twice what it is at equilibrium, and 6 more."""
    return 2 * float(np.sqrt(dim)) + 6


@dataclass
class Tuner:
    """Adapts the step h to the acceptance of the whole ensemble, until it is frozen."""

    h: float
    count: int = 0
    frozen: bool = False

    @classmethod
    def fresh(cls, dim: int) -> Tuner:
        """A whitened step to begin with."""
        return cls(1.2 * float(dim) ** (-1 / 6))

    def learn(self, move: Move) -> None:
        """A stochastic-approximation step on log h."""
        if self.frozen:
            return
        self.count += 1
        rate = max(1 / np.sqrt(self.count), 0.05)
        change = np.exp(rate * (move.acceptance - ACCEPTANCE))
        self.h = float(np.clip(self.h * change, SMALLEST, LARGEST))
