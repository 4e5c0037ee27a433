"""Whether any measure on R^d satisfies moment constraints, by points all over the space."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jko.energies.moment import Moment
from jko.measures.gaussian import Gaussian
from jko.validation import Array

#: Share of a moment's size by which the constraints must be missed.
MISSED = 1e-6


def impossible(mu: Gaussian, moments: Sequence[Moment]) -> str | None:
    """Why no measure meets the constraints; None where one does, or none was seen not to.

    Farkas' lemma: where a combination sum y_j f_j is everywhere larger than the bounds permit, no
    measure of that mass is in the set, a Gaussian least of all. The combination comes from a linear
    program on points all over the space, to which those where it is least, by descent, are added.
    """
    if all(m.value(mu) == 0 for m in moments):
        return None
    points = _spread_out(mu)
    for _ in range(6):  # each adds the points where the combination found is least
        values = np.stack([_at(m, points) for m in moments])
        kept = np.isfinite(values).all(axis=0)
        points, values = points[kept], values[:, kept]
        if not points.size:
            return None
        y = _combination(values, mu, moments)
        if y is None:
            return None
        ends = np.array([m.upper if c > 0 else m.lower for c, m in zip(y, moments, strict=True)])
        allowed = float(y[y != 0] @ ends[y != 0])
        least = mu.mass * float((y @ values).min())
        size = sum(abs(c) * m.size(mu) for c, m in zip(y, moments, strict=True))
        if not least > allowed + MISSED * size:
            return None
        lower = _descents(mu, moments, y, points[np.argsort(y @ values)[:3]])
        below = [x for x, value in lower if mu.mass * value < least - MISSED * size]
        if not below:
            shown = " + ".join(f"{c:.4g} * {m!r}" for c, m in zip(y, moments, strict=True) if c)
            return (
                f"no measure meets the constraints: the moments combined as {shown} come to at"
                f" least {least:.6g} wherever f was evaluated ({len(points)} points), and their"
                f" bounds allow at most {allowed:.6g}; drop or relax one of them"
            )
        points = np.concatenate([points, np.array(below)])
    return None


def _spread_out(mu: Gaussian) -> Array:
    """The mean, points up to 1e8 deviations away along axes and random directions, and a cloud."""
    rng = np.random.default_rng(0)
    eye, random = np.eye(mu.dim), rng.normal(size=(40, mu.dim))
    ways = np.concatenate([eye, -eye, random / np.linalg.norm(random, axis=1, keepdims=True)])
    along = (np.logspace(-2, 8, 31)[:, None, None] * ways).reshape(-1, mu.dim)
    cloud = rng.normal(size=(400, mu.dim)) * rng.choice([0.3, 1.0, 3.0, 10.0], (400, 1))
    u = np.concatenate([np.zeros((1, mu.dim)), along, cloud])
    return np.asarray(mu.mean + u @ np.linalg.cholesky(mu.cov).T, dtype=float)


def _at(m: Moment, x: Array) -> Array:
    """f at points (n, d), overflow included."""
    (field,) = m.potential.gaussian_form().fields
    with np.errstate(all="ignore"):
        return np.asarray(field.value(x), dtype=float).reshape(len(x))


def _combination(values: Array, mu: Gaussian, moments: Sequence[Moment]) -> Array | None:
    """Multipliers of the least violation that weights on the points can have; None where it is 0.

    Columns are scaled: far points stand for directions in which moments grow without bound.
    """
    from scipy.optimize import linprog

    unit = np.array([m.size(mu) or 1.0 for m in moments])
    column = np.maximum(1.0, np.abs(values / unit[:, None]).max(axis=0))
    rows, bounds, owners = [], [], []
    for j, m in enumerate(moments):
        for sign, end in ((1.0, m.upper), (-1.0, -m.lower)):
            if np.isfinite(end):
                rows.append(sign * values[j] / (unit[j] * column))
                bounds.append(end / unit[j])
                owners.append(sign * np.eye(len(moments))[j] / unit[j])
    n = values.shape[1]
    matrix = np.hstack([np.array(rows), -np.ones((len(rows), 1))])
    found = linprog(
        np.append(np.zeros(n), 1.0), matrix, bounds, np.append(1 / column, 0.0)[None], [mu.mass],
        method="highs",
    )  # fmt: skip
    if found.status != 0 or found.fun <= MISSED:
        return None
    y = -np.asarray(found.ineqlin.marginals) @ np.array(owners)
    y = np.where(np.abs(y * unit) < MISSED * np.abs(y * unit).max(), 0.0, y)
    return np.asarray(y / np.abs(y).max())


def _descents(
    mu: Gaussian, moments: Sequence[Moment], y: Array, starts: Array
) -> list[tuple[Array, float]]:
    """Where the combination is least near the starts, and its values there."""
    from scipy.optimize import minimize

    root = np.linalg.cholesky(mu.cov)

    def combined(u: Array) -> float:
        x = (mu.mean + root @ u)[None]
        return float(sum(c * _at(m, x)[0] for c, m in zip(y, moments, strict=True) if c))

    out = []
    for x in starts:
        found = minimize(
            combined, np.linalg.solve(root, x - mu.mean), method="L-BFGS-B",
            options={"maxiter": 50},
        )  # fmt: skip
        if np.isfinite(found.fun):
            out.append((np.asarray(mu.mean + root @ found.x), float(found.fun)))
    return out
