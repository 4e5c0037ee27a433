"""Mixtures of steps at different multipliers that lie in the set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jko.energies.moment import Moment
from jko.measures.base import Discrete, Measure
from jko.solvers.constrained.stated import Solved
from jko.validation import Array

#: Steps that take part, the latest ones.
MOST = 40
#: Share of a mixture below which a step is left out.
LEAST = 1e-15

Parts = tuple[tuple[float, Solved], ...]


def mixture(
    solved: Sequence[Solved], moments: Sequence[Moment], lower: Array, upper: Array
) -> tuple[Parts, Measure] | None:
    """The mixture of least objective in the set: a small linear program over shares.

    Sound where energy and penalty are convex in the weights. None where no mixture is in the set.
    """
    from scipy.optimize import linprog

    kept = list(solved[-MOST:])
    values = np.array([s.moments for s in kept]).T
    costs = np.array([s.objective for s in kept])
    costs = costs - costs.min()
    unit = np.maximum(np.abs(values).max(axis=1), 1e-300)
    rows, ends = [], []
    for j in range(len(moments)):
        for sign, end in ((1.0, upper[j]), (-1.0, -lower[j])):
            if np.isfinite(end):
                rows.append(sign * values[j] / unit[j])
                ends.append(end / unit[j])
    top = float(costs.max())
    found = linprog(
        costs / top if top > 0 else costs, np.array(rows), ends,
        np.ones((1, len(kept))), [1.0], method="highs",
    )  # fmt: skip
    if found.status != 0:
        return None
    shares = np.where(found.x > LEAST, found.x, 0.0)
    shares /= shares.sum()
    parts = tuple((float(a), s) for a, s in zip(shares, kept, strict=True) if a > 0)
    first = parts[0][1].measure
    assert isinstance(first, Discrete)
    measures = [(a, s.measure) for a, s in parts]
    mixed = [a * nu.weights for a, nu in measures if isinstance(nu, Discrete)]
    weights = np.sum(mixed, axis=0)
    return parts, first.with_weights(weights)
