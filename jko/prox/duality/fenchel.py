r"""Fenchel gaps of energies on a fixed support: F(w) + F*(y) - <y, w> on measures of one mass.

A transport term with potential g bounds a step from below by -F*(-g/(2 tau)) plus constants; these
are the pieces that evaluate the bound for every energy in normal form, atom by atom so that close
arguments do not cancel.
"""

from __future__ import annotations

import numpy as np

from jko.forms.form import WeightForm
from jko.forms.separable import Separable
from jko.numerics.elementary import log_or_minus_inf
from jko.prox.duality.weights import ROUNDING, fixed_gap, median_multiplier
from jko.validation import Array, Mask


def dot(w: Array, values: Array) -> float:
    """sum w values over charged atoms: values may be infinite elsewhere."""
    w, values = _where(w > 0, w, values)
    return float(w @ values)


def _where(mask: Mask, *arrays: Array) -> tuple[Array, ...]:
    """The entries of a mask; the arrays themselves where it holds everywhere, as it mostly does."""
    return arrays if mask.all() else tuple(x[mask] for x in arrays)


def kl(w: Array, log_w: Array, log_v: Array) -> float:
    """KL(w | v) with the mass terms; atom by atom, so that close arguments do not cancel."""
    charged, created = w > 0, 0.0
    with np.errstate(over="ignore"):
        if not charged.all():
            created = float(np.exp(log_v[~charged]).sum())
            w, log_w, log_v = w[charged], log_w[charged], log_v[charged]
        log_ratio = log_v - log_w
        excess = np.expm1(np.minimum(log_ratio, 1.0))
        excess *= w
        # v - w where v is far larger: v/w overflows when w is next to nothing.
        larger = np.flatnonzero(log_ratio > 1)
        if larger.size:
            excess[larger] = np.exp(log_v[larger]) - w[larger]
        log_ratio *= w
        excess -= log_ratio
        return float(excess.sum()) + created


def tilted(form: WeightForm, w: Array, tangent: Array | None) -> tuple[Separable, float]:
    """A separable minorant of F, and how far below F it is at w.

    The convex quadratic part is replaced by its tangent at `tangent` (w by default).
    """
    if not form.quadratics:
        return form.separable, 0.0
    at = w if tangent is None else tangent
    rest = form.separable.shifted(-form.quadratic_gradient(at))
    away = w - at
    return rest, max(0.0, 0.5 * float(away @ form.quadratic_gradient(away)))


def entropic_everywhere(h: Separable) -> bool:
    """Whether every atom that may be charged carries an entropy, w log w."""
    entropy = h.powers.get(1.0, np.zeros(h.n))
    return bool(((entropy > 0) | (h.ceiling == 0)).all())


def fenchel_gap(rest: Separable, w: Array, y: Array, enough: float = 0.0) -> tuple[float, float]:
    """h(w) + h*(y) - <y, w> with h* on measures of the mass of w, and the residual.

    The residual is the w-weighted mean of |y - h'(w) - lambda|. A gap is no sharper than to tell
    whether it is at most `enough`.
    """
    allowed = (rest.ceiling > 0) | (w > 0)
    if not allowed.all():
        rest, w, y = rest.take(np.flatnonzero(allowed)), w[allowed], y[allowed]
    with np.errstate(invalid="ignore"):
        defect = y - rest.gradient(w)
    inside, known = _where(rest.inner(w) & np.isfinite(defect), w, defect)
    mass = float(w.sum())
    lam = float(inside @ known) / float(inside.sum()) if inside.size else 0.0
    residual = float(inside @ np.abs(known - lam)) / mass
    if not np.isfinite(y).all():
        return np.inf, residual
    scale = _one_entropy(rest)
    if scale > 0:
        return _entropic_gap(rest, w, y, scale), residual
    start = median_multiplier(rest, -defect, w)
    return fixed_gap(rest, -y, w, mass, start, enough=enough)[0], residual


def _one_entropy(h: Separable) -> float:
    """c where h = linear w + c psi_1 without bounds, otherwise 0."""
    if set(h.powers) != {1.0} or np.isfinite(h.ceiling).any() or np.ptp(h.powers[1.0]) > 0:
        return 0.0
    return float(h.powers[1.0][0])


def _entropic_gap(h: Separable, w: Array, y: Array, c: float) -> float:
    """The same for h = linear w + c psi_1: c KL(w | v), v the normalised exp((y - linear)/c).

    Rounding of y - linear enters through w - v alone.
    """
    z = y - h.linear
    z /= c
    top = float(z.max())
    v = np.exp(z - top)
    part = float(v.sum())
    total, share = float(np.log(part)) + top, float(w.sum()) / part
    z += float(np.log(share)) - top  # log v
    gap = c * kl(w, log_or_minus_inf(w), z)
    v *= share
    noise = np.abs(y)
    noise += np.abs(h.linear)
    noise += c * abs(total)
    return gap + ROUNDING * float(noise @ np.abs(np.subtract(w, v, out=v)))


def divergence_gap(
    rest: Separable,
    w: Array,
    factor: float,
    ends: tuple[Array, Array],
    log_d: Array,
    smooth: Array,
    enough: float = 0.0,
) -> tuple[float, float]:
    """The gap of a step in the Sinkhorn divergence (formula W2), and its residual.

    Parameters
    ----------
    rest : Separable
        The energy, quadratic parts replaced by tangents.
    factor : float
        eps/(2 tau).
    ends : pair of (n,) arrays
        log K'a of the plan, and log w.
    log_d, smooth : (n,) arrays
        Any self-potential, and log K d.
    enough : float
        As in `fenchel_gap`.
    """
    log_s, log_w = ends
    owed = factor * kl(w, log_w, log_d + smooth)
    left = enough - owed if owed < enough else enough
    gap, residual = fenchel_gap(rest, w, factor * (log_s - smooth), left)
    return gap + owed, residual


def lifted_potential(
    rest: Separable, w: Array, factor: float, log_s: Array, log_d: Array, smooth: Array
) -> Array | None:
    """A better log d unless F is entropic everywhere.

    Where a light atom should be empty, or F is linear, F* punishes y > h'(w) + lambda however
    small w is, and an iteration in log w only settles it slowly. Adding (e^{r z} - 1) K d to d
    where y exceeds by z makes it hold (the diagonal of K is 1), at the price of the KL term,
    tiny where w is.
    """
    y = factor * (log_s - smooth)
    if entropic_everywhere(rest) or not np.isfinite(y).all():
        return None
    with np.errstate(invalid="ignore"):
        excess = y - rest.gradient(w)
    known = np.isfinite(excess)
    level = float(w[known] @ excess[known]) / max(float(w[known].sum()), 1e-300)
    excess = np.where(known, np.clip((excess - level) / factor, 0.0, 50.0), 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(np.logaddexp(log_d, smooth + np.log(np.expm1(excess))))
