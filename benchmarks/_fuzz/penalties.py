"""Geometries of the weights by plain formulas: D^2 / 2, slopes, conic forms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import jko
from _fuzz import sources
from _fuzz.terms import LONG, plain_kernel, psi, psi_conic, psi_end, psi_slope


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
    ceiling: object = np.inf
    needs: object = False
    end: object = np.inf
    conic: object = None  # CVXPY variable w (in units of `mass`) -> expression of D^2 / 2 / mass
    slack: float = 0.0  # relative error of the formula
    rival: object = None  # case -> weights, where the penalty has a method of its own
    below: object = None  # case, u -> potential and constant of a lower bound, likewise


def draw(rng, space, m):
    """A random geometry of the weights."""
    fixed, kind = bool(rng.random() < 0.5), int(rng.integers(6))
    mark = "fixed" if fixed else "free"
    if kind == 0:
        return hellinger(m, fixed, mark)
    if kind == 1:
        return sphere(m.astype(LONG))
    if kind == 2:
        return divergence(float(rng.choice([0.0, 0.5, 1.0, 2.0])), m, fixed, mark)
    if kind == 3:
        return mmd(rng, space, m, fixed, mark)
    return transport(space, m) if kind == 4 else with_sources(rng, space, m)


def by_mass(u):
    return u.M


def roots_apart(w, m):
    """sqrt w - sqrt m without cancellation."""
    total = np.sqrt(w) + np.sqrt(m)
    return (w - m) / np.where(total > 0, total, 1)


def hellinger(m, fixed, mark):
    before = m.astype(LONG)

    def slope(w):
        with np.errstate(all="ignore"):
            return np.where(before > 0, 2 * (1 - np.sqrt(before / w)), LONG(2))

    def conic(w, mass):
        import cvxpy as cp

        return 2 * (cp.sum(w) + float(m.sum()) / mass - 2 * np.sqrt(m / mass) @ cp.sqrt(w))

    return Penalty(f"Hellinger {mark}", fixed, lambda u: jko.Hellinger(mass=mark), by_mass,
                   lambda w: 2 * roots_apart(w, before) ** 2, slope,
                   end=np.full(len(m), 2.0), conic=conic)  # fmt: skip


def divergence(p, m, fixed, mark):
    top = np.where((p >= 1) & (m == 0), 0.0, np.inf)
    return Penalty(f"Divergence {mark}", fixed, lambda u: jko.Divergence(p, mass=mark), by_mass,
                   lambda w: psi(p, w, m), lambda w: psi_slope(p, w, m), ceiling=top,
                   needs=(p <= 0) & (m > 0), end=psi_end(p, m),
                   conic=lambda w, mass: psi_conic(p, w, m / mass))  # fmt: skip


def mmd(rng, space, m, fixed, mark):
    before, (_, kernel, plain) = m.astype(LONG), plain_kernel(rng, [0.3, 1.0])
    gram = plain(space.squares())
    make = lambda u: jko.MMD(kernel(u.L), mass=mark)
    return Penalty(f"MMD {mark}", fixed, make, lambda u: u.M**2,
                   lambda w: (w - before) @ gram * (w - before) / 2, gram=gram)  # fmt: skip


def sphere(before):
    def value(w):
        a, b = np.sqrt(w / w.sum()), np.sqrt(before / before.sum())
        chord = np.sqrt(((a - b) ** 2).sum())
        half = before.sum() * (4 * np.arcsin(np.minimum(chord / 2, 1))) ** 2 / 2
        cancels = before.sum() * chord
        return np.array([half, cancels, -cancels])

    return Penalty("SphericalHellinger", True, lambda u: jko.SphericalHellinger(), by_mass,
                   value)  # fmt: skip


def half_angle(w, before):
    """SHe / 2 by the chord, exact for small angles."""
    a, b = np.sqrt(w / w.sum()), np.sqrt(before / before.sum())
    return 2 * np.arcsin(min(np.sqrt(((a - b) ** 2).sum()) / 2, 1.0))


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


def with_sources(rng, space, m):
    """Unsplit transport with sources, random rates."""
    alpha, beta = (float(10.0 ** rng.uniform(-1, 1)) for _ in range(2))
    c, slack = sources.costs(space.points, alpha, beta), 1e-10

    def value(w):
        found, open_ = sources.paid(w.astype(LONG), m.astype(LONG), c)
        assert open_ <= 1e-12 * (w.sum() + m.sum())
        doubt = open_ / slack  # what the formula is not sure of, as a size that slack is a share of
        return 2 / LONG(beta) * np.array([found, doubt, -doubt])

    make = lambda u: jko.WassersteinFisherRao(alpha * u.L**2, beta)
    rate = lambda case: 2 / (LONG(beta) * LONG(case.tau))
    return Penalty("WassersteinFisherRao", False, make, by_mass, value, slack=slack,
                   end=np.full(len(m), 2 / beta),
                   rival=lambda case: sources.rival(case, alpha, beta, float(rate(case))),
                   below=lambda case, u: sources.below(u, case.before, c, rate(case)))  # fmt: skip
