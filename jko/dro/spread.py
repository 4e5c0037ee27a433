r"""Piecewise linear losses against entropic balls: Newton's method around quadratic programs.

With xi the losses of the samples, the supremum over the ball is a smooth convex function phi(xi),
the least over gamma of

    gamma radius^p + gamma reg sum_i w_i log mean_j exp((xi_j/gamma - C_ij)/reg).

Its gradient is the worst case mu = P'w, P the row-stochastic plan, and its Hessian

    H - H xi xi' H/(xi' H xi),   H = (diag(mu) - P' diag(w) P)/(gamma reg).

Each step minimises the quadratic model over the coefficients, xi >= a_m z + b_m for every piece.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from jko.dro.sets import Sinkhorn
from jko.errors import Unsupported
from jko.numerics.exact_transport import square_costs
from jko.numerics.sinkhorn import entropic_plan
from jko.validation import Array

if TYPE_CHECKING:
    from jko.dro.frames import Adversary, Attack
    from jko.dro.programs import PieceProgram


@dataclass(eq=False)
class SpreadNewton:
    """theta of least worst-case loss over an entropic ball, and the multipliers of the pieces."""

    program: PieceProgram
    adversary: Adversary

    def run(self, tol: float) -> tuple[Array, list[Array], Array, int]:
        """theta, multipliers of the pieces, a measure of the ball, and the worst cases counted."""
        p = self.program
        theta = np.zeros(p.x.shape[1] + p.intercept)
        self.adversary(theta)  # says whether the ball is empty
        # Losses alike in all samples have no Hessian: begin at the fit of the samples themselves.
        theta, _ = self._solved(lambda cp, xi: p.weights @ xi)
        attack, count = self.adversary(theta), 2
        value = attack.value + self._ridge(theta)
        for _ in range(40):  # 4 to 12 on regressions and classifications of 30 to 500 samples
            trial, _, promised = self._model(theta, attack)
            if promised <= 1e-4 * tol * max(abs(value), attack.scenario.size(theta)):
                break
            share = 1.0
            while share > 1e-4:
                new = theta + share * (trial - theta)
                found, count = self.adversary(new), count + 1
                height = found.value + self._ridge(new)
                if height <= value - 1e-4 * share * promised:
                    break
                share *= 0.5
            else:
                break
            theta, attack, value = new, found, height
        large = self._saturated(theta, attack, value)
        if large is not None:
            return *large, count + 1
        # At its minimum the model's multipliers are those of the problem.
        return theta, self._model(theta, attack)[1], attack.scenario.weights, count

    def _saturated(
        self, theta: Array, attack: Attack, value: float
    ) -> tuple[Array, list[Array], Array] | None:
        """The least largest loss, where the ball holds the measure that forces it."""
        losses = self.losses(theta)
        if getattr(attack.report, "multiplier", 0.0) > 1e-3 * float(np.abs(losses).max()):
            return None
        new, multipliers = self._solved(lambda cp, xi: cp.max(xi))
        found = np.sum(multipliers, axis=0)
        if not found.sum() > 0 or float(self.losses(new).max()) + self._ridge(new) > (
            value + 1e-3 * abs(value)
        ):
            return None
        measure = found / found.sum()
        return (new, multipliers, measure) if self._contains(measure) else None

    def _contains(self, measure: Array) -> bool:
        """Whether a plan from the samples to a measure costs no more than the ball allows."""
        p, ball = self.program, self.program.geometry
        assert isinstance(ball, Sinkhorn)
        assert p.radius is not None
        held, some = p.weights > 0, measure > 1e-12 * measure.max()
        source, target = p.weights[held], measure[some] / measure[some].sum()
        cost = square_costs(p.x[held], p.x[some]) ** (ball.p / 2)
        reference = np.log(source / p.weights.size)[:, None]
        plan = entropic_plan(source, target, cost, ball.reg, log_reference=reference, tol=1e-9)
        spent = plan.upper + ball.reg * float(source.sum())  # its value is without the plan's mass
        return bool(spent <= p.radius**ball.p)

    def losses(self, theta: Array) -> Array:
        """The losses (n,) at theta."""
        p, d = self.program, self.program.x.shape[1]
        z = p.x @ theta[:d] + (theta[-1] if p.intercept else 0.0)
        return np.asarray(np.max([a * z + b for a, b in p.pieces], axis=0))

    def _ridge(self, theta: Array) -> float:
        coef = theta[: self.program.x.shape[1]]
        return 0.5 * self.program.alpha * float(coef @ coef)

    def _model(self, theta: Array, attack: Attack) -> tuple[Array, list[Array], float]:
        """The minimiser of the quadratic model, the multipliers there, and the descent promised."""
        unit, xi, mu = self.program.unit, self.losses(theta), attack.scenario.weights
        root = self._root(xi, attack)

        def rise(cp: Any, losses: Any) -> Any:
            moved = losses - xi / unit
            return mu @ moved + 0.5 * unit * cp.sum_squares(root @ moved)

        new, multipliers = self._solved(rise)
        step = self.losses(new) - xi
        promised = self._ridge(theta) - self._ridge(new) - float(mu @ step)
        return new, multipliers, max(promised - 0.5 * float(((root @ step) ** 2).sum()), 0.0)

    def _solved(self, height: Callable[[Any, Any], Any]) -> tuple[Array, list[Array]]:
        """theta and multipliers of least height(losses over their unit) plus penalty."""
        import cvxpy as cp

        p, (n, d) = self.program, self.program.x.shape
        coef, shift, losses = cp.Variable(d), cp.Variable(), cp.Variable(n)
        line = (p.x - p.middle) / p.length @ coef + (shift if p.intercept else 0.0)
        pieces = [losses >= cp.multiply(a, line) + b / p.unit for a, b in p.pieces]
        bend = p.alpha * p.unit / p.length**2
        total = height(cp, losses) + 0.5 * bend * cp.sum_squares(coef)
        rest = [] if p.intercept else [shift == 0]
        state = run_program(cp, cp.Problem(cp.Minimize(total), [*pieces, *rest]))
        if coef.value is None:
            raise Unsupported(
                f"a program of the fit ended as {state}: the losses leave coefficients free to"
                " grow; pass alpha > 0"
            )
        theta = np.array(coef.value) * (p.unit / p.length)
        if p.intercept:
            theta = np.append(theta, p.unit * float(shift.value) - theta @ p.middle)
        return theta, [np.maximum(np.asarray(c.dual_value, dtype=float), 0.0) for c in pieces]

    def _root(self, xi: Array, attack: Attack) -> Array:
        """B (n, n) with B'B the Hessian of phi at the losses xi."""
        p, ball = self.program, self.program.geometry
        assert isinstance(ball, Sinkhorn)
        scale = float(np.abs(xi - xi.mean()).max()) or 1.0
        gamma = max(getattr(attack.report, "multiplier", 0.0), 1e-6 * scale)
        score = (xi / gamma - square_costs(p.x, p.x) ** (ball.p / 2)) / ball.reg
        plan = np.exp(score - score.max(axis=1, keepdims=True))
        plan /= plan.sum(axis=1, keepdims=True)
        mu = p.weights @ plan
        hessian = (np.diag(mu) - (plan.T * p.weights) @ plan) / (gamma * ball.reg)
        along = hessian @ xi
        bent = float(xi @ along)
        if bent > 0:
            hessian = hessian - np.outer(along, along) / bent
        values, vectors = np.linalg.eigh(hessian)
        return np.asarray(np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T)


def run_program(cp: Any, program: Any) -> str:
    """Solve as accurately as goes, and say how it ended."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "may be inaccurate": the gap will tell
        for tol in (1e-10, 1e-8, 1e-6):
            try:
                program.solve(solver="CLARABEL", tol_gap_abs=tol, tol_gap_rel=tol, tol_feas=tol)
            except cp.error.SolverError:
                continue
            return str(program.status)
    return "a breakdown of the solver"
