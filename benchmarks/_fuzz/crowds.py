"""Particles that move in the field of each other and of a target: MMD and interaction energies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import jko
from _fuzz.rivals import Rival
from _fuzz.terms import HOME, LONG, OnPoints

SHARE = 0.08

#: Smooth kernels of q = |x - y|^2 / h^2: (engine's, value, derivative in q, largest curvature h^2).
SMOOTH = {
    "gauss": (jko.kernels.Gaussian, lambda q: np.exp(-q / 2), lambda q: -np.exp(-q / 2) / 2, 1.0),
    "imq": (jko.kernels.InverseMultiquadric, lambda q: (1 + q) ** LONG(-0.5),
            lambda q: -((1 + q) ** LONG(-1.5)) / 2, 1.0),
}  # fmt: skip


@dataclass
class Crowd(OnPoints):
    """A step of c/2 MMD^2 to a target, or of c/2 double sums of a kernel, with a quadratic well."""

    points: np.ndarray
    weights: np.ndarray
    goal: np.ndarray
    loads: np.ndarray
    kernel: str
    width: float
    cost: float
    pull: float
    target: bool
    tau: float

    label = "Wasserstein crowd"
    closed_form = False

    @property
    def name(self):
        kind = "mmd" if self.target else "interaction"
        return "{} {} of {} in {} dimensions".format(kind, self.kernel, *self.points.shape)

    def problem(self, u=HOME):
        mu = jko.Particles(u.L * self.points, u.M * self.weights)
        kernel = SMOOTH[self.kernel][0](self.width * u.L)
        energy = jko.Interaction(kernel)
        if self.target:
            energy = jko.MMDEnergy(jko.Particles(u.L * self.goal, u.M * self.loads), kernel)
        energy = u.c * self.cost / u.M * energy
        if self.pull:
            value = lambda x: ((x / u.L) ** 2).sum(axis=1) / 2
            energy = energy + u.c * self.pull * jko.Potential(value, gradient=lambda x: x / u.L**2)
        return mu, energy, jko.Wasserstein(), self.tau * u.L**2 / u.c

    def expected(self):
        return "solvable"

    def _field(self, x, z):
        """Kernel (n, m) and its derivative in q between x and z."""
        away = np.asarray(x, LONG)[:, None] - np.asarray(z, LONG)
        q = (away**2).sum(axis=2) / LONG(self.width) ** 2
        _, value, slope, _ = SMOOTH[self.kernel]
        return value(q), slope(q)[:, :, None] * 2 * away / LONG(self.width) ** 2

    def objective(self, x):
        x, y, w = np.asarray(x, LONG), self.points.astype(LONG), self.weights.astype(LONG)
        parts = [w[:, None] * (x - y) ** 2 / (2 * LONG(self.tau)),
                 LONG(self.pull) * w[:, None] * x**2 / 2]  # fmt: skip
        parts.append(LONG(self.cost) / 2 * np.outer(w, w) * self._field(x, x)[0])
        if self.target:
            b = self.loads.astype(LONG)
            parts.append(-LONG(self.cost) * np.outer(w, b) * self._field(x, self.goal)[0])
            parts.append(
                LONG(self.cost) / 2 * np.outer(b, b) * self._field(self.goal, self.goal)[0]
            )
        return sum(p.sum() for p in parts), float(sum(np.abs(p).sum() for p in parts))

    def force(self, x):
        """grad f (n, d) at the particles."""
        w = self.weights.astype(LONG)
        out = LONG(self.pull) * np.asarray(x, LONG)
        out = out + LONG(self.cost) * (w[None, :, None] * self._field(x, x)[1]).sum(axis=1)
        if self.target:
            b = self.loads.astype(LONG)
            out = out - LONG(self.cost) * (b[None, :, None] * self._field(x, self.goal)[1]).sum(
                axis=1
            )
        return out

    @property
    def convexity(self):
        """A modulus of the objective per weight: 1/tau less the largest curvature of kernels."""
        reach = 2 * self.weights.sum() + (self.loads.sum() if self.target else 0.0)
        curvature = self.cost * reach * SMOOTH[self.kernel][3] / self.width**2
        return 1 / self.tau + self.pull - curvature

    def slope_size(self, x):
        """The norm of the gradient, each particle's per weight."""
        x, w = np.asarray(x, LONG), self.weights.astype(LONG)[:, None]
        slope = self.force(x) + (x - self.points) / LONG(self.tau)
        return float(np.sqrt((w * slope**2).sum()))

    def lower(self, x):
        if self.convexity <= 0:
            return -np.inf
        return float(self.objective(x)[0]) - self.slope_size(x) ** 2 / (2 * self.convexity)

    def allowance(self, home):
        """The excess that a residual of the tolerance leaves; any where nothing is convex."""
        if self.convexity <= 0:
            return np.inf
        x, w = home.measure.points, self.weights[:, None]
        sizes = np.sqrt((w * (x - self.points) ** 2).sum()) / self.tau
        sizes += np.sqrt((w * self.force(x).astype(float) ** 2).sum())
        rounding = 1e-15 * np.sqrt((w * np.maximum(x**2, self.points**2)).sum()) / self.tau
        return (home.tol * sizes + rounding) ** 2 / (2 * self.convexity)

    def apart(self, a, b):
        """Distance over motion, in the norm of the residual; 0 where minima may differ."""
        if self.convexity * self.tau < 0.25:
            return 0.0
        size = lambda z: float(np.sqrt((self.weights[:, None] * z**2).sum()))
        far = size(a - b) - 1e-14 * size(a)
        return max(far, 0.0) / (size(a - self.points) or 1.0)

    def rivals(self, rng, answer):
        """SciPy's L-BFGS from the start and from the answer."""
        return [
            Rival("L-BFGS", x, self.lower(x)) for x in map(self._descend, (self.points, answer))
        ]

    def _descend(self, start):
        """In the displacements of charged particles, times the roots of their weights."""
        from scipy.optimize import minimize

        charged = self.weights > 0
        root = np.sqrt(self.weights)[charged, None]
        unit = self.objective(start)[1] or 1.0

        def places(y):
            x = np.array(start, float)
            x[charged] += y.reshape(len(root), -1) / root
            return x

        def value(y):
            x = places(y)
            slope = self.force(x) + (x - self.points) / LONG(self.tau)
            pull = (root * slope[charged]).astype(float).ravel()
            return float(self.objective(x)[0]) / unit, pull / unit

        rest = np.zeros(root.size * self.points.shape[1])
        options = {"maxiter": 200, "ftol": 0, "gtol": 1e-12}
        return places(minimize(value, rest, jac=True, method="L-BFGS-B", options=options).x)


def draw(rng):
    n, d = int(rng.integers(1, 9)), int(rng.choice([1, 2, 3, 10, 50]))
    weights = rng.exponential(size=n)
    weights[rng.random(n) < 0.1] = 0.0
    weights[rng.random(n) < 0.05] = 1e-300
    weights[0] = max(weights[0], 0.1)
    points = rng.normal(size=(n, d)) / np.sqrt(d) * 10.0 ** rng.uniform(-1, 1)
    if rng.random() < 0.2:
        points[-1] = points[0]
    m = int(rng.integers(1, 7))
    goal = rng.normal(size=(m, d)) / np.sqrt(d)
    loads = rng.exponential(size=m) * 10.0 ** rng.uniform(-1, 1)
    kernel, width = ("gauss", "imq")[rng.integers(2)], float(10.0 ** rng.uniform(-0.5, 0.5))
    pull = 10.0 ** rng.uniform(-2, 1) * (rng.random() < 0.5)
    case = Crowd(points, weights, goal, loads, kernel, width, 10.0 ** rng.uniform(-1, 1), pull,
                 bool(rng.random() < 0.6), 10.0 ** rng.uniform(-6, 6))  # fmt: skip
    if rng.random() < 0.5:  # short enough for one minimum
        case.tau = min(case.tau, 0.5 / max(1 / case.tau + pull - case.convexity, 1e-9))
    return case
