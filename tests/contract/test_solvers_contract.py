"""Every solver that `auto` knows minimises what it states, and its certificate tells the truth."""

import numpy as np
import pytest
from generators.exact import EXACT
from generators.problems import PROBLEMS, RESIDUAL_ONLY

import jko
from jko.solvers import BackAndForth, Conic, SimplexQP
from jko.solvers.auto import AUTO
from jko.testing import check_solver

#: Settings that `auto` does not choose by itself, and back-and-forth without the limits it sets.
OTHERS = [SimplexQP(support="union"), Conic("SCS"), BackAndForth(subcells=1)]
SOLVERS = {solver.name: solver for solver in (*AUTO, *OTHERS)}
CASES = [(name, case) for name in SOLVERS for case in PROBLEMS.get(name, {})]


@pytest.mark.parametrize("name", SOLVERS)
def test_a_problem_is_registered(name):
    assert PROBLEMS.get(name), f"add problems for {name} to tests/generators/problems.py"


@pytest.mark.filterwarnings("ignore:cells .* too coarse:jko.JkoWarning")
@pytest.mark.parametrize(("name", "case"), CASES)
def test_solver_keeps_its_promises(name, case):
    ran = check_solver(SOLVERS[name], PROBLEMS[name][case])
    assert {"certified", "result"} <= set(ran)
    assert "rivals" in ran
    # Moving particles have no convex problem to bound: stationarity is all there is.
    assert ("gap" in ran) == (name != "Lagrangian" and (name, case) not in RESIDUAL_ONLY)


@pytest.mark.parametrize("case", EXACT, ids=lambda e: e.name)
def test_auto_finds_the_exact_answer(case):
    problem = case.problem
    found = jko.step(problem.previous, problem.energy, problem.geometry, problem.tau)
    assert problem.objective(case.answer) <= found.objective + 1e-12 * (1 + abs(found.objective))
    if isinstance(case.answer, jko.Gaussian):
        np.testing.assert_allclose(found.measure.mean, case.answer.mean, rtol=1e-12)
        np.testing.assert_allclose(found.measure.cov, case.answer.cov, rtol=1e-12, atol=1e-14)
    else:
        np.testing.assert_allclose(
            found.measure.weights, case.answer.weights, rtol=1e-11, atol=1e-15
        )
