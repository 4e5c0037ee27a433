"""Distances between given measures: transport hard or relaxed, entropic or not, barycentres."""

from jko.distances.barycentre import Barycentre, barycentre
from jko.distances.coupling import Transport, transport

__all__ = ["Barycentre", "Transport", "barycentre", "transport"]
