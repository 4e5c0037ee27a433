r"""The Wasserstein step of particles on the line in sorted positions, and its certificate.

Between measures of the same sorted weights W2^2 is sum_i w_i (x_i - x'_i)^2: a step is a problem in
the cone x_1 <= ... <= x_n, and energies with a kink where particles meet are linear there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from jko.energies.internal import BoxConstraint, Internal
from jko.energies.mmd import MMDEnergy
from jko.energies.rounding import force_rounding, mean_size, position_rounding, term_size
from jko.energies.spacings import sorted_charged, spacings
from jko.measures.atoms import Particles
from jko.measures.base import Measure
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Certificate, Neighbour, of_kind
from jko.solvers.line.parts import Parts, kink
from jko.solvers.line.sums import half_energy_distance, pair_distances
from jko.validation import Array, Index

#: Neighbours closer than this share of the largest coordinate touch: some 50 roundings of it.
TOUCHING = 1e-14
#: Residuals below this are taken as they are, rounding or not.
LEAST_RESIDUAL = 1e-12


@dataclass(frozen=True, eq=False)
class Line(Neighbour):
    """The step in sorted positions x (n,) of the charged particles.

    Stated problem: min F(x) + sum w (x - x')^2 / (2 step) over measures whose particles keep their
    order (other measures are +inf).
    """

    problem: ProxProblem
    parts: Parts
    curvature: float | None

    @property
    def previous(self) -> Particles:
        """The previous measure."""
        mu = self.problem.previous
        assert isinstance(mu, Particles)
        return mu

    @cached_property
    def index(self) -> Index:
        """Charged particles from left to right."""
        return sorted_charged(self.previous)

    @cached_property
    def start(self) -> Array:
        """Sorted positions before the step."""
        return np.asarray(self.previous.points[self.index, 0])

    @cached_property
    def weights(self) -> Array:
        """Their weights."""
        return self.previous.weights[self.index]

    @cached_property
    def masses(self) -> Array:
        """Masses (n-1,) between neighbours."""
        return spacings(self.start, self.weights)[1]

    @cached_property
    def floor(self) -> Array:
        """Least spacings (n-1,): what a ceiling of the density leaves."""
        return self.masses / self.parts.ceiling

    @cached_property
    def rank_force(self) -> Array:
        """Slope (n,) of the linear term, per weight: a (W_{<i} - W_{>i})."""
        total = np.cumsum(self.weights)
        return np.asarray(self.parts.rank * (2 * total - self.weights - total[-1]))

    @cached_property
    def knots(self) -> tuple[Array, Array, Array]:
        """Places y (m,) of the kinks, sorted, and the slopes (m,) left and right of each."""
        places = [t.points[:, 0] for _, t in self.parts.knots]
        loads = [c * t.weights for c, t in self.parts.knots]
        y, index = np.unique(np.concatenate([*places, []]), return_inverse=True)
        load = np.bincount(index, np.concatenate([*loads, []]), y.size)
        right = 2 * np.cumsum(load) - load.sum()
        return y, right - 2 * load, right

    def measure(self, x: Array) -> Particles:
        """The particles at sorted positions x; those of weight zero follow the map x' -> x."""
        points = np.array(self.previous.points[:, 0])
        if x.size < points.size:
            points += np.interp(points, self.start, x - self.start)
        points[self.index] = x
        return self.previous.with_points(points[:, None])

    def in_order(self, x: Array) -> Particles:
        """The charged particles alone, from left to right: what values need, without sorting."""
        if self.problem.energy.listed:
            return self.measure(x)
        return self._charged.with_points(x[:, None])

    @cached_property
    def _charged(self) -> Particles:
        return Particles(self.start[:, None], self.weights)

    def positions(self, nu: Measure) -> Array | None:
        """Sorted positions of a measure, None where its particles changed their order."""
        if not isinstance(nu, Particles) or nu.n != self.previous.n:
            return None
        x = nu.points[self.index, 0]
        kept = np.array_equal(nu.weights, self.previous.weights) and (np.diff(x) >= 0).all()
        return x if kept else None

    def objective(self, nu: Measure) -> float:
        """F + W2^2/(2 tau), +inf out of order."""
        x = self.positions(nu)
        return np.inf if x is None else self.energy(of_kind(nu, Particles)) + self.cost(x)

    def energy(self, mu: Particles) -> float:
        """F(mu) for any particles, the kinked terms by sorting, in O(n log n)."""
        total = 0.0
        for c, term in self.problem.energy.terms:
            slope = kink(term)
            if slope is None:
                total += c * term.value(mu)
            elif isinstance(term, MMDEnergy):
                total -= c * slope * half_energy_distance(mu, of_kind(term.target, Particles))
            else:
                total += c * slope * pair_distances(mu)
        return total

    def magnitude(self, x: Array) -> float:
        """The size of the terms that make up the objective: what tolerances are relative to.

        An internal energy counts with its pressure, so that it has a size where log rho is 0.
        """
        mu, s = self.in_order(x), np.diff(x)
        total = self.cost(x)
        for c, term in self.problem.energy.terms:
            if isinstance(term, BoxConstraint):
                continue
            if isinstance(term, Internal):
                with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
                    density = self.masses / s
                    parts = s * (np.abs(term.energy_density(density)) + term.pressure(density))
                total += c * float(parts[np.isfinite(parts)].sum())
            else:
                total += c * term_size(term, mu)
        return total

    def cost(self, x: Array) -> float:
        """sum w (x - x')^2 / (2 step)."""
        return float(self.weights @ (x - self.start) ** 2) / (2 * self.problem.step)

    # -- slopes, per weight --------------------------------------------------------------------

    def field(self, x: Array, mu: Particles | None = None) -> Array:
        """Slope (n,) of potentials and smooth interactions."""
        mu = self.measure(x) if mu is None else mu
        out = self.field_at(x)
        for c, term in self.parts.smooth:
            out = out + c * term.wasserstein_gradient(mu)[self.index, 0]
        return out

    def field_at(self, x: Array) -> Array:
        """Slope (k,) of the potentials alone, at any places (k,)."""
        out = np.zeros_like(x)
        for c, term in self.parts.potentials:
            out = out + c * term.wasserstein_gradient(Particles(x[:, None]))[:, 0]
        return out

    def spacing_force(self, x: Array) -> Array:
        """Slope (n,) of the internal energies."""
        s = np.diff(x)
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            density = self.masses / s
            p = np.zeros_like(s)
            for c, e in self.parts.internal:
                p = p + c * e.pressure(density)
        return np.asarray((np.append(p, 0.0) - np.append(0.0, p)) / self.weights)

    def knot_slopes(self, x: Array) -> tuple[Array, Array]:
        """Slopes (n,) left and right of x of the piecewise linear potential."""
        y, left, right = self.knots
        if not y.size:
            return np.zeros_like(x), np.zeros_like(x)
        outer = np.append(left[0], right)
        return outer[np.searchsorted(y, x, "left")], outer[np.searchsorted(y, x, "right")]

    def slope(self, x: Array) -> Array:
        """A subgradient (n,) of the objective, per weight: the smallest one at kinks."""
        smooth = (x - self.start) / self.problem.step + self.field(x) - self.rank_force
        smooth = smooth + self.spacing_force(x)
        below, above = self.knot_slopes(x)
        return smooth + np.clip(-smooth, below, above)

    # -- certificate -----------------------------------------------------------------------------

    def certificate(self, answer: Answer) -> Certificate:
        r"""Gap by strong convexity, and the residual.

        With modulus k = 1/step + curvature in the metric of the weights, for any multipliers
        lam >= 0 of the spacings (D x = spacings, D'lam their force, g a subgradient of J),

            J(y) >= J(x) - lam.(Dx - floor) - |g - D'lam|^2_{1/w} / (2 k)   for every ordered y.

        The residual is step |r|, relative to |x - x'| + |step r - (x - x')|, in the norm of
        L2(mu), r = (g - D'lam)/w; without a modulus it is 0 where it is only rounding.
        """
        x = self.positions(answer.measure)
        if x is None or (np.diff(x) < self.floor * (1 - 1e-9)).any():
            return Certificate(np.inf, np.inf)
        gradient = self.weights * self.slope(x)
        with np.errstate(invalid="ignore"):
            slack = np.maximum(np.diff(x) - self.floor, 0.0)
            lam = self.multipliers(gradient, x, slack, answer.dual)
            rest = gradient - (np.append(0.0, lam) - np.append(lam, 0.0))
            size = float(rest**2 @ (1 / self.weights))
            residual = self._residual(of_kind(answer.measure, Particles), x, rest / self.weights)
        modulus = self.modulus
        if modulus is None:
            return Certificate(None, residual if np.isfinite(residual) else np.inf)
        gap = float(lam @ slack) + size / (2 * modulus)
        return Certificate(gap if np.isfinite(gap) else np.inf, residual)

    def _residual(self, nu: Particles, x: Array, rest: Array) -> float:
        """The residual of forces `rest` (n,), per weight, left at x."""
        step = self.problem.step
        moved = (x - self.start)[:, None]
        left = step * rest[:, None]
        size = mean_size(self.weights, left)
        if size == 0 or not np.isfinite(size):
            return size
        figure = size / (mean_size(self.weights, moved) + mean_size(self.weights, left - moved))
        if self.modulus is None and figure > LEAST_RESIDUAL:
            floor = position_rounding(nu) + step * force_rounding(self.problem.energy, nu)
            return 0.0 if size <= floor else figure
        return figure

    def multipliers(self, gradient: Array, x: Array, slack: Array, dual: object) -> Array:
        """Forces (n-1,) between neighbours: the solver's, or those that hold blocks together."""
        if isinstance(dual, np.ndarray) and dual.shape == slack.shape:
            return np.maximum(dual, 0.0)
        touching = slack <= TOUCHING * max(np.abs(self.start).max(), np.abs(x).max())
        block = np.append(0, np.cumsum(~touching))
        mean = np.bincount(block, gradient) / np.bincount(block, self.weights)
        force = -np.cumsum(gradient - self.weights * mean[block])[:-1]
        return np.where(touching, np.maximum(force, 0.0), 0.0)

    @property
    def modulus(self) -> float | None:
        """Modulus of convexity in the metric of the weights, None where none is known."""
        known = self.parts.convex and not self.parts.potentials
        if self.curvature is None:
            return 1 / self.problem.step if known else None
        k = 1 / self.problem.step + self.curvature
        return k if k > 0 else None
