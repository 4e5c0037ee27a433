"""`jko.vi.fit`: choose the energy and the geometry, then flow until the certificate says stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from jko.energies.divergence import KL
from jko.errors import StepFailed, Unsupported
from jko.expectations import Cubature, ExpectationRule, GaussHermite, MonteCarlo, default_rule
from jko.geometries.base import Geometry, GeometrySum
from jko.geometries.divergence import Divergence
from jko.geometries.hellinger import SphericalHellinger
from jko.geometries.wasserstein import Wasserstein
from jko.measures.gaussian import Gaussian, GaussianMixture
from jko.measures.target import LogDensity
from jko.validation import Array, Seed, instance, one_of, positive, positive_int, rng_of, switch
from jko.vi.arguments import check_minibatch, check_start, check_target, stated_target
from jko.vi.descent import Descent, Rules, converge, elbo_of, polish
from jko.vi.evidence import Counts, bound_of, by_other_nodes, counted, fresh_rule
from jko.vi.inclusive import cover
from jko.vi.laplace import laplace_or_none
from jko.vi.minibatch import Minibatch, descend
from jko.vi.result import Descended, Fit

OBJECTIVES = ("exclusive", "inclusive")
FAMILIES = ("gaussian", "mixture")
#: On the length of the gradient in the Fisher metric, or on the distance from the last moments.
DEFAULT_TOL = {
    ("exclusive", "gaussian"): 1e-4,
    ("exclusive", "mixture"): 1e-3,
    ("inclusive", "gaussian"): 1e-6,
    ("inclusive", "mixture"): 1e-6,
}
#: Nodes that the bound of an inclusive fit is computed on.
JUDGES = 2000

#: Targets that are known exactly.
GAUSSIANS = (Gaussian, GaussianMixture)


def fit(
    log_density: Callable[..., object] | LogDensity | Gaussian | GaussianMixture,
    dim: int | None = None,
    *,
    gradient: Callable[[Array], Array] | None = None,
    objective: str = "exclusive",
    geometry: Geometry | GeometrySum | None = None,
    family: str = "gaussian",
    components: int = 5,
    start: Gaussian | GaussianMixture | None = None,
    rule: ExpectationRule | None = None,
    samples: int = 20_000,
    minibatch: Minibatch | None = None,
    tau: float = 1.0,
    tol: float | None = None,
    accuracy: float = 0.03,
    max_iter: int = 500,
    rng: Seed = None,
    check: bool = True,
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
        KL(q|p), which seeks modes, or KL(p|q), which covers them (formula G3).
    geometry : Geometry or sum, optional
        What the flow follows. Exclusive: `SphericalHellinger()` (natural gradient) for a Gaussian,
        `Wasserstein() + SphericalHellinger()` for a mixture. Inclusive: `Divergence(p=0)`.
    family : {"gaussian", "mixture"}
    components : int
        Of a mixture.
    start : Gaussian or GaussianMixture, optional
        The Laplace approximation from N(0, I) when None; a wide Gaussian for an inclusive fit of
        a target whose modes lie far apart.
    rule : jko.expectations.ExpectationRule, optional
        Gauss-Hermite in up to three dimensions, else randomised cubature seeded by `rng`, of as
        many nodes as `accuracy` needs.
    samples : int
        Draws of the importance sampling of an inclusive fit.
    minibatch : Minibatch, optional
        Gradients of a few observations, for an exclusive fit of a Gaussian to a posterior of many:
        the density itself is then evaluated for the Laplace approximation and the verdict alone.
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
    check : bool
        Compare the gradient with differences of the log density where the fit begins.
    throw : bool
        Raise `jko.StepFailed`, carrying the fit as its result, when the tolerance is missed or
        other evidence (`Fit.diagnostics`) speaks against the fit.

    Returns
    -------
    Fit

    Raises
    ------
    InvalidMeasure
        The log density or its gradient returns NaN, or arrays of a wrong shape; in an exclusive
        fit, the log density is -inf where a Gaussian has mass.
    InvalidArgument
        The gradient is not that of the log density.
    StepFailed
        No convergence; or the target is improper, seen from a covariance that grows without
        bound (exclusive) or from the tail of the importance weights (inclusive).

    References
    ----------
    Lambert et al. (2022); Khan and Rue (2023); Opper and Archambeau (2009); Minka (2005).
    """
    began = time.perf_counter()
    asked = stated_target(log_density, dim, gradient)
    one_of(objective, OBJECTIVES, "objective")
    one_of(family, FAMILIES, "family")
    check_start(start, family, asked.dim)
    generator = rng_of(rng)
    target, counts = counted(asked)
    settings = Descent(
        geometry=geometry or _flow_of(objective, family),
        tau=positive(tau, "tau"),
        tol=DEFAULT_TOL[objective, family] if tol is None else positive(tol, "tol"),
        max_iter=positive_int(max_iter, "max_iter"),
        rng=generator,
        strict=tol is not None,
    )
    positive_int(samples, "samples")
    switch(throw, "throw")
    wish = Wish(family, components, start, rule, samples, minibatch, positive(accuracy, "accuracy"))
    check_minibatch(minibatch, objective, family, geometry)
    try:
        if instance(check, bool, "check", "pass True or False"):
            check_target(target, start)
        else:
            target = target.trusted()
        base = laplace_or_none(target, start if isinstance(start, Gaussian) else None)
        if objective == "inclusive":
            whole = log_density if isinstance(log_density, GAUSSIANS) else target
            found = _cover(whole, base, wish, settings)
        else:
            found = _seek(target, base, wish, settings)
        result = _finish(found, target, base, wish, generator, began, counts)
    except (np.linalg.LinAlgError, MemoryError) as error:
        raise StepFailed(
            f"vi.fit broke down ({type(error).__name__}: {error}); rescale the coordinates, pass a"
            " start= nearer to the target, or fewer samples="
        ) from error
    if throw and not result.success:
        said = "; ".join([result.status, *result.failures])
        raise StepFailed(
            f"vi.fit: {said} (residual {result.residual:.3g} against {result.tol:.3g})", result
        )
    return result


@dataclass(frozen=True)
class Wish:
    """What was asked for, beside the settings of the loop."""

    family: str
    components: int
    start: Gaussian | GaussianMixture | None
    rule: ExpectationRule | None
    samples: int
    minibatch: Minibatch | None
    accuracy: float


def _cover(
    target: LogDensity | Gaussian | GaussianMixture,
    base: Gaussian | None,
    wish: Wish,
    settings: Descent,
) -> Descended:
    """The inclusive fit."""
    if wish.family == "mixture" or isinstance(wish.start, GaussianMixture):
        raise Unsupported(
            "an inclusive fit is of a Gaussian (moment matching); use objective='exclusive'"
            " for a mixture"
        )
    count = positive_int(wish.samples, "samples")
    return cover(target, wish.start, base, settings.geometry, count, settings.tol, settings.rng)


def _seek(target: LogDensity, base: Gaussian | None, wish: Wish, settings: Descent) -> Descended:
    """The exclusive fit: flow to convergence, then average over nodes if they are noisy."""
    if wish.minibatch is not None:
        mode = base or wish.start
        return descend(target, mode, wish.minibatch, wish.accuracy, settings.rng)
    first = wish.start or base or Gaussian(np.zeros(target.dim), np.eye(target.dim))
    if wish.family == "mixture" and isinstance(first, Gaussian):
        first = _scattered(first, positive_int(wish.components, "components"), settings.rng)
    rules = _rules(wish, target.dim, int(settings.rng.integers(2**31)))
    found = converge(first, target, rules, settings)
    rule = found["rule"]
    natural = isinstance(settings.geometry, SphericalHellinger)
    if natural and isinstance(first, Gaussian) and isinstance(rule, Cubature):
        found = polish(found, target, rule, wish.accuracy, settings.rng)
    return found


def _flow_of(objective: str, family: str) -> Geometry | GeometrySum:
    if objective == "inclusive":
        return Divergence(p=0)
    if family == "mixture":
        return Wasserstein() + SphericalHellinger()
    return SphericalHellinger()


def _scattered(g: Gaussian, count: int, rng: np.random.Generator) -> GaussianMixture:
    """Components of the covariance of `g`, their means drawn from three times its spread."""
    means = g.mean + 3 * (g.sample(count, rng) - g.mean)
    return GaussianMixture(means, np.repeat(g.cov[None], count, axis=0))


def _rules(wish: Wish, dim: int, seed: int) -> Rules:
    """The rule asked for; else few nodes first, and how many more there may be."""
    if wish.rule is not None:
        return Rules(wish.rule)
    fine = default_rule(dim, seed)
    if not isinstance(fine, Cubature):
        return Rules(fine)
    if wish.family == "mixture":  # its errors are those of the single components
        return Rules(fine)
    return Rules(Cubature(1, seed), fine.points, wish.accuracy)


def _finish(
    found: Descended,
    target: LogDensity,
    base: Gaussian | None,
    wish: Wish,
    rng: np.random.Generator,
    began: float,
    counts: Counts,
) -> Fit:
    """Judge the measure on fresh nodes, and the Laplace approximation on the same."""
    mu, rule = found["measure"], found.get("rule")
    if base is None and isinstance(mu, Gaussian):
        base = laplace_or_none(target, mu)  # a second try, in the right scales
    seed = int(rng.integers(2**31))
    evidence = dict(found.get("diagnostics", {}))
    laplace_elbo = float("nan")
    if isinstance(mu, GaussianMixture) or isinstance(rule, MonteCarlo):
        fresh = replace(rule, seed=seed) if isinstance(rule, (Cubature, MonteCarlo)) else rule
        elbo, error = elbo_of(mu, KL(target, fresh))
    else:
        fresh = fresh_rule(rule or Cubature(JUDGES, seed), target.dim, seed)
        if rule is not None:
            evidence["gradient on other nodes"] = by_other_nodes(
                mu, found["moment_error"], KL(target, fresh)
            )
        exact = rule if isinstance(rule, GaussHermite) else fresh
        elbo, error = elbo_of(mu, KL(target, exact)) if rule else bound_of(mu, target, fresh)
        fresh = exact
    if base is not None:
        laplace_elbo = bound_of(base, target, fresh or Cubature(JUDGES, seed))[0]
    return Fit(
        elbo=elbo,
        elbo_error=error,
        laplace=base,
        laplace_elbo=laplace_elbo,
        seconds=time.perf_counter() - began,
        diagnostics=evidence,
        evaluations=counts,
        measure=mu,
        residual=found["residual"],
        moment_error=found["moment_error"],
        tol=found["tol"],
        trace=found["trace"],
        status=found["status"],
        importance=found.get("importance"),
    )
