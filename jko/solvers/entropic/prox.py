r"""The KL-prox of an energy on a fixed support: argmin_w r F(w) + KL(w | q), in logarithms."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np

from jko.forms.form import WeightForm
from jko.forms.separable import Separable
from jko.numerics.elementary import log_or_minus_inf
from jko.validation import Array

#: Newton steps of one prox.
MOST = 30


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
    r"""The KL-prox of a separable energy plus convex quadratic terms (formula W1b).

    With F(w) = h(w) + w'Qw/2, linearise the quadratic part at z: w(z) is the separable prox of
    h + <Qz, .>, atom by atom, and the prox is where w(z) = z. Newton's equation for a change delta
    of log w is

        (E + r Q diag(w)) delta = -r Q (w - z),    E = 1 + r h''(w) w;

    symmetrised, its eigenvalues lie in [1, 1 + r |Q| w] and decay fast: a few products with Q.

    A scaling iteration asks for it again and again, and is at rest only where the weights it comes
    from are those it goes to. So z starts from the previous weights, and is good enough when the
    error is small beside the change of the sweep: after one Newton step, as a rule.

    Parameters
    ----------
    form : WeightForm
    r : float
    mass : float
        Of the measures to step to. Potentials are known up to a constant and q up to a factor,
        which is chosen so that w(z) starts with this mass: Newton's method converges only locally.
    accuracy : float
        Error of log w relative to the change from the previous weights.
    """

    def __init__(self, form: WeightForm, r: float, mass: float, accuracy: float = 0.3) -> None:
        self.form, self.r, self.mass, self.accuracy = form, r, mass, accuracy

    def __call__(self, log_q: Array, log_v: Array) -> Array:
        """log w from log q and the log of the previous weights."""
        if not self.form.quadratics:
            return self._separable(log_q)
        z = np.exp(log_v)
        slope = self.form.quadratic_gradient(z)
        log_q = log_q - self._excess(self._linear(log_q, slope))
        log_w = self._linear(log_q, slope)
        for _ in range(MOST):
            w = np.exp(log_w)
            pull = self.form.quadratic_gradient(w - z)
            change = np.where(w > 0, log_w - log_v, 0.0)
            if self.r**2 * float(w @ pull**2) <= self.accuracy**2 * float(w @ change**2):
                break
            moved = self._newton(w, pull)
            ahead = pull + self.form.quadratic_gradient(moved)
            rise, move = float(ahead @ (w - z)), w + moved - z
            t, log_w = self._search(log_q, slope, ahead, z, move, rise)
            z, slope = z + t * move, slope + t * ahead
        return log_w

    def _separable(self, log_q: Array) -> Array:
        """The prox of an energy without kernels, an array of its own."""
        if self._closed is None:
            return log_prox_separable(self.form.separable, log_q, self.r)
        share, shift, top = self._closed
        log_w = log_q * share
        log_w -= shift
        if top is not None:
            np.minimum(log_w, top, out=log_w)
        if self._even:
            log_w -= self._excess(log_w)
        return log_w

    @cached_property
    def _closed(self) -> tuple[Array | float, Array, Array | None] | None:
        """log w = share log q - shift, at most log upper, for entropies and potentials alone."""
        h = self.form.separable
        if not set(h.powers) <= {1.0}:
            return None
        slope: Array | float = 1 + self.r * h.powers.get(1.0, np.zeros(1))
        if np.ptp(slope) == 0:
            slope = float(np.max(slope))
        shift = self.r * h.linear / slope
        return 1 / slope, shift, None if h.upper is None else log_or_minus_inf(h.upper)

    @cached_property
    def _even(self) -> bool:
        """Whether a factor in q is one in w: the same entropy everywhere, and no bounds.

        Then q is given the factor with which w has the mass to step to: the slowest mode of the
        scaling, damped by r/(1 + r) in a sweep, is gone.
        """
        h = self.form.separable
        entropy = h.powers.get(1.0, np.zeros(h.n))
        unbounded = bool(np.isinf(h.ceiling).all())
        return unbounded and set(h.powers) <= {1.0} and bool((entropy == entropy[0]).all())

    def _linear(self, log_q: Array, slope: Array) -> Array:
        """log w(z) from Qz."""
        return log_prox_separable(self.form.separable.shifted(-slope), log_q, self.r)

    def _excess(self, log_w: Array) -> float:
        """log of the mass of w over that to step to."""
        top = float(log_w.max())
        w = np.subtract(log_w, top)
        return top + math.log(float(np.exp(w, out=w).sum()) / self.mass) if top > -np.inf else top

    def _search(
        self, log_q: Array, slope: Array, ahead: Array, z: Array, move: Array, rise: float
    ) -> tuple[float, Array]:
        """How far to go from z along `move`, ahead = Q move, and log w there.

        w(z) is the argument of a concave dual with gradient r Q (w(z) - z), its slope along the
        way `rise` at first: a step is short enough when it is not half as steep downwards after it.
        """
        first = max(rise, 1e-14 * self.mass * float(np.abs(ahead).max()))
        t, log_w = 1.0, self._linear(log_q, slope + ahead)
        while t > 1e-6 and not float(ahead @ (np.exp(log_w) - z - t * move)) >= -0.5 * first:
            t /= 2
            log_w = self._linear(log_q, slope + t * ahead)
        return t, log_w

    def _newton(self, w: Array, pull: Array) -> Array:
        """w delta from pull = Q (w - z)."""
        r, h = self.r, self.form.separable
        free = (w > 0) & (w < h.ceiling * (1 - 1e-13))
        diagonal = np.ones_like(w)
        if h.powers:
            diagonal[free] += r * (h.hessian(w)[free] * w[free])
        root = np.where(free, np.sqrt(w / diagonal), 0.0)
        return root * self._conjugate_gradient(root, -r * root * pull)

    def _conjugate_gradient(self, root: Array, rhs: Array, tol: float = 1e-3) -> Array:
        """(I + r diag(root) Q diag(root)) y = rhs."""
        y = np.zeros_like(rhs)
        residual, direction = rhs.copy(), rhs.copy()
        size = first = float(rhs @ rhs)
        for _ in range(200):
            if size <= tol**2 * first:
                break
            image = direction + self.r * root * self.form.quadratic_gradient(root * direction)
            alpha = size / float(direction @ image)
            y += alpha * direction
            residual -= alpha * image
            new = float(residual @ residual)
            direction = residual + (new / size) * direction
            size = new
        return y
