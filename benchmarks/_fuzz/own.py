"""Energies of a user's own: by value and first variation, or by a function of the density.

The steps are those of `_fuzz.weights`, whose plain formulas are the user's functions here; so the
rivals and their bounds are the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import jko
from _fuzz import penalties, rivals, weights
from _fuzz import terms as energies
from _fuzz.terms import HOME, LONG

SHARE = 0.03
#: What a residual of the tolerance may cost, in units of it and of the size of the terms: both the
#: answer and the rival are within the sum of the terms of each other.
COST = 4.0


class OwnEnergy(jko.Energy):
    """A sum of terms by plain formulas, in units u."""

    def __init__(self, parts, u):
        self.parts, self.u = parts, u

    def value(self, mu):
        w = (mu.weights / self.u.M).astype(LONG)
        return float(self.u.c * self.u.M * sum(c * np.sum(t.formula(w)) for c, t in self.parts))

    def first_variation(self, mu):
        w = (mu.weights / self.u.M).astype(LONG)
        slopes = [c * np.asarray(t.slope(w), LONG) for c, t in self.parts]
        return np.asarray(self.u.c * sum(slopes), float)


def local(parts, space, u):
    """The same terms, functions of the density alone, as a `LocalEnergy` in units u."""
    volume = space.volume * u.L**space.dim
    weight = lambda rho: (np.asarray(rho) * volume / u.M).astype(LONG)
    value = lambda rho: np.asarray(
        u.c * u.M / volume * sum(c * t.formula(weight(rho)) for c, t in parts), float
    )
    slope = lambda rho: np.asarray(u.c * sum(c * t.slope(weight(rho)) for c, t in parts), float)
    return jko.LocalEnergy(value, slope)


@dataclass
class OwnCase(weights.WeightCase):
    """A drawn step of such an energy."""

    local: bool = False

    @property
    def label(self):
        return "local energies" if self.local else "own energies"

    @property
    def name(self):
        return f"{super().name} in {self.penalty.label}"

    def problem(self, u=HOME):
        energy = local(self.parts, self.space, u) if self.local else OwnEnergy(self.parts, u)
        tau = self.tau * self.penalty.stretch(u) / (u.c * u.M)
        return self.space.measure(self.before, u), energy, self.penalty.make(u), tau

    def shift(self, u):
        return 0.0

    @property
    def closed_form(self):
        """No: the step is found by successive models, up to a residual."""
        return False

    def expected(self):
        found = self._plain().expected()
        return found if found == "solvable" else None

    def rivals(self, rng, answer):
        """Those of the step with the same terms in the engine's words."""
        return rivals.weights(self._plain(), rng, answer)

    def _plain(self):
        return weights.WeightCase(self.space, self.parts, self.before, self.penalty, self.tau)

    def allowance(self, home):
        """What the tolerance on a residual may cost."""
        sizes = [self.objective(w)[1] for w in (self.back(home.measure, HOME), self.before)]
        return COST * home.tol * sum(s for s in sizes if np.isfinite(s))


def _term(rng, space, mass):
    """A term that is finite wherever no weight is zero."""
    while True:
        kind = energies.KINDS[rng.integers(len(energies.KINDS))]
        term = kind(rng, space, mass, True)
        if term.name == "box" or "energy" in term.name:
            continue
        if term.target is None or (term.target > 1e-6 * mass).all():
            return term


def draw(rng):
    """A random step of a user's energy."""
    on_grid = rng.random() < 0.5
    n = int(rng.integers(2, 9))
    space = weights.line(rng, n) if on_grid else weights.space_of(rng)
    while space.size < 2:
        space = weights.space_of(rng)
    m = rng.exponential(size=space.size) + 1e-3
    m[rng.random(space.size) < 0.1] = 0.0
    m = m / m.sum() if m.any() else np.full(space.size, 1 / space.size)
    mass = float(m.sum())
    if on_grid and rng.random() < 0.6:
        kinds = [energies.entropy, energies.porous]
        parts = [(10.0 ** rng.uniform(-1, 1), kinds[rng.integers(2)](rng, space, mass))]
        is_local = True
    else:
        parts = [(10.0 ** rng.uniform(-1, 1), _term(rng, space, mass))
                 for _ in range(int(rng.integers(1, 3)))]  # fmt: skip
        is_local = False
    while True:
        penalty = penalties.draw(rng, space, m)
        moves = penalty.label in weights.MOVING
        if penalty.fixed and (not moves or space.kind == "histogram"):
            break
    return OwnCase(space, parts, m, penalty, 10.0 ** rng.uniform(-4, 4), local=is_local)
