"""The minimum of a sum of convex functions of one weight each, by bisection: primal and dual."""

from __future__ import annotations

import numpy as np

LONG = np.longdouble
#: Logarithms of weights lie between these.
LOW, HIGH = -1500.0, 800.0
HALVINGS = 76


def respond(slope, ceiling, lam):
    """Weights where slope(w) = lam, by bisection in log w; 0 and the ceiling at the ends."""
    n = ceiling.size
    top = np.log(np.minimum(ceiling, np.exp(LONG(HIGH))).astype(LONG) + LONG(0))
    lo, hi = np.full(n, LONG(LOW)), np.where(ceiling > 0, top, LONG(LOW))
    with np.errstate(all="ignore"):
        for _ in range(HALVINGS):
            z = (lo + hi) / 2
            above = ~(slope(np.exp(z)) < lam)
            hi, lo = np.where(above, z, hi), np.where(above, lo, z)
        w = np.exp(lo)
        full = np.where(ceiling > 0, slope(np.exp(top)) < lam, False)
    w = np.where(lo <= LOW + 1e-6, LONG(0), w)
    return np.where(full, ceiling, w)


def minimise(slope, ceiling, mass=None):
    """(weights, multiplier): of mass `mass`, or of any mass (multiplier 0)."""
    from scipy.optimize import brentq

    ceiling = np.asarray(ceiling, dtype=LONG)
    if mass is None:
        return respond(slope, ceiling, LONG(0)), LONG(0)

    def excess(lam):
        total = float(respond(slope, ceiling, LONG(lam)).sum())
        return float(np.clip(np.log(max(total, 1e-300) / mass), -50, 50))

    reach = 1.0
    while excess(-reach) > 0 or excess(reach) < 0:
        reach *= 8
        if reach > 1e25:
            return None, LONG(0)
    # A step function has no root to converge to: the end of the bracket is as good.
    lam, _ = brentq(excess, -reach, reach, xtol=1e-300, rtol=1e-15, maxiter=120,
                    full_output=True, disp=False)  # fmt: skip
    return respond(slope, ceiling, LONG(lam)), LONG(lam)
