"""Double sums of |x - y| on the line, by sorting."""

from __future__ import annotations

import numpy as np

from jko.measures.base import Discrete


def pair_distances(mu: Discrete) -> float:
    """sum over pairs of w_i w_j |x_i - x_j|, on the line."""
    order = np.argsort(mu.points[:, 0], kind="stable")
    x, w = mu.points[order, 0], mu.weights[order]
    total = np.cumsum(w)
    return float((w * (2 * total - w - total[-1])) @ (x - x[0]))


def half_energy_distance(mu: Discrete, nu: Discrete) -> float:
    """1/2 MMD^2 of -|x - y|, on the line: int (F_mu - F_nu)^2 for the distribution functions."""
    x = np.concatenate([mu.points[:, 0], nu.points[:, 0]])
    w = np.concatenate([mu.weights, -nu.weights])
    order = np.argsort(x, kind="stable")
    return float(np.cumsum(w[order])[:-1] ** 2 @ np.diff(x[order]))
