"""Distances between given measures: transport hard or relaxed, entropic or not, barycentres."""

from jko.distances.barycentre import barycentre
from jko.distances.barycentre_result import Barycentre
from jko.distances.coupling import Transport, transport
from jko.distances.sliced import Sliced, sliced_wasserstein

__all__ = [
    "Barycentre",
    "Sliced",
    "Transport",
    "barycentre",
    "sliced_wasserstein",
    "transport",
]
