r"""Marginals of unbalanced transport: met exactly, or within weight times a divergence.

For a wanted marginal m (n,) > 0 and weight w the divergences of x are

    Kullback-Leibler   w sum x log(x/m) - x + m
    Hellinger          w sum 2 (sqrt x - sqrt m)^2      (He^2/2, formula H2d)

and their duals, concave in a potential f, w sum m (1 - e^{-f/w}) and sum 2 w m f/(2w + f), f > -2w.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from jko.numerics.elementary import xlogy
from jko.validation import Array, Mask


@dataclass(frozen=True, eq=False)
class Marginal:
    """A wanted marginal with its divergence.

    Attributes
    ----------
    mass : (n,) array, > 0
    weight : float
        inf for a marginal that is met exactly.
    hellinger : bool
        Whether the divergence is that of Hellinger.
    """

    mass: Array
    weight: float = np.inf
    hellinger: bool = False

    @property
    def hard(self) -> bool:
        """Whether it is met exactly."""
        return bool(np.isinf(self.weight))

    @property
    def floor(self) -> float:
        """Potentials lie above it."""
        return -2 * self.weight if self.hellinger and not self.hard else -np.inf

    def scaled(self, unit: float) -> Marginal:
        """Masses in another unit."""
        return replace(self, mass=self.mass / unit)

    def take(self, kept: Mask) -> Marginal:
        """Of some atoms."""
        return replace(self, mass=self.mass[kept])

    def kept(self, f: Array) -> Array:
        """The marginal that potentials ask for: the slope of `gain`."""
        if self.hellinger and not self.hard:
            return np.asarray(self.mass / (1 + f / (2 * self.weight)) ** 2)
        with np.errstate(over="ignore"):
            return np.asarray(self.mass * np.exp(-f / self.weight))

    def curvature(self, f: Array) -> Array:
        """Minus the derivative of `kept`."""
        stretch = self.weight + f / 2 if self.hellinger and not self.hard else self.weight
        return np.asarray(self.kept(f) / stretch)

    def gain(self, f: Array) -> float:
        """The dual of the divergence; sum mass f for a marginal that must be met."""
        if self.hard:
            return float(self.mass @ f)
        if self.hellinger:
            if not (f > self.floor).all():
                return -np.inf
            part = np.where(np.isinf(f), 1.0, f / np.where(np.isinf(f), 1.0, 2 * self.weight + f))
            return 2 * self.weight * float(self.mass @ part)
        with np.errstate(over="ignore"):
            return -self.weight * float(self.mass @ np.expm1(-f / self.weight))

    def cost(self, x: Array) -> float:
        """The divergence of a marginal; 0 where it is met by construction."""
        if self.hard:
            return 0.0
        if self.hellinger:
            return 2 * self.weight * float(((np.sqrt(x) - np.sqrt(self.mass)) ** 2).sum())
        return self.weight * relative_entropy(x, self.mass)

    @property
    def lost(self) -> float:
        """The divergence of no mass at all; 0 without atoms."""
        if not self.mass.size:
            return 0.0
        return (2.0 if self.hellinger else 1.0) * self.weight * float(self.mass.sum())

    def best(self, log_sum: Array, eps: float) -> Array:
        """f with e^{f/eps} e^{log_sum} = kept(f): a sweep of scaling."""
        if not self.hellinger or self.hard:
            out = eps * (np.log(self.mass) - log_sum) / (1 + eps / self.weight)
            return np.asarray(out)
        from scipy.special import wrightomega

        # z + log z with z = (2 w + f)/(2 eps), Wright's omega.
        share = self.weight / eps
        z = wrightomega(0.5 * (np.log(self.mass) - log_sum) + share + np.log(share))
        return np.asarray(2 * eps * (z - share))


def relative_entropy(a: Array, b: Array) -> float:
    """KL(a | b) with the mass terms, b > 0, without cancellation where a is near b."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        e = a / b - 1
        close = b * e**2 / 2 * (1 - e / 3 * (1 - e / 2 * (1 - 3 * e / 5)))
        far = xlogy(a, a) - xlogy(a, b) - a + b
    return float(np.where(np.abs(e) < 1e-3, close, far).sum())
