r"""Certificates: bounds on how far a measure is from the minimum of a proximal step.

They look at the measure only, never at the solver. For convex steps the gap is the objective
minus a dual value; the quadratic parts of an energy are first replaced by their tangent at the
answer, which bounds them from below, so one separable dual serves every energy of the table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from jko.energies.divergence import gaussian_kl_sum
from jko.energies.rounding import force_rounding, mean_size, position_rounding
from jko.errors import Unsupported
from jko.geometries.bures import bures_map, symmetric_sqrt
from jko.geometries.hellinger import Hellinger, SphericalHellinger
from jko.geometries.wasserstein import Wasserstein
from jko.measures.atoms import Particles
from jko.measures.base import Discrete, Measure
from jko.measures.gaussian import Gaussian
from jko.numerics.elementary import EPS
from jko.prox.duality.hellinger import hellinger_certificate
from jko.prox.duality.penalties import check_penalty
from jko.prox.duality.weights import weight_certificate
from jko.prox.stated import Certificate, of_kind

if TYPE_CHECKING:
    from jko.prox.problem import ProxProblem


def certify(problem: ProxProblem, nu: Measure) -> Certificate:
    """The certificate of `nu` for an unregularised ProxProblem.

    On a fixed support the gap needs an energy that is convex in the weights; otherwise only the
    stationarity is left.
    """
    own = problem.geometry.certify(problem, nu)
    certificate = _certify(problem, nu) if own is None else Certificate(*own)
    if own is not None or isinstance(problem.geometry, Wasserstein) or problem.form.convex:
        return certificate
    return Certificate(None, certificate.residual)


def _certify(problem: ProxProblem, nu: Measure) -> Certificate:
    geometry = problem.geometry
    if isinstance(geometry, Wasserstein):
        return _wasserstein(problem, nu)
    previous = problem.discrete
    if not isinstance(nu, Discrete) or not nu.same_support(previous):
        raise Unsupported("the certificate needs an answer on the support of the stated problem")
    if isinstance(geometry, Hellinger):
        return _hellinger(problem, nu, problem.step, geometry.conserves_mass)
    if isinstance(geometry, SphericalHellinger):
        half = geometry.angle(nu.weights, previous.weights) / 2
        # The tangent of arccos^2 at the answer turns the step into a Hellinger step (formula H3).
        step = problem.step * float(np.sinc(half / np.pi))
        found = _hellinger(problem, nu, step, True)
        if found.gap is None:
            return found
        # The rounding of `step` turns the tangent by as many units of the penalty.
        penalty = geometry.penalty(nu, previous, problem.tau)
        return Certificate(found.gap + 16 * EPS * (penalty + abs(found.gap)), found.residual)
    if geometry.has_penalty_form:
        check_penalty(geometry, nu, previous)
        mass = previous.mass if geometry.conserves_mass else None
        return weight_certificate(problem.total_form, nu.weights, mass)
    return Certificate(None, None)


def _hellinger(problem: ProxProblem, nu: Discrete, step: float, fixed_mass: bool) -> Certificate:
    """The Hellinger gap; with a quadratic part that of the weight form too, and the better one.

    They differ where the dual has kinks: at ceilings, and at empty atoms about to be born.
    """
    previous, form = problem.discrete, problem.form
    first = hellinger_certificate(form, nu.weights, previous.weights, step, fixed_mass)
    if not form.quadratics:
        return first
    total = form + Hellinger().penalty_form(previous).scaled(1 / step)
    second = weight_certificate(total, nu.weights, previous.mass if fixed_mass else None)
    gaps = [c.gap for c in (first, second) if c.gap is not None]
    return Certificate(min(gaps) if gaps else None, first.residual)


def _wasserstein(problem: ProxProblem, nu: Measure) -> Certificate:
    previous = problem.previous
    if isinstance(nu, Particles) and isinstance(previous, Particles):
        return Certificate(None, particle_residual(problem, nu))
    if isinstance(nu, Gaussian) and isinstance(previous, Gaussian):
        return _gaussian_certificate(problem, nu)
    return Certificate(None, None)


def particle_residual(problem: ProxProblem, nu: Particles, goal: float = 0.0) -> float:
    r"""|x - x' + step grad f(x)| over |x - x'| + |step grad f(x)|, norms in L2(mu).

    0 where the numerator is no more than the rounding of points and forces: at rest both parts of
    the denominator are rounding themselves. For a figure within `goal` that is not looked at.
    """
    moved, weights = nu.points - problem.discrete.points, nu.weights
    pull = problem.step * problem.energy.wasserstein_gradient(nu)
    size = mean_size(weights, moved + pull)
    if size == 0:
        return 0.0
    figure = size / (mean_size(weights, moved) + mean_size(weights, pull))
    if not np.isfinite(figure):
        return np.inf
    if figure > goal:
        floor = position_rounding(nu) + problem.step * force_rounding(problem.energy, nu)
        return 0.0 if size <= floor else figure
    return figure


def _gaussian_certificate(problem: ProxProblem, nu: Gaussian) -> Certificate:
    """Gap (step/2) int v'B^{-1}v dnu with v = grad f + (x - T(x))/step, B = I + step c S*^{-1}.

    For c KL(.|N(m*, S*)) all maps are affine. Along the generalised geodesics through `previous`
    the entropy is convex and the quadratic terms have Hessian B/step exactly, so the objective
    at y exceeds that at nu by at least int v'(y-x) + (y-x)'B(y-x)/(2 step): minimise over y.
    """
    stated = gaussian_kl_sum(problem.energy)
    if stated is None:
        return Certificate(None, None)
    (scale, target), previous, step = stated, of_kind(problem.previous, Gaussian), problem.step
    precision, spread = np.linalg.inv(target.cov), np.linalg.inv(nu.cov)
    linear = scale * (precision - spread) + (np.eye(nu.dim) - bures_map(nu, previous)) / step
    shift = scale * precision @ (nu.mean - target.mean) + (nu.mean - previous.mean) / step
    # Columns whose sum of squares is the integral of |v|^2.
    root = symmetric_sqrt(nu.cov)
    field = np.column_stack([shift, linear @ root])
    force = np.column_stack([precision @ (nu.mean - target.mean), (precision - spread) @ root])
    eigenvalues, basis = np.linalg.eigh(target.cov)
    shrink = eigenvalues / (eigenvalues + step * scale)  # B^{-1}
    gap = step * nu.mass / 2 * float((shrink[:, None] * (basis.T @ field) ** 2).sum())
    size, terms = float(np.linalg.norm(field)), scale * float(np.linalg.norm(force))
    terms += float(np.linalg.norm(field - scale * force))
    return Certificate(gap, size / terms if size > 0 else 0.0)
