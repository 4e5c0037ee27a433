"""Bayesian logistic regression with the exact evidence lower bound of a Gaussian.

E log(1 + exp(-a.x)) under a Gaussian is an integral in one dimension, over a.x: Gauss-Hermite
gives the bound to rounding, and an optimiser of it knows nothing of the library.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

import jko

X, WEIGHTS = np.polynomial.hermite_e.hermegauss(60)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


@dataclass(frozen=True, eq=False)
class Logistic:
    """log p(x) = -sum log(1 + exp(-a_i.x)) - |x|^2/2, a_i the signed covariates (n, d)."""

    signed: np.ndarray

    @classmethod
    def draw(cls, dim: int, count: int, seed: int = 0) -> Logistic:
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(count, dim))
        truth = 2 * rng.normal(size=dim) / np.sqrt(dim)
        y = np.where(rng.random(count) < 1 / (1 + np.exp(-x @ truth)), 1.0, -1.0)
        return cls(y[:, None] * x)

    @property
    def dim(self) -> int:
        return self.signed.shape[1]

    def log_density(self, x):
        return -np.logaddexp(0, -(x @ self.signed.T)).sum(axis=1) - 0.5 * (x**2).sum(axis=1)

    def score(self, x):
        return (1 / (1 + np.exp(x @ self.signed.T))) @ self.signed - x

    @property
    def target(self) -> jko.LogDensity:
        return jko.LogDensity(self.log_density, self.score, self.dim, log_concave=True)

    def _along(self, mean, root):
        sd = np.sqrt(((self.signed @ root) ** 2).sum(axis=1))
        return (self.signed @ mean)[:, None] + sd[:, None] * X

    def elbo(self, mean, root):
        """The exact bound at N(mean, root root')."""
        fit = (np.logaddexp(0, -self._along(mean, root)) @ WEIGHTS).sum()
        prior = 0.5 * (mean @ mean + (root**2).sum())
        entropy = np.log(np.abs(np.diag(root))).sum() + self.dim / 2 * np.log(2 * np.pi * np.e)
        return float(entropy - fit - prior)

    def elbo_of(self, g: jko.Gaussian) -> float:
        return self.elbo(g.mean, np.linalg.cholesky(g.cov))

    def optimum(self, start: jko.Gaussian, max_iter: int = 3000) -> tuple[float, float]:
        """Largest bound by L-BFGS in mean and Cholesky factor, and the gradient left."""
        d, lower = self.dim, np.tril_indices(self.dim)

        def loss(y):
            mean, root = y[:d], np.zeros((d, d))
            root[lower] = y[d:]
            p = 1 / (1 + np.exp(self._along(mean, root)))
            slope = mean - self.signed.T @ (p @ WEIGHTS)
            hessian = (self.signed.T * (p * (1 - p) @ WEIGHTS)) @ self.signed + np.eye(d)
            pull = hessian @ root - np.diag(1 / np.diag(root))
            return -self.elbo(mean, root), np.concatenate([slope, pull[lower]])

        y = np.concatenate([start.mean, np.linalg.cholesky(start.cov)[lower]])
        options = {"maxiter": max_iter, "maxfun": 2 * max_iter, "gtol": 1e-7, "ftol": 1e-15}
        found = minimize(loss, y, jac=True, method="L-BFGS-B", options=options)
        return -float(found.fun), float(np.abs(found.jac).max())
