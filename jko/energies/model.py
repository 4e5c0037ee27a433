"""A separable model of an energy at a measure, in the logarithm of the weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jko.energies.base import Energy, FormEnergy
from jko.energies.form import WeightForm
from jko.energies.separable import Separable
from jko.measures.base import Discrete
from jko.validation import Array

#: Weights below this share of the mean count as so much where the model is made: the logarithm of
#: an empty atom says nothing.
LEAST = 1e-12


@dataclass(frozen=True, eq=False)
class LogModel(FormEnergy):
    """The energy whose first variation is f + c (log w - log w0): exact at w0, to first order in
    log w where F is local.

    Attributes
    ----------
    variation : (n,) array
        f, the first variation at w0.
    curvature : (n,) array, >= 0
        c.
    log_centre : (n,) array
        log w0.
    """

    variation: Array
    curvature: Array
    log_centre: Array

    @classmethod
    def of(cls, energy: Energy, mu: Discrete, boost: float = 1.0) -> LogModel:
        """The model at `mu`, its curvature `boost` times that of the energy."""
        full = mu.with_weights(np.maximum(mu.weights, LEAST * mu.mass / mu.n))
        curvature = boost * np.abs(energy.log_slope(full))
        return cls(energy.first_variation(full), curvature, np.log(full.weights))

    def restrict(self, mu: Discrete) -> WeightForm:
        linear = self.variation - self.curvature * self.log_centre
        return WeightForm(Separable(linear, {1.0: self.curvature}))

    def slope(self, w: Array) -> Array:
        """The first variation at weights (n,); that of w0 where an atom is empty."""
        with np.errstate(divide="ignore"):
            moved = np.where(w > 0, np.log(w) - self.log_centre, 0.0)
        return self.variation + self.curvature * moved

    def __repr__(self) -> str:
        return "LogModel()"
