r"""Evidence for and against a sample: each with its value, its threshold, and what else to try.

A sample has converged when every piece of evidence passes. None is a proof; each sees a kind of
failure that others do not. The thresholds were set on targets with exact moments
(`benchmarks/sample_verdicts.py`; the table is on the page on sampling).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from jko.sampling.moves.chains import Chains
from jko.sampling.moves.history import History
from jko.sampling.target.counted import Counted
from jko.validation import Array

#: R-hat of groups of chains by where they began.
RHAT = 1.05
#: Largest |z| of the Stein identities: of 580 right runs the largest was 3.56; a hierarchy whose
#: neck was missed, so that means were .11 sd off, had 3.70.
STEIN = 3.6
#: Largest |z| of the last third of the history against the first, over all features and squares.
DRIFT = 4.5
#: Least effective size of one chain. Mildly bad bananas pass all else but this.
CHAIN_ESS = 4.0
#: Largest standard error of a mean, in standard deviations, and of these, relative: a third of
#: the errors from which on a result is wrong.
PRECISION = 0.033
#: Share of proposals outside the support above which the density has an edge: the boundary term
#: of the Stein identity is not known there, so that it is no evidence.
EDGE = 1e-3
#: A Gaussian has .13 by this estimate, an exponential .22, Student's t with 5, 3, 2 degrees of
#: freedom 1/5, 1/3, 1/2.
TAIL = 0.4
#: Share of evaluations that may have no value or gradient.
DEFINED = 0.01
#: Standard errors that chance alone may explain.
Z = 3.0
#: Acceptance of jumps below which chains do not cross between modes.
CROSSING = 0.005


@dataclass(frozen=True)
class Evidence:
    """One check of a sample.

    Attributes
    ----------
    value, threshold : float
    passes : bool
        Whether the value is on the good side of the threshold, or says nothing here.
    what : str
        What was measured; where it does not apply, why.
    advice : str
        What else to try where it fails.
    """

    value: float
    threshold: float
    passes: bool
    what: str
    advice: str = ""

    @classmethod
    def at_most(cls, value: float, threshold: float, what: str, advice: str) -> Evidence:
        """A figure that passes up to its threshold."""
        return cls(float(value), threshold, bool(value <= threshold), what, advice)

    @classmethod
    def unused(cls, threshold: float, what: str, why: str) -> Evidence:
        """A check that says nothing here, and why."""
        return cls(0.0, threshold, True, f"{what}: not used, {why}")

    def sentence(self) -> str:
        """What a failure says."""
        return f"{self.what}: {self.value:.3g} (threshold {self.threshold:g}); {self.advice}"

    def __repr__(self) -> str:
        word = "passes" if self.passes else "FAILS"
        return f"Evidence({self.value:.3g}, threshold {self.threshold:g}: {word}, {self.what})"


def name_of(index: int, dim: int) -> str:
    """What feature this is: a coordinate, an observable, the log density, or the square of one."""
    return f"coordinate {index}" if index < dim else f"observable {index - dim}"


def of_chains(chains: Chains, method: str) -> Iterator[tuple[str, Evidence]]:
    """The evidence that the history of chains gives by itself: key and value."""
    history = chains.history
    assert history is not None
    yield "mixing", _mixing(history, method)
    yield "stein", _stein(chains, history)
    yield "drift", _drift(history)
    yield "chain_ess", _chain_ess(history)
    yield "precision", _precision(history)
    if chains.modes is not None and chains.modes.count > 1:
        yield "crossing", _crossing(chains)


def _label(history: History, index: int) -> str:
    k = history.start.shape[1]
    if index == k - 1:
        return "the log density"
    return name_of(index, history.dim)


def _mixing(history: History, method: str) -> Evidence:
    values = np.where(history.moving, history.rhat(), 1.0)
    if np.isnan(values).any():
        return Evidence(np.nan, RHAT, False, "R-hat: too few chains or moves", "raise n or moves=")
    worst = int(np.argmax(values))
    other = "method='tempered'" if method == "langevin" else "a start= that covers the mass"
    return Evidence.at_most(
        values[worst],
        RHAT,
        f"R-hat of {_label(history, worst)}, groups of chains by where they started",
        f"raise moves=, rescale or reparametrise the density, or try {other}",
    )


def _stein(chains: Chains, history: History) -> Evidence:
    what = "Stein identity E[(x_j - c_j) d_j log pi] = -1, largest |z|"
    if chains.outside > EDGE * max(1, chains.proposed):
        return Evidence.unused(STEIN, what, "the support has an edge")
    z = np.abs(history.stein_z())
    worst = int(np.argmax(z))
    return Evidence.at_most(
        z[worst],
        STEIN,
        f"{what}, of coordinate {worst}",
        "the chains miss a region of long gradients, such as the neck of a hierarchy: reparametrise"
        " it (non-centred), or use NUTS with a high target acceptance",
    )


def _drift(history: History) -> Evidence:
    moving = np.concatenate([history.moving, history.moving])
    z = np.where(moving, np.abs(history.drift_z()), 0.0)
    worst = int(np.argmax(z))
    k = len(history.moving)
    square = "the square of " if worst >= k else ""
    return Evidence.at_most(
        z[worst],
        DRIFT,
        f"drift of {square}{_label(history, worst % k)}, last third against first, |z|",
        "the chains are still on their way: pass start= closer to the mass, or raise moves=",
    )


def _chain_ess(history: History) -> Evidence:
    sizes = history.sizes[:-1]
    worst = int(np.argmin(sizes))
    return Evidence(
        float(sizes[worst]),
        CHAIN_ESS,
        bool(sizes[worst] >= CHAIN_ESS),
        f"effective size of one chain for {_label(history, worst)}",
        "the chains move too slowly to see all of the mass: reparametrise, or raise moves=",
    )


def _precision(history: History) -> Evidence:
    spread = np.sqrt(np.maximum(history.variance, 1e-300))
    off = np.maximum(history.mcse / spread, history.mcse_std)
    off = np.where(history.moving, off, 0.0)[: history.start.shape[1] - 1]
    worst = int(np.argmax(off))
    return Evidence.at_most(
        off[worst],
        PRECISION,
        f"standard error of mean or spread of {_label(history, worst)}, in sd,"
        f" after {history.total} moves",
        "raise moves=",
    )


def _crossing(chains: Chains) -> Evidence:
    assert chains.modes is not None
    jumps = float(np.mean(chains.jump_acceptances or [0.0]))
    return Evidence(
        jumps,
        CROSSING,
        jumps >= CROSSING,
        f"acceptance of jumps between {chains.modes.count} modes",
        "the weights of the modes rest on where the chains began: compare several seeds, or raise"
        " n",
    )


def defined(target: Counted) -> Evidence:
    """Share of the evaluations of the chains at which values or gradients were not defined."""
    lost = target.lost_values / max(1, target.values)
    lost += target.lost_gradients / max(1, target.gradients)
    return Evidence.at_most(
        lost,
        DEFINED,
        "share of evaluations with NaN, an exception, or a gradient that is not finite",
        "they count as outside the support: check the density there, or return -inf",
    )


def matching(matched: str, count: int, n: int) -> Evidence:
    """Whether the weights could give the particles the moments of the history."""
    return Evidence(
        float(matched != "nothing"),
        1.0,
        matched != "nothing",
        f"weights that match {matched} of {count} features on {n} particles",
        f"raise n: {n} particles cannot carry the means of {count} features",
    )


def tails(draws: Array) -> Evidence:
    r"""Largest tail index k of a coordinate of draws (m, d): |x| beyond t has mass ~ t^(-1/k).

    Above 1/2 the variance is infinite, above 1/4 that of the variance's estimate. Hill's estimate
    from the largest 1 % on both sides, less two standard errors: a lower bound.
    """
    centred = np.abs(draws - np.median(draws, axis=0))
    count = max(20, len(draws) // 100)
    if len(draws) < 4 * count:
        return Evidence.unused(TAIL, "tail index", "too few draws")
    top = -np.sort(-centred, axis=0)[: count + 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        hill = np.log(top[:-1] / top[-1]).mean(axis=0)
    hill = np.where(np.isfinite(hill), hill, 0.0) * (1 - 2 / np.sqrt(count))
    worst = int(np.argmax(hill))
    return Evidence.at_most(
        hill[worst],
        TAIL,
        f"tail index of coordinate {worst} (1/2: infinite variance)",
        "standard deviations are not to be trusted, quantiles may be: sample a transformed"
        " coordinate, such as its arsinh",
    )
