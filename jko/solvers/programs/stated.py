"""Exact Wasserstein steps between weights on one support, as problems with a duality gap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jko.geometries.wasserstein import Wasserstein
from jko.measures.base import Discrete, Measure
from jko.prox.duality.weights import fixed_gap, median_multiplier
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Certificate, Neighbour, on_atoms
from jko.validation import Array


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
        bound = float(m[m > 0] @ (self.cost() - slope[self.open]).min(axis=1))
        moved = self.problem.geometry.penalty(nu, self.previous, self.problem.tau)
        inner = lower.inner(w) & np.isfinite(gradient)
        residual = float(w[inner] @ np.abs(gradient[inner] - lam)) / self.previous.mass
        gap = energy + moved - float(slope @ w) - bound
        return Certificate(gap if np.isfinite(gap) else np.inf, residual)
