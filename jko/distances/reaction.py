r"""Barycentres in the Wasserstein-Fisher-Rao geometry, on the union of the atoms.

In the static form (formula U2) the problem is convex in the measure nu and the plans P_k,

    min sum_k lambda_k [<c, P_k> + KL(P_k 1 | m_k) + KL(P_k' 1 | nu)],

with the dual max sum_k lambda_k <1 - e^{-f_k}, m_k> over f_k(x) + h_k(y) <= c(x, y) and
sum_k lambda_k e^{-h_k} <= 1. Scaling with a falling entropy finds plans, whose cost without it is
the upper bound, and potentials, which a shift of h and a c-transform make feasible for the lower.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

from jko.numerics.best import Best
from jko.numerics.elementary import log_or_minus_inf
from jko.validation import Array

#: Entropies, first and last, in the unit of c.
FIRST = 0.3
LAST = 2e-6


class ReactionBarycentre(NamedTuple):
    """Weights (n,), upper and lower bound of the least value (unit 4/beta taken out), sweeps."""

    weights: Array
    upper: float
    lower: float
    iterations: int


def reaction_barycentre(
    masses: list[Array], cost: Array, lam: Array, tol: float, limit: int
) -> ReactionBarycentre:
    """The barycentre of weights (n,) on common atoms with cost (n, n), +inf beyond the cut.

    Parameters
    ----------
    masses : list of (n,) arrays
    cost : (n, n) array
    lam : (k,) array of sum 1
    tol : float
        On the gap, relative to the mass.
    limit : int
        Sweeps per entropy.
    """
    logs = [log_or_minus_inf(m) for m in masses]
    h = [np.zeros(len(cost)) for _ in masses]
    best: Best[ReactionBarycentre] = Best()
    eps, count, size = FIRST, 0, float(sum(c * m.sum() for c, m in zip(lam, masses, strict=True)))
    while True:
        f, h, log_nu, used = _scaled(logs, cost, lam, h, eps, limit)
        count += used
        lower = _lower(masses, cost, lam, h)
        weights, upper = _upper(masses, cost, lam, f, h, log_nu, eps)
        best.offer(upper - lower, ReactionBarycentre(weights, upper, lower, count))
        if best.found is not None and (best.figure <= tol * size or eps <= LAST):
            return best.found._replace(iterations=count)
        eps = max(0.5 * eps, LAST)


def _scaled(
    logs: list[Array], cost: Array, lam: Array, h: list[Array], eps: float, limit: int
) -> tuple[list[Array], list[Array], Array, int]:
    """Chizat et al. (2018a): potentials eps log a, eps log b, and log nu, at one entropy."""
    kernel = -cost / eps
    share, log_nu = 1 / (1 + eps), np.full(len(cost), -np.inf)
    used = 0
    for _ in range(limit):
        used += 1
        f = [eps * share * (m - _log_sum(kernel, b / eps)) for m, b in zip(logs, h, strict=True)]
        reached = [_log_sum(kernel.T, a / eps) for a in f]
        # nu = (sum lambda s^{eps/(1+eps)})^{(1+eps)/eps}
        powers = [np.log(c) + eps * share * s for c, s in zip(lam, reached, strict=True) if c > 0]
        new = logsumexp(np.array(powers), axis=0) / (eps * share)
        some = new > -np.inf  # where no measure reaches, no mass is put
        h = [eps * share * np.subtract(new, s, out=np.zeros_like(s), where=some) for s in reached]
        change = float(np.abs(np.exp(new) - np.exp(log_nu)).sum())
        log_nu = new
        if change <= 1e-9 * float(np.exp(new).sum()):
            break
    return f, h, log_nu, used


def _log_sum(kernel: Array, potential: Array) -> Array:
    """log sum exp over rows; beyond the cut nothing arrives, though a potential be +inf there."""
    return np.asarray(logsumexp(_plus(kernel, potential, -np.inf), axis=1))


def _plus(values: Array, shift: Array, beyond: float) -> Array:
    """values (n, n) plus shifts (n,), `beyond` where the values are not finite."""
    out = np.full(values.shape, beyond)
    np.add(values, shift, out=out, where=np.isfinite(values))
    return out


def _lower(masses: list[Array], cost: Array, lam: Array, h: list[Array]) -> float:
    """The dual value of potentials h, shifted until sum lambda e^{-h} <= 1 everywhere."""
    level = np.log(np.maximum(sum(c * np.exp(-b) for c, b in zip(lam, h, strict=True)), 1e-300))
    total = 0.0
    for c, m, b in zip(lam, masses, h, strict=True):
        f = _plus(cost, -(b + level), np.inf).min(axis=1)
        total += c * float(-(m[m > 0] @ np.expm1(-f[m > 0])))
    return total


def _upper(
    masses: list[Array], cost: Array, lam: Array, f: list[Array], h: list[Array], log_nu: Array,
    eps: float,
) -> tuple[Array, float]:  # fmt: skip
    """The plans without their entropy, with the measure that is best for them."""
    finite = np.isfinite(cost)
    arrived, paid = [], 0.0
    for c, m, a, b in zip(lam, masses, f, h, strict=True):
        plan = np.zeros(cost.shape)
        some = a > -np.inf
        plan[some] = np.exp(_plus(-cost[some], a[some, None] + b, -np.inf) / eps)
        paid += c * float((plan * np.where(finite, cost, 0.0)).sum())
        paid += c * _kl(plan.sum(axis=1), m)
        arrived.append(plan.sum(axis=0))
    # sum lambda KL(P_k' 1 | nu) is least at the mean of the marginals.
    nu = np.asarray(sum(c * s for c, s in zip(lam, arrived, strict=True)))
    total = paid + sum(c * _kl(s, nu) for c, s in zip(lam, arrived, strict=True))
    return nu, float(total)


def _kl(x: Array, y: Array) -> float:
    """KL(x | y) with the mass terms."""
    on = x > 0
    with np.errstate(divide="ignore"):
        ratio = np.log(x[on] / y[on])
    return float(x[on] @ ratio - x.sum() + y.sum())
