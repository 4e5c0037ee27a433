"""Targets of the sampling tests, with their exact moments where they have any."""

from __future__ import annotations

import numpy as np

import jko


def gaussian(dim: int, spread: float = 1.0, shift: float = 0.0) -> jko.LogDensity:
    """N(shift, spread^2 I), unnormalised."""
    precision = 1 / spread**2
    return jko.LogDensity(
        lambda x: -0.5 * precision * ((x - shift) ** 2).sum(axis=1),
        lambda x: -precision * (x - shift),
        dim,
    )


def two_modes(dim: int, distance: float = 8.0, weight: float = 0.7) -> jko.LogDensity:
    """.3 N(0, I) + .7 N(8 e_1, I), unnormalised."""

    def log_odds(x):
        """Log of the second component over the first."""
        return np.log(weight / (1 - weight)) + distance * x[:, 0] - 0.5 * distance**2

    def log_density(x):
        return -0.5 * (x**2).sum(axis=1) + np.logaddexp(0.0, log_odds(x))

    def gradient(x):
        out = -x
        with np.errstate(over="ignore"):
            out[:, 0] += distance / (1 + np.exp(-log_odds(x)))
        return out

    return jko.LogDensity(log_density, gradient, dim)
