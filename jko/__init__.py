"""jko: minimising-movement (JKO) and proximal steps on measures, every step certified."""

from jko import kernels
from jko.errors import (
    InvalidArgument,
    InvalidMeasure,
    InvalidType,
    JkoError,
    StepFailed,
    Unsupported,
)
from jko.measures import (
    Gaussian,
    GaussianMixture,
    Grid,
    GridDensity,
    Histogram,
    LogDensity,
    Particles,
)

__version__ = "0.1.0"
