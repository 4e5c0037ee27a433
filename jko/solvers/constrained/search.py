"""The search for the multipliers of constraints: one by signs, several by a quasi-Newton ascent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from jko.prox.duality.mass import MassSearch
from jko.solvers.constrained.stated import Solved
from jko.validation import Array

#: First step of a multiplier, in units of the change that the penalty alone would allow.
FIRST = 1.0
#: Factor by which steps shrink that lead to no solvable step, or uphill.
SHORTER = 0.3
#: Shortest share of a quasi-Newton step that is tried.
LEAST_SHARE = 1e-6
#: Brackets that closed without an answer and are opened again.
REOPENED = 6
#: Part of the excess that a trial must leave to count where the dual's rise is rounding.
BETTER = 0.7


@dataclass(eq=False)
class MultiplierSearch:
    """What a search knows: how to solve at multipliers, the set, and when an answer is good.

    Attributes
    ----------
    solve : callable (k,) -> Solved or None
        None where the step at those multipliers has no minimiser or misses its certificate.
    lower, upper : (k,) arrays
        The set.
    scale : (k,) array
        Change of each multiplier that moves its moment by about its own spread.
    enough : callable Solved -> bool
        Called after every step: whether the search may end.
    limit : int
        Steps solved at most.
    """

    solve: Callable[[Array], Solved | None]
    lower: Array
    upper: Array
    scale: Array
    enough: Callable[[Solved], bool]
    limit: int
    solved: list[Solved] = field(default_factory=list)
    count: int = 0

    def run(self, start: Array) -> bool:
        """Solve at multipliers until an answer is good (True), or nothing is left to try."""
        first = self.at(start)
        if first is None and start.any():
            first = self.at(np.zeros_like(start))
        if first is None:
            return False
        if self.enough(first):
            return True
        return self._one(first) if start.size == 1 else self._several(first)

    def at(self, y: Array) -> Solved | None:
        """The step at multipliers y, remembered."""
        self.count += 1
        found = self.solve(y)
        if found is not None:
            self.solved.append(found)
        return found

    def excess(self, found: Solved) -> Array:
        """The slope of the dual: how far the moments are beyond what the multipliers pay for."""
        y, m = found.multipliers, found.moments
        inside = np.clip(m, self.lower, self.upper)
        with np.errstate(invalid="ignore"):
            end = np.where(y > 0, self.upper, np.where(y < 0, self.lower, inside))
        return m - end

    def _allowed(self, y: Array) -> Array:
        """Multipliers of one sign where one bound is all there is."""
        y = np.where(np.isinf(self.upper), np.minimum(y, 0.0), y)
        return np.where(np.isinf(self.lower), np.maximum(y, 0.0), y)

    def _one(self, found: Solved) -> bool:
        """A monotone equation: secants inside a bracket.

        Slopes near the root may have the wrong sign where inner steps are inaccurate: a bracket
        that closes without an answer is opened again, as wide as the last move.
        """
        rise, y = float(self.excess(found)[0]), float(found.multipliers[0])
        search = MassSearch(y, reach=FIRST * float(self.scale[0]))
        before: tuple[float, float] | None = None
        opened = 0
        while self.count < self.limit and rise != 0:
            if not search.advance(rise > 0, _secant(before, (y, rise))):
                opened += 1
                if before is None or opened > REOPENED:
                    break
                wide = max(abs(y - before[0]), 1e-9 * abs(y))
                search = MassSearch(y, reach=wide)
                search.advance(rise > 0, float("nan"))
            new = self._towards(search, y)
            if new is None:
                break
            if self.enough(new):
                return True
            before = y, rise
            y, rise = float(new.multipliers[0]), float(self.excess(new)[0])
        return False

    def _towards(self, search: MassSearch, y: float) -> Solved | None:
        """The step where the search looks next, nearer to y where there is none so far out."""
        while self.count < self.limit:
            found = self.at(self._allowed(np.array([search.x])))
            if found is not None:
                return found
            search.x = y + SHORTER * (search.x - y)
        return None

    def _several(self, found: Solved) -> bool:
        """BFGS on the concave dual, multipliers kept to their signs."""
        inverse = np.diag(self.scale**2)
        slope = self.excess(found)
        inverse *= 1.0 / max(float(np.linalg.norm(self.scale * slope)), 1e-300)
        first = True
        while self.count < self.limit:
            trial = self._along(found, slope, inverse)
            if trial is None:
                return False
            new = self.excess(trial)
            moved, turned = trial.multipliers - found.multipliers, slope - new
            curvature = float(moved @ turned)
            if curvature > 1e-12 * np.linalg.norm(moved) * np.linalg.norm(turned):
                if first:
                    inverse = (
                        np.diag(self.scale**2)
                        * curvature
                        / float((self.scale * turned) @ (self.scale * turned))
                    )
                    first = False
                inverse = _bfgs(inverse, moved, turned, curvature)
            found, slope = trial, new
            if self.enough(found):
                return True
        return False

    def _along(self, found: Solved, slope: Array, inverse: Array) -> Solved | None:
        """A trial with a larger dual value, or a smaller slope where that is rounding."""
        way, share = inverse @ slope, 1.0
        # A multiplier at its kink stays there: the other slopes say nothing of leaving it.
        way = np.where((found.multipliers == 0) & (slope == 0), 0.0, way)
        size = float(np.linalg.norm(self.scale * slope))
        while share > LEAST_SHARE and self.count < self.limit:
            y = self._allowed(found.multipliers + share * way)
            if not (y != found.multipliers).any():
                return None
            trial = self.at(y)
            if trial is not None:
                rise = trial.result.objective - trial.support
                rise -= found.result.objective - found.support
                new = float(np.linalg.norm(self.scale * self.excess(trial)))
                promised = float(slope @ (y - found.multipliers))
                if rise >= 1e-4 * promised or new <= BETTER * size:
                    return trial
            share *= SHORTER
        return None


def _secant(before: tuple[float, float] | None, now: tuple[float, float]) -> float:
    """The change of y to where the line through two slopes vanishes; NaN where they say nothing."""
    if before is None or before[0] == now[0] or before[1] == now[1]:
        return float("nan")
    fall = (now[1] - before[1]) / (now[0] - before[0])
    return -now[1] / fall if fall < 0 else float("nan")


def _bfgs(inverse: Array, moved: Array, turned: Array, curvature: float) -> Array:
    """The update of an inverse Hessian of -dual."""
    eye = np.eye(moved.size)
    left = eye - np.outer(moved, turned) / curvature
    return np.asarray(left @ inverse @ left.T + np.outer(moved, moved) / curvature)
