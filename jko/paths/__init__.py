"""Geodesics, planning and mean-field games: paths of measures with their certificates."""

from jko.paths.geodesic import geodesic
from jko.paths.path import Path
from jko.paths.planning import planning

__all__ = ["Path", "geodesic", "planning"]
