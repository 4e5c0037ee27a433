"""Energies by plain formulas on weights, in extended precision, and the engine's in any unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

import jko

LONG = np.longdouble


class Units(NamedTuple):
    """Masses, lengths and energies per unit of the drawn problem (formula B2)."""

    M: float = 1.0
    L: float = 1.0
    c: float = 1.0


HOME = Units()


@dataclass
class Space:
    """A fixed support in the drawn units.

    `kind` is "histogram", "particles" or "grid"; `volume` the size of a cell, 1 off grids.
    """

    kind: str
    points: np.ndarray
    grid: tuple | None = None
    volume: float = 1.0

    @property
    def size(self):
        return len(self.points)

    @property
    def dim(self):
        return self.points.shape[1]

    def measure(self, weights, u=HOME):
        """The engine's measure with these weights, in units u."""
        if self.kind == "grid":
            lower, upper, shape = self.grid
            grid = jko.Grid(u.L * lower, u.L * upper, shape)
            return jko.GridDensity(grid, u.M * weights)
        make = jko.Histogram if self.kind == "histogram" else jko.Particles
        return make(u.L * self.points, u.M * weights)

    def squares(self):
        """|x - y|^2 between all atoms, extended precision."""
        x = self.points.astype(LONG)
        return ((x[:, None] - x) ** 2).sum(axis=2)


def psi(p, w, m):
    """The terms of D_p(w | m) atom by atom (3, n), with those of the mass."""
    w, m = w.astype(LONG), np.asarray(m, dtype=LONG)
    zero, full = 0 * w, m > 0
    with np.errstate(all="ignore"):
        if p == 1:
            terms = np.where(w > 0, w * (np.log(w) - np.log(m)), 0), -w, m
            return np.where(full, terms, np.where(w > 0, np.inf, zero))
        if p == 0:
            terms = m * np.log(m), np.where(w > 0, -m * np.log(w), np.inf), w - m
            return np.where(full, terms, [w, zero, zero])
        q = LONG(p)
        terms = m ** (1 - q) * w**q / (q * (q - 1)), -w / (q - 1), m / q
        empty = w / (1 - q) if p < 1 else np.where(w > 0, np.inf, zero)
        return np.where(full, terms, [empty, zero, zero])


def psi_slope(p, w, m):
    """phi_p'(w/m), atom by atom."""
    w, m = w.astype(LONG), np.asarray(m, dtype=LONG)
    with np.errstate(all="ignore"):
        if p == 1:
            return np.where(m > 0, np.log(w) - np.log(m), np.inf)
        q = LONG(p)
        full = ((w / m) ** (q - 1) - 1) / (q - 1)
        return np.where(m > 0, full, 1 / (1 - q) if p < 1 else np.inf)


@dataclass
class Term:
    """One energy: its terms (k, n) or (n,), its slope, and the engine's own in units u."""

    name: str
    formula: object
    slope: object
    make: object
    gram: object = None  # quadratic: 1/2 (w - centre)' gram (w - centre)
    centre: object = None
    ceiling: object = np.inf
    needs: object = False  # atoms that must carry weight
    end: object = np.inf  # slope at infinity, for a separable term
    conic: object = None  # CVXPY variable w (in units of `mass`) -> expression of F / mass
    logs: float = 0.0  # entropy: its value shifts by logs * log(M / L^d) * mass
    noise: float = 0.0  # size of the raw terms, whose rounding a value in doubles keeps
    listed: bool = False  # an entry per atom of the list
    target: object = None  # of a divergence


def psi_end(p, m):
    """The slope of phi_p(w/m) m at infinity, atom by atom."""
    return np.full(len(m), 1 / (1 - p) if p < 1 else np.inf)


def psi_conic(p, w, m):
    """D_p(w | m) in CVXPY, for weights of order one."""
    import cvxpy as cp

    full = np.flatnonzero(m > 0)
    v, t = w[full], m[full]
    if p == 1:
        return cp.sum(cp.rel_entr(v, t) - v) + t.sum()
    if p == 0:
        return cp.sum(w) - t.sum() + cp.sum(cp.rel_entr(t, v))
    rest = cp.sum(w) - cp.sum(v)
    power = cp.sum(cp.multiply(t ** (1 - p), cp.power(v, p))) / (p * (p - 1))
    return power - cp.sum(v) / (p - 1) + t.sum() / p + (rest / (1 - p) if p < 1 else 0)


def gaussian(squares, bandwidth):
    return np.exp(-squares / (2 * LONG(bandwidth) ** 2))


#: Kernels: (engine's, h -> kernel; plain, squares and h -> matrix in extended precision).
KERNELS = {
    "gauss": (jko.kernels.Gaussian, gaussian),
    "laplace": (jko.kernels.Laplace, lambda q, h: np.exp(-np.sqrt(q) / LONG(h))),
    "imq": (jko.kernels.InverseMultiquadric, lambda q, h: 1 / np.sqrt(1 + q / LONG(h) ** 2)),
}


def plain_kernel(rng, widths):
    """A random kernel: name, the engine's in units of length L, the matrix of squares."""
    name = ("gauss", "gauss", "laplace", "imq")[rng.integers(4)]
    h, (make, plain) = float(rng.choice(widths)), KERNELS[name]
    return name, lambda L: make(h * L), lambda squares: plain(squares, h)


def _target(rng, space, mass):
    n = space.size
    target = rng.exponential(size=n) * 10.0 ** (rng.uniform(-14, 0, n) * (rng.random(n) < 0.3))
    target[rng.random(n) < 0.15] = 0.0
    target[rng.random(n) < 0.03] = 1e-300
    if not target.max() > 1e-200:
        target[0] = 1.0
    return target * (mass / target.sum())


def potential(rng, space, mass, fixed=False):
    v = rng.normal(size=space.size) * 10.0 ** rng.uniform(-2, 2)
    return Term("V", lambda w: v.astype(LONG) * w, lambda w: v.astype(LONG) + 0 * w,
                lambda u: u.c * jko.Potential(v), end=v, conic=lambda w, mass: v @ w,
                listed=True)  # fmt: skip


def divergence(rng, space, mass, fixed=False):
    p = float(rng.choice([1.0, 1.0, 0.0, 0.0, 0.5, 1.5, 2.0, 3.0, -0.5, 0.9]))
    target = _target(rng, space, mass * 10.0 ** (rng.uniform(-1, 1) * (rng.random() < 0.3)))
    energy = {1.0: jko.KL, 0.0: jko.InclusiveKL}.get(p, lambda m: jko.PhiDivergence(m, p=p))
    with np.errstate(all="ignore"):  # doubles end at 1e308
        closed = (target == 0) | np.isinf(target ** (1 - p))
    top = np.where((p >= 1) & closed, 0.0, np.inf)
    return Term(f"phi{p:g}", lambda w: psi(p, w, target), lambda w: psi_slope(p, w, target),
                lambda u: u.c * energy(space.measure(target, u)), ceiling=top,
                needs=(p <= 0) & (target > 0), end=psi_end(p, target),
                conic=lambda w, mass: psi_conic(p, w, target / mass), target=target,
                noise=float(target.sum()) if p in (0, 1) else 0.0)  # fmt: skip


def _reference(space):
    """What particles off the line need to have a density."""
    return {"reference": np.ones(space.size)} if space.kind == "particles" else {}


def entropy(rng, space, mass, fixed=False):
    v, more = LONG(space.volume), _reference(space)

    def formula(w):
        with np.errstate(all="ignore"):
            return np.where(w > 0, w * np.log(w / v), 0)

    def slope(w):
        with np.errstate(all="ignore"):
            return np.log(w / v) + 1

    def conic(w, mass):
        import cvxpy as cp

        return -cp.sum(cp.entr(w)) + float(np.log(mass / v)) * cp.sum(w)

    return Term("ent", formula, slope, lambda u: u.c * jko.Entropy(**more), logs=1.0, conic=conic,
                noise=mass, listed=bool(more))  # fmt: skip


def porous(rng, space, mass, fixed=False):
    m, v, more = float(rng.choice([1.5, 2.0, 3.0])), LONG(space.volume), _reference(space)
    d = space.dim if space.kind == "grid" else 0
    scale = lambda u: u.c * u.M ** (1 - m) * u.L ** (d * (m - 1))
    q = LONG(m)
    size = LONG(10.0 ** rng.uniform(-2, 1) * (mass / (space.size * space.volume)) ** (1 - m))

    def conic(w, mass):
        import cvxpy as cp

        return float(size * (mass / v) ** (q - 1) / (q - 1)) * cp.sum(cp.power(w, m))

    return Term(f"pm{m:g}", lambda w: size * v * (w / v) ** q / (q - 1),
                lambda w: size * q / (q - 1) * (w / v) ** (q - 1),
                lambda u: float(size) * scale(u) * jko.PorousMedium(m, **more), conic=conic,
                listed=bool(more))  # fmt: skip


def box(rng, space, mass, fixed=False):
    d, more = space.dim if space.kind == "grid" else 0, _reference(space)
    bound = mass * rng.uniform(1.05, 4.0) / space.size
    make = lambda u: jko.BoxConstraint(bound / space.volume * u.M / u.L**d, **more)
    zero = lambda w: 0 * w
    return Term("box", zero, zero, make, ceiling=np.full(space.size, bound), end=0.0,
                conic=lambda w, mass: 0.0, listed=bool(more))  # fmt: skip


def mmd(rng, space, mass, fixed=False):
    target = _target(rng, space, mass)
    name, kernel, plain = plain_kernel(rng, [0.3, 1.0, 3.0])
    if rng.random() < 0.1 and fixed:  # the energy distance: among measures of one mass
        name, kernel, plain = "energy", lambda L: jko.kernels.Energy(), energy_distance
    gram = plain(space.squares()) / LONG(mass)
    L = (lambda u: u.L) if name == "energy" else (lambda u: 1.0)
    make = lambda u: (
        u.c / (u.M * mass * L(u)) * jko.MMDEnergy(space.measure(target, u), kernel(u.L))
    )
    found = quadratic(f"mmd {name}", gram, target, make)
    if name == "energy":
        found.noise = 2 * mass * float(np.sqrt((space.points**2).sum(axis=1)).max())
    return found


def energy_distance(squares):
    """-|x - y| made positive: + |x| + |y|, seen from the first point, between equal masses."""
    r = np.sqrt(squares)
    return r[:, :1] + r[:1] - r


def interaction(rng, space, mass, fixed=False):
    name, kernel, plain = plain_kernel(rng, [0.5, 2.0])
    gram = plain(space.squares()) / LONG(mass)
    make = lambda u: u.c / (u.M * mass) * jko.Interaction(kernel(u.L))
    return quadratic(f"inter {name}", gram, np.zeros(space.size), make)


def quadratic(name, gram, centre, make):
    away = lambda w: w - centre.astype(LONG)
    return Term(name, lambda w: away(w) @ gram * away(w) / 2, lambda w: gram @ away(w), make,
                gram=gram, centre=centre)  # fmt: skip


KINDS = (potential, divergence, divergence, entropy, porous, box, mmd, interaction)


def draw(rng, space, mass, fixed=False):
    """One or two random terms with random factors; `fixed`: of measures of one mass."""
    found = []
    for _ in range(int(rng.integers(1, 3))):
        term = KINDS[rng.integers(len(KINDS))](rng, space, mass, fixed)
        found.append((10.0 ** rng.uniform(-1, 1), term))
    return found


class OnPoints:
    """A problem whose answers are positions `points`, and whose energy is 0 at 0 in any unit."""

    points: np.ndarray

    def shift(self, u):
        return 0.0

    @property
    def before(self):
        return self.points

    def back(self, measure, u):
        return measure.points / u.L
