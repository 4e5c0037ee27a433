"""Problems that steps on Gaussian measures state, and how their answers are judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from jko.energies.gaussian_form import GaussianForm, fisher_norm
from jko.energies.rounding import VALUE_ROUNDINGS
from jko.geometries.bures import bures, bures_map, symmetric_sqrt
from jko.geometries.gaussian import gaussian_kl
from jko.measures.base import Measure
from jko.measures.gaussian import Gaussian
from jko.numerics.elementary import EPS
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Certificate, Claim, Neighbour, Scale, Stated, of_kind
from jko.validation import Array

#: Roundings of its terms, per dimension, that a gradient at a Gaussian may be off by.
ROUNDINGS = 16.0


@dataclass(frozen=True, eq=False)
class Nearest(Stated):
    """Be the Gaussian `end`: objective least + scale KL(nu|end), whose gap is its second term.

    The stated problem of exact flows (end: where the flow leads), of entropic mirror steps and
    moment matching (end: the minimiser), whose objectives are of this form exactly.
    """

    end: Gaussian
    least: float = 0.0
    scale: float = 1.0

    def objective(self, nu: Measure) -> float:
        """least + scale KL(nu|end)."""
        return self.least + self.scale * gaussian_kl(of_kind(nu, Gaussian), self.end)

    def certificate(self, answer: Answer) -> Certificate:
        """The gap scale KL(nu|end), and the distance (2 KL)^{1/2} in the Fisher metric."""
        excess = max(gaussian_kl(of_kind(answer.measure, Gaussian), self.end), 0.0)
        return Certificate(self.scale * excess, float(np.sqrt(2 * excess / self.end.mass)))

    def size(self, answer: Answer) -> Scale:
        """The unit of the divergence: scale x mass x dimension."""
        unit = self.scale * self.end.mass * self.end.dim
        return Scale(unit, unit + abs(self.least))


@dataclass(frozen=True, eq=False)
class Followed(Nearest):
    """Where an exact or explicit flow leads: `end` computed another way, and no proximal step."""

    claim: ClassVar[Claim] = Claim.FOLLOWS


@dataclass(frozen=True, eq=False)
class Covering(Nearest):
    """As `Nearest`, with the divergence the other way round: least + scale KL(end|nu)."""

    def objective(self, nu: Measure) -> float:
        """least + scale KL(end|nu)."""
        return self.least + self.scale * gaussian_kl(self.end, of_kind(nu, Gaussian))

    def certificate(self, answer: Answer) -> Certificate:
        """The gap scale KL(end|nu), and the distance (2 KL)^{1/2} in the Fisher metric."""
        excess = max(gaussian_kl(self.end, of_kind(answer.measure, Gaussian)), 0.0)
        return Certificate(self.scale * excess, float(np.sqrt(2 * excess / self.end.mass)))


@dataclass(frozen=True, eq=False)
class MirrorStep(Neighbour):
    """F(nu) + KL(nu|previous)/step over Gaussians, by its stationarity in the Fisher metric."""

    claim: ClassVar[Claim] = Claim.STATIONARY

    problem: ProxProblem
    form: GaussianForm

    def objective(self, nu: Measure) -> float:
        """F(nu) + KL(nu|previous)/step."""
        return self.problem.objective(nu)

    def certificate(self, answer: Answer) -> Certificate:
        """The gradient in whitened coordinates, relative to those of energy and penalty."""
        nu, previous = of_kind(answer.measure, Gaussian), of_kind(self.problem.previous, Gaussian)
        step = self.problem.step
        slope, curvature = self.form.stationarity(nu)
        root = np.linalg.cholesky(nu.cov)
        white = np.linalg.inv(np.linalg.cholesky(previous.cov))
        pulled = white @ root
        shift = pulled.T @ (white @ (nu.mean - previous.mean)) / step
        stretch = (pulled.T @ pulled - np.eye(nu.dim)) / step
        # The distance to the stationary point, relative to the way from the previous Gaussian.
        scale = step / (1 + self.form.entropy * step)
        size = fisher_norm(slope + shift, curvature + stretch)
        terms = fisher_norm(slope, curvature) + step / scale * fisher_norm(shift, stretch)
        parts = self.form.entropy + float(np.linalg.norm(curvature)) + 1 / step
        floor = whitened_rounding(nu, parts) + nu.dim * self.form.difference_noise(nu)
        return Certificate(None, relative(size, terms, floor))


def relative(size: float, terms: float, floor: float) -> float:
    """A residual relative to the size of the terms that cancel in it, 0 where it is rounding."""
    if size <= floor:
        return 0.0
    return size / terms if terms > 0 else np.inf


def whitened_rounding(nu: Gaussian, parts: float) -> float:
    """Rounding of a gradient in whitened coordinates whose terms have sizes that add to `parts`."""
    offset = float(np.linalg.norm(np.linalg.solve(np.linalg.cholesky(nu.cov), nu.mean)))
    return ROUNDINGS * EPS * nu.dim * (1 + offset) * parts


@dataclass(frozen=True, eq=False)
class BuresField:
    """Columns (d, d + 1) whose sums of squares are integrals over nu of |affine field|^2.

    Attributes
    ----------
    force : array
        Of grad f, made affine.
    pull : array
        Of (x - T(x))/step, T the map to the previous Gaussian.
    rounding : float
        What the norm of their sum may be at a stationary point.
    """

    force: Array
    pull: Array
    rounding: float

    @classmethod
    def of(
        cls, slope: Array, curvature: Array, nu: Gaussian, previous: Gaussian, step: float
    ) -> BuresField:
        """From the gradient of the energy in whitened coordinates."""
        root = np.linalg.cholesky(nu.cov)
        # L^{-T} (curvature) L^{-1} times a root of the covariance: L itself.
        force = np.linalg.solve(root.T, np.column_stack([slope, curvature]))
        stretch = (np.eye(nu.dim) - bures_map(nu, previous)) @ root
        pull = np.column_stack([nu.mean - previous.mean, stretch]) / step
        length = np.linalg.norm(nu.mean) + np.linalg.norm(root) + np.linalg.norm(previous.mean)
        width = float(np.linalg.norm(root, -2))
        terms = float(np.linalg.norm(curvature)) + float(np.linalg.norm(slope))
        rounding = ROUNDINGS * EPS * nu.dim * float(length) / step
        return cls(force, pull, rounding + whitened_rounding(nu, terms) / width)

    @property
    def square(self) -> float:
        """int |grad f + (x - T(x))/step|^2 dnu."""
        return float(((self.force + self.pull) ** 2).sum())

    @property
    def residual(self) -> float:
        """Its root relative to the roots of the two parts, 0 where it is rounding."""
        parts = float(np.linalg.norm(self.force)) + float(np.linalg.norm(self.pull))
        return relative(float(np.sqrt(self.square)), parts, self.rounding)


@dataclass(frozen=True, eq=False)
class BuresStep(Stated):
    r"""F(nu) + W2^2(nu, previous)/(2 step) over Gaussians: the implicit Bures step.

    Residual: |x - T(x) + step grad f| in L2(nu), projected on affine fields, relative to
    |x - T(x)| + step |grad f|, and 0 where it is rounding or promises a decrease below the rounding
    of F.
    With a V of least curvature c <= 0 the objective is (1/step + c)-convex along the generalised
    geodesics from `previous`, which join Gaussians by Gaussians: if that is positive,
    gap <= int |v|^2 / (2 (1/step + c)), v = grad f + (x - T(x))/step.
    """

    problem: ProxProblem
    form: GaussianForm

    def objective(self, nu: Measure) -> float:
        """F(nu) + W2^2(nu, previous)/(2 step)."""
        return self.problem.objective(nu)

    def field(self, nu: Gaussian, previous: Gaussian) -> BuresField:
        """The gradient of the objective at `nu`."""
        return BuresField.of(*self.form.stationarity(nu), nu, previous, self.problem.step)

    def certificate(self, answer: Answer) -> Certificate:
        """Gap where V is known to be convex, and the residual."""
        nu, previous = of_kind(answer.measure, Gaussian), of_kind(self.problem.previous, Gaussian)
        step = self.problem.step
        field = self.field(nu, previous)
        residual = field.residual
        if self.promise(nu, field) <= VALUE_ROUNDINGS * EPS * self._magnitude(nu):
            residual = 0.0
        convexity = 1 / step + min(self.form.bend, 0.0)
        gap = nu.mass * field.square / (2 * convexity) if convexity > 0 else None
        return Certificate(gap, residual)

    def promise(self, nu: Gaussian, field: BuresField) -> float:
        """The decrease that a quadratic model of curvature 1/step promises."""
        return nu.mass * self.problem.step / 2 * field.square

    def at_rest(self, nu: Gaussian, field: BuresField) -> bool:
        """Whether that is less than one rounding of the energy."""
        return self.promise(nu, field) <= EPS * self._magnitude(nu)

    def _magnitude(self, nu: Gaussian) -> float:
        """The size of the energy's terms, of which an entropy may be 0 itself."""
        return self.form.entropy * nu.mass * nu.dim + abs(self.problem.value(nu))


@dataclass(frozen=True, eq=False)
class EntropyStep(Stated):
    """c int nu log nu + W2^2(nu, pushed)/(2 step): the implicit half of forward-backward.

    `pushed` is the previous Gaussian moved along the affine part of -step grad V.
    """

    claim: ClassVar[Claim] = Claim.REGULARISED

    pushed: Gaussian
    scale: float
    step: float

    def objective(self, nu: Measure) -> float:
        """c int nu log nu + W2^2(nu, pushed)/(2 step)."""
        nu = of_kind(nu, Gaussian)
        _, logdet = np.linalg.slogdet(2 * np.pi * np.e * nu.cov)
        entropy = nu.mass * (np.log(nu.mass) - 0.5 * logdet)
        return float(self.scale * entropy + nu.mass * bures(nu, self.pushed) / (2 * self.step))

    def certificate(self, answer: Answer) -> Certificate:
        """Gap from 1/step-convexity along the generalised geodesics from `pushed`."""
        nu = of_kind(answer.measure, Gaussian)
        root = symmetric_sqrt(nu.cov)
        linear = np.eye(nu.dim) - bures_map(nu, self.pushed)
        force = -self.scale * np.linalg.inv(root)
        pull = np.column_stack([nu.mean - self.pushed.mean, linear @ root]) / self.step
        total = pull + np.column_stack([np.zeros(nu.dim), force])
        size, square = float(np.linalg.norm(total)), float((total**2).sum())
        parts = float(np.linalg.norm(pull)) + float(np.linalg.norm(force))
        return Certificate(self.step / 2 * nu.mass * square, relative(size, parts, 0.0))
