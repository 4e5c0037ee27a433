"""The MMD step as a quadratic program over the weights, on a fixed or a united support."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from jko.energies.mmd import MMDEnergy
from jko.errors import InvalidArgument, InvalidMeasure
from jko.forms.form import WeightForm
from jko.forms.separable import Separable
from jko.geometries.base import Geometry
from jko.geometries.mmd import MMD
from jko.kernels import pivoted_cholesky
from jko.measures.base import Discrete, Measure
from jko.measures.grid import GridDensity
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Controls
from jko.solvers.base import ALL_CLOSED, ProxSolver
from jko.solvers.weights.active_set import sharpened
from jko.solvers.weights.lowrank_step import SHARE, Factored, factored, is_large
from jko.solvers.weights.mixture import Mixture, union_support
from jko.solvers.weights.recombined import recombined
from jko.solvers.weights.stated import QuadraticStep
from jko.status import Breakdown, Status
from jko.validation import Array, Mask, one_of, positive_int

if TYPE_CHECKING:
    from jko.solvers.weights.interior_point import QPResult


#: Error of the factor, relative to the tolerance: the exact product makes up for it in the end.
_COARSE = 30.0
#: Error of the finest factor, relative to the kernel: a hundred roundings.
_FINEST = 2e-14
#: Steps below this stop on the unconstrained minimum too: rounding limits the other bound there.
_SHORT = 1e-3
#: Part of the tolerance the program aims at.
_MARGIN = 0.9


@dataclass(frozen=True)
class SimplexQP(ProxSolver):
    """Quadratic energies in MMD geometry: min 1/2 w'Hw - c'w over the simplex (or w >= 0).

    Pivoted Cholesky of the kernel, interior point with Woodbury, gap by exact kernel products. From
    16 000 atoms on (targets included) one factor of all supports serves every product, at linear
    cost: energy, distance and gap are then those of the factor, the gap plus a bound of what the
    remainder of the kernel can add to it (`info["lowrank_error"]`; `info["delta"]` is its largest
    diagonal entry).

    Parameters
    ----------
    support : {"fixed", "union"}
        "fixed": only the measure's atoms may carry weight; the step sparsifies them. "union": the
        target's atoms enter too, and the step contracts MMD by 1/(1+eta) exactly (formulas M1, M2).
    budget : int, optional
        With "union": recombine to at most this many atoms (positive weights, exact mass, leading
        kernel eigenfunctions kept). The MMD this costs is `info["recombination_mmd"]` and, in
        objective, `bias`; `info["copied_mass"]` is the mass fraction on target atoms.

    References
    ----------
    Gladin et al. (2024); Mehrotra (1992); Fine and Scheinberg (2001).
    """

    support: str = "fixed"
    budget: int | None = None

    geometries: ClassVar[tuple[type[Geometry], ...]] = (MMD,)
    kinds: ClassVar[tuple[type[Measure], ...]] = (Discrete,)
    guarantee: ClassVar[str] = "to tolerance"
    default_tol: ClassVar[float] = 1e-9

    def __post_init__(self) -> None:
        one_of(self.support, ("fixed", "union"), "support")
        if self.budget is not None:
            positive_int(self.budget, "budget")
            if self.support != "union":
                raise InvalidArgument(
                    f"budget = {self.budget} limits the atoms of a united support;"
                    " pass support='union' with it"
                )

    @property
    def name(self) -> str:
        return "SimplexQP" if self.support == "fixed" else "SimplexQP(union)"

    def accepts(self, problem: ProxProblem) -> str | None:
        if not isinstance(problem.geometry, MMD):
            return "it takes MMD geometries only"
        if not isinstance(problem.previous, Discrete):
            return f"a {type(problem.previous).__name__} has no weights on a fixed support"
        support = problem.discrete
        if self.support == "union":
            if isinstance(support, GridDensity):
                return "a grid takes no further atoms; support='fixed' serves there"
            support = union_support(problem)
        try:
            forms = _other_forms(problem, support)
        except InvalidMeasure as error:
            if self.support == "fixed":
                raise
            return f"the energy cannot be read on the union of the supports: {error}"
        for _, term in problem.energy.terms:
            if isinstance(term, MMDEnergy):
                term.check_restriction(problem.discrete)
        if not all(form.convex for form in forms):
            return (
                "the energy is not known to be convex in the weights; kernels of definiteness"
                " 'positive' are"
            )
        return _why_not(reduce(add, [f.separable for f in forms], Separable(np.zeros(support.n))))

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        if self.support == "fixed":
            return _fixed(problem, controls)
        united = ProxProblem(problem.energy, problem.geometry, union_support(problem), problem.tau)
        return recombined(_fixed(united, controls, mix=True), problem, self.budget)


def _other_forms(problem: ProxProblem, support: Discrete) -> list[WeightForm]:
    """The normal forms of the terms that are no MMD energies: those are quadratic and convex."""
    terms = problem.energy.terms
    return [t.restrict(support).scaled(c) for c, t in terms if not isinstance(t, MMDEnergy)]


def _why_not(separable: Separable) -> str | None:
    """Why the separable part of an energy does not fit a quadratic program over a simplex."""
    if any((c > 0).any() for c in separable.powers.values()):
        return "the energy is not quadratic in the weights; Conic takes it at small n"
    if ((separable.ceiling > 0) & np.isfinite(separable.ceiling)).any():
        return "the energy bounds the weights from above; Conic takes it at small n"
    if not (separable.ceiling > 0).any():
        return f"the energy forbids {ALL_CLOSED}"
    return None


def _fixed(problem: ProxProblem, controls: Controls, mix: bool = False) -> Answer:
    """Solve on the atoms of the previous measure; `mix`: in closed form where that is possible."""
    if not is_large(problem):
        return _stated(QuadraticStep.of(problem), None, controls, mix)
    factor = factored(problem, controls.tol * problem.unit)
    return _stated(factor.step, factor, controls, mix)


def _stated(
    stated: QuadraticStep, factor: Factored | None, controls: Controls, mix: bool
) -> Answer:
    """The answer to a stated step, with its figures."""
    if mix and Mixture().accepts(stated.problem) is None:
        answer = Mixture().solve(stated.problem, controls)
    else:
        answer = _by_program(stated, factor, controls)
    nu = answer.measure
    assert isinstance(nu, Discrete)
    info = dict(answer.info)
    if factor is not None:
        info |= {"delta": factor.error, "lowrank_error": stated.excess(nu.weights)}  # type: ignore[misc]
    return replace(
        answer,
        problem=stated,
        energy=stated.energy(nu),
        sqdistance=stated.sqdistance(nu),
        baseline=stated.baseline,
        remark=answer.remark if factor is None else factor.remark or answer.remark,
        info=info,
    )


def _by_program(stated: QuadraticStep, factor: Factored | None, controls: Controls) -> Answer:
    from jko.solvers.weights.interior_point import QPStatus  # brings scipy.linalg: 0.2 s to import

    previous = stated.problem.discrete
    rows = None if factor is None else factor.rows
    result = _quadratic_program(stated, rows, controls)
    if result.status is QPStatus.UNBOUNDED and rows is None:
        # A long step may end at a mass that sees what the factor has left out.
        result = _quadratic_program(stated, rows, controls, finest=True)
    if result.status is QPStatus.UNBOUNDED:
        raise Breakdown(Status.UNBOUNDED, result.status.value)
    weights = np.zeros(previous.n)
    weights[stated.open] = result.weights
    if not weights.sum() > 0:
        raise Breakdown(Status.EMPTY, "no atom lowers the objective when it gets some mass")
    if rows is None and controls.tol * stated.problem.unit <= stated.blur(weights):
        weights = sharpened(stated, weights)
    exhausted = result.status is QPStatus.MAX_ITER
    return Answer(
        previous.with_weights(weights),
        stated,
        result.iterations,
        exhausted=exhausted,
        remark="" if result.success or exhausted else result.status.value,
        info={"rank": result.ranks[-1] if result.ranks else 0, "qp": result.status.value},
        warm={"weights": weights},
    )


def _quadratic_program(
    stated: QuadraticStep, rows: Array | None, controls: Controls, finest: bool = False
) -> QPResult:
    """Solve over the open atoms, around the previous weights when the mass is fixed.

    Several kernels merge into their weighted sum. On a factor of a large step the products are
    those of the factor, and nothing is left to correct.
    """
    from jko.solvers.weights.interior_point import Around, solve_qp

    inside, mass, form = stated.open, stated.mass, stated.curvature
    scale = sum(q.scale for q in form.quadratics)
    kernel = reduce(add, [(q.scale / scale) * q.kernel for q in form.quadratics])

    def product(u: Array) -> Array:
        full = np.zeros(len(inside))
        full[inside] = u
        return form.quadratic_gradient(full)[inside] / scale

    if mass is None:
        linear, offset = -stated.total.separable.linear, stated.total.separable.constant
        centre, floor = None, -np.inf
    else:
        linear, offset = -(stated.slope + stated.penalty_slope), stated.start
        # Elsewhere the Frank-Wolfe gap is the larger bound: it asks the solver for more digits.
        short = stated.problem.step < _SHORT
        centre, floor = stated.centre[inside], stated.floor if short else -np.inf
    if rows is None:
        points = stated.problem.discrete.points[inside]
        typical = stated.problem.previous.mass if mass is None else mass
        coarse = _COARSE * controls.tol * stated.problem.unit / (scale * typical**2)
        if finest:
            height = [q.scale / scale * float(q.operator.diagonal().max()) for q in form.quadratics]
            coarse = min(coarse, _FINEST * max(height))
        columns, share = pivoted_cholesky(kernel, points, coarse).factor, 1.0
    else:
        columns, share = rows.T if inside.all() else rows[:, inside].T, 1.0 - SHARE
    return solve_qp(
        columns,
        linear[inside],
        scale=scale,
        mass=mass,
        product=product if rows is None else None,
        tol=_MARGIN * share * controls.tol,
        max_iter=controls.max_iter or 200,
        warm=_warm_weights(controls.warm, inside),
        around=Around(centre, offset, floor, stated.problem.unit),
    )


def _warm_weights(warm: object, open_atoms: Mask) -> Array | None:
    """The weights of an earlier result, when they fit; anything else is ignored."""
    if not isinstance(warm, dict):
        return None
    weights = warm.get("weights")
    if not isinstance(weights, np.ndarray) or weights.shape != open_atoms.shape:
        return None
    kept = np.asarray(weights[open_atoms], dtype=float)
    return kept if np.isfinite(kept).all() and (kept >= 0).all() else None
