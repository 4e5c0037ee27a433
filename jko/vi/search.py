"""Other modes of a target, by Newton's method from overdispersed starts."""

from __future__ import annotations

import numpy as np

from jko.errors import InvalidMeasure, StepFailed
from jko.measures.gaussian import Gaussian
from jko.measures.target import LogDensity
from jko.vi.laplace import laplace_or_none

#: Gradients that the search may take, about; one start costs some ten Hessians by differences.
BUDGET = 20_000
#: Starts, at most, and how many standard deviations around the first mode they are drawn.
STARTS, WIDTH = 8, 10.0
#: Modes closer than this, in standard deviations of either, are one.
APART = 2.0
#: A mode whose Laplace mass is less than e to the minus this, relative to the best, is left out.
WORTHLESS = 10.0


def modes_of(target: LogDensity, first: Gaussian, rng: np.random.Generator) -> list[Gaussian]:
    """The Laplace approximations of distinct modes that carry mass, `first` among them."""
    cost = 20 * target.dim * (1 if target.gradient is not None else 2 * target.dim)
    count = int(min(STARTS, BUDGET // cost))
    found = [first]
    root = np.linalg.cholesky(first.cov)
    for _ in range(count):
        mean = first.mean + WIDTH * (root @ rng.standard_normal(target.dim))
        try:
            other = laplace_or_none(target, Gaussian(mean, first.cov), max_iter=30)
        except (InvalidMeasure, StepFailed):  # it walked out of the support, or overflowed
            continue
        if other is not None and all(_apart(other, g) for g in found):
            found.append(other)
    masses = np.array([_log_mass(target, g) for g in found])
    return [g for g, m in zip(found, masses, strict=True) if m > masses.max() - WORTHLESS]


def _apart(a: Gaussian, b: Gaussian) -> bool:
    gap = a.mean - b.mean
    lengths = [float(gap @ np.linalg.solve(g.cov, gap)) for g in (a, b)]
    return min(lengths) > APART**2


def _log_mass(target: LogDensity, g: Gaussian) -> float:
    """log of p(mode) (2 pi)^{d/2} det^{1/2}, up to a constant."""
    return float(target.log_density_at(g.mean[None])[0] + 0.5 * np.linalg.slogdet(g.cov)[1])
