"""Particles drawn to a target by transport: `WassersteinEnergy` and `SinkhornDivergence`.

Values by POT's exact transport and by a Sinkhorn iteration in logarithms; W_2 obeys the triangle
inequality, so a step of W_2^2(., nu) / 2 never ends below W_2^2(mu', nu) / (2 (1 + tau)).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import jko
from _fuzz.rivals import Rival
from _fuzz.terms import HOME, OnPoints

SHARE = 0.02
#: What a residual of the tolerance may cost, relative to it and to the terms.
COST = 10.0


def squares(x, y):
    return ((x[:, None] - y) ** 2).sum(axis=2)


def exact(x, a, y, b):
    """W_2^2 of measures of mass 1."""
    import ot

    cost = squares(x, y)
    unit = float(cost.max()) or 1.0
    return unit * float(ot.emd2(a, b, np.ascontiguousarray(cost / unit), numItermax=1_000_000))


def entropic(x, a, y, b, reg):
    """min <|x - y|^2, P> + reg KL(P | a b'), by its dual, of measures of mass 1."""
    cost, f, g = squares(x, y), np.zeros(a.size), np.zeros(b.size)
    soft = lambda z, w: (
        np.log((np.exp(z - z.max(axis=1, keepdims=True)) * w).sum(axis=1)) + z.max(axis=1)
    )
    for _ in range(3000):
        f = -reg * soft((g - cost) / reg, b)
        new = -reg * soft((f[:, None] - cost).T / reg, a)
        off, g = np.abs(new - g).max(), new
        if off <= 1e-12 * (np.abs(g).max() + reg):
            break
    return float(a @ f + b @ g)


@dataclass
class Drawn(OnPoints):
    """A step of particles to a target of the same mass."""

    points: np.ndarray
    weights: np.ndarray
    goal: np.ndarray
    goal_weights: np.ndarray
    reg: float  # 0: exact
    tau: float

    closed_form = False
    slack = 1e-9
    verified = 1e-3

    @property
    def label(self):
        return "Wasserstein to a target"

    @property
    def name(self):
        kind = f"Sinkhorn {self.reg:.1e}" if self.reg else "W2"
        return f"{kind} of {len(self.points)} to {len(self.goal)} in {self.points.shape[1]}-D"

    def problem(self, u=HOME):
        mu = jko.Particles(u.L * self.points, u.M * self.weights)
        nu = jko.Particles(u.L * self.goal, u.M * self.goal_weights)
        energy = jko.WassersteinEnergy(nu)
        if self.reg:
            energy = jko.SinkhornDivergence(nu, self.reg * u.L**2)
        return mu, u.c / u.L**2 * energy, jko.Wasserstein(), self.tau * u.L**2 / u.c

    def energy(self, x):
        mass = self.weights.sum()
        a, b = self.weights / mass, self.goal_weights / self.goal_weights.sum()
        if not self.reg:
            return mass * exact(x, a, self.goal, b) / 2
        pairs = ((x, a, self.goal, b), (x, a, x, a), (self.goal, b, self.goal, b))
        one, two, three = (entropic(*pair, self.reg) for pair in pairs)
        return mass * (one - two / 2 - three / 2)

    def objective(self, x):
        moved = float(self.weights @ ((x - self.points) ** 2).sum(axis=1)) / (2 * self.tau)
        found = self.energy(np.asarray(x, float))
        spread = np.ptp(np.vstack([x, self.goal]), axis=0)
        return found + moved, found + moved + float(self.weights.sum() * (spread**2).sum())

    def expected(self):
        return "solvable"

    def allowance(self, home):
        """What the tolerance on a residual may cost: the objective is no more convex than that."""
        return COST * home.tol * self.objective(self.back(home.measure, HOME))[1]

    def rivals(self, rng, answer):
        """SciPy's L-BFGS from the answer, by differences of the plain value."""
        from scipy.optimize import minimize

        shape, unit = answer.shape, self.objective(answer)[1]
        value = lambda z: self.objective(z.reshape(shape))[0] / unit
        found = minimize(
            value, answer.ravel(), method="L-BFGS-B", options={"maxiter": 3, "maxfun": 60}
        ).x
        floor = 0.0
        if not self.reg:
            floor = self.energy(self.points) / (1 + self.tau) * (1 - 1e-9)
        return [Rival("L-BFGS", found.reshape(shape), floor)]


def draw(rng):
    n, k, d = (int(rng.integers(1, 7)), int(rng.integers(1, 7)), int(rng.choice([1, 2, 3])))
    a, b = rng.exponential(size=n) + 0.05, rng.exponential(size=k) + 0.05
    mass = 10.0 ** rng.uniform(-1, 1)
    spread = 10.0 ** rng.uniform(-0.5, 0.5)
    points, goal = rng.normal(size=(n, d)), spread * rng.normal(size=(k, d))
    reg = 0.0
    if rng.random() < 0.4:
        reg = float(squares(points, goal).mean()) * 10.0 ** rng.uniform(-0.5, 1)
    return Drawn(points, mass * a / a.sum(), goal, mass * b / b.sum(), reg,
                 10.0 ** rng.uniform(-6, 6))  # fmt: skip
