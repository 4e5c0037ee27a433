"""Steps that vary weights on a fixed support: Hellinger, spherical, MMD, divergences, transport."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import jko
from _fuzz import penalties
from _fuzz import terms as energies
from _fuzz.penalties import Penalty
from _fuzz.separable import minimise
from _fuzz.terms import HOME, LONG, Space

SHARE = 0.62
#: Geometries that on grids and particles are problems of another kind.
MOVING = ("Wasserstein", "WassersteinFisherRao")


@dataclass
class WeightCase:
    """A drawn step: energies, geometry, previous weights, tau, all in its own units."""

    space: Space
    parts: list
    before: np.ndarray
    penalty: Penalty
    tau: float
    again: float = 0.0  # share of the first atom that is listed once more
    named: str = ""

    @property
    def label(self):
        return self.named or self.penalty.label

    @property
    def name(self):
        return " + ".join(t.name for _, t in self.parts) + f" on {self.space.kind}"

    @property
    def mass(self):
        return float(self.before.sum())

    @property
    def closed_form(self):
        return all(t.gram is None for _, t in self.parts) and self.penalty.slope is not None

    @property
    def tiny(self):
        """Whether some weights are hardly above the least number."""
        lists = [self.before, *(t.target for _, t in self.parts if t.target is not None)]
        lists += [t.centre for _, t in self.parts if t.centre is not None]
        return any(((w > 0) & (w < 1e-280)).any() for w in lists)

    @property
    def slack(self):
        return self.penalty.slack

    def _logs(self, u):
        """What the entropy gains per unit mass in other units."""
        d = self.space.dim if self.space.kind == "grid" else 0
        return sum(c * t.logs for c, t in self.parts) * (np.log(u.M) - d * np.log(u.L))

    def shift(self, u):
        """Objective in units u over c M, less that in the drawn ones."""
        return self._logs(u) * self.mass if self.penalty.fixed else 0.0

    def problem(self, u=HOME):
        """Arguments of `jko.step` in units u."""
        mu, energy = self._previous(u), None
        for c, term in self.parts:
            one = float(c) * term.make(u)
            energy = one if energy is None else energy + one
        if not self.penalty.fixed and self._logs(u):
            energy = energy + jko.Potential(np.full(self.space.size, -u.c * self._logs(u)))
        tau = self.tau * self.penalty.stretch(u) / (u.c * u.M)
        return mu, energy, self.penalty.make(u), tau

    def _previous(self, u):
        if not self.again:
            return self.space.measure(self.before, u)
        listed = np.append(self.before, self.again * self.before[0])
        listed[0] -= listed[-1]
        more = Space(self.space.kind, np.vstack([self.space.points, self.space.points[:1]]))
        return more.measure(listed, u)

    def back(self, measure, u):
        """The weights in the drawn units."""
        w = measure.weights / u.M
        return np.append(w[0] + w[-1], w[1:-1]) if self.again else w

    def objective(self, w):
        """(value, size of its terms) in extended precision; inf outside the bounds."""
        w = np.asarray(w).astype(LONG)
        if (w < 0).any() or (w > self.ceiling * (1 + 1e-8)).any():
            return LONG(np.inf), 0.0
        if self.penalty.fixed and abs(w.sum() - self.mass) > 2e-15 * self.mass:
            return LONG(np.inf), 0.0
        if self.penalty.fixed:  # to the last digit: a multiplier may be large
            w = self._exact(w)
        parts = [LONG(c) * t.formula(w) for c, t in self.parts]
        moved = self.penalty.value(w) / LONG(self.tau)
        flat = np.concatenate([np.ravel(p) for p in [*parts, moved]])
        size = float(np.abs(flat).sum())
        if self.penalty.label == "Wasserstein":  # a rounding error of mass may have far to go
            size += self.mass * float(self.space.squares().max()) / (2 * self.tau)
        # Weights are rounded: the raw terms of squared differences are part of the size.
        for scale, gram, centre in self.grams():
            raw = scale * (centre @ gram @ centre + w @ gram @ w) / 2
            change = scale * abs((w - centre) @ gram * (w - centre)).sum()
            size += float(np.sqrt(change * raw)) + 1e-16 * float(raw)
        return flat.sum(), size

    def _exact(self, w):
        """Weights of the exact mass, none above its ceiling."""
        w = np.minimum(w, self.ceiling.astype(LONG))
        free = (w > 0) & (w < self.ceiling)
        if free.any():
            w[free] *= (LONG(self.mass) - w[~free].sum()) / w[free].sum()
        return w

    def raw(self, w, u=HOME):
        """The size of expanded squares and of logarithms, whose rounding doubles keep."""
        w = np.asarray(w).astype(LONG)
        pairs = [(scale, gram, v) for scale, gram, centre in self.grams() for v in (w, centre)]
        squares = float(sum(scale * (v @ gram @ v) for scale, gram, v in pairs))
        logs = 1 + abs(np.log(u.M)) + self.space.dim * abs(np.log(u.L))
        moved = 0.0
        if self.penalty.label in MOVING:
            moved = self.mass * float(self.space.squares().max()) / (2 * self.tau)
        return squares + moved + logs * sum(c * t.noise for c, t in self.parts)

    def grams(self):
        """(scale, matrix, centre) of every quadratic term."""
        found = [(c, t.gram, np.asarray(t.centre, LONG)) for c, t in self.parts
                 if t.gram is not None]  # fmt: skip
        if self.penalty.gram is not None:
            found.append((1 / self.tau, self.penalty.gram, self.before.astype(LONG)))
        return found

    @property
    def ceiling(self):
        top = np.full(self.space.size, np.inf)
        for part in [*(t for _, t in self.parts), self.penalty]:
            top = np.minimum(top, part.ceiling)
        return top

    def expected(self):
        """ "solvable", "infeasible" or "unbounded", from the definition; None at the border."""
        top = self.ceiling
        needs = np.zeros(self.space.size, bool)
        for part in [*(t for _, t in self.parts), self.penalty]:
            needs |= part.needs
        if (needs & (top == 0)).any():
            return "infeasible"
        if self.penalty.fixed:
            room = float(top.sum()) / self.mass
            return None if abs(room - 1) < 1e-9 else "infeasible" if room < 1 else "solvable"
        empty = self._empty()
        if empty is not False:
            return empty
        if self.grams():
            return "solvable"  # kernels are positive: a quadratic grows along every direction
        ends = [c * t.end for c, t in self.parts] + [self.penalty.end / self.tau]
        slope, size = sum(ends), sum(np.where(np.isfinite(e), np.abs(e), 0) for e in ends)
        open_ = np.isinf(top)
        if (open_ & (slope < -1e-12 * size)).any():
            return "unbounded"
        if (open_ & (slope <= 1e-12 * size)).any():
            return None
        separable = all(t.gram is None for _, t in self.parts)
        return "unbounded" if separable and self._overflows() else "solvable"

    def _overflows(self):
        """Whether the minimiser is larger than any double."""
        # A penalty without a slope is no steeper than at infinity: more mass is better still.
        more = LONG(0) if self.penalty.slope is not None else self.penalty.end / LONG(self.tau)
        found = minimise(lambda w: self.slope(w) + more, self.ceiling)[0]
        return not found.max() < self.mass * 1e280

    def _empty(self):
        """ "empty" where no mass is best, None where doubles cannot tell, else False."""
        if self.penalty.rival is not None:
            return False  # the first mass at an atom that had some costs less than nothing
        zero, open_ = np.zeros(self.space.size, LONG), self.ceiling > 0
        pull = sum((LONG(s) * (gram @ -centre) for s, gram, centre in self.grams()), zero)
        least = [((self.slope(zero + LONG(w)) + pull)[open_] >= 0).all()
                 for w in ("1e-4900", "1e-290")]  # fmt: skip
        return "empty" if all(least) else None if any(least) else False

    def slope(self, w, with_penalty=True):
        """The slope of everything separable."""
        total = 0 * w
        for c, term in self.parts:
            if term.gram is None:
                total = total + LONG(c) * term.slope(w)
        if with_penalty and self.penalty.slope is not None:
            total = total + self.penalty.slope(w) / LONG(self.tau)
        return total

    def rivals(self, rng, answer):
        """Measures that may be better, each with a lower bound: without the engine."""
        from _fuzz import rivals

        return rivals.weights(self, rng, answer)


def space_of(rng):
    """A small support: a histogram or particles to 50 dimensions, or a grid."""
    kind = ("histogram", "particles", "line", "plane")[rng.integers(4)]
    if kind == "line":
        return line(rng, int(rng.integers(1, 9)))
    if kind == "plane":
        return plane(rng, tuple(int(k) for k in rng.integers(1, 4, size=2)))
    n = int(rng.integers(1, 9))
    d = int(rng.choice([1, 1, 2, 3, 10, 50]))
    points = rng.normal(size=(n, d)) / np.sqrt(d) * 10.0 ** rng.uniform(-1, 1)
    return Space(kind, points)


def line(rng, n):
    lower, width = np.array([rng.normal()]), 10.0 ** rng.uniform(-0.5, 0.5)
    return _grid(lower, lower + width, (n,))


def plane(rng, shape):
    lower = rng.normal(size=2)
    return _grid(lower, lower + rng.uniform(0.5, 2.0, 2), shape)


def _grid(lower, upper, shape):
    axes = [a + (b - a) * (np.arange(k) + 0.5) / k
            for a, b, k in zip(lower, upper, shape, strict=True)]  # fmt: skip
    points = np.stack([x.ravel() for x in np.meshgrid(*axes, indexing="ij")], axis=1)
    volume = float(np.prod((upper - lower) / np.array(shape)))
    return Space("grid", points, (lower, upper, shape), volume)


def before_of(rng, n):
    """Previous weights: zeros, 1e-300, tiny ones, mass 1 or another."""
    m = rng.exponential(size=n) * 10.0 ** (rng.uniform(-14, 0, n) * (rng.random(n) < 0.3))
    m[rng.random(n) < 0.2] = 0.0
    m[rng.random(n) < 0.05] = 1e-300
    if not m.max() > 1e-200:
        m[0] = 1.0
    return m / m.sum() * 10.0 ** (rng.uniform(-1, 1) * (rng.random() < 0.5))


def draw(rng):
    """A random step."""
    space = space_of(rng)
    m = before_of(rng, space.size)
    while True:
        penalty = penalties.draw(rng, space, m)
        if space.kind == "histogram" or penalty.label not in MOVING:
            break
    parts = energies.draw(rng, space, float(m.sum()), penalty.fixed)
    case = WeightCase(space, parts, m, penalty, 10.0 ** rng.uniform(-6, 6))
    # An array of values is a list of its own, and so is the energy that shifts a free entropy.
    listed = any(t.listed or (t.logs and not penalty.fixed) for _, t in parts)
    if space.kind == "histogram" and not listed and rng.random() < 0.15:
        case.again = float(rng.choice([0.5, 1e-3, 1e-12]))
    return case


def draw_with_sources(rng):
    """A random step of unsplit transport with sources."""
    space = space_of(rng)
    while space.kind != "histogram":
        space = space_of(rng)
    m = before_of(rng, space.size)
    penalty = penalties.with_sources(rng, space, m)
    parts = energies.draw(rng, space, float(m.sum()))
    return WeightCase(space, parts, m, penalty, 10.0 ** rng.uniform(-6, 6))
