"""How an entropic step chooses its regularisation when the user gives none."""

from __future__ import annotations

import warnings

import numpy as np

from jko.errors import JkoWarning
from jko.measures.base import Discrete
from jko.measures.grid import GridDensity
from jko.prox.problem import ProxProblem
from jko.solvers.grids.resolution import spacing

#: Largest eps of energies with sharp fronts, in squared cells.
FRONT = 8.0
#: Largest eps of debiased steps without an internal energy, in squared cells.
ROUGH = 3.0


def choose_reg(problem: ProxProblem, debias: bool) -> float:
    r"""eps = max(2 h^2, min(tau, v/5)) for debiased steps, min(tau, v/5)/10 inside for plain ones.

    h is the cell side (the median distance to the nearest atom of scattered points) and v the least
    variance of the previous measure. On grids, energies with sharp fronts (powers p > 1 of the
    density and none below) take at most 8 h^2: fronts are blurred by sqrt(eps). Debiased steps of
    kernels alone take at most 3 h^2: nothing but the cells smooths their answer below sqrt(eps),
    and flows of 1/2 MMD^2 on 100 and 200 cells grew clumps from 6 h^2 on (bandwidths 1/4 to 8/5,
    L1 errors two to thirty times those of the time step), none up to 4 h^2. Measured on five
    Ornstein-Uhlenbeck steps on 40 and 80 cells: at eps = 2 h^2 the grid adds 3e-7 to the mean, at
    h^2 1e-4 to 3e-4, at h^2/2 up to 2e-2, at h^2/4 up to 8e-2 (mass is pinned to the cells). The
    debiased step errs by eps^2/(32 v^2) of its displacement: .1 % at v/5. eps <= tau lets mass move
    with r = 2 tau/eps >= 2, in 6 to 20 iterations; from r = 100 on the scaling needs 50 to 200. The
    plain step errs at first order and takes the smaller value.
    """
    previous, tau = problem.discrete, problem.step
    spread = _least_variance(previous)
    natural = tau if spread <= 0 else min(tau, spread / 5)
    needed = 2 * spacing(previous) ** 2
    if isinstance(previous, GridDensity) and problem.form.separable.sharp:
        curved = bool(problem.form.separable.powers)
        natural = min(natural, FRONT * spacing(previous) ** 2) if curved else needed
    elif isinstance(previous, GridDensity) and debias and not problem.form.separable.powers:
        natural = min(natural, ROUGH * spacing(previous) ** 2)
    if not isinstance(previous, GridDensity) and needed > spread > 0:
        warnings.warn(
            f"reg = {needed:.3g}, needed by atoms this far apart, exceeds the variance {spread:.3g}"
            " of the measure: the entropic step is far from the exact one and its bias no estimate;"
            " use jko.solvers.TransportProgram(max_atoms=...), or pass reg=",
            JkoWarning,
            stacklevel=2,
        )
    return max(needed, natural if debias else natural / 10)


def _least_variance(support: Discrete) -> float:
    """Least variance along a principal axis; directions without extent do not count."""
    values = np.linalg.eigvalsh(support.cov)
    extended = values[values > 1e-12 * max(values[-1], 1e-300)]
    return float(extended[0]) if extended.size else 0.0
