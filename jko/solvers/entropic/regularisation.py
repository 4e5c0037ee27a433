"""How an entropic step chooses its regularisation when the user gives none."""

from __future__ import annotations

import numpy as np

from jko.measures.base import Discrete
from jko.measures.grid import GridDensity
from jko.prox.problem import ProxProblem
from jko.solvers.grids.resolution import (
    diffusivity,
    spacing,
    squared_drift,
    squared_widths,
)
from jko.validation import Array
from jko.warned import caution

#: Largest eps of energies with sharp fronts, in squared cells.
FRONT = 8.0
#: Largest eps of debiased steps without an internal energy, in squared cells.
ROUGH = 3.0
#: Least eps, before the cells have their say, as a share of the squared way by diffusion.
SHARE = 0.04
#: Share of the squared speed of a step below which an axis does not matter to its regularisation.
MINOR = 0.05
#: A dense kernel keeps up to six (n, n) matrices: 134 MB each at this size.
DENSE_LIMIT = 4096
#: How often a regularisation is lowered for an accuracy.
LOWERED = 5


def choose_reg(problem: ProxProblem, debias: bool) -> float:
    r"""eps of a step: what the cells resolve, and no more than its widths allow (formula B4).

    With the least squared width v of the pieces of the previous measure, each axis in its own unit
    (`jko.solvers.grids.resolution.squared_widths`; the least variance of scattered atoms), and the
    square of the way by diffusion D = step w h''(w), eps = min(D, max(v/5, D/25)) for debiased
    steps, a tenth of it for plain ones, and at least 2 h^2. A Dirac has no width, and D sets the
    scale: there the debiased step is off by eps/(4 D) of its variance, 1 % at D/25.

    On grids, energies with sharp fronts (powers p > 1 of the density and none below) take 8 h^2,
    or a fifth of the least variance: fronts are blurred by sqrt(eps). Debiased steps of
    kernels alone take at most 3 h^2: nothing but the cells smooths their answer below sqrt(eps),
    and flows of 1/2 MMD^2 on 100 and 200 cells grew clumps from 6 h^2 on (bandwidths 1/4 to 8/5,
    L1 errors two to thirty times those of the time step), none up to 4 h^2. Measured on five
    Ornstein-Uhlenbeck steps on 40 and 80 cells: at eps = 2 h^2 the grid adds 3e-7 to the mean, at
    h^2 1e-4 to 3e-4, at h^2/2 up to 2e-2, at h^2/4 up to 8e-2 (mass is pinned to the cells). The
    debiased step errs by eps^2/(32 v^2) of its displacement: .1 % at v/5. eps <= D lets mass move
    with r = 2 tau/eps >= 2, in 6 to 20 iterations; from r = 100 on the scaling needs 50 to 200. The
    plain step errs at first order and takes the smaller value.
    """
    previous, h = problem.discrete, problem.form.separable
    grid = isinstance(previous, GridDensity)
    squares = squared_widths(previous) if isinstance(previous, GridDensity) else None
    width = _least_variance(previous) if squares is None else float(squares.min())
    pace = diffusivity(problem) if h.powers or squares is not None else np.inf
    way = problem.step * pace if h.powers else np.inf
    natural = min(way, max(width / 5, SHARE * way if np.isfinite(way) else 0.0))
    if not np.isfinite(natural):
        natural = _least_variance(previous) / 5
    needed = 2 * spacing(previous) ** 2
    if isinstance(previous, GridDensity) and squares is not None:
        needed = resolved(problem, previous, squares, pace)
    if grid and h.sharp:
        natural = min(FRONT / 2 * needed, _least_variance(previous) / 5) if h.powers else needed
    elif grid and debias and not h.powers:
        natural = min(natural, ROUGH / 2 * needed)
    if not grid and needed > width > 0:
        caution(
            f"reg = {needed:.3g}, needed by atoms this far apart, exceeds the variance {width:.3g}"
            " of the measure: the entropic step is far from the exact one, as its bias says;"
            " use jko.solvers.TransportProgram(max_atoms=...), or pass reg=",
        )
    chosen = max(needed, natural if debias else natural / 10)
    return chosen if chosen > 0 else 2 * problem.step  # one place alone: nothing depends on it


def resolved(problem: ProxProblem, mu: GridDensity, widths: Array, pace: float) -> float:
    """Least eps that the cells resolve: 2 h^2 along the axes that matter.

    `widths` are the squared widths along the axes, `pace` is the diffusivity.

    An axis along which less than MINOR of the step's speed goes may be pinned to its cells rather
    than have them blur the others: it takes h^2/2, or the least squared width if that is less.
    """
    squares = mu.grid.spacing**2
    with np.errstate(over="ignore"):  # a target of 1e-300 makes the diffusivity huge
        speed = np.square(pace) / widths + squared_drift(problem)
    several = np.asarray(mu.grid.shape) > 1
    matters = several & (speed >= MINOR * speed.max())
    least = 2 * float(squares[matters].max(initial=0.0))
    minor = squares[several & ~matters]
    return max(least, min(0.5 * float(minor.max(initial=0.0)), float(widths.min())))


def _least_variance(support: Discrete) -> float:
    """Least variance along a principal axis; directions without extent do not count."""
    values = np.linalg.eigvalsh(_turned(support).cov)
    extended = values[values > 1e-12 * max(values[-1], 1e-300)]
    return float(extended[0]) if extended.size else 0.0


def _turned(support: Discrete) -> Discrete:
    """The measure with periodic axes cut opposite its mean direction, where it is lightest."""
    if not isinstance(support, GridDensity) or not any(support.grid.periodic):
        return support
    w = support.weights.reshape(support.grid.shape)
    for axis, n in enumerate(w.shape):
        if support.grid.periodic[axis]:
            others = tuple(k for k in range(w.ndim) if k != axis)
            turns = np.exp(2j * np.pi * np.arange(n) / n) @ w.sum(axis=others)
            w = np.roll(w, n // 2 - round(float(np.angle(turns)) * n / (2 * np.pi)), axis)
    return support.with_weights(w.ravel())
