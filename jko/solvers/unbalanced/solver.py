r"""Unsplit Wasserstein-Fisher-Rao steps by unbalanced scaling in the log domain."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np

from jko.geometries.base import Geometry
from jko.geometries.unbalanced import WassersteinFisherRao
from jko.measures.base import Discrete, Measure
from jko.measures.grid import GridDensity
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Claim, Controls
from jko.solvers.base import ProxSolver
from jko.solvers.entropic.excess import NONE
from jko.solvers.entropic.regularisation import LOWERED
from jko.solvers.entropic.scaling import Scaling, Sweep, anderson
from jko.solvers.grids.resolution import diffusivity
from jko.solvers.unbalanced.bias import excess
from jko.solvers.unbalanced.kernels import DENSE
from jko.solvers.unbalanced.program import unbounded
from jko.solvers.unbalanced.refusals import SPLIT, not_unbalanced
from jko.solvers.unbalanced.response import QuadraticResponse
from jko.solvers.unbalanced.stated import ConePlan, UnbalancedStep
from jko.status import Breakdown, Status
from jko.validation import Array, positive, switch

#: The iteration goes on until the gap is this fraction of the tolerance.
MARGIN = 1e-2
#: The gap is asked for from this residual on.
GATE = 1e-2
#: Iterations before the ladder is tried, and at its end.
DIRECT = 400
MAX_ITER = 2000
#: A regularisation is lowered for an accuracy as far as potentials stand it.
LEAST_REG = 1e-5
#: Largest eps and ratio of the ladder that leads to a small one, and the tolerance on its rungs.
LADDER = (0.1, 4.0)
LADDER_TOL = 1e-2


@dataclass(frozen=True)
class UnbalancedScaling(ProxSolver):
    r"""Wasserstein-Fisher-Rao steps of convex energies, debiased, on a fixed support.

    Solves the jointly convex problem of `jko.solvers.unbalanced.stated` over the weights and the
    plan: the
    static form U2 plus eps times a relative entropy whose reference is debiased, so that a
    minimiser of the energy is kept exactly. Per iteration, for the potential psi of m',

        log A = t + log K e^{log e + psi/eps},
        w     = argmin F(w) + lam [w - (1 + eps)/(1 + eps/2) A^q w^{1-q/2}]   (a root per atom),
        psi  <- q log(m' / (e K'a)),   a = sqrt(w) exp(t) (sqrt(w)/A)^{1/(1+eps)},

    with Anderson acceleration; with quadratic terms (MMD) the weights take a few Newton steps.

    Parameters
    ----------
    reg : float, optional
        eps, in the units of the cost -2 log cos: a blur of variance 2 alpha eps / beta. None: what
        the support resolves, and at least beta tau / 10 (see `choose_reg`).
    bound : bool
        Whether `bias` is computed: a bound of the regularisation. False: None.

    Notes
    -----
    On grids with one or two axes the kernel, radial and of compact reach, is applied as such
    (`jko.numerics.radial`): 128^2 cells take a second, 256^2 six.

    `bias` bounds the excess of the unregularised objective between the atoms: by exact transport
    up to 40 000 pairs of them, whose cost `sqdistance` then is, except on grids, where it pins mass
    to the cells; beyond by the regularised plan, which may overstate the cost. Else `sqdistance` is
    the debiased estimate. `info["bias_kind"]` says which.

    References
    ----------
    Chizat et al. (2018a); Liero et al. (2018); Feydy et al. (2019).
    """

    reg: float | None = None
    bound: bool = True

    geometries: ClassVar[tuple[type[Geometry], ...]] = (WassersteinFisherRao,)
    kinds: ClassVar[tuple[type[Measure], ...]] = (Discrete,)
    claim: ClassVar[Claim] = Claim.REGULARISED
    guarantee: ClassVar[str] = "entropic bias: global minimum of the debiased step, with its gap"
    default_tol: ClassVar[float] = 1e-8

    def __post_init__(self) -> None:
        if self.reg is not None:
            object.__setattr__(self, "reg", positive(self.reg, "reg"))
        switch(self.bound, "bound")

    def accepts(self, problem: ProxProblem) -> str | None:
        why = not_unbalanced(problem, self.name)
        if why is not None:
            return why
        previous = problem.discrete
        if previous.n > DENSE and not (isinstance(previous, GridDensity) and previous.dim <= 2):
            return (
                f"takes at most {DENSE} atoms (a dense kernel) off grids with one or two axes,"
                f" this measure has {previous.n}; {SPLIT}"
            )
        return None

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        eps = choose_reg(problem) if self.reg is None else self.reg
        if controls.accuracy is None:
            return self._at(problem, eps, controls)
        solver, asked = replace(self, bound=True), controls.accuracy
        answer = solver._at(problem, eps, controls)
        for _ in range(LOWERED if self.reg is None else 0):
            if answer.bias is None or _error(answer) <= asked or eps <= LEAST_REG:
                break
            eps = max(eps / LADDER[1], LEAST_REG)
            answer = solver._at(problem, eps, replace(controls, warm=answer.warm))
        reached = _error(answer)
        if reached <= asked:
            return answer
        why = (
            f"accuracy = {asked:.3g} asked, {reached:.3g} reached at reg = {eps:.3g}; use finer"
            " cells, or a jko.Histogram of at most 200 atoms"
        )
        return replace(answer, remark=why)

    def _at(self, problem: ProxProblem, eps: float, controls: Controls) -> Answer:
        """The step at one regularisation."""
        stated = UnbalancedStep(problem, eps)
        if stated.cone.unbounded:
            raise unbounded()
        with np.errstate(under="ignore"):
            return _ScalingRun(stated, controls, self.bound).answer()


def _error(answer: Answer) -> float:
    """Gap plus bias relative to the decrease of the objective."""
    gap = answer.problem.certificate(answer).gap
    if answer.bias is None or gap is None or answer.baseline is None or answer.objective is None:
        return np.inf
    decrease = answer.baseline - answer.objective
    return (answer.bias + abs(gap)) / decrease if decrease > 0 else np.inf


def choose_reg(problem: ProxProblem) -> float:
    """eps for a blur of 1.2 spacings of the support (at most .02), not below beta tau / 10.

    Below the first the kernel does not resolve displacements under a spacing (the unregularised
    step on a grid does not either); the cap keeps the blur under a fifteenth of the cut. The second
    balances the iteration, whose rate is |s - 1|/(s + 1) with s = eps/(beta tau w F''(w)), where
    w F'' = 1 for KL; the bias O(eps^2) stays far below the time error of the step.
    """
    geometry, previous = problem.geometry, problem.discrete
    assert isinstance(geometry, WassersteinFisherRao)
    if isinstance(previous, GridDensity):
        square = float((previous.grid.spacing**2).max())
    else:
        from scipy.spatial import cKDTree

        x = previous.points
        near = cKDTree(x).query(x, k=min(2, len(x)))[0].reshape(len(x), -1)[:, -1]
        square = float(np.median(near) ** 2)
    resolved = min(0.72 * square * geometry.beta / geometry.alpha, 0.02)
    w, pace = previous.weights, diffusivity(problem)
    for term in problem.form.quadratics:
        pace += term.scale * float(w**2 @ term.operator.diagonal()) / previous.mass
    return min(max(resolved, 0.1 * geometry.beta * problem.step * pace, 1e-6), 0.2)


class _ScalingRun:
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
            run = _ScalingRun(UnbalancedStep(self.stated.problem, eps), rough)
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
            raise Breakdown(Status.BROKEN, "the scaling iteration left no finite measure")
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
            dual={"psi": plan.psi},
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
