"""Barenblatt's solution of the porous medium equation."""

from __future__ import annotations

from dataclasses import dataclass
from math import gamma, pi

import numpy as np
from numpy.typing import ArrayLike

from jko.numerics import increasing_root
from jko.validation import Array


@dataclass(frozen=True)
class Barenblatt:
    r"""The self-similar solution of rho_t = g Lap(rho^m), exact for the PDE and for JKO (MATH W5).

        rho(x) = lam^{-d} (C - k |x|^2 / lam^2)_+^{1/(m-1)},   k = beta (m-1)/(2m),
        beta = 1/(d (m-1) + 2).

    The PDE moves the scale as lam(t) = (lam_0^{1/beta} + g t)^beta; the JKO step of
    F = g/(m-1) int rho^m is the dilation lam_+ - lam = tau g beta lam_+^{1-1/beta}.

    Parameters
    ----------
    dim, m : int, float
        d, and the exponent m > 1.
    mass, peak : float
        Total mass, and the density at the centre at time 0.
    g : float
        Diffusivity.
    """

    dim: int = 1
    m: float = 2.0
    mass: float = 0.5
    peak: float = 15.0
    g: float = 1e-3

    @property
    def beta(self) -> float:
        """Exponent of the spreading, 1/(d (m-1) + 2)."""
        return 1 / (self.dim * (self.m - 1) + 2)

    @property
    def curvature(self) -> float:
        """The constant k of the profile."""
        return self.beta * (self.m - 1) / (2 * self.m)

    @property
    def height(self) -> float:
        """The constant C of the profile, from the mass."""
        power = 1 / (self.m - 1)
        half = self.dim / 2
        # int (1 - |y|^2)_+^power dy
        unit = pi**half * gamma(power + 1) / gamma(power + 1 + half)
        return float((self.mass * self.curvature**half / unit) ** (1 / (power + half)))

    @property
    def start(self) -> float:
        """The scale at time 0, from the peak."""
        return float((self.height ** (1 / (self.m - 1)) / self.peak) ** (1 / self.dim))

    def flow(self, scale: float, time: float) -> float:
        """The scale that the PDE reaches from `scale` after `time`."""
        return float((scale ** (1 / self.beta) + self.g * time) ** self.beta)

    def jko(self, scale: float, tau: float) -> float:
        """The scale after one exact JKO step."""
        rate, power = tau * self.g * self.beta, 1 - 1 / self.beta
        top = scale + rate * scale**power  # the explicit step is the longest
        return increasing_root(lambda x: x - scale - rate * x**power, scale, top)

    def radius(self, scale: float) -> float:
        """Radius of the support."""
        return scale * float(np.sqrt(self.height / self.curvature))

    def density(self, points: ArrayLike, scale: float) -> Array:
        """The density (n,) at points (n, d)."""
        square = (np.asarray(points, dtype=float) ** 2).sum(axis=-1)
        inner = np.maximum(self.height - self.curvature * square / scale**2, 0.0)
        return np.asarray(inner ** (1 / (self.m - 1)) / scale**self.dim)
