"""Gaussians to 50 dimensions against closed forms on common axes (formulas G1 and H4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import jko
from _fuzz.rivals import Rival
from _fuzz.terms import HOME, LONG

SHARE = 0.1


@dataclass
class GaussianCase:
    """A step of c KL(. | N(goal, target)) or of entropy and a quadratic well, axes shared."""

    axes: np.ndarray
    means: np.ndarray  # (2, d): previous, target, along the axes
    variances: np.ndarray  # (2, d)
    mass: float
    cost: float
    kind: str
    tau: float

    closed_form = True

    @property
    def label(self):
        return "Gaussian W2" if self.kind != "mirror" else "Gaussian mirror"

    @property
    def name(self):
        return f"{self.kind} in {self.means.shape[1]} dimensions"

    def _gaussian(self, k, u):
        Q = self.axes
        return jko.Gaussian(u.L * (Q @ self.means[k]), u.L**2 * ((Q * self.variances[k]) @ Q.T),
                            u.M * self.mass)  # fmt: skip

    def problem(self, u=HOME):
        mu, pi = self._gaussian(0, u), self._gaussian(1, u)
        if self.kind == "mirror":
            geometry, stretch = jko.Divergence(p=1, mass="fixed"), u.M
        else:
            geometry, stretch = jko.Wasserstein(), u.M * u.L**2
        if self.kind == "well":
            Q, v, a = self.axes, self.variances[1], self.axes @ self.means[1]
            pull = lambda x: ((x / u.L - a) @ Q) / v
            energy = jko.Entropy() + jko.Potential(
                lambda x: (((x / u.L - a) @ Q) ** 2 / v).sum(axis=1) / 2,
                gradient=lambda x: pull(x) @ Q.T / u.L,
            )
        else:
            energy = jko.KL(pi)
        return mu, u.c * self.cost * energy, geometry, self.tau * stretch / (u.c * u.M)

    @property
    def before(self):
        return np.concatenate([self.means[0], np.sqrt(self.variances[0])])

    def back(self, measure, u):
        """Means along the axes and standard deviations."""
        Q = self.axes
        mean = Q.T @ measure.mean / u.L
        return np.concatenate([mean, np.sqrt(np.diag(Q.T @ (measure.cov / u.L**2) @ Q))])

    def shift(self, u):
        d = self.means.shape[1]
        logs = self.cost * self.mass * (np.log(self.mass * u.M) - d * np.log(u.L))
        here = self.cost * self.mass * np.log(self.mass)
        return logs - here if self.kind == "well" else 0.0

    def objective(self, x):
        """F + D^2 / (2 tau) on these axes."""
        d = self.means.shape[1]
        m, s = np.asarray(x[:d], LONG), np.asarray(x[d:], LONG)
        m0, s0 = self.means[0].astype(LONG), np.sqrt(self.variances[0].astype(LONG))
        a, v = self.means[1].astype(LONG), self.variances[1].astype(LONG)
        kl = [s**2 / v / 2, (m - a) ** 2 / v / 2, -np.log(s), np.log(v) / 2 - LONG(0.5)]
        if self.kind == "well":
            level = LONG(0.5) * np.log(2 * LONG(np.pi)) + LONG(0.5) + 0 * v
            kl = [*kl[:3], -level, np.full(d, np.log(LONG(self.mass)) / d)]
        if self.kind == "mirror":
            moved = [2 * p for p in ((s / s0) ** 2 / 2, ((m - m0) / s0) ** 2 / 2,
                                     -np.log(s / s0), -0.5 + 0 * s)]  # fmt: skip
        else:
            moved = [(m - m0) ** 2, (s - s0) ** 2]
        all_ = np.concatenate([LONG(self.cost) * p for p in kl] + [p / (2 * LONG(self.tau))
                              for p in moved]) * LONG(self.mass)  # fmt: skip
        return all_.sum(), float(np.abs(all_).sum())

    def allowance(self, home):
        """What a residual step may cost above the minimum: its tolerance of the terms."""
        return 1e-5 * self.objective(self.back(home.measure, HOME))[1]

    def expected(self):
        return "solvable"

    def rivals(self, rng, answer):
        """The closed form, to forty digits."""
        return [Rival("closed form", self.best())]

    def best(self):
        """The closed form."""
        t = LONG(self.tau * self.cost)
        m0, a = (v.astype(LONG) for v in self.means)
        b, v = (s.astype(LONG) for s in self.variances)
        if self.kind == "mirror":
            precision = (t / v + 1 / b) / (1 + t)
            mean = (t * a / v + m0 / b) / (1 + t) / precision
            return np.concatenate([mean, 1 / np.sqrt(precision)])
        k, s = 1 + t / v, np.sqrt(b)
        return np.concatenate([(m0 + t * a / v) / k, (s + np.sqrt(s * s + 4 * t * k)) / (2 * k)])


def draw(rng):
    d = int(rng.choice([1, 2, 3, 10, 50]))
    axes = np.linalg.qr(rng.normal(size=(d, d)))[0]
    variances = 10.0 ** rng.uniform(-1.5, 1.5, (2, d))
    kind = ("bures", "well", "mirror")[rng.integers(3)]
    return GaussianCase(axes, rng.normal(size=(2, d)), variances, 10.0 ** rng.uniform(-1, 1),
                        10.0 ** rng.uniform(-2, 2), kind, 10.0 ** rng.uniform(-6, 6))  # fmt: skip
