r"""Unregularised Wasserstein-Fisher-Rao steps between few atoms: exact, with their duality gap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from jko.geometries.base import Geometry
from jko.geometries.unbalanced import WassersteinFisherRao
from jko.measures.atoms import Histogram
from jko.measures.base import Measure
from jko.measures.grid import GridDensity
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Controls
from jko.solvers.base import ProxSolver
from jko.solvers.grids.resolution import warn_if_coarse
from jko.solvers.unbalanced.refusals import not_unbalanced, unbounded
from jko.validation import positive_int

#: Squared cells that a step on a grid should carry mass by (`jko.solvers.grids.resolution`).
CELLS = 0.5


@dataclass(frozen=True)
class UnbalancedProgram(ProxSolver):
    r"""The unregularised Wasserstein-Fisher-Rao step on a fixed support, by an interior point.

    Solves the jointly convex problem of `jko.solvers.unbalanced.cone` over weights and plan, for
    any energy that is convex in the weights, without CVXPY. The answer is exact for the support: on
    a grid coarser than the displacements of the step it is not that of the density.

    Parameters
    ----------
    max_atoms : int
        Larger supports are refused: an iteration factorises a dense matrix over them.

    References
    ----------
    Liero et al. (2018); Mehrotra (1992).
    """

    max_atoms: int = 200

    geometries: ClassVar[tuple[type[Geometry], ...]] = (WassersteinFisherRao,)
    kinds: ClassVar[tuple[type[Measure], ...]] = (GridDensity, Histogram)
    guarantee: ClassVar[str] = (
        "exact on the support: an interior point with its duality gap; small supports"
    )
    default_tol: ClassVar[float] = 1e-8

    def __post_init__(self) -> None:
        positive_int(self.max_atoms, "max_atoms")

    def accepts(self, problem: ProxProblem) -> str | None:
        why = not_unbalanced(problem, self.name)
        if why is None and problem.discrete.n > self.max_atoms:
            return (
                f"takes at most {self.max_atoms} atoms, this measure has {problem.discrete.n}; more"
                " are for jko.solvers.UnbalancedScaling()"
            )
        return why

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        fault = "between their centres next to nothing moves"
        warn_if_coarse(problem, CELLS, fault, "jko.solvers.UnbalancedScaling()")
        from jko.solvers.unbalanced.cone import ConeStep  # `import jko` stays light
        from jko.solvers.unbalanced.grid_error import on_densities
        from jko.solvers.unbalanced.program_run import ProgramRun

        stated = ConeStep(problem)
        if stated.unbounded:
            raise unbounded()
        with np.errstate(under="ignore"):
            return on_densities(problem, ProgramRun(stated, controls).answer(), 0.0)
