"""Exact steps with sources between few atoms: rivals in extended precision, limits, certificate."""

from dataclasses import replace

import numpy as np
import pytest
from generators.from_benchmarks import checks, records, weights

import jko
from jko.prox.stated import Claim, Controls
from jko.solvers import UnbalancedProgram
from jko.solvers.unbalanced.cone import ConeStep

WFR = jko.WassersteinFisherRao(0.7, 1.3)


def scattered(rng, n, mass=1.0):
    return jko.Histogram(rng.normal(size=(n, 2)), mass * rng.dirichlet(np.ones(n)))


def test_random_steps_are_right_in_any_unit():
    """tau from 1e-6 to 1e6, zero and tiny weights, masses, lengths and energies rescaled."""
    found = checks.run(range(24), seed=3, draw=weights.draw_with_sources)
    assert not any(r.faults for r in found), records.report(found)
    assert sum(r.verified for r in found) >= 15


def test_the_oracle_knows_the_distance_of_two_diracs():
    """Formula U1, and nothing between a measure and itself."""
    from _fuzz import sources

    for d in (0.0, 0.5, 2.0, 9.0):
        c = sources.costs(np.array([[0.0], [d]]), 0.7, 1.3)
        w, m = np.array([0.4, 0.0], sources.LONG), np.array([0.0, 1.1], sources.LONG)
        found, _ = sources.paid(w, m, c)
        exact = jko.reference.wfr_diracs(0.4, 1.1, d, 0.7, 1.3)
        assert 4 / 1.3 * float(found) == pytest.approx(exact, rel=1e-12)
        assert float(sources.paid(m, m, c)[0]) <= 1e-15


@pytest.mark.parametrize("tau", [1e-6, 1.0, 1e6])
def test_one_atom_with_a_kernel_is_a_hellinger_step(tau):
    mu = jko.Histogram([[0.0, 1.0]], [0.3])
    energy = jko.MMDEnergy(mu.with_weights(np.array([2.0])), jko.kernels.Gaussian(1.0))
    found = jko.step(mu, energy, WFR, tau)
    exact = jko.step(mu, energy, 1.3 * jko.Hellinger(), tau)
    moved = abs(exact.measure.weights[0] - 0.3)
    assert abs(found.measure.weights[0] - exact.measure.weights[0]) <= 1e-3 * moved
    assert found.solver == "UnbalancedProgram"
    assert found.iterations <= 40


def test_few_atoms_take_exact_steps_as_accurate_as_asked(rng):
    mu = scattered(rng, 30)
    energy = jko.KL(mu.with_weights(mu.weights[::-1]))
    found = jko.step(mu, energy, WFR, 0.3, accuracy=1e-6)
    assert found.claim is Claim.MINIMISES
    assert found.bias is None
    assert found.sqdistance == pytest.approx(WFR.sqdistance(found.measure, mu), rel=1e-6)


def test_the_certificate_bounds_any_answer(rng):
    """Wrong weights, plans and potentials only make the gap larger."""
    mu = scattered(rng, 12)
    energy = jko.KL(mu.with_weights(mu.weights[::-1])) + 0.3 * jko.MMDEnergy(
        mu, jko.kernels.Gaussian(1.0)
    )
    problem = jko.ProxProblem(energy, WFR, mu, 0.4)
    answer = UnbalancedProgram().solve(problem, Controls(1e-10))
    stated = answer.problem
    assert isinstance(stated, ConeStep)
    best = stated.certificate(answer).gap
    for size in (1e-4, 1e-2, 0.3):
        nu = mu.with_weights(answer.measure.weights * np.exp(size * rng.normal(size=mu.n)))
        excess = problem.objective(nu) - answer.objective
        psi = answer.dual["psi"] + size * rng.normal(size=mu.n)
        for dual in ({**answer.dual}, {**answer.dual, "psi": psi}):
            gap = stated.certificate(replace(answer, measure=nu, dual=dual)).gap
            assert gap >= excess > best


def test_refusals_name_the_remedy(rng):
    mu = scattered(rng, 9)
    with pytest.raises(jko.Unsupported, match="at most 5 atoms"):
        jko.step(mu, jko.KL(mu), WFR, 0.1, solver=UnbalancedProgram(max_atoms=5))
    with pytest.raises(jko.Unsupported, match="takes steps of"):
        jko.step(mu, jko.KL(mu), jko.Hellinger(), 0.1, solver=UnbalancedProgram())
    with pytest.raises(jko.StepFailed, match="reduce tau"):
        jko.step(mu, jko.Potential(np.full(9, -3.0)), WFR, 0.7, solver=UnbalancedProgram())
