"""jko: minimising-movement (JKO) and proximal steps on measures, every step certified."""

from importlib import import_module
from typing import Any

from jko import geometries, kernels, solvers
from jko.energies import (
    KL,
    BoxConstraint,
    Energy,
    Entropy,
    InclusiveKL,
    Interaction,
    LocalEnergy,
    MMDEnergy,
    Moment,
    PhiDivergence,
    PorousMedium,
    Potential,
    SinkhornDivergence,
    TimeDependent,
    WassersteinEnergy,
)
from jko.errors import (
    InvalidArgument,
    InvalidMeasure,
    InvalidType,
    JkoError,
    JkoWarning,
    StepFailed,
    Unsupported,
)
from jko.flows import callbacks
from jko.flows.container import InvalidFile
from jko.flows.control import AdaptiveStep
from jko.flows.driver import flow, resume
from jko.flows.splitting import split_step
from jko.flows.trajectory import Trajectory
from jko.geometries import (
    MMD,
    Divergence,
    Geometry,
    Hellinger,
    SphericalHellinger,
    Wasserstein,
    WassersteinFisherRao,
)
from jko.matching import match
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
from jko.prox.stated import Claim
from jko.solvers.auto import solvers_for
from jko.solvers.step import step
from jko.sweep import sweep

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
    "Energy",
    "Entropy",
    "InclusiveKL",
    "Interaction",
    "KL",
    "LocalEnergy",
    "MMDEnergy",
    "Moment",
    "PhiDivergence",
    "PorousMedium",
    "Potential",
    "TimeDependent",
    "SinkhornDivergence",
    "WassersteinEnergy",
    "Divergence",
    "Geometry",
    "Hellinger",
    "MMD",
    "SphericalHellinger",
    "Wasserstein",
    "WassersteinFisherRao",
    "ProxProblem",
    "Status",
    "StepResult",
    "Claim",
    "solvers_for",
    "step",
    "split_step",
    "AdaptiveStep",
    "flow",
    "match",
    "resume",
    "sweep",
    "Trajectory",
    "InvalidArgument",
    "InvalidFile",
    "InvalidMeasure",
    "InvalidType",
    "JkoError",
    "JkoWarning",
    "StepFailed",
    "Unsupported",
    "callbacks",
    "geometries",
    "kernels",
    "solvers",
]

#: Rooms that are imported when they are first asked for, so that `import jko` stays quick.
_LATER = ("dro", "plot", "reference", "sampling", "testing", "thinning", "verify", "vi")
#: Functions of such rooms that are called by their own name.
_LATER_FUNCTIONS = {
    "compare": "sampling",
    "sample": "sampling",
    "geodesic": "paths",
    "planning": "paths",
    "Path": "paths",
    "transport": "distances",
    "barycentre": "distances",
    "sliced_wasserstein": "distances",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return import_module(f"jko.{name}")
    if name in _LATER_FUNCTIONS:
        return getattr(import_module(f"jko.{_LATER_FUNCTIONS[name]}"), name)
    from difflib import get_close_matches

    near = get_close_matches(name, __dir__(), 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise AttributeError(f"module 'jko' has no attribute {name!r}{hint}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_LATER, *_LATER_FUNCTIONS, "__version__"})
