r"""The multiplier that keeps the mass of a separable Hellinger step (formula H2, fixed mass).

lam is searched through x, A_i = (step/2)(a_i - a_ref) + x, where a_ref is the least linear part
among the atoms whose weight explodes as A -> 0+: the barrier is x = 0, so that even weights far
above m' (A tiny) are resolved to full relative precision. The mass decreases with x.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jko.numerics.elementary import EPS
from jko.prox.duality.mass import MassSearch, inside, rescale
from jko.solvers.hellinger.atoms import Atoms, Response
from jko.validation import Array, Mask


@dataclass(frozen=True, eq=False)
class MassBalance:
    """The outcome of the search for the multiplier.

    Attributes
    ----------
    weights : (n,) array
    x : float
        The multiplier, as A_i = shift_i + x; a warm start for the next search.
    iterations : int
        Evaluations of the mass.
    """

    weights: Array
    x: float
    iterations: int


def reference_level(atoms: Atoms) -> float:
    """a_ref: the least linear part over the barrier atoms, over all atoms without any."""
    linear = atoms.separable.linear
    return float(linear[atoms.barrier].min() if atoms.barrier.any() else linear.min())


def fixed_weights(
    atoms: Atoms, respond: Response, mass: float, multiplier: float | None = None
) -> MassBalance:
    """The step among weights of total `mass` (formula H2, fixed mass, with its hard case).

    Parameters
    ----------
    atoms : Atoms
    respond : Response
    mass : float
    multiplier : float, optional
        A guess of lam; by default the average of f over the previous measure.
    """
    capacity = float(atoms.ceiling.sum())
    if capacity <= mass * (1 + 1e-15):  # every atom is full; `infeasible` refuses less
        return MassBalance(atoms.ceiling.copy(), -np.inf, 0)
    level = reference_level(atoms)
    search = _Search(atoms, respond, mass, (atoms.step / 2) * (atoms.separable.linear - level))
    lo, hi, tied = search.locate()
    if tied is not None:
        w = search.evaluate(tied)
        return MassBalance(search.share(w, tied), tied, search.count)
    if multiplier is None or not np.isfinite(multiplier):
        multiplier = _first_guess(atoms)
    x, w = search.root(1 + (atoms.step / 2) * (level - multiplier), lo, hi)
    return MassBalance(rescale(w, atoms.ceiling, mass), x, search.count)


def multiplier_at(atoms: Atoms, x: float) -> float:
    """lam for x, the inverse of A_i = (step/2)(a_i - a_ref) + x."""
    return reference_level(atoms) + (2 / atoms.step) * (1 - x)


@dataclass(eq=False)
class _Search:
    """Mass as a decreasing function of x, with its jumps at idle atoms."""

    atoms: Atoms
    respond: Response
    mass: float
    shift: Array
    count: int = 0

    def evaluate(self, x: float) -> Array:
        self.count += 1
        return self.atoms.weights(self.respond, self.shift + x)

    def locate(self) -> tuple[float, float, float | None]:
        """A bracket (lo, hi) without jumps inside, or the x of the jump that takes the mass."""
        atoms = self.atoms
        lo = 0.0 if atoms.barrier.any() else -np.inf
        if not atoms.idle.any():
            return lo, np.inf, None
        jumps = np.unique(-self.shift[atoms.idle]) + 0.0
        # At x = 0 an atom that explodes makes the mass infinite: there is no jump to consider.
        live_at_zero = bool((atoms.barrier & ~atoms.idle & (self.shift == 0)).any())
        jumps = jumps[jumps > lo] if live_at_zero else jumps[jumps >= lo]
        first, last = 0, len(jumps)  # the first jump where the mass is not too large
        below = 0.0
        while first < last:
            middle = 0 if first == 0 and last == len(jumps) else (first + last) // 2
            total = float(self.evaluate(float(jumps[middle])).sum())
            if total <= self.mass:
                last, below = middle, total
            else:
                first = middle + 1
        if first < len(jumps):
            x = float(jumps[first])
            if below + float(atoms.ceiling[self._tied(x)].sum()) >= self.mass:
                return x, x, x
        left = float(jumps[first - 1]) if first > 0 else lo
        right = float(jumps[first]) if first < len(jumps) else np.inf
        return left, right, None

    def _tied(self, x: float) -> Mask:
        return np.asarray(self.atoms.idle & (self.shift + x == 0))

    def share(self, w: Array, x: float) -> Array:
        """Give the missing mass to the idle atoms that are indifferent (the hard case)."""
        tied = self._tied(x)
        missing = max(self.mass - float(w.sum()), 0.0)
        ceiling = self.atoms.ceiling[tied]
        open_ended = np.isinf(ceiling)
        part = open_ended / open_ended.sum() if open_ended.any() else ceiling / ceiling.sum()
        w = w.copy()
        w[tied] = missing * part
        return w

    def root(self, start: float, lo: float, hi: float) -> tuple[float, Array]:
        """Safeguarded Newton for mass(x) = mass, on a transform that is nearly linear.

        Where weights explode as A -> 0 mass^{-1/2} is concave in x (exactly linear for one linear
        atom, as in trust-region secular equations); otherwise log mass is (linear for p = 1).
        """
        search = MassSearch(inside(start, lo, hi), lo, hi)
        search.reach = max(1.0, abs(search.x))
        for _ in range(200):
            x = search.x
            w = self.evaluate(x)
            total = float(w.sum())
            if abs(total - self.mass) <= 4 * EPS * self.mass:
                break
            if not search.advance(total > self.mass, self._newton(w)):
                return x, self._between(search.lo, search.hi, w)
        return x, w

    def _between(self, lo: float, hi: float, w: Array) -> Array:
        """Weights of the right mass between those at two neighbouring numbers.

        An atom of next to no previous mass goes from nothing to its ceiling there: what is missing
        is its own, and no other's.
        """
        if not (np.isfinite(lo) and np.isfinite(hi)):
            return w
        more, less = self.evaluate(lo), self.evaluate(hi)
        jumping = np.isinf(more)
        if jumping.any() and np.isfinite(less).all() and less.sum() <= self.mass:
            less[jumping] += (self.mass - float(less.sum())) / jumping.sum()
            return less
        above, below = float(more.sum()) - self.mass, self.mass - float(less.sum())
        if not (np.isfinite(above) and above >= 0 and below >= 0 and above + below > 0):
            return w
        share = below / (above + below)
        return less + share * (more - less)

    def _newton(self, w: Array) -> float:
        """The change of x that Newton proposes; full atoms only lower the mass to be reached."""
        full = float(w[w >= self.atoms.ceiling].sum())
        total, goal = float(w.sum()) - full, self.mass - full
        slope = float(self.atoms.sensitivity(w).sum()) if np.isfinite(total) else 0.0
        if not (slope > 0 and total > 0 and goal > 0 and np.isfinite(slope)):
            return float("nan")
        if self.atoms.exploding:
            return 2 * (total / slope) * float(np.sqrt(total / goal) - 1)
        return (total / slope) * float(np.log(total / goal))


def _first_guess(atoms: Atoms) -> float:
    """The multiplier that keeps the mass to first order: f at m', averaged by dw/dlam."""
    f = atoms.separable.gradient(atoms.previous)
    weight = atoms.sensitivity(atoms.previous)
    used = (weight > 0) & np.isfinite(f)
    return float(weight[used] @ f[used]) / float(weight[used].sum()) if used.any() else 0.0
