"""Particles that move, against steps of convex wells particle by particle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import jko
from _fuzz.rivals import Rival
from _fuzz.terms import HOME, LONG, OnPoints

SHARE = 0.1


@dataclass
class Moving(OnPoints):
    """Particles in a convex well, sum_j a_j x_j^2 / 2 + b_j x_j^4 / 4."""

    points: np.ndarray
    weights: np.ndarray
    well: np.ndarray  # (2, d)
    tau: float

    label = "Wasserstein particles"
    closed_form = False

    @property
    def name(self):
        return "well of {} in {} dimensions".format(*self.points.shape)

    def problem(self, u=HOME):
        a, b = self.well
        value = lambda x: (a * (x / u.L) ** 2 / 2 + b * (x / u.L) ** 4 / 4).sum(axis=1)
        slope = lambda x: (a * (x / u.L) + b * (x / u.L) ** 3) / u.L
        mu = jko.Particles(u.L * self.points, u.M * self.weights)
        energy = u.c * jko.Potential(value, gradient=slope)
        return mu, energy, jko.Wasserstein(), self.tau * u.L**2 / u.c

    def objective(self, x):
        x, y = np.asarray(x, LONG), self.points.astype(LONG)
        a, b = self.well.astype(LONG)
        parts = (a * x**2 / 2 + b * x**4 / 4, (x - y) ** 2 / (2 * LONG(self.tau)))
        all_ = [(self.weights.astype(LONG)[:, None] * p).ravel() for p in parts]
        flat = np.concatenate(all_)
        return flat.sum(), float(np.abs(flat).sum())

    def apart(self, a, b):
        """Distance over motion, in the norm of the residual."""
        size = lambda z: float(np.sqrt((self.weights[:, None] * z**2).sum()))
        return size(a - b) / (size(a - self.points) or 1.0)

    def expected(self):
        return "solvable"

    def rivals(self, rng, answer):
        """x + tau (a x + b x^3) = y by bisection, coordinate by coordinate."""
        y = self.points.astype(LONG)
        a, b = self.well.astype(LONG)
        lo, hi = np.minimum(y, 0), np.maximum(y, 0)
        for _ in range(120):
            x = (lo + hi) / 2
            above = x + self.tau * (a * x + b * x**3) > y
            hi, lo = np.where(above, x, hi), np.where(above, lo, x)
        best = np.where(self.weights[:, None] > 0, (lo + hi) / 2, y)
        return [Rival("bisection", best, self.lower(best))]

    def lower(self, x):
        """The objective is 1/tau-convex: lower by no more than tau/2 |slope|^2."""
        a, b = self.well.astype(LONG)
        slope = a * x + b * x**3 + (x - self.points) / LONG(self.tau)
        w = self.weights.astype(LONG)[:, None]
        return float(self.objective(x)[0] - LONG(self.tau) / 2 * (w * slope**2).sum())

    def allowance(self, home):
        """The excess that a residual of the tolerance leaves in a 1/tau-convex objective."""
        x = home.measure.points
        force = self.well[0] * x + self.well[1] * x**3
        w = self.weights[:, None]
        sizes = np.sqrt((w * (x - self.points) ** 2).sum())
        sizes += self.tau * np.sqrt((w * force**2).sum())
        return (home.tol * sizes) ** 2 / (2 * self.tau)


def draw(rng):
    n, d = int(rng.integers(1, 9)), int(rng.choice([1, 2, 5, 50]))
    weights = rng.exponential(size=n)
    weights[rng.random(n) < 0.1] = 0.0
    weights[0] = weights[0] or 1.0
    well = 10.0 ** rng.uniform(-2, 2, (2, d)) * (rng.random((2, d)) < 0.8)
    points = rng.normal(size=(n, d)) * 10.0 ** rng.uniform(-1, 1)
    return Moving(points, weights, well, 10.0 ** rng.uniform(-6, 6))
