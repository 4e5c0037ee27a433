"""jko: minimising-movement (JKO) and proximal steps on measures, every step certified."""

from jko import callbacks, kernels, solvers
from jko.archive import InvalidFile
from jko.energies import (
    KL,
    BoxConstraint,
    Entropy,
    InclusiveKL,
    Interaction,
    MMDEnergy,
    PhiDivergence,
    PorousMedium,
    Potential,
)
from jko.errors import (
    InvalidArgument,
    InvalidMeasure,
    InvalidType,
    JkoError,
    StepFailed,
    Unsupported,
)
from jko.flow import flow, resume
from jko.geometries import MMD, Divergence, Hellinger, SphericalHellinger, Wasserstein
from jko.measures import (
    Gaussian,
    GaussianMixture,
    Grid,
    GridDensity,
    Histogram,
    LogDensity,
    Particles,
)
from jko.prox import ProxProblem, Status, StepResult
from jko.solvers.select import solvers_for
from jko.solvers.stepping import step
from jko.splitting import split_step
from jko.trajectory import Trajectory

__version__ = "0.1.0"

__all__ = [
    "Gaussian",
    "GaussianMixture",
    "Grid",
    "GridDensity",
    "Histogram",
    "LogDensity",
    "Particles",
    "BoxConstraint",
    "Entropy",
    "InclusiveKL",
    "Interaction",
    "KL",
    "MMDEnergy",
    "PhiDivergence",
    "PorousMedium",
    "Potential",
    "Divergence",
    "Hellinger",
    "MMD",
    "SphericalHellinger",
    "Wasserstein",
    "ProxProblem",
    "Status",
    "StepResult",
    "solvers_for",
    "step",
    "split_step",
    "flow",
    "resume",
    "Trajectory",
    "InvalidArgument",
    "InvalidFile",
    "InvalidMeasure",
    "InvalidType",
    "JkoError",
    "StepFailed",
    "Unsupported",
    "callbacks",
    "kernels",
    "solvers",
]
