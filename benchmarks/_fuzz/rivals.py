"""Rivals of steps on a fixed support, none of which shares code with the engine.

Bisection atom by atom, a scalar search for spherical steps, SciPy's L-BFGS, Clarabel through
CVXPY, closed forms by mpmath, brute force on two atoms. Each comes with a lower bound of its own
(`_fuzz.duals`), so that it is known how good it is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from _fuzz.duals import lower
from _fuzz.penalties import half_angle
from _fuzz.separable import minimise
from _fuzz.terms import LONG

#: Shares of the problems that slow rivals take part in.
CONIC, DESCENT, BRUTE, EXACT = 0.5, 0.3, 0.5, 0.5


class Rival(NamedTuple):
    """A measure that may be better, and a lower bound of the minimum."""

    name: str
    at: object
    lower: float = -np.inf


def weights(case, rng, answer):
    """The rivals of a step, feasible, with their bounds."""
    mass = case.mass if case.penalty.fixed else None
    chances = rng.random(4)
    found = []
    if case.penalty.rival is not None:
        found.append(("extended precision", case.penalty.rival(case)))
    elif case.closed_form:
        w, _ = minimise(case.slope, case.ceiling, mass)
        found += [] if w is None else [("bisection", w)]
    elif case.label == "SphericalHellinger" and not case.grams():
        found += [("spherical search", w) for w in spherical(case, mass)[-2:]]
    elif chances[0] < CONIC and case.penalty.label != "SphericalHellinger":
        w = clarabel(case)
        found += [] if w is None else [("Clarabel", w)]
    slow = case.closed_form or case.penalty.rival is not None
    if not found or (not slow and chances[1] < DESCENT):
        found.append(("L-BFGS", descend(case, answer, mass)))
    if case.space.size == 2 and case.penalty.rival is None and chances[2] < BRUTE:
        found.append(("brute force", brute(case, mass)))
    if chances[3] < EXACT:
        w = by_mpmath(case)
        found += [] if w is None else [("mpmath", w)]
    held = [(name, feasible(np.asarray(w, float), case.ceiling, mass)) for name, w in found]
    bound = lower(case, answer)
    return [Rival(name, w, max(bound, lower(case, w))) for name, w in held]


def spherical(case, mass):
    """Hellinger steps of a few lengths, one of which is the spherical step (formula H3)."""
    before, found = case.before.astype(LONG), []

    def reply(t):
        def slope(w):
            with np.errstate(all="ignore"):
                pull = np.where(before > 0, 2 * (1 - np.sqrt(before / w)), LONG(2))
            return case.slope(w, with_penalty=False) + pull / LONG(t)

        w, _ = minimise(slope, case.ceiling, mass)
        if w is None:  # a multiplier beyond 1e25
            return 0.0
        found.append(w)
        return case.tau * np.sinc(float(half_angle(w, before)) / np.pi)

    lo, hi = case.tau * 2 / np.pi, case.tau
    t, old = hi, None
    for _ in range(12):
        off = reply(t) - t
        lo, hi = (t, hi) if off > 0 else (lo, t)
        if abs(off) <= 1e-11 * t:
            break
        # The secant through the last two lengths, kept in the bracket.
        new = t + off if old is None else t - off * (t - old[0]) / (off - old[1] or 1.0)
        old, t = (t, off), new if lo < new < hi else (lo + hi) / 2
    return found


def feasible(w, top, mass):
    """Weights within the bounds, of the mass that is asked for."""
    w = np.minimum(np.maximum(w, 0.0), top)
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

    top = case.ceiling

    def weights(z):
        return feasible(np.exp(np.clip(z, -600, 300)), top, mass)

    def value(z):
        found = float(case.objective(weights(z))[0])
        return found if np.isfinite(found) else 1e300

    z = np.log(np.maximum(np.asarray(start, float), case.mass * 1e-18))
    unit = abs(value(z)) or 1.0
    scaled = lambda z: value(z) / unit
    found = minimize(scaled, z, method="L-BFGS-B", options={"maxiter": 60}).x
    return weights(found)


def clarabel(case):
    """The step as a conic program in units of the mass; None where Clarabel finds nothing."""
    import cvxpy as cp

    mass, n = case.mass, case.space.size
    w = cp.Variable(n, nonneg=True)
    bounds = []
    top = case.ceiling / mass
    if np.isfinite(top).any():
        held = np.flatnonzero(np.isfinite(top))
        bounds.append(w[held] <= top[held])
    if case.penalty.fixed:
        bounds.append(cp.sum(w) == 1)
    total = sum(float(c) * t.conic(w, mass) for c, t in case.parts if t.gram is None)
    for scale, gram, centre in case.grams():
        values, vectors = np.linalg.eigh(gram.astype(float))
        root = np.sqrt(np.maximum(values, 0))[:, None] * vectors.T
        away = root @ (w - centre.astype(float) / mass)
        total = total + float(scale) * mass / 2 * cp.sum_squares(away)
    if case.penalty.label == "Wasserstein":
        cost, start = case.space.squares().astype(float), np.flatnonzero(case.before > 0)
        plan = cp.Variable((len(start), n), nonneg=True)
        bounds += [cp.sum(plan, axis=1) == case.before[start] / mass, cp.sum(plan, axis=0) == w]
        total = total + cp.sum(cp.multiply(cost[start] / (2 * case.tau), plan))
    elif case.penalty.gram is None:
        total = total + case.penalty.conic(w, mass) / case.tau
    unit = float(case.objective(case.before)[1]) / mass
    unit = unit if np.isfinite(unit) and unit > 0 else 1.0
    program = cp.Problem(cp.Minimize(total / unit), bounds)
    try:
        program.solve(solver="CLARABEL", max_iter=200, time_limit=10.0)
    except (cp.error.SolverError, ValueError, ArithmeticError):
        return None
    if w.value is None or not np.isfinite(w.value).all():
        return None
    return np.maximum(w.value, 0) * mass


def brute(case, mass):
    """Two atoms: the best of many splits (and totals), ever finer around the best."""
    value = lambda w: float(case.objective(feasible(np.array(w), case.ceiling, mass))[0])
    span = np.linspace(-40, 40, 161)
    if mass is not None:
        best, width = 0.0, 0.5
        split = lambda z: (mass / (1 + np.exp(-z)), mass / (1 + np.exp(z)))
        for _ in range(7):
            grid = best + (span if width == 0.5 else np.linspace(-width, width, 41))
            best = min(grid, key=lambda z: value(split(z)))
            width = width / 8 if width != 0.5 else 0.499
        return np.array(split(best))
    best, width = np.log([case.mass / 2] * 2), 12.0
    for _ in range(9):
        steps = np.linspace(-width, width, 17)
        pairs = [best + np.array([a, b]) for a in steps for b in steps]
        best, width = min(pairs, key=lambda z: value(np.exp(z))), width / 4
    return np.exp(best)


def by_mpmath(case):
    """Closed forms to forty digits where one energy stands alone (formulas H2a, H2b, H2d, H2e)."""
    import mpmath

    if len(case.parts) != 1 or case.penalty.label != "Hellinger free":
        return None
    (c, term), tau = case.parts[0], case.tau
    if term.target is None and term.name != "V":
        return None
    with mpmath.workdps(40):
        t = mpmath.mpf(float(c)) * mpmath.mpf(tau)
        pairs = zip(case.before, term.end if term.name == "V" else term.target, strict=True)
        form = {"V": _well, "phi1": _entropic, "phi0": _inclusive, "phi0.5": _root}.get(term.name)
        if form is None:
            return None
        return np.array([float(form(mpmath.mpf(m), mpmath.mpf(p), t, mpmath)) for m, p in pairs])


def _well(m, v, t, mp):
    return m / (1 + t * v / 2) ** 2


def _entropic(m, p, t, mp):
    if p == 0:
        return mp.mpf(0)
    if m == 0:
        return p * mp.exp(-2 / t)
    # y e^(y / t) = sqrt(m / p) e^(1 / t), y = sqrt(m / w); by Newton's method in log y
    goal = mp.log(m / p) / 2 + 1 / t
    z = goal if goal < 0 else mp.log(t * mp.log(1 + goal) + 1) if goal < 40 else mp.log(t * goal)
    for _ in range(200):
        step = (z + mp.exp(z) / t - goal) / (1 + mp.exp(z) / t)
        z -= step
        if abs(step) < mp.mpf(10) ** -38:
            break
    return m / mp.exp(2 * z)


def _inclusive(m, p, t, mp):
    a = 1 + 2 / t
    return ((2 / t * mp.sqrt(m) + mp.sqrt(4 / t**2 * m + 4 * a * p)) / (2 * a)) ** 2


def _root(m, p, t, mp):
    return ((mp.sqrt(m) + t * mp.sqrt(p)) / (1 + t)) ** 2
