"""The closed form of linear energies in Wasserstein: against the conic oracle and by hand."""

import numpy as np
import pytest
from generators import measures

import jko
from jko.solvers import LinearTransport, TransportProgram
from jko.solvers.programs.linear import best_partners

W = jko.Wasserstein()


def test_by_hand():
    """An atom moves when the fall of V exceeds |x-y|^2/(2 tau)."""
    mu = jko.Histogram([[0.0], [1.0], [2.0]], [0.5, 0.3, 0.2])
    potential = jko.Potential([0.0, -1.0, -3.0])
    short = jko.step(mu, potential, W, 0.2)  # a move of 1 costs 2.5, of 2 costs 10
    assert short.solver == "LinearTransport"
    np.testing.assert_array_equal(short.measure.weights, mu.weights)
    np.testing.assert_allclose(jko.step(mu, potential, W, 0.4).measure.weights, [0.5, 0, 0.5])
    long = jko.step(mu, potential, W, 2.0)
    np.testing.assert_allclose(long.measure.weights, [0, 0, 1])
    assert long.sqdistance == pytest.approx(0.5 * 4 + 0.3)


@pytest.mark.parametrize("tau", [0.05, 0.5, 20.0])
def test_agrees_with_the_conic_program(tau):
    mu = measures.histogram(30, seed=4, mass=2.0)
    values = np.sin(3 * mu.points[:, 0]) + mu.points[:, 1]
    values[[3, 7]] = np.inf
    energy = jko.Potential(values)
    ours = jko.step(mu, energy, W, tau, solver=LinearTransport())
    reference = jko.step(mu, energy, W, tau, solver=TransportProgram())
    assert abs(ours.gap) <= 1e-12
    assert ours.objective == pytest.approx(reference.objective, abs=1e-6)
    assert ours.objective <= reference.objective + 1e-12
    assert (ours.measure.weights[[3, 7]] == 0).all()


def test_ties_go_to_the_nearest():
    partner, best = best_partners(np.zeros(3), np.array([[2.0, 1.0, 3.0]]), 0.0)
    assert (partner[0], best[0]) == (1, 0.0)


def test_refusals():
    mu = measures.histogram(10, seed=1)
    well = jko.Potential(lambda x: (x**2).sum(axis=1), gradient=lambda x: 2 * x)
    cases = [
        (mu, jko.KL(measures.sibling(mu)), "linear in the weights"),
        (mu, well + jko.BoxConstraint(0.5), "bounds the weights from above"),
        (mu, jko.Potential(np.full(10, np.inf)), "forbids every atom"),
        (measures.particles(5), well, "fixed support"),
    ]
    for measure, energy, sentence in cases:
        with pytest.raises(jko.Unsupported, match=sentence):
            jko.step(measure, energy, W, 0.1, solver=LinearTransport())
    with pytest.raises(jko.Unsupported, match="takes Wasserstein steps"):
        jko.step(mu, well, jko.Hellinger(), 0.1, solver=LinearTransport())
