r"""Separable Hellinger steps, atom by atom (formula H2).

With s = sqrt(w), s' = sqrt(m') and C_p = step c_p / 2, the optimality condition of an atom is

    A + C_1 log w + sum_{p != 1} C_p w^{p-1} / (p-1) = s' / s,      A = 1 + (step/2) (a - lam).

A *response* solves it for w given A; closed forms and root finders differ in nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from jko.forms.separable import Separable
from jko.prox.problem import ProxProblem
from jko.status import Breakdown, Status
from jko.validation import Array, Index, Mask

#: A (n,) -> w (n,), the minimiser of every atom; it need not know the upper bounds.
Response = Callable[[Array], Array]


@dataclass(frozen=True, eq=False)
class Atoms:
    """Per atom: minimise h(w) + (2/step)(sqrt w - sqrt m')^2 over 0 <= w <= ceiling.

    Attributes
    ----------
    separable : Separable
    previous : (n,) array m'
    step : float
    """

    separable: Separable
    previous: Array
    step: float

    @property
    def n(self) -> int:
        """Number of atoms."""
        return len(self.previous)

    @cached_property
    def root(self) -> Array:
        """s' = sqrt(m') (n,)."""
        return np.sqrt(self.previous)

    @cached_property
    def ceiling(self) -> Array:
        """Upper bounds (n,), +inf where there is none."""
        return self.separable.ceiling

    @cached_property
    def powers(self) -> dict[float, Array]:
        """C_p = (step/2) c_p (n,) for every power that charges some atom."""
        half = self.step / 2
        return {p: half * c for p, c in self.separable.powers.items() if (c > 0).any()}

    def _charged(self, least: float) -> Mask:
        out = np.zeros(self.n, dtype=bool)
        for p, c in self.powers.items():
            if p >= least:
                out |= c > 0
        return out

    @cached_property
    def barrier(self) -> Mask:
        """Atoms with a minimiser only for A >= 0: no power p >= 1, no upper bound."""
        return ~self._charged(1.0) & np.isinf(self.ceiling)

    @cached_property
    def exploding(self) -> bool:
        """Whether some weight grows without bound, or to its ceiling, as A -> 0."""
        return not bool(self._charged(1.0).all())

    @cached_property
    def idle(self) -> Mask:
        """Atoms with m' = 0 and no power: 0 for A > 0, anything at A = 0, the ceiling below."""
        return np.asarray((self.previous == 0) & ~self._charged(-np.inf))

    def weights(self, respond: Response, a: Array) -> Array:
        """The minimisers (n,) at A = `a`, upper bounds included."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            w = respond(a)
        w = np.where(self.idle, np.where(a < 0, self.ceiling, 0.0), w)
        return np.minimum(w, self.ceiling)

    def sensitivity(self, w: Array) -> Array:
        """-dw/dA (n,): w / (sum_p C_p w^{p-1} + s'/(2 s)); 0 at bounds."""
        moving = (w > 0) & (w < self.ceiling)
        safe = np.where(moving, w, 1.0)
        curvature = 0.5 * self.root / np.sqrt(safe)
        with np.errstate(over="ignore"):
            for p, c in self.powers.items():
                curvature += c if p == 1 else c * safe ** (p - 1)
        moving &= curvature > 0
        return np.where(moving, safe, 0.0) / np.where(moving, curvature, 1.0)


def atoms_of(problem: ProxProblem) -> tuple[Atoms, Index | None]:
    """The atoms that may carry weight, and their indices (None when they are all)."""
    separable, previous = problem.form.separable, problem.discrete.weights
    kept = separable.ceiling > 0
    if kept.all():
        return Atoms(separable, previous, problem.step), None
    index = np.flatnonzero(kept)
    return Atoms(separable.take(index), previous[index], problem.step), index


def scatter(w: Array, index: Index | None, n: int) -> Array:
    """Weights on all n atoms from those that may carry any."""
    if index is None:
        return w
    out = np.zeros(n)
    out[index] = w
    return out


def free_weights(atoms: Atoms, respond: Response, problem: ProxProblem) -> Array:
    """The step on M+; `Breakdown` when some atom's objective is unbounded below."""
    a = 1 + (atoms.step / 2) * atoms.separable.linear
    unbounded = atoms.barrier & ((a < 0) | ((a == 0) & ~atoms.idle))
    if unbounded.any():
        worst = int(np.argmin(np.where(unbounded, a, np.inf)))
        slope = float(atoms.separable.linear[worst])
        largest = -2 / (slope * problem.geometry.rate)
        point = problem.discrete.points[problem.form.separable.ceiling > 0][worst]
        raise Breakdown(
            Status.UNBOUNDED,
            f"at the atom {point.tolist()} the energy falls like {slope:.6g} per unit of mass,"
            f" more than moving costs at tau = {problem.tau:.6g};"
            f" take tau below {largest:.6g}, or fix the mass",
        )
    return atoms.weights(respond, a)
