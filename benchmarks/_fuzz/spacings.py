"""Particles on the line with internal energies between neighbours, wells, a kernel with a kink."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import jko
from _fuzz.rivals import Rival
from _fuzz.terms import HOME, LONG

SHARE = 0.06


@dataclass
class Spaced:
    """A step in sorted positions of c sum s U(m/s), s the spacings, m the mass between, and wells.

    `kind` is "ent" or the power of a porous medium; `pull` a quadratic well; `goal` the atoms of an
    energy distance.
    """

    points: np.ndarray
    weights: np.ndarray
    kind: object
    cost: float
    pull: float
    goal: object
    tau: float

    label = "Wasserstein line"
    closed_form = False

    @property
    def name(self):
        more = "" if self.goal is None else f" and energy distance to {len(self.goal)}"
        return f"{self.kind} of {len(self.points)} on the line{more}"

    def problem(self, u=HOME):
        mu = jko.Particles(u.L * self.points[:, None], u.M * self.weights)
        terms = []
        if self.kind == "ent":
            terms.append(u.c * self.cost * jko.Entropy())
        elif self.kind is not None:
            scale = u.M ** (1 - self.kind) * u.L ** (self.kind - 1)
            terms.append(u.c * self.cost * scale * jko.PorousMedium(self.kind))
        if self.pull:
            value = lambda x: ((x / u.L) ** 2).sum(axis=1) / 2
            well = jko.Potential(value, gradient=lambda x: x / u.L**2)
            terms.append(u.c * self.pull * well)
        if self.goal is not None:
            mass = self.weights.sum() / len(self.goal)
            nu = jko.Particles(u.L * self.goal[:, None], np.full(len(self.goal), u.M * mass))
            terms.append(u.c / (u.M * u.L) * jko.MMDEnergy(nu, jko.kernels.Energy()))
        energy = sum(terms[1:], terms[0])
        return mu, energy, jko.Wasserstein(), self.tau * u.L**2 / u.c

    def shift(self, u):
        if self.kind != "ent":
            return 0.0
        return self.cost * float(self._masses().sum()) * (np.log(u.M) - np.log(u.L))

    def raw(self, x, u):
        """What squared motions are made of, whose rounding positions keep."""
        return float(self.weights.sum() * np.abs(x).max(initial=0.0) ** 2 / (2 * self.tau))

    def _charged(self):
        index = np.flatnonzero(self.weights > 0)
        return index[np.argsort(self.points[index], kind="stable")]

    def _masses(self):
        w = self.weights[self._charged()].astype(LONG)
        return (w[1:] + w[:-1]) / 2

    def expected(self):
        return "solvable"

    @property
    def before(self):
        return self.points

    def back(self, measure, u):
        return measure.points[:, 0] / u.L

    def parts(self, x):
        """Terms at sorted positions of the charged particles."""
        index = self._charged()
        w, y = self.weights[index].astype(LONG), self.points[index].astype(LONG)
        m, s = self._masses(), np.diff(x)
        out = [w * (x - y) ** 2 / (2 * LONG(self.tau)), LONG(self.pull) * w * x**2 / 2]
        with np.errstate(all="ignore"):
            if self.kind == "ent":
                out.append(LONG(self.cost) * m * np.log(m / s))
            elif self.kind is not None:
                power = LONG(self.kind)
                out.append(LONG(self.cost) * s * (m / s) ** power / (power - 1))
        if self.goal is not None:
            b = np.full(len(self.goal), w.sum() / len(self.goal))
            z = self.goal.astype(LONG)
            out.append(np.abs(x[:, None] - z) * np.outer(w, b))
            out.append(-np.abs(x[:, None] - x) * np.outer(w, w) / 2)
            out.append(-np.abs(z[:, None] - z) * np.outer(b, b) / 2)
        return [np.ravel(p) for p in out]

    def objective(self, x):
        x = np.asarray(x, LONG)[self._charged()]
        if (np.diff(x) < 0).any():
            return LONG(np.inf), 0.0
        flat = np.concatenate(self.parts(x))
        # A unit of rounding of a position changes a spacing, and its energy by the pressure.
        with np.errstate(all="ignore"):
            s, m = np.diff(x), self._masses()
            rounding = np.abs(x).max(initial=0) / np.where(s > 0, s, 1)
            lost = 0.0
            if self.kind is not None:
                p = m if self.kind == "ent" else s * (m / s) ** LONG(self.kind)
                lost = float(np.nansum(LONG(self.cost) * p * np.minimum(rounding, 1e3)))
        return flat.sum(), float(np.abs(flat).sum()) + lost

    def rivals(self, rng, answer):
        """Clarabel, then SciPy's L-BFGS from there and from the answer."""
        found = [self._clarabel()]
        return [Rival("Clarabel", x) for x in found if x is not None]

    def _clarabel(self):
        import cvxpy as cp

        index = self._charged()
        w, y = self.weights[index], self.points[index]
        n, centre = len(index), float(y.mean())
        reach = max(float(np.ptp(y)), 1e-3)
        x = cp.Variable(n)
        total = (
            cp.sum(cp.multiply(w, cp.square(x - (y - centre) / reach))) * reach**2 / (2 * self.tau)
        )
        place = reach * x + centre
        bounds = []
        if n > 1:
            s, m = reach * (x[1:] - x[:-1]), self._masses().astype(float)
            bounds.append(s >= 0)
            if self.kind == "ent":
                total = total + self.cost * cp.sum(cp.multiply(m, -cp.log(s)))
            elif self.kind is not None:
                total = total + self.cost / (self.kind - 1) * cp.sum(
                    cp.multiply(m**self.kind, cp.power(s, 1 - self.kind)))  # fmt: skip
        if self.pull:
            total = total + self.pull / 2 * cp.sum(cp.multiply(w, cp.square(place)))
        if self.goal is not None:
            total = total + w.sum() / len(self.goal) * sum(
                cp.sum(cp.multiply(w, cp.abs(place - z))) for z in self.goal)  # fmt: skip
            rank = 2 * np.cumsum(w) - w - w.sum()
            total = total - cp.sum(cp.multiply(w * rank, place))
        unit = self.objective(self.points)[1] or 1.0
        if not np.isfinite(unit):
            unit = 1.0
        try:
            cp.Problem(cp.Minimize(total / unit), bounds).solve(solver="CLARABEL")
        except (cp.error.SolverError, ValueError, ArithmeticError):
            return None
        if x.value is None:
            return None
        out = self.points.copy()
        out[index] = np.maximum.accumulate(reach * x.value + centre)
        return out


def draw(rng):
    n = int(rng.integers(1, 12))
    weights = rng.exponential(size=n)
    weights[rng.random(n) < 0.1] = 0.0
    weights[0] = max(weights[0], 0.1)
    points = rng.normal(size=n) * 10.0 ** rng.uniform(-1, 1)
    if n > 2 and rng.random() < 0.15:
        points[1] = points[0] + 1e-7
    kind = ("ent", "ent", 2.0, 3.0, 1.5, None)[rng.integers(6)]
    goal = None
    if kind is None or rng.random() < 0.3:
        goal = rng.normal(size=int(rng.integers(1, 7)))
    pull = 10.0 ** rng.uniform(-2, 1) * (rng.random() < 0.6)
    return Spaced(points, weights, kind, 10.0 ** rng.uniform(-1, 1), pull, goal,
                  10.0 ** rng.uniform(-6, 6))  # fmt: skip
