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
from jko.sampling.search.basins import CLIMB, MEETINGS, WORTH, Chart, climb, hills
from jko.sampling.search.scan import ON_SIDE, Shells, rises
from jko.sampling.search.scatter import (
    HIDDEN,
    SEVERAL,
    Looks,
    among,
    further,
    outstanding,
    outwards,
)
from jko.validation import Array

if TYPE_CHECKING:
    from jko.sampling.task import SampleProgress, Task

#: The search may take this share of the gradients that warm-up and first round of chains take;
#: where hills of many widths were found up to three times that, or, where that
#: would settle it, twelve times.
SHARE = 0.4
#: The parts of that share for the path, for lines and for points all around; the rest is for
#: climbing and weighing. In more than FEW_DIM dimensions a narrow mode in a direction of its own is
#: met by no number of points that could be paid: a tenth of them must do; lines meet it on an axis.
FOR_PATH = 0.4
FOR_LINES = 0.2
FOR_POINTS = 0.6
FEW_DIM = 10
#: Climbers of one round that come from lines; as many as stand out come from points.
FROM_LINES = 160
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
    meetings : int
        Climbers that met the hill that was met by the fewest.
    narrower : float or None
        Share of the places where a hill half as wide as the narrowest could be and was not met;
        None where hills of many widths are not to be expected.
    """

    start: Array
    path: TemperedPath | None
    modes: Modes | None
    unfinished: bool
    meetings: int
    narrower: float | None


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
        chart, looks = Chart(), Looks()
        new = _climbed(task, known, chart, looks, _some(known, 60, task.rng))
        values, spent, narrower, rounds = float(budget(task)), 0.0, None, 0
        while values > 0:
            new = _round(task, known, chart, looks, values)
            spent, rounds = spent + values, rounds + 1
            narrower = chart.narrower(looks, task.rng)
            blind = narrower is not None and narrower > HIDDEN
            if not new and not blind and chart.fewest_meetings >= MEETINGS:
                break
            values = further(budget(task), len(chart.hills), rounds, spent, narrower)
        progress.figures["hills"] = len(chart.hills)
        points = np.concatenate([known, *(h.points for h in chart.hills)])
        modes = chart.modes() if len(chart.hills) > 1 else None
        start, modes = _even(task, points, modes)
        narrower = narrower if len(chart.hills) >= SEVERAL else None
        return SearchOutcome(start, path, modes, bool(new), chart.fewest_meetings, narrower)


def scouts(task: Task) -> int:
    """Particles of the path that its share of the budget pays for.

    A stage may shrink a Gaussian by a factor exp(-.84 / sqrt(d)) / 2 in variance at most when .7
    of the effective size is kept.
    """
    step = np.sqrt(-2 * np.log(KEPT) / task.target.dim)
    stages = 2 * np.log(max(task.spread, 2.0)) / step + 2
    count = FOR_PATH * budget(task) / (stages * (MOVES + 2))
    return int(np.clip(count, FEWEST, min(MOST, task.size)))


def _round(task: Task, known: Array, chart: Chart, looks: Looks, values: float) -> int:
    """Lines and points around what is known (m, d); how many new hills with mass they found."""
    rng = task.rng
    where = np.concatenate([known, *(h.points for h in chart.hills)])
    base = _some(where, WEIGHING, rng)
    root, centre = _frame(chart, where, base)
    rows = systematic(np.ones(len(base)), max(10, int(FOR_LINES * values / (2 * ON_SIDE + 1))), rng)
    # Lines through points nearer the middle meet more of the modes that differ in one coordinate.
    pull = np.where(np.arange(len(rows)) % 4 < 2, 1.0, rng.random(len(rows)))[:, None]
    lines = centre[rows] + pull * (base[rows] - centre[rows])
    x = _most_surprising(chart, *rises(task.target, lines, root, task.spread, rng), FROM_LINES, rng)
    return _climbed(
        task, known, chart, looks, np.concatenate([x, _around(task, where, chart, looks, values)])
    )


def _frame(chart: Chart, where: Array, base: Array) -> tuple[Array, Array]:
    """Root (d, d) of the scale inside hills, and the middle of the hill each base point is on."""
    if len(chart.hills) > 1:
        modes = chart.modes()
        return modes.within.root, modes.means[modes.labels(base)]
    return Preconditioner.of_points(where).root, np.broadcast_to(where.mean(axis=0), base.shape)


def _climbed(task: Task, known: Array, chart: Chart, looks: Looks, x: Array) -> int:
    """Climb from points (m, d) and keep what has mass; how many new hills.

    Those that have come to a known hill after a third of the moves are left there.
    """
    where = np.concatenate([known, *(h.points for h in chart.hills)])
    root = _frame(chart, where, where[:1])[0]
    begun = climb(task.target, x, root, CLIMB // 3)
    arrived = chart.explains(begun.x, begun.log_p)
    ends = climb(task.target, begun.x[~arrived], root, CLIMB)
    new = hills(task.target, ends, chart, task.rng)
    chart.add(new, _mass_known(task, known))
    looks.ends += [begun.x[arrived], ends.x]
    chart.count(looks)
    return sum(hill in chart.hills for hill in new)


def _some(x: Array, count: int, rng: np.random.Generator) -> Array:
    """At most so many of points (m, d)."""
    return np.asarray(x[rng.choice(len(x), min(len(x), count), replace=False)])


def _around(task: Task, where: Array, chart: Chart, looks: Looks, values: float) -> Array:
    """Points in all directions around points (m, d), and between hills: those that stand out."""
    rng, few = task.rng, task.target.dim <= FEW_DIM
    count = int(FOR_POINTS * values) // (1 if few else 10)
    between = count // 2 if len(chart.hills) > 1 else 0
    mean, root = where.mean(axis=0), Preconditioner.of_points(where).root
    x, far = outwards(mean, root, count - between, min(task.spread, 30.0), rng)
    if between:
        x = np.concatenate([x, among(*chart.tops, between, 1.25, rng)])
        far = np.concatenate([far, np.full(between, np.inf)])
    heights = task.target.log_density_at(x)
    looks.points.append(x)
    looks.heights.append(heights)
    inside = np.flatnonzero(heights > -np.inf)
    surprise = heights[inside] - chart.explained(x[inside])
    return np.asarray(x[inside[outstanding(far[inside], surprise)]])


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
