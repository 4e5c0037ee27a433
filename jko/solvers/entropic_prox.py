r"""The KL-prox of an energy on a fixed support: argmin_w r F(w) + KL(w | q), in logarithms."""

from __future__ import annotations

import numpy as np

from jko.energies.form import WeightForm
from jko.energies.separable import Separable
from jko.numerics import log_or_minus_inf
from jko.validation import Array


def log_prox_separable(h: Separable, log_q: Array, r: float) -> Array:
    """log argmin r h(w) + KL(w | q) from log q; closed form for entropies and potentials.

    Elsewhere the root of an exponential sum; where that underflows (log w < -745) the powers
    above 1 have no weight left and the same closed form holds.
    """
    slope = 1 + r * h.powers.get(1.0, np.zeros(h.n))
    plain = (log_q - r * h.linear) / slope
    if h.upper is not None:
        plain = np.minimum(plain, log_or_minus_inf(h.upper))
    if set(h.powers) <= {1.0}:
        return plain
    log_w = h.log_prox_kl(log_q, r)
    lost = (log_w == -np.inf) & (log_q > -np.inf)
    return np.where(lost, np.minimum(plain, -745.0), log_w)


class KLProx:
    r"""The KL-prox of a separable energy plus convex quadratic terms (MATH W1b).

    Separable energies have it atom by atom. With F(w) = h(w) + w'Qw/2 the optimality condition
    in u = log w is R(u) = u - log q + r (h'(w) + Q w) = 0. Newton's matrix D + r Q diag(w),
    D = 1 + r h''(w) w, is symmetrised by sqrt(w); its eigenvalues lie in [1, 1 + r |Q| w] and
    decay fast, so a few conjugate-gradient products solve it. The direction descends the convex
    objective r F + KL(. | q), along which the step is halved until it decreases.
    """

    def __init__(self, form: WeightForm, r: float, mass: float, tol: float = 1e-12) -> None:
        self.form, self.r, self.mass, self.tol = form, r, mass, tol
        self._u: Array | None = None

    def __call__(self, log_q: Array) -> tuple[Array, Array | None]:
        """log w, and the point where the quadratic part was linearised (None if there is none)."""
        h = self.form.separable
        if not self.form.quadratics:
            return log_prox_separable(h, log_q, self.r), None
        u = self._start(log_q) if self._u is None else self._u
        for _ in range(50):
            u, residual = self._newton(u, log_q)
            if residual <= self.tol:
                break
        self._u = u
        w = np.exp(u)
        # One exact separable prox at the tangent settles the atoms too light for the norm above.
        return log_prox_separable(self._tilted(w), log_q, self.r), w

    def _start(self, log_q: Array) -> Array:
        """q rescaled to the mass of the measure: the prox of F without its quadratic part may
        be far too heavy."""
        top = float(log_q.max())
        u = log_q - top - np.log(np.exp(log_q - top).sum()) + np.log(self.mass)
        return np.minimum(u, log_or_minus_inf(self.form.separable.ceiling))

    def _tilted(self, w: Array) -> Separable:
        return self.form.separable.shifted(-self.form.quadratic_gradient(w))

    def _merit(self, u: Array, log_q: Array) -> float:
        w = np.exp(u)
        with np.errstate(invalid="ignore"):
            entropy = np.where(w > 0, w * (u - log_q) - w, 0.0)
        return self.r * self.form.value(w) + float(entropy.sum())

    def _newton(self, u: Array, log_q: Array) -> tuple[Array, float]:
        """One damped Newton step; the residual is that of its starting point."""
        r, h = self.r, self.form.separable
        w = np.exp(u)
        target = log_prox_separable(self._tilted(w), log_q, r)
        with np.errstate(invalid="ignore"):
            diagonal = 1 + r * np.where(w > 0, h.hessian(w) * w, 0.0)
        free = (w > 0) & (w < h.ceiling * (1 - 1e-13))
        # The separable prox solves the diagonal part exactly, so (target - u) D replaces -R.
        move = np.where(free, target - u, 0.0)
        residual = float(np.sqrt(w @ move**2 / max(w.sum(), 1e-300)))
        if residual <= self.tol:
            return u, residual
        root = np.sqrt(np.where(free, w / diagonal, 0.0))
        z = self._conjugate_gradient(root, np.sqrt(np.where(free, w * diagonal, 0.0)) * move)
        pull = r * self.form.quadratic_gradient(root * z) / diagonal
        direction = np.where(free, move - pull, target - u)
        direction = np.where(np.isfinite(direction), direction, 0.0)
        old, t = self._merit(u, log_q), 1.0
        slack = 1e-13 * max(1.0, abs(old))
        while t > 1e-6 and not self._merit(u + t * direction, log_q) <= old + slack:
            t /= 2
        return u + t * direction, residual

    def _conjugate_gradient(self, root: Array, rhs: Array, tol: float = 1e-5) -> Array:
        """(I + r diag(root) Q diag(root)) z = rhs."""
        z = np.zeros_like(rhs)
        residual, direction = rhs.copy(), rhs.copy()
        size = first = float(rhs @ rhs)
        for _ in range(200):
            if size <= tol**2 * first:
                break
            image = direction + self.r * root * self.form.quadratic_gradient(root * direction)
            alpha = size / float(direction @ image)
            z += alpha * direction
            residual -= alpha * image
            new = float(residual @ residual)
            direction = residual + (new / size) * direction
            size = new
        return z
