"""Measures: the type says what may move."""

from jko.measures.atoms import Histogram, Particles
from jko.measures.base import Discrete, Measure
from jko.measures.gaussian import Gaussian, GaussianMixture
from jko.measures.grid import Grid, GridDensity
from jko.measures.taking import from_dict
from jko.measures.target import LogDensity

__all__ = [
    "Discrete",
    "Gaussian",
    "GaussianMixture",
    "Grid",
    "GridDensity",
    "Histogram",
    "LogDensity",
    "Measure",
    "Particles",
    "from_dict",
]
