r"""Hamiltonian moves of a cloud of points, each in the scale of the mode it belongs to.

With a root R of the preconditioner and a step h, a point x with a fresh whitened velocity v takes
some leapfrog steps of

    v <- v + (h/2) c(x),   x <- x + h R v,   v <- v + (h/2) c(x),   c(x) = R' grad log pi(x),

and the end is accepted with probability min(1, pi(y) exp(-|v'|^2/2) / (pi(x) exp(-|v|^2/2))).
The map keeps volume and is its own inverse up to the sign of v for any force c, so that c may be
shortened to length `clip` and set to zero outside the support. One step is a MALA move.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from jko.markov.mala import Cloud, Density, Outcome
from jko.validation import Array, Index

#: The step of a trajectory is drawn in this range around its mean, so that none is periodic.
JITTER = 0.2

Labels = Callable[[Array], Index]


@dataclass(frozen=True, eq=False)
class Frames:
    """Roots (k, d, d) of preconditioners, and which of them a point (n, d) has; None: the first.

    A trajectory keeps the root it began with. It is refused where its end would have another one,
    since the way back would not be the same map.
    """

    roots: Array
    labels: Labels | None = None

    def of(self, x: Array) -> Index:
        """Index (n,) of the root of each point (n, d)."""
        if self.labels is None or len(self.roots) == 1:
            return np.zeros(len(x), dtype=int)
        return self.labels(x)

    def apply(self, which: Index, v: Array, *, transposed: bool = False) -> Array:
        """R v or R' v for rows v (n, d)."""
        roots = self.roots if transposed else self.roots.transpose(0, 2, 1)
        if len(roots) == 1:
            return np.asarray(v @ roots[0])
        out = np.empty_like(v)
        for k in np.unique(which):
            rows = which == k
            out[rows] = v[rows] @ roots[k]
        return out


@dataclass(frozen=True, eq=False)
class Hamiltonian:
    """The kernel: step `h`, frames, number of leapfrog `steps`, longest force `clip`."""

    h: float
    frames: Frames
    steps: int = 1
    clip: float = np.inf

    def force(self, cloud: Cloud, which: Index) -> Array:
        """c(x), the clipped whitened gradient (n, d)."""
        with np.errstate(over="ignore", invalid="ignore"):
            white = self.frames.apply(which, cloud.score, transposed=True)
            size = np.linalg.norm(white, axis=1)
        white[~np.isfinite(size)] = 0.0
        short = np.minimum(1.0, self.clip / np.maximum(size, 1e-300))
        return np.asarray(white * np.where(np.isfinite(size), short, 0.0)[:, None])

    def move(self, target: Density, cloud: Cloud, rng: np.random.Generator) -> Outcome:
        """One trajectory of every point, and the Metropolis test of its end."""
        which = self.frames.of(cloud.x)
        v = rng.standard_normal(cloud.x.shape)
        h = self.h
        if self.steps > 1:
            h *= 1 + JITTER * (2 * rng.random() - 1)
        kinetic = 0.5 * (v**2).sum(axis=1)
        here = cloud
        force = self.force(here, which)
        for _ in range(self.steps):
            v = v + 0.5 * h * force
            here = Cloud.at(target, here.x + h * self.frames.apply(which, v))
            force = self.force(here, which)
            v = v + 0.5 * h * force
        log_accept = np.minimum(here.log_p - cloud.log_p + kinetic - 0.5 * (v**2).sum(axis=1), 0.0)
        if self.frames.labels is not None:
            log_accept = np.where(self.frames.of(here.x) == which, log_accept, -np.inf)
        accepted = -rng.standard_exponential(len(v)) < log_accept
        return Outcome(cloud, here, log_accept, accepted)
