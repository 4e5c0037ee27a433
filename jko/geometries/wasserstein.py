"""The Wasserstein geometry: W2^2 is the least integral of |x-y|^2 over couplings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from jko.errors import Unsupported
from jko.geometries.base import Geometry, check_masses, check_pair, check_time, show
from jko.measures.atoms import Particles
from jko.measures.base import Discrete, Measure
from jko.measures.gaussian import Gaussian
from jko.measures.grid import not_straight
from jko.numerics.exact_transport import exact_plan, quantile_plan, square_costs
from jko.validation import Array, Index

if TYPE_CHECKING:
    from scipy.sparse import csr_array

#: Above this many pairs of charged atoms the exact linear program is refused.
MAX_PAIRS = 16_000_000


@dataclass(frozen=True, repr=False)
class Wasserstein(Geometry):
    """W2 (no factor 1/2); flow mu_t = div(mu grad f).

    Exact distances: sorted quantiles in one dimension, the network simplex of POT between scattered
    atoms (its value is checked by its own dual), the Bures formula between Gaussians.

    References
    ----------
    Jordan et al. (1998); Benamou and Brenier (2000); Ambrosio et al. (2008).
    """

    @property
    def conserves_mass(self) -> bool:
        return True

    def _sqdistance(self, a: Measure, b: Measure) -> float:
        if isinstance(a, Gaussian) and isinstance(b, Gaussian):
            return a.mass * bures(a, b)
        x, wa, y, wb = _charged(a, b)
        if a.dim == 1:
            left, right, share = quantile_plan(x[:, 0], wa, y[:, 0], wb)
            return float(share @ (x[left, 0] - y[right, 0]) ** 2)
        return exact_plan(wa, wb, _costs(x, y)).value

    def potential(self, a: Discrete, b: Discrete) -> Array:
        """Kantorovich potential of |x-y|^2/2 on the atoms of `a` (zero mean; exact LP dual).

        At empty atoms it is the c-transform of the dual on `b`: a subgradient of the cost there.
        """
        check_pair(a, b)
        check_masses(a, b, self)
        x, wa, y, wb = _charged(a, b)
        if a.n * len(y) > MAX_PAIRS:
            raise Unsupported(_too_large(a.n, len(y)))
        dual = exact_plan(wa, wb, _costs(x, y)).v
        phi = (square_costs(a.points, y) - dual).min(axis=1)
        phi = phi - float(a.weights @ phi) / a.mass
        return 0.5 * phi / self.rate

    def geodesic(self, a: Measure, b: Measure, t: float) -> Measure:
        """McCann interpolation: every particle moves straight to its partner."""
        t = check_time(t)
        check_pair(a, b)
        check_masses(a, b, self)
        if isinstance(a, Gaussian) and isinstance(b, Gaussian):
            return _gaussian_geodesic(a, b, t)
        x, wa, y, wb = _charged(a, b)
        left, right, share = _moves(x, wa, y, wb)
        start, end = x[left], y[right]
        return Particles(start + t * (end - start), share)

    def plan(self, a: Measure, b: Measure) -> csr_array:
        """The optimal plan between two discrete measures (exact).

        Parameters
        ----------
        a, b : GridDensity, Histogram or Particles
            Of n and m atoms, and of one mass.

        Returns
        -------
        (n, m) sparse array
            Entry (i, j) is the mass that goes from atom i of `a` to atom j of `b`: rows sum to the
            weights of `a`, columns to those of `b`. At most n + m - 1 entries are not zero.

        Raises
        ------
        Unsupported
            Gaussians (see `geodesic`), grids with obstacles or periodic axes, or more
            pairs than `MAX_PAIRS`.
        """
        from scipy.sparse import csr_array

        check_pair(a, b)
        check_masses(a, b, self)
        x, wa, y, wb = _charged(a, b)
        left, right, share = _moves(x, wa, y, wb)
        assert isinstance(a, Discrete)
        assert isinstance(b, Discrete)
        rows, columns = np.flatnonzero(a.weights)[left], np.flatnonzero(b.weights)[right]
        return csr_array((share, (rows, columns)), shape=(a.n, b.n))

    def barycentric_map(self, a: Measure, b: Measure) -> Array:
        """Where the optimal plan sends every atom of `a` on average (n, d).

        T(x_i) = sum_j P_ij y_j / a_i, the optimal map itself where the plan does not split an atom;
        atoms without mass stay. Arguments and errors are those of `plan`.
        """
        plan = self.plan(a, b).tocoo()
        assert isinstance(a, Discrete)
        assert isinstance(b, Discrete)
        i, j = plan.coords
        moved, mass = np.zeros(a.points.shape), np.bincount(i, plan.data, a.n)
        np.add.at(moved, i, plan.data[:, None] * (b.points[j] - a.points[i]))
        return a.points + moved / np.where(mass > 0, mass, 1.0)[:, None]

    def extrapolate(self, a: Measure, b: Measure) -> Measure:
        """Every point goes as far again: 2 T - id, T the map (particles: index by index)."""
        if isinstance(a, Gaussian) and isinstance(b, Gaussian):
            linear = 2 * bures_map(a, b) - np.eye(a.dim)
            return Gaussian(2 * b.mean - a.mean, linear @ a.cov @ linear.T, a.mass)
        if isinstance(a, Particles) and isinstance(b, Particles) and a.n == b.n:
            return b.with_points(2 * b.points - a.points)
        return super().extrapolate(a, b)

    def __repr__(self) -> str:
        return show(self, "Wasserstein()")


def symmetric_sqrt(matrix: Array) -> Array:
    """Square root of a symmetric positive-semidefinite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    root: Array = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    return root


def bures(a: Gaussian, b: Gaussian) -> float:
    """W2^2 between normalised Gaussians: |m_a - m_b|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2).

    The trace is |A^1/2 - B^1/2 O|^2 with O the polar factor, which does not cancel for close A, B.
    """
    root_a, root_b = symmetric_sqrt(a.cov), symmetric_sqrt(b.cov)
    u, _, vt = np.linalg.svd(root_b @ root_a)
    gap = root_a - root_b @ (u @ vt)
    return float(((a.mean - b.mean) ** 2).sum() + (gap**2).sum())


def bures_map(a: Gaussian, b: Gaussian) -> Array:
    """The linear part (d, d) of the optimal map from `a` to `b`: symmetric positive definite.

    (A^1/2 B A^1/2)^1/2 is V s V' for the singular values s of B^1/2 A^1/2 = U s V': squaring first
    would lose every direction whose standard deviation is below 1e-4 of the largest.
    """
    root = symmetric_sqrt(a.cov)
    _, s, vt = np.linalg.svd(symmetric_sqrt(b.cov) @ root)
    inner = (vt.T * s) @ vt
    half = np.linalg.solve(root, inner)
    linear = np.linalg.solve(root, half.T)
    return np.asarray((linear + linear.T) / 2)


def _gaussian_geodesic(a: Gaussian, b: Gaussian, t: float) -> Gaussian:
    blend = (1 - t) * np.eye(a.dim) + t * bures_map(a, b)
    return Gaussian((1 - t) * a.mean + t * b.mean, blend @ a.cov @ blend, a.mass)


def _charged(a: Measure, b: Measure) -> tuple[Array, Array, Array, Array]:
    """Atoms with positive weight, the second mass rescaled to the first to the last digit."""
    curved = not_straight(a, b)
    if curved is not None:
        raise Unsupported(curved)
    if not isinstance(a, Discrete) or not isinstance(b, Discrete):
        raise Unsupported(
            f"no exact Wasserstein distance between {type(a).__name__} and {type(b).__name__};"
            " use two Gaussians or two discrete measures"
        )
    ka, kb = a.weights > 0, b.weights > 0
    wa, wb = a.weights[ka], b.weights[kb]
    return a.points[ka], wa, b.points[kb], wb * (wa.sum() / wb.sum())


def _costs(x: Array, y: Array) -> Array:
    """|x - y|^2 (n, m), where the exact problem of these atoms is not too large."""
    if len(x) * len(y) > MAX_PAIRS:
        raise Unsupported(_too_large(len(x), len(y)))
    return square_costs(x, y)


def _moves(x: Array, wa: Array, y: Array, wb: Array) -> tuple[Index, Index, Array]:
    """The optimal plan as a list of moves: from, to, mass."""
    if x.shape[1] == 1:
        return quantile_plan(x[:, 0], wa, y[:, 0], wb)
    plan = exact_plan(wa, wb, _costs(x, y))
    return plan.left, plan.right, plan.share


def _too_large(n: int, m: int) -> str:
    return (
        f"the exact transport problem between {n} and {m} atoms is too large"
        f" (more than {MAX_PAIRS} pairs); compare on a coarser grid, or read the transport cost"
        " that an entropic step reports"
    )
