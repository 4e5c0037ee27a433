r"""Few intervals by Newton's method: the saddle point of a step, with a barrier at its edges.

The fluxes and sources of a step are those of potentials, m = alpha theta grad phi and zeta =
beta r phi with the harmonic mobility theta of r^k = (w^k + w^{k+1})/2, and (w, phi) is the saddle
point, convex in w and concave in phi, of

    E(w^N) + sum_k <phi^k, w^{k+1} - w^k>
           - tau sum_k (sum_f alpha theta_f (grad phi^k)_f^2 / 2 + sum beta r^k (phi^k)^2 / 2).

Edges, w >= 0 and bounds on the density, get a logarithmic barrier that vanishes (primal-dual
interior point, Mehrotra (1992) without his corrector); where every cell carries an entropy, the
last w needs none. Each step is one sparse symmetric quasi-definite system in (w, phi).
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
#: The same for cells times slices of several intervals, whose factors fill more.
MOST_IN_TIME = 4_500
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


def applies(problem: DynamicProblem) -> bool:
    """Whether the problem is a step with few cells and slices: a free end, no running cost."""
    size, slices = problem.cells.grid.size, problem.slices
    few = size <= MOST_CELLS if slices == 1 else size * slices <= MOST_IN_TIME
    step = problem.end is None and problem.running is None
    return few and step and problem.metric.p == 2


def few_intervals(
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
    """The iterate (w, phi), (slices, n) each flat, with multipliers of the edges; one step of it.

    Faces join cells of one interval; the cells of later intervals count on.
    """

    def __init__(self, problem: DynamicProblem) -> None:
        from scipy.sparse import diags_array, eye_array, kron

        self.problem = problem
        opened = np.flatnonzero(problem.cells.opened.ravel())
        i, j, inverse = problem.cells.pairs
        local = np.full(problem.cells.grid.size, -1)
        local[opened] = np.arange(opened.size)
        slices, n = problem.slices, opened.size
        later = n * np.arange(slices)[:, None]
        self.opened, self.n, self.total = opened, n, n * slices
        self.a, self.b = (local[i] + later).ravel(), (local[j] + later).ravel()
        self.inverse = np.tile(inverse, slices)
        h = problem.last or Separable(np.zeros(problem.cells.grid.size))
        self.energy = h.take(opened)
        self.rho = problem.start.ravel()[opened]
        ones, cells = np.ones(slices), eye_array(n)
        average = diags_array([0.5 * ones, 0.5 * ones[1:]], offsets=[0, -1])
        change = diags_array([ones, -ones[1:]], offsets=[0, -1])
        self.average = kron(average, cells, format="csr")
        self.change = kron(change, cells, format="csr")
        self.first = np.concatenate([self.rho, np.zeros(self.total - n)])
        entropic = np.zeros(n, dtype=bool)
        for p, c in self.energy.powers.items():
            entropic |= (c > 0) & (p <= 1)
        self.wall = np.ones(self.total, dtype=bool)
        self.wall[-n:] = ~entropic
        self.top = np.full(self.total, np.inf)
        self.top[-n:] = self.energy.ceiling
        self.capped = np.isfinite(self.top)

    def start(self) -> bool:
        """An interior point; False where there is none."""
        top, mass, n = self.top, self.problem.mass, self.n
        if (top <= 0).any():
            return False
        rho, last = np.tile(self.rho, self.problem.slices), slice(-n, None)
        even = np.minimum(mass / n, 0.5 * top)
        w = (1 - EVEN) * np.minimum(rho, 0.98 * top) + EVEN * even
        w = np.minimum(w, 0.99 * top)
        slope, end = self.energy.gradient(w[last]), w[last]
        level = float(end @ slope) / float(end.sum())
        self.w, self.phi = w, np.full(self.total, -level if self.problem.balanced else 0.0)
        unit = float(end @ np.abs(slope - level)) / float(end.sum())
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
        size = scale or self.unit * float(self.w[-self.n :].sum())
        return bool(self.barrier * edges <= 0.1 * tol * size)

    def step(self) -> bool:
        """One Newton step; False where nothing moves any more."""
        w, room = self.w, np.where(self.capped, self.top - self.w, 1.0)
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
        off = np.abs(self._residuals()[1] - self.low + self.high)[self.wall | self.capped]
        edges = int(self.wall.sum() + self.capped.sum())
        return FALL * float(off.max(initial=0.0)) * self.problem.mass <= self.barrier * edges

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
        return (change[: self.total], change[self.total :]) if np.isfinite(change).all() else None

    def _residuals(self) -> tuple[Array, Array]:
        """Derivatives of the saddle function in phi and, without its barrier, in w."""
        problem, a, b, total, phi = self.problem, self.a, self.b, self.total, self.phi
        tau, alpha, beta = problem.tau, problem.metric.alpha, problem.metric.beta
        r = self._between()
        theta, slope, da, db = self._faces(r)
        flux = alpha * theta * slope * self.inverse
        out = np.bincount(a, flux, total) - np.bincount(b, flux, total)
        first = self.change @ self.w - self.first + tau * (out - beta * r * phi)
        square = 0.5 * alpha * tau * slope**2
        local = 0.5 * tau * beta * phi**2
        local += np.bincount(a, square * da, total) + np.bincount(b, square * db, total)
        second = self.change.T @ phi - self.average.T @ local
        second[-self.n :] += self.energy.gradient(self.w[-self.n :])
        return first, second

    def _between(self) -> Array:
        """The means r of both ends of every interval."""
        return np.asarray(self.average @ self.w + 0.5 * self.first)

    def _faces(self, r: Array) -> tuple[Array, Array, Array, Array]:
        """Mobility theta and slope of phi per face, and d theta / d r on its two sides."""
        ra, rb = r[self.a], r[self.b]
        theta = harmonic(ra, rb)
        slope = (self.phi[self.b] - self.phi[self.a]) * self.inverse
        return theta, slope, 0.5 * (theta / ra) ** 2, 0.5 * (theta / rb) ** 2

    def _blocks(self) -> tuple[csr_array, csr_array, csr_array]:
        """Second derivatives: in w, minus those in phi over tau, and the mixed ones."""
        from scipy.sparse import coo_array, diags_array

        problem, a, b, total = self.problem, self.a, self.b, self.total
        tau, alpha, beta = problem.tau, problem.metric.alpha, problem.metric.beta
        r = self._between()
        theta, slope, da, db = self._faces(r)
        # -theta is convex: theta^3 / (2 ra rb) times the square of (dra / ra - drb / rb) per face.
        curvature = 0.5 * alpha * tau * slope**2 * theta**3 / (2 * r[a] * r[b])
        xa, xb = 1 / r[a], -1 / r[b]
        diagonal = np.bincount(a, curvature * xa * xa, total)
        diagonal += np.bincount(b, curvature * xb * xb, total)
        i, j = np.concatenate([a, b]), np.concatenate([b, a])
        mixed = np.tile(curvature * xa * xb, 2)
        local = coo_array((mixed, (i, j)), shape=(total, total)) + diags_array(diagonal)
        hessian = np.zeros(total)
        hessian[-self.n :] = self.energy.hessian(self.w[-self.n :])
        rows = self.average.T @ local @ self.average + diags_array(hessian)
        columns = graph_laplacian(a, b, alpha * theta * self.inverse**2, total)
        columns = columns + diags_array(beta * r)
        columns = columns + diags_array(np.full(total, SHIFT * float(columns.diagonal().max())))
        steep = tau * alpha * slope * self.inverse
        i, j = np.concatenate([a, a, b, b]), np.concatenate([a, b, a, b])
        v = np.concatenate([steep * da, steep * db, -steep * da, -steep * db])
        moving = coo_array((v, (i, j)), shape=(total, total)) - diags_array(tau * beta * self.phi)
        return rows, columns, self.change + moving @ self.average

    def bounds(self, count: int) -> Saddle:
        """Bounds from both sides of the present iterate."""
        problem = self.problem
        best = feasible(problem, self._field(self.w), mixed=0.0)
        phi, r, share = self._field(self.phi), self._field(self._between()), []
        for axis in range(problem.cells.dim):
            behind = problem.cells.behind(r, axis)
            total = r + behind
            share.append(np.where(total > 0, behind / np.where(total > 0, total, 1.0), 0.5))
        return Saddle(best, lower_bound(problem, phi, share), phi, share, count)

    def _field(self, values: Array) -> Array:
        """Values of the open cells as a field of every slice."""
        out = np.zeros((self.problem.slices, self.problem.cells.grid.size))
        out[:, self.opened] = values.reshape(len(out), self.n)
        return out.reshape(len(out), *self.problem.cells.shape)
