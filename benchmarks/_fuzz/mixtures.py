"""Gaussians that follow the Fisher-Rao flow, and mixtures of them: closed forms and integrals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import jko
from _fuzz.rivals import Rival
from _fuzz.terms import HOME

SHARE = 0.02
#: Nodes of the integrals over a mixture, and how many deviations beyond its components they reach.
NODES, REACH = 20_001, 14.0


@dataclass
class Flowing:
    """c KL(. | N(a, B)) in a Hellinger geometry: precisions mix with the share e^{-c tau}.

    The objective is the distance to the closed form: the engine follows the flow (its claim).
    """

    means: np.ndarray  # (2, d)
    variances: np.ndarray  # (2, d)
    mass: float
    cost: float
    kind: str
    tau: float

    label = "Gaussian Hellinger"
    closed_form = True
    slack = 1e-10

    @property
    def name(self):
        return f"{self.kind} in {self.means.shape[1]} dimensions"

    def problem(self, u=HOME):
        one, two = (
            jko.Gaussian(u.L * m, u.L**2 * np.diag(v), u.M * self.mass)
            for m, v in zip(self.means, self.variances, strict=True)
        )
        fixed = jko.Hellinger(mass="fixed")
        geometry = fixed if self.kind == "fixed" else jko.SphericalHellinger()
        return one, u.c * self.cost * jko.KL(two), geometry, self.tau / u.c

    def shift(self, u):
        return 0.0

    @property
    def before(self):
        return np.concatenate([self.means[0], np.sqrt(self.variances[0])])

    def back(self, measure, u):
        return np.concatenate([measure.mean / u.L, np.sqrt(np.diag(measure.cov)) / u.L])

    def best(self):
        kept = np.exp(-self.tau * self.cost)
        shares, precisions = np.array([kept, -np.expm1(-self.tau * self.cost)]), 1 / self.variances
        total = shares @ precisions
        return np.concatenate([shares @ (precisions * self.means) / total, 1 / np.sqrt(total)])

    def objective(self, x):
        return float(np.abs(x - self.best()).max()), float(np.abs(self.best()).max())

    def expected(self):
        return "solvable"

    def rivals(self, rng, answer):
        return [Rival("closed form", self.best(), 0.0)]


@dataclass
class MixtureCase:
    """c int mu log mu + int a (x - b)^2 / 2 dmu + KL(w | w') / tau, in the weights of a mixture."""

    means: np.ndarray
    deviations: np.ndarray
    weights: np.ndarray
    cost: float
    well: tuple
    tau: float

    label = "Gaussian mixture"
    closed_form = False

    @property
    def name(self):
        return f"{len(self.weights)} components, entropy {self.cost:.1e}"

    def problem(self, u=HOME):
        a, b = self.well
        mu = jko.measures.GaussianMixture(
            u.L * self.means[:, None], (u.L * self.deviations)[:, None, None] ** 2,
            u.M * self.weights)  # fmt: skip
        energy = u.c * jko.Potential(
            lambda x: a * (x[:, 0] / u.L - b) ** 2 / 2, gradient=lambda x: a * (x / u.L - b) / u.L
        )
        if self.cost:
            energy = energy + u.c * self.cost * jko.Entropy()
        return mu, energy, jko.Divergence(p=1), self.tau / u.c

    def shift(self, u):
        return self.cost * float(self.weights.sum()) * (np.log(u.M) - np.log(u.L))

    @property
    def before(self):
        return self.weights

    def back(self, measure, u):
        return measure.weights / u.M

    def _densities(self):
        reach = REACH * self.deviations.max()
        x = np.linspace(self.means.min() - reach, self.means.max() + reach, NODES)
        z = (x - self.means[:, None]) / self.deviations[:, None]
        return x, np.exp(-(z**2) / 2) / (np.sqrt(2 * np.pi) * self.deviations[:, None])

    def _variation(self, w):
        """E_k of V + c log mu: sums over even nodes are exact to all digits for such integrands."""
        x, parts = self._densities()
        mu, (a, b) = w @ parts, self.well
        field = a * (x - b) ** 2 / 2
        field = field + self.cost * np.where(mu > 0, np.log(np.where(mu > 0, mu, 1.0)), 0.0)
        return (parts * field).sum(axis=1) * (x[1] - x[0])

    def objective(self, w):
        w = np.asarray(w, float)
        if (w < 0).any() or abs(w.sum() / self.weights.sum() - 1) > 1e-12:
            return np.inf, 0.0
        full = w > 0
        apart = w[full] - self.weights[full]
        moved = (w[full] * np.log1p(apart / self.weights[full]) - apart) / self.tau
        flat = np.concatenate([w * self._variation(w), moved])
        return float(flat.sum()), float(np.abs(flat).sum())

    def expected(self):
        return "solvable"

    def rivals(self, rng, answer):
        """SciPy's L-BFGS in logarithms of the weights, with the slopes of the plain integrals."""
        from scipy.optimize import minimize

        mass, unit = self.weights.sum(), self.objective(self.weights)[1]

        def weights(z):
            e = np.exp(z - z.max())
            return mass * e / e.sum()

        def fall(z):
            w = weights(z)
            slope = self._variation(w) + self.cost + np.log(w / self.weights) / self.tau
            return self.objective(w)[0] / unit, w * (slope - w @ slope / mass) / unit

        found = minimize(fall, np.log(answer), jac=True, method="L-BFGS-B").x
        w = weights(found)
        slope = self._variation(w) + self.cost + np.log(w / self.weights) / self.tau
        floor = self.objective(w)[0] - (w @ slope - mass * slope.min())
        return [Rival("L-BFGS", w, floor)]


def draw(rng):
    if rng.random() < 0.5:
        d = int(rng.choice([1, 2, 5, 20]))
        means, variances = rng.normal(size=(2, d)), 10.0 ** rng.uniform(-1.5, 1.5, (2, d))
        mass, cost = 10.0 ** rng.uniform(-1, 1), 10.0 ** rng.uniform(-2, 2)
        kind = str(rng.choice(["fixed", "spherical"]))
        return Flowing(means, variances, mass, cost, kind, 10.0 ** rng.uniform(-6, 3))
    k = int(rng.integers(1, 5))
    cost = 10.0 ** rng.uniform(-2, 1) * (rng.random() < 0.7)
    return MixtureCase(3 * rng.normal(size=k), 10.0 ** rng.uniform(-0.5, 0.3, k),
                       rng.exponential(size=k) + 0.05, cost,
                       (10.0 ** rng.uniform(-2, 1), float(rng.normal())),
                       10.0 ** rng.uniform(-6, 4))  # fmt: skip
