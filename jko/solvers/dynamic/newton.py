r"""Few cells and slices by Newton's method: the saddle point, with a barrier at its edges.

Edges, w >= 0 and bounds on the density, get a logarithmic barrier that vanishes (primal-dual
interior point, Mehrotra (1992) without his corrector); where every cell carries an entropy, w >= 0
needs none. Each step is one sparse symmetric quasi-definite system in (w, phi) (`saddle`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from jko.numerics.best import Best
from jko.numerics.interior import to_boundary
from jko.solvers.dynamic.lower import lower_bound
from jko.solvers.dynamic.problem import DynamicProblem
from jko.solvers.dynamic.run import Solution
from jko.solvers.dynamic.saddle import SaddleSystem
from jko.solvers.dynamic.splitting import still
from jko.solvers.dynamic.upper import Feasible, feasible
from jko.validation import Array

#: Cells up to which the factors are worth it: 64 x 64 take .15 s a step, 128 x 128 a second.
MOST_CELLS = 17_000
#: Cells times slices of several intervals, by the axes of the grid, up to which steps go this way:
#: 256 x 64 take .2 s a system, as do 16^2 x 16; and up to which it closes gaps that the splitting
#: left: 32^2 x 16 take 1.1 s and 300 MB.
MOST_IN_TIME = {1: 33_000, 2: 4_500, 3: 2_000}
LAST_RESORT = {1: 33_000, 2: 17_000, 3: 4_500}
#: Newton steps at most, and the share of the way to an edge that one may go.
STEPS = 60
TO_EDGE = 0.9
#: Factor by which the barrier falls, and its first and last size over the energies: one that falls
#: before the potentials of empty cells follow takes 40 steps and more. Measured at 32 x 32, one and
#: four slices, porous media, entropies and bounds, W2 and WFR.
FALL = 0.01
FIRST = 1e-1
LAST = 1e-15
#: Share of a uniform density that the first point has, so that no mobility vanishes.
EVEN = 1e-2
#: Share of the mass that moved in a step after which an energy without edges may be near its end.
CLOSE = 3e-3
#: A step shorter than this has come to rest in rounding.
SHORT = 1e-8


@dataclass(frozen=True, eq=False)
class Saddle:
    """What Newton's method found.

    Attributes
    ----------
    best : Feasible
    lower : float
        Lower bound in the problem's units.
    phi : array (slices, *shape)
    share : list of arrays (slices, *shape)
        Shares of the faces in the bound.
    iterations : int
    """

    best: Feasible
    lower: float
    phi: Array
    share: list[Array]
    iterations: int


def applies(problem: DynamicProblem, most: Mapping[int, int] = MOST_IN_TIME) -> bool:
    """Whether cells and slices are few, and the action quadratic."""
    size, slices = problem.cells.grid.size, problem.slices
    few = size <= MOST_CELLS
    if slices > 1:
        few = size * slices <= most.get(problem.cells.dim, 0)
    return few and problem.unknown > 0 and problem.metric.p == 2


def few_intervals(
    problem: DynamicProblem, tol: float, scale: float, most: int = STEPS
) -> Saddle | None:
    """The path to a gap of tol times `scale` (0: the objective's own size); None where it fails."""
    newton = _SaddleNewton(problem)
    if not newton.start():
        return None
    best: Best[Saddle] = Best()
    for count in range(1, min(STEPS, most) + 1):
        moved = newton.step()
        if moved and not newton.near(tol, scale):
            continue
        found = newton.bounds(count)
        best.offer(found.best.value - found.lower, found)
        assert best.found is not None
        path = best.found.best
        if best.figure <= 0.5 * tol * (scale or max(abs(path.value), path.action)) or not moved:
            break
    return best.found


def closed(found: Solution, tol: float, most: int) -> bool:
    """Close the gap of a solution that misses its tolerance, where Newton's method applies."""
    if found.gap <= tol or not applies(found.problem, LAST_RESORT):
        return False
    saddle = few_intervals(found.problem, tol, 0.0, most)
    if saddle is None:
        return False
    if found.best is None or saddle.best.value < found.upper:
        found.best = saddle.best
    if saddle.lower > found.lower:
        found.lower, found.phi, found.share = saddle.lower, saddle.phi, saddle.share
    found.iterations += saddle.iterations
    return True


class _SaddleNewton:
    """The iterate (w, phi) with multipliers of the edges, and one step of it."""

    def __init__(self, problem: DynamicProblem) -> None:
        self.problem, self.system = problem, SaddleSystem(problem)
        self.energy = h = self.system.energy
        entropic = np.zeros(h.n, dtype=bool)
        for p, c in h.powers.items():
            entropic |= (c > 0) & (p <= 1)
        self.wall, self.capped = ~entropic, np.isfinite(h.ceiling)

    def start(self) -> bool:
        """An interior point; False where there is none."""
        problem, top = self.problem, self.energy.ceiling
        if (top <= 0).any():
            return False
        opened, n = self.system.opened, self.system.n
        rho = still(problem).e.reshape(problem.unknown, -1)[:, opened].ravel()
        even = np.minimum(problem.mass / n, 0.5 * top)
        w = (1 - EVEN) * np.minimum(rho, 0.98 * top) + EVEN * even
        self.w = w = np.minimum(w, 0.99 * top)
        slope = self.energy.gradient(w)
        level = float(w @ slope) / float(w.sum())
        self.phi = np.full(self.system.total, -level if problem.balanced else 0.0)
        unit = float(w @ np.abs(slope - level)) / float(w.sum())
        moved = float(np.square(problem.cells.grid.spacing).min()) / problem.duration
        self.unit = max(unit, 1e-3 * moved)
        if problem.end is not None:
            first = feasible(problem, self.system.field(w), mixed=0.0)
            self.unit += first.action / problem.mass if np.isfinite(first.action) else 0.0
        self.changed = np.inf
        self.barrier = FIRST * self.unit * float(w.mean())
        self.low = np.where(self.wall, self.barrier / w, 0.0)
        self.high = np.where(self.capped, self.barrier / np.where(self.capped, top - w, 1.0), 0.0)
        return True

    def near(self, tol: float, scale: float) -> bool:
        """Whether bounds are worth their time: by the barrier's own gap, or by the last change."""
        edges = int(self.wall.sum() + self.capped.sum())
        if edges == 0:
            return self.changed <= CLOSE
        size = scale or self.unit * self.problem.mass
        return bool(self.barrier * edges <= 0.1 * tol * size)

    def step(self) -> bool:
        """One Newton step; False where nothing moves any more."""
        w, room = self.w, np.where(self.capped, self.energy.ceiling - self.w, 1.0)
        change = self._change(room)
        if change is None:
            return False
        dw, dphi = change
        low = np.where(self.wall, self.barrier / w - self.low * (1 + dw / w), 0.0)
        high = np.where(self.capped, self.barrier / room - self.high * (1 - dw / room), 0.0)
        primal = to_boundary((w, dw), (room, np.where(self.capped, -dw, 0.0)), share=TO_EDGE)
        dual = to_boundary((self.low, low), (self.high, high), share=TO_EDGE)
        self.w, self.phi = w + primal * dw, self.phi + primal * dphi
        self.low, self.high = self.low + dual * low, self.high + dual * high
        edged = bool(self.wall.any() or self.capped.any())
        if not edged:
            self.barrier = 0.0
        elif self.barrier > LAST * self.unit * float(w.mean()) and self._caught_up():
            self.barrier *= FALL
        self.changed = primal * float(np.abs(dw).sum()) / float(w.sum())
        return primal * float(np.abs(dw / w).max()) > SHORT

    def _caught_up(self) -> bool:
        """Whether the potentials' error, times the mass, is within the gap of the last barrier."""
        off = np.abs(self.system.residuals(self.w, self.phi)[1] - self.low + self.high)
        off = off[self.wall | self.capped]
        edges = int(self.wall.sum() + self.capped.sum())
        return FALL * float(off.max(initial=0.0)) * self.problem.mass <= self.barrier * edges

    def _change(self, room: Array) -> tuple[Array, Array] | None:
        """Newton's direction for (w, phi); None where the system is singular."""
        from scipy.sparse import block_array, diags_array
        from scipy.sparse.linalg import splu

        first, second = self.system.residuals(self.w, self.phi)
        rows, columns, cross = self.system.blocks(self.w, self.phi)
        stiff = self.low / self.w + self.high / room
        push = np.where(self.wall, self.barrier / self.w, 0.0)
        push = push - np.where(self.capped, self.barrier / room, 0.0)
        system = block_array(
            [[rows + diags_array(stiff), cross.T], [cross, -self.problem.tau * columns]]
        )
        options = {"SymmetricMode": True}
        try:
            factor = splu(
                system.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options
            )
        except RuntimeError:  # exactly singular
            return None
        change = factor.solve(np.concatenate([push - second, -first]))
        n = self.w.size
        return (change[:n], change[n:]) if np.isfinite(change).all() else None

    def bounds(self, count: int) -> Saddle:
        """Bounds from both sides of the present iterate."""
        problem, field = self.problem, self.system.field
        best = feasible(problem, field(self.w), mixed=0.0)
        phi, r, share = field(self.phi), field(self.system.between(self.w)), []
        for axis in range(problem.cells.dim):
            behind = problem.cells.behind(r, axis)
            total = r + behind
            share.append(np.where(total > 0, behind / np.where(total > 0, total, 1.0), 0.5))
        return Saddle(best, lower_bound(problem, phi, share), phi, share, count)
