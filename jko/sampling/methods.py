r"""The methods of `jko.sample`, each a function that fills in its `Progress`."""

from __future__ import annotations

import numpy as np

from jko.sampling.moves.chains import Chains
from jko.sampling.moves.ensemble import settle
from jko.sampling.moves.history import History
from jko.sampling.moves.modes import Modes
from jko.sampling.search.basins import MEETINGS
from jko.sampling.search.explore import budget, explore, scouts, tempered_path
from jko.sampling.search.scatter import HIDDEN
from jko.sampling.task import SampleProgress, Task
from jko.sampling.verdict.diagnostics import unseen
from jko.sampling.verdict.evidence import PRECISION, RHAT, Evidence
from jko.validation import Array

#: Errors beyond this, in standard deviations or relative to them, are worth a note.
ROUGH = 0.02
#: Share of the particles of a search that may lie outside the sample.
UNSEEN = 0.01
#: A search may disagree with the sample by this many standard deviations in mean.
DISAGREEMENT = 0.3
#: Particles of a search that checks a sample: its means are then known to .1 sd or better.
SCOUTS = 500
#: It may take so many times the share that a search before the chains may.
MORE = 4.0


def tempered(task: Task, progress: SampleProgress) -> None:
    """Settle, search for modes, then chains and their history."""
    sample = settled(task)
    progress.points = sample
    task.target.watch.enter("searching for modes")
    found = explore(task, sample, progress)
    if found.path is not None:
        progress.figures["temperatures"] = np.array(found.path.exponents)
        progress.figures["path_ess"] = float(min(found.path.sizes))
    met = 0 if found.unfinished else found.meetings
    progress.evidence["search"] = Evidence(
        float(met),
        float(MEETINGS),
        met >= MEETINGS,
        "meetings of the search with the mode it met least (0: its last round found a new one)",
        "there may be more modes: raise n, or pass start= where they are",
    )
    if found.narrower is not None:
        progress.evidence["narrower"] = Evidence.at_most(
            found.narrower,
            HIDDEN,
            "share of the places where the search would have missed a mode half as wide as any",
            "modes of many widths were found, and there may be more: raise n, or pass start= where"
            " they are",
        )
    run_chains(task, progress, found.start, found.modes, searched=True)
    assert progress.chains is not None
    modes = progress.chains.modes
    if modes is not None and modes.count > 1:
        jumps = float(np.mean(progress.chains.jump_acceptances or [0.0]))
        progress.figures["jump_acceptance"] = jumps


def langevin(task: Task, progress: SampleProgress) -> None:
    """Settle, then chains and their history; a tempered search looks for mass they do not see."""
    sample = settled(task)
    progress.points = sample
    run_chains(task, progress, sample)
    assert progress.points is not None
    # All that the chains have seen: one cloud of 400 has tails so thin that a search finds 1 % of
    # its points beyond them, in one of 30 runs on a Gaussian.
    history = progress.chains.history if progress.chains is not None else None
    seen = history.draws if history is not None and history.draws else [progress.points]
    compare_with_search(task, progress, np.concatenate(seen))


def settled(task: Task) -> Array:
    """An ensemble (n, d) that has stopped spreading; a Gaussian fit that fits is one."""
    task.target.watch.enter("settling")
    if task.opening is not None and task.opening.settled:
        return task.start
    fits = task.opening is not None and task.opening.fit is not None
    return settle(task.target, task.cloud(task.start), task.rng, least=1 if fits else 2)[0].x


def run_chains(
    task: Task,
    progress: SampleProgress,
    start: Array,
    modes: Modes | None = None,
    *,
    searched: bool = False,
) -> None:
    """Chains from a start; a longer run where they have not mixed."""
    task.target.watch.enter("running chains")
    for moves in (task.moves, 2 * task.moves):
        chains = Chains(task.target, task.cloud(start), task.features, task.rng, modes=modes)
        chains.searched = searched
        modes = chains.modes
        progress.chains = chains
        chains.run(moves)
        start = progress.points = chains.cloud.x
        assert chains.history is not None
        if float(np.nanmax(chains.history.rhat(), initial=1.0)) <= RHAT:
            break
    assert chains.history is not None
    _note_errors(chains.history, progress)


def _note_errors(history: History, progress: SampleProgress) -> None:
    """A note where the history ended before it was precise."""
    spread = np.sqrt(np.maximum(history.variance, 1e-300))
    k = len(spread) - 1  # the last feature is the log density
    off, off_std = (float(e[:k].max()) for e in (history.mcse / spread, history.mcse_std))
    if ROUGH < max(off, off_std) <= PRECISION:
        progress.notes.append(
            f"after {history.total} moves the means are known to {off:.2g} sd and the standard"
            f" deviations to {off_std:.1%} only (one standard error): raise moves= for more"
        )


def compare_with_search(task: Task, progress: SampleProgress, sample: Array) -> None:
    """Run a tempered search around a sample (m, d); evidence of where they disagree."""
    with task.target.search():
        count = max(scouts(task), min(task.size, SCOUTS))
        path = tempered_path(task, sample, count, progress, MORE * budget(task))
    if path is None:
        return
    found = path.points
    share = unseen(sample, found, task.rng)
    progress.figures["unseen"] = share
    weights = progress.weights
    mean = sample.mean(axis=0) if weights is None else weights @ sample / weights.sum()
    spread = np.maximum(np.maximum(found.std(axis=0), sample.std(axis=0)), 1e-300)
    shift = np.abs(found.mean(axis=0) - mean) / spread
    worst = int(np.argmax(shift))
    progress.evidence["search"] = Evidence.at_most(
        share,
        UNSEEN,
        "share of the mass that a tempered search found where the sample has none",
        "it misses a mode; use method='tempered'",
    )
    progress.evidence["agreement"] = Evidence.at_most(
        shift[worst],
        DISAGREEMENT,
        f"distance of the mean of coordinate {worst} from that of a tempered search, in sd",
        "modes may have wrong weights; use method='tempered'",
    )
