"""Energies: they add and scale, and say on which measures they can do what."""

from jko.energies.base import Energy, EnergySum, FormEnergy
from jko.energies.divergence import KL, InclusiveKL, PhiDivergence
from jko.energies.interaction import Interaction
from jko.energies.internal import BoxConstraint, Entropy, PorousMedium
from jko.energies.local import LocalEnergy
from jko.energies.mmd import MMDEnergy
from jko.energies.moment import Moment
from jko.energies.potential import Potential
from jko.energies.sinkhorn import SinkhornDivergence
from jko.energies.time_dependent import TimeDependent
from jko.energies.wasserstein import WassersteinEnergy
from jko.forms.form import Quadratic, WeightForm
from jko.forms.separable import Separable

__all__ = [
    "KL",
    "BoxConstraint",
    "Energy",
    "EnergySum",
    "Entropy",
    "FormEnergy",
    "Interaction",
    "InclusiveKL",
    "LocalEnergy",
    "MMDEnergy",
    "Moment",
    "PhiDivergence",
    "PorousMedium",
    "Potential",
    "TimeDependent",
    "Quadratic",
    "Separable",
    "SinkhornDivergence",
    "WassersteinEnergy",
    "WeightForm",
]
