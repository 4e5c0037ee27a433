r"""Certificates: bounds on how far a measure is from the minimum of a proximal step.

They look at the measure only, never at the solver. For convex steps the gap is the objective
minus a dual value; the quadratic parts of an energy are first replaced by their tangent at the
answer, which bounds them from below, so one separable dual serves every energy of the table.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jko.energies.divergence import gaussian_kl_sum
from jko.energies.form import WeightForm
from jko.energies.separable import Separable
from jko.errors import Unsupported
from jko.geometries.hellinger import Hellinger, SphericalHellinger
from jko.geometries.mmd import MMD
from jko.geometries.wasserstein import Wasserstein, bures, bures_map, symmetric_sqrt
from jko.measures.atoms import Particles
from jko.measures.base import Discrete, Measure
from jko.measures.gaussian import Gaussian
from jko.prox.result import Certificate
from jko.validation import Array, Mask


def certify(problem: Any, nu: Measure) -> Certificate:
    """The certificate of `nu` for an unregularised ProxProblem."""
    geometry, previous = problem.geometry, problem.previous
    if isinstance(geometry, Wasserstein):
        return _wasserstein(problem, nu)
    if not isinstance(nu, Discrete) or not nu.same_support(previous):
        raise Unsupported("the certificate needs an answer on the support of the stated problem")
    if isinstance(geometry, Hellinger):
        return hellinger_certificate(
            problem.form, nu.weights, previous.weights, problem.step, geometry.conserves_mass
        )
    if isinstance(geometry, SphericalHellinger):
        half = geometry.angle(nu.weights, previous.weights) / 2
        # The tangent of arccos^2 at the answer turns the step into a Hellinger step (MATH H3).
        step = problem.step * float(np.sinc(half / np.pi))
        return hellinger_certificate(problem.form, nu.weights, previous.weights, step, True)
    if isinstance(geometry, MMD):
        mass = previous.mass if geometry.conserves_mass else None
        return weight_certificate(problem.total_form, nu.weights, mass)
    return Certificate(None, None)


def hellinger_certificate(
    form: WeightForm, w: Array, previous: Array, step: float, fixed_mass: bool
) -> Certificate:
    r"""Lagrange dual gap of min F(w) + (2/step) sum (sqrt w - sqrt m')^2, w >= 0 [, sum w = mass].

    With dual variables y_i and multiplier lam the gap is a sum of non-negative brackets,

        h(w) + h*(y) - y w    and    g(w) + g*(lam - y) - (lam - y) w,

    g the Hellinger part. y = f(w) makes the first vanish and the second equal to
    (2/step) (sqrt(t w) - sqrt(m'/t))^2 with t = 1 + step (f - lam)/2, free of cancellation; where
    that is not allowed (t <= 0, f infinite, a bound is active) y = lam - g'(w) makes the second
    vanish. The Frank-Wolfe gap would be useless here: gradients explode at small weights.
    """
    lower, _ = form.linearised(w)
    f = lower.gradient(w)
    ceiling = lower.ceiling
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.where(w > 0, (2 / step) * (1 - np.sqrt(previous / w)), np.nan)
    inner = (w > 0) & (w < ceiling * (1 - 1e-12)) & np.isfinite(f)
    lam = _average_multiplier(f + slope, w, inner) if fixed_mass else 0.0
    t = 1 + step * (f - lam) / 2
    brackets = np.zeros_like(w)
    easy = inner & (t > 0)
    root_t = np.sqrt(t[easy])
    stretched = root_t * np.sqrt(w[easy]) - np.sqrt(previous[easy]) / root_t
    brackets[easy] = (2 / step) * stretched**2
    # An atom the energy forbids (ceiling 0) contributes nothing once it is empty.
    hard = ~easy & ((ceiling > 0) | (w > 0))
    if hard.any():
        brackets[hard] = _other_bracket(lower, w, previous, slope, lam, step, hard)
    stray = lam * (float(w.sum()) - float(previous.sum())) if fixed_mass else 0.0
    gap = float(brackets.sum()) + stray
    violation = np.abs(f + slope - lam)[inner] * w[inner]
    return Certificate(gap, float(violation.sum()) / float(w.sum()))


def _average_multiplier(total: Array, w: Array, inner: Mask) -> float:
    if not inner.any():
        return 0.0
    return float(w[inner] @ total[inner]) / float(w[inner].sum())


def _other_bracket(
    lower: Separable, w: Array, previous: Array, slope: Array, lam: float, step: float, hard: Mask
) -> Array:
    """h(w) + h*(y) - y w with y = lam - g'(w); at w = 0 = m' any g'(0) <= 2/step serves."""
    f = lower.gradient(w)
    empty = (w == 0) & (previous == 0)
    steepest = 2 / step
    with np.errstate(invalid="ignore"):
        z = np.where(empty, np.minimum(lam - f, steepest), slope)
    y = np.where(np.isfinite(z), lam - z, np.inf)
    conjugate = lower.per_atom_conjugate(np.where(np.isfinite(y), y, 0.0))
    with np.errstate(invalid="ignore"):
        out = lower.per_atom(w) + conjugate - np.where(w == 0, 0.0, y * w)
    out = np.where(np.isfinite(y), out, np.inf)
    return out[hard]


def weight_certificate(form: WeightForm, w: Array, mass: float | None) -> Certificate:
    """Gap of min form(w) over w >= 0 with total `mass` (None: free), convex quadratic parts.

    The quadratic part is linearised at w; on a simplex and for linear energies this is the
    Frank-Wolfe gap w'g - mass min g. On M+ the point of linearisation is shifted until the
    dual is feasible (-u'Qu/2 for any u with Qu + a >= 0).
    """
    if mass is None:
        return _free_certificate(form, w)
    rest, _ = form.linearised(w)
    primal = rest.value(w)
    gradient = rest.gradient(w)
    charged = w > 0
    powered = np.zeros(rest.n, dtype=bool)
    for c in rest.powers.values():
        powered |= c > 0
    plain = ~powered & (rest.ceiling == np.inf)
    lam = float(w[charged] @ gradient[charged]) / float(w[charged].sum())
    if plain.any():
        lam = min(lam, float(rest.linear[plain].min()))
    dual = lam * mass + rest.constant - float(rest.per_atom_conjugate(np.full(rest.n, lam)).sum())
    violation = float((w[charged] * np.abs(gradient[charged] - lam)).sum()) / mass
    return Certificate(primal - dual, violation)


def _free_certificate(form: WeightForm, w: Array) -> Certificate:
    """On M+: F(v) >= separable(v) + Qu.v - u'Qu/2 for any u, minimised over v >= 0 in closed form.

    Atoms without powers need Qu + linear >= 0, which u = w misses by rounding: the candidates are
    the least t w and the least w + t 1 that satisfy it.
    """
    separable = form.separable
    slope = form.quadratic_gradient(w)
    gradient = separable.gradient(w) + slope
    plain = np.ones(separable.n, dtype=bool)
    for c in separable.powers.values():
        plain &= c == 0
    need, have = -separable.linear[plain], slope[plain]
    if not plain.any() or (have >= need).all():
        candidates = [(w, slope)]
    else:
        candidates = []
        positive = have > 0
        t = float(np.max(need[positive] / have[positive], initial=0.0))
        if (need[~positive] <= t * have[~positive]).all():
            candidates.append((t * w, t * slope))
        lift = form.quadratic_gradient(np.ones_like(w))
        if lift[plain].min() > 0:
            t = float(np.max((need - have) / lift[plain]))
            candidates.append((w + t, slope + t * lift))
    duals = []
    for u, pull in candidates:
        # Rounding can leave -1e-17 on a plain atom: the candidate already paid for it.
        y = np.where(plain, np.minimum(-pull, separable.linear), -pull)
        conjugate = float(separable.per_atom_conjugate(y).sum())
        duals.append(separable.constant - 0.5 * float(u @ pull) - conjugate)
    charged = w > 0
    violation = float(np.abs(gradient[charged] * w[charged]).sum())
    gap = form.value(w) - max(duals) if duals else None
    return Certificate(gap, violation)


def _wasserstein(problem: Any, nu: Measure) -> Certificate:
    previous = problem.previous
    if isinstance(nu, Particles) and isinstance(previous, Particles):
        moved = nu.points - previous.points
        force = moved + problem.step * problem.energy.wasserstein_gradient(nu)
        weights = nu.weights
        distance = np.sqrt(weights @ (moved**2).sum(axis=1))
        size = np.sqrt(weights @ (force**2).sum(axis=1))
        return Certificate(None, float(size / max(1.0, distance)))
    if isinstance(nu, Gaussian) and isinstance(previous, Gaussian):
        return _gaussian_certificate(problem, nu)
    return Certificate(None, None)


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
    field = np.column_stack([shift, linear @ symmetric_sqrt(nu.cov)])
    eigenvalues, basis = np.linalg.eigh(target.cov)
    shrink = eigenvalues / (eigenvalues + step * scale)  # B^{-1}
    gap = step * nu.mass / 2 * float((shrink[:, None] * (basis.T @ field) ** 2).sum())
    distance = np.sqrt(nu.mass * bures(nu, previous))
    size = step * np.sqrt(nu.mass) * float(np.linalg.norm(field))
    return Certificate(gap, size / max(1.0, float(distance)))
