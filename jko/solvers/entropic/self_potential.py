r"""The self-potential d of debiased entropic steps: how a sweep brings it nearer to d K d = w.

With an internal energy w hardly depends on d, and half the error, log w - log d - log(K d), is a
good change of log d. Without one (kernels, potentials, bounds) w = d q, q = K'a times a function of
the energy: K d = q is a deconvolution, d >= 0, and two things go wrong.

- Cells that should be empty drift: log d falls for ever, at a rate that tends to 0 (those of
  internal energies that are flat at 0, w^m, too). Instead, solve d K d = w + mu. No cell fails to
  settle, and the certificate prices it at n mu eps/(2 tau), the KL term of formula W2: a share of
  the gap says which mu.
- A change delta of log d moves the error by -(theta + A) delta, A = diag(1/Kd) K diag(d) and
  theta = mu/(w + mu), and by at most -A delta more through the answer of the transport. The
  eigenvalues of A, in (0, 1], fall to 1e-6 when eps is three squared cells: changes of short wave
  length take thousands of sweeps. So the error is multiplied by a Chebyshev polynomial that
  approximates (theta + A)^{-1}; each term costs a product with K and no logarithm.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from jko.prox.duality.fenchel import entropic_everywhere
from jko.solvers.entropic.stated import EntropicStep
from jko.validation import Array

#: The polynomial approximates the inverse from here on; its terms.
LOWEST, TERMS = 0.005, 16
#: Largest change of log d in a sweep.
FARTHEST = 2.0


class SelfPotential:
    """Changes of log d for a stated debiased step.

    Parameters
    ----------
    stated : EntropicStep
    floor : float
        What d may add to the gap, unless there is an entropy everywhere.
    terms : int
        Of the polynomial; 1 is the plain change.
    """

    def __init__(self, stated: EntropicStep, floor: float = 0.0, terms: int = 1) -> None:
        self.kernel, self.terms = stated.kernel, terms
        self.mu = (
            0.0
            if entropic_everywhere(stated.form.separable)
            else floor * stated.rate / stated.previous.n
        )

    def change(self, log_w: Array, log_d: Array, smooth: Array) -> Array:
        """The change of log d; smooth = log K d."""
        log_own = log_w if self.mu == 0 else np.logaddexp(log_w, np.log(self.mu))
        error = log_own - log_d - smooth
        if self.terms == 1:
            return 0.5 * error
        error = np.clip(error, -FARTHEST, FARTHEST)
        inner, root = np.exp(0.5 * (log_d - smooth)), np.exp(0.5 * (log_d + smooth))
        inverse = np.where(root > 0, 1 / root, 0.0)
        theta = np.exp(np.log(self.mu) - log_own) if self.mu > 0 else 0.0

        def response(delta: Array) -> Array:
            # Written symmetrically: no entry of the scaled kernel exceeds 1.
            return theta * delta + inverse * inner * self.kernel.apply(inner * root * delta)

        return np.clip(0.5 * chebyshev(response, error, self.terms), -FARTHEST, FARTHEST)


def chebyshev(operator: Callable[[Array], Array], rhs: Array, terms: int) -> Array:
    """An approximate solution of operator x = rhs, spectrum in [LOWEST, 2], linear in rhs."""
    centre, half = (2 + LOWEST) / 2, (2 - LOWEST) / 2
    alpha = 1 / centre
    residual, direction = rhs, rhs
    x = alpha * direction
    for k in range(1, terms):
        residual = residual - alpha * operator(direction)
        beta = (0.5 if k == 1 else 0.25) * (half * alpha) ** 2
        alpha = 1 / (centre - beta / alpha)
        direction = residual + beta * direction
        x = x + alpha * direction
    return x
