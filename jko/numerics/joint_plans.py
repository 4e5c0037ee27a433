r"""Weights that several transport plans share: a primal-dual interior point.

    min over w, P_k >= 0  of  F(w) + sum_k <C_k, P_k> + reg_k sum P_k log P_k,
    P_k 1 = w,   P_k'1 = t_k,

F smooth, reg_k >= 0. With slacks Z_k >= 0 and potentials g_k, h_k of the marginals

    F'(w) + sum_k g_k = 0,   Z_k = C_k - g_k - h_k + reg_k log P_k,   P_k Z_k = mu.

The barrier of a plan with entropy keeps its small shares smooth until mu is below what they cost:
Newton's method alone meets them as kinks. With D = P/(Z + reg) every plan leaves a matrix of the
atoms S = diag(D 1) - D diag(1/D'1) D', and dw = S dg up to residuals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np

from jko.numerics.interior import (
    CORRECTION,
    LAG,
    RECENTRE,
    TO_BOUNDARY,
    UNEVEN,
    to_boundary,
)
from jko.numerics.sinkhorn import HALVINGS
from jko.validation import Array


class SmoothPart(Protocol):
    """A function of the weights, with a gradient (n,) and a Hessian (n, n)."""

    def gradient(self, w: Array) -> Array: ...

    def hessian(self, w: Array) -> Array: ...


class PlanMove(NamedTuple):
    """A direction of plan, slack and potentials."""

    plan: Array
    slack: Array
    g: Array
    h: Array


@dataclass(eq=False)
class PlanBlock:
    """One plan with its slack and potentials, and its part of Newton's equations.

    Parameters
    ----------
    cost : (n, m) array
    columns : (m,) array, > 0
        t, of the mass of the weights.
    reg : float, >= 0
    """

    cost: Array
    columns: Array
    reg: float = 0.0
    plan: Array = field(init=False)
    slack: Array = field(init=False)
    g: Array = field(init=False)
    h: Array = field(init=False)

    def start(self, w: Array, g: Array) -> None:
        """The product plan, and potentials below the costs by a tenth of their spread.

        Below by more at small columns, so that the products are alike.
        """
        self.plan, self.g = np.outer(w, self.columns / self.columns.sum()), g.copy()
        self.h = np.zeros(self.columns.size)
        left = self.exact()
        low = left.min(axis=0)
        size = float(np.abs(left).max()) or 1.0
        below = max(0.1 * float((left - low).mean()), 1e-12 * size)
        self.h = low - below * np.maximum(1.0, self.columns.mean() / self.columns)
        self.slack = left - self.h

    def exact(self) -> Array:
        """The slack that plan and potentials ask for (n, m)."""
        out = self.cost - self.g[:, None] - self.h
        return out + self.reg * np.log(self.plan) if self.reg else out

    def look(self, w: Array) -> float:
        """Residuals at the iterate; what the nonlinear ones miss, in units of the objective."""
        left = self.exact()
        if self.reg:
            self.bent = left - self.slack
        else:
            self.slack, self.bent = left, np.zeros(1)
        self.products = self.plan * self.slack
        self.rows, self.sums = w - self.plan.sum(axis=1), self.columns - self.plan.sum(axis=0)
        missed = float(np.abs(self.rows).sum() + np.abs(self.sums).sum()) * self.reg
        return missed + float(np.abs(self.plan * self.bent).sum())

    def factor(self) -> None:
        """D, its sums of columns, and S, whose diagonal is a sum of positive terms."""
        self.weight = self.plan / (self.slack + self.reg)
        self.second = self.weight.sum(axis=0)
        left = self.weight / np.sqrt(self.second)
        matrix = -(left @ left.T)
        np.fill_diagonal(matrix, 0.0)
        np.fill_diagonal(matrix, -matrix.sum(axis=1))
        self.matrix = matrix

    def right(self, aim: Array | float) -> Array:
        """q (n,) with dw = S dg - q, for products that become `aim`."""
        push = (aim - self.products - self.plan * self.bent) / (self.slack + self.reg)
        self.push, self.left = push, self.sums - push.sum(axis=0)
        return np.asarray(self.rows - push.sum(axis=1) - self.weight @ (self.left / self.second))

    def back(self, dg: Array) -> PlanMove:
        """All of the direction from that of g."""
        dh = (self.left - self.weight.T @ dg) / self.second
        plan = self.push + self.weight * (dg[:, None] + dh)
        slack = -dg[:, None] - dh
        if self.reg:
            slack = slack + self.reg * plan / self.plan + self.bent
        return PlanMove(plan, slack, dg, dh)

    def slope(self, step: PlanMove, length: float, mu: float) -> float:
        """Derivative of costs, entropy and barrier along a step, at a length."""
        plan = self.plan + length * step.plan
        pull = self.cost - mu / plan
        if self.reg:
            pull = pull + self.reg * np.log(plan)
        return float((pull * step.plan).sum())

    def move(self, step: PlanMove, length: float) -> None:
        """Take a step."""
        self.plan = self.plan + length * step.plan
        self.slack = self.slack + length * step.slack
        self.g, self.h = self.g + length * step.g, self.h + length * step.h


@dataclass(eq=False)
class JointInterior:
    """The iteration; `advance` until `left` is small.

    Parameters
    ----------
    plans : list of PlanBlock, not empty
    smooth : list of SmoothPart
        F; its sum with the entropies of the plans is convex.
    w : (n,) array, > 0
        Weights to start from, of the mass of all columns.
    """

    plans: list[PlanBlock]
    smooth: list[SmoothPart]
    w: Array

    def __post_init__(self) -> None:
        with np.errstate(all="ignore"):
            first = -self._gradient(self.w) / len(self.plans)
            for plan in self.plans:
                plan.start(self.w, first)
            self._look()

    def _gradient(self, w: Array) -> Array:
        out = np.zeros(w.size)
        for part in self.smooth:
            out = out + part.gradient(w)
        return out

    def _look(self) -> None:
        missed = sum(plan.look(self.w) for plan in self.plans)
        off = self._gradient(self.w) + np.sum([plan.g for plan in self.plans], axis=0)
        self.off = off - float(self.w @ off) / float(self.w.sum())
        self.missed = missed + float(self.w @ np.abs(self.off))
        self.gap = sum(float(plan.products.sum()) for plan in self.plans)

    @property
    def left(self) -> float:
        """An estimate of the excess of the weights, in units of the objective."""
        total = self.gap + self.missed
        return total if np.isfinite(total) else np.inf

    def advance(self) -> bool:
        """One predictor-corrector step; False where rounding leaves no direction."""
        with np.errstate(all="ignore"):
            mean = self.gap / sum(plan.products.size for plan in self.plans)
            if not (mean > 0 and self._factor()):
                return False
            moves = self._direction([0.0] * len(self.plans))
            if moves is None:
                return False
            reach = self._reach(moves[1], 1.0)
            centre = max((1 - reach) ** 3, 1e-3)
            if min(float(plan.products.min()) for plan in self.plans) < UNEVEN * mean:
                centre = max(centre, RECENTRE)
            centre = max(centre, min(LAG * self.missed / self.gap, RECENTRE))
            most = CORRECTION * mean
            aims = [
                centre * mean - np.clip(reach**2 * move.plan * move.slack, -most, most)
                for move in moves[1]
            ]
            moves = self._direction(aims)
            if moves is None:
                return False
            length = self._short(*moves, centre * mean)
            for plan, move in zip(self.plans, moves[1], strict=True):
                plan.move(move, length)
            self.w = self.w + length * moves[0]
            self._look()
        return bool(np.isfinite(self.left) and (self.w > 0).all())

    def _short(self, dw: Array, moves: list[PlanMove], mu: float) -> float:
        """The length of a step, shortened while it overshoots the barrier function."""
        length = self._reach(moves, TO_BOUNDARY)
        if self.missed <= self.gap:  # what is bent is small already
            return length

        def slope(share: float) -> float:
            out = float(dw @ self._gradient(self.w + share * dw))
            return out + sum(
                plan.slope(move, share, mu) for plan, move in zip(self.plans, moves, strict=True)
            )

        start = slope(0.0)
        if start < 0:
            for _ in range(HALVINGS):
                if slope(length) <= -0.5 * start:
                    break
                length *= 0.6
        return length

    def _reach(self, moves: list[PlanMove], share: float) -> float:
        pairs = []
        for plan, move in zip(self.plans, moves, strict=True):
            pairs += [(plan.plan, move.plan), (plan.slack, move.slack)]
        return to_boundary(*pairs, share=share)

    def _factor(self) -> bool:
        """Newton's equations in the g of all plans: B dw + sum dg_k = r, dw = S_k dg_k - q_k."""
        from scipy.linalg.lapack import dgetrf

        n, k = self.w.size, len(self.plans)
        self.curvature = np.zeros((n, n))
        try:
            for part in self.smooth:
                self.curvature += part.hessian(self.w)
        except np.linalg.LinAlgError:
            return False
        for plan in self.plans:
            plan.factor()
        first = self.plans[0].matrix
        matrix = np.zeros((k * n, k * n))
        matrix[:n, :n] = np.eye(n) + self.curvature @ first
        for j, plan in enumerate(self.plans[1:], start=1):
            here = slice(j * n, (j + 1) * n)
            matrix[:n, here] = np.eye(n)
            matrix[here, :n] = first
            # A constant moved from one g to another changes nothing.
            matrix[here, here] = -plan.matrix - float(np.diag(plan.matrix).mean()) / n
        self.scale = 1 / np.abs(matrix).max(axis=1)
        matrix *= self.scale[:, None]
        if not np.isfinite(matrix).all():
            return False
        factors, pivots, singular = dgetrf(matrix)
        self.lu = factors, pivots
        return not singular

    def _direction(self, aims: Sequence[Array | float]) -> tuple[Array, list[PlanMove]] | None:
        from scipy.linalg import lu_solve

        q = [plan.right(aim) for plan, aim in zip(self.plans, aims, strict=True)]
        right = np.concatenate([self.curvature @ q[0] - self.off, *(q[0] - x for x in q[1:])])
        found = lu_solve(self.lu, right * self.scale, check_finite=False)
        if not np.isfinite(found).all():
            return None
        parts = found.reshape(len(self.plans), -1)
        dw = self.plans[0].matrix @ parts[0] - q[0]
        return dw, [plan.back(dg) for plan, dg in zip(self.plans, parts, strict=True)]
