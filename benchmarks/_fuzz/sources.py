"""Transport with sources between few atoms in extended precision: the definition, and a rival.

With c = -2 log cos(delta) (formula U2) and lam = 2 / (beta tau) a step minimises

    F(w) + lam [KL(g1 | w) + KL(g2 | m) + <c, g>]    over weights w and plans g >= 0.

Newton's method follows the products g (c - f - h) = t, w p = t, (top - w) q = t as t falls.
"""

from __future__ import annotations

import numpy as np

from _fuzz.terms import LONG

#: Atoms below this share of the mass pay their own mass and no more.
NOTHING = 1e-40
STEPS = 200


def costs(points, alpha, beta):
    """c between all atoms (n, n), inf from the cut on."""
    x = points.astype(LONG)
    delta = np.sqrt(((x[:, None] - x) ** 2).sum(axis=2) * LONG(beta) / (4 * LONG(alpha)))
    half = np.pi * LONG(1) / 2
    with np.errstate(all="ignore"):
        return np.where(delta < half, -2 * np.log(np.cos(np.minimum(delta, half))), np.inf)


def divergence(a, b):
    """KL(a | b) with the mass terms."""
    with np.errstate(all="ignore"):
        return np.where(a > 0, a * np.log(a / b), 0) - a + b


def paid(w, m, c):
    """The least KL(g1 | w) + KL(g2 | m) + <c, g>, and how far a feasible dual is below it."""
    mass = w.sum() + m.sum()
    rows, columns = np.flatnonzero(w > NOTHING * mass), np.flatnonzero(m > NOTHING * mass)
    rest = w.sum() - w[rows].sum() + m.sum() - m[columns].sum()
    if not (rows.size and columns.size):  # one side is next to nothing: hardly any is carried
        return w.sum() + m.sum(), 2 * np.sqrt(w.sum() * m.sum())
    part = c[np.ix_(rows, columns)]
    a, b = w[rows], m[columns]
    _, g, f, h = follow(b, part, a)
    upper = divergence(g.sum(axis=1), a).sum() + divergence(g.sum(axis=0), b).sum()
    upper += np.where(g > 0, g * np.where(np.isfinite(part), part, 0), 0).sum()
    with np.errstate(all="ignore"):
        f = (part - h).min(axis=1)
        h = np.where(np.isfinite(part).any(axis=0), h, np.inf)
        lower = -(a * np.expm1(-f)).sum() - (b * np.expm1(-h)).sum()
    return rest + upper, upper - lower


def below(w, m, c, lam):
    """(potential, constant): lam times the cost of any v is at least constant + potential' v.

    Of any h, f = min (c - h) is feasible, and sum v (1 - e^-f) + sum m (1 - e^-h) a lower bound.
    """
    mass = w.sum() + m.sum()
    rows, columns = np.flatnonzero(w > NOTHING * mass), np.flatnonzero(m > NOTHING * mass)
    if not (rows.size and columns.size):
        return 0 * w, LONG(0)
    *_, h = follow(m[columns].astype(LONG), c[np.ix_(rows, columns)], w[rows])
    part = c[:, columns]
    f = (part - h).min(axis=1)
    h = np.where(np.isfinite(part[rows]).any(axis=0), h, (part - f[:, None]).min(axis=0))
    return -lam * np.expm1(-f), -lam * (m[columns] * np.expm1(-h)).sum()


def rival(case, alpha, beta, lam):
    """Weights of the step itself, by the same path over weights and plan."""
    m = case.before.astype(LONG)
    top = np.minimum(case.ceiling, np.inf) + np.zeros(m.size)
    rows = np.flatnonzero(top > 0)
    columns = np.flatnonzero(m > NOTHING * m.sum())
    c = costs(case.space.points, alpha, beta)[np.ix_(rows, columns)]

    def slope(v):
        w = np.zeros(m.size, dtype=LONG)
        w[rows] = v
        out = case.slope(w, with_penalty=False) + 0 * w
        for scale, gram, centre in case.grams():
            out = out + scale * gram @ (w - centre)
        return out[rows] / lam

    def bend(v):
        w, e = np.zeros(m.size, dtype=LONG), LONG(1e-9)
        w[rows] = v
        at = case.slope(w, with_penalty=False) + 0 * w
        up = case.slope(w * (1 + e), with_penalty=False) + 0 * w
        out = np.diag((up - at)[rows] / (e * v))
        for scale, gram, _ in case.grams():
            out = out + scale * gram[np.ix_(rows, rows)]
        return out / lam

    start = np.maximum(m[rows], 1e-2 * m.sum() / rows.size)
    found, *_ = follow(
        m[columns], c, None, np.minimum(start, top[rows] / 2), slope, bend, top[rows]
    )
    w = np.zeros(m.size)
    w[rows] = found
    return w


def follow(m, c, fixed, start=None, slope=None, bend=None, top=None):
    """(w, g, f, h) at the end of the path; weights are given or follow it too."""
    free, near = fixed is None, np.isfinite(c)
    w = (start if free else fixed).astype(LONG)
    n, k = c.shape
    bounded = np.isfinite(top) if free else np.zeros(n, dtype=bool)
    c = np.where(near, c, LONG(1))
    rows, columns = near.any(axis=1), near.any(axis=0)
    low = np.where(near, c, np.inf)
    f = np.where(rows, low.min(axis=1, initial=np.inf) / 2 - 1, LONG(0)).astype(LONG)
    h = np.where(columns, low.min(axis=0, initial=np.inf) / 2 - 1, LONG(0)).astype(LONG)
    mass = w.sum() + m.sum()
    t = mass / (n * k + n)
    g = np.where(near, t / (c - f[:, None] - h), LONG(0))
    p, room = t / w, (top - w) if free else np.ones(n, dtype=LONG)
    q = np.where(bounded, t / np.where(bounded, room, 1), LONG(0))
    best, idle = (LONG(np.inf), (w, g, f, h)), 0
    for _ in range(STEPS):
        s = np.where(near, c - f[:, None] - h, LONG(1))
        pull = np.where(rows, np.exp(-f), LONG(0))
        give = np.where(columns, m * np.exp(-h), LONG(0))
        count = near.sum() + (n + bounded.sum() if free else 0)
        size = (g * s)[near].sum() + ((w * p).sum() + (q * room)[bounded].sum() if free else 0)
        off = missed(np.where(rows, w * pull, 0), g.sum(axis=1))
        off += missed(give, g.sum(axis=0))
        if not count:
            break
        if size + off < best[0]:
            best, idle = (size + off, (w, g, f, h)), 0
        idle += 1
        if idle > 15 or not (s[near] > 0).all():
            break
        t = max(LONG(0.15) * size / count, min(off, size) * LONG(1e-3) / count)
        t = max(t, LONG(1e-19) * mass / count)  # in the end the marginals catch up
        push, ratio = np.where(near, t / s, 0), np.where(near, g / s, 0)
        system = np.zeros((2 * n + k, 2 * n + k), dtype=LONG)
        right = np.zeros(2 * n + k, dtype=LONG)
        W, F, H = np.arange(n), n + np.arange(n), 2 * n + np.arange(k)
        if free:
            system[np.ix_(W, W)] = bend(w) + np.diag(p / w + np.where(bounded, q / room, 0))
            right[W] = -(slope(w) + 1 - pull - t / w + np.where(bounded, t / room, 0))
        else:
            system[W, W] = 1
        system[W, F] += pull if free else 0
        system[F, W] = -pull if free else 0
        system[F, F] = np.where(rows, w * pull, 1) + ratio.sum(axis=1)
        system[np.ix_(F, H)] = ratio
        system[np.ix_(H, F)] = ratio.T
        system[H, H] = np.where(columns, give, 1) + ratio.sum(axis=0)
        right[F] = np.where(rows, w * pull, 0) - push.sum(axis=1)
        right[H] = give - push.sum(axis=0)
        move = eliminate(system, right)
        dw, df, dh = (move[W] if free else 0 * w), move[F], move[H]
        ds = -df[:, None] - dh
        dg = np.where(near, push - g - ratio * ds, 0)
        length = min(LONG(1), 2 / max(np.abs(df).max(), np.abs(dh).max(), LONG(1e-30)))
        pairs = [(g[near], dg[near]), (s[near], ds[near])]
        if free:
            dp = t / w - p - p / w * dw
            dq = np.where(bounded, t / room - q + q / room * dw, 0)
            pairs += [(w, dw), (p, dp), (room[bounded], -dw[bounded]), (q[bounded], dq[bounded])]
        for value, change in pairs:
            falling = change < 0
            if falling.any():
                reach = (value[falling] / -change[falling]).min()
                length = min(length, LONG(0.95) * reach)
        f, h, g = f + length * df, h + length * dh, np.where(near, g + length * dg, 0)
        if free:
            w, p, q = w + length * dw, p + length * dp, q + length * dq
            room = top - w
    return best[1]


def missed(a, b):
    """How far two marginals are apart, to second order."""
    return ((a - b) ** 2 / np.maximum(np.maximum(a, b), np.finfo(LONG).tiny)).sum()


def eliminate(matrix, right):
    """Gauss with pivots, in the precision of its arguments."""
    a, b = matrix.copy(), right.copy()
    n = b.size
    for k in range(n):
        i = k + int(np.abs(a[k:, k]).argmax())
        if i != k:
            a[[k, i]], b[[k, i]] = a[[i, k]], b[[i, k]]
        factor = a[k + 1 :, k] / a[k, k]
        a[k + 1 :, k:] -= factor[:, None] * a[k, k:]
        b[k + 1 :] -= factor * b[k]
    for k in reversed(range(n)):
        b[k] = (b[k] - a[k, k + 1 :] @ b[k + 1 :]) / a[k, k]
    return b
