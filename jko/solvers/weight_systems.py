r"""Newton systems of a convex form of the weights: (D + Q) x - lam 1 = b [, 1'x = missing].

D is a positive diagonal that spans hundreds of orders of magnitude, Q the numerically singular
Gram part. Both are scaled by D^{1/2}, I + D^{-1/2} Q D^{-1/2} is well posed: densely for few atoms
or slowly decaying kernels, by Woodbury on a pivoted-Cholesky factor for many.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from jko.kernels import pivoted_cholesky
from jko.validation import Array

#: Up to this many atoms the dense system is used without looking for a factor.
SMALL = 400
#: Up to this many atoms a dense system is affordable where the factor has nearly full rank.
DENSE = 3000
#: Columns a factor may have beyond that.
MAX_RANK = 1500
#: Most atoms a step takes.
LIMIT = 40_000

Solve = Callable[[Array, float], tuple[Array, float]]


class System(Protocol):
    """The quadratic part during one solve."""

    exact: bool

    def product(self, w: Array) -> Array:
        """Qw by the model."""

    def factorise(self, diagonal: Array) -> Solve | None:
        """A solver of (D + Q) x - lam 1 = b, 1'x = missing; None when rounding forbids it."""


class DenseSystem:
    """Q as a matrix."""

    exact = True

    def __init__(self, matrix: Array, fixed_mass: bool) -> None:
        self.matrix, self.fixed_mass = matrix, fixed_mass

    def product(self, w: Array) -> Array:
        return self.matrix @ w

    def factorise(self, diagonal: Array) -> Solve | None:
        from scipy.linalg import lapack  # costs 0.2 s to import

        root = 1 / np.sqrt(diagonal)
        scaled = self.matrix * root
        scaled *= root[:, None]
        scaled.flat[:: len(root) + 1] += 1.0
        chol, info = lapack.dpotrf(scaled.T, lower=0, clean=0, overwrite_a=1)
        if info != 0:
            return None

        def base(b: Array) -> Array:
            x, _ = lapack.dpotrs(chol, root * b, lower=0)
            return root * x

        def refined(b: Array) -> Array:
            x = base(b)
            return x + base(b - diagonal * x - self.matrix @ x)

        return _bordered(refined, len(root), self.fixed_mass)


def _bordered(base: Callable[[Array], Array], n: int, fixed_mass: bool) -> Solve | None:
    if not fixed_mass:
        return lambda b, missing: (base(b), 0.0)
    ones = base(np.ones(n))
    total = float(ones.sum())
    if not total > 0:
        return None

    def solve(b: Array, missing: float) -> tuple[Array, float]:
        x = base(b)
        y = (missing - float(x.sum())) / total
        return x + y * ones, y

    return solve


class LowRankSystem:
    """Q = LL' + a small rest that enters as a linear term, renewed by `correct`."""

    exact = False

    def __init__(self, factor: Array, fixed_mass: bool) -> None:
        from jko.solvers.woodbury import prepare

        n = factor.shape[0]
        # The size is immaterial: only the mass constraint is read from it.
        self.p = prepare(factor, np.zeros(n), 1.0, None, 1.0 if fixed_mass else None)
        self.bend = np.zeros(n)

    def product(self, w: Array) -> Array:
        return self.p.unit * self.p.hessian(w) + self.bend

    def correct(self, w: Array, exact: Array) -> None:
        """Make the model exact at w."""
        self.bend = self.bend + (exact - self.product(w))

    def factorise(self, diagonal: Array) -> Solve | None:
        from jko.solvers.woodbury import Newton

        unit = self.p.unit
        scaled = diagonal / unit
        # Columns whose tail T has trace D^{-1/2} T D^{-1/2} <= 1e-3 do not matter to a direction.
        level = 1e-3 / max(float((1 / scaled).sum()), 1e-300)
        newton = Newton(self.p, np.ones(len(scaled)), scaled, int((self.p.tails > level).sum()))
        if not newton.ok:
            return None

        def solve(b: Array, missing: float) -> tuple[Array, float]:
            x, y = newton.solve(b / unit, missing)
            return x, unit * y

        return solve


def build_system(
    kernel: Any, points: Array, dense: Callable[[], Array], accuracy: float, fixed_mass: bool
) -> System:
    """The cheaper system for a kernel on these points, its entries right to `accuracy`."""
    n = len(points)
    if n <= SMALL:
        return DenseSystem(dense(), fixed_mass)
    limit = int(0.45 * n) if n <= DENSE else min(n, MAX_RANK)
    low = pivoted_cholesky(kernel, points, accuracy, max_rank=limit)
    if n <= DENSE and low.error > accuracy and low.rank == limit:
        return DenseSystem(dense(), fixed_mass)
    return LowRankSystem(low.factor, fixed_mass)
