"""A model of an energy at a measure: separable in the logarithm or a power of the weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jko.energies.base import Energy, FormEnergy
from jko.energies.local import LEAST, LocalEnergy
from jko.energies.nonlocal_part import FarPart, FeatureKernel
from jko.forms.form import Quadratic, WeightForm
from jko.forms.separable import Separable, psi_prime
from jko.measures.base import Discrete
from jko.validation import Array

#: Weights down to this share of the largest say by which power of them an energy grows.
LIGHTER = 1e-3
#: How far the logarithm of the slope may be off that of a power, in the root mean square; powers no
#: further apart are one.
STRAIGHT = 0.05


@dataclass(frozen=True, eq=False)
class LogModel(FormEnergy):
    """The energy whose first variation is f + c (log w - log w0) + Q (w - w0).

    Exact at w0; to first order in log w where F is local (Q = 0), to first order in w where Q holds
    what the first variation at an atom owes to the weights of others. Where the slope of a local
    energy goes like a power of the weights, w^{p-1}/(p-1) stands for log w: F may be its model.

    Attributes
    ----------
    variation : (n,) array
        f, the first variation at w0.
    curvature : (n,) array, >= 0
        c.
    log_centre : (n,) array
        log w0.
    far : FeatureKernel or None
        Q, positive semidefinite, on the atoms.
    power : float
        p; 1 for the logarithm.
    """

    variation: Array
    curvature: Array
    log_centre: Array
    far: FeatureKernel | None = None
    power: float = 1.0

    @classmethod
    def of(
        cls, energy: Energy, mu: Discrete, boost: float = 1.0, far: FarPart | None = None
    ) -> LogModel:
        """The model at `mu`, its curvatures `boost` times those of the energy."""
        # The logarithm of an empty atom says nothing.
        full = mu.with_weights(np.maximum(mu.weights, LEAST * mu.mass / mu.n))
        slope = energy.log_slope(full)
        # What Q holds of the change along w0 itself is not counted twice.
        own = np.abs(slope) if far is None else np.maximum(slope - far.along(full.weights), 0.0)
        if far is not None and far.quadratic:
            own = np.zeros(mu.n)
        kernel = None if far is None else far.kernel.scaled(boost)
        p = _power(energy, full) if far is None and _local(energy, full) else 1.0
        if p != 1:
            own = _coefficients(full.weights, own, p)
        return cls(energy.first_variation(full), boost * own, np.log(full.weights), kernel, p)

    @property
    def centre(self) -> Array:
        """log w0, or its power (n,)."""
        return self._rising(self.log_centre)

    def _rising(self, log_w: Array) -> Array:
        return log_w if self.power == 1 else psi_prime(self.power, np.exp(log_w))

    def restrict(self, mu: Discrete) -> WeightForm:
        linear = self.variation - self.curvature * self.centre
        if self.far is None:
            return WeightForm(Separable(linear, {self.power: self.curvature}))
        linear = linear - self.far.product(np.exp(self.log_centre))
        quadratic = Quadratic(self.far, self.far.factored(mu.points))
        return WeightForm(Separable(linear, {1.0: self.curvature}), (quadratic,))

    def slope(self, w: Array) -> Array:
        """The first variation at weights (n,); that of w0 where an atom is empty."""
        with np.errstate(divide="ignore"):
            moved = np.where(w > 0, self._rising(np.log(w)) - self.centre, 0.0)
        out = self.variation + self.curvature * moved
        return out if self.far is None else out + self.far.product(w - np.exp(self.log_centre))

    def __repr__(self) -> str:
        return "LogModel()"


def _local(energy: Energy, mu: Discrete) -> bool:
    """Whether the first variation at an atom is known to depend on its own weight alone."""
    others = [term for _, term in energy.terms if not isinstance(term, LocalEnergy)]
    return all(isinstance(t, FormEnergy) and not t.restrict(mu).quadratics for t in others)


def _power(energy: Energy, mu: Discrete) -> float:
    """p where the logarithmic slopes of a local energy are those of one power w^{p-1}, else 1."""
    w = float(mu.weights.max()) * np.geomspace(LIGHTER, 1.0, mu.n)
    slope = energy.log_slope(mu.with_weights(w))
    if not (slope > 0).all() or not np.isfinite(slope).all():
        return 1.0
    x, y = np.log(w) - np.log(w).mean(), np.log(slope) - np.log(slope).mean()
    p = 1 + float(x @ y) / (float(x @ x) or 1.0)
    off = float(np.sqrt(np.mean((y - (p - 1) * x) ** 2)))
    if off > STRAIGHT or p <= STRAIGHT:
        return 1.0
    return float(round(p)) if abs(p - round(p)) <= STRAIGHT else p


def _coefficients(w: Array, slope: Array, p: float) -> Array:
    """c with c w^{p-1} = slope (n,), those of light atoms like those of solid ones."""
    with np.errstate(all="ignore"):
        c = slope / w ** (p - 1)
    solid = c[w > LIGHTER * float(w.max())]
    return np.clip(np.nan_to_num(c, nan=np.inf), solid.min(), solid.max())
