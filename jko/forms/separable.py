r"""The normal form of separable energies: one object for every sum of phi-divergences.

On a fixed support every energy of the table that acts atom by atom is

    sum_i  a_i w_i + sum_p c_{p,i} psi_p(w_i)  + constant,     0 <= w_i <= upper_i,

with psi_p'' (w) = w^{p-2}: psi_1 = w log w - w, psi_0 = -log w, psi_p = w^p / (p (p-1)).
KL is p = 1, inclusive KL p = 0, half chi^2 p = 2, a potential no power at all, porous medium
p = m, a box constraint an upper bound. Such forms add and scale coefficient by coefficient, so a
solver looks at the form of the problem and never at the types (or the order) of the terms.
Their optimality conditions are exponential sums in log w, solved in one place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jko.numerics.elementary import log_or_minus_inf
from jko.numerics.roots import Term, exponential_sum_root
from jko.validation import Array, Index, Mask, frozen

if TYPE_CHECKING:
    from cvxpy import Constraint, Expression

#: Weights this close to their ceiling, relatively, are full.
AT_CEILING = 1e-12
#: How many times as large as after a step, penalty included, the terms of its energy before it
#: count at most: a target of next to no weight makes a chi-square of 1e286 of some measures, which
#: says nothing about the measures near the answer. Steps to a steady state in smooth energies stay
#: within 10.
REACH = 1e3


class Sizes(NamedTuple):
    """The sizes of the terms of an energy at a measure.

    Attributes
    ----------
    slopes : float
        Of all that is linear, logarithms included: its spread where the mass is fixed.
    rest : float
        Of powers and kernels.
    raw : float
        Of all terms, with constants that no step can change.
    level : float
        The integral of the slopes, with its sign, up to a constant where the mass is fixed.
    """

    slopes: float
    rest: float
    raw: float
    level: float = 0.0

    @property
    def size(self) -> float:
        """Without what no step can change."""
        return self.slopes + self.rest


def joint(here: Sizes, before: Sizes, moved: float) -> tuple[float, float]:
    """Size and raw size of an energy over a step, from those at both ends and the penalty's.

    The larger end counts, since the terms of a long step may vanish at its end; powers that were
    huge before it count up to `REACH` times what is left, slopes as they were. The linear part
    counts with its change too: it has no spread at measures on one atom.
    """
    slopes = max(before.slopes, abs(here.level - before.level))
    left, raw = here.size + slopes + moved, here.raw + slopes + moved
    size = max(here.size, slopes, min(before.size, REACH * left))
    return size, max(here.raw, min(before.raw, REACH * raw))


def power(x: Array, p: float) -> Array:
    """x^p for x >= 0, by products: `pow` is slow on old processors and where results underflow."""
    if p in (3, 4, 5, 6):
        out = power(x, p - 2)
        return np.multiply(np.multiply(out, x, out), x, out)
    return np.cbrt(x) if p == 1 / 3 else np.asarray(x**p)


def psi(p: float, w: Array) -> Array:
    """psi_p(w), the function with psi_p'' = w^{p-2}; +inf at 0 for p <= 0."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if p == 1:
            return np.where(w > 0, w * np.log(w) - w, 0.0)
        if p == 0:
            return -np.log(w)
        return power(w, p) / (p * (p - 1))


def psi_prime(p: float, w: Array) -> Array:
    """Derivative of psi_p: log w for p = 1, otherwise w^{p-1} / (p-1)."""
    with np.errstate(divide="ignore", over="ignore"):
        return np.log(w) if p == 1 else power(w, p - 1) / (p - 1)


@dataclass(frozen=True, eq=False)
class Separable:
    """A separable convex function of the weights (n,) on a fixed support.

    Attributes
    ----------
    linear : (n,) array
    powers : mapping from the exponent p to its coefficients (n,), all >= 0
    upper : (n,) array
        Upper bound of each weight: +inf when free, 0 where the energy is infinite otherwise.
    constant : float
    """

    linear: Array
    powers: Mapping[float, Array] = field(default_factory=dict)
    upper: Array | None = None
    constant: float = 0.0

    @property
    def n(self) -> int:
        """Number of atoms."""
        return int(self.linear.shape[0])

    @cached_property
    def ceiling(self) -> Array:
        """The upper bounds (n,), +inf where there is none."""
        return frozen(np.full(self.n, np.inf)) if self.upper is None else self.upper

    def inner(self, w: Array) -> Mask:
        """Charged atoms (n,) below their ceiling: those whose slope belongs to a multiplier."""
        return np.asarray((w > 0) & ~self.full(w))

    def full(self, w: Array) -> Mask:
        """Atoms (n,) at their ceiling, rounding and tolerances of solvers included."""
        return np.asarray(w >= self.ceiling * (1 - AT_CEILING))

    @property
    def sharp(self) -> bool:
        """Whether densities may end in fronts: bounds or powers p > 1, and no power below."""
        bounded = bool((np.isfinite(self.ceiling) & (self.ceiling > 0)).any())
        return all(p > 1 for p in self.powers) and (bounded or bool(self.powers))

    @property
    def charging(self) -> dict[float, Array]:
        """Powers with a coefficient at an open atom, and their coefficients."""
        opened = self.ceiling > 0
        return {p: c for p, c in self.powers.items() if (c[opened] > 0).any()}

    def __add__(self, other: Separable) -> Separable:
        powers = dict(self.powers)
        for p, c in other.powers.items():
            powers[p] = powers[p] + c if p in powers else c
        bounds = [b for b in (self.upper, other.upper) if b is not None]
        upper = None if not bounds else np.minimum.reduce(bounds)
        return Separable(self.linear + other.linear, powers, upper, self.constant + other.constant)

    def scaled(self, factor: float) -> Separable:
        """The function times a positive number."""
        powers = {p: factor * c for p, c in self.powers.items()}
        return Separable(factor * self.linear, powers, self.upper, factor * self.constant)

    def shifted(self, amount: Array | float) -> Separable:
        """The function minus amount . w: what a multiplier or a linearised term does to it."""
        return Separable(self.linear - amount, self.powers, self.upper, self.constant)

    def take(self, index: Index) -> Separable:
        """The function on some of the atoms; the constant stays."""
        powers = {p: c[index] for p, c in self.powers.items()}
        upper = None if self.upper is None else self.upper[index]
        return Separable(self.linear[index], powers, upper, self.constant)

    def per_atom(self, w: Array) -> Array:
        """Value of each atom's function (n,); +inf outside [0, upper]."""
        out = self.linear * w
        for p, c in self.powers.items():
            with np.errstate(invalid="ignore"):
                out = out + np.where(c > 0, c * psi(p, w), 0.0)
        outside = (w < 0) | (w > self.ceiling * (1 + 1e-12))
        return np.where(outside, np.inf, out)

    def value(self, w: Array) -> float:
        """Value at weights (n,)."""
        return float(self.per_atom(w).sum() + self.constant)

    def sizes(self, w: Array, fixed_mass: bool) -> Sizes:
        """Sizes at weights w: of the slopes' spread, of the powers, and of all terms as they are.

        The linear part and the logarithm of p = 1 are one slope, whose mean over a fixed mass no
        step can change; so is the logarithm of p = 0 over its coefficients.
        """
        charged = w > 0
        slope, raw = self.linear[charged], abs(self.constant)
        mass, size = w[charged], 0.0
        log_w = np.log(mass)
        for p, c in self.powers.items():
            if p == 1:
                some = c[charged]
                slope, size = slope + some * log_w, size + float(some @ mass)
                raw += float(np.abs(some * log_w) @ mass)
            elif p == 0:
                some = c[charged & (c > 0)]
                logs = np.log(w[charged & (c > 0)])
                size += float(some.sum()) + _spread(logs - np.log(some), some)
                raw += float(some @ np.abs(logs))
            else:
                some = c[charged]
                size += float(np.abs(np.where(some > 0, some * psi(p, mass), 0.0)).sum())
        raw += float(np.abs(self.linear[charged]) @ mass) + size
        slopes = _spread(slope, mass) if fixed_mass else float(np.abs(slope) @ mass)
        return Sizes(slopes, size, raw, float(slope @ mass))

    def gradient(self, w: Array) -> Array:
        """First variation (n,) at weights w; -inf at empty atoms charged by a power p <= 1."""
        out = self.linear.astype(float)
        for p, c in self.powers.items():
            with np.errstate(invalid="ignore"):
                out = out + np.where(c > 0, c * psi_prime(p, w), 0.0)
        return out

    def hessian(self, w: Array) -> Array:
        """Second derivatives (n,)."""
        out = np.zeros(self.n)
        for p, c in self.powers.items():
            with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
                out = out + np.where(c > 0, c * power(w, p - 2), 0.0)
        return out

    def exponentials(self, rate: float = 1.0) -> tuple[Array, Array, list[Term]]:
        """The derivative at w = exp(rate z) as constant + slope z + sum c_j exp(k_j z)."""
        slope = rate * self.powers[1.0] if 1.0 in self.powers else np.zeros(self.n)
        terms = [(c / (p - 1), rate * (p - 1)) for p, c in self.powers.items() if p != 1]
        return self.linear, slope, terms

    def solve_stationary(
        self,
        scale: float = 1.0,
        extra_constant: Array | float = 0.0,
        extra_slope: float = 0.0,
        extra_terms: Sequence[Term] = (),
        rate: float = 1.0,
        start: Array | float = 0.0,
    ) -> Array:
        """log w (n,) with scale h'(w) + extra = 0, extra an exponential sum in z = log(w)/rate."""
        constant, slope, terms = self.exponentials(rate)
        scaled = [(scale * c, k) for c, k in terms]
        z = exponential_sum_root(
            scale * constant + extra_constant,
            scale * slope + extra_slope,
            [*scaled, *extra_terms],
            start,
        )
        log_w = rate * z
        if self.upper is None:
            return log_w
        return np.minimum(log_w, log_or_minus_inf(self.upper))

    def log_prox_kl(self, log_q: Array, step: float) -> Array:
        """log of argmin_w step h(w) + KL(w | q), from log q (n,)."""
        finite = np.isfinite(log_q)
        safe = np.where(finite, log_q, 0.0)
        log_w = self.solve_stationary(step, -safe, 1.0, start=safe)
        return np.where(finite, log_w, -np.inf)

    def best_response(self, y: Array) -> Array:
        """argmax_w y w - h(w) over [0, upper] (n,): the gradient of the conjugate."""
        with np.errstate(over="ignore"):
            return np.exp(self.solve_stationary(extra_constant=-y))

    def conic(self, w: Expression) -> tuple[Expression, list[Constraint]]:
        """A CVXPY expression for the value and the constraints that go with it."""
        import cvxpy as cp

        expression = self.linear @ w + self.constant
        for p, c in self.powers.items():
            charged = np.flatnonzero(c > 0)
            if charged.size:
                expression = expression + c[charged] @ _conic_psi(cp, p, w[charged])
        constraints = [w >= 0]
        if self.upper is not None:
            bounded = np.flatnonzero(np.isfinite(self.upper))
            constraints.append(w[bounded] <= self.upper[bounded])
        return expression, constraints


def _spread(values: Array, weights: Array) -> float:
    """Weighted mean distance of the values from their weighted mean, times the total weight."""
    total = float(weights.sum())
    if not total > 0:
        return 0.0
    return float(np.abs(values - float(weights @ values) / total) @ weights)


def _conic_psi(cp: ModuleType, p: float, w: Expression) -> Expression:
    if p == 1:
        return -cp.entr(w) - w
    if p == 0:
        return -cp.log(w)
    return cp.power(w, p) / (p * (p - 1))
