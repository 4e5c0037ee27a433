"""The MMD step as a quadratic program over the weights, on a fixed or a united support."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from jko.energies.form import WeightForm
from jko.energies.mmd import MMDEnergy
from jko.energies.separable import Separable
from jko.errors import InvalidArgument, InvalidMeasure
from jko.geometries.mmd import MMD
from jko.kernels import pivoted_cholesky
from jko.measures.base import Discrete
from jko.measures.grid import GridDensity
from jko.prox.problem import ProxProblem
from jko.prox.result import Breakdown, Status
from jko.solvers.base import Answer, Controls, ProxSolver
from jko.solvers.mixture import Mixture, union_support
from jko.validation import Array, one_of, positive_int

if TYPE_CHECKING:
    from jko.solvers.interior_point import QPResult


@dataclass(frozen=True)
class SimplexQP(ProxSolver):
    """Quadratic energies in MMD geometry: min 1/2 w'Hw - c'w over the simplex (or w >= 0).

    Pivoted Cholesky of the kernel, interior point with Woodbury, gap by exact kernel products.

    Parameters
    ----------
    support : {"fixed", "union"}
        "fixed": only the measure's atoms may carry weight; the step sparsifies them. "union": the
        target's atoms enter too, and the step contracts MMD by 1/(1+eta) exactly (MATH M1, M2).
    budget : int, optional
        With "union": recombine to at most this many atoms (positive weights, exact mass, leading
        kernel eigenfunctions kept). The MMD this costs is `info["recombination_mmd"]` and, in
        objective, `bias`; `info["copied_mass"]` is the mass fraction on target atoms.
    """

    support: str = "fixed"
    budget: int | None = None

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
        separable = problem.form.separable
        if not problem.form.convex:
            return (
                "the energy is not known to be convex in the weights; kernels of definiteness"
                " 'positive' are"
            )
        if self.support == "union":
            if isinstance(problem.previous, GridDensity):
                return "a grid takes no further atoms; support='fixed' serves there"
            try:
                separable = _separable_on_union(problem)
            except InvalidMeasure as error:
                return f"the energy cannot be read on the union of the supports: {error}"
        if any((c > 0).any() for c in separable.powers.values()):
            return "the energy is not quadratic in the weights; Conic takes it at small n"
        if ((separable.ceiling > 0) & np.isfinite(separable.ceiling)).any():
            return "the energy bounds the weights from above; Conic takes it at small n"
        if not (separable.ceiling > 0).any():
            return "the energy forbids every atom of the measure; leave one open at least"
        return None

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        if self.support == "fixed":
            return _fixed(problem, controls)
        united = ProxProblem(problem.energy, problem.geometry, union_support(problem), problem.tau)
        mixture = Mixture()
        if mixture.accepts(united) is None:
            answer = mixture.solve(united, controls)
        else:
            answer = _fixed(united, controls)
        return _recombined(united, answer, problem, self.budget)


def _separable_on_union(problem: ProxProblem) -> Separable:
    """What the terms other than MMD energies ask of the weights on the united support."""
    united = union_support(problem)
    forms = [
        term.restrict(united).separable
        for _, term in problem.energy.terms
        if not isinstance(term, MMDEnergy)
    ]
    return reduce(add, forms, Separable(np.zeros(united.n)))


def _fixed(problem: ProxProblem, controls: Controls) -> Answer:
    from jko.solvers.interior_point import QPStatus  # brings scipy.linalg: 0.2 s to import

    form, previous = problem.total_form, problem.discrete
    mass = previous.mass if problem.geometry.conserves_mass else None
    open_atoms = form.separable.ceiling > 0
    result = _quadratic_program(form, previous.points, open_atoms, mass, controls)
    if result.status is QPStatus.UNBOUNDED:
        raise Breakdown(Status.UNBOUNDED, result.status.value)
    weights = np.zeros(previous.n)
    weights[open_atoms] = result.weights
    if not weights.sum() > 0:
        raise Breakdown(
            Status.BROKEN, "the step removes all mass, and a measure needs some: reduce tau"
        )
    return Answer(
        previous.with_weights(weights),
        problem,
        result.iterations,
        exhausted=result.status is QPStatus.MAX_ITER,
        info={"rank": result.ranks[-1] if result.ranks else 0, "qp": result.status.value},
        warm={"weights": weights},
    )


def _quadratic_program(
    form: WeightForm, points: Array, open_atoms: Any, mass: float | None, controls: Controls
) -> QPResult:
    """Solve over the open atoms; several kernels merge into their weighted sum."""
    from jko.solvers.interior_point import solve_qp

    kernel = reduce(add, [q.scale * q.kernel for q in form.quadratics])
    inside = points[open_atoms]

    def product(v: Array) -> Array:
        full = np.zeros(len(points))
        full[open_atoms] = v
        return form.quadratic_gradient(full)[open_atoms]

    # The tolerance is relative to the objective, which the constant part of the form belongs to.
    tol = controls.tol / max(1.0, abs(form.separable.constant))
    factor = pivoted_cholesky(kernel, inside, 10 * tol / (mass or 1.0))
    return solve_qp(
        factor.factor,
        -form.separable.linear[open_atoms],
        mass=mass,
        product=product,
        tol=0.5 * tol,
        max_iter=controls.max_iter or 200,
        warm=_warm_weights(controls.warm, open_atoms),
    )


def _warm_weights(warm: Any, open_atoms: Any) -> Array | None:
    """The weights of an earlier result, when they fit; anything else is ignored."""
    if not isinstance(warm, dict):
        return None
    weights = warm.get("weights")
    if not isinstance(weights, np.ndarray) or weights.shape != open_atoms.shape:
        return None
    return np.asarray(weights[open_atoms], dtype=float)


def _recombined(
    united: ProxProblem, answer: Answer, problem: ProxProblem, budget: int | None
) -> Answer:
    """Report the copied mass and, with a budget, keep that many atoms of the united support."""
    full = answer.measure
    assert isinstance(full, Discrete)
    info = {**answer.info, "recombination_mmd": 0.0, "copied_mass": _copied_mass(full, problem)}
    if budget is None or full.n <= budget:
        return replace(answer, measure=full, problem=united, warm=None, info=info)
    charged = np.flatnonzero(full.weights)
    weights = full.weights[charged]
    kept, share = _recombine(problem, full.points[charged], weights, budget)
    final = type(full)(full.points[charged[kept]], share)  # type: ignore[call-arg]
    spread = np.zeros(full.n)
    spread[charged[kept]] = share
    fewer = full.with_weights(spread)
    info["recombination_mmd"] = float(np.sqrt(problem.geometry.rate)) * problem.geometry.distance(
        fewer, full
    )
    info["copied_mass"] = _copied_mass(final, problem)
    return replace(
        answer,
        measure=final,
        problem=united,
        objective=united.objective(full),
        bias=united.objective(fewer) - united.objective(full),
        certified=full,
        warm=None,
        info=info,
    )


def _recombine(
    problem: ProxProblem, points: Array, weights: Array, budget: int
) -> tuple[NDArray[np.intp], Array]:
    """Indices of at most `budget` atoms and their weights, all of them when they are so few."""
    from jko.solvers.recombination import kernel_features, recombine

    if weights.size <= budget:
        return np.arange(weights.size), weights
    kernel = problem.geometry.kernel  # type: ignore[attr-defined]
    factor = pivoted_cholesky(kernel, points, 1e-14, max_rank=4 * budget).factor
    kept = recombine(weights, kernel_features(factor, weights, budget - 1), budget)
    return kept.indices, kept.weights


def _copied_mass(measure: Discrete, problem: ProxProblem) -> float:
    """Fraction of the mass that sits exactly on atoms of an MMD target."""
    targets = {
        row.tobytes()
        for _, term in problem.energy.terms
        if isinstance(term, MMDEnergy) and isinstance(term.target, Discrete)
        for row in np.ascontiguousarray(term.target.points[term.target.weights > 0] + 0.0)
    }
    rows = np.ascontiguousarray(measure.points + 0.0)
    on_target = np.array([row.tobytes() in targets for row in rows])
    return float(measure.weights[on_target].sum()) / measure.mass
