r"""Weights that give particles the moments of a long history: minimum chi-square."""

from __future__ import annotations

import numpy as np

from jko.markov.resampling import effective_size
from jko.validation import Array

#: Particles per constraint below which no second moments are asked for.
ENOUGH = 5
#: Weights may cost this share of the effective sample size at most.
LEAST = 0.5


def moment_weights(values: Array, mean: Array, variance: Array) -> tuple[Array, str]:
    """Weights (n,) of sum 1 under which values (n, k) have this mean (k,) and variance (k,).

    They minimise sum (n w_i - 1)^2 over w >= 0. Where n is too small, or the effective sample size
    would fall under `LEAST` n, only the means are matched, then nothing; the second value says
    which of "mean and variance", "mean", "nothing" was matched.
    """
    n = len(values)
    uniform = np.full(n, 1.0 / n)
    spread = np.sqrt(variance)
    moving = spread > 1e-12 * (1 + np.abs(mean))
    first = (values[:, moving] - mean[moving]) / spread[moving]
    for name, features in (
        ("mean and variance", np.hstack([first, first**2 - 1])),
        ("mean", first),
    ):
        if n < ENOUGH * features.shape[1] or features.shape[1] == 0:
            continue
        weights = project(features)
        if weights is not None and effective_size(weights) >= LEAST * n:
            return weights, name
    return uniform, "nothing"


def project(features: Array, tol: float = 1e-10) -> Array | None:
    r"""argmin sum (n w_i - 1)^2 over w >= 0, sum w = 1, sum w_i features_i = 0; None if infeasible.

    The minimiser is w_i = (1 + features_i . lam + nu)_+ / n; Newton's method finds the
    multipliers: the active set of a piecewise linear equation.
    """
    n = len(features)
    table = np.column_stack([np.ones(n), features])
    goal = np.zeros(table.shape[1])
    goal[0] = 1.0
    multipliers = goal.copy()

    def defect(m: Array) -> tuple[Array, Array]:
        weights = np.maximum(table @ m, 0.0) / n
        return weights, table.T @ weights - goal

    weights, off = defect(multipliers)
    for _ in range(50):
        if np.abs(off).max() <= tol:
            return np.asarray(weights / weights.sum())
        active = table[weights > 0]
        hessian = active.T @ active / n
        hessian[np.diag_indices(len(hessian))] += 1e-12 * np.trace(hessian) / len(hessian)
        step = np.linalg.solve(hessian, -off)
        size = 1.0
        while size > 1e-6:
            trial, left = defect(multipliers + size * step)
            if np.linalg.norm(left) < (1 - 1e-4 * size) * np.linalg.norm(off):
                break
            size /= 2
        else:
            return None
        multipliers, weights, off = multipliers + size * step, trial, left
    return None
