"""The regularisation of steps with sources."""

from __future__ import annotations

import numpy as np

from jko.geometries.base import Geometry
from jko.geometries.unbalanced import WassersteinFisherRao
from jko.measures.grid import GridDensity
from jko.prox.problem import ProxProblem
from jko.solvers.grids.resolution import diffusivity
from jko.validation import Array


def choose_reg(problem: ProxProblem) -> float:
    """eps for a blur of 1.2 spacings of the support (at most .02), not below beta tau / 10.

    Below the first the kernel does not resolve displacements under a spacing (the unregularised
    step on a grid does not either); the cap keeps the blur under a fifteenth of the cut. The second
    balances the iteration, whose rate is |s - 1|/(s + 1) with s = eps/(beta tau w F''(w)), where
    w F'' = 1 for KL; the bias O(eps^2) stays far below the time error of the step.
    """
    geometry, previous = problem.geometry, problem.discrete
    assert isinstance(geometry, WassersteinFisherRao)
    if isinstance(previous, GridDensity):
        square = float((previous.grid.spacing**2).max())
    else:
        from scipy.spatial import cKDTree

        x = previous.points
        near = cKDTree(x).query(x, k=min(2, len(x)))[0].reshape(len(x), -1)[:, -1]
        square = float(np.median(near) ** 2)
    resolved = min(0.72 * square * geometry.beta / geometry.alpha, 0.02)
    w, pace = previous.weights, diffusivity(problem)
    for term in problem.form.quadratics:
        pace += term.scale * float(w**2 @ term.operator.diagonal()) / previous.mass
    return min(max(resolved, 0.1 * geometry.beta * problem.step * pace, 1e-6), 0.2)


def unlocking(geometry: Geometry, spacing: Array) -> Array:
    """The least eps whose squared blur is half a squared cell, along each axis: mass gets out."""
    assert isinstance(geometry, WassersteinFisherRao)
    return np.asarray(0.25 * spacing**2 * geometry.beta / geometry.alpha)
