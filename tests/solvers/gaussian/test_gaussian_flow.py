"""Exact flows between Gaussians, and the orders of the schemes that use or approach them."""

import numpy as np
import pytest
from generators import measures
from scipy.integrate import solve_ivp
from scipy.optimize import minimize

import jko
from jko import reference
from jko.geometries.gaussian import gaussian_kl
from jko.solvers import Bures, ExactFlow, GaussianForwardBackward, GaussianImplicit

W, SHE = jko.Wasserstein(), jko.SphericalHellinger()
START, TARGET = measures.gaussian(3, seed=1), measures.gaussian(3, seed=2)


def by_ode(start, target, alpha, beta, time):
    """Mean, covariance and log mass ratio of the flow, by a tight integration of its equations."""
    d, precision = start.dim, np.linalg.inv(target.cov)
    unit = jko.Gaussian(target.mean, target.cov)

    def rate(_, y):
        m, s, h = y[:d], y[d : d + d * d].reshape(d, d), y[-1]
        move = alpha * (2 * np.eye(d) - precision @ s - s @ precision)
        move = move + beta * (s - s @ precision @ s)
        kl = gaussian_kl(jko.Gaussian(m, (s + s.T) / 2), unit)
        dm = -(alpha * np.eye(d) + beta * s) @ precision @ (m - target.mean)
        return np.concatenate([dm, move.ravel(), [-beta * (h + kl)]])

    y = np.concatenate([start.mean, start.cov.ravel(), [np.log(start.mass / target.mass)]])
    y = solve_ivp(rate, (0, time), y, method="DOP853", rtol=1e-13, atol=1e-13).y[:, -1]
    return y[:d], y[d:-1].reshape(d, d), y[-1]


@pytest.mark.parametrize(
    ("geometry", "alpha", "beta", "mass"),
    [
        (W, 1.0, 0.0, None),
        (2.0 * SHE, 0.0, 2.0, None),
        (jko.Hellinger(mass="fixed"), 0.0, 1.0, None),
        (jko.Hellinger(), 0.0, 1.0, 0.4),
        (jko.WassersteinFisherRao(0.7, 1.3), 0.7, 1.3, 2.5),
        (0.5 * jko.WassersteinFisherRao(1.0, 4.0), 0.5, 2.0, 0.8),
    ],
    ids=str,
)
def test_flow_against_a_tight_integration(geometry, alpha, beta, mass):
    start = jko.Gaussian(START.mean, START.cov, mass or 1.0)
    target = jko.Gaussian(TARGET.mean, TARGET.cov, 1.7 if mass else 1.0)
    out = jko.step(start, jko.KL(target), geometry, 0.6, solver=ExactFlow())
    mean, cov, h = by_ode(start, target, alpha, beta, 0.6)
    np.testing.assert_allclose(out.measure.mean, mean, atol=1e-10)
    np.testing.assert_allclose(out.measure.cov, cov, atol=1e-10)
    if mass:
        assert np.log(out.measure.mass / target.mass) == pytest.approx(h, abs=1e-10)
    else:
        assert out.measure.mass == 1.0


def test_closed_forms_of_the_reference():
    """Formula G2 as it is printed, for both geometries."""
    cases = {SHE: "fisher_rao_gaussian_flow", jko.WassersteinFisherRao(): "wfr_gaussian_flow"}
    for geometry, name in cases.items():
        flow = getattr(reference, name)
        mean, cov = flow(START.mean, START.cov, TARGET.mean, TARGET.cov, 0.7)
        out = jko.step(START, jko.KL(TARGET), geometry, 0.7, solver=ExactFlow()).measure
        np.testing.assert_allclose(out.mean, mean, atol=1e-11)
        np.testing.assert_allclose(out.cov, cov, atol=1e-11)


def test_the_result_says_that_it_is_a_flow():
    out = jko.step(START, jko.KL(TARGET), SHE, 0.5)
    assert out.solver == "ExactFlow"
    assert out.info["kind"] == "exact flow of length tau, not a proximal step"
    assert out.gap <= 1e-14
    # The proximal step of Wasserstein stays the first choice there.
    assert jko.step(START, jko.KL(TARGET), W, 0.5).solver == "Bures"


def test_a_wrong_answer_is_not_certified():
    """The certificate compares with two half flows: a flow too short is noticed."""
    from jko.prox import ProxProblem
    from jko.solvers import Answer, Controls

    problem = ProxProblem(jko.KL(TARGET), SHE, START, 0.5)
    right = ExactFlow().solve(problem, Controls(1e-9))
    short = jko.step(START, jko.KL(TARGET), SHE, 0.4999, solver=ExactFlow()).measure
    wrong = right.problem.certificate(Answer(short, right.problem, 1))
    assert right.problem.certificate(right).gap < 1e-14
    assert wrong.gap > 1e-9
    assert wrong.gap == pytest.approx(gaussian_kl(short, right.measure), rel=1e-4)


@pytest.mark.parametrize("condition", [1e5, 1e9])
@pytest.mark.parametrize("geometry", [SHE, jko.WassersteinFisherRao()], ids=str)
def test_stiff_targets_are_reached(condition, geometry):
    """Condition numbers to 1e9: positive definite at every step, 1e-6 in the natural metric."""
    rng = np.random.default_rng(3)
    for d in (2, 5, 12):
        q = np.linalg.qr(rng.normal(size=(d, d)))[0]
        values = np.geomspace(1, 1 / condition, d)
        target = jko.Gaussian(rng.normal(size=d), (q * values) @ q.T)
        mu = jko.Gaussian(np.zeros(d), np.eye(d))
        sol = jko.flow(mu, jko.KL(target), geometry, tau=2.0, steps=25, solver=ExactFlow())
        assert sol.success
        for m in sol.measures:
            assert np.linalg.eigvalsh(m.cov)[0] > 0
        final = jko.Gaussian(sol.final.mean, sol.final.cov)  # shape: the mass converges slower
        assert np.sqrt(2 * max(gaussian_kl(final, target), 0)) <= 1e-6


def slope(errors, taus):
    return np.polyfit(np.log(taus), np.log(errors), 1)[0]


def off(a, b):
    return float(np.linalg.norm(a.mean - b.mean) + np.linalg.norm(a.cov - b.cov))


TAUS = (0.05, 0.025, 0.0125)


@pytest.mark.parametrize(
    "solver", [Bures(), GaussianImplicit(), GaussianForwardBackward()], ids=str
)
def test_wasserstein_steps_have_order_one(solver):
    """G1 and forward-backward against the exact Ornstein-Uhlenbeck flow."""
    exact = jko.step(START, jko.KL(TARGET), W, 0.4, solver=ExactFlow()).measure
    errors = [
        off(jko.flow(START, jko.KL(TARGET), W, tau=t, t1=0.4, solver=solver).final, exact)
        for t in TAUS
    ]
    assert slope(errors, TAUS) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(
    ("splitting", "solver", "order"),
    [
        ("lie", (Bures(), ExactFlow()), 1.0),
        ("strang", (Bures(), ExactFlow()), 1.0),
        ("lie", ExactFlow(), 1.0),
        ("strang", ExactFlow(), 2.0),
    ],
    ids=str,
)
def test_split_wasserstein_fisher_rao(splitting, solver, order):
    """JKO then the Hellinger flow: 1. Exact sub-flows in Strang: 2. Against the unsplit flow."""
    geometry, energy = W + SHE, jko.KL(TARGET)
    unsplit = jko.WassersteinFisherRao()
    exact = jko.step(START, energy, unsplit, 0.4, solver=ExactFlow()).measure
    options = {"t1": 0.4, "splitting": splitting, "solver": solver}
    finals = [jko.flow(START, energy, geometry, tau=t, **options).final for t in TAUS]
    errors = [off(g, jko.Gaussian(exact.mean, exact.cov)) for g in finals]
    assert slope(errors, TAUS) == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize("d", [1, 2])
def test_bures_step_against_brute_force(d):
    """G1 against a general minimiser over means and Cholesky factors: 1e-6 relative."""
    start, target = measures.gaussian(d, seed=1), measures.gaussian(d, seed=2)
    problem = jko.ProxProblem(jko.KL(target), W, start, 0.3)
    lower = np.tril_indices(d)

    def gaussian(y):
        root = np.zeros((d, d))
        root[lower] = y[d:]
        return jko.Gaussian(y[:d], root @ root.T)

    y = np.concatenate([start.mean, np.linalg.cholesky(start.cov)[lower]])
    for _ in range(3):
        y = minimize(
            lambda y: problem.objective(gaussian(y)), y, method="Nelder-Mead",
            options={"xatol": 1e-10, "fatol": 1e-15, "maxiter": 4000, "maxfev": 8000},
        ).x  # fmt: skip
    brute = gaussian(y)
    for solver in (Bures(), GaussianImplicit()):
        out = jko.step(start, jko.KL(target), W, 0.3, solver=solver)
        np.testing.assert_allclose(out.measure.mean, brute.mean, rtol=1e-6)
        np.testing.assert_allclose(out.measure.cov, brute.cov, rtol=1e-6)
        assert out.objective <= problem.objective(brute) + 1e-14


@pytest.mark.parametrize(
    ("energy", "geometry", "measure", "sentence"),
    [
        (jko.KL(TARGET), jko.Divergence(p=1), START, "it knows the flows in Wasserstein"),
        (jko.KL(TARGET), SHE, measures.particles(4, 3), "it moves a jko.Gaussian"),
        (jko.Entropy(), W, START, "the energy must be jko.KL to a jko.Gaussian"),
        (jko.KL(TARGET) + jko.KL(START), jko.Hellinger(), START, "at fixed mass only"),
    ],
    ids=str,
)
def test_refusals(energy, geometry, measure, sentence):
    with pytest.raises(jko.Unsupported, match=sentence):
        jko.step(measure, energy, geometry, 0.1, solver=ExactFlow())


def test_a_long_flow_says_what_it_is_and_ends_at_the_equilibrium() -> None:
    start = jko.Gaussian([3, 0], [[2, 0.5], [0.5, 1]])
    goal = jko.Gaussian([0, 0], np.eye(2))
    for geometry in (jko.Hellinger(), jko.SphericalHellinger(), jko.WassersteinFisherRao(1, 1)):
        result = jko.step(start, jko.KL(goal), geometry, 100.0)
        assert "exact flow of length tau, not a proximal step" in result.message
        assert np.allclose(result.measure.mean, 0, atol=1e-12)
        assert np.allclose(result.measure.cov, np.eye(2), atol=1e-12)
        assert 0 < result.sqdistance <= max(8.0, np.pi**2)


@pytest.mark.parametrize("solver", [jko.solvers.ExactFlow(), jko.solvers.NaturalGradient()])
@pytest.mark.parametrize("cost", [1e-9, 1e9])
def test_figures_of_followed_flows_scale_with_the_energy(solver, cost):
    """Objective and gap of c F at tau / c are c times those of F at tau, rounding included."""
    start = jko.Gaussian([1.0, -2.0], [[2.0, 0.5], [0.5, 1.0]], mass=1e6)
    energy, geometry = jko.KL(jko.Gaussian([0.0, 0.0], np.eye(2))), jko.Hellinger(mass="fixed")
    one = jko.step(start, energy, geometry, 1e-4, solver=solver)
    other = jko.step(start, cost * energy, geometry, 1e-4 / cost, solver=solver)
    assert other.objective == pytest.approx(cost * one.objective, rel=1e-12)
    assert other.allowed == pytest.approx(cost * one.allowed, rel=1e-6)
    assert abs(other.gap - cost * one.gap) <= 1e-14 * cost * abs(one.objective)
