r"""Douglas-Rachford splitting between the cells' proximal maps and the continuity equation.

Z <- Z + 1.8 (K project(2 V - Z) - V) with V = prox(Z), the state being (r, Y, e). The weights of
the metric follow the problem's own scales: of Y that of 1/density, of r that of the action rate
over a density, of e a share of that of r.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jko.solvers.dynamic.problem import DynamicProblem
from jko.solvers.dynamic.projection import Projected, Projection, Weights
from jko.solvers.dynamic.prox import action_prox, local_prox
from jko.validation import Array

#: Over-relaxation.
RELAX = 1.8
#: Weights of r and Y over their natural scales, of e over that of r: measured on 32^2 x 16 and
#: 64^2 x 32 (bump, split, discs, obstacle); a factor 2 either way costs up to twice the steps.
WEIGHT_R = 1.0
WEIGHT_Y = 2.0
WEIGHT_E = 0.3
#: Weight of a free end over that of r times the slices.
END = 10.0
#: The first two, and the last, for steps: a free end without running costs, whose multipliers reach
#: far into empty cells; measured on 16^2 cells with porous medium, potential and entropy.
STEP_R = 30.0
STEP_Y = 10.0
STEP_END = 100.0


class State(NamedTuple):
    """(r, Y, e): averages per slice, both copies of the fluxes (and sources), densities."""

    r: Array
    y: Array
    e: Array


class Scales(NamedTuple):
    """Typical density along the path, of all cells or of each, and action per mass and time."""

    density: float | Array
    speed: float


class Splitting:
    """The iteration with its state."""

    def __init__(self, problem: DynamicProblem, scales: Scales, state: State | None = None) -> None:
        self.problem, self.scales = problem, scales
        self.weights = _weights(problem, scales)
        self.projection = Projection(problem, self.weights)
        self.z = still(problem) if state is None else state
        self.v = self.z
        self.last: Projected | None = None
        self.iterations = 0

    def run(self, steps: int) -> None:
        """Iterate."""
        for _ in range(steps):
            z, v = self.z, self._prox(self.z)
            found = self.projection(2 * v.r - z.r, 2 * v.y - z.y, 2 * v.e - z.e)
            self.v, self.last = v, found
            self.duals = self.weights.y * (z.y - v.y)
            parts = zip(z, (found.r, found.y, found.rho), v, strict=True)
            self.z = State(*[a + RELAX * (b - c) for a, b, c in parts])
        self.iterations += steps

    def _prox(self, z: State) -> State:
        problem, weights, opened = self.problem, self.weights, self.problem.cells.opened
        r, y = action_prox(z.r, z.y, weights.r, weights.y, problem.metric.p)
        e = np.maximum(z.e, 0.0)
        stop = problem.slices - 1
        # Costs are those of the problem over tau, as the multipliers are.
        if problem.running is not None:
            for k in range(stop):
                flat = local_prox(problem.running, z.e[k].ravel(), 1.0, weights.e[k].ravel())
                e[k] = flat.reshape(e[k].shape)
        if problem.last is not None:
            scale, weight = 1 / problem.tau, weights.e[-1].ravel()
            e[-1] = local_prox(problem.last, z.e[-1].ravel(), scale, weight).reshape(e[-1].shape)
        if not problem.cells.plain:
            r, y, e = r * opened, y * opened, e * opened
        return State(r, y, e)

    def rescaled(self, scales: Scales) -> Splitting:
        """The same iterate under weights for other scales: multipliers and values stay."""
        new = Splitting(self.problem, scales, self.z)
        fr, fy = self.weights.r / new.weights.r, self.weights.y / new.weights.y
        fe = _filled(self.weights.e, self.problem) / _filled(new.weights.e, self.problem)
        z, v = self.z, self.v
        new.z = State(v.r + fr * (z.r - v.r), v.y + fy * (z.y - v.y), v.e + fe * (z.e - v.e))
        new.iterations = self.iterations
        return new


def _weights(problem: DynamicProblem, scales: Scales) -> Weights:
    p, free = problem.metric.p, problem.end is None and problem.running is None
    # A step moves mass by twice its width at most; longer paths to a free end are as others.
    far = scales.speed * problem.metric.alpha * problem.duration**2
    step = free and far <= 4 * problem.width
    # Half of both where every cell has a density of its own: 64^2 x 32 and 128^2 x 32 round an
    # obstacle; all of it takes twice the steps.
    local = 0.5 if isinstance(scales.density, np.ndarray) else 1.0
    # Powers above 2 want more of both, 3 at p = 3 (1 takes twice the steps), 25 at p = 4 (5 misses
    # 1e-3 after 3000 steps on 128 x 32); more was not measured.
    local *= min(max(1.0, 2 * p - 3) ** max(p - 2, 0.0), 25.0)
    r = local * (STEP_R if step else WEIGHT_R) * scales.speed / scales.density
    y = local * (STEP_Y if step else WEIGHT_Y) * scales.speed ** ((p - 2) / p) / scales.density
    share = np.full(problem.unknown, WEIGHT_E)
    if problem.end is None:
        # Potentials alone pull mass together without resistance: a tenth, 680 steps for thousands.
        flat = problem.last is None or not problem.last.powers
        share[-1] = (STEP_END if step else 0.1 * END if flat else END) * problem.slices
    return Weights(r, y, share)


def _filled(values: Array, problem: DynamicProblem) -> Array:
    """Weights with one axis for each of the grid's."""
    return values.reshape(*values.shape, *(1,) * (problem.cells.dim + 1 - values.ndim))


def _column(values: Array, problem: DynamicProblem) -> Array:
    return values.reshape(-1, *(1,) * problem.cells.dim)


def still(problem: DynamicProblem) -> State:
    """The straight mixture of the ends, or the start throughout, without fluxes."""
    end = problem.start if problem.end is None else problem.end
    t = _column(np.arange(1, problem.unknown + 1) / problem.slices, problem)
    e = (1 - t) * problem.start + t * end
    full = problem.full(e)
    parts = 2 * problem.cells.dim + (problem.metric.beta > 0)
    y = np.zeros((parts, problem.slices, *problem.cells.shape))
    return State(0.5 * (full[1:] + full[:-1]), y, e)
