"""Lower bounds of steps on a fixed support, from plain formulas at any measure (weak duality).

Quadratic terms are replaced by their tangents at a point u, arccos^2 by its tangent in He^2
(formula H3), transport by any potential and its c-transform; what is left separates into atoms
and is minimised by bisection (`_fuzz.separable`).
"""

from __future__ import annotations

import numpy as np

from _fuzz.penalties import half_angle, hellinger
from _fuzz.separable import minimise, respond
from _fuzz.terms import LONG

#: Rounding of the bound itself, relative to its terms.
ROUNDING = 16 * float(np.finfo(LONG).eps)


def lower(case, u):
    """A lower bound of the minimum; -inf where none is found."""
    u = np.asarray(u).astype(LONG)
    if not np.isfinite(u).all():
        return -np.inf
    if case.penalty.label == "SphericalHellinger":
        return _spherical(case, u)
    if case.penalty.label == "Wasserstein":
        return max(_transport(case, u, psi) for psi in potentials(case, u))
    if case.penalty.below is not None:
        tilt, constant = case.penalty.below(case, u)
        shifts = feasible_shifts(case, u, tilt)
        return max(
            (separate(case, _plain(case), v, tilt) + constant for v in shifts), default=-np.inf
        )
    parts = [*_plain(case), (1 / LONG(case.tau), case.penalty)]
    return max((separate(case, parts, v) for v in feasible_shifts(case, u)), default=-np.inf)


def _plain(case):
    return [(LONG(c), t) for c, t in case.parts]


def tangent(case, u):
    """(value, gradient) of the quadratic terms at u."""
    value, slope = LONG(0), np.zeros(len(u), LONG)
    for scale, gram, centre in case.grams():
        pull = LONG(scale) * (gram @ (u - centre))
        value, slope = value + (u - centre) @ pull / 2, slope + pull
    return value, slope


def separate(case, parts, u, tilt=0.0):
    """min over v of the separable terms, the tangents at u and tilt' v."""
    value, slope = tangent(case, u)
    y = slope + tilt
    separable = [(c, t) for c, t in parts if t.gram is None]

    def slopes(w):
        return sum((c * _slope(t, w) for c, t in separable), y + 0 * w)

    mass = case.mass if case.penalty.fixed else None
    v, lam = minimise(slopes, case.ceiling, mass)
    if v is None:
        return -np.inf
    open_ = np.isinf(case.ceiling)
    if open_.any():  # beyond the slopes at infinity the conjugates are infinite
        ends = sum((c * (t.end + np.zeros(len(u))) for c, t in separable), y)[open_]
        size = sum((c * np.abs(t.end + np.zeros(len(u))) for c, t in separable), np.abs(y))[open_]
        finite = np.isfinite(ends)
        least = min((ends - 4e-19 * size)[finite], default=LONG(np.inf))
        if mass is None and least < 0:
            return -np.inf
        if lam > least:
            lam = least
            v = respond(slopes, case.ceiling.astype(LONG), lam)
    with np.errstate(all="ignore"):
        terms = [value, -slope @ u, *((c * _terms(t, v)).sum() for c, t in separable)]
        terms += [((y - lam) * v).sum(), lam * (mass or 0)]
        sizes = [abs(value), np.abs(slope * u).sum(), np.abs((y - lam) * v).sum(), abs(terms[-1])]
        sizes += [np.abs(c * _terms(t, v)).sum() for c, t in separable]
        found = sum(terms) - ROUNDING * sum(sizes) - ROUNDING**1.5 * case.mass / LONG(case.tau)
    return found if np.isfinite(found) else -np.inf


def _slope(part, w):
    return part.slope(w)


def _terms(part, w):
    return np.asarray(part.value(w) if hasattr(part, "value") else part.formula(w))


def feasible_shifts(case, u, tilt=None):
    """Points of linearisation where the slopes at infinity are not negative."""
    yield u
    if case.penalty.fixed or not case.grams():
        return
    open_ = np.isinf(case.ceiling)
    ends = [LONG(c) * t.end for c, t in case.parts if t.gram is None]
    if tilt is not None:
        ends.append(tilt)
    elif case.penalty.gram is None:
        ends.append(case.penalty.end / LONG(case.tau))
    slope = sum(ends, np.zeros(len(u), LONG))
    for direction in (u, np.full(len(u), LONG(case.mass))):
        rise = sum(LONG(s) * (gram @ direction) for s, gram, _ in case.grams())
        short = -(tangent(case, u)[1] + slope)
        late = open_ & (short > 0)
        if late.any() and (rise[late] > 0).all():
            t = np.max(short[late] / rise[late]) * (1 + LONG(1e-15))
            yield u + t * direction


def _spherical(case, u):
    """The tangent of arccos^2 at u: a Hellinger step of length tau sinc(SHe / 2)."""
    before = case.before.astype(LONG)
    half, mass = LONG(half_angle(u, before)), before.sum()
    sinc = np.sin(half) / half if half > 0 else LONG(1)
    moved = 4 * mass * (1 - np.cos(half)) if half > 1e-4 else 2 * mass * half**2
    const = (2 * mass * half**2 - moved / sinc) / LONG(case.tau)
    chord = hellinger(case.before, True, "fixed")
    parts = [*_plain(case), (1 / (LONG(case.tau) * sinc), chord)]
    return separate(case, parts, u) + const


def potentials(case, w):
    """Potentials psi (n,) on the target side of the transport to w, in units of F'."""
    cost = case.space.squares() / (2 * LONG(case.tau))
    charged, start = np.asarray(w > 0), case.before > 0
    force = case.slope(w, with_penalty=False) + tangent(case, w)[1]
    yield completed(cost, start, charged, -np.where(charged, force, 0))
    with np.errstate(all="ignore"):
        full = np.where(np.isfinite(force), -force, -LONG(np.inf))
    if np.isfinite(full).all():
        yield full - full.min()
    psi = exact_potential(case.before, np.asarray(w, float), case.space.squares())
    yield completed(cost, start, charged, psi / (2 * LONG(case.tau)))


def completed(cost, start, charged, psi):
    """psi on charged atoms, elsewhere as large as leaves its c-transform as it is."""
    phi = (cost[:, charged] - psi[charged]).min(axis=1)
    rest = (cost[start] - phi[start, None]).min(axis=0)
    return np.where(charged, psi, rest)


def exact_potential(m, w, squares):
    import ot

    rows, columns = m > 0, w > 0
    cost = squares[np.ix_(rows, columns)].astype(float)
    unit = cost.max(initial=0.0) or 1.0
    _, log = ot.emd2(m[rows] / m.sum(), w[columns] / w.sum(), np.ascontiguousarray(cost / unit),
                     log=True, return_matrix=True, numItermax=1_000_000)  # fmt: skip
    out = np.zeros(len(w), LONG)
    out[columns] = unit * (log["v"] - np.mean(log["v"]))
    return out


def _transport(case, u, psi):
    cost = case.space.squares() / (2 * LONG(case.tau))
    start = case.before > 0
    phi = (cost[start] - psi).min(axis=1)
    return case.before[start].astype(LONG) @ phi + separate(case, _plain(case), u, psi)
