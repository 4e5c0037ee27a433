"""Moments of energies under a Gaussian: value, gradient and curvature in whitened coordinates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from jko.errors import InvalidArgument, InvalidMeasure
from jko.expectations import ExpectationRule, Nodes, default_rule
from jko.measures.gaussian import Gaussian
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

    value: Callable[[Array], ArrayLike]
    gradient: Callable[[Array], ArrayLike] | None = None
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
                " point; transform bounded variables to the whole line, or fit with"
                " jko.vi.fit(..., objective='inclusive')"
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


def quadratic_moments(mean: Array, root: Array, target: Gaussian) -> Moments:
    """V = -log of the target's density: everything in closed form."""
    white = np.linalg.inv(np.linalg.cholesky(target.cov))
    a, shift = white @ root, white @ (mean - target.mean)
    logdet = -2 * np.log(np.diag(white)).sum() + target.dim * np.log(2 * np.pi)
    value = 0.5 * float((a**2).sum() + shift @ shift + logdet) - float(np.log(target.mass))
    return Moments(value, a.T @ shift, a.T @ a)


def field_moments(f: Field, mean: Array, root: Array, nodes: Nodes, value: bool = True) -> Moments:
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
