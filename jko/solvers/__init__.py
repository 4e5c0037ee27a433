"""Solvers of proximal steps: pass one as `solver=`, or let "auto" choose."""

from importlib import import_module
from typing import TYPE_CHECKING

from jko.prox.stated import Answer, Controls
from jko.solvers.auto import RULES
from jko.solvers.back_and_forth.solver import BackAndForth
from jko.solvers.base import HandedBack, ProxSolver
from jko.solvers.constrained.solver import Constrained
from jko.solvers.dynamic.solver import Dynamic
from jko.solvers.entropic.solver import Entropic
from jko.solvers.finite_volume.solver import FiniteVolume
from jko.solvers.gaussian.bures import Bures
from jko.solvers.gaussian.fisher_rao import GaussianMirror, MomentMatching, NaturalGradient
from jko.solvers.gaussian.flow import ExactFlow
from jko.solvers.gaussian.mixture_weights import MixtureWeights
from jko.solvers.gaussian.mixtures import MixtureTransport
from jko.solvers.gaussian.transport import GaussianForwardBackward, GaussianImplicit
from jko.solvers.hellinger.closed_form import ClosedForm
from jko.solvers.hellinger.dual_root import DualRoot
from jko.solvers.hellinger.mirror import Mirror
from jko.solvers.hellinger.spherical import SphericalFixedPoint
from jko.solvers.line.solver import Quantile
from jko.solvers.particles.lagrangian import Lagrangian
from jko.solvers.programs.conic import Conic
from jko.solvers.programs.linear import LinearTransport
from jko.solvers.programs.transport import TransportProgram
from jko.solvers.rules import Rule
from jko.solvers.successive.solver import ProximalNewton
from jko.solvers.unbalanced.program import UnbalancedProgram
from jko.solvers.unbalanced.solver import UnbalancedScaling
from jko.solvers.weights.mixture import Mixture
from jko.solvers.weights.newton import KernelReaction, WeightNewton
from jko.solvers.weights.simplex_qp import SimplexQP

if TYPE_CHECKING:
    from jko.solvers.particles.euler import Euler
    from jko.solvers.particles.kernelised import Kernelised
    from jko.solvers.particles.multiplicative import Multiplicative
    from jko.solvers.particles.projected import ProjectedWeights
    from jko.solvers.stochastic.birth_death import BirthDeath, Reweighting
    from jko.solvers.stochastic.langevin import Langevin
    from jko.solvers.stochastic.tempering import Tempering

#: Solvers that `auto` does not choose are loaded when they are named.
_ON_DEMAND = {
    "Euler": "jko.solvers.particles.euler",
    "Kernelised": "jko.solvers.particles.kernelised",
    "Multiplicative": "jko.solvers.particles.multiplicative",
    "ProjectedWeights": "jko.solvers.particles.projected",
    "BirthDeath": "jko.solvers.stochastic.birth_death",
    "Reweighting": "jko.solvers.stochastic.birth_death",
    "Langevin": "jko.solvers.stochastic.langevin",
    "Tempering": "jko.solvers.stochastic.tempering",
}


def __getattr__(name: str) -> object:
    if name not in _ON_DEMAND:
        raise AttributeError(f"module 'jko.solvers' has no attribute {name!r}")
    found = getattr(import_module(_ON_DEMAND[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)


__all__ = [
    "RULES",
    "Rule",
    "Answer",
    "BackAndForth",
    "BirthDeath",
    "Bures",
    "ClosedForm",
    "Conic",
    "Constrained",
    "Controls",
    "DualRoot",
    "Dynamic",
    "Entropic",
    "FiniteVolume",
    "Euler",
    "ExactFlow",
    "GaussianForwardBackward",
    "GaussianImplicit",
    "GaussianMirror",
    "HandedBack",
    "KernelReaction",
    "Kernelised",
    "Lagrangian",
    "Langevin",
    "LinearTransport",
    "Mirror",
    "Mixture",
    "MixtureTransport",
    "MixtureWeights",
    "MomentMatching",
    "NaturalGradient",
    "Multiplicative",
    "ProjectedWeights",
    "ProximalNewton",
    "ProxSolver",
    "Reweighting",
    "Quantile",
    "SimplexQP",
    "SphericalFixedPoint",
    "Tempering",
    "TransportProgram",
    "UnbalancedProgram",
    "UnbalancedScaling",
    "WeightNewton",
]
