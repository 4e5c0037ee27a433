"""Multi-start ascent of loss(x) - gamma |x - x'|^2, all particles and all starts at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from jko.dro.ambiguity import loss_values
from jko.dro.ball import PenalisedResponse
from jko.energies.potential import Potential
from jko.errors import InvalidArgument
from jko.geometries.wasserstein import Wasserstein
from jko.measures.atoms import Particles
from jko.measures.base import Discrete
from jko.numerics.checked_gradient import CheckedGradient
from jko.solvers.step import step
from jko.validation import Array

#: Ascent steps of every start before the best are polished.
EXPLORE = 40
#: Distances, in units of the data's extent, at which the growth of a loss is read off.
FAR = 1e4
FARTHER = 1e6


@dataclass(eq=False)
class LossAscent:
    """The particles' problem; `respond` solves it at a multiplier.

    Attributes
    ----------
    loss : callable (n, d) -> (n,)
    gradient : callable (n, d) -> (n, d), or None for central differences
    origin : Particles
    rate : float
        The cost is |x - x'|^2 / rate.
    starts : int
    rng : Generator
    tol : float
    """

    loss: Callable[[Array], ArrayLike]
    gradient: Callable[[Array], ArrayLike] | None
    origin: Particles
    rate: float
    starts: int
    rng: np.random.Generator
    tol: float
    count: int = 0
    last: Array | None = None

    @property
    def extent(self) -> float:
        """A length of the data: the largest side of their box, or the size of their mean."""
        side = float(np.ptp(self.origin.points, axis=0).max())
        return side or float(np.abs(self.origin.points).max()) or 1.0

    def values(self, x: Array) -> Array:
        """The loss (m,), finite or a sentence."""
        return loss_values(self.loss, x)

    def slope(self, x: Array) -> Array:
        """The gradient of the loss (m, d)."""
        if self.gradient is None:
            return self._differences(x)
        out = np.asarray(self._compared(x), dtype=float)
        if out.shape != x.shape or not np.isfinite(out).all():
            raise InvalidArgument(
                f"gradient gave shape {out.shape} for points of shape {x.shape}, or values that are"
                " not finite; return one finite row per point"
            )
        return out

    @cached_property
    def _compared(self) -> CheckedGradient:
        assert self.gradient is not None
        remedy = "correct gradient=..., or leave it out"
        return CheckedGradient(self.loss, self.gradient, "gradient of the loss", remedy)

    def _differences(self, x: Array) -> Array:
        out = np.empty_like(x)
        for k in range(x.shape[1]):
            h = 6e-6 * np.maximum(np.abs(x[:, k]), 1e-2 * self.extent)
            ahead, behind = x.copy(), x.copy()
            ahead[:, k] += h
            behind[:, k] -= h
            width = ahead[:, k] - behind[:, k]
            out[:, k] = (self.values(ahead) - self.values(behind)) / width
        return out

    def growth(self) -> float:
        """lim sup of loss(x)/|x|^2 along axes and random rays: 0 below quadratic, inf above."""
        dim = self.origin.dim
        rays = np.concatenate([np.eye(dim), self.rng.normal(size=(4 * dim, dim))])
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        rays = np.concatenate([rays, -rays])
        ratios = []
        for far in (FAR, FARTHER):
            length = far * self.extent
            with np.errstate(all="ignore"):
                value = np.asarray(self.loss(self.origin.mean + length * rays), dtype=float)
                ratios.append(np.where(np.isnan(value), np.inf, value / length**2))
        near, away = ratios
        fastest = float(away.max())
        before = max(float(near[np.argmax(away)]), 0.0)
        if fastest == np.inf:
            return np.inf
        # No larger there than a hundred times what it is at the data: bounded, or nearly so.
        usual = float(np.abs(self.values(self.origin.points)).max()) / self.extent**2
        if fastest <= 100 * usual / FARTHER**2:
            return 0.0
        if fastest > 1.3 * before:
            return np.inf
        return fastest if fastest > 0.7 * before else 0.0

    def respond(self, gamma: float) -> PenalisedResponse:
        """The best stationary displacements at gamma; `weights` holds them, (n, d)."""
        self.count += 1
        price = gamma / self.rate
        shift = self._explore(price)
        energy = Potential(lambda x: -self.values(x), gradient=lambda x: -self.slope(x))
        found = step(
            self.origin, energy, Wasserstein(rate=self.rate), 0.5 / gamma,
            tol=0.1 * self.tol * min(1.0, 1 / (2 * price)), warm=shift, throw=False,
        )  # fmt: skip
        assert isinstance(found.measure, Discrete)
        polished = found.measure.points - self.origin.points
        if self._gain(polished, price).sum() >= self._gain(shift, price).sum():
            shift = polished
        self.last = shift
        w = self.origin.weights
        cost = float(w @ (shift**2).sum(axis=1)) / self.rate
        expectation = float(w @ self.values(self.origin.points + shift))
        return PenalisedResponse(shift, expectation, cost, 0.0)

    def _gain(self, shift: Array, price: float) -> Array:
        """w (loss - price |d|^2) per particle."""
        inside = self.values(self.origin.points + shift) - price * (shift**2).sum(axis=1)
        return np.asarray(self.origin.weights * inside)

    def _explore(self, price: float) -> Array:
        """The best displacement of every particle after a few steps from every start."""
        x0 = self.origin.points
        pull = self.slope(x0) / (2 * price)
        reach = np.linalg.norm(pull, axis=1, keepdims=True) + 0.3 * self.extent
        shifts = [np.zeros_like(x0), pull]
        shifts += [] if self.last is None else [self.last]
        for _ in range(max(self.starts - len(shifts), 0)):
            shifts.append(pull + reach * self.rng.normal(size=x0.shape))
        count = len(shifts)
        origin = np.tile(x0, (count, 1))
        shift = self._climb(np.concatenate(shifts), origin, price)
        value = self.values(origin + shift) - price * (shift**2).sum(axis=1)
        best = value.reshape(count, -1).argmax(axis=0)
        return np.asarray(shift.reshape(count, *x0.shape)[best, np.arange(len(x0))])

    def _climb(self, shift: Array, origin: Array, price: float) -> Array:
        """Gradient ascent with a step per row: longer after a success, shorter after a failure."""
        length = np.full(len(shift), 1 / (2 * price))
        value = self.values(origin + shift) - price * (shift**2).sum(axis=1)
        for _ in range(EXPLORE):
            slope = self.slope(origin + shift) - 2 * price * shift
            ahead = shift + length[:, None] * slope
            new = self.values(origin + ahead) - price * (ahead**2).sum(axis=1)
            better = new > value
            shift = np.where(better[:, None], ahead, shift)
            value = np.where(better, new, value)
            length *= np.where(better, 1.3, 0.4)
        return shift
