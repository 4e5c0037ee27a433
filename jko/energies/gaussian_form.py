"""An energy on Gaussian measures: entropy, quadratic parts and potentials read by expectations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

import numpy as np

from jko.errors import InvalidArgument, InvalidMeasure, Unsupported
from jko.expectations import ExpectationRule, Nodes, default_rule
from jko.measures.gaussian import Gaussian, GaussianMixture
from jko.validation import Array

#: Length of central differences, in standard deviations, where a potential has no gradient.
DIFFERENCE = 2e-4


@dataclass(frozen=True, eq=False)
class Field:
    """A potential V on R^d, read through an expectation rule.

    Attributes
    ----------
    value : callable (n, d) -> (n,)
    gradient : callable (n, d) -> (n, d), or None (central differences in whitened coordinates)
    rule : Rule or None
        None: `jko.expectations.default_rule`.
    scale : float
    dim : int or None
    """

    value: Callable[[Array], Array]
    gradient: Callable[[Array], Array] | None = None
    rule: ExpectationRule | None = None
    scale: float = 1.0
    dim: int | None = None

    def rule_in(self, dim: int) -> ExpectationRule:
        """The rule in dimension `dim`."""
        if self.dim is not None and self.dim != dim:
            raise InvalidArgument(
                f"target lives in dimension {self.dim}, the measure in dimension {dim}"
            )
        return self.rule or default_rule(dim)

    def values(self, x: Array) -> Array:
        """V at points (n, d), checked."""
        out = np.asarray(self.value(x), dtype=float)
        bad = np.isnan(out) | (out == -np.inf)
        if out.shape != x.shape[:1] or bad.any():
            where = "" if out.shape != x.shape[:1] else f" at {x[int(np.argmax(bad))].tolist()}"
            raise InvalidMeasure(
                f"the potential returned shape {out.shape} for {len(x)} points, or NaN{where};"
                " return one number per point"
            )
        return out

    def whitened_gradient(self, x: Array, root: Array) -> Array:
        """L' grad V at points (n, d), L the root of the covariance."""
        if self.gradient is None:
            return self._differences(x, root)
        out = np.asarray(self.gradient(x), dtype=float)
        if out.shape != x.shape or not np.isfinite(out).all():
            raise InvalidMeasure(
                f"the gradient returned shape {out.shape} for points of shape {x.shape}, or values"
                " that are not finite; return one finite row per point"
            )
        return np.asarray(out @ root)

    def _differences(self, x: Array, root: Array) -> Array:
        out = np.empty_like(x)
        for j in range(x.shape[1]):
            shift = DIFFERENCE * root[:, j]
            with np.errstate(invalid="ignore"):  # inf - inf is reported below
                rise = self.values(x + shift) - self.values(x - shift)
            out[:, j] = rise / (2 * DIFFERENCE)
        if not np.isfinite(out).all():
            i = int(np.argmax(~np.isfinite(out).all(axis=1)))
            raise InvalidMeasure(
                f"the log density is not finite near {x[i].tolist()}, but a Gaussian charges every"
                " point; transform bounded variables to the whole line"
            )
        return out


@dataclass(frozen=True, eq=False)
class Moments:
    """E V and its derivatives at N(m, L L'), in whitened coordinates.

    Attributes
    ----------
    value : float
        E V.
    slope : (d,) array
        L' E grad V, the derivative in the mean (Bonnet).
    curvature : (d, d) array
        L' E Hess V L, twice the derivative in the covariance (Price), from gradients alone.
    value_error, error : float
        Standard error of `value`; of slope and curvature in the Fisher norm
        (|slope|^2 + |curvature|_F^2 / 2)^{1/2}.
    """

    value: float
    slope: Array
    curvature: Array
    value_error: float = 0.0
    error: float = 0.0

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.value + other.value,
            self.slope + other.slope,
            self.curvature + other.curvature,
            float(np.hypot(self.value_error, other.value_error)),
            float(np.hypot(self.error, other.error)),
        )

    def scaled(self, c: float) -> Moments:
        """The moments of c V."""
        return Moments(
            c * self.value,
            c * self.slope,
            c * self.curvature,
            abs(c) * self.value_error,
            abs(c) * self.error,
        )


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
    """

    entropy: float = 0.0
    linear: float = 0.0
    constant: float = 0.0
    quadratics: tuple[tuple[float, Gaussian], ...] = ()
    fields: tuple[Field, ...] = ()
    convex: bool = True
    _memo: list[tuple[Gaussian, Moments]] = field(default_factory=list, repr=False)

    def __add__(self, other: GaussianForm) -> GaussianForm:
        return GaussianForm(
            self.entropy + other.entropy,
            self.linear + other.linear,
            self.constant + other.constant,
            self.quadratics + other.quadratics,
            self.fields + other.fields,
            self.convex and other.convex,
        )

    def scaled(self, c: float) -> GaussianForm:
        """The energy times a positive number."""
        return GaussianForm(
            c * self.entropy,
            c * self.linear,
            c * self.constant,
            tuple((c * s, g) for s, g in self.quadratics),
            tuple(replace(f, scale=c * f.scale) for f in self.fields),
            self.convex,
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
            out = out + _quadratic_moments(g.mean, root, target).scaled(scale)
        for f in self.fields:
            nodes = f.rule_in(g.dim).nodes(g.dim)
            out = out + _field_moments(f, g.mean, root, nodes, value).scaled(f.scale)
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
        return replace(self, entropy=0.0, fields=fields, convex=False, _memo=[])

    @cached_property
    def _shared_rule(self) -> ExpectationRule | None:
        return self.fields[0].rule if self.fields else None

    def stationarity(self, g: Gaussian) -> tuple[Array, Array]:
        """Gradient of F at unit mass in whitened coordinates: L' E grad V, L' E Hess V L - c I."""
        found = self.moments(g)
        return found.slope, found.curvature - self.entropy * np.eye(g.dim)

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


def _quadratic_moments(mean: Array, root: Array, target: Gaussian) -> Moments:
    """V = -log of the target's density: everything in closed form."""
    white = np.linalg.inv(np.linalg.cholesky(target.cov))
    a, shift = white @ root, white @ (mean - target.mean)
    logdet = -2 * np.log(np.diag(white)).sum() + target.dim * np.log(2 * np.pi)
    value = 0.5 * float((a**2).sum() + shift @ shift + logdet) - float(np.log(target.mass))
    return Moments(value, a.T @ shift, a.T @ a)


def _field_moments(f: Field, mean: Array, root: Array, nodes: Nodes, value: bool = True) -> Moments:
    r"""E V, L' E grad V and L' E Hess V L from values and gradients at the nodes.

    The Hessian comes from Stein's identity, E Hess V = E[grad V z'] L^{-1}. Its lower triangle is
    reflected: that is the exact derivative of sum_i w_i V(m + L z_i) in S when L is the Cholesky
    root, so that stationary points of the sum are stationary to rounding.
    """
    x, z = mean + nodes.z @ root.T, nodes.z
    gradients = f.whitened_gradient(x, root)
    values = f.values(x) if value else np.full(len(x), np.nan)
    slope = nodes.mean(gradients)
    curvature = _reflect((gradients * nodes.weights[:, None]).T @ z)
    mean_value = float(nodes.mean(values))
    if nodes.blocks == 1:
        return Moments(mean_value, slope, curvature)
    # What the rule does not integrate exactly: the rest beyond the quadratic model.
    linear = z @ curvature
    rest = values - z @ slope - 0.5 * (linear * z).sum(axis=1)
    errors = _standard_errors(rest, gradients - slope - linear, nodes)
    return Moments(mean_value, slope, curvature, *errors)


def _standard_errors(values: Array, gradients: Array, nodes: Nodes) -> tuple[float, float]:
    """Standard errors of E V and, in the Fisher norm, of its derivatives, from the blocks."""
    count, size = nodes.blocks, len(values) // nodes.blocks
    unit = np.sqrt(count * (count - 1))
    value_error = float(np.linalg.norm(nodes.block_means(values) - nodes.mean(values))) / unit
    slopes = nodes.block_means(gradients) - nodes.mean(gradients)
    mean = _reflect((gradients * nodes.weights[:, None]).T @ nodes.z)
    square = float((slopes**2).sum())
    for b in range(count):
        part = slice(b * size, (b + 1) * size)
        weighted = gradients[part] * (count * nodes.weights[part, None])
        square += 0.5 * float(((_reflect(weighted.T @ nodes.z[part]) - mean) ** 2).sum())
    return value_error, float(np.sqrt(square)) / unit


def _reflect(matrix: Array) -> Array:
    lower = np.tril(matrix)
    return np.asarray(lower + np.tril(matrix, -1).T)
