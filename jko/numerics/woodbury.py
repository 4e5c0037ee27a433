"""Scaled low-rank quadratics and the Woodbury solve of their Newton systems.

Arrays only; `jko.solvers.weights.interior_point` iterates with them. Rows ``R = sqrt(scale) L'``
have shape
(r, n) in C order: leading rows are contiguous and Fortran's BLAS reads them without a copy.
All products use SciPy's BLAS: alternating with NumPy's own thread pool slows both down.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import blas, lapack

Array = np.ndarray

_BLOCK = 1024  # atoms per rank-k update: the scaled block stays in cache


@dataclass(frozen=True)
class ScaledQuadratic:
    """The scaled problem: Hessian diagonal at most 2; if the mass is fixed it is 1 and max c 0."""

    rows: Array  # (r, n) C-ordered: sqrt(scale / unit) L'
    c: Array
    d: Array
    tails: Array  # tails[k] = max_i sum_{j >= k} rows[j, i]^2
    unit: float  # H = unit * H_scaled
    mass: float | None
    shift: float
    c_full: Array
    ratio: float  # scale / unit

    @property
    def n(self) -> int:
        return int(self.rows.shape[1])

    @property
    def size(self) -> float:
        return 1.0 if self.mass is None else self.mass

    def hessian(self, w: Array) -> Array:
        return np.asarray(_expand(self.rows, _project(self.rows, w)) + self.d * w)


def prepare(
    factor: Array, linear: Array, scale: float, diagonal: Array | None, mass: float | None
) -> ScaledQuadratic:
    c = np.asarray(linear, float)
    n = c.size
    c = checked(c, (n,), "linear")
    factor = np.asarray(factor, float)
    if factor.ndim != 2 or factor.shape[0] != n:
        raise ValueError(f"factor must have shape ({n}, r), got {factor.shape}")
    if not (np.isfinite(scale) and scale > 0):
        raise ValueError(f"scale must be positive and finite, got {scale}")
    if mass is not None and not (np.isfinite(mass) and mass >= 0):
        raise ValueError(f"mass must be nonnegative and finite, or None, got {mass}")
    d = np.zeros(n) if diagonal is None else checked(diagonal, (n,), "diagonal", sign=True)
    rows = np.ascontiguousarray(factor.T)
    if not np.isfinite(rows).all():
        raise ValueError("factor has entries that are not finite")
    if rows.shape[0] > n:  # more columns than atoms: an (n, n) triangle has the same Gram matrix
        rows = np.ascontiguousarray(np.linalg.qr(rows, mode="r"))
    norms = np.einsum("ij,ij->j", rows, rows)
    size = mass if mass else 1.0
    unit = max(scale * norms.max(initial=0.0), d.max(initial=0.0))
    if not unit > 0:  # a linear problem: its slopes are all there is
        unit = float(np.abs(c).max(initial=0.0)) / size or 1.0
    if 0.5 * scale <= unit <= 2 * scale:
        unit = scale  # near enough, and the rows stay where they are
    else:
        rows = rows * np.sqrt(scale / unit)
    shift = 0.0 if mass is None or n == 0 else float(c.max())
    scaled = (c - shift) / (unit * size)
    return ScaledQuadratic(rows, scaled, d / unit, _tails(rows), unit, mass, shift, c, scale / unit)


def checked(a: Array, shape: tuple[int, ...], name: str, sign: bool = False) -> Array:
    a = np.asarray(a, float)
    if a.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {a.shape}")
    if not np.isfinite(a).all() or (sign and (a < 0).any()):
        raise ValueError(f"{name} must be finite" + (" and nonnegative" if sign else ""))
    return a


def _tails(rows: Array) -> Array:
    rest, tails = np.zeros(rows.shape[1]), np.zeros(rows.shape[0])
    for k in range(rows.shape[0] - 1, -1, -1):
        rest += rows[k] * rows[k]
        tails[k] = rest.max(initial=0.0)
    return tails


def _project(rows: Array, w: Array) -> Array:
    return blas.dgemv(1.0, rows.T, w, trans=1) if rows.size else np.zeros(rows.shape[0])


def _expand(rows: Array, z: Array) -> Array:
    return blas.dgemv(1.0, rows.T, z) if rows.size else np.zeros(rows.shape[1])


class BorderedSystem:
    """Solves with ``D + R'R``, R the leading `k` rows, bordered by the mass constraint."""

    def __init__(self, p: ScaledQuadratic, w: Array, s: Array, k: int) -> None:
        self.p, self.k = p, k
        self.d = s / w + p.d
        self.theta = 1.0 / self.d
        self.rows = p.rows[:k]
        # Woodbury loses digits where s/w spans many orders; at high rank the sum costs no more.
        self.direct = 2 * k > p.n
        matrix = self._sum() if self.direct else _gram(self.rows, self.theta) if k else None
        self.chol = None if matrix is None else _cholesky(matrix)
        self.ok = k == 0 or self.chol is not None
        if self.ok and p.mass is not None:
            self.ones = self.base(np.ones(p.n))
            self.total = float(self.ones.sum())
            self.ok = self.total > 0

    def _sum(self) -> Array:
        """``D + R'R``."""
        return np.asfortranarray(self.rows.T @ self.rows + np.diag(self.d))

    def base(self, v: Array) -> Array:
        """x with ``(D + R'R) x = v``."""
        if self.direct:
            return np.asarray(lapack.dpotrs(self.chol, v, lower=1)[0])
        x = self.theta * v
        if not self.k:
            return np.asarray(x)
        q, _ = lapack.dpotrs(self.chol, _project(self.rows, x), lower=1)
        return np.asarray(x - self.theta * _expand(self.rows, q))

    def bordered(self, v: Array, missing: float) -> tuple[Array, float]:
        """x, y with ``(D + R'R) x - y 1 = v`` and ``1'x = missing`` (mass free: y = 0)."""
        x = self.base(v)
        if self.p.mass is None:
            return x, 0.0
        y = (missing - float(x.sum())) / self.total
        return x + y * self.ones, y

    def solve(self, v: Array, missing: float) -> tuple[Array, float]:
        x, y = self.bordered(v, missing)
        if self.k < len(self.p.rows):
            return x, y
        # full rank: the late, ill-conditioned iterations, where one refinement pays
        e = v - (self.d - self.p.d) * x - self.p.hessian(x) + y
        dx, dy = self.bordered(e, missing - float(x.sum()) if self.p.mass is not None else 0.0)
        return x + dx, y + dy


def _gram(rows: Array, theta: Array) -> Array:
    """Lower triangle of ``I + R diag(theta) R'``, accumulated over blocks of atoms."""
    k, n = rows.shape
    m = np.zeros((k, k), order="F")
    root = np.sqrt(theta)
    for i in range(0, n, _BLOCK):
        block = rows[:, i : i + _BLOCK] * root[i : i + _BLOCK]
        m = blas.dsyrk(1.0, block.T, beta=1.0, c=m, trans=1, lower=1, overwrite_c=1)
    m.flat[:: k + 1] += 1.0
    return m


def _cholesky(m: Array) -> Array | None:
    diagonal = m.diagonal().copy()
    for ridge in (0.0, 1e-14, 1e-11):
        np.fill_diagonal(m, diagonal * (1 + ridge))
        chol, info = lapack.dpotrf(m, lower=1, clean=0)
        if info == 0:
            return np.asarray(chol)
    return None
