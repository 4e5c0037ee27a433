"""What the first variation at an atom owes to the weights of other atoms, as a kernel on the atoms.

The Hessian of F in the weights is known, or differences of the first variation give columns of it.
Off the diagonal they are the nonlocal part; on it no more is taken than what the neighbours have,
so that local curvature is left to the logarithm (`jko.energies.model`). The part is made positive
semidefinite.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from jko.energies.base import Energy
from jko.errors import InvalidMeasure, Unsupported
from jko.kernels import Kernel
from jko.kernels.hooks import Definiteness
from jko.kernels.lowrank_operator import LowRankOperator
from jko.measures.base import Discrete
from jko.numerics.gradients import is_single
from jko.validation import Array, Index

#: Columns of the Hessian that are looked at; more atoms are represented by so many of them.
MOST = 300
#: Growth of one weight in differences, relative to its own and the mean one.
STEP = 2.0**-20
SINGLE_STEP = 2.0**-9
#: Share of the largest eigenvalue below which a direction is rounding of the differences.
ROUNDING = 1e-9
#: Share of the largest eigenvalue beyond which a negative one is no rounding.
NEGATIVE = 1e-6
#: Share of its change by which an affine first variation may be off: rounding of differences.
AFFINE = 1e-4
#: Share of the curvature of all weights growing alike below which there is no nonlocal part.
NOTHING = 1e-6


@runtime_checkable
class TwiceDifferentiable(Protocol):
    """An energy that knows its Hessian in the weights."""

    def second_variation(self, mu: Discrete) -> Array:
        """The Hessian (n, n), on changes that keep the mass."""


@dataclass(frozen=True, eq=False)
class FeatureKernel(Kernel):
    """The kernel sum_k L_ki L_kj on some atoms, that of the nearest atoms elsewhere.

    Attributes
    ----------
    points : (n, d) array
    rows : (r, n) array
        L.
    """

    points: Array
    rows: Array

    @property
    def definiteness(self) -> Definiteness:
        """Positive: a sum of squares."""
        return Definiteness.POSITIVE

    def _features(self, x: Array) -> Array:
        """L at the atoms nearest to points (m, d): (r, m)."""
        from scipy.spatial import cKDTree

        if x.shape == self.points.shape and np.array_equal(x, self.points):
            return self.rows
        return np.asarray(self.rows[:, cKDTree(self.points).query(x)[1]])

    def _gram(self, x: Array, y: Array) -> Array:
        return np.asarray(self._features(x).T @ self._features(y))

    def _gradient(self, x: Array, y: Array) -> Array:
        raise Unsupported("a kernel on atoms has no gradient")

    def diagonal(self, x: ArrayLike) -> Array:
        """k(x_i, x_i) (n,)."""
        features = self._features(np.asarray(x, dtype=float))
        return np.asarray(np.einsum("ij,ij->j", features, features))

    def product(self, w: Array) -> Array:
        """Q w on the atoms."""
        return np.asarray((self.rows @ w) @ self.rows)

    def factored(self, points: Array) -> LowRankOperator:
        """Q on points (m, d)."""
        return LowRankOperator(self, points, np.ascontiguousarray(self._features(points)))

    def scaled(self, factor: float) -> FeatureKernel:
        """The kernel times a positive number."""
        return FeatureKernel(self.points, np.sqrt(factor) * self.rows)


@dataclass(frozen=True, eq=False)
class FarPart:
    """The nonlocal part of an energy near a measure.

    Attributes
    ----------
    kernel : FeatureKernel
        Positive semidefinite; where only changes that keep the mass count, up to terms that those
        do not see.
    seen : (n, n) or (n, 0) array
        The Hessian without local curvature, as far as it is known: what it holds of the change of
        all weights alike is not local.
    quadratic : bool
        Whether this is all there is: a first variation that is affine in the weights.
    """

    kernel: FeatureKernel
    seen: Array
    quadratic: bool = False

    def along(self, w: Array) -> Array:
        """What the nonlocal part gives the logarithmic slope at weights (n,)."""
        return np.asarray(self.seen @ w) if self.seen.size else self.kernel.product(w)


def far_part(energy: Energy, mu: Discrete, fixed_mass: bool) -> FarPart | None:
    """The nonlocal part at `mu`; None where the first variation is local.

    Parameters
    ----------
    energy : Energy
        With a `first_variation`.
    mu : Discrete
        Charging every atom.
    fixed_mass : bool
        Whether changes of the mass do not count.
    """
    chosen = _representatives(mu)
    try:
        columns = _columns(energy, mu, chosen)
    except InvalidMeasure:  # it compares measures of one mass only
        return None
    if not np.isfinite(columns).all():
        return None
    square, own = columns[chosen], mu.weights[chosen]
    off = np.abs(square - np.diag(np.diag(square)))
    along = float(mu.weights @ np.abs(energy.log_slope(mu)))
    if float(own @ off @ own) <= NOTHING * along:
        return None
    whole = _kernel(mu, columns, chosen, fixed_mass)
    if whole is not None and _affine(energy, mu, whole, fixed_mass):
        return FarPart(whole, np.empty((mu.n, 0)), quadratic=True)
    beside = np.where(np.eye(chosen.size, dtype=bool), -np.inf, square).max(axis=1)
    columns[chosen, np.arange(chosen.size)] = np.minimum(np.diag(square), beside)
    kernel = _kernel(mu, columns, chosen, fixed_mass)
    seen = columns if chosen.size == mu.n else np.empty((mu.n, 0))
    return None if kernel is None else FarPart(kernel, seen)


def _kernel(mu: Discrete, columns: Array, chosen: Index, fixed_mass: bool) -> FeatureKernel | None:
    """The positive part of the matrix with these columns (n, k); None where there is none."""
    square = 0.5 * (columns[chosen] + columns[chosen].T)
    values, vectors = np.linalg.eigh(square)
    if fixed_mass and values[0] < -NEGATIVE * values[-1]:
        # Among changes that keep the mass: k(x, y) - k(x, z) - k(z, y) + k(z, z), for any z.
        columns = columns - columns[:, :1] - square[:1] + square[0, 0]
        square = 0.5 * (columns[chosen] + columns[chosen].T)
        values, vectors = np.linalg.eigh(square)
    kept = values > ROUNDING * float(np.abs(values).max())
    if not kept.any():
        return None
    values, vectors = values[kept], vectors[:, kept]
    rows = (vectors / np.sqrt(values)).T @ columns.T
    rows[:, chosen] = np.sqrt(values)[:, None] * vectors.T
    return FeatureKernel(mu.points, rows)


def _affine(energy: Energy, mu: Discrete, kernel: FeatureKernel, fixed_mass: bool) -> bool:
    """Whether the kernel tells the first variation at weights that are quite others."""
    w = mu.weights
    far = w * np.where(np.arange(mu.n) % 3 == 0, 2.0, 0.5)
    if fixed_mass:
        far = far * (w.sum() / far.sum())
    change = np.asarray(energy.first_variation(mu.with_weights(far)), dtype=float)
    change = change - np.asarray(energy.first_variation(mu), dtype=float)
    off, size = change - kernel.product(far - w), np.abs(change)
    if fixed_mass:
        off = off - float(w @ off) / float(w.sum())
        size = np.abs(change - float(w @ change) / float(w.sum()))
    return bool(float(w @ np.abs(off)) <= AFFINE * float(w @ size))


def _representatives(mu: Discrete) -> Index:
    """Atoms whose columns are looked at: all, or some spread over the list."""
    if mu.n <= MOST:
        return np.arange(mu.n)
    return np.unique(np.linspace(0, mu.n - 1, MOST).astype(int))


def _columns(energy: Energy, mu: Discrete, chosen: Index) -> Array:
    """Columns (n, k) of the Hessian of F in the weights: where it is known, else by differences."""
    out, unknown = np.zeros((mu.n, chosen.size)), []
    for c, term in energy.terms:
        if isinstance(term, TwiceDifferentiable):
            out += c * term.second_variation(mu)[:, chosen]
        else:
            unknown.append(c * term)
    return out + _differences(reduce(add, unknown), mu, chosen) if unknown else out


def _differences(energy: Energy, mu: Discrete, chosen: Index) -> Array:
    """Columns (n, k) of the Hessian by differences of first variations."""
    here = energy.first_variation(mu)
    share = SINGLE_STEP if is_single(here) else STEP
    here = np.asarray(here, dtype=float)
    out = np.empty((mu.n, chosen.size))
    for k, i in enumerate(chosen):
        w = mu.weights.copy()
        w[i] += share * (w[i] + mu.mass / mu.n)
        there = np.asarray(energy.first_variation(mu.with_weights(w)), dtype=float)
        with np.errstate(invalid="ignore"):
            out[:, k] = (there - here) / (w[i] - mu.weights[i])
    return out
