r"""Langevin moves of a cloud of points, with or without the Metropolis test.

With a preconditioner C = R R' and a step h a point proposes

    y = x + R ((h^2/2) c(x) + h xi),   c(x) = R' grad log pi(x), shortened to length `clip`,

and moves with probability min(1, pi(y) q(y, x) / (pi(x) q(x, y))). In terms of the noise the
ratio of the proposal densities is exp((|xi|^2 - |xi'|^2)/2), xi' = -xi - (h/2)(c(x) + c(y)).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from jko.validation import Array, Index, Mask


class Density(Protocol):
    """An unnormalised density with its score: LogDensity, Gaussian, GaussianMixture."""

    @property
    def dim(self) -> int:
        """Dimension d."""

    def log_density_at(self, x: Array) -> Array:
        """Log density (n,) at points (n, d)."""

    def score(self, x: Array) -> Array:
        """Its gradient (n, d)."""


@dataclass(frozen=True, eq=False)
class Between:
    """The density mu_0^{1-s} pi^s."""

    reference: Density
    target: Density
    exponent: float

    @property
    def dim(self) -> int:
        """Dimension d."""
        return self.target.dim

    def log_density_at(self, x: Array) -> Array:
        """(1-s) log mu_0 + s log pi (n,)."""
        s = self.exponent
        values = s * self.target.log_density_at(x)
        return values if s == 1 else values + (1 - s) * self.reference.log_density_at(x)

    def score(self, x: Array) -> Array:
        """Its gradient (n, d)."""
        s = self.exponent
        values = s * self.target.score(x)
        return values if s == 1 else values + (1 - s) * self.reference.score(x)


@dataclass(frozen=True, eq=False)
class Cloud:
    """Points (n, d) with the log density (n,) and its gradient (n, d) there.

    Where the density vanishes the gradient is not asked for: it is set to zero.
    """

    x: Array
    log_p: Array
    score: Array

    @classmethod
    def at(cls, target: Density, x: Array) -> Cloud:
        """Evaluate a target at points."""
        log_p = target.log_density_at(x)
        inside = log_p > -np.inf
        if inside.all():
            return cls(x, log_p, target.score(x))
        score = np.zeros_like(x)
        if inside.any():
            score[inside] = target.score(x[inside])
        return cls(x, log_p, score)

    def where(self, mask: Mask, other: Cloud) -> Cloud:
        """The points of `other` where `mask` holds, these elsewhere."""
        return Cloud(
            np.where(mask[:, None], other.x, self.x),
            np.where(mask, other.log_p, self.log_p),
            np.where(mask[:, None], other.score, self.score),
        )

    def take(self, index: Index) -> Cloud:
        """Some of the points, with repetitions."""
        return Cloud(self.x[index], self.log_p[index], self.score[index])


@dataclass(frozen=True, eq=False)
class LangevinKernel:
    """The proposal: step `h`, root R (d, d) of the preconditioner (None: identity), `clip`."""

    h: float
    root: Array | None = None
    clip: float = np.inf

    def drift(self, cloud: Cloud) -> Array:
        """c(x), the clipped whitened gradient (n, d)."""
        white = cloud.score if self.root is None else cloud.score @ self.root
        if self.clip == np.inf:
            return white
        size = np.linalg.norm(white, axis=1)
        with np.errstate(divide="ignore"):
            return np.asarray(white * np.minimum(1.0, self.clip / size)[:, None])

    def forward(self, cloud: Cloud, noise: Array) -> Array:
        """The proposed points y (n, d)."""
        step = 0.5 * self.h**2 * self.drift(cloud) + self.h * noise
        return np.asarray(cloud.x + (step if self.root is None else step @ self.root.T))

    def noise(self, before: Cloud, after: Cloud) -> Array:
        """The xi (n, d) that takes `before` to `after`."""
        moved = after.x - before.x
        white = moved if self.root is None else np.linalg.solve(self.root, moved.T).T
        return np.asarray((white - 0.5 * self.h**2 * self.drift(before)) / self.h)

    def log_ratio(self, before: Cloud, after: Cloud, noise: Array) -> Array:
        """log of pi(y) q(y, x) / (pi(x) q(x, y)), (n,); -inf where pi(y) = 0."""
        back = noise + 0.5 * self.h * (self.drift(before) + self.drift(after))
        return np.asarray(
            after.log_p - before.log_p + 0.5 * ((noise**2).sum(axis=1) - (back**2).sum(axis=1))
        )

    def move(self, target: Density, cloud: Cloud, rng: np.random.Generator) -> Move:
        """Propose once and apply the Metropolis test."""
        noise = rng.standard_normal(cloud.x.shape)
        proposed = Cloud.at(target, self.forward(cloud, noise))
        log_accept = np.minimum(0.0, self.log_ratio(cloud, proposed, noise))
        accepted = -rng.standard_exponential(len(noise)) < log_accept
        return Move(cloud, proposed, log_accept, accepted, self, noise)


@dataclass(frozen=True, eq=False)
class Outcome:
    """One proposal of a whole cloud, with what the Metropolis test made of it."""

    before: Cloud
    proposed: Cloud
    log_accept: Array
    accepted: Mask

    @cached_property
    def after(self) -> Cloud:
        """Where the points are now."""
        return self.before.where(self.accepted, self.proposed)

    @property
    def acceptance(self) -> float:
        """Mean acceptance probability."""
        return float(np.exp(self.log_accept).mean())


@dataclass(frozen=True, eq=False)
class Move(Outcome):
    """One Langevin proposal, with the kernel and the noise that made it."""

    kernel: LangevinKernel
    noise: Array
