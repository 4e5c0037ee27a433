"""Solvers of proximal steps: pass one as `solver=`, or let "auto" choose."""

from jko.solvers.base import Answer, Controls, ProxSolver
from jko.solvers.bures import Bures
from jko.solvers.lagrangian import Lagrangian
from jko.solvers.mixture import Mixture
from jko.solvers.simplex_qp import SimplexQP

__all__ = [
    "Answer",
    "Bures",
    "Controls",
    "Lagrangian",
    "Mixture",
    "ProxSolver",
    "SimplexQP",
]
