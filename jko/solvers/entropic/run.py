r"""One entropic step: accelerated scaling, then Newton's method where it stalls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from jko.measures.grid import GridDensity
from jko.numerics.best import Best
from jko.prox.stated import Answer, Controls
from jko.solvers.entropic.answer import CoupledStep, fits
from jko.solvers.entropic.dual import LARGE
from jko.solvers.entropic.levels import LevelStart
from jko.solvers.entropic.maps import TERMS, ScalingMap, SelfPotential, SweepState
from jko.solvers.entropic.newton import FEW, MANY, newton
from jko.solvers.entropic.newton import LIMIT as NEWTON_LIMIT
from jko.solvers.entropic.scaling import FLOOR, Sweep, anderson
from jko.solvers.entropic.stated import EntropicStep
from jko.status import Breakdown, Status
from jko.validation import Array

#: A stage ends when its gap is at most this fraction of the tolerance.
MARGIN = 1e-3
#: The same fraction where sweeps converge slowly: at fronts and in debiased steps without an
#: internal energy, whose last digits only move mass below the width of the blur, and beyond
#: `MANY_SWEEPS`.
SLOW_MARGIN = 0.1
#: Sweeps after which `SLOW_MARGIN` holds for every step.
MANY_SWEEPS = 400
#: A stage that ends this close to the target is not followed by another.
ENOUGH = 5.0
#: Share of the gap that empty cells may take where there is no entropy.
FLOOR_SHARE = 0.5
#: The gap is looked at when the residual promises it, and after so many better iterates anyway.
CHECK = 10
#: Potentials this far (in log) below the highest belong to cells that were empty.
SPREAD = 60.0
#: Scaling iterations before Newton's method takes over, up to a tenth of its limit of atoms: a
#: system costs 3 sweeps on 100 atoms, 60 on 24^2 cells, where fronts take 300 to 900 of them.
SHORT = 150
#: Scaling iterations where there is no Newton's method, or after it.
LONG = 1000
#: Sweeps that are tried on the grid itself before coarser grids.
BRIEF = 30
#: Largest r for which they are tried.
MODERATE = 100.0
#: Most cells for which they are tried: beyond, one such sweep costs more than all coarser grids.
CHEAP = 2**14
#: First sweeps without the polynomial of `SelfPotential`, whose long steps may diverge far from the
#: solution, in steps without an internal energy.
FIRST = 50
#: Iterations in all when the caller sets no limit.
UNLIMITED = 3000


@dataclass(frozen=True, eq=False)
class _Found:
    """What a stage reached."""

    state: SweepState
    gap: float


class EntropicRun:
    """One step: the stages, the stopping rule and the answer."""

    def __init__(
        self, stated: EntropicStep, controls: Controls, depth: int, bound: bool = True
    ) -> None:
        self.stated, self.controls, self.depth, self.bound = stated, controls, depth, bound
        self.sweeps, self.gate, self.improved = 0, np.inf, 0
        self._judged: tuple[SweepState, float] | None = None
        floor = FLOOR_SHARE * self.target * self.unit
        self.maps = [
            (ScalingMap(stated, SelfPotential(stated, floor, terms)), most)
            for terms, most in (
                [(1, FIRST), (TERMS, UNLIMITED)] if self.linear else [(1, UNLIMITED)]
            )
        ]
        asked = controls.max_iter or UNLIMITED
        self.iterations, self.left = 0, min(asked, controls.budget or UNLIMITED)

    @cached_property
    def scale(self) -> float:
        """Weight of the transport term's curvature: a residual of 1 is a gap of about this."""
        s = self.stated
        return s.eps / (2 * s.problem.step) * s.previous.mass

    @cached_property
    def unit(self) -> float:
        """What tolerances are relative to; the size of the penalty's terms where F has none."""
        return self.stated.problem.unit or self.scale

    @cached_property
    def sharp(self) -> bool:
        """Whether the energy makes fronts."""
        return self.stated.form.separable.sharp

    @property
    def target(self) -> float:
        """The gap a stage aims at, relative to the size of the terms of the objective."""
        slow = self.linear or self.sharp or self.sweeps + self.improved > MANY_SWEEPS
        return (SLOW_MARGIN if slow else MARGIN) * self.controls.tol

    @property
    def promising(self) -> float:
        """The residual of sweeps from which on the gap may meet the target."""
        return max(1e-13, 3 * float(np.sqrt(self.target * self.unit / self.scale)))

    @property
    def linear(self) -> bool:
        """Whether this is a debiased step without an internal energy."""
        return self.stated.divergence and not self.stated.curved

    def gap(self, state: SweepState) -> float:
        """Size of the gap of a state relative to that of the terms of the objective."""
        if self._judged is None or self._judged[0] is not state:
            self._judged = state, self._gap(state)
        return self._judged[1]

    def _gap(self, state: SweepState) -> float:
        log_w = state.plan.log_w
        if np.isnan(log_w).any() or not np.isfinite(log_w).any():
            return np.inf
        gap = self.stated.gap(
            state.plan, state.log_d, state.tangent, state.smooth, enough=self.target * self.unit
        ).gap
        return np.inf if gap is None or not np.isfinite(gap) else abs(gap) / self.unit

    def done(self, sweep: Sweep[SweepState], residual: float) -> bool:
        """Whether the certificate of the potentials meets the target."""
        self.improved += 1
        # Where bounds bind or cells are empty the residual says little about the gap.
        if not residual <= self.gate and self.improved % CHECK:
            return False
        if self.gap(sweep.record) <= self.target:
            return True
        self.gate = max(1e-13, residual * 0.5)
        return False

    def warm(self) -> Array | None:
        """Potentials of the warm start, where it fits the support and is finite."""
        stated, warm = self.stated, self.controls.warm
        if not isinstance(warm, dict) or not fits(warm, stated):
            return None
        if stated.divergence != ("log_d" in warm):
            return None
        # eps log(b/d) is nearly the same function when eps changes along a flow; d itself is
        # close to the square root of the measure.
        log_b, log_d = warm["log_b"], warm.get("log_d", 0.0)
        ratio = float(warm["signature"][0]) / stated.eps
        if not stated.divergence:
            return np.asarray(ratio * log_b)
        stated.prime(log_d)
        slope, (log_d,) = ratio * (log_b - log_d), self.opened(log_d)
        return np.stack([log_d + slope, log_d])

    def opened(self, *log_d: Array) -> list[Array]:
        """Self-potentials with cells that were empty filled: mass may enter where F allows it."""
        allowed = self.stated.form.separable.ceiling > 0
        filled = []
        for x in log_d:
            charged = x > x.max() - SPREAD
            x = np.where(charged, x, x[charged].min())
            filled.append(np.where(allowed, x, FLOOR))
        return filled

    def cold(self) -> Array:
        """Potentials of the measure at rest; of plain steps what the energy alone makes of it.

        The KL-prox of the previous measure itself, w = prox(m'), b = w/m': it needs no product.
        """
        stated = self.stated
        if not stated.divergence:
            allowed = stated.form.separable.ceiling > 0
            if stated.half or stated.form.quadratics:
                return np.where(allowed, 0.0, FLOOR)
            alone = self.maps[0][0].prox(stated.log_m, stated.log_m) - stated.log_m
            return np.where(allowed, np.where(np.isfinite(alone), alone, 0.0), FLOOR)
        (rest,) = self.opened(stated.previous_scaling)
        return np.stack([rest, rest])

    def levels(self) -> Array:
        """Potentials from coarser grids and larger regularisations."""
        start = LevelStart(self.stated)
        with self.stated.work.stage("levels"):
            out = start.potentials()
        self.iterations += start.sweeps
        return out

    def answer(self) -> Answer:
        """Stages in turn until one meets the target; the best of them otherwise."""
        best: Best[SweepState] = Best()
        with np.errstate(all="ignore"):  # zero weights have log -inf; finiteness is checked below
            for stage in self.stages():
                if best.figure <= ENOUGH * self.target or self.left <= 0:
                    break
                with self.stated.work.stage("sweeps"):
                    found = stage(best.found)
                if found is not None:
                    best.offer(found.gap, found.state)
            state = best.found
            if state is None or not np.isfinite(state.plan.log_w).any():
                raise Breakdown(Status.BROKEN, "the scaling iteration left no finite measure")
            return self.report(state, best.figure > self.target and self.left <= 0)

    def stages(self) -> Iterator[Callable[[SweepState | None], _Found | None]]:
        """Scaling from the warm and the cold start, Newton's method, scaling from its answer.

        Large grids start from coarser ones, unless a few sweeps do, often so at moderate 2 tau/eps.
        """
        stated = self.stated
        n = stated.previous.n
        levels = isinstance(stated.previous, GridDensity) and n > LARGE
        small = n <= NEWTON_LIMIT and not stated.half
        most = SHORT if 10 * n <= NEWTON_LIMIT and stated.curved else LONG
        if small:  # Newton's method has its turn within any budget
            most = max(SHORT, min(most, self.left - 2 * FEW))
        begin = self.warm()
        if begin is not None:
            yield lambda _: self.scale_from(begin, most)
        if levels and begin is None and n <= CHEAP and stated.rate <= MODERATE:
            yield lambda _: self.scale_from(self.cold(), BRIEF)
        if levels:
            yield lambda _: self.scale_from(self.levels(), most)
        if begin is None or small:
            yield lambda _: self.scale_from(self.cold(), most)
        if small:
            yield lambda _: self.newton()
        if begin is not None and not small:
            yield lambda _: self.scale_from(self.cold(), LONG)
        yield lambda best: self.scale_from(best.potentials, LONG) if best is not None else None

    def scale_from(self, start: Array, most: int) -> _Found | None:
        """Accelerated scaling, by one map after the other."""
        found = None
        for sweep, limit in self.maps:
            self.gate, self.improved = self.promising, 0
            limit = min(limit, most, self.left)
            run = anderson(sweep, start, done=self.done, depth=self.depth, max_iter=limit)
            self.left -= run.iterations
            self.iterations += run.iterations
            self.sweeps, self.improved = self.sweeps + run.iterations, 0
            if run.record is None:
                break
            found = _Found(run.record, self.gap(run.record))
            if found.gap <= self.target:
                break
            start = run.record.potentials
        return found

    def newton(self) -> _Found | None:
        """The globally convergent second stage."""
        limit = min(FEW if self.stated.previous.n > LARGE else MANY, self.left)
        with self.stated.work.stage("newton"):
            out = newton(self.stated, MARGIN * self.controls.tol * self.unit, limit)
        self.left -= out.systems
        self.iterations += out.systems
        if out.log_b is None:
            return None
        state = SweepState(self.stated.plan(out.log_b), out.log_d, None, out.tangent)
        found = _Found(state, self.gap(state))
        if found.gap <= self.target:
            return found
        # It settles what sweeps cannot, and they what it left: light atoms.
        swept = self.scale_from(state.potentials, SHORT)
        return found if swept is None or found.gap <= swept.gap else swept

    def report(self, state: SweepState, exhausted: bool) -> Answer:
        """The answer with objective, bias and warm start."""
        ended = CoupledStep(self.stated, state.plan, state.log_d, state.tangent)
        return ended.answer(self.iterations, exhausted, self.bound)
