"""One run of unbalanced scaling: the fixed-point map, the stopping rule and the answer."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np

from jko.measures.grid import GridDensity
from jko.prox.stated import Answer, Controls
from jko.solvers.entropic.excess import NONE
from jko.solvers.entropic.scaling import Scaling, Sweep, anderson
from jko.solvers.unbalanced.bias import excess
from jko.solvers.unbalanced.kernels import ConePlan
from jko.solvers.unbalanced.response import QuadraticResponse
from jko.solvers.unbalanced.stated import UnbalancedStep
from jko.status import Breakdown, Status
from jko.validation import Array

#: The iteration goes on until the gap is this fraction of the tolerance.
MARGIN = 1e-2
#: The gap is asked for from this residual on.
GATE = 1e-2
#: Iterations before the ladder is tried, and at its end.
DIRECT = 400
MAX_ITER = 2000
#: Largest eps and ratio of the ladder that leads to a small one, and the tolerance on its rungs.
LADDER = (0.1, 4.0)
LADDER_TOL = 1e-2


class ScalingRun:
    """One scaling run: the fixed-point map, the stopping rule and the answer."""

    def __init__(self, stated: UnbalancedStep, controls: Controls, bound: bool = True) -> None:
        self.stated, self.controls, self.bound = stated, controls, bound
        self.log_w = np.zeros(stated.previous.n)
        self.respond = QuadraticResponse(stated.problem.form, stated.previous.weights)
        self.gate = GATE

    @cached_property
    def damping(self) -> Array:
        """Relaxation (m,) of the iteration, in [1/2, 1].

        Smooth errors are multiplied by (1 - s)/(1 + s), s = eps lam/(2 w F''(w)): towards -1 where
        the energy is flat, which half a step turns into 0.
        """
        stated = self.stated
        curvature = stated.problem.form.separable.hessian(stated.previous.weights)[stated.charged]
        stiff = np.where(np.isfinite(curvature), curvature * stated.m, np.inf)
        s = 0.5 * stated.eps * stated.lam / np.maximum(stiff, 1e-300)
        return np.minimum(1.0, 0.5 + 0.5 / s)

    def plan(self, psi: Array) -> ConePlan:
        """Weights and plan of a potential."""
        stated = self.stated
        log_smooth = stated.smooth(psi)
        self.log_w = self.respond(stated.reduced(log_smooth), self.log_w)
        return stated.plan(self.log_w, psi, log_smooth)

    def step(self, psi: Array) -> Sweep[None]:
        """psi -> the next psi; NaN where weights overflow: the acceleration then starts afresh."""
        with np.errstate(over="ignore", invalid="ignore"):
            plan = self.plan(psi)
            if (plan.log_w == np.inf).any():
                return Sweep(np.full_like(psi, np.nan), self.stated.m, None)
            return Sweep(psi + self.damping * (self.stated.update(plan) - psi), self.stated.m, None)

    def done(self, sweep: Sweep[None], residual: float) -> bool:
        """Whether the gap of a potential meets MARGIN times the tolerance."""
        if not residual <= self.gate:
            return False
        plan = self.plan(sweep.image)
        gap = self.stated.mismatch(plan)
        self.gate = 0.5 * residual
        if not np.isfinite(gap) or not (plan.log_w < 300).all():
            return False
        return gap <= MARGIN * self.controls.tol * self.stated.problem.unit

    def iterate(self, psi: Array, limit: int) -> Scaling[None]:
        """The accelerated iteration from a potential."""
        return anderson(self.step, psi, done=self.done, max_iter=limit)

    def converge(self) -> Scaling[None]:
        """The iteration; where it fails at a small eps, again through a ladder of larger ones."""
        first = self.iterate(self.start(), self.controls.max_iter or DIRECT)
        if first.converged or self.controls.max_iter is not None:
            return first
        psi, spent = np.zeros_like(self.stated.m), first.iterations
        self.respond.z = self.stated.previous.weights
        eps, rough = LADDER[0], replace(self.controls, tol=max(self.controls.tol, LADDER_TOL))
        while eps > LADDER[1] * self.stated.eps:
            run = ScalingRun(UnbalancedStep(self.stated.problem, eps), rough)
            run.respond.z = self.respond.z
            rung = run.iterate(psi, DIRECT)
            self.respond.z = run.respond.z
            psi, spent, eps = rung.x, spent + rung.iterations, eps / LADDER[1]
        self.gate = GATE
        last = self.iterate(psi, MAX_ITER)
        return replace(last, iterations=spent + last.iterations)

    def answer(self) -> Answer:
        stated = self.stated
        run = self.converge()
        plan = self.plan(run.x)
        with np.errstate(over="ignore"):
            w = np.exp(plan.log_w)
        if not np.isfinite(w).all() or not np.isfinite(plan.psi).all():
            why = "the scaling iteration left no finite measure"
            if (plan.log_w > 700).any():
                why += "; its weights are beyond double precision: bound the density, or scale V"
            raise Breakdown(Status.BROKEN, why)
        found = excess(stated, plan) if self.bound else None
        penalty = max(stated.penalty(plan), 0.0)
        if found is not None:
            # Between cell centres as atoms, ways shorter than a cell cost too much: mass is locked.
            sharp = found.exact and not isinstance(stated.previous, GridDensity)
            penalty = found.transport if sharp else min(penalty, found.transport)
        return Answer(
            stated.previous.with_weights(w),
            stated,
            run.iterations,
            objective=stated.value(plan),
            sqdistance=2 * stated.problem.tau * penalty,
            bias=None if found is None else found.bias,
            dual={"psi": plan.psi, "tangent": self.respond.z},
            baseline=stated.problem.value(stated.previous),
            exhausted=not run.converged and run.iterations >= (self.controls.max_iter or MAX_ITER),
            warm={"signature": _signature(stated), "psi": plan.psi},
            info={
                "reg": stated.eps,
                "bias_reg": None if found is None else found.bias,
                "bias_kind": NONE if found is None else found.kind,
                "kernel_applications": stated.kernel.count,
            },
        )

    def start(self) -> Array:
        """The potential of a warm start where it fits, else that of the measure at rest."""
        warm = self.controls.warm
        if not isinstance(warm, dict) or not {"signature", "psi"} <= warm.keys():
            return np.zeros_like(self.stated.m)
        if np.array_equal(warm["signature"], _signature(self.stated)):
            return np.array(warm["psi"], dtype=float)
        return np.zeros_like(self.stated.m)


def _signature(stated: UnbalancedStep) -> Array:
    """A few numbers that identify the support, the atoms of m' and the geometry."""
    x, g = stated.previous.points, stated.geometry
    atoms = [float(stated.charged.size), float(stated.charged.sum())]
    return np.array([g.alpha, g.beta, *x.shape, x.sum(), (x**2).sum(), *atoms])
