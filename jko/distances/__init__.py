"""Distances between given measures: transport hard or relaxed, entropic or not, barycentres."""

from jko.distances.coupling import Transport, transport

__all__ = ["Transport", "transport"]
