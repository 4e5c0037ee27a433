"""Inclusive fits: match the moments of the target (formula G3), known or sampled."""

from __future__ import annotations

import numpy as np

from jko.energies.divergence import InclusiveKL
from jko.errors import InvalidArgument, InvalidMeasure, StepFailed
from jko.flows.splitting import split_step
from jko.geometries.base import Geometry, GeometrySum
from jko.geometries.divergence import Divergence
from jko.geometries.gaussian import gaussian_kl
from jko.measures.base import Measure
from jko.measures.gaussian import Gaussian, GaussianMixture
from jko.measures.target import LogDensity
from jko.vi.evidence import FitCheck, of_sample
from jko.vi.importance import ImportanceSample, importance_sample
from jko.vi.result import Descended, TraceRow
from jko.vi.search import modes_of

#: A step so long that the previous measure leaves no trace.
WHOLE = 1e12
#: The proposal: the current Gaussian, and wider copies that keep looking for other modes.
WIDTHS = (1.0, 9.0, 100.0)
SHARES = (0.7, 0.2, 0.1)
#: Rounds of importance sampling at most.
ROUNDS = 15
#: Draws of the last sample, in units of those of a round: more where its errors are too large,
FINAL = (4, 16)
#: which these figures say,
NOISY = ("effective size", "error of the mean", "error of the variance")
#: unless they would be more numbers than this (half a gigabyte).
MOST_NUMBERS = 6e7


def cover(
    target: LogDensity | Gaussian | GaussianMixture,
    start: Gaussian | None,
    laplace: Gaussian | None,
    geometry: Geometry | GeometrySum,
    samples: int,
    tol: float,
    rng: np.random.Generator,
) -> Descended:
    """The Gaussian of the target's mean and covariance, by proximal steps of the inclusive KL."""
    if not (isinstance(geometry, Divergence) and geometry.p == 0):
        raise InvalidArgument(
            f"geometry = {geometry!r}: an inclusive fit steps in jko.Divergence(p=0), whose"
            " proximal step matches moments"
        )
    dim = target.dim
    mu = start or laplace or Gaussian(np.zeros(dim), np.eye(dim))
    if isinstance(target, (Gaussian, GaussianMixture)):
        mu, residual = _match(mu, target, geometry)
        return {
            "measure": mu,
            "residual": residual,
            "moment_error": 0.0,
            "trace": (),
            "tol": tol,
            "status": "converged",
        }
    _check_tails(target, mu, rng)
    modes = [] if laplace is None else modes_of(target, laplace, rng, 2 * samples)
    mu, trace = _adapt(mu, target, geometry, samples, rng, modes)
    sample, evidence = _last(target, _proposal(mu, modes), samples, rng)
    mu, residual = _match(mu, sample.particles, geometry)
    return {
        "diagnostics": evidence,
        "measure": mu,
        "residual": residual,
        "moment_error": sample.error,
        "trace": trace,
        "tol": tol,
        "status": "converged",
        "importance": sample,
    }


def _match(mu: Gaussian, target: Measure, geometry: Geometry) -> tuple[Gaussian, float]:
    """One long proximal step, and its distance (2 KL)^{1/2} from the moments."""
    moved = split_step(mu, InclusiveKL(target), geometry, WHOLE).measure
    assert isinstance(moved, Gaussian)
    aim = Gaussian(target.mean, target.cov)
    return moved, float(np.sqrt(2 * max(gaussian_kl(moved, aim), 0.0)))


def _adapt(
    mu: Gaussian,
    target: LogDensity,
    geometry: Geometry,
    samples: int,
    rng: np.random.Generator,
    modes: list[Gaussian],
) -> tuple[Gaussian, tuple[TraceRow, ...]]:
    """Sample from the current Gaussian and its wide copies, match moments, repeat."""
    trace: list[TraceRow] = []
    for count in range(ROUNDS):
        sample = importance_sample(target, _proposal(mu, modes), samples, rng)
        moved, _ = _match(mu, sample.particles, geometry)
        change = float(np.sqrt(max(gaussian_kl(mu, moved) + gaussian_kl(moved, mu), 0.0)))
        trace.append(TraceRow(count + 1.0, sample.log_evidence, 1 / np.sqrt(sample.ess), change))
        mu = moved
        if change <= 3 * sample.error:
            break
    return mu, tuple(trace)


def _last(
    target: LogDensity, proposal: GaussianMixture, samples: int, rng: np.random.Generator
) -> tuple[ImportanceSample, dict[str, FitCheck]]:
    """The sample the fit is read from: fresh, since the rule that stopped has seen the others."""
    large = FINAL[-1] * samples * target.dim > MOST_NUMBERS
    for factor in FINAL[:1] if large else FINAL:
        sample = importance_sample(target, proposal, factor * samples, rng)
        if sample.tail >= 1:
            raise StepFailed(
                f"the weighted second moments have tail index {sample.tail:.2f} >= 1: the target"
                " seems improper (no second moment), or the proposal misses most of it; pass a"
                " start= that covers it, or use objective='exclusive'"
            )
        evidence = of_sample(sample, target, rng)
        # More draws help against noise, not against what the proposal misses.
        wrong = {name for name, e in evidence.items() if not e.holds}
        if not wrong or not wrong <= set(NOISY):
            break
    return sample, evidence


def _check_tails(target: LogDensity, mu: Gaussian, rng: np.random.Generator) -> None:
    """Raise unless the density falls faster than |x|^{-(d+2)} far out: else no second moment.

    Along the axes and a few random rays, between 1e4 and 1e6 standard deviations.
    """
    d, near, far = target.dim, 1e4, 1e6
    rays = np.concatenate([np.eye(d), rng.standard_normal((8, d))])
    rays = np.concatenate([rays, -rays]) / np.linalg.norm(np.tile(rays, (2, 1)), axis=1)[:, None]
    rays = rays * np.sqrt(np.diag(mu.cov))
    try:
        with np.errstate(all="ignore"):
            logs = [target.log_density_at(mu.mean + r * rays) for r in (near, far)]
            slope = float(np.fmax.reduce((logs[1] - logs[0]) / np.log(far / near)))
    except InvalidMeasure:  # it overflows so far out: its tails are not for us to judge
        return
    if slope > -(d + 2) + 0.05:
        raise StepFailed(
            f"the target seems improper (no second moment): far out it falls like |x|^{slope:.3g}"
            f" along a ray, not faster than |x|^-{d + 2}; use objective='exclusive', or lighter"
            " tails"
        )


def _proposal(mu: Gaussian, modes: list[Gaussian]) -> GaussianMixture:
    """The Gaussian, wide copies of it, and the modes where there are several."""
    parts = [Gaussian(mu.mean, w * mu.cov) for w in WIDTHS]
    shares = list(SHARES)
    if len(modes) > 1:
        parts += modes
        shares = [0.5 * s for s in shares] + [0.5 / len(modes)] * len(modes)
    means, covs = (np.array(v) for v in ([g.mean for g in parts], [g.cov for g in parts]))
    return GaussianMixture(means, covs, np.array(shares))
