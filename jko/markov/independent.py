r"""Moves that forget where a chain is: independence Metropolis from Student's t of an ensemble.

A proposal y of density q, whatever the point x, is accepted with probability
min(1, pi(y) q(x) / (pi(x) q(y))) (Tierney 1994). Local moves are lost in heavy tails, where the
density is flat: a chain 100 standard deviations out comes back in one of these.
"""

from __future__ import annotations

import numpy as np

from jko.markov.mala import Cloud, Density
from jko.markov.scale import Preconditioner
from jko.validation import Array


def independent_move(
    target: Density, cloud: Cloud, rng: np.random.Generator, *, freedom: float = 4.0
) -> Cloud:
    """One move of every chain (n, d), proposed from mean and covariance of all of them.

    `freedom` are the degrees of freedom: their tails are heavier than those of most posteriors.
    """
    n, d = cloud.x.shape
    mean, root = cloud.x.mean(axis=0), Preconditioner.of_points(cloud.x).root
    white = rng.standard_normal((n, d)) * np.sqrt(freedom / rng.chisquare(freedom, n))[:, None]
    x = mean + white @ root.T
    log_p = target.log_density_at(x)
    own = np.linalg.solve(root, (cloud.x - mean).T).T
    with np.errstate(invalid="ignore", over="ignore"):
        log_ratio = log_p - cloud.log_p + _log_t(own, freedom) - _log_t(white, freedom)
    accepted = np.log(rng.random(n)) < log_ratio
    out = Cloud(cloud.x.copy(), cloud.log_p.copy(), cloud.score.copy())
    new = np.flatnonzero(accepted)
    out.x[new], out.log_p[new] = x[new], log_p[new]
    out.score[new] = target.score(x[new])
    return out


def _log_t(white: Array, freedom: float) -> Array:
    """Log density (n,) of Student's t at whitened points (n, d), up to a constant."""
    d = white.shape[1]
    return np.asarray(-0.5 * (freedom + d) * np.log1p((white**2).sum(axis=1) / freedom))
