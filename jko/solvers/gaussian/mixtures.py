"""Steps of Gaussian mixtures: components move as Gaussian particles, their weights react.

A mixture sum_k w_k N(m_k, S_k) is read as the measure sum_k w_k delta_{N_k} on the space of
Gaussians. Transport moves each N_k in the Bures geometry, reaction changes w_k: together the
Bures-Wasserstein-Fisher-Rao flow of Lambert et al. (2022).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from jko.energies.gaussian_form import Moments
from jko.geometries.base import Geometry
from jko.geometries.divergence import Divergence
from jko.geometries.hellinger import Hellinger, SphericalHellinger
from jko.geometries.wasserstein import Wasserstein, bures
from jko.measures.base import Measure
from jko.measures.gaussian import Gaussian, GaussianMixture, parts_of
from jko.numerics.elementary import EPS, log_or_minus_inf
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Certificate, Controls, Scale, Stated, of_kind
from jko.solvers.base import ProxSolver
from jko.solvers.gaussian.stated import ROUNDINGS, BuresField, relative
from jko.solvers.gaussian.transport import MOST, model_step
from jko.validation import Array

#: What `info["kind"]` says of a transport step,
LINEAR = "linearly implicit step of the components, of first order"
#: and of a reaction step in a Hellinger geometry.
EXPONENTIAL = "implicit exponential step of the Fisher-Rao flow of the weights, of first order"


def mixture_of(parts: list[Gaussian], weights: Array) -> GaussianMixture:
    """The mixture of normalised Gaussians."""
    means, covs = (np.array(v) for v in ([g.mean for g in parts], [g.cov for g in parts]))
    return GaussianMixture(means, covs, weights)


def _refusal(problem: ProxProblem) -> str | None:
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
        return _refusal(problem)

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


@dataclass(frozen=True, eq=False)
class _Reaction(Stated):
    """F(w) + KL(w|w')/step in the weights of fixed components; convex."""

    potential: Array
    logs: Array
    nodes: Array
    entropy: float
    before: Array
    step: float
    constant: float

    @classmethod
    def of(cls, problem: ProxProblem, mu: GaussianMixture) -> _Reaction:
        form, parts = problem.energy.gaussian_form(), parts_of(mu)
        along = form.along(mu)
        fixed = [form.moments(g).value for g in parts]
        rule = along.fields[-1].rule_in(mu.dim) if form.entropy else None
        nodes = None if rule is None else rule.nodes(mu.dim)
        if nodes is None:
            logs, weights = np.zeros((len(parts), 1, len(parts))), np.ones(1)
        else:
            points = [g.mean + nodes.z @ np.linalg.cholesky(g.cov).T for g in parts]
            logs = np.array([[g.log_density_at(x) for g in parts] for x in points])
            logs, weights = logs.transpose(0, 2, 1), nodes.weights
        constant = form.linear * mu.mass + form.constant
        before = mu.components[0]
        return cls(np.array(fixed), logs, weights, form.entropy, before, problem.step, constant)

    def variation(self, w: Array) -> Array:
        """f_k = E_k (V + c log mu), (k,)."""
        log_mu = np.logaddexp.reduce(self.logs + log_or_minus_inf(w), axis=2)
        return np.asarray(self.potential + self.entropy * (log_mu @ self.nodes))

    def value(self, w: Array) -> float:
        """F(w) + KL(w|w')/step."""
        alive = w > 0
        ratio = np.log(w[alive] / self.before[alive])
        return float(w @ self.variation(w)) + self.constant + float(w[alive] @ ratio) / self.step

    def objective(self, nu: Measure) -> float:
        """The same, of a mixture with these components."""
        assert isinstance(nu, GaussianMixture)
        return self.value(nu.components[0])

    def magnitude(self, w: Array) -> float:
        """The size of the terms that a change of the weights can change."""
        f, log_ratio = self._centred(w)
        alive = w > 0
        spread = float(w[alive] @ np.abs(f)) + float(w[alive] @ np.abs(log_ratio)) / self.step
        return self.entropy * float(w.sum()) + spread

    def _centred(self, w: Array) -> tuple[Array, Array]:
        """f and log(w/w') on the charged components, less their means."""
        alive = w > 0
        share = w[alive] / w.sum()
        f, log_ratio = self.variation(w)[alive], np.log(w[alive] / self.before[alive])
        return f - float(share @ f), log_ratio - float(share @ log_ratio)

    def excess(self, w: Array) -> tuple[float, float]:
        """Gap and residual: with v the gradient, F convex, gap <= max over KL balls of -<v, .>.

        The residual is |v| relative to |f - mean f| + |log(w/w') - mean|/step, 0 where that is
        rounding.
        """
        share = w[w > 0] / w.sum()
        f, log_ratio = self._centred(w)
        v = f + log_ratio / self.step
        tilt = float(np.logaddexp.reduce(np.log(share) - self.step * v))
        gap = float(w.sum()) * max(tilt, 0.0) / self.step
        norms = [float(np.sqrt(share @ u**2)) for u in (v, f, log_ratio / self.step)]
        size = float(np.abs(self.variation(w)).max()) + self.entropy + 1 / self.step
        return gap, relative(norms[0], norms[1] + norms[2], ROUNDINGS * EPS * size)

    def certificate(self, answer: Answer) -> Certificate:
        """The gap of the convex problem in the weights."""
        return Certificate(*self.excess(of_kind(answer.measure, GaussianMixture).components[0]))

    def size(self, answer: Answer) -> Scale:
        """The size of the terms that a change of the weights can change."""
        size = self.magnitude(of_kind(answer.measure, GaussianMixture).components[0])
        return Scale(size, size + abs(self.objective(answer.measure)))


@dataclass(frozen=True)
class MixtureWeights(ProxSolver):
    r"""Reaction of the weights of a mixture, components fixed.

    Solves w = w' exp(-tau (f - mean f)), f_k = E_k (V + c log mu) at the answer: the minimiser of
    F + KL(w|w')/tau, a proximal step in `Divergence(p=1)`, and in `SphericalHellinger()` an
    implicit exponential step of the Fisher-Rao flow, as its result says. By iterations that are
    monotone because c int mu log mu is c-smooth relative to the entropy of the weights.

    References
    ----------
    Mielke and Zhu (2025) for the reaction; Lambert et al. (2022) for mixtures.
    """

    kinds: ClassVar[tuple[type[Measure], ...]] = (GaussianMixture,)
    guarantee: ClassVar[str] = "gap: the problem is convex in the weights of the components"
    default_tol: ClassVar[float] = 1e-9

    def accepts(self, problem: ProxProblem) -> str | None:
        geometry = problem.geometry
        entropic = isinstance(geometry, Divergence) and geometry.p == 1
        if not (entropic or isinstance(geometry, (Hellinger, SphericalHellinger))):
            return f"it reacts in jko.SphericalHellinger() or Divergence(p=1), not in {geometry!r}"
        why = _refusal(problem)
        if why is None and not geometry.conserves_mass:
            return "it keeps the mass; use mass='fixed' or jko.SphericalHellinger()"
        return why

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        previous = problem.previous
        assert isinstance(previous, GaussianMixture)
        stated = _Reaction.of(problem, previous)
        w, before, c = stated.before, stated.before, stated.entropy
        limit, count = controls.max_iter or 5000, 0
        total, inverse = c + 1 / stated.step, 1 / stated.step
        while stated.excess(w)[0] > 0.3 * controls.tol * stated.magnitude(w) and count < limit:
            count += 1
            mix = c * log_or_minus_inf(w) + inverse * log_or_minus_inf(before)
            logs = (mix - stated.variation(w)) / total
            w = np.exp(logs - np.logaddexp.reduce(logs)) * before.sum()
        nu = GaussianMixture(previous.means, previous.covs, w)
        return Answer(
            nu,
            stated,
            count,
            sqdistance=_square(problem, w, before),
            baseline=stated.value(before),
            exhausted=count == limit,
            info={} if isinstance(problem.geometry, Divergence) else {"kind": EXPONENTIAL},
        )


def _square(problem: ProxProblem, w: Array, before: Array) -> float:
    """D^2 between the weights, divided by the rate."""
    geometry = problem.geometry
    if isinstance(geometry, SphericalHellinger):
        square = float(before.sum()) * geometry.angle(w, before) ** 2
    elif isinstance(geometry, Hellinger):
        square = float(4 * ((np.sqrt(w) - np.sqrt(before)) ** 2).sum())
    else:
        alive = w > 0
        square = 2 * float(w[alive] @ np.log(w[alive] / before[alive]))
    return square / geometry.rate
