r"""Looking for other modes along lines, and for mass far out in wider and wider Gaussians.

A tempered path loses modes much narrower than others: at the temperatures at which particles
travel they hold next to nothing. Along a line through a point of the sample a density with one
mode falls and stays low, mostly; where it rises again there is another hill, however narrow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jko.markov.mala import Density
from jko.markov.scale import Preconditioner
from jko.validation import Array

#: Points on each side of a line, at distances from NEAREST to the width of the search.
ON_SIDE = 12
NEAREST = 0.5
#: How much a log density must fall and rise again.
RISE = 1.0
#: Largest multiple of the sample's spread among the Gaussians, in powers of this factor.
WIDER = 2.0


def rises(
    target: Density, base: Array, root: Array, reach: float, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Points (m, d) where the density rises again on lines through base points, and the log there.

    Half of the lines run along the axes, one coordinate alone, and half in random directions of
    the sample's own scale `root` (d, d). Distances are log-uniform: a narrow mode far away takes up
    as much of a line's logarithm as a wide one.
    """
    n, d = base.shape
    directions = rng.standard_normal((n, d)) @ root.T
    axes = rng.permutation(np.arange(n) % (2 * d))
    along = np.flatnonzero(axes < d)
    directions[along] = 0.0
    directions[along, axes[along]] = np.sqrt((root**2).sum(axis=1))[axes[along]]
    scale = np.ones(n)
    scale[axes >= d] = 1 / np.sqrt(d)  # a random direction has length sqrt(d) standard deviations
    ticks = (np.arange(ON_SIDE) + rng.random((n, 2, ON_SIDE))) / ON_SIDE
    t = NEAREST * (reach / NEAREST) ** ticks * np.array([-1.0, 1.0])[None, :, None]
    x = base[:, None, None] + (t * scale[:, None, None])[..., None] * directions[:, None, None]
    values = target.log_density_at(x.reshape(-1, d)).reshape(n, 2, ON_SIDE)
    log_p = target.log_density_at(base)
    with_base = np.concatenate([np.broadcast_to(log_p[:, None, None], (n, 2, 1)), values], axis=2)
    lowest = np.minimum.accumulate(with_base, axis=2)[..., :-1]
    up = values > np.maximum(lowest, -1e300) + RISE
    # Of the points of one rise the highest is kept.
    up &= values >= np.where(up, values, -np.inf).max(axis=2, keepdims=True)
    return np.asarray(x[up]), np.asarray(values[up])


@dataclass(frozen=True, eq=False)
class Shells:
    """Points of Gaussians 1, 2, 4, ... times as wide as a sample, weighted towards the target.

    Attributes
    ----------
    x : (n, d) array
    log_weights : (n,) array
        log pi - log of the mixture of the Gaussians: their mean exponential estimates the mass.
    far : (n,) array
        Distance from the centre in standard deviations of the sample.
    """

    x: Array
    log_weights: Array
    far: Array

    @classmethod
    def around(
        cls, target: Density, sample: Array, count: int, reach: float, rng: np.random.Generator
    ) -> Shells:
        """`count` points around a sample (m, d)."""
        mean, root, d = sample.mean(axis=0), Preconditioner.of_points(sample).root, sample.shape[1]
        widths = WIDER ** np.arange(1 + max(1, int(np.ceil(np.log2(reach)))))
        per = max(1, count // len(widths))
        chosen = np.repeat(widths, per)
        white = rng.standard_normal((len(chosen), d)) * chosen[:, None]
        square = (white**2).sum(axis=1)
        parts = -0.5 * square[:, None] / widths**2 - d * np.log(widths)
        log_q = np.logaddexp.reduce(parts, axis=1) - np.log(len(widths))
        log_q -= 0.5 * d * np.log(2 * np.pi) + np.log(np.abs(np.diag(root))).sum()
        x = mean + white @ root.T
        return cls(x, target.log_density_at(x) - log_q, np.sqrt(square))
