"""Plain steps through POT: agreement with our scaling, and wrong answers refused."""

import numpy as np
import pytest

import jko
from jko.prox import Status
from jko.solvers import Entropic

W2 = jko.Wasserstein()


def pair(n=100):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, 2))
    m, p = rng.random((2, n))
    m[::7], p[3::9] = 0, 0
    return jko.Histogram(x, 1.7 * m / m.sum()), jko.Histogram(x, 1.7 * p / p.sum())


MU, PI = pair()
KERNEL = jko.kernels.Gaussian(bandwidth=1.0)
WELL = jko.Potential(lambda x: 0.5 * (x**2).sum(axis=1))
ENERGIES = {
    "KL": jko.KL(PI),
    "entropy+well": jko.Entropy() + WELL,
    "MMD": jko.MMDEnergy(PI, KERNEL),
    "MMD+entropy": jko.MMDEnergy(PI, KERNEL) + 0.1 * jko.Entropy(),
    "inclusive": jko.InclusiveKL(PI),
    "well": WELL,
}


@pytest.mark.parametrize("name", ENERGIES)
def test_pot_and_our_scaling_agree(name):
    results = [
        jko.step(
            MU,
            ENERGIES[name],
            W2,
            0.05,
            tol=1e-12,
            solver=Entropic(reg=0.05, debias=False, backend=backend),
        )
        for backend in ("log", "pot")
    ]
    ours, theirs = results
    assert np.abs(ours.measure.weights - theirs.measure.weights).sum() < 1e-6
    assert theirs.objective == pytest.approx(ours.objective, abs=1e-11)
    assert theirs.sqdistance == pytest.approx(ours.sqdistance, rel=1e-6)
    assert theirs.bias == pytest.approx(ours.bias, rel=1e-3)


def test_the_first_call_is_the_semi_relaxed_problem():
    """One POT call by hand, with the semantics the backend relies on."""
    import ot

    x, keep = MU.points, MU.weights > 0
    cost = ot.dist(x[keep], x)
    plan = ot.unbalanced.sinkhorn_unbalanced(
        MU.weights[keep],
        PI.weights,
        cost,
        0.05,
        (np.inf, 0.1),
        reg_type="kl",
        c=np.ones_like(cost),
        numItermax=20_000,
        stopThr=1e-14,
    )
    r = jko.step(MU, jko.KL(PI), W2, 0.05, tol=1e-12, solver=Entropic(reg=0.05, debias=False))
    assert np.abs(plan.sum(axis=0) - r.measure.weights).sum() < 1e-6
    assert W2.sqdistance(r.measure, MU) == pytest.approx(r.sqdistance, rel=1e-9)
    assert r.sqdistance < (plan * cost).sum()


def test_underflow_in_pot_is_reported_not_returned():
    solver = Entropic(reg=2e-4, debias=False, backend="pot")
    with pytest.raises(jko.StepFailed, match="POT") as caught:
        jko.step(MU, jko.KL(PI), W2, 0.05, solver=solver)
    assert caught.value.result.status is Status.BROKEN
    ours = jko.step(MU, jko.KL(PI), W2, 0.05, solver=Entropic(reg=2e-4, debias=False))
    assert ours.success


def test_too_few_outer_calls_are_reported():
    solver = Entropic(reg=0.05, debias=False, backend="pot")
    with pytest.raises(jko.StepFailed, match="raise max_iter"):
        jko.step(MU, ENERGIES["MMD"], W2, 0.05, solver=solver, max_iter=2)
