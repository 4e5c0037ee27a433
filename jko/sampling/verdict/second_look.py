r"""Evidence that needs new evaluations: masses of modes, mass far out, and the height of tops."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from jko.markov.hamiltonian import Labels
from jko.sampling.moves.chains import Chains
from jko.sampling.moves.history import History
from jko.sampling.search.laplace import ascend
from jko.sampling.search.scan import Shells
from jko.sampling.verdict.bridge import Masses, masses
from jko.sampling.verdict.diagnostics import MOST, far_points
from jko.sampling.verdict.evidence import Evidence, Z, tails
from jko.validation import Array, Index

if TYPE_CHECKING:
    from jko.sampling.task import Task

#: Shares of modes by chains and by bridges may differ by this, beyond their errors.
SHARES = 0.03
#: Share of the mass, and of the variance of a coordinate, that may lie where the sample has none.
UNSEEN = 0.005
FAR_VARIANCE = 0.1
#: Points of the Gaussians that look for it.
SHELLS = 3000
#: Draws that are looked up in up to so many dimensions.
DENSE = 100_000
FEW_DIM = 3
#: A log-concave density has its top at most d above its mean height; twice that and this much
#: more is allowed.
HEIGHT = 10.0
#: Largest bound of the error of a log evidence that is returned.
TOLERABLE = 0.3


def one_mode(x: Array) -> Index:
    """All points (n, d) belong to mode 0."""
    return np.zeros(len(x), dtype=int)


def second_look(
    task: Task, chains: Chains, tops: list[tuple[Array, float]]
) -> tuple[Masses | None, dict[str, Evidence]]:
    """The masses, and the evidence by key; `tops` are those that are known already."""
    history = chains.history
    assert history is not None
    assert chains.modes is not None
    count = chains.modes.count
    labels = chains.modes.labels if count > 1 else one_mode
    with task.target.search():
        found = masses(task.target, history.draws, history.heights, count, labels, task.rng)
        out = {"energy": _height(task, chains, labels, tops)}
        out["tails"] = tails(_within(history, labels))
        if count > 1:
            out["masses"] = _shares(history, found, count, labels)
        out |= dict(_far(task, history, found))
    return found, out


def _within(history: History, labels: Labels) -> Array:
    """The draws (m, d) less the median of the mode each belongs to."""
    draws = np.concatenate(history.draws)
    mode, out = labels(draws), draws.copy()
    for k in np.unique(mode):
        out[mode == k] -= np.median(draws[mode == k], axis=0)
    return out


def _shares(history: History, found: Masses | None, count: int, labels: Labels) -> Evidence:
    """Shares of the modes by the chains' visits against those by bridges."""
    what = "difference of the share of a mode by visits and by its own mass, beyond errors"
    if found is None:
        return Evidence.unused(SHARES, what, "the modes are too far from Gaussian")
    visits = np.stack([np.bincount(labels(x), minlength=count) / len(x) for x in history.draws])
    share = visits.mean(axis=0)
    error = np.sqrt(share / history.draws[0].shape[0]) + found.shares * found.errors
    off = np.abs(share - found.shares) - Z * error
    worst = int(np.argmax(off))
    return Evidence.at_most(
        max(0.0, float(off[worst])),
        SHARES,
        what,
        "the chains have not settled the weights of the modes: raise moves= and n",
    )


def _far(task: Task, history: History, found: Masses | None) -> Iterator[tuple[str, Evidence]]:
    """Mass and variance that wider and wider Gaussians see where the sample has none."""
    mass = "share of the mass far out where the sample has none"
    spread = "share of a coordinate's variance far out where the sample has none"
    if found is None or not history.draws:
        yield "far_mass", Evidence.unused(UNSEEN, mass, "the mass is not known")
        return
    sample = np.concatenate(history.draws)
    shells = Shells.around(task.target, sample, SHELLS, max(task.spread, 2.0), task.rng)
    # In few dimensions all draws are cheap to look up, and tails are what they alone have reached.
    most = DENSE if task.target.dim <= FEW_DIM else MOST
    far = far_points(sample, shells.x, task.rng, most) & (shells.log_weights > -np.inf)
    # Weighted points must not claim more than they can carry: two errors less.
    weights = np.where(far, np.exp(np.minimum(shells.log_weights - found.log_total, 50.0)), 0.0)
    share = _lower(weights[:, None])
    yield (
        "far_mass",
        Evidence.at_most(
            share[0],
            UNSEEN,
            mass,
            "a broad component surrounds it: pass start= as wide as that, or sample it separately",
        ),
    )
    deviation = np.sqrt(np.maximum(history.variance[: history.dim], 1e-300))
    white = (shells.x - history.mean[: history.dim]) / deviation
    share = _lower(weights[:, None] * white**2)
    worst = int(np.argmax(share))
    yield (
        "far_variance",
        Evidence.at_most(
            share[worst],
            FAR_VARIANCE,
            f"{spread}, coordinate {worst}",
            "the tails carry the variance: raise moves=, or sample a transformed coordinate, such"
            " as its arsinh",
        ),
    )


def _lower(values: Array) -> Array:
    """Means over points (n, k), less two standard errors, at least 0."""
    error = values.std(axis=0) / np.sqrt(len(values))
    return np.asarray(np.maximum(values.mean(axis=0) - 2 * error, 0.0))


def _height(
    task: Task, chains: Chains, labels: Labels, tops: list[tuple[Array, float]]
) -> Evidence:
    """How far the top of a mode is above the mean height of the chains there."""
    modes, history = chains.modes, chains.history
    assert modes is not None
    assert history is not None
    threshold = 2 * task.target.dim + HEIGHT
    what = "height of the top above the mean log density of the chains"
    if not history.draws:
        return Evidence.unused(threshold, what, "no draws were kept")
    x, log_p = np.concatenate(history.draws), np.concatenate(history.heights)
    mode = labels(x)
    worst = 0.0
    known = [(int(labels(top[None])[0]), height) for top, height in tops]
    for k in range(modes.count):
        rows = np.flatnonzero(mode == k)
        if not len(rows):
            continue
        best = rows[np.argmax(log_p[rows])]
        height = ascend(task.target, x[best], modes.roots[k])[1]
        height = max([height, *(h for j, h in known if j == k)])
        worst = max(worst, height - float(log_p[rows].mean()))
    return Evidence.at_most(
        worst,
        threshold,
        f"{what} (log-concave: at most {task.target.dim})",
        "there is a spike, such as the neck of a hierarchy, that the chains do not enter:"
        " reparametrise it (non-centred), or bound it away",
    )
