"""The optimal regularised plan of fixed weights in a step with sources."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from jko.numerics.elementary import log_or_minus_inf
from jko.solvers.entropic.scaling import Sweep, anderson
from jko.solvers.unbalanced.kernels import ConeKernel, ConePlan, DenseCone
from jko.validation import Array

#: Newton steps, and sweeps where there is no matrix.
STEPS = 200
SWEEPS = 500
#: Atoms of m' from which on sweeps are cheaper than a Newton system.
MANY = 1500


class PlanProblem(Protocol):
    """What is asked of a regularised step with sources."""

    @property
    def eps(self) -> float:
        """The regularisation."""

    @property
    def q(self) -> float:
        """eps/(1 + eps)."""

    @property
    def weight(self) -> float:
        """The weight of the transport terms."""

    @property
    def m(self) -> Array:
        """Weights of the atoms of m'."""

    @property
    def log_e(self) -> Array:
        """log e with e K e = m'."""

    @property
    def log_t(self) -> Array:
        """What the reference of the entropy adds to log K (n,)."""

    @property
    def kernel(self) -> ConeKernel:
        """K = exp(-c/eps)."""

    def smooth(self, psi: Array) -> Array:
        """log A (n,) for a potential of m'."""

    def plan(self, log_w: Array, psi: Array, log_smooth: Array) -> ConePlan:
        """The plan that is optimal in g for fixed w and psi."""

    def update(self, plan: ConePlan) -> Array:
        """The next potential of m'."""

    def mismatch(self, plan: ConePlan) -> float:
        """What the plan is worse by than the bound of its potential."""


def optimal_plan(stated: PlanProblem, w: Array, psi: Array, tol: float) -> ConePlan:
    """The plan, to `tol` in transport: Newton's method in psi, sweeps where m' has many atoms."""
    log_w = log_or_minus_inf(w)
    enough = tol * stated.weight * float(stated.m.sum())
    kernel = stated.kernel
    if not isinstance(kernel, DenseCone) or stated.m.size > MANY:
        return _swept(stated, log_w, psi, enough)
    for _ in range(STEPS):
        plan = stated.plan(log_w, psi, stated.smooth(psi))
        if stated.mismatch(plan) <= enough:
            break
        move = _newton(stated, kernel, plan)
        # e^{psi/eps} is read through logarithms of sums: several eps at a time are safe.
        size = float(np.abs(move).max())
        most = max(20 * stated.eps, 0.1)
        psi = _ascend(stated, log_w, psi, move * min(1.0, most / size))
    return plan


def _swept(stated: PlanProblem, log_w: Array, psi: Array, enough: float) -> ConePlan:
    def step(x: Array) -> Sweep[ConePlan]:
        plan = stated.plan(log_w, x, stated.smooth(x))
        return Sweep(stated.update(plan), stated.m, plan)

    def done(sweep: Sweep[ConePlan], _: float) -> bool:
        return stated.mismatch(sweep.record) <= enough

    plan = anderson(step, psi, done=done, max_iter=SWEEPS).record
    return plan if plan is not None else stated.plan(log_w, psi, stated.smooth(psi))


def _newton(stated: PlanProblem, kernel: DenseCone, plan: ConePlan) -> Array:
    """Newton direction of the concave dual in psi, for fixed weights."""
    alive = np.isfinite(plan.log_w) & np.isfinite(plan.phi)
    g1 = np.exp(plan.log_w[alive] - plan.phi[alive])
    shares = kernel.log_entries[alive] + stated.log_e + plan.psi / stated.eps
    shares = np.exp(shares + (stated.log_t[alive] - plan.log_smooth[alive])[:, None])
    wanted, found = stated.m * np.exp(-plan.psi), np.exp(plan.log_g2)
    matrix = np.asarray((shares.T * g1) @ shares * ((stated.q - 1) / stated.eps))
    matrix[np.diag_indices_from(matrix)] += wanted + found / stated.eps
    return np.asarray(np.linalg.solve(matrix, wanted - found))


def _ascend(stated: PlanProblem, log_w: Array, psi: Array, move: Array) -> Array:
    """psi + t move, t halved until the dual rises."""
    alive = np.isfinite(log_w)

    def dual(x: Array) -> float:
        power = stated.q * stated.smooth(x)[alive] + (1 - stated.q / 2) * log_w[alive]
        return -float(stated.m @ np.expm1(-x)) - (1 + stated.eps) * float(np.exp(power).sum())

    with np.errstate(over="ignore", invalid="ignore"):
        best, t = dual(psi), 1.0
        while t > 1e-4 and not dual(psi + t * move) >= best - 1e-14 * abs(best):
            t /= 2
    return psi + t * move
