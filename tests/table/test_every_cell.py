"""Every cell of the table that `jko list` prints: each solver in it, and all of them together."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from generators.once import solved_once

import jko
from jko.measures import Discrete
from jko.prox import ProxProblem
from jko.solvers.auto import survey as ask
from jko.survey import ENERGIES, GEOMETRIES, MEASURES, table
from jko.testing import check_solver

TAU = 0.3
FILLED = [row for row in table() if row.solvers]


def _measure(name: str, with_zeros: bool):
    mu = MEASURES[name]
    if not (with_zeros and isinstance(mu, Discrete)):
        return mu
    weights = np.array(mu.weights)
    weights[1::3] = 0
    return mu.with_weights(weights * (mu.mass / weights.sum()))


@cache
def _problem(measure: str, geometry: str, energy: str, with_zeros: bool) -> ProxProblem:
    mu = _measure(measure, with_zeros)
    return ProxProblem(ENERGIES[energy](mu), GEOMETRIES[geometry], mu, TAU)


def _cells():
    for row in FILLED:
        for with_zeros in (False, True) if row.measure != "Gaussian" else (False,):
            key = (row.measure, row.geometry, row.energy, with_zeros)
            yield pytest.param(*key, id="-".join(map(str, key)))


@pytest.mark.filterwarnings("ignore:cells .* too coarse:jko.JkoWarning")
@pytest.mark.parametrize(("measure", "geometry", "energy", "with_zeros"), list(_cells()))
def test_cell(
    measure: str, geometry: str, energy: str, with_zeros: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = _problem(measure, geometry, energy, with_zeros)
    exact = []
    takers = [solver for solver, why in ask(problem) if why is None]
    if not takers:
        # Refused with zero weights only: then the step must be infinite on every measure that the
        # geometry can reach (inclusive KL where a mirror step cannot charge an empty atom).
        mu = problem.discrete
        positive = mu.with_weights(np.full(mu.n, mu.mass / mu.n))
        reachable = (problem.previous, positive)
        assert all(problem.objective(nu) == np.inf for nu in reachable)
        return
    for solver in takers:
        solved_once(monkeypatch, solver)  # none of the table draws random numbers
        ran = check_solver(solver, problem, rivals=12)
        assert "certified" in ran
        result = jko.step(
            problem.previous, problem.energy, problem.geometry, problem.tau, solver=solver
        )
        found = solver.claim if result.gap is not None else jko.Claim.STATIONARY
        assert result.claim in (solver.claim, found), solver
        try:
            value = problem.objective(result.measure)
        except jko.Unsupported:  # an exact flow in a geometry without a distance on Gaussians
            continue
        same = abs(result.objective - value) <= 1e-9 * max(1.0, abs(value))
        # Regularised solvers and exact flows state another problem than the proximal step.
        if result.gap is not None and result.bias is None and same:
            exact.append((solver.name, value, result.gap))
    # Solvers of the same, unregularised problem agree in objective, within their own gaps.
    if exact:
        least = min(value for _, value, _ in exact)
        for name, value, gap in exact:
            allowed = abs(gap) + 1e-9 * max(1.0, abs(value))
            assert value - least <= allowed, f"{name} ends {value - least:.3g} above the best"


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_what_does_not_fit_is_refused(measure, geometry):
    """`auto` does not ask solvers whose declared kinds exclude a step: none of them takes it."""
    mu = MEASURES[measure]
    for make in ENERGIES.values():
        try:
            problem = jko.ProxProblem(make(mu), GEOMETRIES[geometry], mu, 0.1)
        except jko.JkoError:
            continue
        for solver, why in ask(problem):
            assert solver.fits(problem) or why is not None, (solver, problem.energy)
