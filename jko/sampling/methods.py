r"""The methods of `jko.sample`, each a function that fills in its `Progress`."""

from __future__ import annotations

import numpy as np

from jko.errors import InvalidMeasure
from jko.markov.resampling import systematic
from jko.markov.scale import Tuner
from jko.sampling.chains import Chains
from jko.sampling.diagnostics import far_points, unseen
from jko.sampling.ensemble import settle, sweep
from jko.sampling.evidence import PRECISION, RHAT
from jko.sampling.history import History
from jko.sampling.modes import find_modes
from jko.sampling.path import Path, wide
from jko.sampling.task import Progress, Task
from jko.validation import Array

#: Errors beyond this, in standard deviations or relative to them, are worth a note.
ROUGH = 0.02
#: Share of the particles of a search that may lie outside the sample.
UNSEEN = 0.01
#: A search may disagree with the sample by this many standard deviations in mean.
DISAGREEMENT = 0.3
#: Particles of a search that only checks.
SCOUTS = 500
#: Further searches at most, and how wide they are in the scale of what was found.
SEARCHES, AGAIN = 4, 3.0
#: Chains that every mode found begins with, at least: this share, or so many per dimension, for
#: the covariance inside the mode is learnt from them; at most half of the even share.
FEW, FEW_PER_DIM = 0.04, 8
#: Moves that lead points from far away into modes.
CLIMB = 100


def tempered(task: Task, progress: Progress) -> None:
    """Settle; follow the path from a wide Gaussian to the target; then chains and their history."""
    cloud, _, _ = settle(task.target, task.cloud(task.start), task.rng)
    progress.points = cloud.x
    path = search(task, cloud.x, task.size, progress)
    start = cloud.x
    if path is not None:
        progress.points = path.points
        start = search_again(task, path.points, progress)
        progress.figures["temperatures"] = np.array(path.exponents)
        progress.figures["path_ess"] = float(min(path.sizes))
        progress.figures["log_evidence"] = path.log_mass
    _chains(task, progress, start)
    assert progress.chains is not None
    modes = progress.chains.modes
    if modes is not None and modes.count > 1:
        jumps = float(np.mean(progress.chains.jump_acceptances or [0.0]))
        progress.figures["jump_acceptance"] = jumps


def search_again(task: Task, found: Array, progress: Progress) -> Array:
    """Search around what a search found (m, d), until nothing new turns up; points to start from.

    One run may lose a narrow mode on its way. The next one starts from a Gaussian in the scale of
    the modes found; all that was found together is where the chains begin, as their jumps between
    modes settle the weights.
    """
    share = 0.0
    for _ in range(SEARCHES):
        path = search(task, found, min(task.size, SCOUTS), progress, AGAIN)
        if path is None:
            return found
        climbed = climb(task, found)
        far = climbed[far_points(found, climbed, task.rng)]
        new = np.concatenate([path.points, far])
        share = unseen(found, new, task.rng)
        found = np.concatenate([found, new])
        if share <= UNSEEN:
            break
    else:
        progress.failures.append(
            f"the last of {SEARCHES} further searches still found {share:.0%} of the mass where the"
            " others had none: there may be more; raise n, or pass start= where the modes are"
        )
    progress.figures["unseen"] = share
    found = np.concatenate([found, climbed])
    modes = find_modes(task.cloud(found), task.rng)
    # A mode that few have reached gets enough chains to be told apart; jumps settle its weight.
    share_of = np.bincount(modes.labels(found), minlength=modes.count) / len(found)
    size = min(task.size, len(found))
    few = min(max(FEW, FEW_PER_DIM * task.target.dim / size), 0.5 / modes.count)
    even = np.maximum(1.0, few / np.maximum(share_of, 1e-9))[modes.labels(found)]
    return found[systematic(even, size, task.rng)]


def climb(task: Task, found: Array) -> Array:
    """Where points from all around several modes (m, d) are led by Langevin moves; none for one.

    Tempering loses modes that are much narrower than others: at high temperatures they hold next
    to nothing. Moves at the target reach them from their basins.
    """
    modes = find_modes(task.cloud(found), task.rng)
    if modes.count == 1:
        return found[:0]
    x = wide(found, task.start, AGAIN).sample(min(task.size, SCOUTS), task.rng)
    cloud, tuner = task.cloud(x), Tuner.fresh(task.target.dim)
    cloud = cloud.take(np.flatnonzero(cloud.log_p > -np.inf))
    for _ in range(CLIMB if len(cloud.x) else 0):
        cloud = sweep(task.target, cloud, modes.within, tuner, task.rng).after
    return cloud.x


def langevin(task: Task, progress: Progress) -> None:
    """Settle, then chains and their history; a tempered search looks for mass they do not see."""
    cloud, _, _ = settle(task.target, task.cloud(task.start), task.rng)
    progress.points = cloud.x
    _chains(task, progress, cloud.x)
    assert progress.points is not None
    compare_with_search(task, progress, progress.points)


def _chains(task: Task, progress: Progress, start: Array) -> None:
    """Chains from a start; a longer run where they have not mixed."""
    for moves in (task.moves, 2 * task.moves):
        chains = Chains(task.target, task.cloud(start), task.features, task.rng)
        progress.chains = chains
        chains.run(moves)
        start = progress.points = chains.cloud.x
        assert chains.history is not None
        if float(np.nanmax(chains.history.rhat(), initial=1.0)) <= RHAT:
            break
    assert chains.history is not None
    _note_errors(chains.history, progress)


def _note_errors(history: History, progress: Progress) -> None:
    """A note where the history ended before it was precise."""
    spread = np.sqrt(np.maximum(history.variance, 1e-300))
    k = len(spread) - 1  # the last feature is the log density
    off, off_std = (float(e[:k].max()) for e in (history.mcse / spread, history.mcse_std))
    if ROUGH < max(off, off_std) <= PRECISION:
        progress.notes.append(
            f"after {history.total} moves the means are known to {off:.2g} sd and the standard"
            f" deviations to {off_std:.1%} only (one standard error): raise moves= for more"
        )


def search(
    task: Task, around: Array, size: int, progress: Progress, spread: float | None = None
) -> Path | None:
    """A tempered run from a Gaussian `spread` times as wide as some points (m, d), and the start.

    The Gaussian is narrowed where hardly any of it lies in the support of the target, or where a
    density far from all mass overflows to NaN: no reason to give up, but to look nearer.
    """
    shrink, spread = 1.0, task.spread if spread is None else spread
    while shrink * spread >= 1:
        reference = wide(around, task.start, spread, shrink)
        path, tuner = Path(reference.sample(size, task.rng)), Tuner.fresh(task.target.dim)
        try:
            inside = (task.target.log_density_at(path.points) > -np.inf).mean()
            while inside >= 0.05 and not path.done:
                path.advance(reference, task.target, tuner, task.rng)
        except InvalidMeasure:
            inside = 0.0
        if path.done:
            break
        shrink /= 1.5
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


def compare_with_search(task: Task, progress: Progress, sample: Array) -> None:
    """Run a tempered search around a sample (m, d) and say where they disagree."""
    path = search(task, sample, min(task.size, SCOUTS), progress)
    if path is None:
        return
    found = path.points
    share = unseen(sample, found, task.rng)
    progress.figures["unseen"] = share
    weights = progress.weights
    mean = sample.mean(axis=0) if weights is None else weights @ sample / weights.sum()
    spread = np.maximum(np.maximum(found.std(axis=0), sample.std(axis=0)), 1e-300)
    shift = np.abs(found.mean(axis=0) - mean) / spread
    if share > UNSEEN:
        progress.failures.append(
            f"a tempered search found {share:.0%} of the mass where the sample has none: it misses"
            " a mode; use method='tempered'"
        )
    elif shift.max() > DISAGREEMENT:
        progress.failures.append(
            f"the mean of coordinate {int(np.argmax(shift))} differs by {shift.max():.2g} sd from"
            " that of a tempered search: modes may have wrong weights; use method='tempered'"
        )
