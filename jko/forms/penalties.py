"""The forms that energies and penalties of geometries share: divergences and MMDs to a measure."""

from __future__ import annotations

import numpy as np

from jko.errors import InvalidMeasure
from jko.forms.form import Quadratic, WeightForm
from jko.forms.separable import Separable
from jko.kernels import Kernel
from jko.measures.base import Discrete, Measure
from jko.validation import Array


def divergence_form(p: float, log_pi: Array, missing: float) -> Separable:
    """D_p(w|pi) = pi^{1-p} psi_p(w) + w/(1-p) + pi/p, and its limits at p = 0 and p = 1."""
    with np.errstate(over="ignore"):
        pi = np.exp(log_pi)
        total = float(pi.sum()) + missing
    # KL reads the logarithm alone, so a posterior of log density -1e4 is as good as any other.
    if total == np.inf or (total == 0 and p != 1):
        raise InvalidMeasure(
            f"target has log weights up to {log_pi.max():.6g}, beyond double precision;"
            " add a constant to the log density so that its maximum is near 0"
        )
    charged = log_pi > -np.inf
    safe_log = np.where(charged, log_pi, 0.0)
    if p == 1:
        linear, coefficient, constant = -safe_log, np.ones_like(pi), total
    elif p == 0:
        linear, coefficient = np.ones_like(pi), pi
        constant = float((pi * safe_log - pi).sum())
    else:
        with np.errstate(over="ignore"):
            coefficient = np.where(charged, np.exp((1 - p) * safe_log), 0.0)
        linear, constant = np.full_like(pi, 1 / (1 - p)), total / p
    if p < 1:
        return Separable(linear, {p: np.where(charged, coefficient, 0.0)}, None, constant)
    # p >= 1: mass is forbidden where the target has none (or where 1/pi overflows).
    allowed = charged & np.isfinite(coefficient)
    upper = None if allowed.all() else np.where(allowed, np.inf, 0.0)
    coefficient = np.where(allowed, coefficient, 0.0)
    return Separable(np.where(allowed, linear, 0.0), {p: coefficient}, upper, constant)


def mmd_form(kernel: Kernel, target: Measure, mu: Discrete) -> WeightForm:
    """MMD^2(w, target)/2 on the atoms of `mu`.

    A conditionally positive kernel (energy distance) only compares equal masses; there its positive
    twin k(x,y) + |x| + |y| gives the same energy and a convex form.
    """
    kernel = kernel.positive_about(mu.points)
    operator = kernel.operator(mu)
    if isinstance(target, Discrete) and mu.same_support(target):
        against = operator.matvec(target.weights)
        constant = 0.5 * float(target.weights @ against)
    else:
        against = kernel.embed(target, mu.points)
        constant = 0.5 * kernel.inner(target, target)
    return WeightForm(Separable(-against, {}, None, constant), (Quadratic(kernel, operator),))
