"""Newton's method with a Hessian by differences, for the end of small, badly scaled descents."""

from __future__ import annotations

import numpy as np

from jko.numerics.lbfgs import ROUNDING, QuasiNewtonRun, Smooth, safe_value
from jko.validation import Array

#: Unknowns up to which the Hessian is formed: as many gradients as unknowns an iteration.
SMALL = 512
#: Length of a difference, relative to the unknown; to what rounding is relative to; and to the
#: largest unknown, where that is longer.
DIFFERENCE = 1e-6
ABOVE_ROUNDING = 1e-9
LEAST_DIFFERENCE = 1e-12
#: Least curvature that a direction is given, relative to the largest one.
FLAT = 1e-14
#: Newton steps: where the curvature vanishes with the slope (x^4) each gains a factor 1.5.
MAX_NEWTON = 60
#: Halvings of a step.
MAX_HALVINGS = 30


def finish(problem: Smooth, run: QuasiNewtonRun, tol: float, sizes: Array) -> QuasiNewtonRun:
    """Newton steps from where a descent stopped until the residual is met or no step helps.

    Directions of negative curvature are turned round, so that each step goes downhill; a step must
    lower the objective, or the slope where rounding hides the objective. `sizes` (m,) are what the
    rounding of each unknown is relative to.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(MAX_NEWTON):
            figure = problem.residual(run.point, run.slope)
            if figure <= tol or not np.isfinite(figure):
                break
            direction = _direction(_hessian(problem, run, sizes), run.slope)
            if not _move(problem, run, direction):
                break
            run.iterations += 1
    return run


def _hessian(problem: Smooth, run: QuasiNewtonRun, sizes: Array) -> Array:
    """Central differences of the slope, symmetrised."""
    y = run.point
    lengths = np.maximum(DIFFERENCE * np.abs(y), LEAST_DIFFERENCE * np.abs(y).max(initial=0.0))
    lengths = np.maximum(lengths, ABOVE_ROUNDING * sizes)
    lengths = np.where(lengths > 0, lengths, DIFFERENCE)
    rows = np.empty((y.size, y.size))
    for k, h in enumerate(lengths):
        ahead, behind = y.copy(), y.copy()
        ahead[k] += h
        behind[k] -= h
        rows[k] = (problem.slope(ahead) - problem.slope(behind)) / (ahead[k] - behind[k])
    run.evaluations += 2 * y.size
    return (rows + rows.T) / 2


def _direction(hessian: Array, slope: Array) -> Array:
    """-|H|^-1 slope, in unknowns of their own scale: curvatures differ by many orders."""
    if not np.isfinite(hessian).all():
        return -slope
    diagonal = np.abs(np.diag(hessian))
    scale = 1 / np.sqrt(np.maximum(diagonal, FLAT * diagonal.max() or 1.0))
    values, basis = np.linalg.eigh(hessian * scale * scale[:, None])
    size = np.maximum(np.abs(values), FLAT * np.abs(values).max())
    return np.asarray(-scale * (basis @ ((basis.T @ (scale * slope)) / size)))


def _move(problem: Smooth, run: QuasiNewtonRun, direction: Array) -> bool:
    """Take the longest of the halved steps that helps; False where none does."""
    down = float(run.slope @ direction)
    if not down < 0:
        return False
    t = 1.0
    for _ in range(MAX_HALVINGS):
        point = run.point + t * direction
        value = safe_value(problem, point)
        run.evaluations += 1
        hidden = abs(value - run.objective) <= ROUNDING * abs(run.objective)
        if value <= run.objective + 0.1 * t * down or hidden:
            slope = problem.slope(point)
            if not hidden or float(np.linalg.norm(slope)) < float(np.linalg.norm(run.slope)):
                run.point, run.objective, run.slope = point, value, slope
                return True
        t *= 0.5
    return False
