"""Scale and step of Markov moves, learnt from the ensemble that moves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jko.markov.mala import Outcome
from jko.validation import Array

#: Acceptance that is best for MALA in high dimension.
ACCEPTANCE = 0.574
#: The same for Hamiltonian moves.
HAMILTONIAN_ACCEPTANCE = 0.7
#: Bounds of the whitened step.
SMALLEST = 1e-4
LARGEST = 3.0
#: Points per dimension from which a sample covariance is used as it is. Shrinking it was what
#: stopped the chains: a regression with correlation condition 2.6e5 in 26 dimensions failed at
#: R-hat 2.4 with a share d/(n + d) of the diagonal, and passed without.
ENOUGH = 4


@dataclass(frozen=True, eq=False)
class Preconditioner:
    """Root R (d, d) of a preconditioner R R'."""

    root: Array

    @classmethod
    def of_points(cls, x: Array) -> Preconditioner:
        """From the covariance of points (n, d): as it is from `ENOUGH` d points on.

        With fewer points it is a low rank plus a diagonal: the directions of the correlation that
        stand out of the noise of n points are kept, the others get the mean of what is left.
        """
        n, d = x.shape
        centred = x - x.mean(axis=0)
        size = np.abs(centred).max(axis=0)  # taken out first: squares may overflow
        size[~(size > 0)] = 1.0
        unit = centred / size
        spread = np.sqrt(np.maximum((unit**2).mean(axis=0), 1e-12))
        unit /= spread
        correlation = unit.T @ unit / n
        still = np.flatnonzero(~(np.diag(correlation) > 0))
        correlation[still, still] = 1.0
        if n < ENOUGH * d:
            correlation = _standing_out(correlation, n)
        return cls((size * spread)[:, None] * _cholesky(correlation))


def _standing_out(correlation: Array, n: int) -> Array:
    """Directions of a correlation above the edge of noise (1 + sqrt(d/n))^2; a diagonal for all."""
    d = len(correlation)
    values, vectors = np.linalg.eigh(correlation)
    kept = values > (1 + np.sqrt(d / n)) ** 2
    rest = 1.0 if kept.all() else float(values[~kept].sum()) / (d - int(kept.sum()))
    rest = max(rest, 1e-6)
    top = vectors[:, kept]
    out = (top * (values[kept] - rest)) @ top.T
    out[np.diag_indices(d)] += rest
    return np.asarray(out)


def _cholesky(correlation: Array) -> Array:
    """Its root, with the least addition to the diagonal that rounding asks for."""
    d = len(correlation)
    for ridge in (0.0, 1e-14, 1e-12, 1e-10, 1e-8, 1e-6):
        lifted = correlation.copy()
        lifted[np.diag_indices(d)] += ridge * d
        try:
            return np.asarray(np.linalg.cholesky(lifted), dtype=float)
        except np.linalg.LinAlgError:
            continue
    return np.eye(d)


def clip_of(dim: int) -> float:
    """Longest whitened gradient a move follows: twice what it is at equilibrium, and 6 more."""
    return 2 * float(np.sqrt(dim)) + 6


@dataclass
class Tuner:
    """Adapts the step h to the acceptance of the whole ensemble, until it is frozen."""

    h: float
    count: int = 0
    frozen: bool = False
    wanted: float = ACCEPTANCE
    most: float = LARGEST

    @classmethod
    def fresh(cls, dim: int) -> Tuner:
        """A whitened step to begin with."""
        return cls(1.2 * float(dim) ** (-1 / 6))

    @classmethod
    def hamiltonian(cls, dim: int, steps: int) -> Tuner:
        """For trajectories of some leapfrog steps: a quarter turn of a Gaussian, or shorter.

        After a quarter turn neither a coordinate nor its square remembers where it was; after half
        a turn the square remembers all.
        """
        most = float(np.pi / 2) / steps
        first = min(most, float(dim) ** (-1 / 4))
        return cls(first, wanted=HAMILTONIAN_ACCEPTANCE, most=most)

    def learn(self, move: Outcome) -> None:
        """A stochastic-approximation step on log h."""
        if self.frozen:
            return
        self.count += 1
        rate = max(1 / np.sqrt(self.count), 0.05)
        change = np.exp(rate * (move.acceptance - self.wanted))
        self.h = float(np.clip(self.h * change, SMALLEST, self.most))
