"""Steps on Gaussians in the Fisher-Rao family: natural gradient, entropic mirror, moments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from jko.energies.divergence import InclusiveKL
from jko.energies.gaussian_form import GaussianForm
from jko.geometries.base import Geometry
from jko.geometries.divergence import Divergence
from jko.geometries.gaussian import natural_update
from jko.geometries.hellinger import Hellinger, SphericalHellinger
from jko.measures.base import Measure
from jko.measures.gaussian import Gaussian
from jko.measures.target import LogDensity
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Claim, Controls
from jko.solvers.base import ProxSolver, keeps_mass
from jko.solvers.gaussian.stated import Covering, Followed, MirrorStep, Nearest
from jko.status import Breakdown
from jko.validation import Array

#: Share of the size of the objective that rounding may lift it by.
FLAT = 1e-13
#: What `info["kind"]` of a natural-gradient step says.
EXPLICIT = "explicit step of the Fisher-Rao flow (exponential Euler), not a proximal step"


def gaussian_and_form(problem: ProxProblem) -> tuple[Gaussian, GaussianForm]:
    """The previous Gaussian and the energy on Gaussians, which accepts() has seen."""
    assert isinstance(problem.previous, Gaussian)
    return problem.previous, problem.energy.gaussian_form()


def form_refusal(problem: ProxProblem) -> str | None:
    """Why there is no Gaussian and form to work with; `Unsupported` speaks for the energy."""
    if not isinstance(problem.previous, Gaussian):
        return f"it moves a jko.Gaussian, not a {type(problem.previous).__name__}"
    problem.energy.gaussian_form()
    return None


@dataclass(frozen=True)
class NaturalGradient(ProxSolver):
    r"""One natural-gradient step: the Fisher-Rao flow with E grad V and E Hess V frozen.

    With c the weight of the entropy, q = e^{-c tau}, r = (1 - q)/c and expectations at the
    previous Gaussian N(m, S),

        S_+^{-1} = q S^{-1} + r E Hess V,   m_+ = m - r S_+ E grad V.

    Exact for Gaussian targets (formula G2), else of first order in tau. Only gradients are
    evaluated; it is invariant under affine maps, so that stiff targets are as easy as round ones.

    References
    ----------
    Amari (1998); Khan and Rue (2023).
    """

    geometries: ClassVar[tuple[type[Geometry], ...]] = (Hellinger, SphericalHellinger)
    kinds: ClassVar[tuple[type[Measure], ...]] = (Gaussian,)
    claim: ClassVar[Claim] = Claim.FOLLOWS
    guarantee: ClassVar[str] = "explicit step of the Fisher-Rao flow, exact for its frozen moments"
    default_tol: ClassVar[float] = 1e-9

    def accepts(self, problem: ProxProblem) -> str | None:
        geometry = problem.geometry
        if not isinstance(geometry, (Hellinger, SphericalHellinger)):
            return f"it steps in jko.SphericalHellinger(), not in {geometry!r}"
        remedy = "jko.Hellinger(mass='fixed') or jko.SphericalHellinger()"
        return form_refusal(problem) or keeps_mass(problem, remedy)

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        previous, form = gaussian_and_form(problem)
        c, step = form.entropy, problem.step
        keep = float(np.exp(-c * step))
        rate = -float(np.expm1(-c * step)) / c if c > 0 else step
        found = form.moments(previous)
        precision = keep * np.eye(previous.dim) + rate * found.curvature
        nu = natural_update(previous, rate * found.slope, precision)
        end = _twin(previous, rate * found.slope, precision)
        value = problem.value(nu)
        info = {"kind": EXPLICIT, "moment_error": found.error}
        baseline = problem.value(previous)
        stated = Followed(end, value, c or 1 / step)
        return Answer(nu, stated, iterations=1, baseline=baseline, info=info)


def _twin(g: Gaussian, slope: Array, precision: Array) -> Gaussian:
    """`natural_update` by eigenvalues: what its answer is compared with."""
    root = np.linalg.cholesky(g.cov)
    values, basis = np.linalg.eigh(precision)
    half = root @ (basis / np.sqrt(values))
    mean = g.mean - root @ (basis @ ((basis.T @ slope) / values))
    return Gaussian(mean, half @ half.T, g.mass)


@dataclass(frozen=True)
class GaussianMirror(ProxSolver):
    r"""The implicit entropic step min F + KL(.|previous)/tau over Gaussians.

    Stationarity, with k = 1/(1 + c tau) and expectations at the answer,

        S_+^{-1} = k S^{-1} + k tau E_+ Hess V,   m_+ = m-part likewise in natural parameters,

    in closed form (formula H4, a geometric mean) with a gap for Gaussian targets, by damped
    natural-gradient descent of the objective with a residual otherwise.

    References
    ----------
    Khan and Rue (2023).
    """

    geometries: ClassVar[tuple[type[Geometry], ...]] = (Divergence,)
    kinds: ClassVar[tuple[type[Measure], ...]] = (Gaussian,)
    guarantee: ClassVar[str] = "gap for Gaussian targets; else stationary in the Fisher metric"
    default_tol: ClassVar[float] = 1e-8

    def accepts(self, problem: ProxProblem) -> str | None:
        geometry = problem.geometry
        if not (isinstance(geometry, Divergence) and geometry.p == 1):
            return f"it steps in jko.Divergence(p=1), not in {geometry!r}"
        return form_refusal(problem) or keeps_mass(problem, "jko.Divergence(p=1, mass='fixed')")

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        previous, form = gaussian_and_form(problem)
        baseline, step, c = problem.value(previous), problem.step, form.entropy
        if form.fields:
            return _descend(problem, form, controls, baseline)
        found = form.moments(previous)
        keep = 1 / (1 + c * step)
        precision = keep * (np.eye(previous.dim) + step * found.curvature)
        nu = natural_update(previous, keep * step * found.slope, precision)
        end = _twin(previous, keep * step * found.slope, precision)
        stated = Nearest(end, problem.objective(nu), c + 1 / step)
        return Answer(nu, stated, iterations=1, baseline=baseline)


def _descend(
    problem: ProxProblem, form: GaussianForm, controls: Controls, baseline: float
) -> Answer:
    """Natural-gradient descent of the objective from the previous Gaussian, step halving."""
    stated, previous = MirrorStep(problem, form), problem.previous
    assert isinstance(previous, Gaussian)
    nu, value, limit = previous, baseline, controls.max_iter or 200
    white, keep = np.linalg.inv(np.linalg.cholesky(previous.cov)), 1 / problem.step
    total = form.entropy + keep
    for iteration in range(limit):
        found, pulled = form.moments(nu), white @ np.linalg.cholesky(nu.cov)
        goal = (keep * pulled.T @ pulled + found.curvature) / total
        slope = (keep * pulled.T @ (white @ (nu.mean - previous.mean)) + found.slope) / total
        answer = Answer(nu, stated, iteration, baseline=baseline)
        if (stated.certificate(answer).residual or 0.0) <= 0.3 * controls.tol:
            return answer
        moved = _line_search(problem, nu, value, slope, goal, form.entropy * nu.mass * nu.dim)
        if moved is None:
            return answer
        nu, value = moved
    return Answer(nu, stated, limit, baseline=baseline, exhausted=True)


def _line_search(
    problem: ProxProblem, nu: Gaussian, value: float, slope: Array, goal: Array, unit: float
) -> tuple[Gaussian, float] | None:
    """The first of the steps 1, 1/2, 1/4... that does not increase the objective.

    `unit` is the size of an entropy, which may be near 0 itself.
    """
    eye, theta = np.eye(nu.dim), 1.0
    while theta > 1e-6:
        try:
            moved = natural_update(nu, theta * slope, eye + theta * (goal - eye))
            found = problem.objective(moved)
            if found <= value + FLAT * (unit + abs(value)):
                return moved, found
        except Breakdown:
            pass
        theta /= 2
    return None


@dataclass(frozen=True)
class MomentMatching(ProxSolver):
    r"""min sum c_i KL(pi_i|.) + KL(previous|.)/tau over Gaussians: match the moments (formula G3).

    The answer has mean and covariance of the mixture (tau pi + previous)/(1 + tau), whatever the
    kind of pi: the proximal step of the inclusive KL, mode-covering. The gap is (1/tau + c) times
    KL(answer|.), exactly.

    References
    ----------
    Minka (2005).
    """

    geometries: ClassVar[tuple[type[Geometry], ...]] = (Divergence,)
    kinds: ClassVar[tuple[type[Measure], ...]] = (Gaussian,)
    guarantee: ClassVar[str] = "exact: moments of a mixture; gap in closed form"
    default_tol: ClassVar[float] = 1e-9

    def accepts(self, problem: ProxProblem) -> str | None:
        geometry, previous = problem.geometry, problem.previous
        if not (isinstance(geometry, Divergence) and geometry.p == 0):
            return f"it steps in jko.Divergence(p=0), not in {geometry!r}"
        if not isinstance(previous, Gaussian):
            return f"it moves a jko.Gaussian, not a {type(previous).__name__}"
        for _, term in problem.energy.terms:
            if not isinstance(term, InclusiveKL):
                return f"{term!r} is no jko.InclusiveKL"
            if isinstance(term.target, LogDensity):
                return (
                    "the moments of a LogDensity are not known; draw weighted particles with"
                    " jko.vi.importance_sample and take InclusiveKL to them"
                )
            if term.target.dim != previous.dim:
                return f"the target has dimension {term.target.dim}, the measure {previous.dim}"
        return None

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        previous, scales, parts = problem.previous, [1 / problem.step], [problem.previous]
        for c, term in problem.energy.terms:
            assert isinstance(term, InclusiveKL)
            assert not isinstance(term.target, LogDensity)
            scales.append(c)
            parts.append(term.target)
        weights = np.array([c * part.mass for c, part in zip(scales, parts, strict=True)])
        total, share = float(weights.sum()), weights / weights.sum()
        mean = np.sum([w * part.mean for w, part in zip(share, parts, strict=True)], axis=0)
        offsets = np.array([part.mean - mean for part in parts])
        cov = np.sum([w * part.cov for w, part in zip(share, parts, strict=True)], axis=0)
        cov = cov + (offsets.T * share) @ offsets
        fixed = problem.geometry.conserves_mass
        mass = previous.mass if fixed else total / sum(scales)
        nu = Gaussian(mean, (cov + cov.T) / 2, mass)
        second = np.einsum("k,kij->ij", share, [p.cov + np.outer(p.mean, p.mean) for p in parts])
        end = Gaussian(mean, second - np.outer(mean, mean), mass) if _tame(mean, cov) else nu
        stated = Covering(end, problem.objective(nu), total / mass)
        return Answer(nu, stated, iterations=1, baseline=problem.value(previous))


def _tame(mean: Array, cov: Array) -> bool:
    """Whether E xx' - mm' does not cancel, so that it can check the centred formula."""
    return float(mean @ mean) < 1e3 * float(np.linalg.eigvalsh(cov)[0])
