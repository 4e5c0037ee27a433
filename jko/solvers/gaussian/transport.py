"""Wasserstein steps on Gaussians for any potential: implicit, and forward-backward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from jko.energies.gaussian_moments import Moments
from jko.errors import InvalidMeasure
from jko.geometries.base import Geometry
from jko.geometries.bures import bures, symmetric_sqrt
from jko.geometries.wasserstein import Wasserstein
from jko.measures.base import Measure
from jko.measures.gaussian import Gaussian
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Claim, Controls
from jko.solvers.base import ProxSolver
from jko.solvers.gaussian.fisher_rao import FLAT, form_refusal, gaussian_and_form
from jko.solvers.gaussian.stated import BuresStep, EntropyStep
from jko.status import Breakdown, Status
from jko.validation import Array

#: A Hessian of the model below -MOST/step is lifted to it, so that its step exists.
MOST = 0.9


def bures_refusal(problem: ProxProblem) -> str | None:
    """Why the step is not a Wasserstein step of an energy on a Gaussian."""
    if not isinstance(problem.geometry, Wasserstein):
        return f"it steps in jko.Wasserstein(), not in {problem.geometry!r}"
    return form_refusal(problem)


@dataclass(frozen=True)
class GaussianImplicit(ProxSolver):
    r"""The implicit Bures step min c int nu log nu + E V + W2^2(nu, previous)/(2 tau).

    Iterates the exact step (formulas G1, W3) of the quadratic model of V at the current Gaussian,
    V ~ g.(x - m) + (x - m)'H (x - m)/2 with g = E grad V, H = E Hess V: its fixed points are
    stationary. Steps are damped along Bures geodesics until the objective falls; negative
    curvature beyond -1/tau is lifted (it cannot be there at a minimiser).

    References
    ----------
    Lambert et al. (2022); Diao et al. (2023).
    """

    geometries: ClassVar[tuple[type[Geometry], ...]] = (Wasserstein,)
    kinds: ClassVar[tuple[type[Measure], ...]] = (Gaussian,)
    guarantee: ClassVar[str] = "stationary in the Bures metric; gap where V is known to be convex"
    default_tol: ClassVar[float] = 1e-8

    def accepts(self, problem: ProxProblem) -> str | None:
        return bures_refusal(problem)

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        previous, form = gaussian_and_form(problem)
        stated, limit = BuresStep(problem, form), controls.max_iter or 200
        nu, baseline = previous, problem.value(previous)
        value, count = baseline, 0
        while count < limit and not self._done(stated, nu, previous, controls.tol):
            goal = model_step(form.moments(nu), form.entropy, nu, previous, problem.step)
            unit = form.entropy * nu.mass * nu.dim
            moved = _damped(problem, nu, value, goal, unit)
            if moved is None:
                break
            (nu, value), count = moved, count + 1
        error = form.moments(nu).error
        info = {"moment_error": error}
        return Answer(nu, stated, count, baseline=baseline, exhausted=count == limit, info=info)

    @staticmethod
    def _done(stated: BuresStep, nu: Gaussian, previous: Gaussian, tol: float) -> bool:
        field = stated.field(nu, previous)
        return field.residual <= 0.3 * tol or stated.at_rest(nu, field)


def model_step(
    found: Moments, entropy: float, nu: Gaussian, previous: Gaussian, step: float
) -> Gaussian:
    """The exact step from `previous` of entropy plus the quadratic model of V at `nu`."""
    white = np.linalg.inv(np.linalg.cholesky(nu.cov))
    hessian, slope = white.T @ found.curvature @ white, white.T @ found.slope
    values, basis = np.linalg.eigh((hessian + hessian.T) / 2)
    shrink = 1 / (1 + step * np.maximum(values, -MOST / step))  # eigenvalues of B^{-1}
    half = (basis * np.sqrt(shrink)) @ basis.T
    root = _grown(symmetric_sqrt(previous.cov) @ half, entropy * step) @ half
    pull = previous.mean - nu.mean - step * slope
    mean = nu.mean + basis @ (shrink * (basis.T @ pull))
    return _usable(mean, root.T @ root, previous.mass)


def _grown(root: Array, t: float) -> Array:
    """R with R'R = [C + 2t I + (C^2 + 4t C)^{1/2}]/2 for C = root'root: the entropy's step."""
    _, s, vt = np.linalg.svd(root)
    c = s**2
    return np.asarray(vt * np.sqrt(0.5 * (c + 2 * t + np.sqrt(c * (c + 4 * t))))[:, None])


def _usable(mean: Array, cov: Array, mass: float) -> Gaussian:
    try:
        found = Gaussian(mean, (cov + cov.T) / 2, mass)
        np.linalg.cholesky(found.cov)  # whatever comes next takes this root
        return found
    except (InvalidMeasure, np.linalg.LinAlgError) as trouble:
        raise Breakdown(Status.BROKEN, f"the new Gaussian is degenerate: {trouble}") from None


def _damped(
    problem: ProxProblem, nu: Gaussian, value: float, goal: Gaussian, unit: float
) -> tuple[Gaussian, float] | None:
    """The farthest of the points 1, 1/2, 1/4... of the way to `goal` with no larger objective.

    `unit` is the size of an entropy, which may be near 0 itself.
    """
    if bures(nu, goal) == 0:
        return None
    theta = 1.0
    while theta > 1e-6:
        moved = goal if theta == 1 else Wasserstein().geodesic(nu, goal, theta)
        assert isinstance(moved, Gaussian)
        found = problem.objective(moved)
        if found <= value + FLAT * (unit + abs(value)):
            return moved, found
        theta /= 2
    return None


@dataclass(frozen=True)
class GaussianForwardBackward(ProxSolver):
    r"""Forward-backward: an explicit step of the potential, an implicit one of the entropy.

    With g = E grad V and H = E Hess V at the previous N(m, S),

        pushed = N(m - tau g, (I - tau H) S (I - tau H)),
        S_+ = 1/2 [S_p + 2 c tau I + (S_p^2 + 4 c tau S_p)^{1/2}]   (formula W3).

    One expectation a step; it keeps the equilibrium, and is stable while tau H < 2. The problem
    it states is the step of the entropy from the pushed Gaussian, with its gap.

    References
    ----------
    Diao et al. (2023); Wibisono (2018).
    """

    claim: ClassVar[Claim] = Claim.REGULARISED
    geometries: ClassVar[tuple[type[Geometry], ...]] = (Wasserstein,)
    kinds: ClassVar[tuple[type[Measure], ...]] = (Gaussian,)
    guarantee: ClassVar[str] = "explicit potential, exact entropy step with a gap; order 1"
    default_tol: ClassVar[float] = 1e-8

    def accepts(self, problem: ProxProblem) -> str | None:
        refusal = bures_refusal(problem)
        if refusal is None and problem.energy.gaussian_form().entropy == 0:
            return "the energy has no entropy, whose step keeps the covariance positive"
        return refusal

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        previous, form = gaussian_and_form(problem)
        found, step = form.moments(previous), problem.step
        root = np.linalg.cholesky(previous.cov)
        white = np.linalg.inv(root)
        forward = root - step * white.T @ found.curvature
        pushed_cov = forward @ forward.T
        mean = previous.mean - step * white.T @ found.slope
        eye = 1e-300 * np.eye(previous.dim)
        pushed = _usable(mean, pushed_cov + eye, previous.mass)
        grown = _grown(symmetric_sqrt(pushed.cov), form.entropy * step)
        nu = _usable(mean, grown.T @ grown, previous.mass)
        stated = EntropyStep(pushed, form.entropy, step)
        fastest = step * float(np.linalg.eigvalsh(white.T @ found.curvature @ white)[-1])
        if fastest > 2 and not problem.objective(nu) <= problem.value(previous):
            raise Breakdown(
                Status.BROKEN,
                f"the explicit half overshoots: tau times the largest curvature is {fastest:.3g},"
                " more than 2; reduce tau, or use jko.solvers.GaussianImplicit()",
            )
        info = {"moment_error": found.error, "pushed": pushed}
        return Answer(nu, stated, 1, baseline=stated.objective(pushed), info=info)
