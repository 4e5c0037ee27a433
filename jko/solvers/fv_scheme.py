r"""The finite-volume scheme: faces of a grid, mobilities, fluxes and the Jacobian.

In cell masses w the implicit step of rho_t = div(rho grad f) is, without flux through the walls,

    R(w)_i = w_i - w'_i + tau sum_j M_ij (f_i(w) - f_j(w)) / h_ij^2 = 0,

M_ij a mean of w_i and w_j and h_ij the distance of the centres. The mean decides about positivity
and about fronts; every one below but the last is second-order accurate.

- With an entropy of coefficient c: Scharfetter and Gummel's flux c (B(-d/c) w_i - B(d/c) w_j),
  d the drop of all other slopes from i to j and B(x) = x/(e^x - 1). It vanishes exactly at
  equilibrium and is monotone in w_i and w_j; M is what makes it M (f_i - f_j).
- One power psi_p with the same coefficient c in all cells (porous medium p = m): the Stolarsky mean
  S = (P_i - P_j)/(U'_i - U'_j), P = w^p/p, U' = psi_p'(w), for which c S (U'_i - U'_j) is
  c (P_i - P_j): the two-point flux of Lap(rho^m), whatever the density.
- Several powers without an entropy, or coefficients that vary: the arithmetic mean.
- A flux that leaves the emptier of two cells, where f is finite at 0: the harmonic mean, which
  vanishes with the emptier cell, so that no cell gives more than it has.
- No internal energy at all, or on demand: upwind, the density of the cell that gives. It is
  monotone whatever the energy, but only first-order accurate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from jko.energies.form import WeightForm
from jko.energies.separable import psi_prime
from jko.measures.grid import Grid
from jko.validation import Array, Index, Mask

#: Relative differences below this use the series of a mean.
CLOSE = 1e-3


class Faces(NamedTuple):
    """Pairs of neighbouring open cells i, j and 1/h^2 between their centres."""

    i: Index
    j: Index
    scale: Array

    @classmethod
    def of(cls, grid: Grid, opened: Mask) -> Faces:
        """All inner faces of a grid between open cells."""
        index = np.arange(grid.size).reshape(grid.shape)
        left, right, scale = [], [], []
        for axis, h in enumerate(grid.spacing):
            a = np.take(index, range(grid.shape[axis] - 1), axis).ravel()
            b = np.take(index, range(1, grid.shape[axis]), axis).ravel()
            keep = opened[a] & opened[b]
            left.append(a[keep])
            right.append(b[keep])
            scale.append(np.full(int(keep.sum()), h**-2))
        return cls(np.concatenate(left), np.concatenate(right), np.concatenate(scale))

    def divergence(self, flux: Array, n: int) -> Array:
        """What leaves every cell (n,) for fluxes from i to j."""
        out = np.bincount(self.i, flux, n) - np.bincount(self.j, flux, n)
        return np.asarray(out, dtype=float)

    def outgoing(self, flux: Flux, n: int) -> Array:
        """Derivative (n,) of what leaves a cell in its own mass."""
        out = np.bincount(self.i, self.scale * flux.by_i, n)
        return np.asarray(out - np.bincount(self.j, self.scale * flux.by_j, n), dtype=float)

    def laplacian(self, mobility: Array, n: int) -> Any:
        """The sparse matrix A with A f = sum_j M_ij (f_i - f_j)/h^2."""
        import scipy.sparse as sp

        k = mobility * self.scale
        rows = np.concatenate([self.i, self.j, self.i, self.j])
        columns = np.concatenate([self.i, self.j, self.j, self.i])
        return sp.csr_matrix((np.concatenate([k, k, -k, -k]), (rows, columns)), shape=(n, n))


class Flux(NamedTuple):
    """M (f_i - f_j) on every face, M, and the derivatives of the flux in w_i, w_j and the drift."""

    value: Array
    mobility: Array
    by_i: Array
    by_j: Array
    by_drift: Array


@dataclass(frozen=True, eq=False)
class Scheme:
    """The scheme for an energy in normal form on the cells of a grid."""

    form: WeightForm
    grid: Grid
    upwind: bool = False

    @cached_property
    def opened(self) -> Mask:
        """Cells that may carry mass."""
        return np.asarray(self.form.separable.ceiling > 0)

    @cached_property
    def faces(self) -> Faces:
        """Faces between them."""
        return Faces.of(self.grid, self.opened)

    @cached_property
    def powers(self) -> dict[float, Array]:
        """Powers that charge an open cell, and their coefficients."""
        everything = self.form.separable.powers.items()
        return {p: c for p, c in everything if (c[self.opened] > 0).any()}

    def uniform(self, p: float) -> bool:
        """Whether the coefficient of a power is the same in all open cells."""
        c = self.powers[p][self.opened]
        return bool(np.ptp(c) <= 1e-12 * c.max())

    @cached_property
    def single(self) -> float | None:
        """The power whose Stolarsky mean is used."""
        if len(self.powers) != 1:
            return None
        (p,) = self.powers
        return p if self.uniform(p) else None

    @property
    def barrier(self) -> bool:
        """Whether f is -inf at empty cells, so that none can be emptied."""
        return any(p <= 1 for p in self.powers)

    def first_variation(self, w: Array) -> Array:
        """f (n,); -inf at empty cells under a barrier."""
        return self.form.gradient(w)

    def residual(self, w: Array, previous: Array, step: float) -> tuple[Array, Flux]:
        """R (n,) and the fluxes."""
        flux = self.flux(w)
        return w - (previous - step * self.outflow(flux)), flux

    def outflow(self, flux: Flux) -> Array:
        """A f (n,): what leaves every cell per unit of time."""
        return self.faces.divergence(flux.value * self.faces.scale, self.grid.size)

    def jacobian(self, flux: Flux, step: float, n: int) -> Any:
        """Derivative of R without the long-range part of kernels, as a sparse matrix."""
        import scipy.sparse as sp

        i, j, scale = self.faces
        a, b = step * scale * flux.by_i, step * scale * flux.by_j
        cells = np.arange(n)
        rows = np.concatenate([cells, i, i, j, j])
        columns = np.concatenate([cells, i, j, i, j])
        entries = np.concatenate([np.ones(n), a, b, -a, -b])
        return sp.csr_matrix((entries, (rows, columns)), shape=(n, n))

    def long_range(self, flux: Flux, step: float) -> Callable[[Array], Array] | None:
        """What kernels add to the Jacobian, as a function of a change of the masses."""
        if not self.form.quadratics:
            return None
        i, j, scale = self.faces

        def times(change: Array) -> Array:
            slope = self.form.quadratic_gradient(change)
            moved = scale * flux.by_drift * (slope[i] - slope[j])
            return step * self.faces.divergence(moved, change.size)

        return times

    def flux(self, w: Array) -> Flux:
        """Fluxes and their derivatives at masses w."""
        i, j, _ = self.faces
        a, b = w[i], w[j]
        linear = self.form.separable.linear + self.form.quadratic_gradient(w)
        drift = linear[i] - linear[j]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            if 1.0 in self.powers:
                return self._drifting(i, j, a, b, drift)
            if self.upwind or not self.powers:
                return self._given(i, j, a, b, drift)
            flat = self._flat(i, j, a, b, drift)
            if self.barrier:
                return flat
            return self._limited(i, j, a, b, drift, flat)

    def _force(
        self, i: Index, j: Index, a: Array, b: Array, drift: Array, without: float | None = None
    ) -> tuple[Array, Array, Array]:
        """f_i - f_j and the slopes of f_i and f_j in their own masses."""
        fa, fb = np.zeros_like(a), np.zeros_like(b)
        for p, c in self.powers.items():
            if p != without:
                drift = drift + _pull(p, c[i], a) - _pull(p, c[j], b)
                fa, fb = fa + c[i] * a ** (p - 2), fb + c[j] * b ** (p - 2)
        return drift, fa, fb

    def _given(self, i: Index, j: Index, a: Array, b: Array, drift: Array) -> Flux:
        """The upwind flux."""
        force, fa, fb = self._force(i, j, a, b, drift)
        forward = np.asarray(force > 0)
        mean = np.where(forward, a, b)
        by_a = np.where(forward, force, 0.0) + _times(mean, fa)
        by_b = np.where(forward, 0.0, force) - _times(mean, fb)
        return Flux(mean * force, mean, by_a, by_b, mean)

    def _drifting(self, i: Index, j: Index, a: Array, b: Array, drift: Array) -> Flux:
        """Scharfetter and Gummel's flux, the other powers among the drift."""
        c = self.powers[1.0][i]
        drift, fa, fb = self._force(i, j, a, b, drift, without=1.0)
        ahead, slope_a = bernoulli(-drift / c)
        back, slope_b = bernoulli(drift / c)
        value = c * (ahead * a - back * b)
        by_drift = -(slope_a * a + slope_b * b)
        force = c * (np.log(a) - np.log(b)) + drift
        mean = np.where(np.abs(force) > 1e-8 * c, value / force, ahead * a)
        mean = np.where(np.isfinite(mean), mean, 0.0)
        by_a = c * ahead + _times(by_drift, fa)
        return Flux(value, mean, by_a, -c * back - _times(by_drift, fb), by_drift)

    def _flat(self, i: Index, j: Index, a: Array, b: Array, drift: Array) -> Flux:
        """The Stolarsky or arithmetic mean, in either direction."""
        p0 = self.single
        mean, by_a, by_b = arithmetic(a, b) if p0 is None else stolarsky(p0, a, b)
        value, da, db = mean * drift, by_a * drift, by_b * drift
        for p, c in self.powers.items():
            if p == p0:  # c (P_i - P_j), exactly
                value = value + c[i] * (a**p - b**p) / p
                da, db = da + c[i] * a ** (p - 1), db - c[j] * b ** (p - 1)
                continue
            force = _pull(p, c[i], a) - _pull(p, c[j], b)
            value = value + mean * force
            da = da + by_a * force + _times(mean, c[i] * a ** (p - 2))
            db = db + by_b * force - _times(mean, c[j] * b ** (p - 2))
        return Flux(value, mean, da, db, mean)

    def _limited(self, i: Index, j: Index, a: Array, b: Array, drift: Array, flat: Flux) -> Flux:
        """The harmonic mean on faces where mass leaves the emptier cell."""
        force, fa, fb = self._force(i, j, a, b, drift)
        uphill = ((force > 0) & (a < b)) | ((force < 0) & (b < a))
        mean, by_a, by_b = harmonic(a, b)
        steep = Flux(
            mean * force,
            mean,
            by_a * force + _times(mean, fa),
            by_b * force - _times(mean, fb),
            mean,
        )
        return Flux(*[np.where(uphill, s, f) for s, f in zip(steep, flat, strict=True)])


def _pull(p: float, c: Array, w: Array) -> Array:
    """c psi_p'(w), 0 where c is."""
    return np.where(c > 0, c * psi_prime(p, w), 0.0)


def _times(mean: Array, slope: Array) -> Array:
    """mean * slope with 0 * inf = 0."""
    return np.where(mean > 0, mean * np.where(np.isfinite(slope), slope, 0.0), 0.0)


def bernoulli(x: Array) -> tuple[Array, Array]:
    """B(x) = x/(e^x - 1) and its derivative."""
    small = np.abs(x) < 1e-5
    safe = np.where(small, 1.0, np.clip(x, -700.0, 700.0))
    grown = np.expm1(safe)
    value = np.where(small, 1 - x / 2, safe / grown)
    slope = np.where(small, -0.5 + x / 6, (1 - value * np.exp(safe)) / grown)
    return value, slope


def arithmetic(a: Array, b: Array) -> tuple[Array, Array, Array]:
    """(a + b)/2 and its derivatives."""
    half = np.full_like(a, 0.5)
    return 0.5 * (a + b), half, half


def harmonic(a: Array, b: Array) -> tuple[Array, Array, Array]:
    """2ab/(a + b) and its derivatives; 0 at (0, 0)."""
    total = np.where(a + b > 0, a + b, 1.0)
    return 2 * a * b / total, 2 * (b / total) ** 2, 2 * (a / total) ** 2


def stolarsky(p: float, a: Array, b: Array) -> tuple[Array, Array, Array]:
    """(P(a) - P(b))/(U'(a) - U'(b)) with P = w^p/p, U' = psi_p', and its derivatives.

    Near a = b the series m + (p - 2) d^2/(12 m), m = (a + b)/2, d = a - b.
    """
    middle, d = 0.5 * (a + b), a - b
    safe = np.where(middle > 0, middle, 1.0)
    close = np.abs(d) <= CLOSE * middle
    difference = np.where(close, 1.0, psi_prime(p, a) - psi_prime(p, b))
    exact = (a**p - b**p) / p / difference
    mean = np.where(close, middle + (p - 2) * d**2 / (12 * safe), exact)
    mean = np.where(np.isfinite(mean), mean, 0.0)
    slope = (p - 2) * d / (6 * safe)
    by_a = np.where(close, 0.5 + slope, (a ** (p - 1) - mean * a ** (p - 2)) / difference)
    by_b = np.where(close, 0.5 - slope, (mean * b ** (p - 2) - b ** (p - 1)) / difference)
    bounded = lambda v: np.clip(np.where(np.isfinite(v), v, 0.0), 0.0, 1e3)
    return mean, bounded(by_a), bounded(by_b)
