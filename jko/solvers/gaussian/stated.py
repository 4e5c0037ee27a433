"""Problems that steps on Gaussian measures state, and how their answers are judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from jko.energies.gaussian_form import GaussianForm, fisher_norm
from jko.geometries.gaussian import gaussian_kl
from jko.geometries.wasserstein import bures, bures_map, symmetric_sqrt
from jko.measures.base import Measure
from jko.measures.gaussian import Gaussian
from jko.prox.problem import ProxProblem
from jko.prox.result import Certificate
from jko.validation import Array


@dataclass(frozen=True, eq=False)
class Nearest:
    """Be the Gaussian `end`: objective least + scale KL(nu|end), whose gap is its second term.

    The stated problem of exact flows (end: where the flow leads), of entropic mirror steps and
    moment matching (end: the minimiser), whose objectives are of this form exactly.
    """

    end: Gaussian
    least: float = 0.0
    scale: float = 1.0

    def objective(self, nu: Measure) -> float:
        """least + scale KL(nu|end)."""
        assert isinstance(nu, Gaussian)
        return self.least + self.scale * gaussian_kl(nu, self.end)

    def certificate(self, answer: Any) -> Certificate:
        """The gap scale KL(nu|end), and the distance (2 KL)^{1/2} in the Fisher metric."""
        excess = max(gaussian_kl(answer.measure, self.end), 0.0)
        return Certificate(self.scale * excess, float(np.sqrt(2 * excess / self.end.mass)))


@dataclass(frozen=True, eq=False)
class Covering(Nearest):
    """As `Nearest`, with the divergence the other way round: least + scale KL(end|nu)."""

    def objective(self, nu: Measure) -> float:
        """least + scale KL(end|nu)."""
        assert isinstance(nu, Gaussian)
        return self.least + self.scale * gaussian_kl(self.end, nu)

    def certificate(self, answer: Any) -> Certificate:
        """The gap scale KL(end|nu), and the distance (2 KL)^{1/2} in the Fisher metric."""
        excess = max(gaussian_kl(self.end, answer.measure), 0.0)
        return Certificate(self.scale * excess, float(np.sqrt(2 * excess / self.end.mass)))


@dataclass(frozen=True, eq=False)
class MirrorStep:
    """F(nu) + KL(nu|previous)/step over Gaussians, by its stationarity in the Fisher metric."""

    problem: ProxProblem
    form: GaussianForm

    def objective(self, nu: Measure) -> float:
        """F(nu) + KL(nu|previous)/step."""
        return self.problem.objective(nu)

    def certificate(self, answer: Any) -> Certificate:
        """The gradient in whitened coordinates, times the step length over 1 + c step."""
        nu, previous, step = answer.measure, self.problem.previous, self.problem.step
        slope, curvature = self.form.stationarity(nu)
        root = np.linalg.cholesky(nu.cov)
        white = np.linalg.inv(np.linalg.cholesky(previous.cov))
        pulled = white @ root
        slope = slope + pulled.T @ (white @ (nu.mean - previous.mean)) / step
        curvature = curvature + (pulled.T @ pulled - np.eye(nu.dim)) / step
        scale = step / (1 + self.form.entropy * step)
        return Certificate(None, scale * fisher_norm(slope, curvature))


def bures_field(
    slope: Array, curvature: Array, nu: Gaussian, previous: Gaussian, step: float
) -> Array:
    """Columns whose sum of squares is int |v|^2 dnu, v = grad f + (x - T(x))/step made affine.

    `slope` and `curvature` are the gradient of the energy in whitened coordinates.
    """
    root = np.linalg.cholesky(nu.cov)
    shift = np.linalg.solve(root.T, slope) + (nu.mean - previous.mean) / step
    # L^{-T} (curvature) L^{-1} times a root of the covariance: L itself.
    force = np.linalg.solve(root.T, curvature)
    linear = (np.eye(nu.dim) - bures_map(nu, previous)) @ root / step
    return np.column_stack([shift, force + linear])


@dataclass(frozen=True, eq=False)
class TransportStep:
    r"""F(nu) + W2^2(nu, previous)/(2 step) over Gaussians: the implicit Bures step.

    Residual: |x - T(x) + step grad f| in L2(nu), projected on affine fields, over max(1, W2).
    With V convex the objective is 1/step-convex along the generalised geodesics from `previous`,
    which join Gaussians by Gaussians: gap <= step/2 int |v|^2, v = grad f + (x - T(x))/step.
    """

    problem: ProxProblem
    form: GaussianForm

    def objective(self, nu: Measure) -> float:
        """F(nu) + W2^2(nu, previous)/(2 step)."""
        return self.problem.objective(nu)

    def field(self, nu: Gaussian, previous: Gaussian) -> Array:
        """`bures_field` of the objective at `nu`."""
        return bures_field(*self.form.stationarity(nu), nu, previous, self.problem.step)

    def certificate(self, answer: Any) -> Certificate:
        """Gap where V is known to be convex, and the residual."""
        nu, previous, step = answer.measure, self.problem.previous, self.problem.step
        assert isinstance(previous, Gaussian)
        square = float((self.field(nu, previous) ** 2).sum())
        distance = np.sqrt(nu.mass * bures(nu, previous))
        residual = step * np.sqrt(nu.mass * square) / max(1.0, float(distance))
        gap = nu.mass * step / 2 * square if self.form.convex else None
        return Certificate(gap, float(residual))


@dataclass(frozen=True, eq=False)
class EntropyStep:
    """c int nu log nu + W2^2(nu, pushed)/(2 step): the implicit half of forward-backward.

    `pushed` is the previous Gaussian moved along the affine part of -step grad V.
    """

    pushed: Gaussian
    scale: float
    step: float

    def objective(self, nu: Measure) -> float:
        """c int nu log nu + W2^2(nu, pushed)/(2 step)."""
        assert isinstance(nu, Gaussian)
        _, logdet = np.linalg.slogdet(2 * np.pi * np.e * nu.cov)
        entropy = nu.mass * (np.log(nu.mass) - 0.5 * logdet)
        return float(self.scale * entropy + nu.mass * bures(nu, self.pushed) / (2 * self.step))

    def certificate(self, answer: Any) -> Certificate:
        """Gap from 1/step-convexity along the generalised geodesics from `pushed`."""
        nu = answer.measure
        root = symmetric_sqrt(nu.cov)
        linear = np.eye(nu.dim) - bures_map(nu, self.pushed)
        spread = linear @ root / self.step - self.scale * np.linalg.inv(root)
        shift = (nu.mean - self.pushed.mean) / self.step
        square = nu.mass * float((spread**2).sum() + (shift**2).sum())
        distance = np.sqrt(nu.mass * bures(nu, self.pushed))
        return Certificate(
            self.step / 2 * square, float(self.step * np.sqrt(square) / max(1.0, distance))
        )
