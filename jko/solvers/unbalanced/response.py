"""argmin h(w) + w'Qw/2 over w >= 0, h separable: Newton's method on a concave dual."""

from __future__ import annotations

import numpy as np

from jko.forms.form import WeightForm
from jko.forms.separable import Separable
from jko.validation import Array

#: Newton steps, and the accuracy of the linear solves inside them.
MAX_NEWTON = 60
INNER = 1e-6
#: log w beyond which a start is too far: Newton's method would take a step for every factor e.
STEEP = 100.0


class QuadraticResponse:
    r"""The minimiser of a separable function plus the quadratic part of an energy.

    Linearise the quadratic part at z: w(z) = argmin h + <Qz, .> is one root per atom, and

        D(z) = h(w) + <Qz, w> - z'Qz/2    at w = w(z)

    is concave with gradient Q (w(z) - z); its maximum has w(z) = z. The step is halved until D
    increases, so that the method converges from anywhere. The last z is the next start: h changes
    little from one call to the next.
    """

    def __init__(self, form: WeightForm, start: Array, tol: float = 1e-12) -> None:
        self.form, self.tol, self.z = form, tol, start

    def __call__(self, h: Separable, log_start: Array) -> Array:
        """log w (n,); entries +inf where no start from the last z is bounded."""
        value, log_w, slope = self._dual(h, self.z, log_start)
        lifted = not self.form.quadratics
        if not lifted and value == -np.inf:
            value, log_w, slope = self._lift(h, log_w)
        for _ in range(MAX_NEWTON if self.form.quadratics and np.isfinite(value) else 0):
            w = np.exp(log_w)
            change = self.form.quadratic_gradient(w) - slope
            if float(np.abs(change).max()) <= self.tol * float(np.abs(slope).max()):
                break
            move, t = self._newton(h, w, change) - self.z, 1.0
            slack = 1e-14 * (abs(value) + float(w @ np.abs(slope)))
            trial = self._dual(h, self.z + move, log_w)
            while t > 1e-6 and not trial[0] >= value - slack:
                t /= 2
                trial = self._dual(h, self.z + t * move, log_w)
            if trial[0] >= value - slack:
                self.z = self.z + t * move
                value, log_w, slope = trial
            elif lifted:
                break
            else:  # no step along Newton's direction is short enough
                lifted, (value, log_w, slope) = True, self._lift(h, log_w)
        return log_w

    def _lift(self, h: Separable, log_w: Array) -> tuple[float, Array, Array]:
        """The largest D on the ray z = s w(z): it is concave in s, so its slope tells the side."""
        known = np.where(np.isfinite(log_w), log_w, 0.0)
        ray = np.exp(known - float(known.max()))
        low, high = np.log(np.finfo(float).tiny), np.log(np.finfo(float).max)
        out = (-np.inf, log_w, known)
        for _ in range(50):
            middle = 0.5 * (low + high)
            with np.errstate(over="ignore", invalid="ignore"):
                trial = self._dual(h, np.exp(middle) * ray, np.zeros_like(ray))
                rest = self.form.quadratic_gradient(np.exp(trial[1])) - trial[2]
            if trial[0] > out[0]:
                self.z, out = np.exp(middle) * ray, trial
            rising = not (trial[1] < STEEP).all() or float(ray @ rest) > 0
            low, high = (middle, high) if rising else (low, middle)
        return out

    def _dual(self, h: Separable, z: Array, log_start: Array) -> tuple[float, Array, Array]:
        """D(z), log w(z) and Qz."""
        slope = self.form.quadratic_gradient(z)
        tilted = h.shifted(-slope)
        log_w = tilted.solve_stationary(start=np.where(np.isfinite(log_start), log_start, 0.0))
        if not (log_w < STEEP).all():
            return -np.inf, log_w, slope
        return tilted.value(np.exp(log_w)) - 0.5 * float(z @ slope), log_w, slope

    def _newton(self, h: Separable, w: Array, change: Array) -> Array:
        """The next z = w - y/h'', where (I + Q / h'') y = change, symmetrised."""
        from scipy.sparse.linalg import LinearOperator, cg

        free = (w > 0) & (w < h.ceiling * (1 - 1e-13))
        root = np.zeros_like(w)
        root[free] = 1 / np.sqrt(h.hessian(w)[free])

        def product(v: Array) -> Array:
            return v + root * self.form.quadratic_gradient(root * v)

        system = LinearOperator((w.size, w.size), matvec=product, dtype=float)
        v, _ = cg(system, root * change, rtol=INNER, maxiter=300)
        return np.asarray(w - root * v)
