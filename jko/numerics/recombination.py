"""Recombination: fewer atoms, same moments (Caratheodory, Tchakaloff).

A nonnegative measure on N atoms and q test functions (the constant among them): there are
nonnegative weights on at most q of the atoms with the same q integrals. They are found by walking
along null vectors of the moment matrix until a weight hits zero. Blocks of null vectors come from
one complete QR of a group of atoms (or of group barycentres, a tree), so the cost is
O(N q + q^3 log(N/q)) and the result is a deterministic function of the input.

For an MMD step on the union of supports, v = (m'/(1+eta), eta b/(1+eta)) on (X, Y) (formula M1),
the test functions are the leading columns of a factor of the Gram matrix: what they reproduce
exactly costs nothing in MMD, and the rest is bounded by the tail of the factor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import qr

from jko.numerics.elementary import EPS

Array = np.ndarray


@dataclass(frozen=True)
class Recombination:
    """Answer of `recombine`.

    Attributes
    ----------
    indices : (k,) increasing integers, the atoms kept; k <= budget.
    weights : (k,) positive array, their weights.
    residual : float, largest moment error relative to ``sum_i v_i |Phi_ij|`` (mass: exact).
    """

    indices: Array
    weights: Array
    residual: float

    def full(self, n: int) -> Array:
        """The (n,) weights, zero off `indices`."""
        out = np.zeros(n)
        out[self.indices] = self.weights
        return out


def recombine(weights: Array, features: Array, budget: int) -> Recombination:
    """Nonnegative weights on at most `budget` atoms with the same mass and the same moments.

    Parameters
    ----------
    weights : (N,) nonnegative array v.
    features : (N, q) array Phi of test functions, q < budget; the constant is added here.
    budget : int >= 1, the largest number of atoms kept.

    Returns
    -------
    Recombination
        With ``Phi[indices]' weights = Phi' v`` and the mass kept to rounding. At most
        ``rank [1, Phi] <= q + 1`` atoms are needed; elimination stops at `budget` or below.

    Raises
    ------
    ValueError
        If shapes disagree, an entry is not finite, a weight is negative, or q >= budget.
    """
    v, phi = _checked(weights, features, budget)
    keep = np.flatnonzero(v > 0)
    if keep.size <= budget:
        return Recombination(keep, v[keep].copy(), 0.0)
    mass = float(v.sum())
    moments = np.column_stack([np.ones(len(v)), phi])
    size = np.abs(moments).T @ v / mass
    moments = moments[:, size > 0] / size[size > 0]
    target = moments[keep].T @ v[keep]
    scaled, points = v[keep] / mass, moments[keep]
    while keep.size > budget:
        alive, scaled = _reduce(scaled, points, budget)
        keep, points = keep[alive], points[alive]
    w = mass * scaled / scaled.sum()
    residual = float(np.max(np.abs(points.T @ w - target), initial=0.0)) / mass
    return Recombination(keep, w, residual)


def kernel_features(factor: Array, weights: Array, count: int) -> Array:
    """The `count` leading eigenfunctions of the Gram matrix ``L L'`` in the inner product of v.

    With ``D = diag(weights)`` and ``sqrt(D) L = U S W'`` the features are ``L W`` (N, count): among
    all sets of this size, reproducing them leaves the smallest mean-square kernel error under v.

    Parameters
    ----------
    factor : (N, r) array L with ``K ~ L L'``; pass a pivoted Cholesky factor, or the Gram matrix
        through `gram_factor`.
    weights : (N,) nonnegative array v.
    count : int, number of features; at most r are returned.
    """
    factor = np.asarray(factor, float)
    covariance = factor.T @ (factor * np.asarray(weights, float)[:, None])
    _, vectors = np.linalg.eigh(covariance)
    return np.asarray(factor @ vectors[:, ::-1][:, :count])


def gram_factor(gram: Array, tol: float = 1e-14) -> Array:
    """Factor (N, r) of a positive semidefinite Gram matrix by its eigenvectors.

    Eigenvalues below `tol` times the largest are dropped, negative ones being rounding.
    """
    values, vectors = np.linalg.eigh(np.asarray(gram, float))
    kept = values > tol * max(float(values[-1]), 0.0)
    return np.asarray((vectors[:, kept] * np.sqrt(values[kept]))[:, ::-1])


def _checked(weights: Array, features: Array, budget: int) -> tuple[Array, Array]:
    v = np.asarray(weights, float)
    phi = np.asarray(features, float)
    if v.ndim != 1 or phi.ndim != 2 or len(phi) != len(v):
        raise ValueError(f"weights (N,) and features (N, q) disagree: {v.shape}, {phi.shape}")
    if not (np.isfinite(v).all() and np.isfinite(phi).all()):
        raise ValueError("weights and features must be finite")
    if (v < 0).any():
        raise ValueError("weights must be nonnegative")
    if phi.shape[1] >= budget:
        raise ValueError(f"{phi.shape[1]} features and the mass need a budget above {budget} atoms")
    return v, phi


def _reduce(v: Array, points: Array, budget: int) -> tuple[Array, Array]:
    """One round of elimination over q moments; at least `budget` atoms survive, or q if larger.

    Many atoms: 2 q groups stand for their barycentres; eliminating a group drops all its atoms, and
    the atoms of the others are rescaled. Few: the 2 q lightest atoms are thinned among themselves.
    """
    n, q = points.shape
    groups = 2 * q
    least = max(q, -(-budget // max(1, n // groups)))
    new = np.ones(n)
    if n > 2 * groups and least < groups:
        label = np.arange(n) * groups // n
        start = np.searchsorted(label, np.arange(groups))
        total = np.add.reduceat(v, start)
        centres = np.add.reduceat(v[:, None] * points, start, axis=0) / total[:, None]
        new = (_eliminate(total, centres, least) / total)[label]
    else:
        light = np.argsort(v, kind="stable")[:groups]
        least = max(0, light.size - (n - budget))
        new[light] = _eliminate(v[light], points[light], least) / v[light]
    alive = np.flatnonzero(new > 0)
    if alive.size == n:
        raise ArithmeticError("recombination met a null vector lost in rounding: rescale features")
    return alive, (v * new)[alive]


def _eliminate(v: Array, points: Array, least: int) -> Array:
    """Zero weights along null vectors of ``points'`` until `least` or rank atoms are left."""
    v = v.copy()
    alive = np.flatnonzero(v > 0)
    if alive.size <= least:
        return v
    null = _null_basis(points[alive])[:, : alive.size - least]  # one atom per vector
    w = v[alive]
    while null.shape[1] and int((w > 0).sum()) > least:
        w, null = _step(w, null)
    v[alive] = w
    return v


def _null_basis(points: Array) -> Array:
    """Orthonormal basis of ``{u: points' u = 0}`` by pivoted QR (rank at rounding)."""
    q, r, _ = qr(points, mode="full", pivoting=True, check_finite=False)
    d = np.abs(np.diag(r))
    rank = int((d > d[0] * max(points.shape) * EPS).sum()) if d.size else 0
    return np.asfortranarray(q[:, rank:])


def _step(w: Array, null: Array) -> tuple[Array, Array]:
    """Walk along a null vector to the first zero weight, then deflate the basis at that atom.

    A Householder reflection of the columns then
    makes row i of the basis zero except for one column, which is dropped: orthonormality stays.
    """
    positive = w > 0
    u = null[:, -1]
    if not (u[positive] > 0).any() or abs(u[positive].min()) > u[positive].max():
        u = -u
    up = positive & (u > 0)
    if not up.any():
        return w, null[:, :-1]
    ratio = np.full(w.shape, np.inf)
    ratio[up] = w[up] / u[up]
    i = int(ratio.argmin())
    w = np.maximum(w - ratio[i] * u, 0.0)
    w[~positive] = 0.0
    w[i] = 0.0
    row = null[i]
    x = row.copy()
    x[-1] += np.copysign(np.linalg.norm(row), row[-1])
    norm = float(x @ x)
    if norm > 0:
        null = null - np.outer(null @ x, (2.0 / norm) * x)
    null = null[:, :-1]
    null[i] = 0.0
    return w, null
