"""Steps of Gaussian mixtures: components move as Gaussian particles, their weights react.

A mixture sum_k w_k N(m_k, S_k) is read as the measure sum_k w_k delta_{N_k} on the space of
Gaussians. Transport moves each N_k in the Bures geometry, reaction changes w_k: together the
Bures-Wasserstein-Fisher-Rao flow of Lambert et al. (2022).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from jko.energies.gaussian_moments import Moments
from jko.geometries.base import Geometry
from jko.geometries.bures import bures
from jko.geometries.wasserstein import Wasserstein
from jko.measures.base import Measure
from jko.measures.gaussian import Gaussian, GaussianMixture, parts_of
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Certificate, Controls, Stated
from jko.solvers.base import ProxSolver
from jko.solvers.gaussian.stated import BuresField, relative
from jko.solvers.gaussian.transport import MOST, model_step
from jko.validation import Array

#: What `info["kind"]` says of a transport step,
LINEAR = "linearly implicit step of the components, of first order"


def mixture_of(parts: list[Gaussian], weights: Array) -> GaussianMixture:
    """The mixture of normalised Gaussians."""
    means, covs = (np.array(v) for v in ([g.mean for g in parts], [g.cov for g in parts]))
    return GaussianMixture(means, covs, weights)


def mixture_refusal(problem: ProxProblem) -> str | None:
    if not isinstance(problem.previous, GaussianMixture):
        return f"it moves a jko.GaussianMixture, not a {type(problem.previous).__name__}"
    problem.energy.gaussian_form()
    return None


@dataclass(frozen=True, eq=False)
class _Model(Stated):
    """sum_k w_k [c int N log N + q_k + W2^2(N_k, N'_k)/(2 step)], q_k the model of the rest.

    Of the components with weight: the others are not there, and nothing is asked of them.
    """

    entropy: float
    step: float
    weights: Array
    before: list[Gaussian]
    rests: list[Moments]

    def parts(self, nu: Measure) -> list[Gaussian]:
        """The components of nu that carry weight here."""
        assert isinstance(nu, GaussianMixture)
        return [g for w, g in zip(nu.components[0], parts_of(nu), strict=True) if w > 0]

    def cost(self, nu: GaussianMixture) -> float:
        """sum_k w_k W2^2(N_k, N'_k), an upper bound of W2^2."""
        pairs = zip(self.weights, self.parts(nu), self.before, strict=True)
        return float(sum(w * bures(a, b) for w, a, b in pairs))

    def objective(self, nu: Measure) -> float:
        """The model at a mixture with these weights; q_k counts from the previous component."""
        assert isinstance(nu, GaussianMixture)
        total = self.cost(nu) / (2 * self.step)
        for w, g, b, rest in zip(
            self.weights, self.parts(nu), self.before, self.rests, strict=True
        ):
            white = np.linalg.inv(np.linalg.cholesky(b.cov))
            shift, ratio = white @ (g.mean - b.mean), white @ g.cov @ white.T
            second = ratio + np.outer(shift, shift) - np.eye(g.dim)
            change = float(rest.slope @ shift) + 0.5 * float((rest.curvature * second).sum())
            _, logdet = np.linalg.slogdet(2 * np.pi * np.e * g.cov)
            total += float(w) * (change - 0.5 * self.entropy * float(logdet))
        return total

    def certificate(self, answer: Answer) -> Certificate:
        """Gap from (1 + step h)/step-convexity, h the least curvature of the model; residual."""
        gap = square = forces = pulls = floor = 0.0
        for w, g, b, rest in zip(
            self.weights, self.parts(answer.measure), self.before, self.rests, strict=True
        ):
            white = np.linalg.inv(np.linalg.cholesky(b.cov))
            pulled = white @ np.linalg.cholesky(g.cov)
            slope = pulled.T @ (rest.slope + rest.curvature @ (white @ (g.mean - b.mean)))
            curvature = pulled.T @ rest.curvature @ pulled - self.entropy * np.eye(g.dim)
            field = BuresField.of(slope, curvature, g, b, self.step)
            least = float(np.linalg.eigvalsh(white.T @ rest.curvature @ white)[0])
            gap += float(w) * field.square * self.step / (2 * (1 + self.step * least))
            square += float(w) * field.square
            forces += float(w) * float((field.force**2).sum())
            pulls += float(w) * float((field.pull**2).sum())
            floor += float(w) * field.rounding**2
        size, terms = float(np.sqrt(square)), float(np.sqrt(forces) + np.sqrt(pulls))
        return Certificate(gap, relative(size, terms, float(np.sqrt(floor))))


@dataclass(frozen=True)
class MixtureTransport(ProxSolver):
    r"""Linearly implicit Bures steps of the components of a mixture, weights fixed.

    The first variation V + c log mu is split per component into c log N_k, whose step is exact,
    and the rest, replaced by its quadratic model at the previous component: the exact step of the
    model (formula G1), component by component. First order; equilibria are kept; negative curvature
    beyond -1/tau is lifted. `sqdistance` is sum_k w_k W2^2(N_k, N'_k), an upper bound of W2^2.

    References
    ----------
    Lambert et al. (2022).
    """

    geometries: ClassVar[tuple[type[Geometry], ...]] = (Wasserstein,)
    kinds: ClassVar[tuple[type[Measure], ...]] = (GaussianMixture,)
    guarantee: ClassVar[str] = "exact step of a quadratic model per component, with its gap"
    default_tol: ClassVar[float] = 1e-8

    def accepts(self, problem: ProxProblem) -> str | None:
        if not isinstance(problem.geometry, Wasserstein):
            return f"it steps in jko.Wasserstein(), not in {problem.geometry!r}"
        return mixture_refusal(problem)

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        previous, form = problem.previous, problem.energy.gaussian_form()
        assert isinstance(previous, GaussianMixture)
        along, everyone, shares = form.along(previous), parts_of(previous), previous.components[0]
        weights = shares[shares > 0]
        before = [g for w, g in zip(shares, everyone, strict=True) if w > 0]
        rests = [_lifted(along.moments(g), g, form.entropy, problem.step) for g in before]
        moved = [
            model_step(rest, form.entropy, g, g, problem.step)
            for rest, g in zip(rests, before, strict=True)
        ]
        # A component without weight stays: pushed by a log density of nothing it would run away.
        alive = iter(moved)
        placed = [next(alive) if w > 0 else g for w, g in zip(shares, everyone, strict=True)]
        nu = mixture_of(placed, shares)
        stated = _Model(form.entropy, problem.step, weights, before, rests)
        error = float(np.sqrt(weights @ np.array([r.error**2 for r in rests])))
        return Answer(
            nu,
            stated,
            iterations=1,
            sqdistance=stated.cost(nu) / problem.geometry.rate,
            baseline=stated.objective(previous),
            info={"kind": LINEAR, "moment_error": error},
        )


def _lifted(found: Moments, g: Gaussian, entropy: float, step: float) -> Moments:
    """Moments of V + c log(mu/N_k), with curvature of at least -MOST/step."""
    curvature = found.curvature + entropy * np.eye(g.dim)
    root = np.linalg.cholesky(g.cov)
    white = np.linalg.inv(root)
    values, basis = np.linalg.eigh(white.T @ curvature @ white)
    if values[0] < -MOST / step:
        frame = root.T @ basis
        curvature = (frame * np.maximum(values, -MOST / step)) @ frame.T
    return Moments(0.0, found.slope, curvature, found.value_error, found.error)
