"""Transport between cells whose mass may stand anywhere between them (back-and-forth)."""

from __future__ import annotations

import numpy as np

import jko
from _fuzz.certified import Trial, draw_energy, near, shaken, support, weights
from _fuzz.terms import LONG
from jko.prox.stated import Answer
from jko.solvers.back_and_forth.stated import CellStep

#: Places between two cells that the first program knows, and how often better ones are added.
PLACES, ROUNDS = 4, 6


class Transport:
    """Least cost from cells to places, shared linearly by the neighbouring cells, axis by axis."""

    def __init__(self, shape, scales):
        self.shape, self.scales = shape, scales
        self.axes = [axis for axis, n in enumerate(shape) if n > 1]

    def transform(self, phi):
        """psi (cells): the least of cost minus interpolated phi, and the places of all segments."""
        values, best = np.asarray(phi, dtype=LONG).reshape(self.shape), {}
        for axis in reversed(self.axes):
            rows = np.moveaxis(values, axis, -1)
            n, s = rows.shape[-1], LONG(self.scales[axis])
            i, j = np.arange(n)[:, None], np.arange(n - 1)
            left, slope = rows[..., :-1], np.diff(rows, axis=-1)
            # s (i - j - t)^2 - left - t slope over 0 <= t <= 1
            t = np.clip((i - j) + slope[..., None, :] / (2 * s), 0, 1)
            cost = s * (i - j - t) ** 2 - left[..., None, :] - t * slope[..., None, :]
            best[axis] = t
            values = np.moveaxis(-cost.min(axis=-1), -1, axis)
        return -values, best

    def bounds(self, w, q):
        """(lower, upper, phi): of the least cost from w to the shares q, by linear programs."""
        from scipy.optimize import linprog

        unit, mass = max(self.scales) or 1.0, float(w.sum())
        w, q = w.ravel() / mass, q.ravel() / float(q.sum())
        # Columns (axis, line, cell, segment, t); nodes: the cells before and after every axis.
        columns = {axis: {k / PLACES for k in range(PLACES + 1)} for axis in self.axes}
        extra, best = [], (-np.inf, np.inf, None)
        for _ in range(ROUNDS):
            rows, costs = self._program(columns, extra, unit)
            size = w.size
            right = np.zeros((len(self.axes) + 1) * size)
            right[:size], right[-size:] = w, -q
            found = linprog(costs, A_eq=rows, b_eq=right, method="highs",
                            options={"primal_feasibility_tolerance": 1e-10,
                                     "dual_feasibility_tolerance": 1e-10})  # fmt: skip
            if found.x is None:
                break
            phi = -found.eqlin.marginals[-size:] * unit
            psi, places = self.transform(phi)
            lower = float(psi.ravel() @ w + phi @ q)
            # What the program's rounding left out of balance costs the longest way at most.
            plan = np.maximum(found.x, 0.0)
            off = np.abs(rows @ plan - right).sum() + abs(w.sum() - q.sum())
            longest = sum(s * n**2 for s, n in zip(self.scales, self.shape, strict=True))
            upper = float(costs @ plan) * unit + off * longest
            phi_best = phi if lower > best[0] else best[2]
            best = max(lower, best[0]), min(upper, best[1]), phi_best
            extra.append(places)
            if best[1] - best[0] <= 1e-13 * unit:
                break
        return mass * best[0], mass * best[1], best[2]

    def _program(self, columns, extra, unit):
        from scipy.sparse import coo_array

        size = int(np.prod(self.shape))
        number = np.arange(size).reshape(self.shape)
        index, data, costs, count = [], [], [], 0
        for stage, axis in enumerate(self.axes):
            n, s = self.shape[axis], self.scales[axis] / unit
            lines = np.moveaxis(number, axis, -1).reshape(-1, n)
            added = [np.asarray(p[axis], dtype=float).reshape(-1, n, n - 1) for p in extra]
            for k, line in enumerate(lines):
                for i in range(n):
                    for j in range(n - 1):
                        for t in {*columns[axis], *(float(a[k, i, j]) for a in added)}:
                            index += [(stage * size + line[i], count)]
                            index += [((stage + 1) * size + line[j], count)]
                            index += [((stage + 1) * size + line[j + 1], count)]
                            data += [1.0, t - 1.0, -t]
                            costs.append(s * (i - j - t) ** 2)
                            count += 1
        at = np.array(index).T
        shape = ((len(self.axes) + 1) * size, count)
        return coo_array((data, (at[0], at[1])), shape=shape).tocsr(), np.array(costs)


class Case:
    """A drawn step between cells."""

    def __init__(self, rng):
        space, length = support(rng, kinds=("grid",), most=6)
        m = weights(rng, space.size)
        self.mass, self.shape = float(m.sum()), tuple(space.grid[2])
        self.energy = draw_energy(rng, space, self.mass)
        self.side = str(rng.choice(["previous", "new"]))
        self.name, self.label = self.energy.name, f"cells, {self.side}"
        tau = float(length**2 * 10.0 ** rng.uniform(-3, 3))
        mu = space.measure(m)
        self.problem = jko.ProxProblem(self.energy.engine, jko.Wasserstein(), mu, tau)
        self.energy.bounds = self.problem.form.separable.ceiling
        self.m = m.reshape(self.shape)
        spacing = np.asarray(mu.grid.spacing)
        self.transport = Transport(self.shape, [float(h) ** 2 / (2 * tau) for h in spacing])
        self.stated = CellStep(self.problem, self.side)
        self.best, self.floor, self.start = self._solve()

    def refused(self):
        return bool(self.problem.form.quadratics)

    def bounds(self, w):
        """Lower and upper bound of T, and the potential of the sharing cells."""
        ends = (w, self.m) if self.side == "previous" else (self.m, w)
        return self.transport.bounds(*ends)

    def _total(self, w, moved):
        terms = np.array([*self.energy.terms(w.ravel()), moved])
        return terms.sum(), float(np.abs(terms).sum())

    def _solve(self):
        if self.refused():
            return (np.inf, 0.0), -np.inf, None
        w, solver = self.m, jko.solvers.BackAndForth()
        try:
            found = jko.step(self.problem.previous, self.problem.energy, self.problem.geometry,
                             self.problem.tau, solver=solver, throw=False)  # fmt: skip
            w = found.measure.weights.reshape(self.shape)
        except jko.JkoError:
            pass
        _, upper, g = self.bounds(w)
        if g is None:
            return (np.inf, 0.0), -np.inf, (w, np.zeros(w.shape))
        psi, _ = self.transport.transform(g)
        phi, psi = (g, psi.ravel()) if self.side == "previous" else (psi.ravel(), g)
        floor = self.energy.floor(psi, w.ravel(), self.mass) + phi @ self.m.ravel()
        return self._total(w, upper), floor, (w, g.reshape(self.shape))

    def trials(self, rng, count):
        w, g = self.start
        ceiling = self.energy.ceiling
        scale = max(self.transport.scales) * max(self.shape) ** 2
        for _ in range(count):
            v = near(rng, w.ravel(), self.mass, ceiling)
            if v is None:
                continue
            v, potential = v.reshape(self.shape), shaken(rng, g, scale)
            nu = self.problem.previous.with_weights(v.ravel())
            answer = Answer(nu, self.stated, 0, dual={"g": potential, "w": v})
            gap = self.stated.certificate(answer).gap
            if np.isinf(gap):
                yield Trial(gap, np.inf, 0.0)
                continue
            moved = self.stated.bound(v, potential).transport / (2 * self.problem.step)
            value, size = self._total(v, moved)
            # Potentials count as terms: a bound is a difference of their integrals.
            size += float(np.abs(potential).max()) * self.mass
            yield Trial(gap, value, size)
            if rng.random() < 0.1:  # the cost of the plan is no less than the least
                lower, _, _ = self.bounds(v)
                yield Trial(moved, LONG(lower), size, least=LONG(0))
