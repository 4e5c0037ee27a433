"""Self-normalised importance sampling, with a report of what it cannot see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jko.errors import InvalidMeasure
from jko.measures.atoms import Particles
from jko.measures.gaussian import Gaussian, GaussianMixture, coloured
from jko.measures.target import LogDensity
from jko.validation import Array, Seed, instance, positive_int, rng_of

#: Degrees of freedom of the Student proposals: heavier tails than any target with moments needs,
#: and half the dimension where that is more: in 200 dimensions hardly a draw of 5 degrees is at the
#: radius where a normal law has its mass.
FREEDOM = 5.0


@dataclass(frozen=True, eq=False, repr=False)
class ImportanceSample:
    """Weighted draws that stand for a normalised target.

    Attributes
    ----------
    particles : Particles
        Draws from the proposal with self-normalised weights, mass 1.
    ess : float
        Effective sample size, 1 / sum w^2.
    tail : float
        Tail index of w (1 + |x|^2), estimated from its largest values: with 1 or more the second
        moment does not exist, or the proposal misses where it comes from; from 1/2 on its
        standard error cannot be trusted.
    mean_error : (d,) array
    cov_error : (d, d) array
        Standard errors of `particles.mean` and `particles.cov`.
    error : float
        Both in the Fisher metric of N(mean, cov).
    log_evidence : float
        Log of the target's total mass.
    """

    particles: Particles
    ess: float
    tail: float
    mean_error: Array
    cov_error: Array
    error: float
    log_evidence: float

    def __repr__(self) -> str:
        return (
            f"ImportanceSample({self.particles.n} draws, ess={self.ess:.0f}, tail={self.tail:.2f})"
        )


def importance_sample(
    target: LogDensity | Gaussian | GaussianMixture,
    proposal: Gaussian | GaussianMixture,
    n: int = 10_000,
    rng: Seed = None,
) -> ImportanceSample:
    """Draw from a Student version of `proposal` and weigh the draws by the target.

    Parameters
    ----------
    target : LogDensity, or a measure with a density
    proposal : Gaussian or GaussianMixture
        Each component gives its place to a multivariate Student law of 5 degrees of freedom (half
        the dimension beyond ten).
    n : int
    rng : seed or numpy Generator

    Returns
    -------
    ImportanceSample
        `jko.InclusiveKL(sample.particles)` is the inclusive KL it stands for (formula G3).

    References
    ----------
    Vehtari et al. (2024).
    """
    kinds = (LogDensity, Gaussian, GaussianMixture)
    instance(target, kinds, "target", "pass a jko.LogDensity or a Gaussian measure")
    remedy = "pass a jko.Gaussian or a jko.GaussianMixture"
    instance(proposal, (Gaussian, GaussianMixture), "proposal", remedy)
    if target.dim != proposal.dim:
        raise InvalidMeasure(
            f"target lives in dimension {target.dim}, the proposal in dimension {proposal.dim}"
        )
    x, log_q = _student(proposal, positive_int(n, "n"), rng_of(rng))
    log_w = target.log_density_at(x) - log_q
    total = float(np.logaddexp.reduce(log_w))
    if total == -np.inf:
        raise InvalidMeasure(
            f"the target has no mass on any draw, of {len(x)}; pass a jko.Gaussian that covers it,"
            " as start= of a fit or as proposal"
        )
    w = np.exp(log_w - total)
    return _summary(x, w / w.sum(), total - float(np.log(n)))


def _student(
    proposal: Gaussian | GaussianMixture, n: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Draws (n, d) of the Student mixture and their log density (n,)."""
    from scipy.special import gammaln

    weights, means, covs = proposal.components
    share, d = weights / weights.sum(), proposal.dim
    which = rng.choice(len(share), size=n, p=share)
    roots = np.linalg.cholesky(covs)
    free = max(FREEDOM, d / 2)
    stretch = np.sqrt(free / rng.chisquare(free, size=n))
    noise = rng.standard_normal((n, d)) * stretch[:, None]
    x = means[which] + coloured(noise, which, roots)
    head = gammaln((free + d) / 2) - gammaln(free / 2) - d / 2 * np.log(free * np.pi)
    logs = []
    for p, mean, root in zip(share, means, roots, strict=True):
        if p > 0:
            square = (np.linalg.solve(root, (x - mean).T) ** 2).sum(axis=0)
            body = -(free + d) / 2 * np.log1p(square / free)
            logs.append(np.log(p) + head - np.log(np.diag(root)).sum() + body)
    return x, np.asarray(np.logaddexp.reduce(logs, axis=0))


def _summary(x: Array, w: Array, log_evidence: float) -> ImportanceSample:
    particles = Particles(x, w)
    mean, cov = particles.mean, particles.cov
    centred = x - mean
    square = w**2
    cross = (centred.T * square) @ centred
    fourth = (centred.T**2 * square) @ centred**2
    mean_error = np.sqrt(square @ centred**2)
    cov_error = np.sqrt(np.maximum(fourth - 2 * cov * cross + cov**2 * square.sum(), 0.0))
    try:
        white = np.linalg.solve(np.linalg.cholesky(cov), centred.T).T
    except np.linalg.LinAlgError:
        raise InvalidMeasure(
            f"the weights rest on fewer than {x.shape[1] + 1} of {len(x)} draws; the proposal"
            " misses the target: pass start=, a Gaussian that covers it"
        ) from None
    length = (white**2).sum(axis=1)
    # |white|^2 + |white white' - I|_F^2 / 2, the squared Fisher length of one draw's influence.
    influence = length + 0.5 * (length**2 - 2 * length + x.shape[1])
    error = float(np.sqrt(square @ influence))
    ess = 1 / float(square.sum())
    tail = tail_index(w * (1 + length))
    return ImportanceSample(particles, ess, tail, mean_error, cov_error, error, log_evidence)


def tail_index(values: Array) -> float:
    """Hill's estimate of 1/a for tails P(v > t) ~ t^{-a}, from the 3 sqrt(n) largest values."""
    count = min(len(values) // 5, int(3 * np.sqrt(len(values))))
    if count < 5:
        return 0.0
    top = np.sort(values[values > 0])[-count - 1 :]
    return float(np.log(top[1:] / top[0]).mean()) if len(top) > 5 else 0.0
