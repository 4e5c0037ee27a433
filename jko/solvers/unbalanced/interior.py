r"""Steps with sources on few atoms, exactly: a primal-dual interior point over weights and plan.

In units of lam = 2/(beta tau) the unregularised step is the jointly convex problem

    min over w, g >= 0 of  F(w)/lam + KL(g 1 | w) + KL(g'1 | m) + <c, g>,

and its optimality conditions, with potentials f = -log(g1/w), h = -log(g2/m), slacks
s = c - f - h and multipliers p, q >= 0 of the bounds 0 <= w <= u, are

    F'(w)/lam + 1 - e^{-f} - p + q = 0,   w e^{-f} = g 1,   m e^{-h} = g'1,
    g s = p w = q (u - w) = 0.

The slack stays exact, all products follow one central path, and the system in (f, h) that is left
of Newton's equations is positive definite.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from jko.forms.separable import Separable
from jko.numerics.interior import CORRECTION, LAG, RECENTRE, UNEVEN, to_boundary
from jko.validation import Array, Mask

#: Share of the way to the boundary that a step may take.
TO_BOUNDARY = 0.99
#: Potentials change by at most this much in a step, the reach of their exponentials' tangents.
LONGEST = 2.0
#: Added to the unit diagonal of the last system.
JITTER = 1e-15


class InteriorMove(NamedTuple):
    """A direction: weights, potentials, plan, and the multipliers of the bounds."""

    w: Array
    f: Array
    h: Array
    x: Array
    low: Array
    high: Array


@dataclass(eq=False)
class InteriorPointState:
    """A point strictly inside: weights, potentials, plan, and the multipliers of the bounds."""

    w: Array
    f: Array
    h: Array
    x: Array
    low: Array
    high: Array


class StepInterior:
    """The problem between open atoms (n) and charged ones (m), and its current iterate.

    Parameters
    ----------
    energy : Separable
        F/lam on the n atoms, all of them open, without its quadratic part.
    gram : (n, n) array or None
        The matrix of the quadratic part, over lam.
    m : (m,) array, > 0
    cost : (n, m) array
        inf where nothing is carried.
    start : (n,) array
        Weights to start from, inside the bounds.
    """

    def __init__(
        self, energy: Separable, gram: Array | None, m: Array, cost: Array, start: Array
    ) -> None:
        self.energy, self.gram, self.m = energy, gram, m
        self.near: Mask = np.isfinite(cost)
        self.cost = np.where(self.near, cost, 1.0)
        self.rows, self.columns = self.near.any(axis=1), self.near.any(axis=0)
        self.top = energy.ceiling
        self.bound: Mask = np.isfinite(self.top)
        self.at = self._first(start)

    def _first(self, w: Array) -> InteriorPointState:
        low = np.where(self.near, self.cost, np.inf)
        f = np.where(self.rows, 0.5 * low.min(axis=1, initial=np.inf) - 0.5, 0.0)
        h = np.where(self.columns, 0.5 * low.min(axis=0, initial=np.inf) - 0.5, 0.0)
        scale = float(self.m.sum() + w.sum())
        weight = np.where(self.near, 1 / (self.cost - f[:, None] - h), 0.0)
        total = float(weight.sum())
        x = weight * (0.25 * scale / total) if total > 0 else weight
        mean = 0.25 * scale / total if total > 0 else scale / w.size
        high = np.where(self.bound, mean / np.where(self.bound, self.top - w, 1.0), 0.0)
        return InteriorPointState(w, f, h, x, mean / w, high)

    @property
    def slack(self) -> Array:
        """c - f - h (n, m), 1 where nothing is carried."""
        return np.where(self.near, self.cost - self.at.f[:, None] - self.at.h, 1.0)

    def products(self) -> Array:
        """All complementary products."""
        p = self.at
        parts = [(p.x * self.slack)[self.near], p.w * p.low]
        parts.append((p.high * (self.top - p.w))[self.bound] if self.bound.any() else np.zeros(0))
        return np.concatenate(parts)

    def advance(self) -> bool:
        """One predictor-corrector step; False where rounding leaves no direction."""
        p, s = self.at, self.slack
        products = self.products()
        mean = float(products.mean())
        system = self._factor(s)
        if system is None or not mean > 0:
            return False
        predicted = self._direction(system, s, 0.0, None)
        if not all(np.isfinite(part).all() for part in predicted):
            return False
        t = self._length(predicted, s)
        centre = max((1 - t) ** 3, 1e-3)
        if products.min() < UNEVEN * mean:
            centre = max(centre, RECENTRE)
        centre = max(centre, min(LAG * self._missed() / (products.size * mean), RECENTRE))
        move = self._direction(system, s, centre * mean, (t, predicted, CORRECTION * mean))
        if not all(np.isfinite(part).all() for part in move):
            return False
        t = self._length(move, s)
        self.at = InteriorPointState(
            *(a + t * b for a, b in zip(vars(p).values(), move, strict=True))
        )
        return True

    def _slope(self) -> Array:
        """F'(w)/lam + 1 - e^{-f}, without the multipliers of the bounds (n,)."""
        p = self.at
        out = self.energy.gradient(p.w) + 1 - np.where(self.rows, np.exp(-p.f), 0.0)
        return out if self.gram is None else out + self.gram @ p.w

    def _missed(self) -> float:
        """By how much the marginals and the slopes miss, as masses."""
        p = self.at
        first = np.where(self.rows, p.w * np.exp(-p.f), 0.0) - p.x.sum(axis=1)
        second = np.where(self.columns, self.m * np.exp(-p.h), 0.0) - p.x.sum(axis=0)
        slope = p.w * (self._slope() - p.low + p.high)
        return float(np.abs(first).sum() + np.abs(second).sum() + np.abs(slope).sum())

    def _factor(self, s: Array) -> InteriorSystem | None:
        """The factored systems of Newton's equations."""
        from scipy.linalg import LinAlgError, cho_factor

        p = self.at
        with np.errstate(over="ignore", divide="ignore"):
            curvature = self.energy.hessian(p.w) + p.low / p.w
            curvature += np.where(self.bound, p.high / (self.top - p.w), 0.0)
            pull = np.where(self.rows, np.exp(-p.f), 0.0)
            weight = np.where(self.near, p.x / s, 0.0)
            wanted = np.where(self.columns, self.m * np.exp(-p.h), 1.0)
            second = wanted + weight.sum(axis=0)
        try:
            with np.errstate(invalid="ignore", over="ignore"):  # check_finite sees it
                if self.gram is None:
                    inverse = np.diag(1 / curvature)
                else:
                    scale = 1 / np.sqrt(curvature)
                    inner = np.eye(scale.size) + scale[:, None] * self.gram * scale
                    half = np.linalg.inv(np.linalg.cholesky(inner)) * scale
                    inverse = half.T @ half
                left = weight / np.sqrt(second)
                matrix = -left @ left.T
                np.fill_diagonal(matrix, 0.0)
                # Sums of positive terms: what a difference of large ones leaves is small late on.
                others = wanted + np.maximum(weight.sum(axis=0) - weight, 0.0)
                first = np.where(self.rows, p.w * pull, 1.0) + (weight * (others / second)).sum(
                    axis=1
                )
                matrix += np.diag(first) + pull[:, None] * inverse * pull
                size = np.sqrt(np.maximum(np.diag(matrix), 1e-300))
                matrix /= size[:, None] * size
                matrix[np.diag_indices_from(matrix)] += JITTER
                factor = cho_factor(matrix, check_finite=True)
        except (LinAlgError, ValueError, FloatingPointError):
            return None
        return InteriorSystem(inverse, pull, weight, second, size, factor)

    def _direction(
        self,
        system: InteriorSystem,
        s: Array,
        target: float,
        second: tuple[float, InteriorMove, float] | None,
    ) -> InteriorMove:
        """Newton's direction towards products of `target`, the second order of a first one off."""
        from scipy.linalg import cho_solve

        p, inverse, pull = self.at, system.inverse, system.pull
        aims = [np.full_like(p.x, target), np.full_like(p.w, target), np.full_like(p.w, target)]
        if second is not None:
            t, first, most = second
            pairs = ((first.x, -first.f[:, None] - first.h), (first.w, first.low))
            for k, (a, b) in enumerate((*pairs, (-first.w, first.high))):
                aims[k] = aims[k] - np.clip(t**2 * a * b, -most, most)
        room = np.where(self.bound, self.top - p.w, 1.0)
        push = np.where(self.near, aims[0] / s, 0.0)
        low = aims[1] / p.w
        high = np.where(self.bound, aims[2] / room, 0.0)
        slope = self._slope() - low + high
        r1 = np.where(self.rows, p.w * pull, 0.0) - push.sum(axis=1)
        r2 = np.where(self.columns, self.m * np.exp(-p.h), 0.0) - push.sum(axis=0)
        right = r1 - pull * (inverse @ slope) - system.weight @ (r2 / system.second)
        df = cho_solve(system.factor, right / system.size, check_finite=False) / system.size
        dh = (r2 - system.weight.T @ df) / system.second
        dw = -inverse @ (slope + pull * df)
        dx = np.where(self.near, push - p.x + system.weight * (df[:, None] + dh), 0.0)
        d_low = low - p.low - p.low / p.w * dw
        d_high = np.where(self.bound, high - p.high + p.high / room * dw, 0.0)
        return InteriorMove(dw, df, dh, dx, d_low, d_high)

    def _length(self, move: InteriorMove, s: Array) -> float:
        """The common length of a step."""
        p, near = self.at, self.near
        size = max(float(np.abs(move.f).max()), float(np.abs(move.h).max()), 1e-300)
        ds = -move.f[:, None] - move.h
        t = min(1.0, LONGEST / size)
        pairs = [(p.x[near], move.x[near]), (s[near], ds[near]), (p.w, move.w), (p.low, move.low)]
        if self.bound.any():
            b = self.bound
            pairs += [((self.top - p.w)[b], -move.w[b]), (p.high[b], move.high[b])]
        return to_boundary(*pairs, share=TO_BOUNDARY, most=t)


class InteriorSystem(NamedTuple):
    """Newton's equations, eliminated down to f."""

    inverse: Array
    pull: Array
    weight: Array
    second: Array
    size: Array
    factor: tuple[Array, bool]
