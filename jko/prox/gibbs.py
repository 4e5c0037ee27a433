r"""Gibbs kernels K = exp(-|x-y|^2 / eps) of a fixed support, applied in the log domain.

Entropic steps only ever need log(K e^v). On grids K is a product over the axes: it is applied in
the exponential domain after one shift, and line by line with blockwise shifts where that
underflows. On scattered points the potentials are absorbed into a dense matrix, so that most
products are plain matrix-vector products.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from jko.errors import Unsupported
from jko.measures.base import Discrete
from jko.measures.grid import Grid, GridDensity
from jko.numerics import log_or_minus_inf
from jko.validation import Array

#: Results above this lost nothing that matters to underflow (products stay above 2.2e-308).
SAFE = 1e-280
#: Largest range of log K inside one pair of blocks; exp(-650) is far from underflow.
RANGE = 650.0
#: Potentials may drift this far (in log) from those absorbed into a dense kernel.
DRIFT = 60.0
#: A dense kernel keeps up to five (n, n) matrices: 134 MB each at this size.
DENSE_LIMIT = 4096


class Gibbs(ABC):
    """The symmetric matrix exp(-|x_i - x_j|^2 / eps) over a fixed support of n atoms.

    Attributes
    ----------
    eps : float
    count : int
        Number of kernel applications so far: the cost of everything built on it.
    """

    def __init__(self, eps: float) -> None:
        self.eps = eps
        self.count = 0

    @abstractmethod
    def log_apply(self, v: Array, slot: str = "") -> Array:
        """log(K e^v) for v (n,), entries -inf allowed; `slot` names the role of v (a cache)."""

    @abstractmethod
    def cost(self, log_a: Array, log_b: Array) -> float:
        """<C, P> of the plan P = diag(a) K diag(b), C the squared distances."""

    @abstractmethod
    def displacement(self, log_a: Array) -> Array:
        """Barycentric map minus identity (n, d): sum_j K_ij a_j (x_j - x_i) / (K a)_i."""


def gibbs(support: Discrete, eps: float) -> Gibbs:
    """The kernel of a support: separable on a grid, dense elsewhere."""
    if isinstance(support, GridDensity):
        return GridGibbs(support.grid, eps)
    return DenseGibbs(support.points, eps)


class GridGibbs(Gibbs):
    """Axis by axis on a grid: O(n sum n_k) operations, nothing of size n x n."""

    def __init__(self, grid: Grid, eps: float) -> None:
        super().__init__(eps)
        self.shape = grid.shape
        self.axes = grid.axes
        self._squares = [(x[:, None] - x[None]) ** 2 for x in grid.axes]
        self._grams = [np.exp(-s / eps) for s in self._squares]
        self._points = grid.points

    def log_apply(self, v: Array, slot: str = "") -> Array:
        self.count += 1
        return self._product(v, self._grams, -1)

    def cost(self, log_a: Array, log_b: Array) -> float:
        total = 0.0
        for k, square in enumerate(self._squares):
            if self.shape[k] == 1:
                continue
            self.count += 1
            grams = list(self._grams)
            grams[k] = square * grams[k]
            total += float(np.exp(self._product(log_a, grams, k) + log_b).sum())
        return total

    def displacement(self, log_a: Array) -> Array:
        base = self.log_apply(log_a)
        out = np.zeros((log_a.size, len(self.shape)))
        for k, x in enumerate(self.axes):
            if self.shape[k] == 1:
                continue
            # Measured from one cell outside the box the coordinates are positive.
            origin = 2 * x[0] - x[1]
            moment = self.log_apply(log_a + np.log(self._points[:, k] - origin))
            out[:, k] = np.exp(moment - base) - (self._points[:, k] - origin)
        return out

    def _product(self, v: Array, grams: list[Array], squared: int) -> Array:
        """log of the tensor product of `grams` applied to e^v; axis `squared` carries |x-y|^2."""
        top = float(v.max())
        if top == -np.inf:
            return np.full(v.shape, -np.inf)
        with np.errstate(under="ignore", divide="ignore"):
            out = np.exp(v - top).reshape(self.shape)
            for gram in grams:
                # Contracting the first axis puts the result last: after d rounds all is in place.
                out = np.tensordot(out, gram, axes=(0, 0))
            if out.min() > SAFE:
                return np.asarray(np.log(out).ravel() + top)
            return self._by_lines(v, grams, squared)

    def _by_lines(self, v: Array, grams: list[Array], squared: int) -> Array:
        out = v.reshape(self.shape)
        for k, gram in enumerate(grams):
            rows = np.moveaxis(out, 0, -1)
            lines = rows.reshape(-1, self.shape[k])
            done = log_lines(lines, gram, self.axes[k], self.eps, k == squared)
            out = done.reshape(rows.shape)
        return out.ravel()


def log_lines(lines: Array, gram: Array, x: Array, eps: float, squared: bool = False) -> Array:
    """log(e^lines @ gram) for lines (m, n) along one axis, exact whatever their range.

    Each line is shifted by its own maximum; those that still underflow are done block by block.
    """
    top = lines.max(axis=1, keepdims=True)
    shift = np.where(np.isfinite(top), top, 0.0)
    plain = np.exp(lines - shift) @ gram
    out = log_or_minus_inf(plain) + shift
    failed = (plain.min(axis=1) <= SAFE) & np.isfinite(top[:, 0])
    if failed.any():
        out[failed] = _log_exact(lines[failed], x, eps, squared)
    return out


def _log_exact(lines: Array, x: Array, eps: float, squared: bool) -> Array:
    """Log-sum-exp of lines that underflow: entry by entry, or in blocks when that is cheaper."""
    m, n = lines.shape
    size = int(RANGE * eps / (4 * float(x[-1] - x[0]) * float(x[1] - x[0])))
    size = max(1, min(n, size))
    count = -(-n // size)
    # Measured: 8 ns an exponential entry by entry; in blocks about 8 sources matter to a target,
    # each for 50 us, 40 ns an entry and 2 ns a line and block to find them.
    pair = 5e-5 + 4e-8 * m * size + 2e-9 * m * count
    if 8e-9 * m * n * n <= count * min(count, 8) * pair:
        return _log_entries(lines, x, eps, squared)
    return _log_blocks(lines, x, eps, squared, size)


def _log_entries(lines: Array, x: Array, eps: float, squared: bool) -> Array:
    square = (x[:, None] - x[None]) ** 2
    log_gram = square / -eps
    if squared:
        log_gram = log_gram + log_or_minus_inf(square)
    out = np.empty_like(lines)
    for i, line in enumerate(lines):
        work = log_gram + line[:, None]
        top = work.max(axis=0)
        np.exp(np.subtract(work, top, out=work), out=work)
        out[i] = np.log(work.sum(axis=0)) + top
    return out


def _log_blocks(lines: Array, x: Array, eps: float, squared: bool, size: int) -> Array:
    """Blockwise log-sum-exp: inside a pair of blocks log K varies by at most RANGE.

    Pairs that cannot add to what the others gave (40 in log, 4e-18) are skipped.
    """
    top = lines.max(axis=1, keepdims=True)
    lines = lines - top  # lines of one shape and other heights then need the same pairs
    n, span, spacing = x.size, float(x[-1] - x[0]), float(x[1] - x[0])
    blocks = [slice(i, min(i + size, n)) for i in range(0, n, size)]
    tops = np.stack([lines[:, b].max(axis=1) for b in blocks])
    shifts = np.where(np.isfinite(tops), tops, 0.0)
    values = [np.exp(lines[:, b] - s[:, None]) for b, s in zip(blocks, shifts, strict=True)]
    first, last = (np.array([x[b][end] for b in blocks]) for end in (0, -1))
    slack = 40.0 + np.log(n) + (2 * np.log(span / spacing) if squared else 0.0)
    out = np.empty_like(lines)
    for i, target in enumerate(blocks):
        gap = np.maximum(0.0, np.maximum(first - last[i], first[i] - last))
        bounds = tops - (gap**2 / eps)[:, None]
        rank = bounds.max(axis=1)
        acc = np.full((lines.shape[0], x[target].size), -np.inf)
        while (rank > -np.inf).any():
            j = int(rank.argmax())
            rank[j] = -np.inf
            square = (x[blocks[j]][:, None] - x[target][None]) ** 2
            gram = np.exp((gap[j] ** 2 - square) / eps)
            part = log_or_minus_inf(values[j] @ (square * gram if squared else gram))
            acc = np.logaddexp(acc, part + (shifts[j] - gap[j] ** 2 / eps)[:, None])
            useful = (bounds >= acc.min(axis=1) - slack).any(axis=1)
            rank[~useful] = -np.inf
        out[:, target] = acc
    return out + top


class DenseGibbs(Gibbs):
    """Scattered points: a dense matrix into which potentials are absorbed.

    For each role (`slot`) the rows of exp(-C/eps + alpha) are normalised, beta being the log of
    their sums; then log(K e^v) = beta + log(A e^{v - alpha}) is a matrix-vector product as long as
    v stays within DRIFT of alpha. It is absorbed anew when it does not.
    """

    def __init__(self, points: Array, eps: float) -> None:
        super().__init__(eps)
        n = points.shape[0]
        if n > DENSE_LIMIT:
            raise Unsupported(
                f"a dense Gibbs kernel between {n} scattered points is too large (limit"
                f" {DENSE_LIMIT}); use a jko.GridDensity, or fewer points"
            )
        self.points = points
        gap = np.zeros((n, n))
        for x in points.T:
            gap += (x[:, None] - x[None]) ** 2
        self._log = gap / -eps
        self._slots: dict[str, tuple[Array, Array, Array]] = {}

    def log_apply(self, v: Array, slot: str = "") -> Array:
        self.count += 1
        if slot in self._slots:
            alpha, beta, matrix = self._slots[slot]
            drift = _drift(v, alpha)
            if drift is not None:
                return np.asarray(beta + np.log(matrix @ np.exp(drift)))
        with np.errstate(under="ignore"):
            work = self._log + v
            top = work.max(axis=1, keepdims=True)
            if not np.isfinite(top).all():
                return np.full(v.shape, -np.inf)
            np.exp(np.subtract(work, top, out=work), out=work)
            total = work.sum(axis=1, keepdims=True)
            beta = (top + np.log(total))[:, 0]
            work /= total
        self._slots[slot] = (v.copy(), beta, work)
        return beta

    def _plan(self, log_a: Array, log_b: Array) -> Array:
        self.count += 1
        with np.errstate(under="ignore"):
            return np.exp(log_a[:, None] + self._log + log_b)

    def cost(self, log_a: Array, log_b: Array) -> float:
        return -self.eps * float((self._plan(log_a, log_b) * self._log).sum())

    def displacement(self, log_a: Array) -> Array:
        share = self._plan(-self.log_apply(log_a), log_a)
        return np.asarray(share @ self.points - self.points)


def _drift(v: Array, alpha: Array) -> Array | None:
    """v - alpha when every charged entry is within DRIFT and no new one appears, else None."""
    charged = np.isfinite(v)
    if (charged & ~np.isfinite(alpha)).any():
        return None
    out = np.full(v.shape, -np.inf)
    out[charged] = v[charged] - alpha[charged]
    if charged.all() or (np.isfinite(alpha) == charged).all():
        return out if np.abs(out[charged]).max() <= DRIFT else None
    return None
