"""`jko.sample`: weighted particles from an unnormalised density, with diagnostics."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable

import numpy as np

from jko.errors import JkoWarning
from jko.markov.mala import Cloud
from jko.markov.resampling import effective_size
from jko.markov.scale import Preconditioner
from jko.measures.atoms import Particles
from jko.numerics.best import Best
from jko.sampling.flows import svgd, wfr
from jko.sampling.methods import langevin, tempered
from jko.sampling.moves.chains import Chains, choose
from jko.sampling.moves.history import History
from jko.sampling.moves.modes import find_modes
from jko.sampling.moves.path import default_spread
from jko.sampling.report.parameters import with_parameters
from jko.sampling.report.result import SampleResult
from jko.sampling.search.opening import Opening, open_at_fit
from jko.sampling.target.counted import Counted
from jko.sampling.target.watch import Watch
from jko.sampling.task import (
    SMALLEST,
    SampleProgress,
    Task,
    brought_with,
    by_differences,
    check_target,
    start_points,
    stated_density,
    to_climb_from,
)
from jko.sampling.verdict import evidence
from jko.sampling.verdict.diagnostics import MOST, stein_discrepancy
from jko.sampling.verdict.moments import moment_weights
from jko.sampling.verdict.second_look import TOLERABLE, second_look
from jko.threads import limited
from jko.validation import Array, Seed, one_of, positive, positive_int, rng_of

METHODS: dict[str, Callable[[Task, SampleProgress], None]] = {
    "tempered": tempered,
    "langevin": langevin,
    "wfr": wfr,
    "svgd": svgd,
}


INTERRUPTED = "interrupted: this is what there was when it was stopped"


def interrupted(progress: SampleProgress) -> bool:
    """Whether Ctrl-C has ended the run."""
    return INTERRUPTED in progress.failures


def sample(
    log_density: object,
    dim: int | None = None,
    n: int = 1000,
    method: str = "auto",
    *,
    gradient: Callable[[Array], Array] | None = None,
    start: object = None,
    observables: Callable[[Array], Array] | None = None,
    moves: int = 200,
    spread: float | None = None,
    check: bool = True,
    progress: bool | Callable[[str, int], None] = False,
    rng: Seed = None,
) -> SampleResult:
    r"""Draw n weighted particles from a density known up to a constant.

    Parameters
    ----------
    log_density : LogDensity, Gaussian, GaussianMixture, or callable (m, d) -> (m,)
    dim : int
        Number of coordinates d; not needed when `log_density` knows it.
    n : int
        Number of particles.
    method : {"auto", "tempered", "langevin", "wfr", "svgd"}
        "tempered" ("auto" too): chains settle near the start; a search looks for other modes, by
        the spherical-Hellinger path from a Gaussian `spread` times as wide to the target (formula
        H5), along lines and at points all around; then chains start from all that was found, and
        cross between modes.
        "langevin": the chains alone (formula L1). "wfr": Langevin moves with births and deaths by
        an estimated density, d <= 3. "svgd": a baseline.

    Other Parameters
    ----------------
    gradient : callable (m, d) -> (m, d)
        Of `log_density`, when that is a plain function. None: central differences, 2 d values of
        `log_density` for each gradient, with a `JkoWarning`; chains stay exact all the same.
    start : "auto", Particles, Gaussian, GaussianMixture or (m, d) array
        Where the chains begin. "auto", the default: at the Gaussian fit of the top that is climbed
        to from the best of standard normal points, where it has mass, or at these points. One point
        is climbed from in the same way.
    observables : callable (m, d) -> (m,) or (m, k), optional
        Functions whose mean and variance the particles shall have too, besides the coordinates.
    moves : int
        Gradients of every chain in one round of kept moves; up to eight rounds where the history is
        not yet precise.
    spread : float, optional
        How wide the search is, in standard deviations of the mass found first: by default 100 up to
        d = 13, less beyond, never under 6. It also covers twice the spread of `start`. Modes
        beyond are not found, and nothing will say so.
    check : bool
        Compare the gradient with finite differences at three points first.
    progress : bool or callable (stage, evaluations)
        Show a bar (needs tqdm), or call a function after every batch of evaluations.
    rng : seed or numpy Generator, optional

    Returns
    -------
    SampleResult
        Also after Ctrl-C: what there is, not converged. Whatever keeps a result from having
        converged is in `warnings`, and a `JkoWarning` says so.

    Raises
    ------
    InvalidArgument
        The gradient disagrees with finite differences in a coordinate, or has a wrong shape.
    InvalidMeasure
        The log density is NaN or +inf at a particle, -inf at all of them, or improper.

    Notes
    -----
    Chains are preconditioned by the covariance of the ensemble, mode by mode; they take Langevin
    moves, or Hamiltonian ones of four leapfrog steps where the warm-up measured those to be better.
    Scale, step, modes and kind of move are frozen before anything is kept, so that the kept moves
    leave the density invariant exactly. The search for modes takes at most about .4 of the
    evaluations that warm-up and first round of the chains take; where modes of many widths were
    found up to three times that, and up to twelve times where so many points would tell whether a
    narrower one was missed. The particles are one of the last
    clouds of the chains, weighted by minimum chi-square to the mean and variance of the whole kept
    history: the one whose weights are the most even.

    References
    ----------
    Del Moral et al. (2006); Roberts and Tweedie (1996); Neal (2011); Vehtari et al. (2021).
    """
    positive_int(n, "n")
    one_of(method, ("auto", *METHODS), "method")
    target = Counted(stated_density(log_density, dim, gradient), watch=Watch(progress))
    generator = rng_of(rng)
    size = max(n, SMALLEST, 4 * target.dim)
    began = time.perf_counter()
    # Densities are evaluated far out, where functions and what is made of them overflow.
    with limited(), np.errstate(all="ignore"):
        points = start_points(start, target, size, generator)
        doubt = by_differences(target, points)
        doubt = check_target(target, points, check, generator) or doubt
        opening = _opening(start, target, points, generator)
        task = Task(
            target,
            n,
            size,
            points if opening is None else opening.points,
            observables,
            positive_int(moves, "moves"),
            default_spread(target.dim) if spread is None else positive(spread, "spread"),
            generator,
            opening,
        )
        reached = SampleProgress(points=points)
        if doubt is not None:
            reached.notes.append(doubt)
            warnings.warn(f"jko.sample: {doubt}", JkoWarning, stacklevel=2)
        chosen = "tempered" if method == "auto" else method
        try:
            METHODS[chosen](task, reached)
        except KeyboardInterrupt:
            reached.failures.append(INTERRUPTED)
        try:
            return _result(task, reached, chosen, began)
        finally:
            target.watch.close()


def _opening(start: object, target: Counted, x: Array, rng: np.random.Generator) -> Opening | None:
    """The Gaussian fit from the first points (m, d), where the start is left to the library."""
    if not to_climb_from(start):
        return None
    with target.search():
        return open_at_fit(target, x, target.log_density_at(x), len(x), rng)


def _result(task: Task, progress: SampleProgress, method: str, began: float) -> SampleResult:
    """Weights, diagnostics and the verdict."""
    assert progress.points is not None
    chains = progress.chains
    points = progress.points if chains is None else chains.cloud.x
    chosen = choose(min(task.n, len(points)), len(points), task.rng)
    points = points[chosen]
    figures: dict[str, object] = dict(progress.figures)
    draws, weights = None, np.full(len(points), 1.0 / len(points))
    names, constrain = brought_with(task.target)
    history = None if chains is None else chains.history
    if chains is not None and history is not None and history.total > 0:
        mean, variance = history.mean, history.variance
        clouds = [x[chosen] for x in (chains.cloud.x, *history.draws)]
        points, weights, matched = _most_even(task, clouds, history)
        if constrain is not None and history.draws and matched == "mean and variance":
            moments, seen = (mean[:-1], variance[:-1]), np.concatenate(history.draws)
            own = with_parameters(constrain, points, task.features(points), moments, seen)
            weights = weights if own is None else own
        figures |= {"matched": matched, "acceptance": float(np.mean(chains.acceptances))}
        figures["leapfrog_steps"] = chains.steps
        progress.evidence |= dict(evidence.of_chains(chains, method))
        count = len(mean) - 1
        progress.evidence["matching"] = evidence.matching(matched, count, len(points))
        progress.evidence["defined"] = evidence.defined(task.target)
        if history.draws and not interrupted(progress):
            figures |= _looked_again(task, chains, progress)
        d = task.target.dim
        figures |= {"rhat": history.rhat()[:d], "mcse": history.mcse[:d], "moves": history.total}
        figures |= {"history_mean": mean[:-1], "history_std": np.sqrt(variance[:-1])}
        figures["modes"] = 1 if chains.modes is None else chains.modes.count
        draws = np.stack(history.draws, axis=1) if history.draws else None
    measure = Particles(points, weights)
    figures |= {"ess": measure.ess, "ksd": _ksd(task, measure)}
    figures |= {"evaluations": task.target.values, "gradients": task.target.gradients}
    figures["seconds"] = time.perf_counter() - began
    figures |= progress.evidence
    failures = _failures(progress)
    said = (*failures, *progress.notes)
    verdict = not failures
    return SampleResult(measure, method, verdict, said, figures, draws, names, constrain)


def _looked_again(task: Task, chains: Chains, progress: SampleProgress) -> dict[str, object]:
    """The evidence of a second look, kept; the evidence of the density where that is known."""
    tops = [] if task.opening is None else [(task.opening.top, task.opening.height)]
    found, more = second_look(task, chains, tops)
    progress.evidence |= more
    if found is None or not found.bound <= TOLERABLE:  # also where it is no number
        return {}
    return {"log_evidence": found.log_total, "log_evidence_error": found.bound}


def _failures(progress: SampleProgress) -> tuple[str, ...]:
    """What speaks against the sample, each said as a warning too."""
    failed = [e.sentence() for e in progress.evidence.values() if not e.passes]
    failures = (*progress.failures, *failed)
    for failure in failures:
        warnings.warn(f"jko.sample: {failure}", JkoWarning, stacklevel=4)
    return failures


def _most_even(task: Task, clouds: list[Array], history: History) -> tuple[Array, Array, str]:
    """The cloud (n, d) that needs the least weighting to have the moments of the history."""
    best: Best[tuple[Array, Array, str]] = Best()
    mean, variance = history.mean[:-1], history.variance[:-1]  # the last is the log density
    for x in clouds:
        weights, matched = moment_weights(task.features(x), mean, variance)
        even = effective_size(weights) if matched != "nothing" else 0.0
        best.offer(-even, (x, weights, matched))
    assert best.found is not None
    return best.found


def _ksd(task: Task, measure: Particles) -> float:
    """Kernel Stein discrepancy of the particles, thinned to `MOST`, in the scale inside modes."""
    kept = np.flatnonzero(measure.weights > 0)[:MOST]
    cloud = Cloud.at(task.target, measure.points[kept])
    scale = Preconditioner.of_points(task.start)
    if len(kept) > 1:
        scale = find_modes(cloud, task.rng).within
    return stein_discrepancy(cloud.x, measure.weights[kept], cloud.score, scale)
