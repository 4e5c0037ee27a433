r"""Newton's method for entropic steps: globally convergent where scaling stalls.

The plain step maximises a smooth concave dual (`jko.solvers.entropic.duals`) by damped Newton steps
with a sweep of scaling between them, eps annealed from a value at which no potential spans more
than a hundred eps. The debiased step is the jointly convex problem

    min over d > 0 of  d'Kd/2 + plain(d),    plain(d) the plain step with kernel K diag(d),

(-OT(w,w)/2 is a minimum over d, Feydy et al. (2019)); Newton steps in log d act on the maximised
dual, its curvature included. A barrier -mu sum log d, driven to zero, keeps d positive: at each
stage d K d = w + mu, and the duality gap of formula W2 is at most eps/tau sum mu whatever F is, so
an atom that should be empty, or an energy without curvature, does no harm.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from jko.solvers.entropic.dual import DualPoint, NewtonStep, TiltedDual
from jko.solvers.entropic.duals import ColumnDual, dual_of
from jko.solvers.entropic.scaling import FLOOR, self_scaling
from jko.solvers.entropic.stated import EntropicStep
from jko.validation import Array

#: Largest number of atoms of the dense Newton systems; only atoms that matter enter them.
LIMIT = 2600
#: Systems that may be solved, for LARGE supports and for others.
FEW = 40
MANY = 300
#: Potentials may span this many eps at the first stage of the annealing.
SPAN = 100.0
#: Atoms below this share of the mean weight are settled by sweeps in the end.
LIGHT = 1e-6
#: Barrier at the start and its reduction from stage to stage, relative to the mean weight.
BARRIER = 1e-2
SHRINK = 0.1
#: Ratio of the regularisations of the annealing, and the decrement at which a stage ends;
#: finer for energies that are steep at 0, whose far tails hang on little mass.
RATIO = 4.0
ROUGH = 1e-3
STEEP_RATIO = 2.0
STEEP_ROUGH = 1e-8


class EntropicNewton:
    """Newton's method on one stated step.

    Parameters
    ----------
    stated : EntropicStep
    target : float
        The gap to reach, in units of the objective.
    limit : int
        Newton systems that may be solved.
    """

    def __init__(self, stated: EntropicStep, target: float, limit: int = 150) -> None:
        self.stated, self.limit = stated, limit
        self.factor = stated.eps / (2 * stated.problem.step)
        self.target = target / self.factor
        self.count = 0

    def solve(self) -> tuple[Array, Array | None, Array | None]:
        """log b, log d (None in the plain step) and the tangent point of the quadratic part."""
        p, dual = self.plain()
        if self.stated.divergence:
            p = self.debiased(dual, p)
        log_b = np.where(np.isnan(p.log_b), FLOOR, np.maximum(p.log_b, FLOOR))
        return log_b, (np.maximum(p.tilt, FLOOR) if self.stated.divergence else None), p.z

    def plain(self) -> tuple[DualPoint, TiltedDual]:
        """The plain step, eps annealed."""
        stated = self.stated
        reach = stated.span / SPAN
        steep = isinstance(dual_of(stated), ColumnDual)
        ratio, end = (STEEP_RATIO, STEEP_ROUGH) if steep else (RATIO, ROUGH)
        stages = [stated.eps]
        while ratio * stages[-1] <= reach:
            stages.append(ratio * stages[-1])
        n = stated.previous.n
        log_b = np.where(stated.form.separable.ceiling > 0, 0.0, FLOOR)
        z = stated.previous.weights if stated.form.quadratics else None
        last = 0.0
        for eps in reversed(stages):
            here = stated if eps == stated.eps else stated.at(eps)
            dual = dual_of(here)
            if last == 0.0:
                p = dual.start(log_b, np.zeros(n), z)
            else:
                p = dual.at(p.x * (last / eps), p.tilt, p.z)
            rough = end * dual.mass
            fine = rough if eps != stated.eps or stated.divergence else 0.1 * self.target
            p, _ = self.maximise(dual, p, fine)
            last = eps
        return p, dual

    def maximise(
        self, dual: TiltedDual, p: DualPoint, target: float, most: int = 60
    ) -> tuple[DualPoint, NewtonStep | None]:
        """Newton's method at a fixed tilt, to a decrement of `target`."""
        swept = dual.sweep(p)
        if swept.value >= p.value - 1e-12 * (dual.mass + abs(p.value)):
            p = swept
        for _ in range(most):
            step = dual.newton(p)
            self.count += 1
            if step.gain <= target or self.count >= self.limit:
                return p, step
            found = dual.search(p, step.dx, step.dz, step.gain)
            if found is None:
                return p, step
            swept = dual.sweep(found)
            better = swept.value >= found.value - 1e-13 * (dual.mass + abs(found.value))
            p = swept if better else found
        return p, dual.newton(p)

    def debiased(self, dual: TiltedDual, p: DualPoint) -> DualPoint:
        """Follow the barrier to its end, from the plain solution."""
        kernel, n = self.stated.kernel, int(dual.open.sum())
        last = 0.1 * self.target / n
        mu = max(last, BARRIER * dual.mass / n)
        tilt = self_scaling(kernel, np.where(dual.open, np.log(p.w + mu), FLOOR), tol=1e-3)
        p, step = self.maximise(dual, dual.start(p.log_b, tilt, p.z), 1e-4 * dual.mass)
        best, stalls = np.inf, 0
        for _ in range(self.limit):
            direction, gain, level = self.outer(dual, p, step, mu)
            rough = mu > last
            # At the end to rounding: where F is linear the gap is of the order of sqrt(gain).
            stalls = 0 if rough or gain <= 0.5 * best else stalls + 1
            best = np.inf if rough else min(best, gain)
            share = min(1.0, self.target / dual.mass)
            enough = mu * n if rough else 1e-4 * dual.mass * share**2
            if gain <= enough or stalls > 3 or self.count >= self.limit:
                if not rough or self.count >= self.limit:
                    break
                mu = max(last, SHRINK * mu)
                continue
            inner = 1e-2 * (max(gain, mu * n) if rough else gain)
            moved = self.descend(dual, p, step, direction, (gain, level, mu, inner))
            if moved is None:
                if not rough:
                    break
                mu = max(last, SHRINK * mu)
                continue
            p, step = moved
        return p

    def level(self, dual: TiltedDual, p: DualPoint, mu: float) -> tuple[float, Array]:
        """The value that the outer steps decrease, and d K d."""
        q = np.exp(p.tilt + self.stated.kernel.log_apply(p.tilt, "d"))
        return p.value + 0.5 * float(q.sum()) - mu * float(p.tilt[dual.open].sum()), q

    def outer(
        self, dual: TiltedDual, p: DualPoint, step: NewtonStep | None, mu: float
    ) -> tuple[Array, float, float]:
        """Newton direction in log d, its decrement and the level."""
        level, q = self.level(dual, p, mu)
        bound = np.maximum(q, p.flux + mu)
        slope = np.where(dual.open, q - p.flux - mu, 0.0)
        direction = np.where(dual.open, -slope / (2 * bound), 0.0)
        assert step is not None
        c = step.columns
        root = np.sqrt(bound)
        system = dual.log_kernel(c, c)
        scaled = (p.tilt - np.log(root))[c]
        system += scaled[:, None] + scaled
        np.exp(system, out=system)
        ratio = np.sqrt(p.flux[c]) / root[c]
        system -= (ratio[:, None] * step.respond()) * ratio
        system[np.diag_indices_from(system)] += 1 + 1e-13
        factor = cho_factor(system, lower=True, overwrite_a=True, check_finite=False)
        direction[c] = -cho_solve(factor, slope[c] / root[c], check_finite=False) / root[c]
        return direction, -float(slope @ direction), level

    def descend(
        self,
        dual: TiltedDual,
        p: DualPoint,
        step: NewtonStep | None,
        direction: Array,
        figures: tuple[float, float, float, float],
    ) -> tuple[DualPoint, NewtonStep | None] | None:
        """Backtracking along a direction of log d, the dual maximised at every trial."""
        gain, level, mu, inner = figures
        assert step is not None
        dx, dz = step.follow(direction)
        t = 1.0
        while t > 1e-6:
            z = None if p.z is None or dz is None else p.z + t * dz
            q = dual.at(p.x + t * dx, p.tilt + t * direction, z)
            if not np.isfinite(q.value):
                q = dual.at(p.x, p.tilt + t * direction, p.z)
            if np.isfinite(q.value):
                q, new = self.maximise(dual, q, inner, 10)
                slack = 1e-12 * (dual.mass + abs(level))
                if self.level(dual, q, mu)[0] <= level - 1e-4 * t * gain + slack:
                    return q, new
            if self.count >= self.limit:
                return None
            t *= 0.3
        return None


class DualSolution(NamedTuple):
    """Potentials and tangent point, all None when a factorisation failed, and the work."""

    log_b: Array | None
    log_d: Array | None
    tangent: Array | None
    systems: int


def newton(stated: EntropicStep, target: float, limit: int) -> DualSolution:
    """Solve a stated step by Newton's method, to a gap of about `target`."""
    run = EntropicNewton(stated, target, limit)
    try:
        with np.errstate(all="ignore"):
            return DualSolution(*run.solve(), run.count)
    except (LinAlgError, ValueError):  # an indefinite or infinite system: no answer from here
        return DualSolution(None, None, None, run.count)
