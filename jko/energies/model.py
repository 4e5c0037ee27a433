"""A model of an energy at a measure: separable in the logarithm of the weights, and quadratic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jko.energies.base import Energy, FormEnergy
from jko.energies.nonlocal_part import FarPart, FeatureKernel
from jko.forms.form import Quadratic, WeightForm
from jko.forms.separable import Separable
from jko.measures.base import Discrete
from jko.validation import Array

#: Weights below this share of the mean count as so much where the model is made: the logarithm of
#: an empty atom says nothing.
LEAST = 1e-12


@dataclass(frozen=True, eq=False)
class LogModel(FormEnergy):
    """The energy whose first variation is f + c (log w - log w0) + Q (w - w0).

    Exact at w0; to first order in log w where F is local (Q = 0), to first order in w where Q holds
    what the first variation at an atom owes to the weights of others.

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
    """

    variation: Array
    curvature: Array
    log_centre: Array
    far: FeatureKernel | None = None

    @classmethod
    def of(
        cls, energy: Energy, mu: Discrete, boost: float = 1.0, far: FarPart | None = None
    ) -> LogModel:
        """The model at `mu`, its curvatures `boost` times those of the energy."""
        full = mu.with_weights(np.maximum(mu.weights, LEAST * mu.mass / mu.n))
        slope = energy.log_slope(full)
        # What Q holds of the change along w0 itself is not counted twice.
        own = np.abs(slope) if far is None else np.maximum(slope - far.along(full.weights), 0.0)
        if far is not None and far.quadratic:
            own = np.zeros(mu.n)
        kernel = None if far is None else far.kernel.scaled(boost)
        return cls(energy.first_variation(full), boost * own, np.log(full.weights), kernel)

    def restrict(self, mu: Discrete) -> WeightForm:
        linear = self.variation - self.curvature * self.log_centre
        if self.far is None:
            return WeightForm(Separable(linear, {1.0: self.curvature}))
        linear = linear - self.far.product(np.exp(self.log_centre))
        quadratic = Quadratic(self.far, self.far.factored(mu.points))
        return WeightForm(Separable(linear, {1.0: self.curvature}), (quadratic,))

    def slope(self, w: Array) -> Array:
        """The first variation at weights (n,); that of w0 where an atom is empty."""
        with np.errstate(divide="ignore"):
            moved = np.where(w > 0, np.log(w) - self.log_centre, 0.0)
        out = self.variation + self.curvature * moved
        return out if self.far is None else out + self.far.product(w - np.exp(self.log_centre))

    def __repr__(self) -> str:
        return "LogModel()"
