"""Certificates that bring their own potentials, at arbitrary points and potentials.

A family draws cases; a case names its trials. Objectives are plain formulas in extended precision,
and the minimum is enclosed: from above by the best measure known, from below by a dual value of the
case's own (`floor`), so that the excess of every trial is known between two numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

import jko
from _fuzz import terms as energies
from _fuzz.separable import minimise
from _fuzz.terms import HOME, LONG, Space

EPS = float(np.finfo(float).eps)
#: Rounding of the weights and potentials that certificates are handed, relative to the terms of the
#: objective; the judge forgives 16.
FINE = 8 * EPS


@dataclass
class Trial:
    """A certificate: its gap, and the objective it speaks of with the size of its terms.

    `least` is what the value exceeds, where that is not the minimum of the step; `rival` is the
    objective at exactly the right mass, where rounding left another one.
    """

    gap: float
    value: object
    size: float
    least: object = None
    rival: object = None


@dataclass
class Energy:
    """A sum of plain terms, and the engine's energy."""

    parts: list
    space: Space
    #: The bounds as the engine has them: to the last digit.
    bounds: np.ndarray | None = None

    @property
    def name(self):
        return " + ".join(sorted(part.name for _, part in self.parts))

    @property
    def engine(self):
        found = [c * part.make(HOME) for c, part in self.parts]
        return found[0] if len(found) == 1 else found[0] + found[1]

    @property
    def ceiling(self):
        if self.bounds is not None:
            return self.bounds
        bound = np.full(self.space.size, np.inf)
        for _, part in self.parts:
            bound = np.minimum(bound, part.ceiling)
        return bound

    def terms(self, w):
        """All terms (k,)."""
        w = np.asarray(w, dtype=LONG)
        parts = [np.ravel(LONG(c) * part.formula(w)) for c, part in self.parts]
        if (w > self.ceiling * (1 + 1e-17)).any():
            return np.array([np.inf])
        return np.concatenate(parts)

    def raw(self, w):
        """The terms that squared differences of measures are made of, which cancel in them."""
        w, total = np.asarray(w, dtype=LONG), LONG(0)
        for c, part in self.parts:
            if part.gram is not None:
                both = np.abs(w) + np.abs(part.centre)
                total += LONG(c) * (both @ np.abs(part.gram) @ both)
        return float(total)

    def floor(self, tilt, at, mass=None):
        """min F(w) + tilt.w over w >= 0 (of one mass), from below; quadratics by tangents."""
        at, linear, constant = np.asarray(at, dtype=LONG), np.asarray(tilt, dtype=LONG), LONG(0)
        rest = []
        for c, part in self.parts:
            if part.gram is None:
                rest.append((LONG(c), part))
                continue
            pull = LONG(c) * (part.gram @ (at - part.centre))
            linear = linear + pull
            constant += LONG(c) * part.formula(at).sum() - pull @ at
        most = np.inf if mass is None else mass * (1 + 4 * EPS)
        ceiling = np.minimum(self.ceiling, most)

        def slope(w):
            return linear + sum(c * part.slope(w) for c, part in rest)

        v, lam = minimise(slope, ceiling, mass)
        if v is None or not np.isfinite(v).all():
            return -np.inf
        values = linear * v + sum(c * _by_atom(part.formula(v)) for c, part in rest) - lam * v
        with np.errstate(all="ignore"):
            defect = np.where(v > 0, slope(v) - lam, 0) * v * LONG(1e-19)
        return values.sum() - np.abs(defect).sum() + constant + (0 if mass is None else lam * mass)


def _by_atom(terms):
    return terms.sum(axis=0) if np.ndim(terms) == 2 else terms


def support(rng, kinds=("histogram", "grid"), most=7):
    """A random small support."""
    length = 10.0 ** (rng.uniform(-4, 4) * (rng.random() < 0.5))
    kind = kinds[rng.integers(len(kinds))]
    if kind == "histogram":
        n = int(rng.integers(2, most + 1))
        return Space(kind, length * rng.normal(size=(n, int(rng.integers(1, 3))))), length
    shape = [int(rng.integers(3, most + 1))] if rng.random() < 0.6 else [3, 2]
    lower, upper = -length * np.ones(len(shape)), length * rng.uniform(0.5, 2.0, len(shape))
    grid = jko.Grid(lower, upper, shape)
    return Space(kind, grid.points, (lower, upper, shape), float(grid.cell_volume)), length


def weights(rng, n):
    """Random weights: some empty, some next to nothing."""
    m = rng.exponential(size=n) * 10.0 ** (rng.uniform(-12, 0, n) * (rng.random(n) < 0.3))
    m[rng.random(n) < 0.2] = 0.0
    if not m.any():
        m[rng.integers(n)] = 1.0
    mass = 10.0 ** (rng.uniform(-9, 9) * (rng.random() < 0.4))
    return m * (mass / m.sum())


def draw_energy(rng, space, mass):
    return Energy(energies.draw(rng, space, mass), space)


def near(rng, w, mass, ceiling, fixed=True):
    """Feasible weights, from a rounding error away from w to far away, or None."""
    n, size, kind = w.size, 10.0 ** rng.uniform(-16, 0.5), rng.integers(5)
    out = w * np.exp(size * rng.normal(size=n))
    if kind == 1:
        i, j = rng.integers(n, size=2)
        out[i] += min(size, 1.0) * mass
        out[j] *= rng.choice([0.0, 1e-6, 0.5])
    elif kind == 2:
        out = mass * rng.dirichlet(np.full(n, 10.0 ** rng.uniform(-2, 1)))
    out = np.minimum(out, ceiling)
    for _ in range(40 if fixed else 0):
        open_ = (out < ceiling) & (ceiling > 0)
        rest, total = mass - out[~open_].sum(), out[open_].sum()
        if not (open_.any() and rest > 0):
            break
        out[open_] = rest / open_.sum() if total <= 0 else out[open_] * (rest / total)
        if (out <= ceiling).all():
            break
        out = np.minimum(out, ceiling)
    if fixed and abs(out.sum() - mass) > 1e-14 * mass:
        return None
    return out if out.sum() > 0 and np.isfinite(out).all() else None


def shaken(rng, potential, scale):
    """Potentials near or far from given ones, on the scale of the problem."""
    kind, size = rng.integers(5), 10.0 ** rng.uniform(-16, 1)
    noise = rng.normal(size=potential.shape)
    if kind == 4:
        return scale * 10.0 ** rng.uniform(-3, 2) * noise
    if kind == 3:
        noise = noise * (rng.random(potential.shape) < 0.3)
    shift = scale * 10.0 ** rng.uniform(-2, 3) if kind == 2 else 0.0
    return potential + scale * size * noise + shift


@dataclass
class Tally:
    """Certificates of one family."""

    problems: int = 0
    count: int = 0
    unbounded: int = 0
    below: int = 0
    known: int = 0
    worst: float = np.inf
    ratios: list = field(default_factory=list)


def judge(case, trials, number, tally, faults):
    """Compare the gaps of all trials with the excess over the best measure known."""
    tally.problems += 1
    known = [t.value if t.rival is None else t.rival for t in trials if t.least is None]
    values = [v for v in known if np.isfinite(v)]
    if not values:
        return
    best = min([*values, case.best[0]])
    sizes = max([t.size for t in trials if np.isfinite(t.size)])
    if case.floor > best + FINE * sizes:
        faults.append((number, case.name, "the oracle", float(best), float(case.floor), sizes))
    for trial in trials:
        tally.count += 1
        if trial.gap is None or trial.gap == np.inf:
            tally.unbounded += 1
            continue
        if not np.isfinite(trial.value):
            continue
        excess = float(trial.value - (best if trial.least is None else trial.least))
        room = getattr(case, "fine", FINE) * trial.size
        if not trial.gap >= excess * (1 - 1e-12) - room:
            tally.below += 1
            figures = trial.gap, excess, trial.size
            faults.append((number, case.name, case.label, *figures))
        if excess > 1e-9 * trial.size:
            tally.ratios.append(trial.gap / excess)
            tally.worst = min(tally.worst, trial.gap / excess)
        slack = max(0.01 * excess, 2 * FINE * trial.size)
        tally.known += bool(best - case.floor <= slack)
