r"""Where chains begin when the user does not say: at a Gaussian fit of the top, if that fits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jko.markov.mala import Density
from jko.markov.resampling import effective_size, systematic
from jko.sampling.moves.path import longest_power
from jko.sampling.search.laplace import LaplaceFit, ascend, fit_at
from jko.validation import Array

#: Share of the points of a fit that the weights towards the target must leave, to skip settling.
GOOD = 0.3
#: Weights are flattened until this share of the points is left.
LEFT = 0.5
#: Climbs from the best of the first points: of 12 on the posterior of Lotka-Volterra 4 reached the
#: top that has the mass.
CLIMBS = 12
#: So many that agree from the first are enough.
AGREE = 3
#: Heights of tops that are nearer than this, relatively, are those of one top.
LEVEL = 1e-6
#: A fit whose bump has less mass than this (log) next to what the first points already have is the
#: tip of a spike, such as the neck of a funnel.
SPIKE = -4.0


@dataclass(frozen=True, eq=False)
class Opening:
    """First points (n, d) of the chains, whether they need no settling, and the top found."""

    points: Array
    settled: bool
    top: Array
    height: float
    fit: LaplaceFit | None


def open_at_fit(
    target: Density, first: Array, log_p: Array, size: int, rng: np.random.Generator
) -> Opening:
    """Climb from the best of the first points (m, d), fit Gaussians there, draw from the best."""
    (top, height), fits = climbed(target, first, log_p)
    unchanged = Opening(first, False, top, height, None)
    best: tuple[float, Array, Array, LaplaceFit] | None = None
    for fit in fits:
        x = fit.draw(size, rng)
        ratio = fit.log_ratio(x, target.log_density_at(x))
        if not (ratio > -np.inf).any():
            continue
        mass = fit.log_mass + float(ratio.max() + np.log(np.mean(np.exp(ratio - ratio.max()))))
        if best is None or mass > best[0]:
            best = mass, x, ratio, fit
    if best is None or best[0] < SPIKE + _mass_of_first(first, log_p):
        return unchanged
    _, x, ratio, fit = best
    whole = np.exp(ratio - ratio.max())
    settled = effective_size(whole) >= GOOD * size
    weights = whole if settled else longest_power(ratio, 1.0, LEFT)[1]
    return Opening(x[systematic(weights, size, rng)], settled, top, height, fit)


def climbed(
    target: Density, first: Array, log_p: Array
) -> tuple[tuple[Array, float], list[LaplaceFit]]:
    """The highest top reached from some of the best points (m, d), and a fit of every top.

    From the best point alone the posterior of Lotka-Volterra was left at a top without mass. Where
    some climbs agree from the first, no more are made.
    """
    tops: list[tuple[Array, float]] = []
    fits: list[LaplaceFit] = []
    for i in np.argsort(-log_p, kind="stable")[:CLIMBS]:
        top, height = ascend(target, first[i])
        near = [abs(height - h) <= LEVEL * (1 + abs(h)) for _, h in tops]
        tops.append((top, height))
        if not any(near):
            found = fit_at(target, top, height)
            fits += [] if found is None else [found]
        elif len(tops) == AGREE and all(near):
            break
    return max(tops, key=lambda pair: pair[1]), fits


def _mass_of_first(first: Array, log_p: Array) -> float:
    """Log of the mass that points (m, d) see, by importance weights from their own Gaussian.

    An underestimate, mostly: it serves to recognise fits that are far worse.
    """
    inside = log_p > -np.inf
    x, values = first[inside], log_p[inside]
    spread = np.maximum(x.std(axis=0), 1e-300)
    white = (x - x.mean(axis=0)) / spread
    log_q = -0.5 * (white**2).sum(axis=1) - np.log(spread).sum()
    log_q -= 0.5 * x.shape[1] * np.log(2 * np.pi)
    ratio = values - log_q
    top = float(ratio.max())
    return top + float(np.log(np.mean(np.exp(ratio - top))))
