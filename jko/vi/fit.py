"""`jko.vi.fit`: choose the energy and the geometry, then flow until the certificate says stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from jko.energies.divergence import KL
from jko.errors import InvalidArgument, InvalidType, StepFailed, Unsupported
from jko.expectations import Cubature, GaussHermite, MonteCarlo, Rule, default_rule
from jko.geometries.base import Geometry, GeometrySum
from jko.geometries.divergence import Divergence
from jko.geometries.hellinger import SphericalHellinger
from jko.geometries.wasserstein import Wasserstein
from jko.measures.gaussian import Gaussian, GaussianMixture
from jko.measures.target import LogDensity
from jko.validation import instance, one_of, positive, positive_int, rng_of
from jko.vi.descent import Descent, converge, elbo_of, polish
from jko.vi.inclusive import cover
from jko.vi.laplace import laplace_or_none
from jko.vi.result import Fit

OBJECTIVES, FAMILIES = ("exclusive", "inclusive"), ("gaussian", "mixture")


def fit(
    log_density: Callable[..., Any] | LogDensity | Gaussian | GaussianMixture,
    dim: int | None = None,
    *,
    gradient: Callable[..., Any] | None = None,
    objective: str = "exclusive",
    geometry: Geometry | GeometrySum | None = None,
    family: str = "gaussian",
    components: int = 5,
    start: Gaussian | GaussianMixture | None = None,
    rule: Rule | None = None,
    samples: int = 20_000,
    tau: float = 1.0,
    tol: float | None = None,
    accuracy: float = 0.03,
    max_iter: int = 500,
    rng: Any = None,
    throw: bool = True,
) -> Fit:
    r"""Fit a Gaussian, or a mixture, to an unnormalised density by a gradient flow of either KL.

    Parameters
    ----------
    log_density : callable (n, d) -> (n,), LogDensity, Gaussian or GaussianMixture
    dim : int, optional
        Needed for a callable.

    Other Parameters
    ----------------
    gradient : callable (n, d) -> (n, d), optional
        Score; central differences of the log density are taken without it.
    objective : {"exclusive", "inclusive"}
        KL(q|p), which seeks modes, or KL(p|q), which covers them (MATH G3).
    geometry : Geometry or sum, optional
        What the flow follows. Exclusive: `SphericalHellinger()` (natural gradient) for a Gaussian,
        `Wasserstein() + SphericalHellinger()` for a mixture. Inclusive: `Divergence(p=0)`.
    family : {"gaussian", "mixture"}
    components : int
        Of a mixture.
    start : Gaussian or GaussianMixture, optional
        The Laplace approximation from N(0, I) when None; a wide Gaussian for an inclusive fit of
        a target whose modes lie far apart.
    rule : jko.expectations.Rule, optional
        Gauss-Hermite in up to three dimensions, else randomised cubature seeded by `rng`.
    samples : int
        Draws of the importance sampling of an inclusive fit.
    tau : float
        First step length. Later ones double while the energy falls and shrink when it does not.
    tol : float, optional
        On the length of the gradient in the Fisher metric: 1e-4, for mixtures 1e-3; for an
        inclusive fit on the distance from the last moments, 1e-6.
    accuracy : float
        Standard error to reach in that metric: a Gaussian fit by natural gradients whose nodes
        are noisier averages over fresh nodes (`jko.vi.descent.polish`). An error e costs about
        e^2/2 of the evidence lower bound.
    max_iter : int
        Steps.
    rng : seed or numpy Generator, optional
    throw : bool
        Raise `jko.StepFailed`, carrying the fit as its result, when the tolerance is missed.

    Returns
    -------
    Fit

    Raises
    ------
    InvalidMeasure
        The log density or its gradient returns NaN, or arrays of a wrong shape.
    StepFailed
        No convergence; or the target is improper, seen from a covariance that grows without
        bound (exclusive) or from the tail of the importance weights (inclusive).
    """
    began = time.perf_counter()
    target = _target(log_density, dim, gradient)
    one_of(objective, OBJECTIVES, "objective")
    one_of(family, FAMILIES, "family")
    _check_start(start, family, target.dim)
    generator = rng_of(rng)
    base = laplace_or_none(target, start if isinstance(start, Gaussian) else None)
    if objective == "inclusive":
        if family == "mixture" or isinstance(start, GaussianMixture):
            raise Unsupported(
                "an inclusive fit is of a Gaussian (moment matching); use objective='exclusive'"
                " for a mixture"
            )
        known = isinstance(log_density, (Gaussian, GaussianMixture))
        whole: Any = log_density if known else target
        way = geometry or Divergence(p=0)
        limit = 1e-6 if tol is None else positive(tol, "tol")
        found = cover(whole, start or base, way, positive_int(samples, "samples"), limit, generator)
    else:
        usual = 1e-3 if family == "mixture" else 1e-4
        settings = Descent(
            geometry=geometry or _flow_of(family),
            tau=positive(tau, "tau"),
            tol=usual if tol is None else positive(tol, "tol"),
            max_iter=positive_int(max_iter, "max_iter"),
            rng=generator,
        )
        first = start or base or Gaussian(np.zeros(target.dim), np.eye(target.dim))
        if family == "mixture" and isinstance(first, Gaussian):
            first = _scattered(first, positive_int(components, "components"), generator)
        found = _seek(first, target, rule, settings, positive(accuracy, "accuracy"))
    return _finish(found, target, base, rule, generator, began, throw)


def _seek(
    first: Gaussian | GaussianMixture,
    target: LogDensity,
    rule: Rule | None,
    settings: Descent,
    accuracy: float,
) -> dict[str, Any]:
    """The exclusive fit: flow to convergence, then average over nodes if they are noisy."""
    rules = _rules(rule, target.dim, int(settings.rng.integers(2**31)))
    found = converge(first, target, rules, settings)
    natural = isinstance(settings.geometry, SphericalHellinger)
    if natural and isinstance(first, Gaussian) and isinstance(rules[-1], Cubature):
        found = polish(found, target, rules[-1], accuracy, settings.rng)
    return found


def _target(log_density: Any, dim: int | None, gradient: Any) -> LogDensity:
    if isinstance(log_density, (Gaussian, GaussianMixture)):
        return LogDensity(log_density.log_density_at, log_density.score, log_density.dim)
    if isinstance(log_density, LogDensity):
        if dim is not None and dim != log_density.dim:
            raise InvalidArgument(f"dim = {dim}, but the log density has dim {log_density.dim}")
        return log_density
    if not callable(log_density):
        raise InvalidType(
            f"log_density got {type(log_density).__name__}; pass a function (n, d) -> (n,), a"
            " jko.LogDensity, a jko.Gaussian or a jko.GaussianMixture"
        )
    if dim is None:
        raise InvalidArgument("dim is missing; pass the dimension of the points of log_density")
    return LogDensity(log_density, gradient, dim)


def _check_start(start: Any, family: str, dim: int) -> None:
    if start is None:
        return
    kinds = (Gaussian,) if family == "gaussian" else (Gaussian, GaussianMixture)
    instance(start, kinds, "start", f"start a {family} from a jko.Gaussian")
    if start.dim != dim:
        raise InvalidArgument(f"start lives in dimension {start.dim}, the log density in {dim}")


def _flow_of(family: str) -> Geometry | GeometrySum:
    if family == "mixture":
        return Wasserstein() + SphericalHellinger()
    return SphericalHellinger()


def _scattered(g: Gaussian, count: int, rng: np.random.Generator) -> GaussianMixture:
    """Components of the covariance of `g`, their means drawn from three times its spread."""
    means = g.mean + 3 * (g.sample(count, rng) - g.mean)
    return GaussianMixture(means, np.repeat(g.cov[None], count, axis=0))


def _rules(rule: Rule | None, dim: int, seed: int) -> list[Rule]:
    """The rule, after a cheap one of its kind that brings the fit near."""
    if rule is not None:
        return [rule]
    fine = default_rule(dim, seed)
    if isinstance(fine, Cubature) and fine.points > 16 * dim + 8:
        return [Cubature(1, seed), fine]
    return [fine]


def _fresh(rule: Rule | None, dim: int, rng: np.random.Generator) -> Rule:
    """A rule of the same kind with other nodes, to judge the fit by."""
    seed = int(rng.integers(2**31))
    if isinstance(rule, MonteCarlo):
        return MonteCarlo(rule.samples, seed)
    if isinstance(rule, Cubature):
        return replace(rule, seed=seed)
    return rule if isinstance(rule, GaussHermite) else default_rule(dim, seed)


def _finish(
    found: dict[str, Any],
    target: LogDensity,
    base: Gaussian | None,
    rule: Rule | None,
    rng: np.random.Generator,
    began: float,
    throw: bool,
) -> Fit:
    """Judge the measure on fresh nodes, and the Laplace approximation on the same."""
    if base is None and isinstance(found["measure"], Gaussian):
        base = laplace_or_none(target, found["measure"])  # a second try, in the right scales
    energy = KL(target, _fresh(rule, target.dim, rng))
    elbo, error = elbo_of(found["measure"], energy)
    laplace_elbo = float("nan") if base is None else elbo_of(base, energy)[0]
    result = Fit(
        elbo=elbo,
        elbo_error=error,
        laplace=base,
        laplace_elbo=laplace_elbo,
        seconds=time.perf_counter() - began,
        **found,
    )
    if throw and not result.success:
        raise StepFailed(
            f"vi.fit: {result.status} (residual {result.residual:.3g} against {result.tol:.3g})",
            result,
        )
    return result
