"""Functions of weights on a fixed support: a separable part plus quadratic parts.

Among them those that energies and penalties of geometries share: divergences and squares of MMDs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from jko.errors import InvalidMeasure, Unsupported
from jko.forms.separable import Separable, Sizes
from jko.kernels import Kernel
from jko.kernels.operators import KernelOperator
from jko.measures.base import Discrete, Measure
from jko.numerics.elementary import gram_root
from jko.validation import Array

if TYPE_CHECKING:
    from cvxpy import Constraint, Expression


@dataclass(frozen=True, eq=False)
class Quadratic:
    """The term scale/2 w'Kw of a kernel K on the atoms of the support.

    Attributes
    ----------
    kernel : Kernel
        Compared by value, so that a geometry with the same kernel is recognised.
    operator : KernelOperator
        Products with K, dense, axis by axis or by FFT.
    scale : float, > 0
    """

    kernel: Kernel
    operator: KernelOperator
    scale: float = 1.0


@dataclass(frozen=True, eq=False)
class WeightForm:
    """F(w) = separable(w) + sum of scale/2 w'Kw: what solvers on a fixed support look at."""

    separable: Separable
    quadratics: tuple[Quadratic, ...] = ()

    def __add__(self, other: WeightForm) -> WeightForm:
        merged = list(self.quadratics)
        for term in other.quadratics:
            for i, mine in enumerate(merged):
                if mine.kernel == term.kernel:
                    merged[i] = Quadratic(mine.kernel, mine.operator, mine.scale + term.scale)
                    break
            else:
                merged.append(term)
        return WeightForm(self.separable + other.separable, tuple(merged))

    def scaled(self, factor: float) -> WeightForm:
        """The energy times a positive number."""
        terms = tuple(Quadratic(q.kernel, q.operator, factor * q.scale) for q in self.quadratics)
        return WeightForm(self.separable.scaled(factor), terms)

    def quadratic_gradient(self, w: Array) -> Array:
        """Gradient (n,) of the quadratic part at weights w."""
        out = np.zeros(self.separable.n)
        for q in self.quadratics:
            out += q.scale * q.operator.matvec(w)
        return out

    @property
    def convex(self) -> bool:
        """Whether F is convex in the weights: every kernel is positive definite."""
        return all(q.kernel.definiteness == "positive" for q in self.quadratics)

    def value(self, w: Array) -> float:
        """F at weights (n,)."""
        if not self.quadratics:
            return self.separable.value(w)
        return self.separable.value(w) + 0.5 * float(w @ self.quadratic_gradient(w))

    def gradient(self, w: Array) -> Array:
        """First variation (n,) at weights w."""
        if not self.quadratics:
            return self.separable.gradient(w)
        return self.separable.gradient(w) + self.quadratic_gradient(w)

    def sizes(self, w: Array, fixed_mass: bool) -> Sizes:
        """Sizes of the terms of F at weights w: without what no step can change, and in all.

        Both scale as F does with masses, lengths and energies; where the mass is fixed the first
        does not see constants added to a potential, or the unit of length in an entropy.
        """
        slopes, size, raw, level = self.separable.sizes(w, fixed_mass)
        for q in self.quadratics:
            half = abs(0.5 * q.scale * float(w @ q.operator.matvec(w)))
            size, raw = size + half, raw + half
        return Sizes(slopes, size, raw, level)

    def linearised(self, w: Array) -> tuple[Separable, float]:
        """The separable function that touches F from below at w (convex quadratic part).

        F(v) >= separable(v) + Kw.(v - w) + w'Kw/2, with equality at v = w.
        """
        slope = self.quadratic_gradient(w)
        return self.separable.shifted(-slope), -0.5 * float(w @ slope)

    def conic(self, w: Expression) -> tuple[Expression, list[Constraint]]:
        """A CVXPY expression and its constraints."""
        import cvxpy as cp

        if not self.convex:
            raise Unsupported("the energy is not convex in the weights: it has no conic form")
        expression, constraints = self.separable.conic(w)
        for q in self.quadratics:
            root = gram_root(q.operator.dense())
            expression = expression + 0.5 * q.scale * cp.sum_squares(root @ w)
        return expression, constraints


def divergence_form(p: float, log_pi: Array, missing: float) -> Separable:
    """D_p(w|pi) = pi^{1-p} psi_p(w) + w/(1-p) + pi/p, and its limits at p = 0 and p = 1."""
    with np.errstate(over="ignore"):
        pi = np.exp(log_pi)
        total = float(pi.sum()) + missing
    # KL reads the logarithm alone, so a posterior of log density -1e4 is as good as any other.
    if total == np.inf or (total == 0 and p != 1):
        raise InvalidMeasure(
            f"target has log weights up to {log_pi.max():.6g}, beyond double precision;"
            " add a constant to the log density so that its maximum is near 0"
        )
    charged = log_pi > -np.inf
    safe_log = np.where(charged, log_pi, 0.0)
    if p == 1:
        linear, coefficient, constant = -safe_log, np.ones_like(pi), total
    elif p == 0:
        linear, coefficient = np.ones_like(pi), pi
        constant = float((pi * safe_log - pi).sum())
    else:
        with np.errstate(over="ignore"):
            coefficient = np.where(charged, np.exp((1 - p) * safe_log), 0.0)
        if p < 0:  # an atom to be charged stays one where its coefficient underflows
            coefficient = np.where(charged, np.maximum(coefficient, 1e-290), 0.0)
        linear, constant = np.full_like(pi, 1 / (1 - p)), total / p
    if p < 1:
        return Separable(linear, {p: np.where(charged, coefficient, 0.0)}, None, constant)
    # p >= 1: mass is forbidden where the target has none (or where 1/pi overflows).
    allowed = charged & np.isfinite(coefficient)
    upper = None if allowed.all() else np.where(allowed, np.inf, 0.0)
    coefficient = np.where(allowed, coefficient, 0.0)
    return Separable(np.where(allowed, linear, 0.0), {p: coefficient}, upper, constant)


def mmd_form(kernel: Kernel, target: Measure, mu: Discrete) -> WeightForm:
    """MMD^2(w, target)/2 on the atoms of `mu`.

    A conditionally positive kernel (energy distance) only compares equal masses; there its positive
    twin k(x,y) + |x| + |y| gives the same energy and a convex form.
    """
    kernel = kernel.positive_about(mu.points)
    operator = kernel.operator(mu)
    if isinstance(target, Discrete) and mu.same_support(target):
        against = operator.matvec(target.weights)
        constant = 0.5 * float(target.weights @ against)
    else:
        against = kernel.embed(target, mu.points)
        constant = 0.5 * kernel.inner(target, target)
    return WeightForm(Separable(-against, {}, None, constant), (Quadratic(kernel, operator),))
