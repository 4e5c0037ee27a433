"""phi_p-divergences to a target: KL, inclusive KL, half chi^2, half squared Hellinger, any p."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from jko.energies.base import Energy, FormEnergy
from jko.energies.gaussian_form import GaussianForm
from jko.energies.gaussian_moments import Field
from jko.errors import Unsupported
from jko.expectations import ExpectationRule
from jko.forms.form import WeightForm, divergence_form
from jko.geometries.gaussian import gaussian_kl
from jko.measures.atoms import Particles
from jko.measures.base import Discrete, Measure
from jko.measures.gaussian import Gaussian, GaussianMixture
from jko.measures.target import DENSITIES, LogDensity, Target, restrict
from jko.validation import Array, instance, real


class PhiDivergence(FormEnergy):
    r"""D_p(mu | target) = int phi_p(dmu/dtarget) dtarget, phi_p = (t^p - p(t-1) - 1)/(p(p-1)).

    Parameters
    ----------
    target : measure or LogDensity
        On a grid, densities are sampled at the cell centres.
    p : float
        2: half chi^2; 1: KL(mu|target); 1/2: half squared Hellinger; 0: KL(target|mu).

    Notes
    -----
    For p < 1 mass where the target has none costs mass/(1-p); for p >= 1 it
    is forbidden (+inf); for p <= 0 mu must charge the support of the target.

    References
    ----------
    Cressie and Read (1984) for the family; Mielke and Zhu (2025) for its flows.
    """

    def __init__(self, target: Target, p: float = 2.0) -> None:
        self.target: Target = instance(
            target,
            (Measure, LogDensity),
            "target",
            "pass a measure (GridDensity, Histogram, Particles, Gaussian) or a jko.LogDensity",
        )
        self.p = real(p, "p")

    def restrict(self, mu: Discrete) -> WeightForm:
        p = self.p
        target = restrict(self.target, mu)
        if p <= 0 and target.missing > 0:
            raise Unsupported(
                f"target has mass {target.missing:.6g} on points the measure cannot charge, where"
                f" {self!r} is infinite; put the target on the measure's support (or its union)"
            )
        return WeightForm(divergence_form(p, target.log_weights, target.missing))

    def __repr__(self) -> str:
        return f"PhiDivergence({self.target!r}, p={self.p:g})"


class KL(PhiDivergence):
    """KL(mu | target) = int mu log(mu/target) - mu + target, the exclusive divergence (p = 1).

    To an unnormalised `LogDensity` it is known up to a constant on probability measures.

    Parameters
    ----------
    target : measure or LogDensity
    rule : Rule, optional
        How expectations under a Gaussian are taken (`jko.expectations`); Gauss-Hermite in up to
        three dimensions and randomised cubature beyond when None. A Gaussian target needs none.

    References
    ----------
    Jordan et al. (1998) for its Wasserstein flow; Mielke and Zhu (2025) for the Hellinger ones.
    """

    def __init__(self, target: Target, rule: ExpectationRule | None = None) -> None:
        super().__init__(target, 1.0)
        kinds: tuple[type, ...] = (ExpectationRule, type(None))
        remedy = "pass a rule such as jko.expectations.Cubature()"
        self.rule: ExpectationRule | None = instance(rule, kinds, "rule", remedy)

    def value(self, mu: Measure) -> float:
        if isinstance(mu, Gaussian) and isinstance(self.target, Gaussian):
            return gaussian_kl(mu, self.target)
        return super().value(mu)

    @cached_property
    def _gaussian_form(self) -> GaussianForm:
        target = self.target
        if isinstance(target, Gaussian):
            return GaussianForm(1.0, -1.0, target.mass, quadratics=((1.0, target),))
        if not isinstance(target, (GaussianMixture, LogDensity)):
            raise Unsupported(
                f"KL from a Gaussian to a {type(target).__name__} is infinite or unknown; give the"
                " target as a jko.Gaussian, jko.GaussianMixture or jko.LogDensity"
            )
        mixture = isinstance(target, GaussianMixture)
        score = score_of(target) if mixture or target.gradient is not None else None  # type: ignore[union-attr]
        downhill = None if score is None else lambda x: -score(x)
        field = Field(lambda x: -target.log_density_at(x), downhill, self.rule, 1.0, target.dim)
        constant = target.mass if isinstance(target, GaussianMixture) else 0.0
        convex = isinstance(target, LogDensity) and target.log_concave
        return GaussianForm(1.0, -1.0, constant, fields=(field,), convex=convex)

    def gaussian_form(self) -> GaussianForm:
        return self._gaussian_form

    def wasserstein_gradient(self, mu: Discrete) -> Array:
        if isinstance(mu, Particles) and isinstance(self.target, DENSITIES):
            raise Unsupported(
                "KL from particles to a density has no gradient without the density of their law;"
                " take random steps with solver=jko.solvers.Langevin(), or call jko.sample"
            )
        return super().wasserstein_gradient(mu)

    def _displacement_convexity(self) -> float | None:
        if isinstance(self.target, Gaussian):
            return 1.0 / float(np.linalg.eigvalsh(self.target.cov)[-1])
        concave = isinstance(self.target, LogDensity) and self.target.log_concave
        return 0.0 if concave else None

    def __repr__(self) -> str:
        return f"KL({self.target!r})"


class InclusiveKL(PhiDivergence):
    """KL(target | mu), the inclusive (forward) divergence (p = 0): infinite unless mu covers it.

    On a Gaussian mu, with any target but a Gaussian, the constant int pi log pi is left out: what
    remains is the cross-entropy, which needs the moments of the target alone (formula G3).

    References
    ----------
    Minka (2005); Zhu and Mielke (2024) for its flows.
    """

    def __init__(self, target: Target) -> None:
        super().__init__(target, 0.0)

    def value(self, mu: Measure) -> float:
        if isinstance(mu, Gaussian) and isinstance(self.target, Gaussian):
            return gaussian_kl(self.target, mu)
        if isinstance(mu, Gaussian):
            return _cross_entropy(self.target, mu)
        return super().value(mu)

    def __repr__(self) -> str:
        return f"InclusiveKL({self.target!r})"


def score_of(target: Gaussian | GaussianMixture | LogDensity) -> Callable[[Array], Array]:
    """The score of a density, a user's after a comparison with the density."""
    return target.believed_score if isinstance(target, LogDensity) else target.score


def gaussian_kl_sum(energy: Energy) -> tuple[float, Gaussian] | None:
    """(c, g) with energy = c KL(.|g) + constant at fixed mass; None when there is no such form.

    A sum of KL to Gaussians is KL to their weighted geometric mean: precisions average.
    """
    scales, targets = [], []
    for c, term in energy.terms:
        if not isinstance(term, KL) or not isinstance(term.target, Gaussian):
            return None
        scales.append(c)
        targets.append(term.target)
    total = float(sum(scales))
    if len(targets) == 1:
        return total, targets[0]
    precisions = [np.linalg.inv(g.cov) for g in targets]
    pairs = list(zip(scales, targets, precisions, strict=True))
    cov = np.linalg.inv(sum(c * p for c, _, p in pairs) / total)
    mean = cov @ (sum(c * p @ g.mean for c, g, p in pairs) / total)
    return total, Gaussian(mean, (cov + cov.T) / 2)


def _cross_entropy(target: Target, mu: Gaussian) -> float:
    """-int log mu dpi - pi(X) + mu(X) on a Gaussian mu."""
    if isinstance(target, LogDensity):
        raise Unsupported(
            "the moments of a LogDensity are not known; draw weighted particles with"
            " jko.vi.importance_sample and take InclusiveKL to them"
        )
    white = np.linalg.inv(np.linalg.cholesky(mu.cov))
    spread = float(((white @ target.cov) * white).sum())
    shift = white @ (target.mean - mu.mean)
    logdet = mu.dim * np.log(2 * np.pi) - 2 * np.log(np.diag(white)).sum()
    surprise = 0.5 * (spread + float(shift @ shift) + logdet) - np.log(mu.mass)
    return float(target.mass * surprise - target.mass + mu.mass)
