"""One constrained step: the search for its multipliers, and what came of it."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from jko.energies.base import Energy
from jko.energies.moment import constraints_of, tilted, without_constraints
from jko.energies.potential import Potential
from jko.errors import InvalidArgument
from jko.measures.base import Discrete, Measure
from jko.measures.gaussian import Gaussian
from jko.prox.judge import judge
from jko.prox.problem import ProxProblem
from jko.prox.result import StepResult
from jko.prox.stated import Answer, Claim, Controls
from jko.solvers.base import HandedBack
from jko.solvers.constrained.everywhere import impossible
from jko.solvers.constrained.feasible import infeasibility
from jko.solvers.constrained.mixing import mixture
from jko.solvers.constrained.search import MultiplierSearch
from jko.solvers.constrained.stated import BY_CLAIM, ConstrainedStep, Solved
from jko.solvers.rules import Rule, applying
from jko.status import Breakdown, Status
from jko.validation import Array

#: Share of the tolerance, or of an inner solver's own default, that inner steps are held to: the
#: moments of a step are accurate to the root of its gap.
INNER = 0.1
#: Share of a constraint's tolerance at which the search ends.
CLOSE = 0.3
#: Share of the tolerance at which a mixture ends the search.
MARGIN = 0.5
#: Excess, in units of a constraint's tolerance, from which on inner steps are solved more sharply,
#: and the least share of their tolerance.
NEAR = 1e4
LEAST_INNER = 1e-6
#: Steps solved after which mixtures are looked at.
EARLY = 3


class ConstrainedRun:
    """One constrained step: the plain problem, the search, and what came of it."""

    def __init__(
        self, inner: tuple[Rule, ...], limit: int, problem: ProxProblem, controls: Controls
    ) -> None:
        self.inner, self.limit, self.problem, self.controls = inner, limit, problem, controls
        self.moments = constraints_of(problem.energy)
        plain: Energy | None = without_constraints(problem.energy)
        self.plain = replace(problem, energy=Potential(_nought) if plain is None else plain)
        self.lower = np.array([m.lower for m in self.moments])
        self.upper = np.array([m.upper for m in self.moments])
        self.warm: object = _inner_warm(controls.warm)
        self.message = ""
        self.best: tuple[ConstrainedStep, Measure] | None = None

    def answer(self) -> Answer:
        """Search, and hand back the best answer in the set; the last one where none is in it."""
        said, previous = None, self.plain.previous
        if isinstance(previous, Discrete):
            said = infeasibility(self.plain, self.moments)
        elif isinstance(previous, Gaussian) and self.plain.geometry.conserves_mass:
            said = impossible(previous, self.moments)
        if said is not None:
            raise InvalidArgument(said)
        trial = replace(
            self.problem, energy=tilted(self.problem.energy, np.zeros(len(self.moments)))
        )
        answer: Answer | None = None
        for rule in applying(trial, self.inner):
            self.rule, self.tight, self.best = rule, INNER, None
            self.search = MultiplierSearch(
                self._solve, self.lower, self.upper, self._scale(), self._enough, self.limit
            )
            good = self.search.run(self._start())
            answer = self._found() or answer
            if good:
                break
        if answer is None:
            raise Breakdown(Status.INACCURATE, f"no step at any multiplier: {self.message}")
        return answer

    def _found(self) -> Answer | None:
        """The best answer in the set, the nearest one where none is in it."""
        search = self.search
        if not search.solved:
            return None
        if self.best is None:
            last = min(search.solved, key=self._distance)
            stated, nu = self._stated(((1.0, last),), last), last.measure
        else:
            stated, nu = self.best
        return self._made(stated, nu, search.count, search.count >= search.limit)

    def _made(self, stated: ConstrainedStep, nu: Measure, count: int, exhausted: bool) -> Answer:
        best = stated.best
        single = len(stated.parts) == 1
        value = self.plain.value(nu)
        before = self.plain.value(self.plain.previous)
        if any(not np.isfinite(m.value(self.plain.previous)) for m in self.moments):
            before = np.inf
        reached = [m.integral(nu) for m in self.moments]
        missed = [m for m in self.moments if not np.isfinite(m.value(nu))]
        remark = f"{missed[0]!r} is not met yet" if missed else ""
        if missed and not isinstance(nu, Discrete):
            remark += "; it may be that no Gaussian meets all constraints: drop or relax one"
        return Answer(
            nu,
            stated,
            count,
            objective=stated.objective(nu),
            sqdistance=best.result.sqdistance if single else None,
            energy=value,
            bias=best.result.bias,
            baseline=before,
            exhausted=exhausted,
            remark=remark,
            plan=best.result.plan if single else None,
            warm={"multipliers": best.multipliers, "inner": best.result.warm},
            info={
                "multipliers": best.multipliers.tolist(),
                "moments": reached,
                "problems": count,
                "inner_solver": best.result.solver,
            },
        )

    def _solve(self, y: Array) -> Solved | None:
        """The step at multipliers y; None where it has no minimiser or misses its certificate."""
        rule = self.rule
        trial = replace(self.problem, energy=tilted(self.problem.energy, y))
        tol = min(rule.solver.default_tol, self.controls.tol)
        tight = replace(self.controls, tol=self.tight * tol, max_iter=None, warm=self.warm)
        started = time.perf_counter()
        try:
            try:
                answer = rule.solver.solve(trial, tight)
            except HandedBack as back:
                answer = back.answer
            result = judge(trial, rule.solver.name, answer, tight, started)
        except Breakdown as failure:
            self.message = str(failure)
            return None
        if result.claim not in BY_CLAIM or not _good(result, tight.tol, self.controls.tol):
            self.message = result.message
            return None
        self.warm = result.warm
        moments = np.array([m.integral(result.measure) for m in self.moments])
        return Solved(y, answer, result, moments, self._support(y))

    def _support(self, y: Array) -> float:
        """sigma(y) = sup y.m over the box of bounds."""
        charged = y != 0
        ends = np.where(y > 0, self.upper, self.lower)[charged]
        return float(y[charged] @ ends)

    def _enough(self, found: Solved) -> bool:
        """Keep the best answer in the set; True where it is as good as asked for."""
        nu = found.measure
        missed = max(abs(m.excess(nu)) / (m.tol * m.size(nu)) for m in self.moments)
        slope = self.search.excess(found)
        apart = max(abs(s) / (m.tol * m.size(nu)) for s, m in zip(slope, self.moments, strict=True))
        if apart <= CLOSE or (missed <= CLOSE and found.result.gap is not None):
            stated = self._stated(((1.0, found),), found)
            self.best = stated, nu
            gap = stated.certificate(Answer(nu, stated, 0)).gap
            return gap is None or self._within(stated, nu, gap)
        if apart <= NEAR:  # what is left may be the inner steps' inaccuracy
            self.tight = max(self.tight * INNER, LEAST_INNER)
        mixes = found.result.claim is Claim.MINIMISES and isinstance(nu, Discrete)
        if mixes and self.search.count > EARLY:
            return self._mixed()
        return False

    def _mixed(self) -> bool:
        """Whether a mixture of the steps so far is in the set and good enough."""
        solved = [s for s in self.search.solved if s.result.claim is Claim.MINIMISES]
        made = mixture(solved, self.moments, self.lower, self.upper)
        if made is None:
            return False
        parts, nu = made
        best = max(solved, key=lambda s: s.result.objective - s.support)
        stated = self._stated(parts, best)
        gap = stated.certificate(Answer(nu, stated, 0)).gap
        if gap is None or not np.isfinite(gap):
            return False
        self.best = stated, nu
        return self._within(stated, nu, gap)

    def _within(self, stated: ConstrainedStep, nu: Measure, gap: float) -> bool:
        objective = stated.objective(nu)
        moved = None
        if len(stated.parts) == 1:
            moved = stated.best.result.sqdistance
        scale = stated.size(Answer(nu, stated, 0, objective=objective, sqdistance=moved))
        return abs(gap) <= MARGIN * scale.allowed(self.controls.tol)

    def _stated(self, parts: tuple[tuple[float, Solved], ...], best: Solved) -> ConstrainedStep:
        kind = BY_CLAIM[best.result.claim]
        return kind(self.plain, self.moments, parts, best)

    def _distance(self, found: Solved) -> float:
        return max(
            abs(m.excess(found.measure)) / (m.size(found.measure) or 1) for m in self.moments
        )

    def _scale(self) -> Array:
        """1 / (step x spread of f): a potential y f of that size moves a moment by its spread."""
        previous, step = self.plain.previous, self.plain.step
        out = np.ones(len(self.moments))
        for j, m in enumerate(self.moments):
            spread = m.spread(previous)
            out[j] = 1 / (step * spread) if spread > 0 else 1 / step
        return out

    def _start(self) -> Array:
        """Multipliers of an earlier step, those of sign and number that the set allows."""
        zero = np.zeros(len(self.moments))
        warm = self.controls.warm
        kept = warm.get("multipliers") if isinstance(warm, dict) else None
        if not isinstance(kept, np.ndarray) or kept.shape != zero.shape:
            return zero
        if not np.isfinite(kept).all() or not np.isfinite(self._support(kept)):
            return zero
        return kept


def _good(result: StepResult, tight: float, tol: float) -> bool:
    """Whether an inner step meets the tight tolerance, or at least half the one asked for."""
    if result.success:
        return True
    if result.gap is not None and result.allowed is not None:
        return bool(abs(result.gap) <= MARGIN * result.allowed * tol / tight)
    return result.gap is None and result.residual is not None and result.residual <= tol


def _inner_warm(warm: object) -> object:
    return warm.get("inner") if isinstance(warm, dict) and "multipliers" in warm else None


def _nought(x: Array) -> Array:
    return np.zeros(len(x))
