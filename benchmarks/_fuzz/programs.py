"""Exact transport steps (`jko.solvers.TransportProgram`) with any costs and any slope."""

from __future__ import annotations

import numpy as np

import jko
from _fuzz.certified import Trial, draw_energy, near, shaken, support, weights
from _fuzz.terms import LONG
from jko.solvers.programs.transport import TransportStep


class Case:
    """A drawn step in W_p, or with a matrix of costs."""

    def __init__(self, rng):
        space, length = support(rng, kinds=("histogram",))
        m = weights(rng, space.size)
        self.m, self.mass = m, float(m.sum())
        self.energy = draw_energy(rng, space, self.mass)
        self.name, kind = self.energy.name, rng.integers(4)
        tau = float(length**2 * 10.0 ** rng.uniform(-3, 3))
        squares = space.squares()
        if kind < 2:
            geometry, cost, self.label = jko.Wasserstein(), squares / (2 * LONG(tau)), "program W2"
        elif kind == 2:
            p = float(rng.choice([1.5, 3.0]))
            tau = float(length * 10.0 ** rng.uniform(-2, 2))
            cost = squares ** (LONG(p) / 2) / (LONG(p) * LONG(tau) ** (LONG(p) - 1))
            geometry, self.label = jko.Wasserstein(p=p), "program Wp"
        else:
            given = rng.exponential(size=squares.shape) * float(length) ** 2
            np.fill_diagonal(given, 0.0)
            geometry, self.label = jko.Wasserstein(cost=given), "program cost"
            cost = given.astype(LONG) / (2 * LONG(tau))
        self.cost = cost
        self.problem = jko.ProxProblem(self.energy.engine, geometry, space.measure(m), tau)
        self.energy.bounds = self.problem.form.separable.ceiling
        self.stated = TransportStep(self.problem)
        self.best, self.floor, self.start = self._solve()

    def refused(self):
        return not self.problem.form.convex

    def transport(self, w):
        """(lower, upper) cost of transport from m to w, and potentials of w.

        The plan and the potentials are POT's; each gives a bound of its own.
        """
        import ot

        rows, columns = np.flatnonzero(self.m), np.flatnonzero(w)
        cost = self.cost[np.ix_(rows, columns)]
        unit = cost.max() or LONG(1)
        a, b = self.m[rows] / self.m.sum(), w[columns] / w.sum()
        scaled = np.ascontiguousarray(np.asarray(cost / unit, dtype=float))
        _, log = ot.emd2(a, b, scaled, log=True, return_matrix=True)
        psi = np.full(w.size, LONG(np.nan))
        psi[columns] = unit * (log["v"] - log["v"].mean())
        phi = (cost - psi[columns]).min(axis=1)
        full = self.cost[rows] - phi[:, None]
        psi = np.where(np.isnan(psi), full.min(axis=0), np.fmin(psi, full.min(axis=0)))
        lower = self.m[rows].astype(LONG) @ phi + w[columns].astype(LONG) @ psi[columns]
        # Weights whose mass is off by rounding stand for any that are so near.
        lower -= abs(w.astype(LONG).sum() - self.m.astype(LONG).sum()) * cost.max(initial=0)
        upper = self._mended(log["G"] * self.m.sum(), self.m[rows], w[columns], cost)
        return lower, upper, psi

    def _mended(self, plan, m, w, cost):
        """The cost of the plan with its marginals made exact."""
        plan, m, w = plan.astype(LONG), m.astype(LONG), w.astype(LONG)
        with np.errstate(all="ignore"):
            plan = plan * np.where(plan.sum(1) > 0, np.minimum(1, m / plan.sum(1)), 0)[:, None]
            plan = plan * np.where(plan.sum(0) > 0, np.minimum(1, w / plan.sum(0)), 0)
        left, right = m - plan.sum(axis=1), w - plan.sum(axis=0)
        if left.sum() > 0 and right.sum() > 0:
            plan = plan + left[:, None] * right / max(left.sum(), right.sum())
        return (plan * cost).sum()

    def value(self, w, bound):
        """(objective, size) with the lower (0) or upper (1) bound of the transport."""
        parts = self.transport(w)
        terms = np.array([*self.energy.terms(w), parts[bound]])
        return terms.sum(), float(np.abs(terms).sum()) + self.energy.raw(w)

    def _solve(self):
        if self.refused():
            return (np.inf, 0.0), -np.inf, None
        w = self.m
        try:
            found = jko.step(self.problem.previous, self.problem.energy, self.problem.geometry,
                             self.problem.tau, solver=jko.solvers.TransportProgram(),
                             throw=False)  # fmt: skip
            w = found.measure.weights
        except jko.JkoError:
            pass
        value = self.value(w, 1)
        _, _, psi = self.transport(w)
        phi = (self.cost - psi).min(axis=1)
        floor = self.energy.floor(psi, w, self.mass) + self.m.astype(LONG) @ phi
        return value, floor, (w, psi)

    def trials(self, rng, count):
        w, psi = self.start[0], np.asarray(self.start[1], dtype=float)
        # A potential at empty atoms that holds back what the energy wants: the dual of the step.
        scale = float(np.abs(psi).max() + self.cost.max())
        for _ in range(count):
            v = near(rng, w, self.mass, self.energy.ceiling)
            if v is None:
                continue
            slope = shaken(rng, psi, scale)
            gap = self.stated.gap(self.problem.discrete.with_weights(v), slope).gap
            yield Trial(gap, *self.value(v, 0))
