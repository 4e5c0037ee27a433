"""Steps that vary weights on a fixed support: Hellinger, spherical, MMD, divergences, transport."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import jko
from _fuzz import sources
from _fuzz import terms as energies
from _fuzz.separable import minimise
from _fuzz.terms import HOME, LONG, Space, gaussian, psi, psi_slope


@dataclass
class Penalty:
    """D^2 / 2 by a plain formula, and the engine's geometry in units u."""

    label: str
    fixed: bool
    make: object
    stretch: object  # D^2 in units u over D^2 in the drawn ones
    value: object  # w -> terms of D^2 / 2
    slope: object = None  # of a separable one
    gram: object = None  # of a quadratic one
    closed: object = None  # atoms no mass can enter
    slack: float = 0.0  # relative error of the formula
    rival: object = None  # case -> weights, where the penalty has a method of its own


def penalties(rng, space, m):
    """A random geometry of the weights."""
    fixed, kind = bool(rng.random() < 0.5), int(rng.integers(6))
    mass, before = "fixed" if fixed else "free", m.astype(LONG)
    mark = "fixed" if fixed else "free"
    by_mass = lambda u: u.M
    if kind == 0:

        def slope(w):
            with np.errstate(all="ignore"):
                return np.where(before > 0, 2 * (1 - np.sqrt(before / w)), LONG(2))

        return Penalty(f"Hellinger {mark}", fixed, lambda u: jko.Hellinger(mass=mass), by_mass,
                       lambda w: 2 * (np.sqrt(w) - np.sqrt(before)) ** 2, slope)  # fmt: skip
    if kind == 1:
        return sphere(before)
    if kind == 2:
        p = float(rng.choice([0.0, 0.5, 1.0, 2.0]))
        return Penalty(f"Divergence {mark}", fixed, lambda u: jko.Divergence(p, mass=mass), by_mass,
                       lambda w: psi(p, w, m), lambda w: psi_slope(p, w, m),
                       closed=(m == 0) if p >= 1 else None)  # fmt: skip
    if kind == 3:
        h = float(rng.choice([0.3, 1.0]))
        gram = gaussian(space.squares(), h)
        make = lambda u: jko.MMD(jko.kernels.Gaussian(h * u.L), mass=mass)
        return Penalty(f"MMD {mark}", fixed, make, lambda u: u.M**2,
                       lambda w: (w - before) @ gram * (w - before) / 2, gram=gram)  # fmt: skip
    return transport(space, m) if kind == 4 else with_sources(rng, space, m)


def with_sources(rng, space, m):
    """Unsplit transport with sources, random rates."""
    alpha, beta = (float(10.0 ** rng.uniform(-1, 1)) for _ in range(2))
    c = sources.costs(space.points, alpha, beta)

    def value(w):
        found, open_ = sources.paid(w.astype(LONG), m.astype(LONG), c)
        assert open_ <= 1e-12 * (w.sum() + m.sum())
        doubt = open_ / slack  # what the formula is not sure of, as a size that slack is a share of
        return 2 / LONG(beta) * np.array([found, doubt, -doubt])

    slack = 1e-10

    make = lambda u: jko.WassersteinFisherRao(alpha * u.L**2, beta)
    rival = lambda case: sources.rival(case, alpha, beta, 2 / (beta * case.tau))
    return Penalty("WassersteinFisherRao", False, make, lambda u: u.M, value,
                   slack=slack, rival=rival)  # fmt: skip


def sphere(before):
    def value(w):
        a, b = np.sqrt(w / w.sum()), np.sqrt(before / before.sum())
        chord = np.sqrt(((a - b) ** 2).sum())
        half = before.sum() * (4 * np.arcsin(np.minimum(chord / 2, 1))) ** 2 / 2
        cancels = before.sum() * chord
        return np.array([half, cancels, -cancels])

    return Penalty("SphericalHellinger", True, lambda u: jko.SphericalHellinger(),
                   lambda u: u.M, value)  # fmt: skip


def transport(space, m):
    squares = space.squares()

    def value(w):
        return np.array([exact_cost(m, np.asarray(w, dtype=float), squares)[0] / 2])

    return Penalty("Wasserstein", True, lambda u: jko.Wasserstein(), lambda u: u.M * u.L**2,
                   value, slack=1e-9)  # fmt: skip


def exact_cost(m, w, squares):
    """(upper, lower) bounds of W_2^2 by the plan and the potentials of POT's network simplex."""
    import ot

    rows, columns = m > 0, w > 0
    cost = squares[np.ix_(rows, columns)].astype(float)
    unit = cost.max(initial=0.0) or 1.0
    a, b = m[rows] / m.sum(), w[columns] / w.sum()
    _, log = ot.emd2(a, b, np.ascontiguousarray(cost / unit), log=True, return_matrix=True,
                     numItermax=1_000_000)  # fmt: skip
    plan = log["G"]
    psi_ = log["v"] - np.mean(log["v"])
    phi = (cost / unit - psi_).min(axis=1)
    lower = float(a @ phi + b @ psi_)
    return m.sum() * unit * float((plan * cost / unit).sum()), m.sum() * unit * lower


@dataclass
class WeightCase:
    """A drawn step: energies, geometry, previous weights, tau, all in its own units."""

    space: Space
    parts: list
    before: np.ndarray
    penalty: Penalty
    tau: float
    again: float = 0.0  # share of the first atom that is listed once more

    @property
    def label(self):
        return self.penalty.label

    @property
    def name(self):
        return " + ".join(t.name for _, t in self.parts) + f" on {self.space.kind}"

    @property
    def mass(self):
        return float(self.before.sum())

    @property
    def closed_form(self):
        return all(t.gram is None for _, t in self.parts) and self.penalty.slope is not None

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
        parts = [LONG(c) * t.formula(w) for c, t in self.parts]
        moved = self.penalty.value(w) / LONG(self.tau)
        flat = np.concatenate([np.ravel(p) for p in [*parts, moved]])
        size = float(np.abs(flat).sum())
        if self.label == "Wasserstein":  # a rounding error of mass may have far to go
            size += self.mass * float(self.space.squares().max()) / (2 * self.tau)
        # Weights are rounded: the raw terms of squared differences are part of the size.
        for scale, gram, centre in self._grams():
            raw = scale * (centre @ gram @ centre + w @ gram @ w) / 2
            change = scale * abs((w - centre) @ gram * (w - centre)).sum()
            size += float(np.sqrt(change * raw)) + 1e-16 * float(raw)
        return flat.sum(), size

    def raw(self, w):
        """The size of the expanded squares, whose rounding an objective in doubles keeps."""
        w = np.asarray(w).astype(LONG)
        pairs = [(scale, gram, v) for scale, gram, centre in self._grams() for v in (w, centre)]
        return float(sum(scale * (v @ gram @ v) for scale, gram, v in pairs))

    def _grams(self):
        found = [(c, t.gram, np.asarray(t.centre, LONG)) for c, t in self.parts
                 if t.gram is not None]  # fmt: skip
        if self.penalty.gram is not None:
            found.append((1 / self.tau, self.penalty.gram, self.before.astype(LONG)))
        return found

    @property
    def ceiling(self):
        top = np.full(self.space.size, np.inf)
        for _, term in self.parts:
            top = np.minimum(top, term.ceiling)
        if self.penalty.closed is not None:
            top[self.penalty.closed] = 0.0
        return top

    def slope(self, w, with_penalty=True):
        """The slope of everything separable."""
        total = 0 * w
        for c, term in self.parts:
            if term.gram is None:
                total = total + LONG(c) * term.slope(w)
        if with_penalty and self.penalty.slope is not None:
            total = total + self.penalty.slope(w) / LONG(self.tau)
        return total


def space_of(rng):
    """A small support: a histogram or particles to 50 dimensions, or a grid."""
    kind = ("histogram", "particles", "line", "plane")[rng.integers(4)]
    if kind == "line":
        n = int(rng.integers(1, 9))
        lower, width = np.array([rng.normal()]), 10.0 ** rng.uniform(-0.5, 0.5)
        return _grid(lower, lower + width, (n,))
    if kind == "plane":
        shape = tuple(int(k) for k in rng.integers(1, 4, size=2))
        lower = rng.normal(size=2)
        return _grid(lower, lower + rng.uniform(0.5, 2.0, 2), shape)
    n = int(rng.integers(1, 9))
    d = int(rng.choice([1, 1, 2, 3, 10, 50]))
    points = rng.normal(size=(n, d)) / np.sqrt(d) * 10.0 ** rng.uniform(-1, 1)
    return Space(kind, points)


def _grid(lower, upper, shape):
    axes = [a + (b - a) * (np.arange(k) + 0.5) / k
            for a, b, k in zip(lower, upper, shape, strict=True)]  # fmt: skip
    points = np.stack([x.ravel() for x in np.meshgrid(*axes, indexing="ij")], axis=1)
    volume = float(np.prod((upper - lower) / np.array(shape)))
    return Space("grid", points, (lower, upper, shape), volume)


def before(rng, n):
    """Random weights, some of them tiny or zero."""
    m = rng.exponential(size=n) * 10.0 ** (rng.uniform(-14, 0, n) * (rng.random(n) < 0.3))
    m[rng.random(n) < 0.2] = 0.0
    m[rng.random(n) < 0.05] = 1e-300
    if not m.sum() > 1e-200:
        m[0] = 1.0
    return m / m.sum() * 10.0 ** (rng.uniform(-1, 1) * (rng.random() < 0.5))


def draw_with_sources(rng):
    """A random step of unsplit transport with sources."""
    space = space_of(rng)
    while space.kind != "histogram":
        space = space_of(rng)
    m = before(rng, space.size)
    parts = energies.draw(rng, space, float(m.sum()))
    return WeightCase(space, parts, m, with_sources(rng, space, m), 10.0 ** rng.uniform(-6, 6))


def draw(rng):
    """A random step."""
    space = space_of(rng)
    m = before(rng, space.size)
    penalty = penalties(rng, space, m)
    still = space.kind != "histogram"
    if still and penalty.label in ("Wasserstein", "WassersteinFisherRao"):
        penalty = penalties_of_weights(rng, space, m)
    parts = energies.draw(rng, space, float(m.sum()))
    case = WeightCase(space, parts, m, penalty, 10.0 ** rng.uniform(-6, 6))
    # An array of values is a list of its own, and so is the energy that shifts a free entropy.
    listed = any(t.name == "V" or (t.logs and not penalty.fixed) for _, t in parts)
    if space.kind == "histogram" and not listed and rng.random() < 0.15:
        case.again = float(rng.choice([0.5, 1e-3, 1e-12]))
    return case


def penalties_of_weights(rng, space, m):
    while True:
        found = penalties(rng, space, m)
        if found.label not in ("Wasserstein", "WassersteinFisherRao"):
            return found


def oracle(case, start):
    """Measures that may be better, of the right mass: without the engine."""
    mass = case.mass if case.penalty.fixed else None
    found, _ = _rivals(case, start, mass)
    return [feasible(w, case.ceiling, mass) for w in found], None


def _rivals(case, start, mass):
    if case.penalty.rival is not None:
        return [case.penalty.rival(case)], None
    if case.closed_form:
        w, lam = minimise(case.slope, case.ceiling, mass)
        return ([] if w is None else [np.asarray(w, float)]), lam
    if case.label == "SphericalHellinger" and all(t.gram is None for _, t in case.parts):
        return _spherical(case, mass), None
    return [descend(case, start, mass)], None


def _spherical(case, mass):
    """Hellinger steps of a few lengths, one of which is the spherical step (formula H3)."""
    before, found = case.before.astype(LONG), []

    def reply(t):
        def slope(w):
            with np.errstate(all="ignore"):
                pull = np.where(before > 0, 2 * (1 - np.sqrt(before / w)), LONG(2))
            return case.slope(w, with_penalty=False) + pull / LONG(t)

        w, _ = minimise(slope, case.ceiling, mass)
        found.append(np.asarray(w, float))
        a, b = np.sqrt(found[-1] / mass), np.sqrt(case.before / mass)
        half = 2 * np.arcsin(min(np.sqrt(((a - b) ** 2).sum()) / 2, 1.0))  # SHe / 2
        return case.tau * np.sinc(half / np.pi)

    lo, hi = case.tau * 2 / np.pi, case.tau
    for _ in range(14):
        t = (lo + hi) / 2
        lo, hi = (t, hi) if reply(t) > t else (lo, t)
    return found


def feasible(w, top, mass):
    """Weights within the bounds, of the mass that is asked for."""
    w = np.minimum(w, top)
    for _ in range(40 if mass is not None else 0):
        open_ = (w < top) & (w > 0)
        rest = mass - w[~open_].sum()
        if not (open_.any() and rest > 0):
            break
        w = w.copy()
        w[open_] *= rest / w[open_].sum()
        if (w <= top).all():
            break
        w = np.minimum(w, top)
    return w


def descend(case, start, mass):
    """SciPy's L-BFGS in log weights, normalised where the mass is fixed."""
    from scipy.optimize import minimize

    size = case.mass
    top = case.ceiling

    def weights(z):
        w = np.exp(np.clip(z, -600, 300))
        return feasible(w, top, mass)

    def value(z):
        found = float(case.objective(weights(z))[0])
        return found if np.isfinite(found) else 1e300

    z = np.log(np.maximum(start, size * 1e-18))
    unit = abs(value(z)) or 1.0
    scaled = lambda z: value(z) / unit
    found = minimize(scaled, z, method="L-BFGS-B", options={"maxiter": 60}).x
    return weights(found)
