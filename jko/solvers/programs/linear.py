r"""Wasserstein steps of linear energies on a fixed support: each atom goes where it pays most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from jko.geometries.base import Geometry
from jko.geometries.wasserstein import MAX_PAIRS, Wasserstein
from jko.measures.atoms import Histogram
from jko.measures.base import Measure
from jko.measures.grid import GridDensity, not_straight
from jko.numerics.partners import best_partners
from jko.prox.problem import ProxProblem
from jko.prox.stated import Answer, Controls
from jko.solvers.base import ProxSolver
from jko.solvers.programs.transport import TransportStep
from jko.solvers.refusals import not_transport


@dataclass(frozen=True)
class LinearTransport(ProxSolver):
    r"""The unregularised Wasserstein step of int V dmu on a fixed support, in closed form.

    The plan splits over the atoms of m': atom i goes to argmin_j V_j + |x_i - y_j|^2 / (2 tau), the
    c-transform of -V. Walls (V = +inf) close atoms. The slope -V is an optimal Kantorovich
    potential, and the duality gap is computed from it.

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
    guarantee: ClassVar[str] = "exact on the support: a c-transform"
    default_tol: ClassVar[float] = 1e-9

    def accepts(self, problem: ProxProblem) -> str | None:
        why = not_transport(problem) or not_straight(problem.previous)
        if why is not None:
            return why
        previous = problem.discrete
        h = problem.form.separable
        if problem.form.quadratics or any((c > 0).any() for c in h.powers.values()):
            return f"takes energies that are linear in the weights, and {problem.energy!r} is not"
        if ((h.ceiling > 0) & np.isfinite(h.ceiling)).any():
            return "the energy bounds the weights from above; jko.solvers.TransportProgram() can"
        if not (h.ceiling > 0).any():
            return "the energy forbids every atom of the measure; leave one open at least"
        if int((previous.weights > 0).sum()) * int((h.ceiling > 0).sum()) > MAX_PAIRS:
            return f"more than {MAX_PAIRS} pairs of atoms; use a coarser grid or fewer atoms"
        return None

    def solve(self, problem: ProxProblem, controls: Controls) -> Answer:
        stated = TransportStep(problem)
        previous, potential = stated.previous, problem.form.separable.linear
        charged, opened = np.flatnonzero(previous.weights > 0), np.flatnonzero(stated.open)
        partner, _ = best_partners(-potential[opened], stated.cost(), 1.0)
        weights = np.bincount(opened[partner], previous.weights[charged], previous.n)
        nu = previous.with_weights(weights)
        return Answer(
            nu,
            stated,
            1,
            dual={"slope": np.where(stated.open, -potential, 0.0)},
            baseline=problem.value(previous),
        )
