"""The Wasserstein geometry: W2^2 is the least integral of |x-y|^2 over couplings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from jko.errors import Unsupported
from jko.geometries.base import Geometry, check_masses, check_pair, check_time, show
from jko.measures.atoms import Particles
from jko.measures.base import Discrete, Measure
from jko.measures.gaussian import Gaussian
from jko.measures.grid import bent_paths
from jko.validation import Array

#: Above this many pairs of charged atoms the exact linear program is refused.
MAX_PAIRS = 16_000_000


@dataclass(frozen=True, repr=False)
class Wasserstein(Geometry):
    """W2 (no factor 1/2); flow mu_t = div(mu grad f).

    Exact distances: sorted quantiles in one dimension, the network simplex of POT between scattered
    atoms, the Bures formula between Gaussians.
    """

    @property
    def conserves_mass(self) -> bool:
        return True

    def _sqdistance(self, a: Measure, b: Measure) -> float:
        if isinstance(a, Gaussian) and isinstance(b, Gaussian):
            return a.mass * bures(a, b)
        x, wa, y, wb = _charged(a, b)
        if a.dim == 1:
            left, right, share = _quantile_plan(x[:, 0], wa, y[:, 0], wb)
            return float(share @ (x[left, 0] - y[right, 0]) ** 2)
        return _network_simplex(x, wa, y, wb)[0]

    def potential(self, a: Discrete, b: Discrete) -> Array:
        """Kantorovich potential of |x-y|^2/2 on the atoms of `a` (zero mean; exact LP dual).

        At empty atoms it is the c-transform of the dual on `b`: a subgradient of the cost there.
        """
        check_pair(a, b)
        check_masses(a, b, self)
        x, wa, y, wb = _charged(a, b)
        if a.n * len(y) > MAX_PAIRS:
            raise Unsupported(_too_large(a.n, len(y)))
        phi = _c_transform(a.points, y, _network_simplex(x, wa, y, wb)[1])
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
        if a.dim == 1:
            left, right, share = _quantile_plan(x[:, 0], wa, y[:, 0], wb)
        else:
            plan = _network_simplex(x, wa, y, wb)[2]
            left, right = np.nonzero(plan)
            share = plan[left, right]
        return Particles((1 - t) * x[left] + t * y[right], share)

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
    bent = bent_paths(a, b)
    if bent is not None:
        raise Unsupported(bent)
    if not isinstance(a, Discrete) or not isinstance(b, Discrete):
        raise Unsupported(
            f"no exact Wasserstein distance between {type(a).__name__} and {type(b).__name__};"
            " use two Gaussians or two discrete measures"
        )
    ka, kb = a.weights > 0, b.weights > 0
    wa, wb = a.weights[ka], b.weights[kb]
    return a.points[ka], wa, b.points[kb], wb * (wa.sum() / wb.sum())


def _quantile_plan(x: Array, wa: Array, y: Array, wb: Array) -> tuple[Any, Any, Array]:
    """The monotone coupling on the line: indices into x and y and the mass of each piece."""
    ix, iy = np.argsort(x, kind="stable"), np.argsort(y, kind="stable")
    ca, cb = np.cumsum(wa[ix]), np.cumsum(wb[iy])
    cb[-1] = ca[-1]
    cuts = np.union1d(ca, cb)
    share = np.diff(cuts, prepend=0.0)
    middle = cuts - share / 2
    left = np.minimum(np.searchsorted(ca, middle), len(ca) - 1)
    right = np.minimum(np.searchsorted(cb, middle), len(cb) - 1)
    return ix[left], iy[right], share


def _too_large(n: int, m: int) -> str:
    return (
        f"the exact transport problem between {n} and {m} atoms is too large"
        f" (more than {MAX_PAIRS} pairs); compare on a coarser grid, or read the transport cost"
        " that an entropic step reports"
    )


def _c_transform(x: Array, y: Array, psi: Array) -> Array:
    """min_j |x_i - y_j|^2 - psi_j at each x_i (n,)."""
    import ot

    out: Array = (ot.dist(x, y, metric="sqeuclidean") - psi).min(axis=1)
    return out


def _network_simplex(x: Array, wa: Array, y: Array, wb: Array) -> tuple[float, Array, Array]:
    """Cost, second Kantorovich potential (m,) and plan (n, m) of the exact problem (POT).

    All weights must be positive: duals at empty atoms are arbitrary.
    """
    if len(x) * len(y) > MAX_PAIRS:
        raise Unsupported(_too_large(len(x), len(y)))
    import ot

    cost = ot.dist(x, y, metric="sqeuclidean")
    total = float(wa.sum())
    plan, log = ot.emd(wa / total, wb / wb.sum(), cost, numItermax=10_000_000, log=True)
    if log["warning"] is not None:
        raise Unsupported(f"POT could not solve the exact transport problem: {log['warning']}")
    return total * float(log["cost"]), np.asarray(log["v"]), total * np.asarray(plan)
