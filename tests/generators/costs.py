"""Wasserstein geometries of every kind of cost: powers, a matrix, a function, a graph."""

import numpy as np

from jko import Wasserstein


def geometries(matrix, graph):
    """Powers of the distance; a cost that is not symmetric; city blocks; ways along a graph."""
    return [
        Wasserstein(p=1),
        0.5 * Wasserstein(p=1.5),
        Wasserstein(p=3),
        Wasserstein(cost=matrix),
        3.0 * Wasserstein(cost=lambda x, y: np.abs(x[:, None] - y).sum(-1)),
        Wasserstein(p=1, cost=graph),
    ]
