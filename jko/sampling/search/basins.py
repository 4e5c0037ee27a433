r"""Hills that a search came upon: climbed, told apart, and weighed before they are kept."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from jko.markov.mala import Cloud, Density
from jko.markov.resampling import systematic
from jko.markov.scale import Preconditioner, Tuner
from jko.sampling.moves.ensemble import sweep
from jko.sampling.moves.modes import Modes
from jko.sampling.moves.path import longest_power
from jko.sampling.search.laplace import LaplaceFit, ascend, fit_at
from jko.sampling.search.scatter import Looks, hidden
from jko.validation import Array, Mask

#: Moves of a batch of climbers, and the first of their steps in units of the sample's scale.
CLIMB = 40
FIRST = 0.3
#: A climber's step grows by this where the density rose, and shrinks by that where it fell.
GROW = 1.5
SHRINK = 0.4
#: No more hills than this are looked at in one round.
HILLS = 20
#: A hill must have been met by so many climbers: one that was met by few says that others like it
#: were not met at all (Good 1953).
MEETINGS = 8
#: Stands for a number of meetings that is no concern.
MANY = 1000
#: Two tops are one hill where they are nearer than this, in standard deviations of the first, and
#: the second is not higher above the first one's bump than `CUT`. A mode of sd .1 was overlooked
#: on the flank of one of sd 2, though climbers had come to its top.
SAME = 3.0
#: Log ratios of density and bump above this are cut when the bump is weighed.
CUT = 4.0
#: A hill is kept where its mass is at least this share of all.
WORTH = 1e-3
#: Points that fill a basin, and their moves in its own scale.
FILL = 60
FILLING = 20


@dataclass(frozen=True, eq=False)
class Hill:
    """A top with its curvature, points (n, d) spread over its basin, and the log of its mass."""

    fit: LaplaceFit
    points: Array
    log_mass: float

    def near(self, x: Array) -> Array:
        """Distances (n,) of points from the top in standard deviations, per sqrt(d)."""
        white = np.linalg.solve(self.fit.root, (x - self.fit.mean).T)
        return np.asarray(np.sqrt((white**2).mean(axis=0)))

    def explains(self, x: Array, heights: Array) -> Mask:
        """Which points (n, d) of these log densities (n,) are on this hill and no other.

        Near its top, and not far above its bump: a narrow hill stands on the flank of a wide one.
        """
        return np.asarray((self.near(x) < SAME) & (self.fit.log_ratio(x, heights) < CUT))


def climb(target: Density, x: Array, root: Array, moves: int = CLIMB) -> Cloud:
    """Gradient ascent of a batch (m, d), each point with a step of its own; never downhill."""
    cloud = Cloud.at(target, x)
    cloud = cloud.take(np.flatnonzero(cloud.log_p > -np.inf))
    step = np.full(len(cloud.x), FIRST)
    for _ in range(moves if len(cloud.x) else 0):
        white = cloud.score @ root
        # Far out the norm of a gradient may overflow: its largest entry is taken out first.
        white = white / np.maximum(np.abs(white).max(axis=1, keepdims=True), 1e-300)
        white = white / np.maximum(np.linalg.norm(white, axis=1, keepdims=True), 1e-300)
        tried = Cloud.at(target, cloud.x + step[:, None] * (white @ root.T))
        better = tried.log_p > cloud.log_p
        cloud = cloud.where(better, tried)
        step = step * np.where(better, GROW, SHRINK)
    return cloud


@dataclass
class Chart:
    """The hills known so far, and how many climbers met each."""

    hills: list[Hill] = field(default_factory=list)
    meetings: list[int] = field(default_factory=list)

    def add(self, new: list[Hill], log_mass: float) -> None:
        """Keep those of the new hills that have mass next to what is known (log) otherwise."""
        known = max([log_mass, *(h.log_mass for h in [*self.hills, *new])])
        for hill in new:
            if hill.log_mass > known + np.log(WORTH):
                self.hills.append(hill)
                self.meetings.append(0)

    def count(self, looks: Looks) -> None:
        """Count anew what has met each hill: climbers that ended on it, points on its slope.

        A point is on the slope of a hill where its bump is the density within a factor e.
        """
        self.meetings = [sum(int((h.near(x) < SAME).sum()) for x in looks.ends) for h in self.hills]
        for x, heights in zip(looks.points, looks.heights, strict=True):
            if not self.hills:
                break
            zero = np.zeros(len(x))
            bumps = np.stack([-h.fit.log_ratio(x, zero) for h in self.hills])
            here = bumps.argmax(axis=0)
            own = np.abs(heights - bumps.max(axis=0)) < 1.0
            for k in range(len(self.hills)):
                self.meetings[k] += int((own & (here == k)).sum())

    @property
    def fewest_meetings(self) -> int:
        """Climbers that met the hill that was met by the fewest; many where there is one hill."""
        return min(self.meetings) if len(self.hills) > 1 else MANY

    @property
    def tops(self) -> tuple[Array, Array]:
        """The tops (k, d), and the standard deviations (d,) of the widest hill."""
        widest = max(self.hills, key=lambda h: h.fit.log_width).fit
        tops = np.stack([h.fit.mean for h in self.hills])
        return tops, np.sqrt((widest.root**2).sum(axis=1))

    def narrower(
        self, looks: Looks, rng: np.random.Generator, *, times: float = 0.5
    ) -> float | None:
        """Share of places where a hill so many times as wide as any could be and not be met.

        None where all hills known are of one width, so that none such is to be expected.
        """
        widths = np.array([h.fit.log_width for h in self.hills])
        if len(widths) < 2 or np.ptp(widths) < np.log(2.0):
            return None
        root = times * self.hills[int(np.argmin(widths))].fit.root
        mass = float(np.median([h.log_mass for h in self.hills]))
        return hidden(*self.tops, root, mass, looks, rng)

    def explains(self, x: Array, heights: Array) -> Mask:
        """Which points (n, d) of these log densities (n,) one of the hills explains."""
        found = np.zeros(len(x), dtype=bool)
        for hill in self.hills:
            found |= hill.explains(x, heights)
        return found

    def explained(self, x: Array) -> Array:
        """Log (n,) of the sum of the Gaussian bumps of all hills."""
        if not self.hills:
            return np.zeros(len(x))
        zero = np.zeros(len(x))
        parts = [-h.fit.log_ratio(x, zero) for h in self.hills]
        return np.asarray(np.logaddexp.reduce(parts, axis=0))

    def modes(self) -> Modes:
        """Pictures of the hills: shares by mass, means and covariances of their points."""
        masses = np.array([h.log_mass for h in self.hills])
        shares = np.exp(masses - np.logaddexp.reduce(masses))
        means = np.stack([h.points.mean(axis=0) for h in self.hills])
        roots = np.stack([Preconditioner.of_points(h.points).root for h in self.hills])
        return Modes(np.maximum(shares, 1e-3), means, roots)


def hills(
    target: Density, climbed: Cloud, chart: Chart, rng: np.random.Generator, *, patience: int = 8
) -> list[Hill]:
    """The separate tops near climbers (m, d) that are not on the chart, each with a fit.

    So many of the ascents may end on a hill that is known.
    """
    out: list[Hill] = []
    left = np.argsort(-climbed.log_p, kind="stable")
    left = left[~chart.explains(climbed.x[left], climbed.log_p[left])]
    again = 0
    for _ in range(HILLS):
        if not len(left) or again >= patience:
            break
        i, left = left[0], left[1:]
        fit = fit_at(target, *ascend(target, climbed.x[i]))
        if fit is None:
            continue
        top, height = fit.mean[None], np.array([fit.height])
        if any(h.explains(top, height)[0] for h in [*chart.hills, *out]):
            again += 1
            continue
        hill = _filled(target, fit, rng)
        out.append(hill)
        left = left[~hill.explains(climbed.x[left], climbed.log_p[left])]
    return out


def _filled(target: Density, fit: LaplaceFit, rng: np.random.Generator) -> Hill:
    """Points of the basin of a top: of its Gaussian, weighted, and moved in its own scale."""
    size = max(FILL, 2 * len(fit.mean))
    x = fit.draw(size, rng)
    ratio = fit.log_ratio(x, target.log_density_at(x))
    top = float(ratio.max())
    if top == -np.inf:
        return Hill(fit, fit.mean[None], -np.inf)
    # A bump that holds another hill in a corner is weighed as itself: ratios are cut.
    mass = fit.log_mass + float(np.log(np.mean(np.exp(np.minimum(ratio, CUT)))))
    weights = longest_power(ratio, 1.0, 0.5)[1]
    cloud = Cloud.at(target, x[systematic(weights, size, rng)])
    tuner, scale = Tuner.fresh(len(fit.mean)), Preconditioner(fit.root)
    for _ in range(FILLING):
        cloud = sweep(target, cloud, scale, tuner, rng).after
    return Hill(fit, cloud.x, mass)
