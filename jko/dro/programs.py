r"""Piecewise linear losses: training against a set as one conic program, with a bound of its own.

With l = max_m a_m z + b_m the robust problem is min over theta of sup_w sum w_i xi_i, with xi_i >=
a_m z_i + b_m for every m; the supremum is replaced by the dual of the set. The multipliers of the
pieces make a measure and one line per sample, whose least value over theta bounds the minimum from
below.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from jko.dro.ambiguity import Set
from jko.dro.predictions import PredictionLoss
from jko.dro.sets import CVaR, Sinkhorn, TotalVariation
from jko.dro.spread import SpreadNewton, run_program
from jko.dro.training import Adversary, RobustFit
from jko.errors import Unsupported
from jko.geometries.divergence import Divergence, phi_divergence
from jko.geometries.wasserstein import Wasserstein
from jko.numerics.roots import last_true
from jko.validation import Array

#: The bound of a direction that nothing penalises holds for components of at most so many times
#: 1 + |theta|, where samples and losses have size 1.
FAR = 10.0
#: Halvings of the way back into a divergence ball.
HALVINGS = 60


@dataclass(frozen=True, eq=False)
class PieceProgram:
    """min sup E max_m (a_m z + b_m) + alpha/2 |coef|^2 over (coef, intercept).

    Attributes
    ----------
    x : (n, d) array
    y : (n,) array
    weights : (n,) array, of mass 1
    loss : PredictionLoss
        With pieces.
    geometry : Wasserstein(p=1), TotalVariation, CVaR, Sinkhorn or Divergence(p=1)
    radius : float or None
    alpha : float
    intercept : bool
    middle : (d,) array
        Where the samples are centred in the program; 0 without an intercept.
    length : float
        Their size there: the program is one of samples of size 1 and losses of size 1.
    """

    x: Array
    y: Array
    weights: Array
    loss: PredictionLoss
    geometry: Set
    radius: float | None
    alpha: float
    intercept: bool
    middle: Array
    length: float

    def __post_init__(self) -> None:
        geometry = self.geometry
        first = isinstance(geometry, Wasserstein) and geometry.p == 1 and geometry.cost is None
        kl = isinstance(geometry, Divergence) and geometry.p == 1
        if not (first or kl or isinstance(geometry, (TotalVariation, CVaR, Sinkhorn))):
            raise Unsupported(
                f"piecewise linear losses are trained against jko.Wasserstein(p=1),"
                f" jko.Divergence(p=1), jko.dro.TotalVariation(), jko.dro.CVaR or jko.dro.Sinkhorn,"
                f" not {geometry!r}; use a smooth loss such as 'logistic' or 'huber'"
            )
        if self.radius is None and not isinstance(geometry, CVaR):
            raise Unsupported(
                "piecewise linear losses are trained against balls; pass radius= and no tau"
            )

    def fit(self, adversary: Adversary, tol: float) -> RobustFit:
        """Solve, evaluate the worst case afresh, and bound the minimum from below."""
        started = time.perf_counter()
        if isinstance(self.geometry, Sinkhorn):
            theta, multipliers, measure, count = SpreadNewton(self, adversary).run(tol)
        else:
            theta, multipliers, count = self._solved()
            measure = self._inside(np.sum(multipliers, axis=0))
        attack = adversary(theta)
        ridge = 0.5 * self.alpha * float(theta[: self.x.shape[1]] @ theta[: self.x.shape[1]])
        value = attack.value + ridge
        lower, residual = self._lower(theta, multipliers, measure)
        gap, scale = value - lower + attack.gap, max(abs(value), attack.scenario.size(theta))
        scale = scale or self.unit  # all losses are 0: what is left is of the size of the pieces
        good = bool(abs(gap) <= tol * scale)
        text = (
            "The fit is certified: its saddle-point gap is within the tolerance."
            if good
            else "The saddle-point gap misses the tolerance; raise tol, or add a penalty."
        )
        return RobustFit(
            theta, value, gap, residual, attack.report, good,
            f"{text} (gap {gap:.3g} against {tol * scale:.3g})", count,
            time.perf_counter() - started, tol,
        )  # fmt: skip

    def _solved(self) -> tuple[Array, list[Array], int]:
        """theta, the multipliers of the pieces, and the iterations of the conic solver."""
        import cvxpy as cp

        n, d = self.x.shape
        unit = self.unit
        coef, shift, xi = cp.Variable(d), cp.Variable(), cp.Variable(n)
        z = (self.x - self.middle) / self.length @ coef + (shift if self.intercept else 0.0)
        pieces = [xi >= cp.multiply(a, z) + b / unit for a, b in self.pieces]
        total, rest = self._supremum(cp, xi, coef)
        bend = self.alpha * unit / self.length**2
        objective = total + 0.5 * bend * cp.sum_squares(coef)
        rest = rest if self.intercept else [*rest, shift == 0]
        program = cp.Problem(cp.Minimize(objective), [*pieces, *rest])
        state = run_program(cp, program)
        if coef.value is None:
            raise Unsupported(
                f"the program of the fit ended as {state}: the losses leave coefficients free to"
                " grow, or the ball is nearly all measures; pass alpha > 0 or a smaller radius"
            )
        theta = np.array(coef.value) * (unit / self.length)
        if self.intercept:
            theta = np.append(theta, unit * float(shift.value) - theta @ self.middle)
        found = [np.maximum(np.asarray(c.dual_value, dtype=float), 0.0) for c in pieces]
        return theta, found, int(program.solver_stats.num_iters or 0)

    @property
    def unit(self) -> float:
        """The size of the losses."""
        return max(float(np.abs(b).max()) for _, b in self.pieces) or 1.0

    @property
    def pieces(self) -> list[tuple[Array, Array]]:
        """The pairs (a, b) of (n,) arrays."""
        assert self.loss.pieces is not None
        shape = self.y.shape
        return [
            (np.broadcast_to(a, shape).astype(float), np.broadcast_to(b, shape).astype(float))
            for a, b in self.loss.pieces(self.y)
        ]

    def _supremum(self, cp: Any, xi: Any, coef: Any) -> tuple[Any, list[Any]]:
        """The dual of the set at losses xi: an expression to minimise, and its constraints."""
        geometry, w = self.geometry, self.weights
        if isinstance(geometry, Wasserstein):
            return w @ xi + self._price / self.length * cp.norm(coef), []
        level = cp.Variable()
        if isinstance(geometry, CVaR):
            return level + (w @ cp.pos(xi - level)) / (1 - geometry.level), []
        price = cp.Variable(nonneg=True)
        if isinstance(geometry, TotalVariation):
            return price * self.radius + w @ cp.maximum(xi, level - price), [level >= xi]
        lifted, rate = cp.Variable(w.size), getattr(geometry, "rate", 1.0)
        cone = cp.ExpCone(xi - level, price * np.ones(w.size), lifted)
        return level + price * self.radius * rate, [cone, w @ lifted <= price]

    @property
    def _price(self) -> float:
        """What a unit of |coef| pays in W_1."""
        assert self.radius is not None
        assert self.loss.lipschitz is not None
        return self.radius * self.loss.lipschitz

    def _lower(self, theta: Array, multipliers: list[Array], measure: Array) -> tuple[float, float]:
        """The least value over theta of the lines of the multipliers under a measure of the set."""
        found = np.sum(multipliers, axis=0)
        total = np.where(found > 0, found, 1.0)
        shares = [np.where(found > 0, q / total, 1 / len(multipliers)) for q in multipliers]
        pieces = self.pieces
        value = sum(float((measure * s) @ b) for s, (_, b) in zip(shares, pieces, strict=True))
        steep = np.sum([s * a for s, (a, _) in zip(shares, pieces, strict=True)], axis=0) * measure
        # In the coordinates of the program, where samples and losses have size 1.
        force = float(np.linalg.norm(steep @ (self.x - self.middle))) / self.length
        free = self._price / self.length if isinstance(self.geometry, Wasserstein) else 0.0
        over = max(force - free, 0.0)
        coef, bend = theta[: self.x.shape[1]], self.alpha / self.length**2
        shift = float(theta[-1] + coef @ self.middle) if self.intercept else 0.0
        reach = FAR * (self.unit + max(self.length * float(np.abs(coef).max()), abs(shift)))
        value -= min(over**2 / (2 * bend), over * reach) if bend else over * reach
        tilt = abs(float(steep.sum())) if self.intercept else 0.0
        return value - tilt * reach, max(over, tilt)

    def _inside(self, found: Array) -> Array:
        """The measure of the multipliers, brought into the set where rounding left it outside."""
        w, geometry = self.weights, self.geometry
        if isinstance(geometry, Wasserstein) or not found.sum() > 0:
            return w
        measure = found / found.sum()
        if isinstance(geometry, CVaR):
            top = w / (1 - geometry.level)
            measure = np.minimum(measure, top)
            room = top - measure
            share = (1 - measure.sum()) / room.sum() if room.sum() > 0 else 0.0
            return np.asarray(measure + share * room)
        assert self.radius is not None
        if isinstance(geometry, TotalVariation):
            apart = 0.5 * float(np.abs(measure - w).sum())
            share = min(1.0, self.radius / apart if apart > 0 else 1.0)
            return np.asarray(w + share * (measure - w))
        assert isinstance(geometry, Divergence)
        return self._within(measure, self.radius * geometry.rate)

    def _within(self, measure: Array, budget: float) -> Array:
        """The farthest point of the way to a measure that the divergence ball contains."""
        w = self.weights
        inside: Callable[[float], bool] = lambda t: (
            phi_divergence(1.0, w + t * (measure - w), w) <= budget
        )
        return measure if inside(1.0) else w + last_true(inside, 0.0, 1.0, HALVINGS) * (measure - w)
