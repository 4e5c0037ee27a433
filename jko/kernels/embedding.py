"""Integrals of a kernel against measures: mean embeddings, double integrals and MMD (formula M7).

A measure is recognised by what it offers, not by its class: ``.components`` (weights, means,
covariances of Gaussians) or ``.points`` and ``.weights``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import fsum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from jko.errors import InvalidMeasure, InvalidType, Unsupported
from jko.validation import MASS_TOLERANCE, Array, one_of

from .pairwise import check_points

if TYPE_CHECKING:
    from .base import Kernel
    from .fast_sums import FastSums


@dataclass(frozen=True)
class SignedParts:
    """A signed measure: atoms plus Gaussian components, either of which may be empty.

    Attributes
    ----------
    points, weights : arrays (n, d), (n,)
    coefficients, means, covs : arrays (c,), (c, d), (c, d, d)
    """

    points: Array
    weights: Array
    coefficients: Array
    means: Array
    covs: Array

    @property
    def mass(self) -> float:
        """Total signed mass."""
        return fsum(self.weights) + fsum(self.coefficients)


def parts(mu: object, name: str = "mu") -> SignedParts:
    """Read a measure; atoms and components of weight 0 are dropped."""
    if hasattr(mu, "components"):
        c, m, s = (np.asarray(a, dtype=np.float64) for a in mu.components)
        d = m.shape[1]
        keep = c != 0.0
        return SignedParts(np.zeros((0, d)), np.zeros(0), c[keep], m[keep], s[keep])
    if not (hasattr(mu, "points") and hasattr(mu, "weights")):
        raise InvalidType(
            f"{name} is a {type(mu).__name__}, which has neither points and weights nor Gaussian"
            " components; pass Particles, a Histogram, a GridDensity or a Gaussian"
        )
    w = np.asarray(mu.weights, dtype=np.float64).ravel()
    keep = w != 0.0
    x = np.asarray(mu.points, dtype=np.float64)
    if not keep.all():  # else the points stay the same object: sums over pairs take one triangle
        x, w = x[keep], w[keep]
    d = x.shape[1]
    return SignedParts(x, w, np.zeros(0), np.zeros((0, d)), np.zeros((0, d, d)))


def _merge(rows: Array, weights: Array) -> tuple[Array, Array]:
    """Add the weights of identical rows and drop rows whose weights cancel."""
    if not len(rows):
        return rows, weights
    # Not np.unique(axis=0): it compares records, and a Ctrl-C in there becomes a TypeError.
    order = np.lexsort(rows.T[::-1])
    ordered = rows[order]
    first = np.concatenate([[True], (ordered[1:] != ordered[:-1]).any(axis=1)])
    total = np.bincount(np.cumsum(first) - 1, weights=weights[order])
    return ordered[first][total != 0.0], total[total != 0.0]


def difference(a: SignedParts, b: SignedParts) -> SignedParts:
    """The signed measure a - b, with common atoms and components cancelled exactly.

    Measures on one support, or that share atoms, then lose no digits: the kernel only sees the
    difference of the weights.
    """
    d = a.points.shape[1]
    points, weights = _merge(
        np.concatenate([a.points, b.points]), np.concatenate([a.weights, -b.weights])
    )
    rows = [np.hstack([p.means, p.covs.reshape(len(p.means), d * d)]) for p in (a, b)]
    both, coefficients = _merge(
        np.concatenate(rows), np.concatenate([a.coefficients, -b.coefficients])
    )
    return SignedParts(points, weights, coefficients, both[:, :d], both[:, d:].reshape(-1, d, d))


def _embed_parts(kernel: Kernel, mu: SignedParts, x: Array, sums: FastSums | None = None) -> Array:
    if not len(mu.weights):
        out = np.zeros(len(x))
    elif sums is None:
        out = kernel.apply(x, mu.points, mu.weights)
    else:
        out = sums.apply(kernel, x, mu.points, mu.weights)
    for c, m, s in zip(mu.coefficients, mu.means, mu.covs, strict=True):
        out += c * kernel._gaussian_embed(m, s, x)
    return out


def _bilinear(kernel: Kernel, a: SignedParts, b: SignedParts) -> float:
    """Double integral of k(x, y) da(x) db(y)."""
    terms = [fsum(a.weights * _embed_parts(kernel, b, a.points))] if len(a.weights) else []
    if len(b.weights) and len(a.coefficients):
        gaussians = SignedParts(a.points[:0], a.weights[:0], a.coefficients, a.means, a.covs)
        terms.append(fsum(b.weights * _embed_parts(kernel, gaussians, b.points)))
    for c1, m1, s1 in zip(a.coefficients, a.means, a.covs, strict=True):
        for c2, m2, s2 in zip(b.coefficients, b.means, b.covs, strict=True):
            # Two Gaussians integrate like one whose covariance is the sum (formula M7).
            terms.append(float(c1 * c2 * kernel._gaussian_embed(m2, s1 + s2, m1[None])[0]))
    return fsum(terms)


def _check_dimensions(a: SignedParts, b: SignedParts) -> None:
    if a.points.shape[1] != b.points.shape[1]:
        raise InvalidMeasure(
            f"nu has dimension {b.points.shape[1]} but mu has dimension {a.points.shape[1]};"
            " pass measures on the same space"
        )


def _evaluation_points(mu: SignedParts, x: ArrayLike) -> Array:
    points = check_points(x)
    if points.shape[1] != mu.points.shape[1]:
        raise InvalidMeasure(
            f"mu has dimension {mu.points.shape[1]} but x has dimension {points.shape[1]};"
            " evaluate the embedding in the space of the measure"
        )
    return points


def embed(kernel: Kernel, mu: object, x: ArrayLike, sums: FastSums | None = None) -> Array:
    """Mean embedding int k(x_i, y) dmu(y) (formula M7), exact for Gaussian measures.

    Parameters
    ----------
    kernel : Kernel
    mu : a measure
        Atoms or Gaussian components.
    x : array (n, d)
    sums : FastSums, optional
        Sum over atoms in O(n), to the error it states; None: exactly.

    Returns
    -------
    array (n,)

    Raises
    ------
    Unsupported
        For Gaussian measures and kernels other than sums of Gaussian ones.
    """
    a = parts(mu)
    return _embed_parts(kernel, a, _evaluation_points(a, x), sums)


def embed_gradient(kernel: Kernel, mu: object, x: ArrayLike, sums: FastSums | None = None) -> Array:
    """Gradient of `embed` at each x_i, shape (n, d); an atom exerts no force on itself."""
    a = parts(mu)
    points = _evaluation_points(a, x)
    out = np.zeros_like(points)
    if len(a.weights):
        if sums is None:
            out += kernel.gradient_apply(points, a.points, a.weights)
        else:
            out += sums.gradient_apply(kernel, points, a.points, a.weights)
    for c, m, s in zip(a.coefficients, a.means, a.covs, strict=True):
        out += c * kernel._gaussian_embed_gradient(m, s, points)
    return out


def inner(kernel: Kernel, mu: object, nu: object) -> float:
    """Double integral of k(x, y) dmu(x) dnu(y) (formula M7), exact for Gaussian measures."""
    a = parts(mu, "mu")
    b = a if nu is mu else parts(nu, "nu")
    _check_dimensions(a, b)
    return _bilinear(kernel, a, b)


def mmd2(kernel: Kernel, mu: object, nu: object, *, statistic: str = "V") -> float:
    """Squared maximum mean discrepancy between two measures.

    ``"V"`` is the double integral of k against (mu - nu) x (mu - nu). Weights are combined with
    their signs before the kernel is applied and common atoms cancel exactly, so measures that
    share a support lose no digits; rounding below 0 is clipped to 0.

    ``"U"`` removes the bias of sampled measures: each discrete measure's own term
    sum_ij w_i w_j k(x_i, x_j) is replaced by

        m^2 / (m^2 - sum_i w_i^2)  *  sum_{i != j} w_i w_j k(x_i, x_j),      m = sum_i w_i,

    which for n uniform weights of mass 1 is the mean over pairs i != j, and is unbiased for
    independent draws with weights that do not depend on them. Coincident atoms count as
    different draws; Gaussian components are exact and enter as they are. The U-statistic can be
    negative and is not clipped.

    Parameters
    ----------
    kernel : Kernel
        Conditional kernels (Energy) need measures of equal mass.
    mu, nu : measures
    statistic : {"V", "U"}

    Returns
    -------
    float

    Raises
    ------
    Unsupported
        For unequal masses with a conditional kernel, or Gaussian measures with a kernel that
        has no closed form.
    InvalidMeasure
        For a U-statistic with a single atom.
    """
    one_of(statistic, ("V", "U"), "statistic")
    a, b = parts(mu, "mu"), parts(nu, "nu")
    _check_dimensions(a, b)
    b = _balanced(kernel, a, b)
    signed = difference(a, b)
    value = _bilinear(kernel, signed, signed)
    if statistic == "V":
        return max(value, 0.0)
    return value + _unbias(kernel, a, "mu") + _unbias(kernel, b, "nu")


def _balanced(kernel: Kernel, a: SignedParts, b: SignedParts) -> SignedParts:
    """`b`, with the mass of `a` where the kernel compares measures of equal mass only."""
    if kernel.definiteness == "positive" or a.mass == b.mass:
        return b
    if abs(a.mass - b.mass) > MASS_TOLERANCE * max(abs(a.mass), abs(b.mass)):
        raise Unsupported(
            f"{kernel!r} is only conditionally positive definite and cannot compare masses"
            f" {a.mass:g} and {b.mass:g}; normalise the measures or use a positive kernel"
        )
    factor = a.mass / b.mass
    return replace(b, weights=b.weights * factor, coefficients=b.coefficients * factor)


def _unbias(kernel: Kernel, mu: SignedParts, name: str) -> float:
    """U-statistic minus V-statistic of one measure's own term.

    With V = w'Kw, D = sum w_i^2 k_ii and S = sum w_i^2 it is (S V - m^2 D)/(m^2 - S): a term of
    order 1/n, so the digits that V lost do not matter.
    """
    w = mu.weights
    if len(w) == 0:
        return 0.0
    m2, s = fsum(w) ** 2, fsum(w * w)
    if len(w) < 2:
        raise InvalidMeasure(
            f"{name} has a single atom of positive weight, and a U-statistic needs pairs;"
            ' use statistic="V"'
        )
    v = fsum(w * kernel.apply(mu.points, mu.points, w))
    diagonal = fsum(w * w * kernel.diagonal(mu.points))
    return (s * v - m2 * diagonal) / (m2 - s)
