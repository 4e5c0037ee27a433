"""An energy on Gaussian measures: entropy, quadratic parts and potentials read by expectations."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

import numpy as np

from jko.energies.gaussian_moments import (
    DIFFERENCE,
    Field,
    Moments,
    field_moments,
    quadratic_moments,
)
from jko.errors import Unsupported
from jko.expectations import ExpectationRule
from jko.measures.gaussian import Gaussian, GaussianMixture
from jko.numerics.elementary import EPS
from jko.validation import Array


def fisher_norm(slope: Array, curvature: Array) -> float:
    """(|a|^2 + |A|_F^2 / 2)^{1/2}: the Fisher-Rao length of the tangent (a, A), whitened."""
    return float(np.sqrt((slope**2).sum() + 0.5 * (curvature**2).sum()))


@dataclass(frozen=True, eq=False)
class GaussianForm:
    r"""F(M N(m, S)) = c (M log M + M int nu log nu) + M E V + linear M + constant, nu = N(m, S).

    What solvers on Gaussians look at, as `WeightForm` is for weights. V is a sum of -log of
    Gaussians (exact) and of fields (by nodes).

    Attributes
    ----------
    entropy : float
        The coefficient c.
    convex : bool
        Whether V is known to be convex: steps in the Wasserstein geometry then have a gap.
    curvature : float
        Where it is not: the least curvature of V if that is known, -inf otherwise. Steps shorter
        than -1/curvature have a gap too.
    """

    entropy: float = 0.0
    linear: float = 0.0
    constant: float = 0.0
    quadratics: tuple[tuple[float, Gaussian], ...] = ()
    fields: tuple[Field, ...] = ()
    convex: bool = True
    curvature: float = -np.inf
    _memo: list[tuple[Gaussian, Moments]] = field(default_factory=list, repr=False)

    def __add__(self, other: GaussianForm) -> GaussianForm:
        return GaussianForm(
            self.entropy + other.entropy,
            self.linear + other.linear,
            self.constant + other.constant,
            self.quadratics + other.quadratics,
            self.fields + other.fields,
            self.convex and other.convex,
            self.bend + other.bend,
        )

    @property
    def bend(self) -> float:
        """The least curvature of V that is known, 0 where it is convex."""
        return 0.0 if self.convex else self.curvature

    def scaled(self, c: float) -> GaussianForm:
        """The energy times a positive number."""
        return GaussianForm(
            c * self.entropy,
            c * self.linear,
            c * self.constant,
            tuple((c * s, g) for s, g in self.quadratics),
            tuple(replace(f, scale=c * f.scale) for f in self.fields),
            self.convex,
            c * self.curvature,
        )

    def moments(self, g: Gaussian, value: bool = True) -> Moments:
        """E V and its derivatives; the last few Gaussians are remembered.

        Without `value`, from gradients alone: the values are NaN and nothing is remembered.
        """
        for known, found in self._memo:
            if known is g:
                return found
        root = np.asarray(np.linalg.cholesky(g.cov), dtype=np.float64)
        out = Moments(0.0, np.zeros(g.dim), np.zeros((g.dim, g.dim)))
        for scale, target in self.quadratics:
            out = out + quadratic_moments(g.mean, root, target).scaled(scale)
        for f in self.fields:
            nodes = f.rule_in(g.dim).nodes(g.dim)
            out = out + field_moments(f, g.mean, root, nodes, value).scaled(f.scale)
        if not value:
            return out
        self._memo.insert(0, (g, out))
        del self._memo[4:]
        return out

    def value(self, mu: Gaussian | GaussianMixture) -> float:
        """F(mu)."""
        if isinstance(mu, GaussianMixture):
            return self._mixture_value(mu)
        _, logdet = np.linalg.slogdet(2 * np.pi * np.e * mu.cov)
        shape = -0.5 * self.entropy * logdet + self.moments(mu).value
        return self._total(mu.mass, float(shape) + self.entropy * float(np.log(mu.mass)))

    def _total(self, mass: float, density: float) -> float:
        return float(mass * density + self.linear * mass + self.constant)

    def _mixture_value(self, mu: GaussianMixture) -> float:
        parts = self.along(mu)
        total = sum(
            w * parts.moments(Gaussian(m, s)).value
            for w, m, s in zip(*mu.components, strict=True)
            if w > 0
        )
        return float(total) + self.linear * mu.mass + self.constant

    def along(self, mu: GaussianMixture) -> GaussianForm:
        """V + c log mu as a potential: the first variation at a mixture, for each component."""
        log_mu = Field(mu.log_density_at, mu.score, self._shared_rule, self.entropy, mu.dim)
        fields = (*self.fields, log_mu) if self.entropy else self.fields
        return replace(self, entropy=0.0, fields=fields, convex=False, curvature=-np.inf, _memo=[])

    @cached_property
    def _shared_rule(self) -> ExpectationRule | None:
        return self.fields[0].rule if self.fields else None

    def stationarity(self, g: Gaussian) -> tuple[Array, Array]:
        """Gradient of F at unit mass in whitened coordinates: L' E grad V, L' E Hess V L - c I."""
        found = self.moments(g)
        return found.slope, found.curvature - self.entropy * np.eye(g.dim)

    def difference_noise(self, g: Gaussian) -> float:
        """What rounding leaves of `stationarity` where gradients are differences of values."""
        root, noise = np.linalg.cholesky(g.cov), 0.0
        for f in self.fields:
            if f.gradient is None:
                nodes = f.rule_in(g.dim).nodes(g.dim)
                sizes = np.abs(f.values(g.mean + nodes.z @ root.T))
                noise += f.scale * float(nodes.mean(sizes)) * EPS / DIFFERENCE
        return noise

    def rule_error(self, g: Gaussian) -> float:
        """Error of E V at `g`: standard error, or the difference to a coarser rule."""
        total = self.moments(g).value_error ** 2
        root = np.linalg.cholesky(g.cov)
        for f in self.fields:
            rule = f.rule_in(g.dim)
            coarse = rule.coarser()
            if coarse is not None:
                a, b = (
                    float(n.mean(f.values(g.mean + n.z @ root.T)))
                    for n in (rule.nodes(g.dim), coarse.nodes(g.dim))
                )
                total += (f.scale * (a - b)) ** 2
        return float(np.sqrt(total))


class HasGaussianForm(Protocol):
    """An energy, as far as its form on Gaussian measures goes."""

    def gaussian_form(self) -> GaussianForm:
        """F as a function of mean and covariance."""


def gaussian_form(energy: HasGaussianForm, reason: str = "") -> GaussianForm:
    """The Gaussian form of an energy, or `Unsupported`."""
    form = energy.gaussian_form()
    if not isinstance(form, GaussianForm):
        raise Unsupported(f"{energy!r} has no form on Gaussian measures{reason}")
    return form
