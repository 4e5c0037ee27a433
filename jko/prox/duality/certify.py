r"""Certificates: bounds on how far a measure is from the minimum of a proximal step.

They look at the measure only, never at the solver. For convex steps the gap is the objective
minus a dual value; the quadratic parts of an energy are first replaced by their tangent at the
answer, which bounds them from below, so one separable dual serves every energy of the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from jko.energies.divergence import PhiDivergence, gaussian_kl_sum
from jko.energies.form import WeightForm
from jko.energies.rounding import force_rounding, mean_size, position_rounding
from jko.energies.separable import Separable
from jko.errors import Unsupported
from jko.geometries.divergence import Divergence
from jko.geometries.hellinger import Hellinger, SphericalHellinger
from jko.geometries.mmd import MMD
from jko.geometries.wasserstein import Wasserstein, bures_map, symmetric_sqrt
from jko.measures.atoms import Particles
from jko.measures.base import Discrete, Measure
from jko.measures.gaussian import Gaussian
from jko.numerics.elementary import EPS
from jko.prox.duality.weights import weight_certificate
from jko.prox.result import Certificate
from jko.validation import Array, Index, Mask


def certify(problem: Any, nu: Measure) -> Certificate:
    """The certificate of `nu` for an unregularised ProxProblem.

    On a fixed support the gap needs an energy that is convex in the weights; otherwise only the
    stationarity is left.
    """
    certificate = _certify(problem, nu)
    if isinstance(problem.geometry, Wasserstein) or problem.form.convex:
        return certificate
    return Certificate(None, certificate.residual)


def _certify(problem: Any, nu: Measure) -> Certificate:
    geometry, previous = problem.geometry, problem.previous
    if isinstance(geometry, Wasserstein):
        return _wasserstein(problem, nu)
    if not isinstance(nu, Discrete) or not nu.same_support(previous):
        raise Unsupported("the certificate needs an answer on the support of the stated problem")
    if isinstance(geometry, Hellinger):
        return _hellinger(problem, nu, problem.step, geometry.conserves_mass)
    if isinstance(geometry, SphericalHellinger):
        half = geometry.angle(nu.weights, previous.weights) / 2
        # The tangent of arccos^2 at the answer turns the step into a Hellinger step (MATH H3).
        step = problem.step * float(np.sinc(half / np.pi))
        return _hellinger(problem, nu, step, True)
    if isinstance(geometry, (MMD, Divergence)):
        mass = previous.mass if geometry.conserves_mass else None
        return weight_certificate(problem.total_form, nu.weights, mass)
    return Certificate(None, None)


def _hellinger(problem: Any, nu: Discrete, step: float, fixed_mass: bool) -> Certificate:
    """The Hellinger gap; with a quadratic part that of the weight form too, and the better one.

    They differ where the dual has kinks: at ceilings, and at empty atoms about to be born.
    """
    previous, form = problem.previous, problem.form
    first = hellinger_certificate(form, nu.weights, previous.weights, step, fixed_mass)
    if not form.quadratics or (first.gap is not None and first.gap <= 1e-12):
        return first
    total = form + PhiDivergence(previous, 0.5).restrict(previous).scaled(1 / step)
    second = weight_certificate(total, nu.weights, previous.mass if fixed_mass else None)
    gaps = [c.gap for c in (first, second) if c.gap is not None]
    return Certificate(min(gaps) if gaps else None, first.residual)


def hellinger_certificate(
    form: WeightForm, w: Array, previous: Array, step: float, fixed_mass: bool
) -> Certificate:
    r"""Lagrange dual gap of min F(w) + (2/step) sum (sqrt w - sqrt m')^2, w >= 0 [, sum w = mass].

    For any multiplier lam and dual variables y_i the gap is a sum of non-negative brackets,

        h(w) + h*(y) - y w    and    g(w) + g*(lam - y) - (lam - y) w,

    g the Hellinger part. With y = h'(v) for a weight v the first is the Bregman divergence
    h(w) - h(v) - y (w - v) and the second (2/step) (sqrt(t w) - sqrt(m'/t))^2 with
    t = 1 + step (y - lam)/2 > 0, both free of cancellation. Any v gives a valid bound; v = w is
    sharp for an answer that is exact atom by atom. Where it is not (answers of conic solvers, whose
    small weights are relatively inaccurate), v minimises the atom's own problem at lam: the bracket
    is then the excess of that atom, and an ascent step for lam makes the sum the true excess.
    The Frank-Wolfe gap would be useless here: gradients explode at small weights.
    """
    lower, _ = form.linearised(w)
    f = lower.gradient(w)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.where(w > 0, (2 / step) * (1 - np.sqrt(previous / w)), np.nan)
    inner = (w > 0) & (w < lower.ceiling * (1 - 1e-12)) & np.isfinite(f + slope)
    lam = _average_multiplier(f + slope, w, inner) if fixed_mass else 0.0
    dual = _HellingerDual(lower, w, previous, step)
    gap = dual.gap(lam, fixed_mass)
    if fixed_mass and not gap <= 1e-12:
        for _ in range(3):
            lam = dual.ascend(lam)
            gap = float(np.fmin(gap, dual.gap(lam, True)))
    violation = np.abs(f + slope - lam)[inner] * w[inner]
    return Certificate(gap, float(violation.sum()) / float(w.sum()))


def _average_multiplier(total: Array, w: Array, inner: Mask) -> float:
    if not inner.any():  # every atom is full: any multiplier above its slope serves
        return float(np.max(np.where((w > 0) & np.isfinite(total), total, -np.inf), initial=0.0))
    return float(w[inner] @ total[inner]) / float(w[inner].sum())


@dataclass(frozen=True, eq=False)
class _HellingerDual:
    """The dual bound of a separable Hellinger step, for any multiplier."""

    lower: Separable
    w: Array
    previous: Array
    step: float

    def gap(self, lam: float, fixed_mass: bool) -> float:
        """Sum of brackets with the better of v = w and v = the response, plus lam (excess mass)."""
        if fixed_mass:
            lam = min(lam, self._limit())
        brackets = self._brackets(self.w, lam, np.arange(self.w.size))
        rough = np.flatnonzero(~(brackets <= 1e-13 / self.w.size))
        if rough.size:
            brackets[rough] = np.fmin(brackets[rough], self._excess(lam, rough))
        stray = lam * (float(self.w.sum()) - float(self.previous.sum())) if fixed_mass else 0.0
        return float(brackets.sum()) + stray

    def _excess(self, lam: float, index: Index) -> Array:
        """Brackets at v = the response: how far each atom is from the minimum of its own problem.

        Far above m' the sign of t is a matter of rounding: a v just larger makes it positive.
        """
        response = self._response(lam, index)
        out = self._brackets(response, lam, index)
        mass = float(self.w.sum())
        for lift, floor in ((1e-14, 0.0), (1e-12, 0.0), (0.0, 1e-32), (0.0, 1e-26)):
            left = np.flatnonzero(np.isinf(out))
            if left.size:
                v = np.maximum((1 + lift) * response[left], floor * mass)
                out[left] = self._brackets(v, lam, index[left])
        return out

    def ascend(self, lam: float) -> float:
        """One Newton step on the concave dual: the mass of the responses approaches the mass."""
        everyone = np.arange(self.w.size)
        lam = min(lam, self._limit())
        v = self._response(lam, everyone)
        moving = (v > 0) & (v < self.lower.ceiling) & np.isfinite(v)
        part = self.lower.take(np.flatnonzero(moving))
        kept, before = v[moving], self.previous[moving]
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            give = 1 / (part.hessian(kept) + np.sqrt(before / kept) / (self.step * kept))
        total = float(give.sum())
        if not (total > 0 and np.isfinite(total)):
            return lam
        return lam + (float(self.previous.sum()) - float(v.sum())) / total

    def _limit(self) -> float:
        """The multiplier beyond which some atom's dual value is -inf."""
        bounded: Mask = self.lower.ceiling < np.inf
        for p, c in self.lower.powers.items():
            if p >= 1:
                bounded |= c > 0
        least = float(np.min(np.where(bounded, np.inf, self.lower.linear)))
        if np.isinf(least):
            return np.inf
        return least + (2 / self.step) - 4 * EPS * (abs(least) + 2 / self.step)

    def _response(self, lam: float, index: Index) -> Array:
        """argmin h(v) + g(v) - lam v for the atoms of `index`."""
        part = self.lower.take(index)
        root = np.sqrt(self.previous[index])
        half = self.step / 2
        start = np.log(np.where(root > 0, root, 1.0))
        log_v = part.solve_stationary(half, 1 - half * lam, 0.0, [(-root, -1.0)], 2.0, start)
        with np.errstate(over="ignore"):
            v = np.exp(log_v)
        return np.where(v >= part.ceiling * (1 - 1e-12), part.ceiling, v)

    def _brackets(self, v: Array, lam: float, index: Index) -> Array:
        """The brackets of the atoms of `index` at y = h'(v); +inf where v gives no bound."""
        part = self.lower if index.size == self.w.size else self.lower.take(index)
        w, before = self.w[index], self.previous[index]
        ceiling = part.ceiling
        v = np.maximum(v, 1e-300)  # h' may be infinite at 0
        v = np.where(v >= ceiling * (1 - 1e-12), ceiling, v)
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            y = part.gradient(v)
            # At a ceiling any y >= h' will do: a little above lam - g' keeps t positive.
            at_top = lam - (2 / self.step) * (1 - np.sqrt(before / v))
            at_top += 4 * EPS * (abs(lam) + 2 / self.step)
            y = np.where((v == ceiling) & (at_top > y), at_top, y)
            t = 1 + (self.step / 2) * (y - lam)
            bregman = part.per_atom(w) - part.per_atom(v) - y * (w - v)
            bregman = np.where(w == v, 0.0, np.maximum(bregman, 0.0))
            kept = np.where(before > 0, np.sqrt(before) / np.sqrt(t), 0.0)
            metric = (2 / self.step) * (np.sqrt(t * w) - kept) ** 2
            out = np.where((t > 0) | ((t == 0) & (before == 0)), bregman + metric, np.inf)
        # An atom the energy forbids (ceiling 0) contributes nothing once it is empty.
        out = np.where(ceiling > 0, out, np.where(w > 0, np.inf, 0.0))
        return np.where(np.isnan(out), np.inf, out)


def _wasserstein(problem: Any, nu: Measure) -> Certificate:
    previous = problem.previous
    if isinstance(nu, Particles) and isinstance(previous, Particles):
        return Certificate(None, particle_residual(problem, nu))
    if isinstance(nu, Gaussian) and isinstance(previous, Gaussian):
        return _gaussian_certificate(problem, nu)
    return Certificate(None, None)


def particle_residual(problem: Any, nu: Particles, goal: float = 0.0) -> float:
    r"""|x - x' + step grad f(x)| over |x - x'| + |step grad f(x)|, norms in L2(mu).

    0 where the numerator is no more than the rounding of points and forces: at rest both parts of
    the denominator are rounding themselves. For a figure within `goal` that is not looked at.
    """
    moved, weights = nu.points - problem.previous.points, nu.weights
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


def _gaussian_certificate(problem: Any, nu: Gaussian) -> Certificate:
    """Gap (step/2) int v'B^{-1}v dnu with v = grad f + (x - T(x))/step, B = I + step c S*^{-1}.

    For c KL(.|N(m*, S*)) all maps are affine. Along the generalised geodesics through `previous`
    the entropy is convex and the quadratic terms have Hessian B/step exactly, so the objective
    at y exceeds that at nu by at least int v'(y-x) + (y-x)'B(y-x)/(2 step): minimise over y.
    """
    stated = gaussian_kl_sum(problem.energy)
    if stated is None:
        return Certificate(None, None)
    (scale, target), previous, step = stated, problem.previous, problem.step
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
