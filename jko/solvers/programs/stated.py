"""Exact Wasserstein steps between weights on one support, as problems with a duality gap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jko.geometries.wasserstein import Wasserstein
from jko.measures.base import Discrete, Measure
from jko.prox.duality.weights import fixed_gap, median_multiplier
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Certificate, Neighbour, on_atoms
from jko.validation import Array, Index


@dataclass(frozen=True, eq=False)
class TransportStep(Neighbour):
    """The unregularised Wasserstein step between weights on one support, with its duality gap."""

    problem: ProxProblem

    @property
    def previous(self) -> Discrete:
        """The previous measure."""
        return self.problem.discrete

    @property
    def open(self) -> Array:
        """Atoms that may carry mass (mask)."""
        return np.asarray(self.problem.form.separable.ceiling > 0)

    def cost(self) -> Array:
        """What the step pays from the charged atoms of m' to the open ones: |x - y|^2 / (2 tau)."""
        geometry, charged = self.problem.geometry, np.flatnonzero(self.previous.weights > 0)
        assert isinstance(geometry, Wasserstein)
        return geometry.step_cost(
            self.previous, self.problem.tau, charged, np.flatnonzero(self.open)
        )

    def best(self, slope: Array) -> tuple[Index, Array, Array]:
        """For the charged atoms of m': the best open one, max_j g_j - C_ij, and the bare cost."""
        geometry, charged = self.problem.geometry, np.flatnonzero(self.previous.weights > 0)
        assert isinstance(geometry, Wasserstein)
        opened = np.flatnonzero(self.open)
        price = geometry.paid(geometry.of_cost(1.0), self.problem.tau)
        partner, gain, cost = geometry.ground.partners(
            self.previous, charged, opened, slope[opened], price
        )
        return opened[partner], gain, cost

    def _moved(self, nu: Discrete, partner: Index, cost: Array) -> float:
        """What the step to `nu` pays: of the plan to the best partners where that leads there.

        Such a plan and the slope are complementary: no exact program is needed.
        """
        previous, geometry = self.previous, self.problem.geometry
        assert isinstance(geometry, Wasserstein)
        m = previous.weights[previous.weights > 0]
        if np.array_equal(np.bincount(partner, m, previous.n), nu.weights):
            return geometry.paid(geometry.of_cost(float(m @ cost)), self.problem.tau)
        return geometry.penalty(nu, previous, self.problem.tau)

    def sqdistance(self, nu: Discrete) -> float:
        """D^2 from m' to `nu`, in this order: a matrix of costs need not be symmetric."""
        return self.problem.geometry.sqdistance(self.previous, nu)

    def objective(self, nu: Measure) -> float:
        """F(nu) + W^2(nu, m') / (2 tau), by exact transport."""
        return self.problem.objective(nu)

    def certificate(self, answer: Answer) -> Certificate:
        """Gap of a measure from `answer.dual["slope"]`, any slope g of the transport term."""
        return self.gap(on_atoms(answer.measure), answer.potentials["slope"])

    def gap(self, nu: Discrete, slope: Array) -> Certificate:
        r"""Upper bound of the excess of `nu`, for any g (n,) (Kantorovich duality):

            F(w) + F*(-g) + <g, w>   +   W^2(w, m')/(2 tau) - <g, w> - sum_i m'_i min_j (C_ij - g_j)

        with C already over 2 tau and F* on measures of the mass of m'; convex quadratic parts
        enter by their tangent at w. Both differences are >= 0.
        """
        w = nu.weights
        lower, _ = self.problem.form.linearised(w)
        gradient = lower.gradient(w) + slope
        lam = median_multiplier(lower, gradient, w)
        energy, _ = fixed_gap(lower, slope, w, self.previous.mass, lam)
        m = self.previous.weights
        partner, best, cost = self.best(slope)
        bound = -float(m[m > 0] @ best)
        moved = self._moved(nu, partner, cost)
        inner = lower.inner(w) & np.isfinite(gradient)
        residual = float(w[inner] @ np.abs(gradient[inner] - lam)) / self.previous.mass
        gap = energy + moved - float(slope @ w) - bound
        return Certificate(gap if np.isfinite(gap) else np.inf, residual)
