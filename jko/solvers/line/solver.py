r"""Exact Wasserstein steps of particles on the line, in quantiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from jko.energies.checked import check_moving
from jko.geometries.base import Geometry
from jko.geometries.wasserstein import Wasserstein
from jko.measures.atoms import Particles
from jko.measures.base import Measure
from jko.numerics.elementary import EPS
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Controls
from jko.solvers.base import Elsewhere, ProxSolver
from jko.solvers.line.parts import Parts, check_terms
from jko.solvers.line.stated import Line
from jko.validation import Array, positive_int, real

#: Share of the size of the objective by which rounding may lift a step above its start.
UPHILL = 1e-10
#: Limit on the search for an interval that holds the root of a scalar problem.
DOUBLINGS = 100


@dataclass(frozen=True)
class Quantile(ProxSolver):
    r"""The Wasserstein step on the line as a problem in sorted positions (formula W9).

    The charged particles, sorted, keep their order and their weights; then W2^2 is
    sum_i w_i (x_i - x'_i)^2 exactly, and the step is

        min  F(x) + sum_i w_i (x_i - x'_i)^2 / (2 tau),     x_1 <= ... <= x_n.

    Internal energies are those of the density between neighbours (`jko.energies.spacings`), a
    `BoxConstraint` bounds the spacings from below, the energy-distance MMD and
    `Interaction.power(1)` are linear in sorted positions, so that a Dirac spreads (formula M9).

    Parameters
    ----------
    curvature : float, optional
        Your word that the second derivative of all potentials and smooth interactions together is
        at least this; with 1 + tau curvature > 0 the step is convex and gets a gap. None: a gap
        only where no word is needed (internal energies, ceilings, energy distance, |x-y|^a with
        a >= 1); otherwise the answer is a local minimum with its residual.
    max_iter : int, default 200
        Newton iterations when `jko.step` is given none.

    Notes
    -----
    Without an internal energy or a ceiling the answer is a formula: with G the potential (kinks
    included) and a_i = x'_i + tau times the linear force, x = prox_{tau G}(isotonic regression of
    a), because the prox is monotone and the same for all particles. With them it is Newton's
    method, whose systems are tridiagonal; smooth kernels enter through conjugate gradients, and
    particles that a kink holds are left in it (`jko.solvers.line.kinked`). A ceiling is kept by a
    logarithmic barrier. Particles of weight zero follow the map.

    References
    ----------
    Bonaschi et al. (2015); Santambrogio (2015), chapter 2.
    """

    curvature: float | None = None
    max_iter: int = 200

    geometries: ClassVar[tuple[type[Geometry], ...]] = (Wasserstein,)
    kinds: ClassVar[tuple[type[Measure], ...]] = (Particles,)
    guarantee: ClassVar[str] = (
        "exact on the line, with a gap where the step is convex; a local minimum elsewhere"
    )
    default_tol: ClassVar[float] = 1e-9

    def __post_init__(self) -> None:
        if self.curvature is not None:
            object.__setattr__(self, "curvature", real(self.curvature, "curvature"))
        positive_int(self.max_iter, "max_iter")

    def accepts(self, problem: ProxProblem) -> str | None:
        if not isinstance(problem.geometry, Wasserstein):
            return f"it steps in jko.Wasserstein(), not in {problem.geometry!r}"
        previous = problem.previous
        if not isinstance(previous, Particles):
            return f"it moves jko.Particles, not a {type(previous).__name__}"
        if previous.dim != 1:
            return Elsewhere(f"it sorts particles on the line, not in dimension {previous.dim}")
        parts = Parts.of(problem.energy)
        check_terms(problem.energy, parts, previous)
        return self._mixture_reason(parts)

    def _mixture_reason(self, parts: Parts) -> str | None:
        if parts.coupled:
            if parts.knots and np.isfinite(parts.ceiling):
                return "takes no bound on the density beside the kinks of an energy distance"
            if parts.knots and parts.smooth:
                return "takes no smooth kernel beside an internal energy and kinks"
            return None
        kinked = bool(parts.rank or parts.knots)
        if parts.smooth:
            return (
                "takes no smooth kernel beside a kink, unless there is an internal energy"
                if kinked
                else "a smooth kernel alone keeps the order; use jko.solvers.Lagrangian"
            )
        if not kinked and self.curvature is None:
            return (
                "a potential alone keeps the order; use jko.solvers.Lagrangian, or declare its"
                " convexity with Quantile(curvature=...)"
            )
        return None

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        from jko.solvers.line.kinked import KinkedNewton
        from jko.solvers.line.newton import spread_out

        line = Line(problem, Parts.of(problem.energy), self.curvature)
        check_moving(problem.energy, line.previous)
        limit = self.max_iter if controls.max_iter is None else controls.max_iter
        dual: Array | None = None
        if line.parts.coupled:
            kind = KinkedNewton if line.parts.knots else None
            x, dual, iterations = spread_out(line, controls.tol, limit, kind)
        else:
            x, iterations = prox(line), 1
        baseline = line.energy(line.previous)
        nu = line.measure(x)
        energy = line.energy(nu)
        if line.modulus is None and energy + line.cost(x) > baseline + UPHILL * line.magnitude(x):
            x, nu, energy = line.start, line.previous, baseline  # the wrong local minimum
        return Answer(
            nu,
            line,
            iterations,
            objective=energy + line.cost(x),
            sqdistance=2 * problem.tau * line.cost(x),
            energy=energy,
            baseline=baseline,
            dual=dual,
            exhausted=iterations >= limit,
            remark="the step has several local minima; reduce tau",
            info={"convex": line.modulus is not None},
        )


def prox(line: Line) -> Array:
    """prox_{step G} of the isotonic regression of x' + step (linear force), for G the potential."""
    from scipy.optimize import isotonic_regression

    step = line.problem.step
    pulled = line.start + step * line.rank_force
    target = np.asarray(isotonic_regression(pulled, weights=line.weights).x)
    y, left, right = line.knots
    if not y.size:
        return _roots(line, target) if line.parts.potentials else target
    # x + step G'(x) jumps from `lower` to `upper` at the kinks.
    smooth = y + step * line.field_at(y)
    lower, upper = smooth + step * left, smooth + step * right
    segment = np.searchsorted(lower, target, "right")  # kinks at or to the left of the root
    slopes = np.append(left[0], right)[segment]
    rest = y[np.maximum(segment - 1, 0)]
    held = (segment > 0) & (target <= upper[np.maximum(segment - 1, 0)])
    if line.parts.potentials:
        free = _roots(line, target - step * slopes)
    else:
        free = target - step * slopes
    return np.where(held, rest, free)


def _roots(line: Line, target: Array) -> Array:
    """Zeros of x - target + step V'(x), by bisection down to rounding."""
    step = line.problem.step

    def residual(x: Array) -> Array:
        return x - target + step * line.field_at(x)

    reach = np.abs(residual(target)) + 1e-300
    low, high = target - reach, target + reach
    for _ in range(DOUBLINGS):
        short_low, short_high = residual(low) > 0, residual(high) < 0
        if not (short_low.any() or short_high.any()):
            break
        reach = 2 * reach
        low = np.where(short_low, target - reach, low)
        high = np.where(short_high, target + reach, high)
    # A long step starts far beyond the root, whose own digits count.
    least = EPS * EPS * (np.abs(target) + reach)
    while (high - low > 2 * EPS * np.maximum(np.abs(low), np.abs(high)) + least).any():
        middle = 0.5 * (low + high)
        above = residual(middle) > 0
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return np.asarray(0.5 * (low + high))
