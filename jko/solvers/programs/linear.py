r"""Wasserstein steps whose plan is known: of linear energies, and from a single atom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from jko.geometries.base import Geometry
from jko.geometries.wasserstein import Wasserstein
from jko.measures.atoms import Histogram
from jko.measures.base import Measure
from jko.measures.grid import GridDensity
from jko.numerics.elementary import EPS
from jko.prox.duality.mass import MassSearch, rescale
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Controls
from jko.solvers.base import ALL_CLOSED, Elsewhere, ProxSolver, not_transport, stated_paths
from jko.solvers.grids.accuracy import between_centres
from jko.solvers.programs.stated import TransportStep
from jko.status import Breakdown, Status
from jko.validation import Array, Index

#: Squared cells by which a single cell of a grid must spread along every axis: a Gaussian of half
#: of them, sampled at the centres, has its variance to 0.2 per cent.
LEAST = 0.5
#: Evaluations of the mass; Newton's method takes 5 to 15.
EVALUATIONS = 200


@dataclass(frozen=True)
class LinearTransport(ProxSolver):
    r"""The unregularised Wasserstein step of int V dmu on a fixed support, in closed form.

    The plan splits over the atoms of m': atom i goes to argmin_j V_j + |x_i - y_j|^2 / (2 tau), the
    c-transform of -V; `jko.Wasserstein(p=..., cost=...)` brings its own costs (formula Y2). Walls
    (V = +inf) close atoms. The slope -V is an optimal Kantorovich
    potential, and the duality gap is computed from it.

    From a single atom x0 there is one plan to every measure, and the step of a separable energy h
    is argmin h(w) + <C, w>, C = |x0 - y|^2 / (2 tau): w_j = (h_j*)'(lam - C_j), lam from the mass.
    On a grid this is left to others where it spreads by less than a cell.

    Notes
    -----
    Formula R1: minus this step is the robust expectation of -V over a Wasserstein ball, penalised.
    Where an atom has several best partners it goes to the first of the nearest.

    References
    ----------
    Blanchet and Murthy (2019), where minus this step is a robust expectation.
    """

    geometries: ClassVar[tuple[type[Geometry], ...]] = (Wasserstein,)
    kinds: ClassVar[tuple[type[Measure], ...]] = (GridDensity, Histogram)
    guarantee: ClassVar[str] = "exact on the support: a c-transform, or the spread of one atom"
    default_tol: ClassVar[float] = 1e-9
    any_cost: ClassVar[bool] = True

    def accepts(self, problem: ProxProblem) -> str | None:
        why = not_transport(problem) or stated_paths(problem)
        if why is not None:
            return why
        previous = problem.discrete
        h = problem.form.separable
        curved = np.any([c > 0 for c in h.powers.values()], axis=0) & (h.ceiling > 0)
        single = int((previous.weights > 0).sum()) == 1 and bool(curved[h.ceiling > 0].all())
        if problem.form.quadratics or (curved.any() and not single):
            return Elsewhere(
                f"takes energies that are linear in the weights, and {problem.energy!r} is not;"
                " from a single atom also separable, strictly convex ones"
            )
        if ((h.ceiling > 0) & np.isfinite(h.ceiling)).any():
            return "the energy bounds the weights from above, and its plans know no bounds"
        if not (h.ceiling > 0).any():
            return f"the energy forbids {ALL_CLOSED}"
        return None

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        from scipy.sparse import csr_array

        stated = TransportStep(problem)
        previous, potential = stated.previous, problem.form.separable.linear
        charged, opened = np.flatnonzero(previous.weights > 0), np.flatnonzero(stated.open)
        if problem.form.separable.powers and charged.size == 1:
            answer = _spread(stated, opened)
            return between_centres(problem, answer, answer.potentials["slope"])
        geometry, m = problem.geometry, previous.weights[charged]
        assert isinstance(geometry, Wasserstein)
        slope = np.where(stated.open, -potential, 0.0)
        partner, _, cost = stated.best(slope)
        nu = previous.with_weights(np.bincount(partner, m, previous.n))
        moved = geometry.of_cost(float(m @ cost))
        answer = Answer(
            nu,
            stated,
            1,
            objective=problem.value(nu) + geometry.paid(moved, problem.tau),
            sqdistance=moved,
            plan=csr_array((m, (charged, partner)), shape=(previous.n, previous.n)),
            dual={"slope": slope},
            baseline=problem.value(previous),
        )
        return between_centres(problem, answer, answer.potentials["slope"])


def _spread(stated: TransportStep, opened: Index) -> Answer:
    """The step from a single atom: argmin h(w) + <C, w> among the weights of its mass."""
    previous, mass = stated.previous, stated.previous.mass
    cost = stated.cost()[0]
    h = stated.problem.form.separable.take(opened).shifted(-cost)
    # At the first all weights are below mass / n, at the second one of them is the whole mass.
    ends = [float(h.gradient(np.full(h.n, w)).min()) for w in (mass / h.n, mass)]
    search = MassSearch(ends[1], np.nextafter(ends[0], -np.inf), np.nextafter(ends[1], np.inf))
    for _ in range(EVALUATIONS):
        w = h.best_response(np.full(h.n, search.x))
        total = float(w.sum())
        with np.errstate(divide="ignore"):
            slope = float((1 / h.hessian(w))[w > 0].sum())
        known = 0 < slope < np.inf and total > 0
        newton = total / slope * np.log(mass / total) if known else np.nan
        if abs(total - mass) <= 4 * EPS * mass or not search.advance(total < mass, newton):
            break
    if not total > 0:
        raise Breakdown(Status.INACCURATE, "the multiplier of the mass was not found")
    weights, slopes = np.zeros(previous.n), np.zeros(previous.n)
    weights[opened], slopes[opened] = rescale(w, h.ceiling, mass), cost
    nu = previous.with_weights(weights)
    if isinstance(previous, GridDensity) and _within_a_cell(previous, weights):
        raise Breakdown(Status.INACCURATE, "the step spreads by less than a cell of the grid")
    baseline = stated.problem.value(previous)
    moved = stated.sqdistance(nu)
    dual = {"slope": slopes}
    # Nothing is regularised: a figure, as the entropic steps give that it stands before.
    return Answer(nu, stated, 1, sqdistance=moved, bias=0.0, dual=dual, baseline=baseline)


def _within_a_cell(previous: GridDensity, weights: Array) -> bool:
    """Whether weights lie within less than `LEAST` squared cells of an atom, along some axis."""
    away = previous.points - previous.points[np.argmax(previous.weights)]
    spread = weights @ away**2 / weights.sum()
    long = np.asarray(previous.grid.shape) > 1
    return bool((spread[long] < LEAST * previous.grid.spacing[long] ** 2).any())
