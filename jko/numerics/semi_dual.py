r"""Entropic transport to a fixed measure, solved again and again for weights that change a little.

For weights w (n,) and t (m,) of mass 1 and costs C (n, m) the potential h of t maximises

    <f(h), w> + <h, t>,   f_i(h) = -reg log sum_j t_j e^{(h_j - C_ij)/reg}.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jko.numerics.elementary import EPS
from jko.numerics.sinkhorn import HALVINGS, LONGEST, NEWTON, entropic_plan
from jko.validation import Array


class Potentials(NamedTuple):
    """The potentials f (n,) and h (m,), rows of the plan over w (n, m), and the dual value."""

    f: Array
    h: Array
    shares: Array
    value: float


def soft_transform(w: Array, t: Array, cost: Array, reg: float, h: Array) -> Potentials:
    """What belongs to any h."""
    work = (h - cost) / reg + np.log(t)
    top = work.max(axis=1)
    with np.errstate(under="ignore"):
        shares = np.exp(work - top[:, None])
    total = shares.sum(axis=1)
    f = -reg * (top + np.log(total))
    return Potentials(f, h, shares / total[:, None], float(f @ w + h @ t))


def potentials(w: Array, t: Array, cost: Array, reg: float, start: Array | None) -> Potentials:
    """Newton's method from a potential (m,), or from a solution of its own where that fails."""
    if start is not None:
        found = _newton(w, t, cost, reg, start)
        if found is not None:
            return found
    reference = np.log(w)[:, None] + np.log(t)
    cold = entropic_plan(w, t, cost, reg, log_reference=reference)
    return soft_transform(w, t, cost, reg, cold.h)


def _newton(
    w: Array, t: Array, cost: Array, reg: float, h: Array, tol: float = 1e-13
) -> Potentials | None:
    """The maximum, t met to `tol` of its mass or to rounding; None where it is not reached."""
    from scipy.linalg import cho_factor, cho_solve

    at, before = soft_transform(w, t, cost, reg, h), np.inf
    for _ in range(NEWTON):
        sums = w @ at.shares
        off = t - sums
        missed = float(np.abs(off).sum())
        if missed <= tol or (missed < 1e3 * tol and missed > 0.5 * before):
            return at
        before = missed
        size = np.sqrt(np.maximum(sums, t))
        scaled = at.shares / size
        matrix = np.outer(size, size) - (scaled.T * w) @ scaled
        matrix[np.diag_indices(t.size)] += sums / size**2 + 16 * EPS
        try:
            move = cho_solve(cho_factor(matrix), off / size) / size
        except (np.linalg.LinAlgError, ValueError):
            return None
        found = _along(w, t, cost, reg, (at, move, off))
        if found is None:
            return None
        at = found
    return None


def _along(
    w: Array, t: Array, cost: Array, reg: float, step: tuple[Potentials, Array, Array]
) -> Potentials | None:
    """The step, halved until it ascends as it promises."""
    at, move, off = step
    promise, length = float(off @ move), min(1.0, LONGEST / float(np.abs(move).max()))
    rounding = 64 * EPS * (abs(at.value) + reg)
    for _ in range(HALVINGS):
        trial = soft_transform(w, t, cost, reg, at.h + length * reg * move)
        if trial.value >= at.value + 1e-4 * length * reg * promise - rounding:
            return trial
        length /= 2
    return None
