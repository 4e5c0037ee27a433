r"""One interval by Newton's method: the saddle point of a step, with a barrier where it has edges.

With one interval the fluxes and sources of a step are those of a potential, m = alpha theta grad
phi and zeta = beta r phi with the harmonic mobility theta of r = (rho + w)/2, and (w, phi) is the
saddle point, convex in w and concave in phi, of

    E(w) + <phi, w - rho> - tau (sum_f alpha theta_f (grad phi)_f^2 / 2 + sum beta r phi^2 / 2).

Edges of E, w >= 0 and bounds on the density, get a logarithmic barrier that vanishes (primal-dual
interior point, Mehrotra (1992) without his corrector); where every cell carries an entropy, w >= 0
needs none. Each step is one sparse symmetric quasi-definite system in (w, phi).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from jko.forms.separable import Separable
from jko.numerics.best import Best
from jko.numerics.interior import to_boundary
from jko.solvers.dynamic.lower import lower_bound
from jko.solvers.dynamic.problem import DynamicProblem
from jko.solvers.dynamic.projection import graph_laplacian
from jko.solvers.dynamic.upper import Feasible, feasible, harmonic
from jko.validation import Array

if TYPE_CHECKING:
    from scipy.sparse import csr_array

#: Cells up to which the factors are worth it: 64 x 64 take .15 s a step, 128 x 128 a second.
MOST_CELLS = 17_000
#: Newton steps at most, and the share of the way to an edge that one may go.
STEPS = 60
TO_EDGE = 0.9
#: Factor by which the barrier falls after a step of at least FULL of its length, and its first and
#: last size over the energies. Measured at 32 x 32, porous media and bounds, W2 and WFR: 11 to 18
#: steps; a barrier that falls sooner leaves the potentials of empty cells behind (up to 40).
FALL = 0.2
FULL = 0.8
FIRST = 1e-1
LAST = 1e-15
#: Share of a uniform density that the first point has, so that no mobility vanishes.
EVEN = 1e-2
#: Shift that keeps the block of phi definite where no mass moves, relative to its largest entry.
SHIFT = 1e-14
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
    phi : array (1, *shape)
    share : list of arrays (1, *shape)
        Shares of the faces in the bound.
    iterations : int
    """

    best: Feasible
    lower: float
    phi: Array
    share: list[Array]
    iterations: int


def applies(problem: DynamicProblem) -> bool:
    """Whether the problem is one interval with a free end, no running cost, and few cells."""
    few = problem.cells.grid.size <= MOST_CELLS
    return few and problem.slices == 1 and problem.end is None and problem.metric.p == 2


def one_interval(
    problem: DynamicProblem, tol: float, scale: float, most: int = STEPS
) -> Saddle | None:
    """The step to a gap of tol times `scale` (0: the objective's own size); None where it fails."""
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


class _SaddleNewton:
    """The iterate (w, phi) with multipliers of the edges, and one step of it."""

    def __init__(self, problem: DynamicProblem) -> None:
        self.problem = problem
        opened = np.flatnonzero(problem.cells.opened.ravel())
        i, j, inverse = problem.cells.pairs
        local = np.full(problem.cells.grid.size, -1)
        local[opened] = np.arange(opened.size)
        self.opened, self.a, self.b, self.inverse = opened, local[i], local[j], inverse
        h = problem.last or Separable(np.zeros(problem.cells.grid.size))
        self.energy = h.take(opened)
        self.rho = problem.start.ravel()[opened]
        self.n = opened.size
        entropic = np.zeros(self.n, dtype=bool)
        for p, c in self.energy.powers.items():
            entropic |= (c > 0) & (p <= 1)
        self.wall = ~entropic
        self.capped = np.isfinite(self.energy.ceiling)

    def start(self) -> bool:
        """An interior point; False where there is none."""
        top, mass = self.energy.ceiling, self.problem.mass
        if (top <= 0).any():
            return False
        even = np.minimum(mass / self.n, 0.5 * top)
        w = (1 - EVEN) * np.minimum(self.rho, 0.98 * top) + EVEN * even
        w = np.minimum(w, 0.99 * top)
        self.w, self.phi = w, np.zeros(self.n)
        slope = self.energy.gradient(w)
        level = float(w @ slope) / float(w.sum())
        self.phi = np.full(self.n, -level if self.problem.balanced else 0.0)
        unit = float(w @ np.abs(slope - level)) / float(w.sum())
        moved = float(np.square(self.problem.cells.grid.spacing).min()) / self.problem.duration
        self.unit = max(unit, 1e-3 * moved)
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
        size = scale or self.unit * float(self.w.sum())
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
        elif min(primal, dual) > FULL and self.barrier > LAST * self.unit * float(w.mean()):
            self.barrier *= FALL
        self.changed = primal * float(np.abs(dw).sum()) / float(w.sum())
        return primal * float(np.abs(dw / w).max()) > SHORT

    def _change(self, room: Array) -> tuple[Array, Array] | None:
        """Newton's direction for (w, phi); None where the system is singular."""
        from scipy.sparse import block_array, diags_array
        from scipy.sparse.linalg import splu

        first, second = self._residuals()
        rows, columns, cross = self._blocks()
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
        return (change[: self.n], change[self.n :]) if np.isfinite(change).all() else None

    def _residuals(self) -> tuple[Array, Array]:
        """Derivatives of the saddle function in phi and, without its barrier, in w."""
        problem, a, b, n, phi = self.problem, self.a, self.b, self.n, self.phi
        tau, alpha, beta = problem.tau, problem.metric.alpha, problem.metric.beta
        r = 0.5 * (self.rho + self.w)
        theta, slope, da, db = self._faces(r)
        flux = alpha * theta * slope * self.inverse
        out = np.bincount(a, flux, n) - np.bincount(b, flux, n)
        first = self.w - self.rho + tau * (out - beta * r * phi)
        square = 0.25 * alpha * tau * slope**2
        second = self.energy.gradient(self.w) + phi - tau * beta * phi**2 / 4
        second -= np.bincount(a, square * da, n) + np.bincount(b, square * db, n)
        return first, second

    def _faces(self, r: Array) -> tuple[Array, Array, Array, Array]:
        """Mobility theta and slope of phi per face, and d theta / d r on its two sides."""
        ra, rb = r[self.a], r[self.b]
        theta = harmonic(ra, rb)
        slope = (self.phi[self.b] - self.phi[self.a]) * self.inverse
        return theta, slope, 0.5 * (theta / ra) ** 2, 0.5 * (theta / rb) ** 2

    def _blocks(self) -> tuple[csr_array, csr_array, csr_array]:
        """Second derivatives: in w, minus those in phi over tau, and the mixed ones."""
        from scipy.sparse import coo_array, diags_array

        problem, a, b, n = self.problem, self.a, self.b, self.n
        tau, alpha, beta = problem.tau, problem.metric.alpha, problem.metric.beta
        r = 0.5 * (self.rho + self.w)
        theta, slope, da, db = self._faces(r)
        # -theta is convex: theta^3 / (2 ra rb) times the square of (dra / ra - drb / rb) per face.
        curvature = 0.125 * alpha * tau * slope**2 * theta**3 / (2 * r[a] * r[b])
        xa, xb = 1 / r[a], -1 / r[b]
        diagonal = np.bincount(a, curvature * xa * xa, n) + np.bincount(b, curvature * xb * xb, n)
        i, j = np.concatenate([a, b]), np.concatenate([b, a])
        rows = coo_array((np.tile(curvature * xa * xb, 2), (i, j)), shape=(n, n))
        rows = rows + diags_array(self.energy.hessian(self.w) + diagonal)
        columns = graph_laplacian(a, b, alpha * theta * self.inverse**2, n)
        columns = columns + diags_array(beta * r)
        columns = columns + diags_array(np.full(n, SHIFT * float(columns.diagonal().max())))
        half = 0.5 * tau * alpha * slope * self.inverse
        i, j = np.concatenate([a, a, b, b]), np.concatenate([a, b, a, b])
        v = np.concatenate([half * da, half * db, -half * da, -half * db])
        cross = coo_array((v, (i, j)), shape=(n, n)) + diags_array(1 - tau * beta * self.phi / 2)
        return rows, columns, cross

    def bounds(self, count: int) -> Saddle:
        """Bounds from both sides of the present iterate."""
        problem = self.problem
        best = feasible(problem, self._field(self.w), mixed=0.0)
        phi, r, share = self._field(self.phi), self._field(0.5 * (self.rho + self.w)), []
        for axis in range(problem.cells.dim):
            behind = problem.cells.behind(r, axis)
            total = r + behind
            share.append(np.where(total > 0, behind / np.where(total > 0, total, 1.0), 0.5))
        return Saddle(best, lower_bound(problem, phi, share), phi, share, count)

    def _field(self, values: Array) -> Array:
        """Values of the open cells as a field of one slice."""
        out = np.zeros(self.problem.cells.grid.size)
        out[self.opened] = values
        return out.reshape(1, *self.problem.cells.shape)
