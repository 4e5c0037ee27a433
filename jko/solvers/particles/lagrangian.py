"""Wasserstein steps of particles: every atom keeps its weight and moves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np

from jko.energies.base import Energy
from jko.energies.checked import check_moving
from jko.energies.rounding import position_rounding, value_rounding
from jko.errors import Unsupported
from jko.geometries.base import Geometry
from jko.geometries.wasserstein import Wasserstein
from jko.measures.atoms import Particles
from jko.measures.base import Measure
from jko.numerics.dense_newton import SMALL, finish
from jko.numerics.lbfgs import QuasiNewtonRun, descend, safe_value
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Claim, Controls
from jko.solvers.base import ProxSolver
from jko.solvers.particles.stated import Stationary
from jko.validation import Array, Mask, positive_int


@dataclass(frozen=True)
class Lagrangian(ProxSolver):
    r"""Move particles to minimise sum_i w_i |x_i - x'_i|^2 / (2 tau) + F(x).

    L-BFGS in the variables sqrt(w_i) x_i, where the first step is the explicit Euler step
    -tau grad f(x_i): a light particle moves as fast as a heavy one. F may be
    any energy with a `wasserstein_gradient`: MMDEnergy, Potential with a gradient, their sums.

    Parameters
    ----------
    memory : int, default 20
        Number of stored L-BFGS pairs.
    max_iter : int, default 1000
        Limit when `jko.step` is given none.

    Notes
    -----
    The coupling is the identity matching: particle i goes to its own new place, and
    `sqdistance` is sum w_i |x_i - x'_i|^2, an upper bound of W2^2. At a stationary point
    x'_i = grad(|x|^2/2 + tau f)(x_i); when that function is convex (1 + tau D^2 f >= 0: tau small
    enough) the matching is cyclically monotone, hence optimal, and the two agree.

    The objective is in general not convex, so there is no gap. The residual is
    sqrt(sum w |x - x' + tau grad f(x)|^2), relative to sqrt(sum w |x - x'|^2) +
    tau sqrt(sum w |grad f(x)|^2): the same in every unit of length, mass and energy. It is 0 where
    the first of these is the rounding of points and forces, and where no line search lowers it any
    more and what it promises is below the rounding of F: the particles are at rest. The answer's
    objective is never above that of staying put by more than 1e-10 of itself (rounding). Near the
    minimum, where rounding hides the decrease, the line search looks at slopes alone.

    Kernels with a kink (Energy, Laplace, Matern 1/2) attract particles onto atoms of the target,
    where no gradient vanishes: the residual may then never meet `tol`, and the step says so. In
    one dimension quantile steps treat that case exactly.

    Particles of weight zero do not enter the objective. They follow the same flow, minimising
    |x - x'|^2/2 + tau f(x) in the field f of the others; `info["massless_residual"]` is the root
    mean square of what is left.

    References
    ----------
    Jordan et al. (1998) for the step; Liu and Nocedal (1989) for the descent.
    """

    memory: int = 20
    max_iter: int = 1000

    geometries: ClassVar[tuple[type[Geometry], ...]] = (Wasserstein,)
    kinds: ClassVar[tuple[type[Measure], ...]] = (Particles,)
    claim: ClassVar[Claim] = Claim.STATIONARY
    guarantee: ClassVar[str] = "a stationary point no worse than staying put; residual, no gap"
    default_tol: ClassVar[float] = 1e-6

    def __post_init__(self) -> None:
        positive_int(self.memory, "memory")
        positive_int(self.max_iter, "max_iter")

    def accepts(self, problem: ProxProblem) -> str | None:
        if not isinstance(problem.geometry, Wasserstein):
            return f"it steps in jko.Wasserstein(), not in {problem.geometry!r}"
        if not isinstance(problem.previous, Particles):
            return f"it moves jko.Particles, not a {type(problem.previous).__name__}"
        problem.energy.wasserstein_gradient(problem.previous)  # or Unsupported, which says why
        return None

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        previous = problem.previous
        assert isinstance(previous, Particles)
        check_moving(problem.energy, previous)
        charged = previous.weights > 0
        state = _Positions(problem.energy, previous, problem.step, charged)
        limit = self.max_iter if controls.max_iter is None else controls.max_iter
        tol = 0.9 * controls.tol
        run = descend(state, _start(state, controls.warm), tol, limit, self.memory)
        if controls.max_iter is None and state.size <= SMALL:
            creeping = run.iterations >= limit and 8 * state.size <= SMALL
            run = finish(state, run, tol, state.sizes)
            if creeping and state.residual(run.point, run.slope) > tol:
                run = _by_shorter_steps(state, run, tol, self.memory)
        measure = state.measure(run.point)
        info: dict[str, object] = {"evaluations": run.evaluations}
        if not charged.all():
            measure, info["massless_residual"] = self._carry(problem, measure, ~charged, tol, limit)
        moved = measure.points - previous.points
        cost = float(previous.weights @ (moved**2).sum(axis=1))
        exhausted = run.iterations >= limit
        exhausted = exhausted and state.residual(run.point, run.slope) > controls.tol
        energy, baseline = problem.energy.value(measure), problem.value(previous)
        if energy + cost / (2 * problem.step) > baseline:
            info["rounding"] = value_rounding(problem.energy, measure)
        return Answer(
            measure,
            Stationary(problem, controls.tol, stuck=not exhausted),
            iterations=run.iterations,
            objective=energy + cost / (2 * problem.step),
            energy=energy,
            sqdistance=cost / problem.geometry.rate,
            exhausted=exhausted,
            baseline=baseline,
            warm=moved,
            info=info,
        )

    def _carry(
        self, problem: ProxProblem, moved: Particles, empty: Mask, tol: float, limit: int
    ) -> tuple[Particles, float]:
        """Let the particles of weight zero follow the flow of the others."""
        assert isinstance(problem.previous, Particles)
        held = problem.previous.with_points(
            np.where(empty[:, None], problem.previous.points, moved.points)
        )
        state = _Massless(problem.energy, held, problem.step, empty)
        start = np.zeros(state.size)
        run = descend(state, start, tol, limit, self.memory, by_slope=not state.has_values)
        return state.measure(run.point), float(np.linalg.norm(run.slope))


class _Positions:
    """|y|^2/2 + step F and its gradient, y = sqrt(w) (x - x') for the chosen atoms."""

    def __init__(self, energy: Energy, previous: Particles, step: float, chosen: Mask) -> None:
        self.energy, self.previous, self.step, self.chosen = energy, previous, step, chosen
        self.roots = self._roots()[:, None]
        self.size = int(chosen.sum()) * previous.dim

    @property
    def sizes(self) -> Array:
        """What the rounding of y is relative to: the positions, in its unit."""
        return np.asarray((self.roots * np.abs(self.previous.points[self.chosen])).ravel())

    def _roots(self) -> Array:
        return np.asarray(np.sqrt(self.previous.weights[self.chosen]))

    def measure(self, y: Array) -> Particles:
        """The particles displaced by y."""
        points = self.previous.points.copy()
        points[self.chosen] += y.reshape(-1, self.previous.dim) / self.roots
        return self.previous.with_points(points)

    def potential(self, mu: Particles) -> float:
        """The part of the objective besides the transport cost, up to the factor `step`."""
        return self.energy.value(mu)

    def value(self, y: Array) -> float:
        """The objective times `step`; +inf outside the domain."""
        return 0.5 * float(y @ y) + self.step * self.potential(self.measure(y))

    def slope(self, y: Array) -> Array:
        """Gradient of `value`, whose norm is the residual before it is made relative."""
        force = self.energy.wasserstein_gradient(self.measure(y))[self.chosen]
        return y + self.step * (self.roots * force).ravel()

    def residual(self, y: Array, slope: Array) -> float:
        """The figure that the certificate will find."""
        size = float(np.linalg.norm(slope))
        if size <= position_rounding(self.previous):
            return 0.0
        return size / (float(np.linalg.norm(y)) + float(np.linalg.norm(slope - y)))


class _Massless(_Positions):
    """The mean over empty atoms of |x - x'|^2/2 + step f(x), f the field of the charged ones."""

    def _roots(self) -> Array:
        count = int(self.chosen.sum())
        return np.full(count, count**-0.5)

    @cached_property
    def has_values(self) -> bool:
        """Whether the energy can evaluate its field f, not only the gradient of f."""
        try:
            self.energy.first_variation(self.previous)
        except Unsupported:
            return False
        return True

    def potential(self, mu: Particles) -> float:
        if not self.has_values:
            return 0.0
        return float(self.energy.first_variation(mu)[self.chosen].mean())


def _by_shorter_steps(
    state: _Positions, run: QuasiNewtonRun, tol: float, memory: int
) -> QuasiNewtonRun:
    """The end of shorter steps, each begun where the one before ended, where it is the better one.

    Over a long step a few particles may turn about one another at next to no cost: that valley is
    curved and steep, and a descent creeps along it. Ends of shorter steps lie in it already.
    """
    point, spent, calls = np.zeros(state.size), run.iterations, run.evaluations
    for shorter in 30.0 ** np.arange(-6, 1):  # the first moves little, the last is the step
        at = _Positions(state.energy, state.previous, shorter * state.step, state.chosen)
        found = finish(at, descend(at, point, tol, 300, memory), tol, at.sizes)
        point, spent = found.point, spent + found.iterations
        calls += found.evaluations
    better = at.residual(found.point, found.slope) < state.residual(run.point, run.slope)
    return replace(found if better else run, iterations=spent, evaluations=calls)


def _start(state: _Positions, warm: object) -> Array:
    """No displacement, or that of the previous step when it is better."""
    rest = np.zeros(state.size)
    if not isinstance(warm, np.ndarray) or warm.shape != state.previous.points.shape:
        return rest
    if not np.isfinite(warm).all():
        return rest
    guess: Array = (state.roots * warm[state.chosen]).ravel()
    return guess if safe_value(state, guess) < safe_value(state, rest) else rest
