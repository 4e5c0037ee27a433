r"""The search for mass that the chains would not find by themselves, at a bounded cost.

Three ways, each blind where the others see: a tempered path from a wide Gaussian (other modes of
like width, in any direction); lines on which the density rises again (narrow modes, far away);
climbers from all around. What they find is weighed before it is kept: a basin without mass is
worthless however high its top. The search goes on until what it finds has no mass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from jko.errors import InvalidMeasure
from jko.markov.resampling import systematic
from jko.markov.scale import Preconditioner, Tuner
from jko.sampling.moves.modes import Modes, find_modes
from jko.sampling.moves.path import KEPT, MOVES, TemperedPath, wide
from jko.sampling.search.basins import WORTH, Chart, climb, hills
from jko.sampling.search.scan import ON_SIDE, Shells, rises
from jko.validation import Array

if TYPE_CHECKING:
    from jko.sampling.task import SampleProgress, Task

#: The search may take this share of the gradients that warm-up and first round of chains take.
SHARE = 0.4
#: The parts of that share for the path and for the lines; the rest is for climbing and weighing.
FOR_PATH = 0.4
FOR_LINES = 0.4
#: Rounds of lines and climbing at most, as long as they find mass.
ROUNDS = 4
#: Climbers of one round that come from lines, from wide Gaussians, and from what is known.
FROM_LINES = 160
FROM_WIDE = 80
FROM_KNOWN = 60
#: Points of wide Gaussians that are looked at for each that is climbed from.
LOOKED_AT = 40
#: Where there are several hills others may lie between them: Gaussians up to so many times as wide
#: as all of them hold five times as much of a narrow one as lines do. Every round looks there.
BETWEEN = 2.0
#: Particles of the path at least and at most.
FEWEST = 100
MOST = 500
#: Points that weigh what was known before, and that lines begin at.
WEIGHING = 500
#: By how much the log of a mass may be wrong when a Gaussian picture gives it.
DOUBT = 4.0
#: Chains that every mode found begins with, at least: this share, or so many per dimension, for
#: the covariance inside the mode is learnt from them; at most half of the even share.
FEW = 0.04
FEW_PER_DIM = 8


@dataclass(frozen=True, eq=False)
class SearchOutcome:
    """What a search hands to the chains.

    Attributes
    ----------
    start : (m, d) array
        Points for the chains to begin at.
    path : Path or None
    modes : Modes or None
        Pictures of the hills, where there are several.
    unfinished : bool
        Whether the last round still found mass.
    meetings, needed : int
        Climbers that met the hill that was met by the fewest, and how many must have.
    """

    start: Array
    path: TemperedPath | None
    modes: Modes | None
    unfinished: bool
    meetings: int
    needed: int


def budget(task: Task) -> int:
    """Values of the log density that the search may take."""
    return int(SHARE * task.size * (60 + max(task.moves, 200)))


def explore(task: Task, sample: Array, progress: SampleProgress) -> SearchOutcome:
    """Search around a sample (m, d) of what is known so far."""
    with task.target.search():
        path = tempered_path(task, sample, scouts(task), progress)
        known = sample
        if path is not None:
            # Chains of a sample that has only settled begin at points from further out as well.
            fits = task.opening is not None and task.opening.settled
            times = 1 if fits else max(1, len(sample) // len(path.points))
            known = np.concatenate([sample, *[path.points] * times])
        chart, values, new = Chart(), FOR_LINES * budget(task), 1
        for k in range(ROUNDS):
            again = k < ROUNDS - 1 and chart.fewest_meetings < chart.needed
            if k and not new and not again:
                break
            new = _round(task, known, chart, values, first=k == 0)
            values /= 2
        progress.figures["hills"] = len(chart.hills)
        points = np.concatenate([known, *(h.points for h in chart.hills)])
        modes = chart.modes() if len(chart.hills) > 1 else None
        start, modes = _even(task, points, modes)
        return SearchOutcome(start, path, modes, bool(new), chart.fewest_meetings, chart.needed)


def scouts(task: Task) -> int:
    """Particles of the path that its share of the budget pays for.

    A stage may shrink a Gaussian by a factor exp(-.84 / sqrt(d)) / 2 in variance at most when .7
    of the effective size is kept.
    """
    step = np.sqrt(-2 * np.log(KEPT) / task.target.dim)
    stages = 2 * np.log(max(task.spread, 2.0)) / step + 2
    count = FOR_PATH * budget(task) / (stages * (MOVES + 2))
    return int(np.clip(count, FEWEST, min(MOST, task.size)))


def _round(task: Task, known: Array, chart: Chart, values: float, *, first: bool) -> int:
    """Lines and climbers around what is known (m, d); how many new hills with mass it found."""
    rng = task.rng
    where = np.concatenate([known, *(h.points for h in chart.hills)])
    base = where[rng.choice(len(where), min(len(where), WEIGHING), replace=False)]
    if len(chart.hills) > 1:
        modes = chart.modes()
        root, centre = modes.within.root, modes.means[modes.labels(base)]
    else:
        root, centre = Preconditioner.of_points(where).root, where.mean(axis=0)
        centre = np.broadcast_to(centre, base.shape)
    rows = systematic(np.ones(len(base)), max(10, int(values / (2 * ON_SIDE + 1))), rng)
    # Lines through points nearer the middle meet more of the modes that differ in one coordinate.
    pull = np.where(np.arange(len(rows)) % 4 < 2, 1.0, rng.random(len(rows)))[:, None]
    lines = centre[rows] + pull * (base[rows] - centre[rows])
    x = _most_surprising(chart, *rises(task.target, lines, root, task.spread, rng), FROM_LINES, rng)
    around = _around(task, where, max(task.spread, 2.0), FROM_WIDE * LOOKED_AT, chart)
    if len(chart.hills) > 1:
        count = int(0.5 * FOR_LINES * budget(task))
        near = _around(task, where, BETWEEN, count, chart, counted=True)
        around = np.concatenate([around, near])
    some = known[rng.choice(len(known), min(len(known), FROM_KNOWN), replace=False)]
    climbed = climb(task.target, np.concatenate([x, around, some] if first else [x, around]), root)
    new = hills(task.target, climbed, chart, rng)
    chart.add(new, _mass_known(task, known))
    chart.count(climbed.x)
    return sum(hill in chart.hills for hill in new)


def _around(
    task: Task, where: Array, widest: float, count: int, chart: Chart, *, counted: bool = False
) -> Array:
    """The most surprising of points of Gaussians up to so many times as wide as points (m, d).

    Where they are counted, a point on the slope of a known hill has met it: one of a hill that is
    not known would have been among the most surprising.
    """
    rng, mean = task.rng, where.mean(axis=0)
    widths = np.exp(rng.random(count) * np.log(widest))
    x = mean + widths[:, None] * (wide(where, task.start, 1.0).sample(count, rng) - mean)
    heights = task.target.log_density_at(x)
    if counted:
        chart.count_slopes(x, heights)
    inside = heights > -np.inf
    return _most_surprising(chart, x[inside], heights[inside], FROM_WIDE, rng)


def _most_surprising(
    chart: Chart, x: Array, heights: Array, count: int, rng: np.random.Generator
) -> Array:
    """Half of the points those least explained by the hills on the chart, half any of them."""
    if len(x) <= count:
        return x
    order = np.argsort(chart.explained(x) - heights, kind="stable")
    rest = rng.choice(order[count // 2 :], count - count // 2, replace=False)
    return np.asarray(x[np.concatenate([order[: count // 2], rest])])


def _mass_known(task: Task, known: Array) -> float:
    """Log of the mass that is known already, from weighted points of Gaussians around it."""
    shells = Shells.around(task.target, known, WEIGHING, 4.0, task.rng)
    ratio = shells.log_weights
    top = float(ratio.max())
    if top == -np.inf:
        return -np.inf
    return top + float(np.log(np.mean(np.exp(ratio - top))))


def _even(task: Task, points: Array, modes: Modes | None) -> tuple[Array, Modes | None]:
    """As many points as chains, enough of them in every mode; jumps settle the weights.

    Modes whose mass is negligible, by a Gaussian picture of each, get none.
    """
    size = min(task.size, len(points))
    cloud = task.cloud(points)
    modes = find_modes(cloud, task.rng, modes)
    labels = modes.labels(points)
    share = np.bincount(labels, minlength=modes.count) / len(points)
    masses = np.full(modes.count, -np.inf)
    for k in np.flatnonzero(share):
        # Mean log density and entropy of a Gaussian with this covariance: log of its mass.
        entropy = np.log(np.abs(np.diag(modes.roots[k]))).sum() + 0.5 * task.target.dim
        masses[k] = cloud.log_p[labels == k].mean() + entropy
    worth = masses > masses.max() + np.log(WORTH) - DOUBT
    few = min(max(FEW, FEW_PER_DIM * task.target.dim / size), 0.5 / max(1, worth.sum()))
    even = np.maximum(1.0, few / np.maximum(share, 1e-9)) * worth
    start = np.asarray(points[systematic(even[labels], size, task.rng)])
    return start, modes.some(np.flatnonzero(worth)) if worth.sum() > 1 else None


def tempered_path(
    task: Task, around: Array, size: int, progress: SampleProgress, values: float | None = None
) -> TemperedPath | None:
    """A tempered run from a Gaussian far wider than some points (m, d), and than the start.

    The Gaussian is narrowed where hardly any of it lies in the support of the target, where a
    density far from all mass overflows, and where the path is longer than the budget: no reason to
    give up, but to look nearer.
    """
    shrink, spread = 1.0, task.spread
    left = budget(task) if values is None else values
    while shrink * spread >= 1 and left > 0:
        reference = wide(around, task.start, spread, shrink)
        path, tuner = TemperedPath(reference.sample(size, task.rng)), Tuner.fresh(task.target.dim)
        before = task.target.values
        try:
            inside = (task.target.log_density_at(path.points) > -np.inf).mean()
            while inside >= 0.05 and not path.done and task.target.values - before < left:
                path.advance(reference, task.target, tuner, task.rng)
        except InvalidMeasure:
            pass
        if path.done:
            break
        left -= task.target.values - before
        shrink /= 3.0
    else:
        progress.notes.append(
            "no wide search: the density cannot be evaluated, or vanishes, not far from the sample,"
            " so that other modes would not have been found"
        )
        return None
    if shrink < 1:
        progress.notes.append(
            f"a search was only {shrink * spread:.2g} sd wide: further out the density"
            " vanishes or cannot be evaluated"
        )
    return path
