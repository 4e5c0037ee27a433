r"""Newton systems of a convex form of the weights: (D + Q) x - lam 1 = b [, 1'x = missing].

D is a positive diagonal that spans hundreds of orders of magnitude, Q the numerically singular
Gram part. Scaled by D^{1/2} the matrix is I + D^{-1/2} Q D^{-1/2} and well posed: densely for few
atoms, by Woodbury on a pivoted-Cholesky factor LL' + E of Q for many. A direction needs E only
where trace D^{-1/2} E D^{-1/2} is not small; where products with Q are cheap (stored matrices,
grids) a coarse factor preconditions conjugate gradients on the exact system.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from jko.kernels import Kernel, pivoted_cholesky
from jko.validation import Array

#: Up to this many atoms the dense system is used without looking for a factor.
SMALL = 300
#: Up to this many atoms a dense system is affordable where conjugate gradients are slow.
DENSE = 3000
#: Columns of the first factor where products are cheap, and the most columns of any.
COLUMNS = 150
MAX_RANK = 1500
#: Most atoms a step takes: scattered ones, and on a grid (315 MB for the first factor).
SCATTERED_LIMIT = 40_000
GRID_LIMIT = 270_000
#: Conjugate gradient iterations of one solve, and how many call for a finer factor.
CG_LIMIT = 150
CG_SLOW = 12
#: Relative accuracy of a direction.
DIRECTION = 1e-3

Solve = Callable[[Array, float], tuple[Array, float]]
Map = Callable[[Array], Array]


class System(Protocol):
    """The quadratic part during one solve."""

    def product(self, w: Array) -> Array:
        """Qw, or what the model takes it for."""

    def correct(self, w: Array, exact: Array) -> None:
        """Make the model exact at w."""

    def factorise(self, diagonal: Array) -> Solve | None:
        """A solver of (D + Q) x - lam 1 = b, 1'x = missing; None when rounding forbids it."""


def _bordered(base: Map, n: int, fixed_mass: bool) -> Solve | None:
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


class DiagonalSystem:
    """No quadratic part: each atom by itself, but for the mass."""

    def __init__(self, fixed_mass: bool) -> None:
        self.fixed_mass = fixed_mass

    def product(self, w: Array) -> Array:
        """Q = 0."""
        return np.zeros_like(w)

    def correct(self, w: Array, exact: Array) -> None:
        """There is no model to correct."""

    def factorise(self, diagonal: Array) -> Solve | None:
        """Division by the diagonal."""
        return _bordered(lambda b: b / diagonal, diagonal.size, self.fixed_mass)


class DenseSystem:
    """Q as a matrix."""

    def __init__(self, matrix: Array, fixed_mass: bool) -> None:
        self.matrix, self.fixed_mass = matrix, fixed_mass

    def product(self, w: Array) -> Array:
        return self.matrix @ w

    def correct(self, w: Array, exact: Array) -> None:
        pass

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
            x: Array = lapack.dpotrs(chol, root * b, lower=0)[0]
            return root * x

        def refined(b: Array) -> Array:
            x = base(b)
            return x + base(b - diagonal * x - self.matrix @ x)

        return _bordered(refined, len(root), self.fixed_mass)


@dataclass(eq=False)
class FactorSystem:
    """Q = LL' + E by a pivoted-Cholesky factor.

    With a cheap exact product the factor preconditions, with more columns where it converges
    slowly; without, the model is LL' plus a linear term that `correct` renews.

    Attributes
    ----------
    kernel, points
    accuracy : float
        Largest diagonal entry of E asked for.
    finest : float
        The accuracy beyond which a factor is of no use.
    exact : callable or None
        Products with Q, where they are cheap.
    dense : callable
        The matrix Q, for few enough atoms.
    fixed_mass : bool
    """

    kernel: Kernel
    points: Array
    accuracy: float
    finest: float
    exact: Map | None
    dense: Callable[[], Array]
    fixed_mass: bool
    fallback: DenseSystem | None = None

    def __post_init__(self) -> None:
        self.n = len(self.points)
        self.left_out = np.zeros(self.n)
        self.corrections = 0
        self.slow: _ConjugateGradients | None = None
        self.columns = min(self.n, MAX_RANK if self.exact is None else COLUMNS)
        self.build()

    def build(self) -> None:
        """The factor, with at most `columns` columns."""
        from jko.numerics.woodbury import prepare

        low = pivoted_cholesky(self.kernel, self.points, self.accuracy, max_rank=self.columns)
        self.full = low.rank == self.columns
        self.rest, self.error = low.residual_diagonal, low.error
        # Only the factor and whether there is a mass constraint are read from the scaled problem.
        mass = 1.0 if self.fixed_mass else None
        self.p = prepare(low.factor, np.zeros(self.n), 1.0, None, mass)

    def product(self, w: Array) -> Array:
        if self.exact is not None:
            return self.exact(w)
        return self.p.unit * self.p.hessian(w) + self.left_out

    def correct(self, w: Array, exact: Array) -> None:
        if self.exact is None:
            self.corrections += 1
            if self.corrections % 3 == 0:
                self.refine()
            self.left_out = self.left_out + (exact - self.product(w))

    def refine(self) -> bool:
        """A finer factor, or the dense system where that is cheaper; False when there is none."""
        if self.full:
            self.columns *= 3
            if self.n <= DENSE and self.columns > self.n // 3:
                self.fallback = DenseSystem(self.dense(), self.fixed_mass)
                return True
            if self.columns > MAX_RANK:
                return False
        elif self.accuracy > self.finest:
            self.accuracy = max(1e-3 * self.accuracy, self.finest)
        else:
            return False
        self.build()
        return True

    def factorise(self, diagonal: Array) -> Solve | None:
        from jko.numerics.woodbury import BorderedSystem

        if self.slow is not None and self.slow.worst > CG_SLOW:
            self.refine()
            self.slow = None
        if self.fallback is not None:
            return self.fallback.factorise(diagonal)
        unit = self.p.unit
        scaled = (diagonal + self.rest) / unit
        # Columns whose tail T has a small trace D^{-1/2} T D^{-1/2} do not matter to a direction.
        level = DIRECTION / max(float((1 / scaled).sum()), 1e-300)
        newton = BorderedSystem(self.p, np.ones(self.n), scaled, int((self.p.tails > level).sum()))
        if not newton.ok:
            return None
        if self.exact is None:

            def solve(b: Array, missing: float) -> tuple[Array, float]:
                x, y = newton.solve(b / unit, missing)
                return x, unit * y

            return solve

        cg = _ConjugateGradients(lambda b: newton.base(b / unit), self.exact, diagonal)
        self.slow = cg
        border = _bordered(cg, self.n, self.fixed_mass)
        if cg.worst > CG_SLOW and self.refine():
            return self.factorise(diagonal)
        return border


class _ConjugateGradients:
    """Solves (D + Q) x = b to a modest accuracy, from a preconditioner near its inverse."""

    def __init__(self, precondition: Map, product: Map, diagonal: Array) -> None:
        self.precondition, self.product, self.diagonal = precondition, product, diagonal
        self.worst = 0

    def __call__(self, b: Array) -> Array:
        x = self.precondition(b)
        r = b - self.diagonal * x - self.product(x)
        z = self.precondition(r)
        goal = DIRECTION**2 * float(b @ x)
        rz, direction, count = float(r @ z), z, 0
        while rz > goal and count < CG_LIMIT:
            image = self.diagonal * direction + self.product(direction)
            curvature = float(direction @ image)
            if not curvature > 0:
                break
            x = x + (rz / curvature) * direction
            r = r - (rz / curvature) * image
            z = self.precondition(r)
            rz, before = float(r @ z), rz
            direction = z + (rz / before) * direction
            count += 1
        self.worst = max(self.worst, count)
        return x + z  # one preconditioned correction for free
