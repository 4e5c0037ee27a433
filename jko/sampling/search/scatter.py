r"""Single points all around, and which narrow modes they would not have met.

A mode of width w times that of what is known takes up w^(d-1) of the directions in which it may
lie: each of so many points has its own direction, where the points of a line share one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from jko.validation import Array, Index

#: Where so many hills are known, of widths that differ twofold, a narrower one must be expected to
#: have been met as well.
SEVERAL = 3
#: Rounds of lines, points and climbing at most, as long as they find mass.
ROUNDS = 4
#: Share of the places for a narrower mode at which the search may be blind.
HIDDEN = 0.04


@dataclass
class Looks:
    """Where the search has looked: points (n, d) with their log densities, and ends of climbs."""

    points: list[Array] = field(default_factory=list)
    heights: list[Array] = field(default_factory=list)
    ends: list[Array] = field(default_factory=list)


def outwards(
    mean: Array,
    root: Array,
    count: int,
    reach: float,
    rng: np.random.Generator,
    *,
    nearest: float = 0.8,
) -> tuple[Array, Array]:
    """Points (count, d) in random directions from a mean, in the scale of a root (d, d).

    Returns their distances (count,) too, in sqrt(d) standard deviations: log-uniform from the
    nearest to the reach.
    """
    far = nearest * (max(reach, 2 * nearest) / nearest) ** rng.random(count)
    white = rng.standard_normal((count, len(mean)))
    white *= (np.sqrt(len(mean)) * far / np.linalg.norm(white, axis=1))[:, None]
    return mean + white @ root.T, far


def among(tops: Array, widths: Array, count: int, times: float, rng: np.random.Generator) -> Array:
    """Points (count, d) where one more is to be expected beside tops (k, d), so many times as wide.

    Drawn from Student's t with the variances of the tops along the axes, for one part in k shrunk
    to their mean in the units of `widths` (d,). Correlations are left out: k tops lie in a plane of
    k - 1 dimensions, and one that is not known need not, nor be near where two happen to agree.
    """
    k, d = tops.shape
    variance = tops.var(axis=0, ddof=1)
    variance = (1 - 1 / k) * variance + (variance / widths**2).mean() * widths**2 / k
    known = d * (k - 1)
    tail = np.sqrt((1 + 1 / k) * known / rng.chisquare(known, count))[:, None]
    return np.asarray(
        tops.mean(axis=0) + times * tail * np.sqrt(variance) * rng.standard_normal((count, d))
    )


def outstanding(far: Array, surprise: Array, *, shells: int = 20, each: int = 4) -> Index:
    """The most surprising few of points (n,) in every one of so many shells of distances.

    Beside others as far out: where a density has heavier tails than its Gaussian picture all far
    points are surprising, and a narrow mode stands out of its shell all the same.
    """
    rows = np.array_split(np.argsort(far, kind="stable"), shells)
    return np.concatenate([r[np.argsort(-surprise[r], kind="stable")[:each]] for r in rows])


def hidden(
    tops: Array,
    widths: Array,
    root: Array,
    log_mass: float,
    looks: Looks,
    rng: np.random.Generator,
    *,
    count: int = 200,
) -> float:
    """Share of `count` places beside tops (k, d) where a mode with this root would not be met.

    It is met where one of the points looked at lies on its slope: where its Gaussian bump exceeds
    the density that was found there.
    """
    middle, d = tops.mean(axis=0), tops.shape[1]
    top = log_mass - 0.5 * d * np.log(2 * np.pi) - np.log(np.abs(np.diag(root))).sum()
    places = np.linalg.solve(root, (among(tops, widths, count, 1.0, rng) - middle).T).T
    for x, heights in _blocks(looks):
        white = np.linalg.solve(root, (x - middle).T).T
        # Squared distance at which the bump is as high as the density, less the point's own square.
        room = 2 * (top - heights) - (white**2).sum(axis=1)
        near = room[:, None] + 2 * white @ places.T > (places**2).sum(axis=1)
        places = places[~near.any(axis=0)]
    return len(places) / count


def _blocks(looks: Looks, size: int = 10_000) -> Iterator[tuple[Array, Array]]:
    """Points and their log densities, so many at once: a table of them and 200 places has 16 MB."""
    for points, heights in zip(looks.points, looks.heights, strict=True):
        for first in range(0, len(points), size):
            yield points[first : first + size], heights[first : first + size]


def further(
    least: int,
    hills: int,
    rounds: int,
    spent: float,
    narrower: float | None,
    *,
    longest: float = 12.0,
) -> float:
    """Values that the next round may take, of a budget `least`; 0: it would settle nothing.

    Points that left the share h of the places unseen leave h^m of them, m times as many. The whole
    search may take `longest` budgets where that would settle whether a narrower mode was missed:
    slow chains take as much. Of 40 mixtures of three to five modes of random widths in two to six
    dimensions 29 were right and settled within three.
    """
    blind = narrower is not None and narrower > HIDDEN
    share = 1.5 if blind else 1.0 if hills > 1 else 0.5
    values = share * least / 2.0 ** (rounds - 1) if rounds < ROUNDS else 0.0
    if narrower is None or not HIDDEN < narrower < 1 or hills < SEVERAL:
        return values
    wanted = spent * (np.log(HIDDEN) / np.log(narrower) - 1)
    if spent + wanted > longest * least:
        return values
    return float(max(values, wanted, least / 2))
