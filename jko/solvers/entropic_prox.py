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

    With F(w) = h(w) + w'Qw/2, linearise the quadratic part at z: w(z) is the separable prox of
    h + <Qz, .>, atom by atom, and the dual function

        D(z) = r h(w) + KL(w | q) + r <Qz, w> - r z'Qz/2   at w = w(z)

    is concave with gradient r Q (w(z) - z): its maximum has w(z) = z, the prox. Newton's matrix
    is E + r Q diag(w), E = 1 + r h''(w) w, the one of the equation in u = log w; symmetrised, its
    eigenvalues lie in [1, 1 + r |Q| w] and decay fast, so a few conjugate-gradient products solve
    it. The step is halved until D increases, so it converges from anywhere.
    """

    def __init__(self, form: WeightForm, r: float, mass: float, tol: float = 1e-12) -> None:
        self.form, self.r, self.mass = form, r, mass
        self.tol = tol * max(1.0, r)
        self._z: Array | None = None

    def __call__(self, log_q: Array) -> tuple[Array, Array | None]:
        """log w, and the point where the quadratic part was linearised (None if there is none)."""
        if not self.form.quadratics:
            return log_prox_separable(self.form.separable, log_q, self.r), None
        if self._z is None:
            self._z = self._cold(log_q)
        log_w, self._z = self._maximise(self._z, log_q)
        return log_w, self._z

    def _cold(self, log_q: Array) -> Array:
        """A start from q at the right mass, r doubled in stages: from afar Newton crawls."""
        q = np.exp(log_q - float(log_q.max()))
        z, stages = q * (self.mass / q.sum()), max(0, int(np.ceil(np.log2(self.r))))
        for k in range(stages, 0, -1):
            easier = KLProx(self.form, self.r / 2**k, self.mass, tol=1e-3)
            z = easier._maximise(z, log_q)[1]
        return z

    def _maximise(self, z: Array, log_q: Array) -> tuple[Array, Array]:
        """Newton's method on D from z: log w at the last z, and that z."""
        value, log_w, slope = self._dual(z, log_q)
        for _ in range(100):
            w = np.exp(log_w)
            change = self.form.quadratic_gradient(w) - slope
            if self.r * float(np.abs(change).max()) <= self.tol:
                break
            move, t, slack = self._newton(w, change) - z, 1.0, 1e-14 * max(1.0, abs(value))
            trial = self._dual(z + move, log_q)
            while t > 1e-6 and not trial[0] >= value - slack:
                t /= 2
                trial = self._dual(z + t * move, log_q)
            z = z + t * move
            value, log_w, slope = trial
        return log_w, z

    def _dual(self, z: Array, log_q: Array) -> tuple[float, Array, Array]:
        """D(z), log w(z) and Qz."""
        slope = self.form.quadratic_gradient(z)
        h = self.form.separable.shifted(-slope)
        log_w = log_prox_separable(h, log_q, self.r)
        w = np.exp(log_w)
        charged = w > 0
        entropy = float(w[charged] @ (log_w[charged] - log_q[charged] - 1))
        return self.r * (h.value(w) - 0.5 * float(z @ slope)) + entropy, log_w, slope

    def _newton(self, w: Array, change: Array) -> Array:
        """The next z, w + w delta with (E + r Q diag(w)) delta = -r change."""
        r, h = self.r, self.form.separable
        free = (w > 0) & (w < h.ceiling * (1 - 1e-13))
        diagonal = np.ones_like(w)
        diagonal[free] += r * (h.hessian(w)[free] * w[free])
        root = np.where(free, np.sqrt(w / diagonal), 0.0)
        z = root * self._conjugate_gradient(root, -r * root * change)
        pull = r * (change + self.form.quadratic_gradient(z))
        return np.asarray(np.where(free, w - w * pull / diagonal, w))

    def _conjugate_gradient(self, root: Array, rhs: Array, tol: float = 1e-5) -> Array:
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
