r"""The exact spherical-Hellinger path by tempering: mu_s = mu_0^{1-s} pi^s, no density estimated.

The flow of KL(. | pi) in the spherical Hellinger geometry from mu_0 is mu_0^{e^-t} pi^{1-e^-t},
normalised (formula H5). Between two exponents s < s' the weights are the powers (pi/mu_0)^{s'-s},
both densities being known; resampling and Langevin moves that keep mu_s' renew the particles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from jko.errors import InvalidMeasure
from jko.markov.mala import Between, Cloud, Density
from jko.markov.resampling import effective_size, systematic
from jko.markov.scale import Preconditioner, Tuner
from jko.measures.gaussian import Gaussian
from jko.numerics.roots import last_true
from jko.sampling.moves.ensemble import sweep
from jko.validation import Array

#: Share of the particles that one stage keeps as its effective sample size.
KEPT = 0.7
#: Langevin moves after each resampling.
MOVES = 5
#: More stages than this mean that the path does not arrive.
MOST = 400


@dataclass
class TemperedPath:
    """A tempered run and its record.

    Attributes
    ----------
    points : (n, d) array
        Equally weighted particles of the current mu_s.
    exponent : float
    log_mass : float
        Estimate of log(int mu_0^{1-s} pi^s), the evidence at s = 1.
    exponents, sizes, acceptances : lists
        Exponent reached, effective sample size (share) and last acceptance of every stage.
    """

    points: Array
    exponent: float = 0.0
    log_mass: float = 0.0
    exponents: list[float] = field(default_factory=list)
    sizes: list[float] = field(default_factory=list)
    acceptances: list[float] = field(default_factory=list)

    @property
    def done(self) -> bool:
        """Whether the target is reached."""
        return self.exponent >= 1

    def advance(
        self, reference: Density, target: Density, tuner: Tuner, rng: np.random.Generator
    ) -> None:
        """One stage: the longest power that keeps the effective size, resampling, moves."""
        if len(self.exponents) >= MOST:
            raise InvalidMeasure(
                f"tempering has reached exponent {self.exponent:.3g} after {MOST} stages;"
                " pass start= closer to the mass of the target"
            )
        log_ratio = target.log_density_at(self.points) - reference.log_density_at(self.points)
        step, weights = longest_power(log_ratio, 1 - self.exponent, KEPT)
        self.exponent = 1.0 if step == 1 - self.exponent else self.exponent + step
        top = float(log_ratio.max())
        self.log_mass += step * top + float(np.log(weights.mean()))
        self.sizes.append(effective_size(weights) / len(weights))
        index = systematic(weights, len(weights), rng)
        between = Between(reference, target, self.exponent)
        cloud = Cloud.at(between, self.points[index])
        scale = Preconditioner.of_points(cloud.x)
        for _ in range(MOVES):
            move = sweep(between, cloud, scale, tuner, rng)
            cloud = move.after
        self.points = cloud.x
        self.exponents.append(self.exponent)
        self.acceptances.append(move.acceptance)


def longest_power(log_ratio: Array, most: float, kept: float) -> tuple[float, Array]:
    """The largest step up to `most` whose weights exp(step log_ratio) have effective size `kept` n.

    Returns it with the weights (n,), whose largest is 1. Where too few particles lie in the support
    of the target, the share is taken of those that do.
    """
    inside = log_ratio > -np.inf
    if not inside.any():
        raise InvalidMeasure(
            "log_density is -inf at every particle; pass start= inside the support of the target"
        )
    relative = log_ratio - log_ratio.max()
    wanted = kept * float(inside.sum())

    def weights(step: float) -> Array:
        with np.errstate(invalid="ignore"):
            return np.where(inside, np.exp(step * relative), 0.0)

    if effective_size(weights(most)) >= wanted:
        return most, weights(most)
    even: Callable[[float], bool] = lambda z: effective_size(weights(float(np.exp(z)))) >= wanted
    # Far out log densities reach any size.
    step = float(np.exp(last_true(even, float(np.log(1e-300)), float(np.log(most)), 60)))
    return step, weights(step)


def wide(points: Array, start: Array, spread: float, shrink: float = 1.0) -> Gaussian:
    r"""The Gaussian a search starts from: wide around points (m, d), and over the start (k, d).

    Its covariance is spread^2 C + 4 C_0 + (m - m_0)(m - m_0)', C and m of the points, C_0 and m_0
    of the start, all times shrink^2; its mean is m.
    """
    root = spread * Preconditioner.of_points(points).root
    mean = points.mean(axis=0)
    shift = start.mean(axis=0) - mean
    cov = root @ root.T + 4 * np.cov(start.T, bias=True).reshape(root.shape)
    cov = shrink**2 * (cov + np.outer(shift, shift))
    return Gaussian(mean, (cov + cov.T) / 2)


def default_spread(dim: int) -> float:
    """As wide as exp(60 / d) allows, between 6 and 100: a path is about d log(spread) long."""
    return float(np.clip(np.exp(min(60 / dim, 10.0)), 6.0, 100.0))
