"""Other modes of a target, by Newton's method from overdispersed starts."""

from __future__ import annotations

import numpy as np

from jko.measures.gaussian import Gaussian
from jko.measures.target import LogDensity
from jko.validation import Array
from jko.vi.laplace import laplace_or_none

#: Gradients that the search may take, about; one start costs some ten Hessians by differences.
BUDGET = 20_000
#: Starts, at most, and how many standard deviations around the first mode they are drawn.
STARTS = 24
WIDTH = 10.0
#: Half of the points looked at before a start is chosen are drawn around the first mode, half at
#: this width around the origin, in the units of the coordinates.
UNITS = 3.0
#: Modes closer than this, in standard deviations of either, are one.
APART = 2.0
#: A mode whose Laplace mass is less than e to the minus this, relative to the best, is left out.
WORTHLESS = 10.0


def modes_of(
    target: LogDensity, first: Gaussian, rng: np.random.Generator, looked: int = 40_000
) -> list[Gaussian]:
    """The Laplace approximations of distinct modes that carry mass, `first` among them.

    `looked` values of the density are taken first. Of two modes in five dimensions, a tenth as wide
    one as the other and 13 apart, the narrow one shows in about one value of 10 000.

    Starts are taken in turn at random and where the density exceeds most what the known modes
    explain: a narrow mode shows in that excess long before its mass does.
    """
    d = target.dim
    cost = 20 * d * (1 if target.gradient is not None else 2 * d)
    noise = rng.standard_normal((looked, d))
    x = UNITS * noise
    x[::2] = first.mean + WIDTH * noise[::2] @ np.linalg.cholesky(first.cov).T
    with np.errstate(all="ignore"):
        log_p = target.log_density_at(x)
    left, found = log_p > -np.inf, [first]
    excess = log_p - _explained(target, first, x)
    for turn in range(min(STARTS, BUDGET // cost)):
        if not left.any():
            break
        score = np.where(left, excess, -np.inf)
        i = int(np.argmax(score)) if turn % 2 else int(rng.choice(np.flatnonzero(left)))
        left[i] = False
        other = laplace_or_none(target, Gaussian(x[i], first.cov), max_iter=30)
        if other is not None and all(_apart(other, g) for g in found):
            found.append(other)
            excess = np.minimum(excess, log_p - _explained(target, other, x))
    masses = np.array([_log_mass(target, g) for g in found])
    return [g for g, m in zip(found, masses, strict=True) if m > masses.max() - WORTHLESS]


def _explained(target: LogDensity, g: Gaussian, x: Array) -> Array:
    """The log density (n,) at points (n, d) by the Laplace approximation at a mode."""
    white = np.linalg.solve(np.linalg.cholesky(g.cov), (x - g.mean).T)
    return np.asarray(target.log_density_at(g.mean[None])[0] - 0.5 * (white**2).sum(axis=0))


def _apart(a: Gaussian, b: Gaussian) -> bool:
    gap = a.mean - b.mean
    lengths = [float(gap @ np.linalg.solve(g.cov, gap)) for g in (a, b)]
    return min(lengths) > APART**2


def _log_mass(target: LogDensity, g: Gaussian) -> float:
    """log of p(mode) (2 pi)^{d/2} det^{1/2}, up to a constant."""
    return float(target.log_density_at(g.mean[None])[0] + 0.5 * np.linalg.slogdet(g.cov)[1])
