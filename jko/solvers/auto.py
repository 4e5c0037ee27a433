"""Which solver takes which problem: one explicit list, walked in order by `auto`."""

from __future__ import annotations

from jko.energies.base import Energy
from jko.errors import InvalidType, Unsupported
from jko.geometries.base import Geometry
from jko.measures.base import Measure
from jko.prox.problem import ProxProblem
from jko.solvers.back_and_forth.solver import BackAndForth
from jko.solvers.base import ProxSolver
from jko.solvers.entropic.solver import Entropic
from jko.solvers.finite_volume.solver import FiniteVolume
from jko.solvers.gaussian.bures import Bures
from jko.solvers.gaussian.fisher_rao import GaussianMirror, MomentMatching, NaturalGradient
from jko.solvers.gaussian.flow import ExactFlow
from jko.solvers.gaussian.mixtures import MixtureTransport, MixtureWeights
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
from jko.solvers.unbalanced.solver import UnbalancedScaling
from jko.solvers.weights.mixture import Mixture
from jko.solvers.weights.newton import WeightNewton
from jko.solvers.weights.simplex_qp import SimplexQP
from jko.validation import shown

#: The order in which `auto` tries solvers: exact ones first, references last.
AUTO: tuple[ProxSolver, ...] = (
    ClosedForm(),
    DualRoot(),
    SphericalFixedPoint(),
    Mirror(),
    Bures(),
    ExactFlow(),
    NaturalGradient(),
    GaussianMirror(),
    MomentMatching(),
    GaussianImplicit(),
    GaussianForwardBackward(),
    MixtureTransport(),
    MixtureWeights(),
    Mixture(),
    SimplexQP(),
    WeightNewton(),
    Quantile(),
    Lagrangian(),
    LinearTransport(),
    FiniteVolume(limit=0.05),
    TransportProgram(grids=False),
    BackAndForth(patience=8),
    Entropic(),
    Entropic(debias=False),
    UnbalancedScaling(),
    TransportProgram(),
    Conic(),
)


def reason(solver: ProxSolver, problem: ProxProblem) -> str | None:
    """Why a solver refuses, None when it accepts; a missing capability is a reason too."""
    try:
        return solver.accepts(problem)
    except Unsupported as refusal:
        return str(refusal)


def select(problem: ProxProblem, solver: str | ProxSolver = "auto") -> ProxSolver:
    """The solver to use, or `Unsupported` with every reason."""
    if isinstance(solver, ProxSolver):
        why = reason(solver, problem)
        if why is not None:
            raise Unsupported(f"{solver!r} cannot take this step: {why}")
        return solver
    if not (isinstance(solver, str) and solver == "auto"):
        raise InvalidType(
            f"solver got {shown(solver)}; pass 'auto' or a solver object such as"
            " jko.solvers.SimplexQP(support='union')"
        )
    refusals = []
    for candidate in AUTO:
        why = reason(candidate, problem)
        if why is None:
            return candidate
        refusals.append(f"{candidate.name}: {why}")
    raise Unsupported(
        f"no solver takes a step of {problem.energy!r} in {problem.geometry!r} on a"
        f" {type(problem.previous).__name__}:\n  " + "\n  ".join(refusals)
    )


def next_after(problem: ProxProblem, solver: ProxSolver) -> ProxSolver | None:
    """The next solver of the list that takes a step which this one handed back, if there is one."""
    behind = AUTO[AUTO.index(solver) + 1 :]
    return next((s for s in behind if reason(s, problem) is None), None)


def survey(problem: ProxProblem) -> list[tuple[ProxSolver, str | None]]:
    """Every solver of the list with None, or the reason it refuses the problem."""
    return [(solver, reason(solver, problem)) for solver in AUTO]


def solvers_for(
    measure: Measure, energy: Energy, geometry: Geometry, tau: float = 1.0
) -> list[ProxSolver]:
    """The solvers that take this step, in the order `auto` tries them."""
    problem = ProxProblem(energy, geometry, measure, tau)
    return [solver for solver, why in survey(problem) if why is None]
