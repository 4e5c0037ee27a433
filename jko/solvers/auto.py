"""The rules of `auto`: which solver takes which step, where to try it, and for how long."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from jko.energies.base import Energy
from jko.errors import InvalidType
from jko.geometries.base import Geometry
from jko.measures.base import Measure
from jko.measures.grid import GridDensity, not_straight
from jko.prox.problem import ProxProblem
from jko.solvers.back_and_forth.solver import BackAndForth
from jko.solvers.base import ProxSolver
from jko.solvers.constrained.solver import Constrained
from jko.solvers.dynamic.solver import Dynamic
from jko.solvers.entropic.solver import Entropic
from jko.solvers.finite_volume.scheme import CellScheme, displacement, model_error
from jko.solvers.finite_volume.solver import FiniteVolume
from jko.solvers.gaussian.bures import Bures
from jko.solvers.gaussian.fisher_rao import GaussianMirror, MomentMatching, NaturalGradient
from jko.solvers.gaussian.flow import ExactFlow
from jko.solvers.gaussian.mixture_weights import MixtureWeights
from jko.solvers.gaussian.mixtures import MixtureTransport
from jko.solvers.gaussian.transport import GaussianForwardBackward, GaussianImplicit
from jko.solvers.grids.levels import grid_of
from jko.solvers.grids.resolution import squared_widths
from jko.solvers.hellinger.closed_form import ClosedForm
from jko.solvers.hellinger.dual_root import DualRoot
from jko.solvers.hellinger.mirror import Mirror
from jko.solvers.hellinger.spherical import SphericalFixedPoint
from jko.solvers.line.solver import Quantile
from jko.solvers.nearest import refuse
from jko.solvers.particles.lagrangian import Lagrangian
from jko.solvers.programs.conic import Conic
from jko.solvers.programs.linear import LinearTransport
from jko.solvers.programs.transport import TransportProgram
from jko.solvers.rules import Rule, applying
from jko.solvers.successive.solver import ProximalNewton
from jko.solvers.unbalanced.program import UnbalancedProgram
from jko.solvers.unbalanced.solver import UnbalancedScaling
from jko.solvers.weights.mixture import Mixture
from jko.solvers.weights.newton import KernelReaction, WeightNewton
from jko.solvers.weights.simplex_qp import SimplexQP
from jko.validation import entries, shown

#: Ascent steps after which back-and-forth leaves a front to the scaling: where it certifies it
#: needs 2 to 6 in steps of formula W5, up to 70 where a smooth density has still to form its front
#: or the energy is flat (`benchmarks/back_and_forth.py`).
FRONT_BUDGET = 80
#: Sweeps after which a debiased entropic step has shown whether it converges: smooth energies take
#: 20 to 400 of them; at fronts of steep powers it still goes on after 3000.
SWEEPS = 600
#: Share of the decrease up to which the gap of a step at a front counts as its solution.
FRONT_RESOLUTION = 0.1
#: The error of the step, as a share of the way gone, is about LEAST + SLOPE q at a model error q,
#: that of other steps about BLUR over the cells that mass moves by: fits of L1 distances to exact
#: Barenblatt steps (formula W5, m = 2 and 4, 32^2 and 64^2 cells, moves of .1 to 2 cells).
LEAST = 0.03
SLOPE = 0.3
BLUR = 0.016
#: Cells along an axis, and cells in all, from which on the ascent is closer to exact steps and
#: cheaper than scaling (steps of formula W5 in one and two dimensions).
SIDE = 32
WORTH = 4096
#: Cells that some mass must move by: shares of places between cells blur shorter steps. At half a
#: cell the error is 1 to 2 % of the way (scaling: 2 to 4 %), at a seventh 6 to 16 % (8 to 15 %).
FAR = 0.2


def atoms_of_their_own(problem: ProxProblem) -> str | None:
    """Atoms that mean themselves; the cells of a grid stand for a density."""
    if isinstance(problem.previous, GridDensity):
        return "leaves grid densities, whose cells are no atoms, to others"
    return None


def drifting_density(problem: ProxProblem) -> str | None:
    """None for the drift of a density: between centres of cells it moves by whole cells, or not.

    On 128 cells the mean of a density 7 cells wide goes none of its way where that is a fifth of a
    cell and .6 of it at .4 cells; half steps go all of it, and the width is right to 3 % of its
    change from .4 cells on, where they spread less than transport between the centres (.8 to 3 %).
    """
    previous, h = problem.previous, problem.form.separable
    if not isinstance(previous, GridDensity) or h.powers or problem.form.quadratics:
        return "leaves all but densities in a potential to others; ask for it"
    if np.isfinite(h.ceiling[h.ceiling > 0]).any():
        return "leaves bounded densities to others; ask for it"
    if (squared_widths(previous) < previous.grid.spacing**2).any():
        return "mass of single cells goes to their nearest places by others; ask for it"
    return None


def curved_with_sources(problem: ProxProblem) -> str | None:
    """Steps with sources round obstacles or on periodic axes, which no other solver has."""
    if problem.geometry.conserves_mass:
        return "leaves steps that conserve mass to others; ask for it with Dynamic()"
    if not_straight(problem.previous) is None:
        return "leaves boxes without obstacles and periodic axes to others; ask for it"
    return None


def short_step(problem: ProxProblem) -> str | None:
    """None for short steps of porous media, and where the entropic step sees too little.

    The entropic step sees neither obstacles nor kernels that are not positive definite.
    """
    previous = problem.previous
    assert isinstance(previous, GridDensity)
    if previous.grid.mask is not None or not problem.form.convex:
        return None
    powers = problem.form.separable.charging
    if not powers:
        return "without an internal energy it smears; ask for it with FiniteVolume()"
    if any(p <= 1 for p in powers):
        return (
            "under an entropy densities are smooth, and the entropic step is the closer one;"
            " ask for it with FiniteVolume()"
        )
    why = without_edges(problem)
    if why is not None:
        return why
    scheme, w = CellScheme(problem.form, previous.grid), previous.weights
    q = float(model_error(scheme, w, problem.step))
    cells = float(displacement(scheme, w, problem.step))
    if (LEAST + SLOPE * q) * cells <= BLUR:
        return None
    return (
        f"mass moves by {cells:.2g} cells with a model error q = {q:.2g}, which others do better:"
        " take a shorter tau, or ask for it with FiniteVolume()"
    )


def without_edges(problem: ProxProblem) -> str | None:
    """None where no bound on the density makes edges."""
    if CellScheme(problem.form, grid_of(problem)).bounded is not None:
        return "edges of crowds smear in it; ask for it with FiniteVolume()"
    return None


def front(problem: ProxProblem) -> str | None:
    """None at sharp fronts (powers p > 1 or bounds, no entropy) on cells enough for the ascent."""
    grid, h = grid_of(problem), problem.form.separable
    if grid.size < min(WORTH, SIDE ** sum(m > 1 for m in grid.shape)):
        return f"a grid of fewer than {SIDE} cells a side; ask for it with BackAndForth()"
    if not h.sharp:
        return (
            "under an entropy densities are smooth, and the entropic step is the closer one;"
            " ask for it with BackAndForth()"
        )
    return None


def moving_front(problem: ProxProblem) -> str | None:
    """None at sharp fronts that move by `FAR` cells."""
    why = front(problem)
    if why is not None:
        return why
    scheme = CellScheme(problem.form, grid_of(problem))
    cells = displacement(scheme, problem.discrete.weights, problem.step)
    if cells < FAR:
        return (
            f"mass moves by {cells:.2g} cells at most, and shares of places between cells blur;"
            " ask for it with BackAndForth()"
        )
    return None


#: Solvers of energies in normal form, and of moving particles.
_KNOWN: tuple[Rule, ...] = (
    Rule(ClosedForm()),
    Rule(DualRoot()),
    Rule(SphericalFixedPoint()),
    Rule(Mirror()),
    Rule(Bures()),
    Rule(GaussianMirror()),
    Rule(MomentMatching()),
    Rule(GaussianImplicit()),
    Rule(GaussianForwardBackward()),
    Rule(MixtureTransport()),
    Rule(MixtureWeights()),
    Rule(Mixture()),
    Rule(SimplexQP()),
    Rule(WeightNewton()),
    Rule(KernelReaction()),
    Rule(Quantile()),
    Rule(Lagrangian()),
    Rule(Entropic(debias="half"), when=drifting_density, budget=SWEEPS),
    Rule(LinearTransport()),
    Rule(FiniteVolume(), when=short_step),
    Rule(TransportProgram(), when=atoms_of_their_own),
    Rule(BackAndForth(), when=moving_front, budget=FRONT_BUDGET, resolves=FRONT_RESOLUTION),
    Rule(Entropic(), budget=SWEEPS),
    Rule(FiniteVolume(), when=without_edges),
    Rule(Entropic(debias=False)),
    Rule(UnbalancedProgram(), when=atoms_of_their_own),
    Rule(UnbalancedScaling()),
    Rule(UnbalancedProgram()),
    Rule(Dynamic(), when=curved_with_sources),
    Rule(Dynamic(slices=2), when=curved_with_sources),
    Rule(FiniteVolume()),
    Rule(BackAndForth(), when=front),
    Rule(Entropic()),
    Rule(TransportProgram()),
    Rule(Conic()),
    Rule(ExactFlow(), last=True),
    Rule(NaturalGradient(), last=True),
)


#: Those and, for energies known by their first variation alone, successive models.
_PLAIN: tuple[Rule, ...] = (*_KNOWN, Rule(ProximalNewton(inner=_KNOWN)))

#: The order in which `auto` tries solvers: exact ones first, references later; steps within sets of
#: measures are taken by the others at fixed multipliers.
RULES: tuple[Rule, ...] = (*_PLAIN, Rule(Constrained(inner=_PLAIN)))

#: The solvers of the table, in its order.
AUTO: tuple[ProxSolver, ...] = tuple(dict.fromkeys(rule.solver for rule in RULES))


@cache
def _places() -> tuple[int, ...]:
    """Where in `AUTO` the solver of each rule stands: solvers hold others, and are slow to hash."""
    known = {solver: k for k, solver in enumerate(AUTO)}
    return tuple(known[rule.solver] for rule in RULES)


def rules_of(solver: object) -> tuple[Rule, ...]:
    """The rules that an argument `solver` stands for.

    "auto" is the whole table, a solver object one rule, a list of solvers and rules itself: so
    `[Mine(), *jko.solvers.RULES]` puts a user's own solver in front.
    """
    if isinstance(solver, ProxSolver):
        return (Rule(solver),)
    if isinstance(solver, Rule):
        return (solver,)
    if isinstance(solver, str) and solver == "auto":
        return RULES
    if isinstance(solver, Sequence) and entries(solver):
        return tuple(rule for entry in solver for rule in rules_of(entry))
    raise InvalidType(
        f"solver got {shown(solver)}; pass 'auto' or a solver object such as"
        " jko.solvers.SimplexQP(support='union')"
    )


def select(problem: ProxProblem, solver: object = "auto") -> ProxSolver:
    """The first solver that applies, or `Unsupported` with the reasons."""
    rules = rules_of(solver)
    rule = next(applying(problem, rules), None)
    if rule is None:
        raise refuse(problem, rules)
    return rule.solver


def survey(problem: ProxProblem) -> list[tuple[ProxSolver, str | None]]:
    """Every solver of the table with None, or the reason it refuses; in the order of `auto`.

    A solver with several rules stands where the first one that applies stands.
    """
    refusals: dict[int, str | None] = {}  # a solver with several rules is asked once
    reasons = []
    for place, rule in zip(_places(), RULES, strict=True):
        if place not in refusals:
            refusals[place] = rule.refusal(problem)
        why = refusals[place]
        asked = why is None and rule.when is not None
        reasons.append((place, rule.reason(problem) if asked else why))
    takes = {place for place, why in reasons if why is None}
    first: dict[int, str | None] = {}
    for place, why in reasons:
        if why is None or place not in takes:
            first.setdefault(place, why)
    return [(AUTO[place], why) for place, why in first.items()]


def solvers_for(
    measure: Measure, energy: Energy, geometry: Geometry, tau: float = 1.0, *, why: bool = False
) -> list[ProxSolver] | list[tuple[ProxSolver, str | None]]:
    """The solvers that take this step, in the order `auto` tries them.

    Parameters
    ----------
    measure, energy, geometry, tau
        As in `jko.step`.
    why : bool
        Return every solver with None, or the sentence that says why it does not take the step.
    """
    answers = survey(ProxProblem(energy, geometry, measure, tau))
    return answers if why else [solver for solver, reason in answers if reason is None]
