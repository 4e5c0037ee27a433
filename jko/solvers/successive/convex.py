r"""Steps of energies made of transport to a target: an interior point over all their plans.

Where that misses or does not take the step (bounded weights), such an energy F, convex in the
weights at fixed mass, is replaced at a measure by its tangent and second variation, the step of
that model taken by the solvers of quadratic energies, and the objective searched between the two.
Where F has kinks or little entropy, the same is done before for F with more entropy, from whose
minimum the next one is near. The tangents bound F from below: the step has a gap.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from jko.energies.nonlocal_part import MOST
from jko.energies.transported import (
    SmoothTransport,
    TangentModel,
    TransportedEnergy,
    root_rows,
)
from jko.energies.wasserstein import WassersteinEnergy
from jko.errors import Unsupported
from jko.geometries.hellinger import SphericalHellinger
from jko.geometries.wasserstein import Wasserstein
from jko.measures.base import Discrete
from jko.measures.grid import GridDensity
from jko.numerics.best import Halving
from jko.numerics.elementary import EPS
from jko.prox.problem import ProxProblem
from jko.prox.stated import ROUNDING, Answer, Claim, Controls
from jko.solvers.base import NearMiss
from jko.solvers.programs.conic import ATTEMPTS
from jko.solvers.rules import Asked, Rule, walk
from jko.solvers.successive.joint import JointStep, joins, turned
from jko.solvers.successive.program import JointProgram, fits
from jko.solvers.successive.tangents import TangentStep, parts, reach, summed
from jko.status import Breakdown, Status
from jko.validation import Array

#: Regularisation of the first energy, as a share of the squared diameter.
FIRST = 1 / 8
#: Factor between two regularisations.
FALL = 8.0
#: The least one, as a share of the squared diameter, where F has none itself.
LEAST = 1e-12
#: Newton steps at a regularisation on the way down.
ON_THE_WAY = 8
#: Newton steps at the last one.
LAST = 60
#: Regularisation, over the squared diameter, from which an energy is smooth.
SOFT = 1 / 100
#: Gap at which a regularisation is left, in units of it times the mass.
NEAR = 0.3
#: Share of the tolerance at which steps and models end.
MARGIN = 0.5


def takes(problem: ProxProblem) -> bool:
    """Whether the energy is of this kind, and the support small enough for it."""
    mu, geometry = problem.discrete, problem.geometry
    rest, moved = parts(problem.energy)
    if not moved or mu.n > MOST or not geometry.conserves_mass:
        return False
    if isinstance(geometry, Wasserstein) and isinstance(mu, GridDensity) and not fits(mu, moved):
        return False
    try:
        reach(mu, moved)
        return not rest or summed(rest[1:], rest[0][0] * rest[0][1]).restrict(mu).convex
    except Unsupported:
        return False


def too_many(problem: ProxProblem) -> str | None:
    """Why no step of transport energies between cells is tried: the kinks of W2 need the program.

    Models of the energy alone stopped far from stationary on 256 cells, after a minute.
    """
    mu = problem.previous
    if not isinstance(mu, GridDensity) or not isinstance(problem.geometry, Wasserstein):
        return None
    moved = parts(problem.energy)[1]
    kinked: list[tuple[float, TransportedEnergy]]
    kinked = [(c, t) for c, t in moved if isinstance(t, WassersteinEnergy)]
    if fits(mu, kinked):
        return None
    return NearMiss(
        f"the program of a WassersteinEnergy on {mu.n} cells has too many pairs of cells; use"
        " coarser grids, or move jko.Particles(measure.points, measure.weights)"
    )


@dataclass(eq=False)
class TangentDescent:
    """The steps taken so far, and the best measure with its gap."""

    problem: ProxProblem
    inner: tuple[Rule, ...]
    controls: Controls
    limit: int

    def __post_init__(self) -> None:
        self.rest, self.moved = parts(self.problem.energy)
        first = self.rest[:1]
        self.known = summed(self.rest[1:], first[0][0] * first[0][1]) if first else None
        self.stated = TangentStep(self.problem)
        self.current = self.problem.discrete
        self.best, self.gap = self.current, np.inf
        self.near: list[Array] = []
        self.count, self.inner_solver = 0, ""
        self.aim = MARGIN * self.controls.tol * self.problem.unit

    def answer(self) -> Answer | None:
        """The best measure with what certifies it; None where nothing was found.

        By an interior point over all plans; where that misses, smooth energies by Newton's method
        first, others by the conic program.
        """
        scale = reach(self.current, self.moved) or 1.0  # 0: all at one place, any level will do
        floor = min(term.regularisation or LEAST * scale for _, term in self.moved)
        self._join(isinstance(self.problem.geometry, Wasserstein) and floor >= SOFT * scale)
        smooth = floor >= SOFT * scale
        if not smooth and self.gap > self.aim:
            self._program()
        if self.gap > self.aim:
            self._follow(scale, floor)
        if smooth and self.gap > self.aim:
            self._program()
        if not self.near:
            return None
        return Answer(
            self.best,
            self.stated,
            self.count,
            dual={str(k): f for k, f in enumerate(self.near)},
            exhausted=self.count >= self.limit,
            info={"models": self.count, "inner_solver": self.inner_solver},
        )

    def _join(self, smooth: bool) -> None:
        """The interior point, divergences first as smooth functions or first as plans."""
        rest = None if self.known is None else self.known.restrict(self.current)
        if isinstance(self.problem.geometry, SphericalHellinger):
            found = turned(self.problem, rest, self.moved, 0.01 * self.aim, self.controls.tol)
            if found is not None:
                self.count, self.inner_solver = self.count + found.steps, "JointInterior"
                self.current = self.problem.discrete.with_weights(found.weights)
                self._keep(found.potentials)
        if not joins(self.problem, rest, self.moved):
            return
        both = any(term.regularisation > 0 for _, term in self.moved)
        for way in (smooth, not smooth) if both else (False,):
            self._settle(JointStep(self.problem, rest, self.moved, way))
            if self.gap <= self.aim:
                return

    def _settle(self, step: JointStep) -> None:
        """Advance until the gap is met, and two steps beyond: digits are nearly free."""
        aim, halving, beyond = self.aim, Halving(), 0
        self.inner_solver = "JointInterior"
        for _ in range(min(3 * LAST, self.limit - self.count)):
            if beyond or step.left <= aim:
                aim = 0.1 * step.left
                if beyond != 1:
                    self.current = self.problem.discrete.with_weights(step.weights)
                    self._keep(step.potentials)
                beyond += beyond > 0 or self.gap <= self.aim
                if beyond > 2:
                    return
            if halving.seen(step.left) > 3 * ON_THE_WAY or not step.interior.advance():
                return
            self.count += 1

    def _follow(self, scale: float, floor: float) -> None:
        """Newton's method at falling regularisations; at the last one alone after a program."""
        kinked = any(term.regularisation == 0 for _, term in self.moved)
        level = max(FIRST * scale, floor) if kinked or not self.near else floor
        while self._minimise(level, level <= floor):
            if self.gap <= self.aim or level <= floor:
                return
            level = max(floor, level / FALL)

    @property
    def small(self) -> bool:
        """Whether the conic program was asked too."""
        return fits(self.current, self.moved)

    def _program(self) -> None:
        """The conic program of the step, where it is small enough."""
        if not self.small:
            return
        program = JointProgram(self.problem, self.known, self.moved)
        for settings in ATTEMPTS["CLARABEL"]:
            try:
                solved = program.solve(self.controls.tol, settings, self.controls.max_iter)
            except Breakdown:
                continue
            self.count, self.inner_solver = self.count + 1, "CLARABEL"
            self.current = self.problem.discrete.with_weights(solved.weights)
            self._keep(solved.potentials)
            if self.gap <= self.aim:
                return

    def _minimise(self, level: float, last: bool) -> bool:
        """Newton's method at a regularisation; False where no model led further."""
        soft = [(c, _smooth(term, level)) for c, term in self.moved]
        energy = summed([*self.rest, *soft[1:]], soft[0][0] * soft[0][1])
        problem = replace(self.problem, energy=energy)
        stated, value = TangentStep(problem), problem.objective(self.current)
        share = NEAR * level * self.current.mass * sum(c for c, _ in soft)
        halving = Halving()
        for _ in range(LAST if last else ON_THE_WAY):
            near = [term.target_potential(self.current) for _, term in soft]
            gap = stated.gap(self.current, near).gap
            if gap is None:
                return False
            if last or gap <= share:
                self._keep(near)
            if gap <= (min(share, self.aim) if last else share) or self.gap <= self.aim:
                return True
            if self.count >= self.limit:
                return False
            found = self._advance(problem, soft, value, gap)
            if found is None or (last and halving.seen(gap) > ON_THE_WAY):
                self._keep(near)
                return not last
            value = found
        self._keep(near)
        return True

    def _keep(self, near: list[Array]) -> None:
        """Remember the measure where its gap in the step itself is the least so far."""
        gap = self.stated.gap(self.current, near).gap
        if gap is not None and abs(gap) < self.gap:
            self.best, self.near, self.gap = self.current, near, abs(gap)

    def _advance(
        self,
        problem: ProxProblem,
        soft: list[tuple[float, SmoothTransport]],
        value: float,
        gap: float,
    ) -> float | None:
        """The model's step and a search towards it; the new objective, None where it fell not.

        Nearly empty atoms of much curvature leave a large gap where nothing is to be gained: there
        the model's step counts where its gap is half of `gap`.
        """
        self.count += 1
        here = self.current
        slope, curvature = np.zeros(here.n), np.zeros((here.n, here.n))
        for c, term in soft:
            slope = slope + c * term.first_variation(here)
            curvature = curvature + c * term.second_variation(here)
        if not np.isfinite(curvature).all():
            return None
        model = TangentModel(slope, here.weights, root_rows(curvature))
        stated = replace(problem, energy=summed(self.rest, model))
        asked = Asked(None, None, None, None, self.controls.rng)
        for _ in range(ON_THE_WAY):  # models asked for more, while more is to be had
            result = walk(stated, self.inner, asked)
            self.inner_solver = result.solver
            usable = result.status in (Status.CERTIFIED, Status.INACCURATE)
            if not usable or result.claim is not Claim.MINIMISES or result.gap is None:
                return None
            assert isinstance(result.measure, Discrete)
            ahead, found = result.measure.weights - here.weights, None
            if result.objective < stated.objective(here):
                found = self._search(problem, ahead, value)
            if found is not None:
                return found
            near = [term.target_potential(result.measure) for _, term in soft]
            there = TangentStep(problem).gap(result.measure, near).gap
            if there is not None and abs(there) <= 0.5 * gap:
                self.current = result.measure
                return problem.objective(result.measure)
            share = 0.1 * self.aim / max(abs(result.gap), EPS * self.aim)
            if not result.success or share >= 1:
                return None
            # The model's terms may be far larger than those of the step, and so what it may miss.
            asked = replace(asked, tol=share * result.tol)
        return None

    def _search(self, problem: ProxProblem, ahead: Array, value: float) -> float | None:
        here, share = self.current, 1.0
        for _ in range(3 * ON_THE_WAY):
            trial = here.with_weights(np.maximum(here.weights + share * ahead, 0.0))
            found = problem.objective(trial)
            if found < value - ROUNDING * EPS * abs(value):
                self.current = trial
                return found
            share /= 2
        return None


def _smooth(term: TransportedEnergy, level: float) -> SmoothTransport:
    return term.softened(max(level, term.regularisation))
